"""Losses of two classes and of labels, each output on its own. To add one, add one class here."""

import numpy as np

from .._math import exp, log, log1p, maximum, minimum, sigmoid, sigmoid_parts
from .._simd import where
from ..inputs import as_numbers
from ..specs import check_number
from .base import Loss, as_targets, loss, mean_of, within
from .cross_entropy import as_classes, one_hot


def as_indicators(y, n_out, dtype, name):
    """Targets 0 and 1, flat: from class numbers (n,) for several outputs, from an array (n, n_out) or (n,) for one."""
    y = np.asarray(y)
    if y.ndim == 1 and n_out > 1:
        y = one_hot(as_classes(y, n_out, name), n_out)
    flat = within(as_targets(y, n_out, dtype), 0.0, 1.0, name, "0 and 1")
    if ((flat != 0) & (flat != 1)).any():
        raise ValueError(f"{name} needs targets 0 and 1, got values between them")
    return flat


@loss
class LogLoss(Loss):
    """Binary cross-entropy of each output on its own (binary, multilabel), summed over the outputs; link sigmoid.

    loss = sum_j log(1 + exp(z_j)) - y_j z_j, targets between 0 and 1. Reference: Good 1952, Rational decisions.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(1)], loss=losses.LogLoss()).build(1)
    >>> model.params = 0 * model.params
    >>> round(model.loss_and_grad([[1.0]], [1])[0], 4)
    0.6931
    """

    name = "log_loss"

    def pointwise(z, y, a, b):
        p, u = sigmoid_parts(z)
        return p - y, maximum(z, 0.0) - z * y + log1p(u)

    def inverse(z):
        return sigmoid(z)

    def check_targets(self, y, n_out, dtype):
        return within(as_targets(y, n_out, dtype), 0.0, 1.0, self.name, "between 0 and 1")

    def metric_names(self):
        return ["accuracy"]

    def metrics(self, predictions, y, sample_weight):
        right = ((predictions > 0.5) == (np.asarray(y).reshape(predictions.shape) > 0.5)).all(axis=1)
        return {"accuracy": mean_of(right, predictions, sample_weight)}


class ClippedLogLoss(LogLoss):
    """`LogLoss` reported as scikit-learn's MLPClassifier does it: from probabilities clipped to [eps, 1 - eps].

    eps is the float type's. The gradient is that of `LogLoss`; the value loses digits where p is near 1, and L-BFGS
    follows them: taken from the scores instead, one trial step in its line search led to other weights (1e-5).

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(1)], loss=losses.ClippedLogLoss()).build(1)
    >>> model.params = 0 * model.params
    >>> round(model.loss_and_grad([[1.0]], [1])[0], 4)
    0.6931
    """

    name = "clipped_log_loss"

    def constants(self, dtype):
        eps = float(np.finfo(dtype).eps)
        return eps, 1 - eps

    def pointwise(z, y, low, high):
        p, _ = sigmoid_parts(z)
        clipped = minimum(maximum(p, low), high)
        return p - y, -log(where(y > 0.5, clipped, 1.0 - clipped))


@loss
class Hinge(Loss):
    """max(0, 1 - t z), summed over the outputs; t is 1 where the target is 1 and -1 where it is 0 or -1; no link.

    Class numbers (n,) with several outputs are taken one against the rest. Reference: Cortes & Vapnik 1995, Support-vector
    networks.

    Parameters
    ----------
    squared : bool, default=False
        Whether to take the square of it.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(1)], loss=losses.Hinge()).build(1)
    >>> model.params = 0 * model.params
    >>> model.loss_and_grad([[1.0]], [1])[0]
    1.0
    """

    name = "hinge"

    def __init__(self, squared=False):
        self.squared = bool(squared)

    def constants(self, dtype):
        return float(self.squared), 0.0

    def pointwise(z, t, squared, b):
        margin = maximum(1.0 - t * z, 0.0)
        value = where(squared > 0.5, margin * margin, margin)
        slope = where(squared > 0.5, 2.0 * margin, where(margin > 0.0, 1.0, margin))
        return -t * slope, value

    def check_targets(self, y, n_out, dtype):
        y = np.asarray(y)
        if y.ndim == 2 or n_out == 1:
            y = np.where(as_numbers(y, "y", float) == -1, 0, y)
        flat = as_indicators(y, n_out, dtype, "hinge")
        size = len(flat) - 64
        flat[:size] = 2 * flat[:size] - 1
        return flat

    def metric_names(self):
        return ["accuracy"]

    def metrics(self, predictions, y, sample_weight):
        y = np.asarray(y)
        if y.ndim == 1 and predictions.shape[1] > 1:
            right = predictions.argmax(axis=1) == y
        else:
            right = ((predictions > 0) == (y.reshape(predictions.shape) > 0)).all(axis=1)
        return {"accuracy": mean_of(right, predictions, sample_weight)}


@loss
class Focal(Loss):
    """(1 - q)^gamma times the log loss, q being the probability of the right answer, summed over the outputs; link sigmoid.

    Easy samples count little. Targets 0 and 1; class numbers (n,) with several outputs are taken one against the rest.
    Reference: Lin et al. 2017, Focal loss for dense object detection, arXiv:1708.02002.

    Parameters
    ----------
    gamma : float, default=2.0
        How fast a sample loses weight, >= 0; 0 gives the log loss.
    alpha : float or None, default=None
        Weight of the positive targets, between 0 and 1, the negative ones having 1 - alpha; None weighs neither.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(1)], loss=losses.Focal()).build(1)
    >>> model.params = 0 * model.params
    >>> round(model.loss_and_grad([[1.0]], [1])[0], 4)
    0.1733
    """

    name = "focal"

    def __init__(self, gamma=2.0, alpha=None):
        self.gamma = check_number("gamma", gamma, "[0, 1000]")
        self.alpha = None if alpha is None else check_number("alpha", alpha, "(0, 1)")

    def constants(self, dtype):
        return self.gamma, -1.0 if self.alpha is None else self.alpha

    def pointwise(z, y, gamma, alpha):
        s = where(y > 0.5, z, -z)  # the score of the right answer
        q, u = sigmoid_parts(s)
        rest, correction = sigmoid_parts(-s)[0], log1p(u)
        right, wrong = maximum(-s, 0.0) + correction, maximum(s, 0.0) + correction  # -log q, -log(1 - q)
        factor = exp(-gamma * wrong) * where(alpha < 0.0, 1.0, where(y > 0.5, alpha, 1.0 - alpha))
        gradient = -factor * (gamma * q * right + rest)
        return where(y > 0.5, gradient, -gradient), factor * right

    def inverse(z):
        return sigmoid(z)

    def check_targets(self, y, n_out, dtype):
        return as_indicators(y, n_out, dtype, "focal")

    def metric_names(self):
        return ["accuracy"]

    def metrics(self, predictions, y, sample_weight):
        y = np.asarray(y)
        if y.ndim == 1 and predictions.shape[1] > 1:
            right = predictions.argmax(axis=1) == y
        else:
            right = ((predictions > 0.5) == (y.reshape(predictions.shape) > 0.5)).all(axis=1)
        return {"accuracy": mean_of(right, predictions, sample_weight)}
