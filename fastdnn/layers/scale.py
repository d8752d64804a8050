"""A trained factor of each feature."""

from .._math import fma
from .._rows import block_op
from .._simd import copy, offset
from ..initializers import check_initializer
from ..specs import check_number
from .base import ZEROS, Layer, Parameter, fields, op_kernel, shard_rows

SCALE = fields("factors")  # offset in `params`


class Scale(Layer):
    """y = s x, with a factor s of each feature, the last axis of a sample, that is trained.

    As a first layer, with a high rate, it lets a network choose among the columns of a table.

    Parameters
    ----------
    initializer : str or float, default="ones"
        First values of the factors: a name in `fastdnn.initializers.INITIALIZERS`, or the number that all have.
    learning_rate_factor : float, default=1.0
        Factor of the learning rate for this layer, >= 0; 0 freezes it.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Weights "scale" of shape (features,), without weight decay.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> model = Model([layers.Scale()]).build(2)
    >>> model.weights["0.scale.scale"] = [2.0, 0.5]
    >>> model.forward([[1.0, 3.0]])
    array([[2. , 1.5]], dtype=float32)

    References
    ----------
    Holzmüller, D., Grinsztajn, L. & Steinwart, I. (2024). Better by default. arXiv:2407.04491, section 3.
    """

    name, record = "scale", SCALE

    def __init__(self, initializer="ones", learning_rate_factor=1.0):
        self.initializer = check_initializer(initializer)
        self.learning_rate_factor = check_number("learning_rate_factor", learning_rate_factor, "[0, inf)")

    def parameters(self, input_shape):
        factor = self.learning_rate_factor
        return [Parameter("scale", input_shape[-1:], self.initializer, decays=False, learning_rate_factor=factor)]

    def emit(self, op, builder):
        builder.in_place(op)
        op.forward, op.factors = scale_forward.address(builder.dtype), builder.parameter("scale")
        if builder.with_gradient:
            op.y, op.dy = builder.new_rows(op.n_out), builder.new_deltas(op.n_out)
            op.backward, op.gradient = builder.addresses(scale_backward, scale_gradient)


@block_op(1, 1, outputs=1)
def _times(x, factors):
    return x * factors


@block_op(2, 0, sums=1)
def _sum_of_products(x, dy, total):
    return fma(x, dy, total)


@op_kernel(SCALE)
def scale_forward(op, data, params, grads, work, start, lo, n):
    """Y = s X for rows lo..lo+n; writes its own rows of Y, in inference in place. n_out multiplications a row.

    X, Y : (rows, n_out), stride ld_out     s : (n_out,)
    """
    ld = op.ld_out
    _times(offset(work, op.x + lo * ld), offset(params, op.factors), offset(work, op.y + lo * ld), n, ld, op.n_out)


@op_kernel(SCALE)
def scale_backward(op, data, params, grads, work, start, lo, n):
    """dX = s dY for rows lo..lo+n, where somebody wants it; writes its own rows of dX."""
    ld = op.ld_out
    if op.dx >= 0:
        _times(offset(work, op.dy + lo * ld), offset(params, op.factors), offset(work, op.dx + lo * ld), n, ld, op.n_out)


@op_kernel(SCALE)
def scale_gradient(op, data, params, grads, work, start, lo, n):
    """ds = sum over the rows of a shard of X dY; one unit. 2 n_out flops a row."""
    ld, target = op.ld_out, offset(grads, op.factors)
    first, rows = shard_rows(op, data)
    copy(offset(work, ZEROS), target, ld)  # the sums leave the padding behind their last vector; the update reads it
    _sum_of_products(offset(work, op.x + first * ld), offset(work, op.dy + first * ld), target, rows, ld, op.n_out)
