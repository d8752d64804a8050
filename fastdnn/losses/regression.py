"""Losses of numbers, counts and quantiles. To add one, add one class here."""

import math

import numpy as np

from .._math import absolute, exp, log, log1p, maximum, minimum, tanh, with_sign
from .._simd import where
from ..specs import check_number
from .base import Loss, as_targets, loss, within


@loss
class SquaredError(Loss):
    """Half the squared error, summed over the outputs: loss = 0.5 sum_j (z_j - y_j)^2; no link. Reference: Gauss 1809.

    Parameters
    ----------
    mean_over_outputs : bool, default=False
        Report the mean over the outputs instead of the sum. The gradient stays that of the sum: this is what
        scikit-learn's MLPRegressor reports and follows (scikit-learn issue 8349).

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(1)], loss=losses.SquaredError()).build(1)
    >>> model.params = 0 * model.params
    >>> model.loss_and_grad([[1.0]], [2.0])[0]
    2.0
    """

    name = "squared_error"

    def __init__(self, mean_over_outputs=False):
        self.mean_over_outputs = bool(mean_over_outputs)

    def report(self, n_out):
        return 1.0 / n_out if self.mean_over_outputs else 1.0

    def pointwise(z, y, a, b):
        r = z - y
        return r, 0.5 * r * r

    def check_targets(self, y, n_out, dtype):
        flat = as_targets(y, n_out, dtype)
        largest = np.abs(flat).max(initial=0)
        if largest > math.sqrt(np.finfo(dtype).max):
            raise ValueError(
                f"y contains values up to {largest:g}, whose squared errors are too large for {np.dtype(dtype).name}; "
                "scale y (sklearn.compose.TransformedTargetRegressor does), or use float64 samples"
            )
        return flat


@loss
class AbsoluteError(Loss):
    """Absolute error, summed over the outputs: loss = sum_j |z_j - y_j|; no link, the median. The derivative at 0 is 0.

    Reference: Koenker & Bassett 1978, Regression quantiles, Econometrica 46.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(1)], loss=losses.AbsoluteError()).build(1)
    >>> model.params = 0 * model.params
    >>> model.loss_and_grad([[1.0]], [2.0])[0]
    2.0
    """

    name = "absolute_error"

    def pointwise(z, y, a, b):
        r = z - y
        return where(r.equals(0.0), 0.0, with_sign(where(r.is_nan(), r, 1.0), r)), absolute(r)


@loss
class Huber(Loss):
    """Squared error near 0, absolute error far from it: 0.5 r^2 where |r| <= delta, else delta (|r| - delta / 2).

    Summed over the outputs, r = z - y; no link. Reference: Huber 1964, Robust estimation of a location parameter.

    Parameters
    ----------
    delta : float, default=1.0
        Where one turns into the other, > 0, in units of y.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(1)], loss=losses.Huber(delta=1.0)).build(1)
    >>> model.params = 0 * model.params
    >>> model.loss_and_grad([[1.0]], [2.0])[0]
    1.5
    """

    name = "huber"

    def __init__(self, delta=1.0):
        self.delta = check_number("delta", delta, "(0, inf)")

    def constants(self, dtype):
        return self.delta, 0.0

    def pointwise(z, y, delta, b):
        r = z - y
        clipped = minimum(maximum(r, -delta), delta)
        return clipped, clipped * (r - 0.5 * clipped)


@loss
class LogCosh(Loss):
    """log(cosh(z - y)), summed over the outputs: smooth like the square near 0, like the absolute value far from it; no link.

    Reference: Green 1990, Bayesian reconstructions from emission tomography data, IEEE Trans. Med. Imaging 9.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(1)], loss=losses.LogCosh()).build(1)
    >>> model.params = 0 * model.params
    >>> round(model.loss_and_grad([[1.0]], [2.0])[0], 4)
    1.325
    """

    name = "log_cosh"

    def pointwise(z, y, a, b):
        r = z - y
        size = absolute(r)
        return tanh(r), size + (log1p(exp(-2.0 * size)) - math.log(2))


