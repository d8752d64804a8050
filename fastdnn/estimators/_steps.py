"""Targets of networks that give something for each step of a sequence: one label or number, or several, a step."""

import numpy as np

from ..inputs import filled
from ..layers import Layer
from ..layout import Layout


def takes_ids(estimator):
    """Whether samples are ids, integers that must not become floats."""
    layers = getattr(estimator, "layers", None)
    return bool(layers) and bool(getattr(layers[0], "takes_ids", False))


def steps_of(estimator, X):
    """Steps for which the estimator's layers give something each, for samples like X; None where they give one a sample."""
    layers = getattr(estimator, "layers", None)
    if not layers or np.ndim(X) < 2 or not all(isinstance(layer, Layer) for layer in layers):
        return None
    shape = Layout(list(layers), np.shape(X)[1:]).shapes[-1]
    return shape[0] if len(shape) == 2 else None


def counted(estimator, X, n):
    """(n,) bool: which of the steps of all samples, one after the other, count."""
    mask = estimator.layers[0].mask(np.asarray(X))
    return np.ones(n, bool) if mask is None or mask.size != n else mask.ravel()


def targets_of_steps(estimator, X, y, steps):
    """Targets (n * steps,) or (n * steps, k) of (n, steps) or (n, steps, k); a step that does not count gets another's."""
    y = np.asarray(y)
    if y.ndim not in (2, 3) or y.shape[:2] != (len(X), steps):
        raise ValueError(
            f"y must have shape ({len(X)}, {steps}) or ({len(X)}, {steps}, k) for layers that give something for each step, "
            f"got {y.shape}; a last layer without return_sequences gives one for each sample"
        )
    rows = y.reshape(-1, *y.shape[2:])
    return filled(rows, counted(estimator, X, len(rows)))


def scored_steps(estimator, X, y, predictions, sample_weight):
    """(y, predictions, weights) of the steps that count, one after the other; as they are where there are no steps."""
    if predictions.ndim < 2 or steps_of(estimator, X) is None:
        return y, predictions, sample_weight
    n = predictions.shape[0] * predictions.shape[1]
    kept, y = counted(estimator, X, n), np.asarray(y)
    weights = None if sample_weight is None else np.repeat(np.asarray(sample_weight, float), predictions.shape[1])[kept]
    return y.reshape(n, *y.shape[2:])[kept], predictions.reshape(n, *predictions.shape[2:])[kept], weights
