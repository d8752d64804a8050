"""Layers that do something random in training and nothing in inference: dropout, noise."""

from .._jit import kernel
from .._math import fma, inverse_normal
from .._rows import multiply, row_op
from .._simd import doubles_at, offset, real, where
from ..gemm import epilogue_signature
from ..rng import uniform_row
from ..specs import check_number
from .base import Layer, fields, op_kernel
from .elementwise import derived_backward

NOISE = fields("constants")  # address of the rate, or what else the layer is told
SPATIAL = fields("constants", "rows", "factors")  # rows of a sample; offset of a row of factors for each


class Noise(Layer):
    """Base of the layers that do something random in training and nothing in inference.

    What they draw depends on the model's seed, the layer, the step and the row, never on the threads.
    """

    record = NOISE

    def __init__(self, rate):
        self.rate = check_number("rate", rate, "[0, 1)")

    def _random_op(self, op, builder, forward, *numbers):
        """Fill in the op; whether there is something random to do."""
        builder.in_place(op)
        if not builder.training or not numbers[0]:
            return False
        op.forward, op.y = forward.address(builder.dtype), builder.new_rows(op.n_out)
        op.key, op.constants = builder.key(), builder.constants(*numbers)
        op.saved = builder.new_rows(op.n_out)
        return True


@kernel(epilogue_signature)
def multiply_saved(dy, saved, rows, columns, ldd, lds):
    """dy *= saved, in builder, for a block of rows x columns."""
    for i in range(rows):
        multiply(offset(dy, i * ldd), offset(saved, i * lds), offset(dy, i * ldd), columns)


class Dropout(Noise):
    """Each number is 0 with probability `rate` in training, the others are divided by 1 - rate; nothing in inference.

    Parameters
    ----------
    rate : float, default=0.5
        Probability, in [0, 1).

    Notes
    -----
    The mask depends on the model's `random_state`, the layer, the step and the row: the same bits on any number of threads.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.Dropout(0.5)]).build(2).forward([[1.0, 2.0]])
    array([[1., 2.]], dtype=float32)

    References
    ----------
    Srivastava, N. et al. (2014). Dropout: a simple way to prevent neural networks from overfitting. JMLR 15.
    """

    name = "dropout"

    def __init__(self, rate=0.5):
        super().__init__(rate)

    def emit(self, op, builder):
        if self._random_op(op, builder, dropout_forward, self.rate, 1 / (1 - self.rate)):
            op.backward, op.derivative = builder.addresses(derived_backward, multiply_saved)


@row_op(2, 2, scalars=2)
def _drop(x, u, rate, scale):
    factor = where(u < rate, 0.0, scale)
    return x * factor, factor


@op_kernel(NOISE)
def dropout_forward(op, data, params, grads, work, start, lo, n):
    """Y = X times 0 or 1 / (1 - rate) for rows lo..lo+n; writes its own rows of Y and of the factors at `saved`."""
    ld, numbers = op.ld_out, doubles_at(op.constants)
    rate, scale = real(work, numbers[0]), real(work, numbers[1])
    for i in range(lo, lo + n):
        x, factor = offset(work, op.x + i * ld), offset(work, op.saved + i * ld)
        uniform_row(factor, ld, op.key, start + i, data.step)
        _drop(x, factor, offset(work, op.y + i * ld), factor, rate, scale, op.n_out)


class AlphaDropout(Noise):
    """Dropout for selu networks: dropped numbers become selu's lower bound, and mean and variance are kept.

    Parameters
    ----------
    rate : float, default=0.5
        Probability, in [0, 1).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.AlphaDropout(0.1)]).build(2).forward([[1.0, 2.0]])
    array([[1., 2.]], dtype=float32)

    References
    ----------
    Klambauer, G. et al. (2017). Self-normalizing neural networks. arXiv:1706.02515.
    """

    name = "alpha_dropout"

    def __init__(self, rate=0.5):
        super().__init__(rate)

    def emit(self, op, builder):
        low, keep = -1.7580993408473766, 1 - self.rate  # selu at minus infinity
        a = (keep + low * low * keep * self.rate) ** -0.5
        b = -a * self.rate * low
        if self._random_op(op, builder, alpha_dropout_forward, self.rate, a, a * low + b, b):
            op.backward, op.derivative = builder.addresses(derived_backward, multiply_saved)


@row_op(2, 2, scalars=4)
def _drop_to(x, u, rate, scale, dropped, kept):
    factor = where(u < rate, 0.0, scale)
    return fma(x, factor, where(u < rate, dropped, kept)), factor


