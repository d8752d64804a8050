"""What users pass as samples, where it is of a kind that a snapshot has a program for."""

from typing import NamedTuple

import numpy as np

NARROW = "u1", "i1", "u2", "i2", "f2"  # number types that programs read as they are, in `gather`


class Samples(NamedTuple):
    """Samples as a program reads them.

    kind : of the program     X : array (n, ...) whose numbers lie side by side     mask : (n, time) uint8, or None
    """

    kind: str
    X: np.ndarray
    mask: np.ndarray | None


def fits(out, snapshot):
    """Whether results can be written to an array that somebody gave, or None."""
    if out is None:
        return True
    good = isinstance(out, np.ndarray) and out.dtype == snapshot.dtype
    return good and out.flags.c_contiguous and out.flags.writeable and out.flags.aligned


def as_samples(X, snapshot):
    """The `Samples` that an array or a list is, or None: if it is something else, or wrong, or there is none.

    Numbers are as `sources.Source` would have them.
    """
    if type(X) is list:
        try:
            X = np.asarray(X)
        except ValueError:
            return None
    if type(X) is not np.ndarray or X.ndim < 2 or not len(X) or X.shape[1:] != snapshot.input_shape:
        return None
    ids = snapshot.header["ids"]
    found = _ids(X, ids) if ids else _numbers(X, snapshot)
    value = snapshot.header["mask"]
    if found is None or value is None:
        return found
    mask = found.X != value
    mask = mask if ids else mask.any(axis=-1)
    return found._replace(mask=mask.view(np.uint8)) if mask.any(axis=1).all() else None


def _ids(X, n):
    """Integers of 0 to n - 1."""
    if X.dtype.kind not in "iu" or X.dtype == np.uint64:
        return None
    X = np.ascontiguousarray(X, np.int64)
    return Samples("ids", X, None) if X.min() >= 0 and X.max() < n else None


def _numbers(X, snapshot):
    """Numbers of the network's float type, or bytes, where these are scaled in another way."""
    if X.dtype == snapshot.dtype and X.flags.c_contiguous:
        return Samples("float", X, None)
    if X.dtype == bool:
        X = X.view(np.uint8)
    if X.dtype.kind not in "fiu" or X.dtype.itemsize > 8:
        return None
    if "u1" in snapshot.header["programs"] and X.dtype.str[1:] in NARROW:
        return Samples("u1", np.ascontiguousarray(X), None) if X.dtype == np.uint8 else None
    with np.errstate(over="ignore"):
        return Samples("float", np.ascontiguousarray(X, snapshot.dtype), None)
