"""Where batches come from: dense arrays of any strides and CSR matrices, checked once, gathered a batch at a time."""

import numpy as np
import scipy.sparse
from sklearn.utils.class_weight import compute_class_weight

from ._jit import inner
from ._rows import move, row_op, sum_of
from ._simd import copy, integers_at, offset, pointer_at, prefetch, real
from .layers.base import DATA, fields, op_kernel, sample

IN_FLIGHT = 1024  # elements of the rows to come that are asked for ahead of time, at most; at least the next row's start


def as_numbers(a, name, dtype):
    """`a` as an array of that float type; ValueError that names the argument if it holds no real numbers."""
    check_dense(a, name)
    if np.ma.is_masked(a):
        raise ValueError(f"{name} has masked entries; fill them, {name}.filled(value), or remove those rows")
    try:
        a = np.asarray(a)
        check_missing(a, name)
        check_strings(a, name)
        if a.dtype.kind in "cmM":
            raise TypeError
        with np.errstate(over="ignore"):  # who looks for infinity says so in words
            return a.astype(dtype, copy=False)
    except (TypeError, ValueError) as error:
        if type(error) is ValueError and name in str(error):
            raise
        raise ValueError(f"{name} must hold real numbers, got {getattr(a, 'dtype', type(a).__name__)}") from error


def check_dense(a, name):
    """ValueError if `a` is a sparse matrix."""
    if scipy.sparse.issparse(a):
        raise ValueError(f"{name} must be a dense array, got a sparse matrix; use {name}.toarray()")


def check_missing(a, name):
    """ValueError if an array of Python objects holds missing values: None, NaN, pandas.NA, NaT."""
    for value in a.ravel() if a.dtype.kind == "O" else ():
        if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
            raise ValueError(f"{name} contains missing values ({value!r}); remove those rows or replace the values")


def check_strings(a, name):
    """ValueError if an array holds strings, of which NumPy would make numbers where it can."""
    found = next((v for v in a.ravel() if isinstance(v, (str, bytes))), None) if a.dtype.kind in "OSU" else None
    if found is not None:
        raise ValueError(f"{name} must hold real numbers, got the string {found[:40]!r}; use {name}.astype(float)")


def check_kinds(a, name):
    """ValueError if an array of Python objects holds strings and something else: they have no order."""
    kinds = {isinstance(value, (str, bytes)) for value in a.ravel()} if a.dtype.kind == "O" else ()
    if len(kinds) > 1:
        raise ValueError(
            f"{name} must hold strings or numbers, got both; np.asarray({name}).astype(str) makes all of them strings"
        )


def check_weights(sample_weight, n, name="sample_weight"):
    """float64 array of shape (n,) or None; ValueError unless finite, not negative and not all zero."""
    if sample_weight is None:
        return None
    weights = np.ascontiguousarray(as_numbers(sample_weight, name, np.float64))
    if weights.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any():
        bad = weights[~np.isfinite(weights) | (weights < 0)][0]
        raise ValueError(f"{name} must be finite and not negative, got {bad:g}")
    if not weights.any():
        raise ValueError(f"{name} must not be all zero: there is nothing to learn from")
    return check_range(weights)


def check_range(weights):
    """Weights >= 0 as they are; ValueError if their sum, or 1 divided by one of them, is no number any more."""
    with np.errstate(over="ignore"):
        least, total = np.min(weights, where=weights > 0, initial=1.0), np.sum(weights)
    if not np.isfinite(total) or least < np.finfo(np.float64).tiny:
        raise ValueError(
            f"sample_weight (times class_weight) must have a finite sum and no weight below 2.3e-308 but 0, got the sum "
            f"{total} and the least weight {least}; divide or multiply all of them by a constant"
        )
    return weights


def weights_of_classes(class_weight, classes, numbers, sample_weight):
    """(classes,) float64: the weight of each class, by scikit-learn's rule.

    Parameters
    ----------
    class_weight : dict of label -> weight, or "balanced"
        "balanced" is (sum of the sample weights) / (number of classes * sum of those of the class's samples); a class whose
        samples all weigh 0 gets 0.
    classes : ndarray of shape (classes,)
        Labels.
    numbers : ndarray of int, shape (n,)
        Positions of the samples' labels in `classes`.
    sample_weight : ndarray of shape (n,) or None
        Weights of the samples.

    Raises
    ------
    ValueError
        If a class has no weight, or one that is negative or not finite.
    """
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be a dict, 'balanced' or None, got {class_weight!r}")
        sums = np.bincount(numbers, weights=sample_weight, minlength=len(classes)).astype(float)
        return np.divide(sums.sum(), len(classes) * sums, out=np.zeros(len(classes)), where=sums > 0)
    for label, weight in class_weight.items() if isinstance(class_weight, dict) else ():
        if not isinstance(weight, (int, float, np.integer, np.floating)):
            raise ValueError(f"class_weight must hold finite numbers >= 0, got {weight!r} for class {label!r}")
    weights = np.asarray(compute_class_weight(class_weight, classes=classes, y=classes), float)
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(f"class_weight must hold finite numbers >= 0, not all of them 0, got {class_weight!r}")
    return weights