@op_kernel(NOISE)
def alpha_dropout_forward(op, data, params, grads, work, start, lo, n):
    """Y = a X + b, or a constant where dropped, for rows lo..lo+n; writes its own rows of Y and of the factors at `saved`."""
    ld, c = op.ld_out, doubles_at(op.constants)
    rate, scale, dropped, kept = real(work, c[0]), real(work, c[1]), real(work, c[2]), real(work, c[3])
    for i in range(lo, lo + n):
        x, factor = offset(work, op.x + i * ld), offset(work, op.saved + i * ld)
        uniform_row(factor, ld, op.key, start + i, data.step)
        _drop_to(x, factor, offset(work, op.y + i * ld), factor, rate, scale, dropped, kept, op.n_out)


class GaussianNoise(Noise):
    """y = x + noise in training, normal with mean 0; nothing in inference.

    Parameters
    ----------
    stddev : float, default=0.1
        Standard deviation of the noise, >= 0.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.GaussianNoise(0.1)]).build(2).forward([[1.0, 2.0]])
    array([[1., 2.]], dtype=float32)

    References
    ----------
    Bishop, C. (1995). Training with noise is equivalent to Tikhonov regularization. Neural Computation 7.
    """

    name = "gaussian_noise"

    def __init__(self, stddev=0.1):
        self.stddev = check_number("stddev", stddev, "[0, inf)")

    def emit(self, op, builder):
        self._random_op(op, builder, gaussian_noise_forward, self.stddev)


@row_op(2, 1, scalars=1)
def _add_normal(x, u, stddev):
    return fma(inverse_normal(u), stddev, x)


@op_kernel(NOISE)
def gaussian_noise_forward(op, data, params, grads, work, start, lo, n):
    """Y = X + stddev times a normal number for rows lo..lo+n; writes its own rows of Y and the numbers drawn at `saved`."""
    ld, stddev = op.ld_out, real(work, doubles_at(op.constants)[0])
    for i in range(lo, lo + n):
        x, u = offset(work, op.x + i * ld), offset(work, op.saved + i * ld)
        uniform_row(u, ld, op.key, start + i, data.step)
        _add_normal(x, u, offset(work, op.y + i * ld), stddev, op.n_out)


class SpatialDropout(Noise):
    """Each channel of a sample is 0 with probability `rate` in training, the others are divided by 1 - rate.

    Neighbouring pixels of an image, or steps of a series, say much the same: to drop them one by one hides nothing.

    Parameters
    ----------
    rate : float, default=0.5
        Probability, in [0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers
    >>> Model([layers.SpatialDropout(0.5)]).build((4, 4, 2)).forward(np.ones((1, 4, 4, 2))).mean()
    np.float32(1.0)

    References
    ----------
    Tompson, J. et al. (2015). Efficient object localization using convolutional networks. arXiv:1411.4280.
    """

    name, record = "spatial_dropout", SPATIAL
    takes_windows = True

    def __init__(self, rate=0.5):
        super().__init__(rate)

    def emit(self, op, builder):
        builder.in_place(op)
        if builder.training and self.rate:
            op.rows, op.sample_rows, op.y = builder.sample_rows, 1, builder.new_rows(op.n_out)
            op.key, op.constants = builder.key(), builder.constants(self.rate, 1 / (1 - self.rate))
            op.factors = builder.new_rows(op.n_out, 1)
            op.forward, op.backward = builder.addresses(spatial_dropout_forward, spatial_dropout_backward)


@row_op(1, 1, scalars=2)
def _factor(u, rate, scale):
    return where(u < rate, 0.0, scale)


@op_kernel(SPATIAL)
def spatial_dropout_forward(op, data, params, grads, work, start, lo, n):
    """Y = X times 0 or 1 / (1 - rate), the same in all rows of a sample, for samples lo..lo+n; writes Y and the factors."""
    ld, numbers = op.ld_out, doubles_at(op.constants)
    rate, scale = real(work, numbers[0]), real(work, numbers[1])
    for i in range(lo, lo + n):
        factors = offset(work, op.factors + i * ld)
        uniform_row(factors, ld, op.key, start + i, data.step)
        _factor(factors, factors, rate, scale, op.n_out)
        for r in range(i * op.rows, (i + 1) * op.rows):
            multiply(offset(work, op.x + r * ld), factors, offset(work, op.y + r * ld), op.n_out)


@op_kernel(SPATIAL)
def spatial_dropout_backward(op, data, params, grads, work, start, lo, n):
    """dX = dY times the factors, in place, for samples lo..lo+n."""
    ld = op.ld_out
    if op.dy >= 0:
        for i in range(lo, lo + n):
            factors = offset(work, op.factors + i * ld)
            for r in range(i * op.rows, (i + 1) * op.rows):
                dy = offset(work, op.dy + r * ld)
                multiply(dy, factors, dy, op.n_out)
