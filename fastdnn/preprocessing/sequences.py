"""Sequences of unequal length as one array."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..inputs import check_dense, check_missing, check_strings
from ..specs import check_count, check_number

ENDS = ("end", "start")


def pad_sequences(
    sequences: Iterable[ArrayLike],
    length: int | None = None,
    value: float = 0,
    dtype: DTypeLike | None = None,
    truncate: str = "end",
) -> np.ndarray:
    """One array of sequences of unequal length, padded at the end.

    Padding stands behind each sequence, where ``lengths`` of `Model.fit` and the masks of `Masking` and
    `Embedding(mask_zero=True)` want it. Keras pads in front unless it is told otherwise.

    Parameters
    ----------
    sequences : list, tuple or other iterable of array-like
        Each of shape (time,) or (time, ...), with at least one step, of integers or finite floats. All steps have one shape.
    length : int or None, default=None
        Steps of the result, at least 1; None takes those of the longest sequence.
    value : number, default=0
        What stands where no step is; an integer if the result holds integers.
    dtype : data-type or None, default=None
        Integer or float type of the result. None gives int64 where all sequences hold integers (or booleans), which never
        become floats on the way; otherwise float32 or float64, whichever holds them all. A float type that is asked for
        rounds integers that it cannot hold.
    truncate : {"end", "start"}, default="end"
        Where a sequence of more than `length` steps is cut.

    Returns
    -------
    ndarray of shape (n, length, ...)
        A new array.

    Raises
    ------
    ValueError
        If an argument is none of these. What is wrong with a sequence names its number: ``sequences[3]``.

    Notes
    -----
    The lengths of the sequences are ``[len(s) for s in sequences]`` (with `length`, ``[min(len(s), length) for s in
    sequences]``), for ``Model.fit(X, y, lengths=...)``. Ids that are never 0 need none with ``Embedding(mask_zero=True)``.

    Examples
    --------
    >>> from fastdnn.preprocessing import pad_sequences
    >>> pad_sequences([[3, 4, 5], [16777217]])
    array([[       3,        4,        5],
           [16777217,        0,        0]])
    >>> pad_sequences([[3, 4, 5], [6]], length=2, value=-1, truncate="start")
    array([[ 4,  5],
           [ 6, -1]])

    References
    ----------
    Keras's function of the same name.
    """
    if truncate not in ENDS:
        raise ValueError(f"truncate must be one of {ENDS}, got {truncate!r}")
    arrays = as_sequences(sequences)
    dtype = common_dtype(arrays) if dtype is None else check_dtype(dtype)
    check_value(value, dtype)
    for number, array in enumerate(arrays):
        check_fits(array, dtype, f"sequences[{number}]")
    length = max(map(len, arrays)) if length is None else check_count("length", length)
    kept = slice(length) if truncate == "end" else slice(-length, None)
    padded = np.full((len(arrays), length, *arrays[0].shape[1:]), value, dtype)
    with np.errstate(over="ignore"):  # float32 of float64: infinity is found below
        for row, array in zip(padded, arrays, strict=True):
            steps = array[kept]
            row[: len(steps)] = steps
    finite = np.isfinite(padded)
    if not finite.all():
        place = np.unravel_index(np.argmin(finite), finite.shape)
        raise ValueError(f"sequences[{place[0]}] must be finite in {dtype}, got {padded[place]}; remove or replace it")
    return padded


def as_sequences(sequences):
    """List of arrays (time, ...), all steps of one shape; ValueError that names the first that is none."""
    if isinstance(sequences, (str, bytes)) or not isinstance(sequences, Iterable):
        raise ValueError(f"sequences must be a list of sequences, got {sequences!r}")
    arrays = [as_reals(sequence, f"sequences[{number}]") for number, sequence in enumerate(sequences)]
    if not arrays:
        raise ValueError("sequences must hold at least one sequence, got none")
    for number, array in enumerate(arrays):
        if array.ndim == 0:
            raise ValueError(
                f"sequences[{number}] must have shape (time,) or (time, features), got the number {array}; put a single "
                "sequence into a list"
            )
        if not array.size:
            raise ValueError(f"sequences[{number}] is empty (shape {array.shape}); remove it, or give it a step")
        if array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"sequences[{number}] must have steps of shape {arrays[0].shape[1:]}, as sequences[0] has, got "
                f"{array.shape[1:]}"
            )
    return arrays


def as_reals(a: Any, name: str) -> np.ndarray:
    """`a` as an array of booleans, integers or floats, of its own type; ValueError that names it if it is none."""
    check_dense(a, name)
    if np.ma.is_masked(a):
        raise ValueError(f"{name} has masked entries; fill them, or remove those steps")
    array = as_regular(a, name)
    if array.dtype.kind == "O":  # pandas' nullable integers, say, which have a type of their own once none is missing
        check_missing(array, name)
        array = as_regular(array.tolist(), name)
    check_strings(array, name)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers that fit 64 bits, got {array.dtype}")
    return array


def as_regular(a, name):
    """`a` as an array; ValueError that names it if its items are of several shapes."""
    try:
        return np.asarray(a)
    except ValueError as error:
        raise ValueError(f"{name} must hold steps of one shape, got lists of several lengths: {error}") from error


def common_dtype(arrays):
    """int64 for arrays of integers, otherwise the least of float32 and float64 that holds them all."""
    dtypes = {array.dtype for array in arrays}
    if all(dtype.kind in "biu" for dtype in dtypes):
        return np.dtype(np.int64)
    return np.dtype(np.float32 if np.result_type(np.float32, *dtypes) == np.float32 else np.float64)


def check_dtype(dtype):
    """`dtype` as a NumPy type; ValueError unless it is one of integers or floats."""
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise ValueError(f"dtype must be an integer or float type, or None, got {dtype!r}") from error
    if found.kind not in "iuf":
        raise ValueError(f"dtype must be an integer or float type, or None, got {found}")
    return found


def check_value(value, dtype):
    """ValueError unless the type can hold the value."""
    if dtype.kind == "f":
        most = float(min(np.finfo(dtype).max, np.finfo(np.float64).max))
        check_number("value", value, f"[{-most}, {most}]")
        return
    info, integer = np.iinfo(dtype), isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not integer or not info.min <= value <= info.max:
        raise ValueError(
            f"value must be an integer of {info.min} to {info.max} for sequences of integers ({dtype}), got {value!r}; "
            "dtype=float makes floats of them"
        )


def check_fits(array, dtype, name):
    """ValueError if an integer type cannot hold the array's numbers."""
    if dtype.kind == "f" or np.can_cast(array.dtype, dtype):
        return
    if array.dtype.kind == "f":
        raise ValueError(f"{name} holds {array.dtype}, which dtype={dtype} would cut; round it first, or take a float dtype")
    info, least, most = np.iinfo(dtype), int(array.min()), int(array.max())
    if least < info.min or most > info.max:
        raise ValueError(f"{name} must hold integers of {info.min} to {info.max} for {dtype}, got {least} to {most}")
