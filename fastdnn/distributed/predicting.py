"""Predictions of dask arrays and frames, partition by partition and when they are wanted; and scores of them."""

import copy
import uuid

import dask
import numpy as np
import pandas as pd
from dask import array as da

from ..model import Model
from .partitions import is_array, zipped


def mapped(estimator, method, X):
    """What a method of a fitted estimator gives for a dask array or frame: an array or a frame (a series) of the same rows.

    estimator : a local one, which goes to the workers once
    """
    sent = _sent(estimator)
    one = _call(_like(X), estimator, method)
    if not is_array(X):
        meta = _framed(one, _made_up(X._meta), estimator, method).iloc[:0]
        return X.map_partitions(_call_frame, sent, method, meta=meta, token=f"fastdnn_{method}")
    if any(n > 1 for n in X.numblocks[1:]):
        X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    axes = list(range(1, X.ndim))
    return da.map_blocks(
        _call, X, sent, method, dtype=one.dtype, drop_axis=axes, new_axis=list(range(1, one.ndim)),
        chunks=(X.chunks[0], *one.shape[1:]), meta=np.empty((0,) * one.ndim, one.dtype), name=None, token=f"fastdnn_{method}",
    )  # fmt: skip


def _sent(estimator):
    """An estimator as a task of its own name, without the optimizer's memory, which is larger than the network."""
    model = getattr(estimator, "model_", None)
    if isinstance(model, Model):
        estimator = copy.copy(estimator)
        estimator.model_ = model.copy()
        estimator.model_.trained.moments = None
    return dask.delayed(estimator, name=f"fastdnn_{type(estimator).__name__}-{uuid.uuid4().hex}", pure=False)


def _like(X):
    """A sample or two, made up, in the shape and the columns of X."""
    return _one_like(X) if is_array(X) else _made_up(X._meta)


def _call(X, estimator, method):
    return getattr(estimator, method)(X) if len(X) else np.asarray(getattr(estimator, method)(_one_like(X)))[:0]


def _one_like(X):
    """A sample in the place of none, for its type and shape."""
    return np.zeros((1, *X.shape[1:]), X.dtype)


def _call_frame(X, estimator, method):
    given = X if len(X) else _made_up(X)
    return _framed(getattr(estimator, method)(given), given, estimator, method).iloc[: len(X)]


def _made_up(X):
    """Two rows in the place of none, with the columns and types of a frame."""
    from dask.dataframe.dispatch import meta_nonempty

    return meta_nonempty(X).ffill().bfill()  # it has missing values where a type has them


def _framed(found, X, estimator, method):
    """Predictions with the index of the samples; pandas finds out the type of labels by labels, of none it finds no type."""
    if found.ndim == 1:
        return pd.Series(found, index=X.index, name=method)
    if method == "transform":
        columns = list(estimator.get_feature_names_out())
    else:
        classes = getattr(estimator, "classes_", ())
        columns = list(classes) if len(classes) == found.shape[1] else list(range(found.shape[1]))
    return pd.DataFrame(found, index=X.index, columns=columns)


# ---------------------------------------------------------------- scores


def scored(estimator, X, y, sample_weight, read):
    """The score of a fitted estimator for dask collections, from sums over their partitions.

    read : gives (anything, y, weights or None) of a partition, see `Reader`
    """
    sent, judge = _sent(estimator), dask.delayed(_judged, pure=False)
    found = dask.compute(*[judge(part, sent, read) for part in zipped(X, y, sample_weight)])
    found = [part for part in found if part[0]]
    if not found:
        raise ValueError("sample_weight must not be all zero, and X must have samples: there is nothing to score")
    if len(found[0]) == 2:  # a classifier's
        weights, right = np.transpose(found)
        return float(right.sum() / weights.sum())
    weights, means, squares, errors = (np.array(column) for column in zip(*found, strict=True))
    mean = np.average(means, axis=0, weights=weights)
    total, errors = squares.sum(0) + np.einsum("i,ij->j", weights, (means - mean) ** 2), errors.sum(0)
    scores = np.where(total > 0, 1 - errors / np.where(total > 0, total, 1.0), np.where(errors > 0, 0.0, 1.0))
    return float(scores.mean())


def _judged(part, estimator, read):
    """Of a partition: the weight of the samples, and of those that are right; or means of y, squares about them, errors."""
    _, y, weights = read(part)
    weights = np.ones(len(y)) if weights is None else weights
    if not weights.sum():
        return (0.0,)
    predicted = estimator.predict(part[0])
    if hasattr(estimator, "classes_"):
        right = predicted == y if y.ndim == 1 else (predicted == y).all(axis=1)
        return float(weights.sum()), float(weights[right].sum())
    predicted = predicted if predicted.ndim == 1 else estimator._central(predicted)
    y, predicted = (np.asarray(a, float).reshape(len(y), -1) for a in (y, predicted))
    mean = np.average(y, axis=0, weights=weights)
    return weights.sum(), mean, weights @ (y - mean) ** 2, weights @ (y - predicted) ** 2
