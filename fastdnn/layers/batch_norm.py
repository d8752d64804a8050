"""Normalization of a feature over the batch."""

import math

from .._jit import kernel
from .._math import fma, sqrt
from .._simd import copy, doubles_at, offset, pointer_at, real, row_op, where
from ..specs import check_number
from .base import (
    BACKWARD,
    BLOCK,
    D_IN,
    D_OUT,
    FORWARD,
    FROZEN,
    GRADIENT,
    HYPER,
    IN,
    KERNEL,
    LD_OUT,
    LEARNS,
    MEAN,
    MOMENTS,
    N_OUT,
    OUT,
    STATE,
    STATE_AT,
    SUMS,
    SYNC_BACKWARD,
    SYNC_FORWARD,
    ZEROS,
    Layer,
    Parameter,
    op_signature,
)


class BatchNorm(Layer):
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta, mean and variance of each feature over the batch.

    A feature is a place on the last axis of a sample: of an image (height, width, channels) a channel, whose mean is taken
    over the samples and both other axes.

    In inference the running statistics take their place: r <- (1 - momentum) r + momentum (the batch's), the variance there
    being divided by n - 1, as PyTorch does it. A batch of one row is normalized with the running statistics, and leaves
    them as they are.

    Parameters
    ----------
    momentum : float, default=0.1
        Weight of a batch in the running statistics, in [0, 1].
    epsilon : float, default=1e-5
        Added to the variance, > 0.

    Notes
    -----
    Weights "gamma" (1) and "beta" (0), without weight decay; running statistics "mean" and "var" in `Model.states`. They are
    the same bits on any number of threads.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> model = Model([layers.BatchNorm()]).build(2)
    >>> list(model.weights), list(model.states)
    (['0.batch_norm.gamma', '0.batch_norm.beta'], ['0.batch_norm.mean', '0.batch_norm.var'])

    References
    ----------
    Ioffe, S. & Szegedy, C. (2015). Batch normalization. arXiv:1502.03167.
    Chan, T., Golub, G. & LeVeque, R. (1983). Algorithms for computing the sample variance (the sum over blocks of rows).
    """

    name = "batch_norm"

    def __init__(self, momentum=0.1, epsilon=1e-5):
        self.momentum = check_number("momentum", momentum, 0, 1)
        self.epsilon = check_number("epsilon", epsilon, 0, math.inf, low_open=True)

    def leaves(self, key):
        return [(f"{key}.moments", BatchMoments()), (key, self)]

    def parameters(self, input_shape):
        size = input_shape[-1:]
        return [
            Parameter("gamma", size, "ones", decays=False),
            Parameter("beta", size, "zeros", decays=False),
            Parameter("mean", size, "zeros", decays=False, state=True),
            Parameter("var", size, "ones", decays=False, state=True),
        ]

    def op(self, row, place):
        place.in_place(row)
        n, ld = row[N_OUT], row[LD_OUT]
        row[KERNEL], row[STATE_AT] = place.parameter("gamma"), place.parameter("mean")
        row[HYPER] = place.numbers(self.epsilon, self.momentum)
        if not place.training:
            row[FORWARD], row[MEAN] = batch_norm_infer.address(place.dtype), place.new_block(2 * ld)
            return
        blocks = -(-place.rows * place.sample_rows // BLOCK)
        row[OUT], row[D_OUT] = place.new_rows(n), place.new_deltas(n)
        row[[FORWARD, BACKWARD, GRADIENT, SYNC_BACKWARD]] = place.addresses(
            batch_norm_forward, batch_norm_backward, batch_norm_gradient, batch_norm_sums
        )
        row[MEAN], row[MOMENTS], row[SUMS] = (place.new_block(k * ld) for k in (5, 2 * blocks, 2 * blocks))
        row[FROZEN] = not place.learns
        moments = place.before  # the op of `BatchMoments`: the same statistics, and the way back ends there
        shared = [N_OUT, LD_OUT, KERNEL, STATE_AT, HYPER, MEAN, MOMENTS, SUMS, FROZEN]
        moments[shared] = row[shared]
        moments[[FORWARD, BACKWARD, SYNC_FORWARD]] = place.addresses(moments_forward, moments_backward, moments_sync)
        moments[D_OUT] = row[D_OUT]


class BatchMoments(Layer):
    """The first half of a `BatchNorm`: moments of blocks of rows on the way forward, the input's gradient on the way back."""

    name = "moments"
    internal = True


# Rows of the block at MEAN: mean, 1 / sqrt(var + epsilon), (1 / rows or 0), sum of dY, sum of dY times the normalized X.


@row_op(2, 1)
def _plus(a, b):
    return a + b


@row_op(1, 1, scalars=1)
def _scaled(a, factor):
    return a * factor


@row_op(3, 1)
def _plus_square(x, mean, total):
    return fma(x - mean, x - mean, total)


@row_op(3, 1, scalars=1)
def _plus_scaled_square(x, mean, total, factor):
    return fma((x - mean) * factor, x - mean, total)


@row_op(2, 1, scalars=1)
def _plus_scaled(x, total, factor):
    return fma(x, factor, total)


@row_op(1, 1, scalars=2)
def _inverse_root(m2, factor, epsilon):
    return 1.0 / sqrt(m2 * factor + epsilon)


@row_op(2, 1, scalars=2)
def _moved(old, new, factor, momentum):
    new = new * factor
    return where((new - new).equals(0.0), fma(new - old, momentum, old), old)  # an overflow is not remembered


@row_op(5, 1)
def _normalized(x, mean, inverse, gamma, beta):
    return fma((x - mean) * inverse, gamma, beta)


@row_op(3, 1)
def _scaled_and_shifted(x, scale, shift):
    return fma(x, scale, shift)


@row_op(5, 1)
def _plus_product(x, mean, inverse, dy, total):
    return fma((x - mean) * inverse, dy, total)


@row_op(7, 1, scalars=1)
def _input_gradient(x, dy, mean, inverse, gamma, sums, products, factor):
    return gamma * inverse * (dy - factor * fma((x - mean) * inverse, products, sums))


@kernel(op_signature)
def moments_forward(row, data, params, grads, work, start, lo, n):
    """Mean and sum of squared differences of each block of rows in lo..lo+n (lo a multiple of BLOCK), 2 rows at MOMENTS."""
    if row[FROZEN]:
        return
    ld, columns = row[LD_OUT], row[N_OUT]
    for first in range(lo, lo + n, BLOCK):
        rows = min(BLOCK, lo + n - first)
        mean = offset(work, row[MOMENTS] + first // BLOCK * 2 * ld)
        m2 = offset(mean, ld)
        copy(offset(work, ZEROS), mean, ld)
        copy(offset(work, ZEROS), m2, ld)
        for i in range(first, first + rows):
            _plus(mean, offset(work, row[IN] + i * ld), mean, columns)
        _scaled(mean, mean, real(work, 1.0 / rows), columns)
        for i in range(first, first + rows):
            _plus_square(offset(work, row[IN] + i * ld), mean, m2, m2, columns)


@kernel(op_signature)
def moments_sync(row, data, params, grads, work, start, lo, n):
    """Mean and 1 / sqrt(var + epsilon) of the n rows of the batch, from the blocks; running statistics move, if LEARNS."""
    ld, columns, numbers = row[LD_OUT], row[N_OUT], doubles_at(row[HYPER])
    mean = offset(work, row[MEAN])
    inverse, share = offset(mean, ld), offset(mean, 2 * ld)
    running = offset(pointer_at(data[STATE], work), row[STATE_AT])
    if row[FROZEN] or n == 1:
        copy(running, mean, ld)
        _inverse_root(offset(running, ld), inverse, real(work, 1.0), real(work, numbers[0]), columns)
        share[0] = real(work, 0.0)
        return
    copy(offset(work, ZEROS), mean, ld)
    copy(offset(work, ZEROS), inverse, ld)
    for first in range(0, n, BLOCK):
        block = offset(work, row[MOMENTS] + first // BLOCK * 2 * ld)
        _plus_scaled(block, mean, mean, real(work, min(BLOCK, n - first) / n), columns)
    for first in range(0, n, BLOCK):
        block = offset(work, row[MOMENTS] + first // BLOCK * 2 * ld)
        _plus(inverse, offset(block, ld), inverse, columns)
        _plus_scaled_square(block, mean, inverse, inverse, real(work, float(min(BLOCK, n - first))), columns)
    if data[LEARNS]:
        momentum = real(work, numbers[1])
        _moved(running, mean, running, real(work, 1.0), momentum, columns)
        _moved(offset(running, ld), inverse, offset(running, ld), real(work, 1.0 / (n - 1)), momentum, columns)
    _inverse_root(inverse, inverse, real(work, 1.0 / n), real(work, numbers[0]), columns)
    share[0] = real(work, 1.0 / n)


@kernel(op_signature)
def batch_norm_forward(row, data, params, grads, work, start, lo, n):
    """Y = gamma (X - mean) / sqrt(var + epsilon) + beta for rows lo..lo+n; writes its own rows of Y."""
    ld, mean, gamma = row[LD_OUT], offset(work, row[MEAN]), offset(params, row[KERNEL])
    for i in range(lo, lo + n):
        x, y = offset(work, row[IN] + i * ld), offset(work, row[OUT] + i * ld)
        _normalized(x, mean, offset(mean, ld), gamma, offset(gamma, ld), y, row[N_OUT])


@row_op(2, 1, scalars=1)
def _folded_scale(var, gamma, epsilon):
    return gamma / sqrt(var + epsilon)


@row_op(3, 1)
def _folded_shift(mean, beta, scale):
    return fma(-mean, scale, beta)


@kernel(op_signature)
def batch_norm_infer(row, data, params, grads, work, start, lo, n):
    """X <- scale X + shift for rows lo..lo+n, in place on the output of the layer before, while it is in the cache.

    scale = gamma / sqrt(var + epsilon), shift = beta - mean scale, from the running statistics, are made anew in each call:
    whoever writes to weights or statistics sees the effect. (Folded into the matrix before they would take a pass over it.)
    """
    ld, columns, gamma = row[LD_OUT], row[N_OUT], offset(params, row[KERNEL])
    running, numbers = offset(pointer_at(data[STATE], work), row[STATE_AT]), doubles_at(row[HYPER])
    scale = offset(work, row[MEAN])
    shift = offset(scale, ld)
    _folded_scale(offset(running, ld), gamma, scale, real(work, numbers[0]), columns)
    _folded_shift(running, offset(gamma, ld), scale, shift, columns)
    for i in range(lo, lo + n):
        x = offset(work, row[IN] + i * ld)
        _scaled_and_shifted(x, scale, shift, x, columns)


@kernel(op_signature)
def batch_norm_backward(row, data, params, grads, work, start, lo, n):
    """Sums of dY and of dY times the normalized X over each block of rows in lo..lo+n, 2 rows at SUMS."""
    ld, mean, columns = row[LD_OUT], offset(work, row[MEAN]), row[N_OUT]
    for first in range(lo, lo + n, BLOCK):
        sums = offset(work, row[SUMS] + first // BLOCK * 2 * ld)
        products = offset(sums, ld)
        copy(offset(work, ZEROS), sums, ld)
        copy(offset(work, ZEROS), products, ld)
        for i in range(first, min(first + BLOCK, lo + n)):
            x, dy = offset(work, row[IN] + i * ld), offset(work, row[D_OUT] + i * ld)
            _plus(sums, dy, sums, columns)
            _plus_product(x, mean, offset(mean, ld), dy, products, products, columns)


@kernel(op_signature)
def batch_norm_sums(row, data, params, grads, work, start, lo, n):
    """The two sums over the n rows of the batch, from the blocks, into rows 3 and 4 at MEAN."""
    ld, columns = row[LD_OUT], row[N_OUT]
    sums = offset(work, row[MEAN] + 3 * ld)
    products = offset(sums, ld)
    copy(offset(work, ZEROS), sums, ld)
    copy(offset(work, ZEROS), products, ld)
    for first in range(0, n, BLOCK):
        block = offset(work, row[SUMS] + first // BLOCK * 2 * ld)
        _plus(sums, block, sums, columns)
        _plus(products, offset(block, ld), products, columns)


@kernel(op_signature)
def moments_backward(row, data, params, grads, work, start, lo, n):
    """dX = gamma / sqrt(var + epsilon) (dY - mean of dY - X' mean of dY X') for rows lo..lo+n, X' being the normalized X."""
    ld, mean, gamma = row[LD_OUT], offset(work, row[MEAN]), offset(params, row[KERNEL])
    if row[D_IN] >= 0:
        for i in range(lo, lo + n):
            x, dy = offset(work, row[IN] + i * ld), offset(work, row[D_OUT] + i * ld)
            _input_gradient(
                x, dy, mean, offset(mean, ld), gamma, offset(mean, 3 * ld), offset(mean, 4 * ld),
                offset(work, row[D_IN] + i * ld), offset(mean, 2 * ld)[0], row[N_OUT]
            )  # fmt: skip


@kernel(op_signature)
def batch_norm_gradient(row, data, params, grads, work, start, lo, n):
    """Unit 0, dgamma = sum of dY X'; unit 1, dbeta = sum of dY: as the way back has summed them."""
    ld = row[LD_OUT]
    for unit in range(lo, lo + n):
        copy(offset(work, row[MEAN] + (4 - unit) * ld), offset(grads, row[KERNEL] + unit * ld), ld)
