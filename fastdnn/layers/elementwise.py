"""Activations as layers of their own; they work on each number by itself.

Those without parameters work in place on the gradient of the layer before them: their output's gradient stands where that
of their input will. What multiplies the gradient may also be taken over by the product that computes it (`take_derivative`).
"""

from .._math import fma
from .._rows import row_op
from .._simd import copy, offset, where
from ..initializers import check_initializer
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