@loss
class Quantile(Loss):
    """Pinball loss of one or several quantiles at once, summed: q r where r = y - z > 0, else (q - 1) r; no link.

    With k quantiles and targets (n,) the network has k outputs, in the order of `quantiles`; with targets (n, m) it has m k,
    the quantiles of the first target first. Reference: Koenker & Bassett 1978, Regression quantiles, Econometrica 46.

    Parameters
    ----------
    quantiles : float or sequence of float, default=0.5
        Each between 0 and 1.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(2)], loss=losses.Quantile((0.25, 0.75))).build(1)
    >>> model.params = 0 * model.params
    >>> model.loss_and_grad([[1.0]], [2.0])[0]
    2.0
    """

    name = "quantile"
    per_output = True

    def __init__(self, quantiles=0.5):
        several = isinstance(quantiles, (list, tuple, np.ndarray))
        if several and not len(quantiles):
            raise ValueError("quantiles must hold at least one number between 0 and 1")
        values = tuple(check_number("a quantile", q, "(0, 1)") for q in (quantiles if several else [quantiles]))
        self.quantiles = values if several else values[0]

    def n_scores(self, n_targets):
        return n_targets * len(self._values())

    def _values(self):
        return self.quantiles if isinstance(self.quantiles, tuple) else (self.quantiles,)

    def output_constants(self, n_out):
        k = len(self._values())
        if n_out % k:
            raise ValueError(f"a network for {k} quantiles needs a multiple of {k} outputs, got {n_out}")
        return np.tile(self._values(), n_out // k)

    def check_targets(self, y, n_out, dtype):
        k = len(self._values())
        if n_out % k:
            raise ValueError(f"a network for {k} quantiles needs a multiple of {k} outputs, got {n_out}")
        flat = as_targets(y, n_out // k, dtype)
        size = np.size(y)
        repeated = np.zeros(size * k + 64, dtype)
        repeated[: size * k] = np.repeat(flat[:size], k)
        return repeated

    def pointwise(z, y, a, b, q):
        r = y - z
        return where(r > 0.0, -q, where(r < 0.0, 1.0 - q, r)), maximum(q * r, (q - 1.0) * r)

    def metric_names(self):
        return [f"coverage_{q:g}" for q in self._values()]

    def metrics(self, predictions, y, sample_weight):
        """Share of the targets at or below each quantile's prediction, as "coverage_<quantile>"."""
        k = len(self._values())
        y = np.asarray(y, float).reshape(len(predictions), -1, 1)
        below = (y <= predictions.reshape(len(predictions), -1, k)).mean(axis=1)
        below = np.where(np.isfinite(predictions).all(), below, np.nan)
        shares = np.average(below, axis=0, weights=sample_weight)
        return {f"coverage_{q:g}": float(share) for q, share in zip(self._values(), shares, strict=True)}


@loss
class Poisson(Loss):
    """Half the Poisson deviance, summed over the outputs; link exp. Reference: McCullagh & Nelder 1989, ch. 6.

    loss = sum_j y_j log(y_j) - y_j - y_j z_j + exp(z_j), targets >= 0.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(1)], loss=losses.Poisson()).build(1)
    >>> model.params = 0 * model.params
    >>> round(model.loss_and_grad([[1.0]], [2.0])[0], 4)
    0.3863
    """

    name = "poisson"

    def pointwise(z, y, a, b):
        p = exp(z)
        constant = where(y > 0.0, y * log(y), 0.0) - y
        return p - y, constant - y * z + p

    def inverse(z):
        return exp(z)

    def check_targets(self, y, n_out, dtype):
        return within(as_targets(y, n_out, dtype), 0.0, np.inf, "poisson", ">= 0")


@loss
class Gamma(Loss):
    """Half the gamma deviance, summed over the outputs; link exp. Reference: McCullagh & Nelder 1989, ch. 8.

    loss = sum_j y_j exp(-z_j) + z_j - log(y_j) - 1, targets > 0.

    Examples
    --------
    >>> from fastdnn import Model, layers, losses
    >>> model = Model([layers.Dense(1)], loss=losses.Gamma()).build(1)
    >>> model.params = 0 * model.params
    >>> round(model.loss_and_grad([[1.0]], [2.0])[0], 4)
    0.3069
    """

    name = "gamma"

    def pointwise(z, y, a, b):
        ratio = y * exp(-z)
        return 1.0 - ratio, ratio + z - (log(y) + 1.0)

    def inverse(z):
        return exp(z)

    def check_targets(self, y, n_out, dtype):
        flat = as_targets(y, n_out, dtype)
        if np.size(y) and flat[: np.size(y)].min() <= 0:
            raise ValueError(f"gamma needs targets > 0, got {flat[: np.size(y)].min():g}")
        return flat
