"""Where batches come from: arrays of any strides and number type, CSR matrices, chunks; gathered a batch at a time.

Every kind of source has a kernel that takes samples from where they stand into rows of the network's float type: nothing is
copied or converted but the rows of a batch. A first layer that reads the source itself (`Layer.takes_sparse`, `takes_ids`)
does without.
"""

import numpy as np
import scipy.sparse
from sklearn.utils import assert_all_finite

from .gather import NARROW
from .inputs import as_array, as_numbers, check_missing, check_sparse, refuse_texts
from .layers.base import DATA


class Source:
    """Samples as the gather kernels read them.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n, ...)
        Samples; everything after the first dimension is flattened. No copy is made of a dense array of the network's
        float type, of integers of 8 or 16 bits, or of float16, if its rows are reachable with strides (slices, read-only
        memory maps; of floats also Fortran order).
    dtype : {"float32", "float64"}
        Float type of the network.
    ids : bool, default=False
        Whether the numbers are integers that stand for something: they never become floats.

    Attributes
    ----------
    kind : str
        What the kernels are chosen by: "float", "strided" (not side by side), "csr", "ids", "chunks", or one of `NARROW`.
    n, shape : int, tuple
        Number of samples, and the shape of one.
    mask : ndarray of shape (n, time), uint8, or None
        1 where a step of a sequence counts, see `Source.leave_out`.
    arrays : tuple of ndarray
        What is read, kept alive as long as this.

    Raises
    ------
    ValueError
        If X is not numeric, has no samples, or (sparse) an index out of range.
    """

    def __init__(self, X, dtype, ids=False):
        self.dtype, self.kind = np.dtype(dtype), "ids" if ids else "float"
        self.mask, self.is_checked = None, False  # by the first layer, what ids and steps are
        self.entries = np.zeros(5, np.int64)  # x, x_row, x_column, indptr, indices of `DATA`
        if scipy.sparse.issparse(X):
            self._keep_sparse(X, dtype)
        else:
            self._keep_dense(as_ids(X) if ids else X)

    @classmethod
    def of_chunks(cls, chunks, dtype):
        """Samples that stand in several arrays of shape (n_i, ...), one after the other.

        Chunks of the network's float type whose rows lie side by side are read where they are (memory maps, say).
        """
        chunks = [np.ascontiguousarray(as_numbers(chunk, "X", dtype)) for chunk in chunks]
        shapes = {chunk.shape[1:] for chunk in chunks}
        if len(shapes) != 1 or () in shapes:
            raise ValueError(f"chunks must be a list of arrays (n_i, ...) of samples of one shape, got {sorted(shapes)}")
        source = cls(chunks[0][:0].reshape(0, *chunks[0].shape[1:]), dtype)
        starts = np.cumsum([0, *map(len, chunks)])
        addresses = np.array([chunk.ctypes.data for chunk in chunks], np.int64)
        source.kind, source.n, source.arrays = "chunks", int(starts[-1]), (*chunks, starts, addresses)
        source.entries[:] = len(chunks), int(np.prod(source.shape)), 1, starts.ctypes.data, addresses.ctypes.data
        return source

    @property
    def sparse(self):
        """Whether it is a CSR matrix."""
        return self.kind == "csr"

    def _keep_dense(self, X):
        found = as_array(X, "X")
        if (
            type(X) is np.ndarray
            and found.dtype == self.dtype
            and found.ndim == 2
            and found.flags.c_contiguous
            and found.shape[1]
        ):
            self.n, self.shape, self.arrays = len(X), X.shape[1:], (X,)  # nothing to look at: a step takes 30 us
            self.entries[:3] = X.ctypes.data, X.shape[1], 1
            return
        if found.dtype == bool:
            found = found.view(np.uint8)
        kind = found.dtype.str[1:]
        narrow = kind in NARROW and found.dtype.isnative and not np.ma.isMaskedArray(X)
        X = found if narrow or (found.dtype == np.int64 and self.kind == "ids") else as_numbers(X, "X", self.dtype)
        if X.ndim < 2:
            raise ValueError(f"X must have shape (n, features) or more dimensions, got {X.shape}; use X.reshape(-1, 1)")
        if 0 in X.shape[1:]:
            raise ValueError(f"X has no features, its shape is {X.shape}")
        self.n, self.shape = len(X), X.shape[1:]
        X = X.reshape(self.n, int(np.prod(self.shape))) if X.ndim > 2 else X
        if any(stride % X.itemsize for stride in X.strides) or (narrow and X.strides[1] != X.itemsize):
            X = np.ascontiguousarray(X)
        column = X.strides[1] // X.itemsize if X.shape[1] > 1 else 1
        if self.kind == "float":
            self.kind = kind if narrow else "float" if column == 1 else "strided"
        self.arrays, self.entries[:3] = (X,), (X.ctypes.data, X.strides[0] // X.itemsize, column)

    def _keep_sparse(self, X, dtype):
        if X.ndim != 2:
            raise ValueError(f"a sparse X must have shape (n, features), got {X.shape}")
        as_numbers(np.zeros(0, X.dtype), "X", dtype)
        check_sparse(X)  # before anything of SciPy's walks the indices: it does not look either
        X = X.tocsr()
        check_sparse(X)
        X = X.sorted_indices()  # kernels look for a column by bisection
        X.sum_duplicates()
        self.kind, self.n, self.shape = "csr", X.shape[0], X.shape[1:]
        values = np.ascontiguousarray(X.data, dtype)
        indptr, indices = (np.ascontiguousarray(a, np.int64) for a in (X.indptr, X.indices))
        self.arrays = (values, indptr, indices)
        self.entries[[0, 3, 4]] = [a.ctypes.data for a in self.arrays]

    def check_finite(self):
        """ValueError, scikit-learn's, if a number is infinite or NaN."""
        for part in self.arrays[:-2] if self.kind == "chunks" else self.arrays[:1]:
            with np.errstate(invalid="ignore", over="ignore"):  # of sums that are infinite; the error says it in words
                if part.dtype.kind == "f" and not np.isfinite(part.sum()):
                    assert_all_finite(part, input_name="X")

    def mask_by(self, rule):
        """What `Layer.mask` says of the samples, a bool array (n, time) or None for all steps."""
        parts = self.arrays[:-2] if self.kind == "chunks" else self.arrays[:1]
        found = [rule(part.reshape(len(part), *self.shape)) for part in parts if self.kind != "csr"]
        return None if not found or found[0] is None else np.concatenate(found)

    def leave_out(self, mask, lengths=None):
        """Let steps of sequences count where the bool array (n, time) says so, and up to each sequence's length.

        ValueError if lengths do not fit, or no step of a sequence counts.
        """
        if lengths is not None:
            if self.kind == "csr":
                raise ValueError("lengths are of dense sequences, X is a sparse matrix; use X.toarray()")
            first = np.arange(self.shape[0]) < check_lengths(lengths, self.n, self.shape)[:, None]
            mask = first if mask is None else mask & first
        if mask is not None:
            empty = np.flatnonzero(~mask.any(axis=1))
            if len(empty):
                raise ValueError(f"no step of row {empty[0]} of X counts, all of them are padding; remove such rows")
            self.mask = np.ascontiguousarray(mask, np.uint8)

    @property
    def steps(self):
        """(n,) float64: how many steps of each sample count."""
        return self.mask.sum(axis=1, dtype=np.float64)

    def take(self, rows):
        """A new `Source` of some of the samples, copied."""
        taken = self._take(rows)
        taken.is_checked = self.is_checked
        taken.mask = None if self.mask is None else np.ascontiguousarray(self.mask[rows])
        return taken

    def _take(self, rows):
        if self.kind == "csr":
            values, indptr, indices = self.arrays
            return Source(scipy.sparse.csr_array((values, indices, indptr), (self.n, *self.shape))[rows], self.dtype)
        if self.kind == "chunks":
            *chunks, starts, _ = self.arrays
            rows = np.arange(self.n)[rows]
            of = np.searchsorted(starts, rows, side="right") - 1
            found = np.empty((len(rows), *self.shape), self.dtype)
            for c in np.unique(of):
                found[of == c] = chunks[c][rows[of == c] - starts[c]]
            return Source(found, self.dtype)
        return Source(self.arrays[0][rows].reshape(-1, *self.shape), self.dtype, ids=self.kind == "ids")

    def all_same(self):
        """Whether all samples are equal."""
        if self.kind == "csr":
            values, indptr, indices = self.arrays
            counts = np.diff(indptr)
            rows = (a.reshape(self.n, -1) for a in (values, indices)) if (counts == counts[:1]).all() else ()
            return bool((counts == counts[:1]).all()) and all(bool((a == a[:1]).all()) for a in rows if a.size)
        parts = self.arrays[:-2] if self.kind == "chunks" else self.arrays
        return all(bool((a == parts[0][:1]).all()) for a in parts)

    def fill(self, data):
        """Write the addresses into tables `data`; the arrays live as long as this object."""
        data[..., DATA.x : DATA.indices + 1] = self.entries
        data[..., DATA.mask] = 0 if self.mask is None else self.mask.ctypes.data
        data[..., DATA.mask_row] = 0 if self.mask is None else self.mask.shape[1]


def check_lengths(lengths, n, shape):
    """Lengths of n sequences of samples of that shape as int64; ValueError unless each is 1 to the number of steps."""
    if len(shape) > 2 or not shape:
        raise ValueError(f"lengths are of sequences (time, features) or ids (time,), got samples of shape {shape}")
    try:
        found = np.asarray(lengths)
    except ValueError as error:
        raise ValueError(f"lengths must be {n} integers, one for each sample, got a list of several shapes") from error
    found = found.astype(int) if not found.size else found
    if found.shape != (n,) or found.dtype.kind not in "iu":
        raise ValueError(f"lengths must be {n} integers, one for each sample, got {found.dtype} of shape {found.shape}")
    if n and (found.min() < 1 or found.max() > shape[0]):
        row = np.flatnonzero((found < 1) | (found > shape[0]))[0]
        raise ValueError(f"lengths must be 1 to the {shape[0]} steps of X, got {found[row]} for row {row}")
    return found.astype(np.int64)


def as_ids(X):
    """X as int64; ValueError unless it holds integers."""
    if np.ma.is_masked(X):
        raise ValueError("X has masked entries; fill them with the id of padding, X.filled(0), say")
    X = as_array(X, "X")
    check_missing(X, "X")
    refuse_texts(X)
    if X.ndim == 1:
        raise ValueError(f"X must hold ids of shape (n, time), got {X.shape}; X[None] is one sequence")
    if X.dtype == np.uint64 and X.size and X.max() >= 1 << 63:
        raise ValueError(f"X must hold ids below 2**63, got {X.max()}")
    if X.dtype.kind not in "iub":
        raise ValueError(f"X must hold integers for a first layer that takes ids, got {X.dtype}; use X.astype(int)")
    return X.astype(np.int64, copy=False)
