"""An activation of which each feature has as much as training gives it."""

from .._math import fma
from .._rows import block_op
from .._simd import copy, offset
from ..specs import check_number
from .activation_function import call_on_tile, check_activation, get_activation
from .base import ZEROS, Layer, Parameter, fields, op_kernel, shard_rows

# Addresses of the kernels of f and of its derivative; offsets of alpha in `params`, of f(x), and of what the derivative is
# a function of.
PARAMETRIC = fields("activation", "activation_back", "alpha", "values", "derived_from")

NEAR = 16  # rows that go through all passes one after the other, in the cache


class ParametricActivation(Layer):
    """y = x + alpha (f(x) - x), with an alpha of each feature that is trained: 0 is the identity, 1 the activation f.

    Parameters
    ----------
    activation : str or ActivationFunction
        Name in `fastdnn.layers.ACTIVATIONS`, or one of your own; neither "identity" nor one of whole rows ("softmax").
    learning_rate_factor : float, default=1.0
        Factor of the learning rate for this layer, >= 0; 0 freezes it.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Weights "alpha" of shape (features,), 1 at first, without weight decay. An infinite x gives NaN.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> model = Model([layers.ParametricActivation("relu")]).build(2)
    >>> model.weights["0.parametric_activation.alpha"] = [1.0, 0.5]
    >>> model.forward([[-1.0, -1.0], [2.0, 2.0]])
    array([[ 0. , -0.5],
           [ 2. ,  2. ]], dtype=float32)

    References
    ----------
    Holzmüller, D., Grinsztajn, L. & Steinwart, I. (2024). Better by default. arXiv:2407.04491, section 3.
    """

    name, record = "parametric_activation", PARAMETRIC

    def __init__(self, activation, learning_rate_factor=1.0):
        f = get_activation(activation)
        if f.by_rows or f.is_identity:
            raise ValueError(f"activation must be a function of single numbers other than the identity, got {activation!r}")
        self.activation = check_activation(activation)
        self.learning_rate_factor = check_number("learning_rate_factor", learning_rate_factor, "[0, inf)")

    def parameters(self, input_shape):
        factor = self.learning_rate_factor
        return [Parameter("alpha", input_shape[-1:], "ones", decays=False, learning_rate_factor=factor)]

    def emit(self, op, builder):
        f = get_activation(self.activation)
        builder.in_place(op)
        op.forward, op.alpha = parametric_forward.address(builder.dtype), builder.parameter("alpha")
        op.activation = f.forward_kernel.address(builder.dtype)
        op.y = op.values = builder.new_rows(op.n_out)
        if builder.with_gradient:
            op.values, op.dy = builder.new_rows(op.n_out), builder.new_deltas(op.n_out)
            op.derived_from = op.saved = op.x if f.needs_input else op.values
            op.backward, op.gradient = builder.addresses(parametric_backward, parametric_gradient)
            op.activation_back = f.backward_kernel.address(builder.dtype)


# x and f(x) by their shares: the difference of two large numbers would lose the small one.
@block_op(2, 1, outputs=1)
def _mixed(x, values, alpha):
    return fma(values, alpha, x * (1.0 - alpha))


@block_op(1, 1, outputs=1)
def _share(dy, alpha):
    return dy * alpha


@block_op(2, 1, outputs=1)
def _plus_rest(dy, dx, alpha):
    return fma(dy, 1.0 - alpha, dx)


@block_op(3, 0, sums=1)
def _sum_of_changes(x, values, dy, total):
    return fma(values - x, dy, total)


@op_kernel(PARAMETRIC)
def parametric_forward(op, data, params, grads, work, start, lo, n):
    """Y = alpha f(X) + (1 - alpha) X for rows lo..lo+n; writes its own rows of Y and of f(X) at `values`.

    All have the stride ld_out. f and 3 flops a number; f(X) is kept for the way back, in inference it is where Y will be.
    """
    ld, alpha = op.ld_out, offset(params, op.alpha)
    for first in range(lo, lo + n, NEAR):
        rows = min(NEAR, lo + n - first)
        x, values = offset(work, op.x + first * ld), offset(work, op.values + first * ld)
        call_on_tile(op.activation, x, values, rows, op.n_out, ld, ld)
        _mixed(x, values, alpha, offset(work, op.y + first * ld), rows, ld, op.n_out)


@op_kernel(PARAMETRIC)
def parametric_backward(op, data, params, grads, work, start, lo, n):
    """dX = alpha f'(X) dY + (1 - alpha) dY for rows lo..lo+n, where somebody wants it; writes its own rows of dX.

    dY stays as it is: `parametric_gradient` reads it.
    """
    if op.dx < 0:
        return
    ld, alpha = op.ld_out, offset(params, op.alpha)
    for first in range(lo, lo + n, NEAR):
        rows = min(NEAR, lo + n - first)
        dy, dx = offset(work, op.dy + first * ld), offset(work, op.dx + first * ld)
        _share(dy, alpha, dx, rows, ld, op.n_out)
        call_on_tile(op.activation_back, dx, offset(work, op.derived_from + first * ld), rows, op.n_out, ld, ld)
        _plus_rest(dy, dx, alpha, dx, rows, ld, op.n_out)


@op_kernel(PARAMETRIC)
def parametric_gradient(op, data, params, grads, work, start, lo, n):
    """dalpha = sum over the rows of a shard of (f(X) - X) dY; one unit. 3 n_out flops a row."""
    ld, target = op.ld_out, offset(grads, op.alpha)
    first, rows = shard_rows(op, data)
    copy(offset(work, ZEROS), target, ld)  # the sums leave the padding behind their last vector; the update reads it
    x, values = offset(work, op.x + first * ld), offset(work, op.values + first * ld)
    _sum_of_changes(x, values, offset(work, op.dy + first * ld), target, rows, ld, op.n_out)
