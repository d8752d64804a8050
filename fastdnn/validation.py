"""Samples held out of a fit: at random, by class, by group, or the last ones."""

import math

import numpy as np
import scipy.sparse
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

from .data.blocks import as_stream

SPLITS = ("random", "stratified", "grouped", "last")


def check_validation_data(given, shape):
    """(X, y, sample_weight, lengths), None where not given; ValueError if the samples are not of X's shape."""
    if not isinstance(given, (tuple, list)) or len(given) not in (2, 3, 4):
        raise ValueError("validation_data must be a tuple (X, y), (X, y, sample_weight) or (X, y, sample_weight, lengths)")
    if np.shape(given[0])[1:] != shape[1:]:
        raise ValueError(f"validation_data must hold samples of the shape of X, {shape[1:]}, got {np.shape(given[0])[1:]}")
    return (*given, None, None)[:4]


def validation_stream(given, epochs, scorers):
    """`validation_data` as a stream, None where it is a tuple of arrays; ValueError where it cannot be what is wanted."""
    stream = as_stream(given)
    if stream is not None and scorers:
        raise ValueError("scoring needs validation_data that are arrays (X, y)")
    if stream is not None and stream.one_pass and epochs > 1:
        raise ValueError(
            "validation_data must be read after each epoch, and a generator can be read once; give the function that makes "
            "it, or a list of its blocks"
        )
    return stream


def take(y, rows):
    """Rows of an array-like, a sparse matrix, a Series or a data frame."""
    if scipy.sparse.issparse(y):
        return y.tocsr()[rows]
    return y.iloc[rows] if hasattr(y, "iloc") else np.asarray(y)[rows]


def can_stratify(y, fraction):
    """Whether each class of y, (n,), has room both in a part held out and in what is left."""
    _, counts = np.unique(y, return_counts=True)
    held_out = math.ceil(fraction * len(y))
    return counts.min() >= 2 and len(counts) <= min(held_out, len(y) - held_out)


def hold_out(fraction, split, n, y, groups, seed):
    """Rows to train on and rows to validate on, int64 and in ascending order.

    Parameters
    ----------
    fraction : float
        Part of the samples (of the groups, where split is "grouped") to hold out, in (0, 1).
    split : {"random", "stratified", "grouped", "last"}
        "stratified" keeps the shares of the classes y; "grouped" keeps the samples of a group together; "last" takes the
        last ones, for samples in the order of time.
    n : int
        Number of samples.
    y : array-like
        Class numbers or labels of shape (n,), for "stratified".
    groups : array-like of shape (n,) or None
        For "grouped".
    seed : int
        Of the random splits.

    Raises
    ------
    ValueError
        If an argument is none of these, or one side would be empty.
    """
    good = isinstance(fraction, (float, np.floating)) and 0 < fraction < 1
    if not good:
        raise ValueError(f"validation_fraction must be a number in (0, 1), got {fraction!r}")
    if split not in SPLITS:
        raise ValueError(f"validation_split must be one of {SPLITS}, got {split!r}")
    if (groups is not None) != (split == "grouped"):
        raise ValueError("groups and validation_split='grouped' belong together: give both or neither")
    if split == "last":
        first = n - math.ceil(fraction * n)
        if first < 1:
            raise ValueError(f"validation_fraction={fraction} leaves no samples to train on, of {n}")
        return np.arange(first), np.arange(first, n)
    if split == "grouped":
        if np.shape(groups) != (n,):
            raise ValueError(f"groups must have shape ({n},), got {np.shape(groups)}")
        splitter = GroupShuffleSplit(1, test_size=fraction, random_state=seed)
    else:
        splitter = (ShuffleSplit if split == "random" else StratifiedShuffleSplit)(1, test_size=fraction, random_state=seed)
        if split == "stratified" and np.ndim(y) != 1:
            raise ValueError(f"validation_split='stratified' needs classes y of shape (n,), got shape {np.shape(y)}")
    try:
        train, held_out = next(splitter.split(np.zeros((n, 1)), y, groups))
    except ValueError as error:
        raise ValueError(
            f"validation_fraction={fraction} and validation_split={split!r} do not fit the {n} samples: {error} "
            "(validation_split='random' asks least of them)"
        ) from error
    return np.sort(train), np.sort(held_out)
