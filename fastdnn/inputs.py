"""What users pass as samples, targets and weights, checked once: kernels trust it."""

import numpy as np
import scipy.sparse
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import validate_data


def as_numbers(a, name, dtype):
    """`a` as an array of that float type; ValueError that names the argument if it holds no real numbers."""
    check_dense(a, name)
    if np.ma.is_masked(a):
        raise ValueError(f"{name} has masked entries; fill them, {name}.filled(value), or remove those rows")
    try:
        a = as_array(a, name)
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


def as_array(a, name):
    """`a` as an array; ValueError that names the argument if it is a list of arrays of several shapes."""
    try:
        return np.asarray(a)
    except ValueError as error:
        shapes = {np.shape(item) for item in a} if isinstance(a, (list, tuple)) else set()
        if len(shapes) < 2:
            raise
        some = " and ".join(map(str, sorted(shapes, key=str)[:2]))
        raise ValueError(
            f"{name} must hold samples of one shape, got a list of {some}: crop, pad or resize them before; "
            "fastdnn.preprocessing.pad_sequences pads sequences"
        ) from error


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


def check_weights(sample_weight, n, name="sample_weight", signed=False, of_some=False):
    """float64 array of shape (n,) or None; ValueError unless finite and, if not `signed`, not negative and not all zero.

    of_some : whether these are some of many samples, which may all have the weight 0
    """
    if sample_weight is None:
        return None
    weights = np.ascontiguousarray(as_numbers(sample_weight, name, np.float64))
    if weights.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {weights.shape}")
    if signed:
        if not np.isfinite(weights).all():
            raise ValueError(f"{name} must be finite, got {weights[~np.isfinite(weights)][0]:g}")
        return weights
    if not np.isfinite(weights).all() or (weights < 0).any():
        bad = weights[~np.isfinite(weights) | (weights < 0)][0]
        raise ValueError(f"{name} must be finite and not negative, got {bad:g}")
    if not of_some and not weights.any():
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


def by_rows(y, shape):
    """Targets of samples whose scores have that shape, a row for each row of scores; a vector of scores is one row."""
    if len(shape) == 1:
        return y
    y = as_array(y, "y")
    if y.shape[1 : len(shape)] != shape[:-1]:
        raise ValueError(f"y must have shape (n, {', '.join(map(str, shape[:-1]))}, ...) for scores {shape}, got {y.shape}")
    return y.reshape(-1, *y.shape[len(shape) :])


def filled(targets, counts):
    """Targets, an array with a row for each of `counts`, in which the first that counts stands where a row does not."""
    targets = np.array(targets)
    targets[~counts] = targets[np.argmax(counts)]
    return targets


def refuse_texts(X):
    """ValueError if X holds strings where ids are wanted."""
    found = as_array(X, "X")
    if found.dtype.kind in "US" or any(isinstance(value, (str, bytes)) for value in found.ravel()[:1]):
        raise ValueError(
            "X must hold integers, the ids of tokens, got strings; fastdnn.preprocessing.TextTokenizer makes ids of texts, "
            "in a Pipeline before the network"
        )


def check_samples(estimator, X, shape, dtype, ids=False):
    """X as scikit-learn checks what a fitted estimator predicts, with numbers that the network's float type holds.

    shape, dtype : of a sample, and of the network     ids : whether samples are integers that must not become floats
    """
    check_sparse(X)
    if ids:
        refuse_texts(X)
    X = validate_data(estimator, X, accept_sparse=["csr", "csc"], reset=False, allow_nd=len(shape) > 1)
    if ids:
        return X
    numbers = X.data if scipy.sparse.issparse(X) else X
    if numbers.dtype != dtype and numbers.size and np.abs(numbers).max() > np.finfo(dtype).max:
        raise ValueError(f"Input X contains infinity or a value too large for {dtype!r}, the network's float type.")
    return X
