"""Normalization of a sample over its features."""

import math

from .._jit import inner, kernel
from .._math import fma
from .._simd import copy, doubles_at, offset, real, row_op
from ..specs import check_number
from .base import (
    BACKWARD,
    D_IN,
    D_OUT,
    FORWARD,
    GRADIENT,
    HYPER,
    IN,
    KERNEL,
    LD_OUT,
    MOMENTS,
    N_OUT,
    OUT,
    PRE,
    ZEROS,
    Layer,
    Parameter,
    op_signature,
    slot_rows,
)


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

    name = "layer_norm"

    def __init__(self, epsilon=1e-5):
        self.epsilon = check_number("epsilon", epsilon, 0, math.inf, low_open=True)

    def parameters(self, input_shape):
        size = input_shape[-1:]
        return [Parameter("gamma", size, "ones", decays=False), Parameter("beta", size, "zeros", decays=False)]

    def op(self, row, place):
        place.in_place(row)
        row[FORWARD], row[KERNEL] = layer_norm_forward.address(place.dtype), place.parameter("gamma")
        row[HYPER], row[PRE] = place.numbers(self.epsilon), row[OUT]
        row[MOMENTS] = place.new_block(place.rows * place.sample_rows)
        if place.training:
            row[OUT], row[PRE], row[D_OUT] = (
                place.new_rows(row[N_OUT]),
                place.new_rows(row[N_OUT]),
                place.new_deltas(row[N_OUT]),
            )
            row[[BACKWARD, GRADIENT]] = place.addresses(layer_norm_backward, layer_norm_gradient)


@row_op(2, 1)
def _plus(a, b):
    return a + b


@row_op(1, 0, reduce="sum")
def _total(x):
    return x


@row_op(1, 0, scalars=1, reduce="sum")
def _squares(x, mean):
    return (x - mean) * (x - mean)


@row_op(3, 2, scalars=2)
def _normalized_row(x, gamma, beta, mean, inverse):
    normalized = (x - mean) * inverse
    return normalized, fma(normalized, gamma, beta)


@row_op(2, 0, reduce="sum")
def _dot(a, b):
    return a * b


@row_op(3, 0, reduce="sum")
def _triple(a, b, c):
    return a * b * c


@row_op(3, 1, scalars=3)
def _row_gradient(dy, gamma, normalized, inverse, mean, product):
    return inverse * (dy * gamma - mean - normalized * product)


@inner
def _inverse_of_root(like, variance, epsilon):
    return real(like, 1.0) / real(like, math.sqrt(variance + epsilon))


@kernel(op_signature)
def layer_norm_forward(row, data, params, grads, work, start, lo, n):
    """Y of rows lo..lo+n; writes its own rows of Y, of the normalized X at PRE and of 1 / sqrt(var + epsilon) at MOMENTS."""
    ld, columns, gamma = row[LD_OUT], row[N_OUT], offset(params, row[KERNEL])
    share, epsilon = real(work, 1.0 / columns), real(work, doubles_at(row[HYPER])[0])
    for i in range(lo, lo + n):
        x = offset(work, row[IN] + i * ld)
        mean = _total(x, columns) * share
        inverse = _inverse_of_root(work, _squares(x, mean, columns) * share, epsilon)
        work[row[MOMENTS] + i] = inverse
        _normalized_row(
            x, gamma, offset(gamma, ld), offset(work, row[PRE] + i * ld), offset(work, row[OUT] + i * ld), mean, inverse,
            columns
        )  # fmt: skip


@kernel(op_signature)
def layer_norm_backward(row, data, params, grads, work, start, lo, n):
    """dX = (g - mean of g - X' mean of g X') / sqrt(var + epsilon), g = gamma dY, for rows lo..lo+n; writes its own rows."""
    ld, columns, gamma = row[LD_OUT], row[N_OUT], offset(params, row[KERNEL])
    share = real(work, 1.0 / columns)
    if row[D_IN] >= 0:
        for i in range(lo, lo + n):
            dy, normalized = offset(work, row[D_OUT] + i * ld), offset(work, row[PRE] + i * ld)
            mean, product = _dot(dy, gamma, columns) * share, _triple(dy, gamma, normalized, columns) * share
            target = offset(work, row[D_IN] + i * ld)
            _row_gradient(dy, gamma, normalized, target, work[row[MOMENTS] + i], mean, product, columns)


@row_op(3, 1)
def _plus_times(a, b, total):
    return fma(a, b, total)


@kernel(op_signature)
def layer_norm_gradient(row, data, params, grads, work, start, lo, n):
    """Unit 0, dgamma = sum over the rows of dY X'; unit 1, dbeta = sum of dY."""
    ld, columns = row[LD_OUT], row[N_OUT]
    first, rows = slot_rows(row, data)
    for unit in range(lo, lo + n):
        target = offset(grads, row[KERNEL] + unit * ld)
        copy(offset(work, ZEROS), target, ld)
        for i in range(first, first + rows):
            dy = offset(work, row[D_OUT] + i * ld)
            if unit == 0:
                _plus_times(dy, offset(work, row[PRE] + i * ld), target, target, columns)
            else:
                _plus(target, dy, target, columns)
