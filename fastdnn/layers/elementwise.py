"""Layers that work on each number by itself: activations, dropout, noise.

Those without parameters work in place on the gradient of the layer before them: their output's gradient stands where that
of their input will. What multiplies the gradient may also be taken over by the product that computes it (`take_derivative`).
"""

from .._jit import kernel
from .._math import fma, inverse_normal
from .._rows import multiply, row_op
from .._simd import copy, doubles_at, offset, real, where
from ..gemm import epilogue_signature
from ..initializers import check_initializer
from ..rng import uniform_row
from ..specs import check_number
from .activation_function import call_on_tile, check_activation, get_activation
from .base import OP, ZEROS, Layer, Parameter, fields, op_kernel, shard_rows

# ---------------------------------------------------------------- activations

ACTIVATION = fields("activation")  # address of the kernel


class Activation(Layer):
    """An activation function as a layer of its own, y = f(x); within `Dense(activation=...)` it is faster.

    Parameters
    ----------
    activation : str or ActivationFunction
        Name in `fastdnn.layers.ACTIVATIONS`, or one of your own. Its formula and reference stand there.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.Activation("relu")]).build(2).forward([[-1.0, 2.0]])
    array([[0., 2.]], dtype=float32)

    References
    ----------
    Goodfellow, I., Bengio, Y. & Courville, A. (2016). Deep Learning, section 6.3. MIT Press.
    """

    name, record = "activation", ACTIVATION

    def __init__(self, activation):
        self.activation = check_activation(activation)

    def emit(self, op, builder):
        f = get_activation(self.activation)
        builder.in_place(op)
        if f.is_identity:
            return
        op.forward, op.activation = activation_forward.address(builder.dtype), f.forward_kernel.address(builder.dtype)
        if builder.with_gradient:
            op.y = builder.new_rows(op.n_out)
            op.backward, op.derivative = derived_backward.address(builder.dtype), f.backward_kernel.address(builder.dtype)
            op.saved, op.clamps = op.x if f.needs_input else op.y, f.clamps
        op.by_rows = f.by_rows


@op_kernel(ACTIVATION)
def activation_forward(op, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(X[lo:lo+n]); writes its own rows of Y, stride ld_out as X's."""
    ld = op.ld_out
    call_on_tile(op.activation, offset(work, op.x + lo * ld), offset(work, op.y + lo * ld), n, op.n_out, ld, ld)


@op_kernel(OP)
def derived_backward(op, data, params, grads, work, start, lo, n):
    """dY[lo:lo+n] *= what `derivative` makes of the rows at `saved`, in builder, where no layer after this one did it."""
    ld = op.ld_out
    if op.derivative and op.dy >= 0:
        dy, saved = offset(work, op.dy + lo * ld), offset(work, op.saved + lo * ld)
        call_on_tile(op.derivative, dy, saved, n, op.n_out, ld, ld)


PRELU = fields("slope")  # offset in `params`


class PReLU(Layer):
    """y = x where x > 0, a x elsewhere, with a slope a of each feature that is trained.

    Parameters
    ----------
    init : float or str, default=0.25
        First value of the slopes (a number, or a name in `fastdnn.initializers.INITIALIZERS`).

    Notes
    -----
    Weights "slope" of shape (features,), without weight decay, as the paper has it.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.PReLU()]).build(2).forward([[-1.0, 2.0]])
    array([[-0.25,  2.  ]], dtype=float32)

    References
    ----------
    He, K. et al. (2015). Delving deep into rectifiers. arXiv:1502.01852.
    """

    name, record = "prelu", PRELU

    def __init__(self, init=0.25):
        self.init = check_initializer(init)

    def parameters(self, input_shape):
        return [Parameter("slope", input_shape[-1:], self.init, decays=False)]

    def emit(self, op, builder):
        builder.in_place(op)
        op.forward, op.slope = prelu_forward.address(builder.dtype), builder.parameter("slope")
        if builder.with_gradient:
            op.y, op.dy = builder.new_rows(op.n_out), builder.new_deltas(op.n_out)
            op.backward, op.gradient = builder.addresses(prelu_backward, prelu_gradient)


@row_op(2, 1)
def _prelu(x, slope):
    return where(x < 0.0, slope * x, x)


@row_op(3, 1)
def _prelu_derivative(x, slope, dy):
    return where(x < 0.0, slope * dy, dy)


@row_op(3, 1)
def _prelu_slope(x, dy, total):
    return where(x < 0.0, fma(x, dy, total), total)


@op_kernel(PRELU)
def prelu_forward(op, data, params, grads, work, start, lo, n):
    """Y = X where X > 0, slope X elsewhere, for rows lo..lo+n; writes its own rows of Y."""
    ld, slope = op.ld_out, offset(params, op.slope)
    for i in range(lo, lo + n):
        _prelu(offset(work, op.x + i * ld), slope, offset(work, op.y + i * ld), op.n_out)


@op_kernel(PRELU)
def prelu_backward(op, data, params, grads, work, start, lo, n):
    """dX = dY where X > 0, slope dY elsewhere, for rows lo..lo+n; writes its own rows of dX."""
    ld, slope = op.ld_out, offset(params, op.slope)
    if op.dx >= 0:
        for i in range(lo, lo + n):
            x, dy = offset(work, op.x + i * ld), offset(work, op.dy + i * ld)
            _prelu_derivative(x, slope, dy, offset(work, op.dx + i * ld), op.n_out)


@op_kernel(PRELU)
def prelu_gradient(op, data, params, grads, work, start, lo, n):
    """dslope = sum over the rows of X dY where X < 0; one unit."""
    ld, target = op.ld_out, offset(grads, op.slope)
    copy(offset(work, ZEROS), target, ld)
    first, rows = shard_rows(op, data)
    for i in range(first, first + rows):
        _prelu_slope(offset(work, op.x + i * ld), offset(work, op.dy + i * ld), target, target, op.n_out)


# ---------------------------------------------------------------- noise


NOISE = fields("constants")  # address of the rate, or what else the layer is told


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