def class_factors(class_weight, y, sample_weight):
    """Factor (n,) of each sample's weight: that of its class, for class numbers y; None without `class_weight`."""
    if class_weight is None:
        return None
    y = np.asarray(y)
    if y.ndim != 1 or y.dtype.kind not in "iufb":
        what = f"shape {y.shape}" if y.ndim != 1 else f"dtype {y.dtype}"
        raise ValueError(f"class_weight needs class numbers y of shape (n,), got {what}; use sample_weight")
    classes, numbers = np.unique(y, return_inverse=True)
    return weights_of_classes(class_weight, classes, numbers, sample_weight)[numbers]


def times(weights, factors):
    """Sample weights times factors of their classes, either of which may be None; ValueError if nothing is left."""
    if weights is None or factors is None:
        return factors if weights is None else weights
    if not (weights * factors).any():
        raise ValueError(
            "class_weight and sample_weight together give every sample the weight 0: there is nothing to learn from"
        )
    return weights * factors


class Source:
    """Samples as the gather kernels read them.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n, ...)
        Samples; everything after the first dimension is flattened. No copy is made of a dense array of the right type
        whose rows are reachable with strides (slices, Fortran order, read-only memory maps).
    dtype : {"float32", "float64"}
        Float type of the network.

    Raises
    ------
    ValueError
        If X is not numeric, has no samples, or (sparse) an index out of range.
    """

    def __init__(self, X, dtype):
        self.sparse, self.dtype = scipy.sparse.issparse(X), np.dtype(dtype)
        self.entries = np.zeros(5, np.int64)  # X, X_ROW, X_COLUMN, INDPTR, INDICES
        if self.sparse:
            self._keep_sparse(X, dtype)
        else:
            self._keep_dense(X, dtype)

    def _keep_dense(self, X, dtype):
        X = as_numbers(X, "X", dtype)
        if X.ndim < 2:
            raise ValueError(f"X must have shape (n, features) or more dimensions, got {X.shape}; use X.reshape(-1, 1)")
        if 0 in X.shape[1:]:
            raise ValueError(f"X has no features, its shape is {X.shape}")
        self.n, self.shape = len(X), X.shape[1:]
        X = X.reshape(self.n, int(np.prod(self.shape))) if X.ndim > 2 else X
        if any(stride % X.itemsize for stride in X.strides):
            X = np.ascontiguousarray(X)
        self.arrays = (X,)
        self.entries[:3] = X.ctypes.data, X.strides[0] // X.itemsize, X.strides[1] // X.itemsize

    def _keep_sparse(self, X, dtype):
        if X.ndim != 2:
            raise ValueError(f"a sparse X must have shape (n, features), got {X.shape}")
        as_numbers(np.zeros(0, X.dtype), "X", dtype)
        check_sparse(X)  # before anything of SciPy's walks the indices: it does not look either
        X = X.tocsr()
        check_sparse(X)
        X = X.sorted_indices()  # kernels look for a column by bisection
        X.sum_duplicates()
        self.n, self.shape = X.shape[0], X.shape[1:]
        values = np.ascontiguousarray(X.data, dtype)
        indptr, indices = (np.ascontiguousarray(a, np.int64) for a in (X.indptr, X.indices))
        self.arrays = (values, indptr, indices)
        self.entries[[0, 3, 4]] = [a.ctypes.data for a in self.arrays]

    def take(self, rows):
        """A new `Source` of some of the samples, copied."""
        if not self.sparse:
            return Source(self.arrays[0][rows].reshape(-1, *self.shape), self.dtype)
        values, indptr, indices = self.arrays
        return Source(scipy.sparse.csr_array((values, indices, indptr), (self.n, *self.shape))[rows], self.dtype)

    def fill(self, data):
        """Write the addresses into tables `data`; the arrays live as long as this object."""
        data[..., DATA.x : DATA.indices + 1] = self.entries


# Rows of a sample stand in n_in; offset of a row that has NaN where a number was not finite.
INPUT = fields("watched")


def input_op(op, builder, sparse, gradient=False):
    """Fill in a program's first op, which has no parameters; nothing where the first layer reads CSR itself.

    gradient : whether the way back ends with the gradient of the samples, in data.dx
    """
    if builder.sparse:
        return
    if sparse:
        raise ValueError("a sparse X needs a first layer that takes it (Dense does); use X.toarray() otherwise")
    width, rows = builder.input_shape[-1], builder.sample_rows
    op.forward = (gather_dense if builder.with_gradient else gather_watched).address(builder.dtype)
    op.n_in, op.n_out, op.y, op.ld_out = rows, width, builder.new_rows(width), builder.stride(width)
    if not builder.with_gradient:
        op.watched = builder.new_block(builder.stride(width))
    if gradient:
        op.backward, op.dy = scatter_gradient.address(builder.dtype), builder.new_deltas(width)


