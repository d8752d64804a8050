"""Training with weights as bytes will have them."""

import math

import numpy as np

from ..callbacks import Callback
from ..frozen.narrow import NARROW_LAYERS
from ..narrowing import MOST_QUADS
from ..specs import check_number

STEPS = 127  # of a column's weights on each side of 0, as in `narrowing.quantized`


class QuantizationAware(Callback):
    """Train a network with its weights rounded to what ``Model.freeze("int8")`` makes of them, so that it gets used to it.

    Each step goes forward and back with the rounded kernels of dense and convolutional layers: 255 steps for each output,
    symmetric about 0. What the optimizer takes off goes to a copy in full precision, which is rounded anew for the next step
    (the derivative of the rounding is taken to be 1: the straight-through estimator). For a few epochs of fine-tuning with a
    small rate, where a predictor of bytes is worse than the network that it was frozen from.

    At the end of each epoch and of the fit the network has the rounded weights: validation, `EarlyStopping` and checkpoints
    judge these, and a predictor of bytes has exactly them.

    Parameters
    ----------
    start : float, default=0.0
        In [0, 1): after which part of the fit's steps the rounding begins. `EarlyStopping` and checkpoints of the best epoch
        compare epochs before that with those after it, so take 0 with them.

    Raises
    ------
    ValueError
        If an argument is out of its range; when a fit begins, if the network has no kernel that would become bytes, or the
        optimizer has no single steps (L-BFGS) or takes its gradients at other weights than it keeps (ScheduleFreeAdamW).

    Notes
    -----
    Activations are not rounded while training: ``freeze("int8")`` rounds them to 255 steps of the range of each row, which
    costs less. A step takes longer by some passes over the weights. The copy in full precision ends with the fit, so one that
    is resumed goes on from the rounded weights.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, compress, layers
    >>> X = np.random.default_rng(0).standard_normal((300, 8)).astype("float32")
    >>> model = Model([layers.Dense(32, "relu"), layers.Dense(1)], random_state=0)
    >>> history = model.fit(X, X[:, 0] * X[:, 1], epochs=20)
    >>> history = model.fit(X, X[:, 0] * X[:, 1], epochs=5, callbacks=[compress.QuantizationAware()])
    >>> predictor = model.freeze("int8")
    >>> bool(np.allclose(predictor.model.layers[0].kernel_, model.weights["0.dense.kernel"], atol=1e-6))
    True

    References
    ----------
    Jacob, B. et al. (2018). Quantization and training of neural networks for efficient integer-arithmetic-only inference.
    arXiv:1712.05877.
    Bengio, Y., Leonard, N. & Courville, A. (2013). Estimating or propagating gradients through stochastic neurons.
    arXiv:1308.3432.
    """

    def __init__(self, start=0.0):
        self.start = check_number("start", start, "[0, 1)")

    def check(self, fit):
        if not hasattr(fit.model, "layout"):
            raise ValueError(f"QuantizationAware trains single networks, got {type(fit.model).__name__}")
        optimizer = fit.model.optimizer
        if not fit.has_rate or optimizer.trains_elsewhere:
            raise ValueError(
                f"QuantizationAware needs an optimizer of single steps from its weights, got {optimizer!r}; take Adam"
            )
        if not quantizable(fit.model):
            raise ValueError("QuantizationAware needs a Dense or convolutional layer, the network has none")

    def on_fit_begin(self, fit):
        self._masters = self._rounded = None

    def on_step(self, fit):
        (begin, end), step, params = fit.span, fit.model.step, fit.model.params
        first = begin + round(self.start * (end - begin))
        if step < first:
            return first
        if self._masters is None:
            self._masters, self._rounded = params.copy(), np.empty_like(params)
        else:
            params -= self._rounded  # what the optimizer has done
            self._masters += params
        if fit.model.mask is not None:  # a callback may have pruned what is there in full precision
            self._masters *= fit.model.mask
        params[...] = self._masters
        quantize(fit.model)
        self._rounded[...] = params
        return step + 1

    def on_fit_end(self, fit):
        if self._masters is not None:
            quantize(fit.model)  # a fit may have ended between a step and what comes after it
        self._masters = self._rounded = None


def quantizable(model):
    """Keys of the kernels that become bytes, in layer order."""
    layout, found = model.layout, []
    for number, (key, leaf) in enumerate(layout.leaves):
        if type(leaf) in NARROW_LAYERS["int8"] and getattr(leaf, "groups", 1) == 1:
            kernels = [e for e in layout.entries if e.layer == number and e.key == f"{key}.kernel"]
            found += [e.key for e in kernels if math.prod(e.shape[:-1]) <= MOST_QUADS]
    return found


def quantize(model):
    """Round the kernels that become bytes to what these can be; those that are rounded already stay as they are."""
    for key in quantizable(model):
        kernel = model.weights[key]
        matrix = kernel.reshape(-1, kernel.shape[-1])
        steps = np.abs(matrix)
        scale = steps.max(axis=0) / STEPS
        scale[scale == 0] = 1
        np.divide(matrix, scale, out=steps)
        np.rint(steps, out=steps)
        np.multiply(steps, scale, out=steps)
        kernel[...] = steps.reshape(kernel.shape)
