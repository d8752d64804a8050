"""Normalization of a sample over its features."""

import math

from .._jit import inner
from .._math import fma
from .._rows import add, add_product, dot, row_op, sum_of
from .._simd import copy, doubles_at, offset, real
from ..specs import check_number
from .base import ZEROS, Layer, Parameter, fields, op_kernel, shard_rows

# Offsets of gamma, beta behind it, in `params` and of 1 / sqrt(var + epsilon) of each row in `work`; address of epsilon.
LAYER_NORM = fields("gamma", "inverses", "constants")


class LayerNorm(Layer):
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta, mean and variance over the features, the last axis of a sample.

    Parameters
    ----------
    epsilon : float, default=1e-5
        Added to the variance, > 0.

    Notes
    -----
    Weights "gamma" (1) and "beta" (0) of shape (features,), without weight decay.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.LayerNorm()]).build(2).forward([[1.0, 3.0]]).round(3)
    array([[-1.,  1.]], dtype=float32)

    References
    ----------
    Ba, J., Kiros, J. & Hinton, G. (2016). Layer normalization. arXiv:1607.06450.
    """

    name, record = "layer_norm", LAYER_NORM

    def __init__(self, epsilon=1e-5):
        self.epsilon = check_number("epsilon", epsilon, "(0, inf)")

    def parameters(self, input_shape):
        size = input_shape[-1:]
        return [Parameter("gamma", size, "ones", decays=False), Parameter("beta", size, "zeros", decays=False)]

    def emit(self, op, builder):
        builder.in_place(op)
        op.forward, op.gamma = layer_norm_forward.address(builder.dtype), builder.parameter("gamma")
        op.constants, op.saved = builder.constants(self.epsilon), op.y
        op.inverses = builder.new_block(builder.rows * builder.sample_rows)
        if builder.with_gradient:
            op.y, op.saved = builder.new_rows(op.n_out), builder.new_rows(op.n_out)
            op.dy = builder.new_deltas(op.n_out)
            op.backward, op.gradient = builder.addresses(layer_norm_backward, layer_norm_gradient)


@row_op(1, 0, scalars=1, reduce="sum")
def _squares(x, mean):
    return (x - mean) * (x - mean)


@row_op(3, 2, scalars=2)
def _normalized_row(x, gamma, beta, mean, inverse):
    normalized = (x - mean) * inverse
    return normalized, fma(normalized, gamma, beta)


@row_op(3, 0, reduce="sum")
def _triple(a, b, c):
    return a * b * c


@row_op(3, 1, scalars=3)
def _row_gradient(dy, gamma, normalized, inverse, mean, product):
    return inverse * (dy * gamma - mean - normalized * product)


@inner
def _inverse_of_root(like, variance, epsilon):
    return real(like, 1.0) / real(like, math.sqrt(variance + epsilon))


@op_kernel(LAYER_NORM)
def layer_norm_forward(op, data, params, grads, work, start, lo, n):
    """Y of rows lo..lo+n; writes its own rows of Y, of the normalized X at `saved`, 1 / sqrt(var + epsilon) at `inverses`."""
    ld, columns, gamma = op.ld_out, op.n_out, offset(params, op.gamma)
    share, epsilon = real(work, 1.0 / columns), real(work, doubles_at(op.constants)[0])
    for i in range(lo, lo + n):
        x = offset(work, op.x + i * ld)
        mean = sum_of(x, columns) * share
        inverse = _inverse_of_root(work, _squares(x, mean, columns) * share, epsilon)
        work[op.inverses + i] = inverse
        _normalized_row(
            x, gamma, offset(gamma, ld), offset(work, op.saved + i * ld), offset(work, op.y + i * ld), mean, inverse,
            columns
        )  # fmt: skip


@op_kernel(LAYER_NORM)
def layer_norm_backward(op, data, params, grads, work, start, lo, n):
    """dX = (g - mean of g - X' mean of g X') / sqrt(var + epsilon), g = gamma dY, for rows lo..lo+n; writes its own rows."""
    ld, columns, gamma = op.ld_out, op.n_out, offset(params, op.gamma)
    share = real(work, 1.0 / columns)
    if op.dx >= 0:
        for i in range(lo, lo + n):
            dy, normalized = offset(work, op.dy + i * ld), offset(work, op.saved + i * ld)
            mean, product = dot(dy, gamma, columns) * share, _triple(dy, gamma, normalized, columns) * share
            target = offset(work, op.dx + i * ld)
            _row_gradient(dy, gamma, normalized, target, work[op.inverses + i], mean, product, columns)


@op_kernel(LAYER_NORM)
def layer_norm_gradient(op, data, params, grads, work, start, lo, n):
    """Unit 0, dgamma = sum over the rows of dY X'; unit 1, dbeta = sum of dY."""
    ld, columns = op.ld_out, op.n_out
    first, rows = shard_rows(op, data)
    for unit in range(lo, lo + n):
        target = offset(grads, op.gamma + unit * ld)
        copy(offset(work, ZEROS), target, ld)
        for i in range(first, first + rows):
            dy = offset(work, op.dy + i * ld)
            if unit == 0:
                add_product(dy, offset(work, op.saved + i * ld), target, target, columns)
            else:
                add(target, dy, target, columns)