def check_sparse(X, name="X"):
    """ValueError unless the indices of a CSR, CSC, BSR or COO matrix are sound: kernels (and SciPy's) trust them.

    Anything else passes, also what is not sparse.
    """
    if not scipy.sparse.issparse(X) or X.ndim != 2:
        return
    what = f"{name} is not a valid {X.format.upper()} matrix:"
    if X.format in ("csr", "csc", "bsr"):
        height, width = X.blocksize if X.format == "bsr" else (1, 1)
        sides = [("row", X.shape[0] // height), ("column", X.shape[1] // width)]
        (_, major), minor = sides[::-1] if X.format == "csc" else sides
        stored, indptr = min(len(X.data), len(X.indices)), np.asarray(X.indptr)
        if len(indptr) != major + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any() or indptr[-1] > stored:
            raise ValueError(f"{what} its indptr must have {major + 1} entries and rise from 0 to at most {stored}")
        pairs = [(np.asarray(X.indices)[: indptr[-1]], *minor)]
    elif X.format == "coo":
        pairs = [(X.row, "row", X.shape[0]), (X.col, "column", X.shape[1])]
    else:
        pairs = []
    for indices, kind, n in pairs:
        if len(indices) and (indices.min() < 0 or indices.max() >= n):
            raise ValueError(f"{what} {kind} indices must be 0 to {n - 1}, got {indices.min()} to {indices.max()}")


@inner
def copy_row(source, target, n):
    """n elements, in whole vectors of 16 of which the last may overlap the one before: memcpy takes 10 ns to start."""
    if n < 16:
        copy(source, target, n)
    else:
        whole = n // 16 * 16
        move(source, target, whole)
        if whole < n:
            move(offset(source, n - 16), offset(target, n - 16), 16)


@inner
def gather(op, data, work, start, lo, n):
    """Samples order[start + lo], ... into n_in rows of n_out numbers each; moves 2 * rows * columns elements a sample.

    Shuffled samples stand anywhere in memory: some are asked for ahead of time, so that their latencies overlap.
    """
    x, ld, columns, rows = pointer_at(data.x, work), op.ld_out, op.n_out, op.n_in
    x_row, x_column = data.x_row, data.x_column
    size = rows * columns
    ahead = max(1, min(16, IN_FLIGHT // size)) if x_column == 1 and data.order else 0
    for i in range(lo - ahead, lo + n):
        if ahead and i + ahead < lo + n:
            coming = offset(x, sample(data, start + i + ahead) * x_row)
            for j in range(0, min(size, IN_FLIGHT), 16):
                prefetch(offset(coming, j))
        if i >= lo:
            for r in range(rows):
                source = offset(x, sample(data, start + i) * x_row + r * columns * x_column)
                target = offset(work, op.y + (i * rows + r) * ld)
                if x_column == 1:
                    copy_row(source, target, columns)
                else:
                    for j in range(columns):
                        target[j] = source[j * x_column]


@op_kernel(INPUT)
def gather_dense(op, data, params, grads, work, start, lo, n):
    """`gather`; writes its own samples."""
    gather(op, data, work, start, lo, n)


@op_kernel(INPUT)
def scatter_gradient(op, data, params, grads, work, start, lo, n):
    """The gradients of samples lo..lo+n, without padding, to their positions in data.dx; writes its own samples."""
    columns, rows, target = op.n_out, op.n_in, pointer_at(data.dx, work)
    for i in range(lo * rows, (lo + n) * rows):
        copy(offset(work, op.dy + i * op.ld_out), offset(target, (start * rows + i) * columns), columns)


@row_op(2, 2, whole=True)
def move_watching(x, zeros):
    return x, zeros + x * 0.0


@op_kernel(INPUT)
def gather_watched(op, data, params, grads, work, start, lo, n):
    """`gather`, and 1 into data.flag if a number is infinite or NaN: 0 times it is NaN. A check before it would cost a small
    network a fifth of its time."""
    x, zeros, ld, columns = pointer_at(data.x, work), offset(work, op.watched), op.ld_out, op.n_out
    for j in range(ld):
        zeros[j] = real(work, 0.0)
    whole = columns // 16 * 16
    direct = data.x_column == 1 and columns >= 16 and not data.order
    if not direct:
        gather(op, data, work, start, lo, n)
    for i in range(lo, lo + n):
        for r in range(op.n_in):
            target = offset(work, op.y + (i * op.n_in + r) * ld)
            if direct:
                source = offset(x, (start + i) * data.x_row + r * columns)
                move_watching(source, zeros, target, zeros, whole)
                if whole < columns:
                    move_watching(offset(source, columns - 16), zeros, offset(target, columns - 16), zeros, 16)
            else:
                for j in range(columns):
                    zeros[j] += target[j] * real(work, 0.0)
    if sum_of(zeros, columns) != real(work, 0.0):
        integers_at(data.flag, 0)[0] = 1
