"""Normalization of a feature over the batch."""

from .._math import fma, sqrt
from .._rows import add, add_scaled, row_op, scaled
from .._simd import copy, doubles_at, offset, pointer_at, real, where
from ..specs import check_number
from .base import BLOCK, ZEROS, Layer, Parameter, fields, op_kernel

# Offsets: in `params` gamma, beta behind it; in `state` the running mean, the variance behind it; in `work` the moments and
# sums of blocks, two rows each, and at `mean` those of the batch. Address of epsilon and momentum. Whether it is the running
# statistics that are normalized with.
BATCH_NORM = fields("gamma", "running", "moments", "sums", "mean", "constants", "frozen")


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

    name, record = "batch_norm", BATCH_NORM

    def __init__(self, momentum=0.1, epsilon=1e-5):
        self.momentum = check_number("momentum", momentum, "[0, 1]")
        self.epsilon = check_number("epsilon", epsilon, "(0, inf)")

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

    def emit(self, op, builder):
        builder.in_place(op)
        n, ld = op.n_out, op.ld_out
        op.gamma, op.running = builder.parameter("gamma"), builder.parameter("mean")
        op.constants = builder.constants(self.epsilon, self.momentum)
        if not builder.with_gradient:
            op.forward, op.mean = batch_norm_infer.address(builder.dtype), builder.new_block(2 * ld)
            return
        blocks = -(-builder.rows * builder.sample_rows // BLOCK)
        op.y, op.dy = builder.new_rows(n), builder.new_deltas(n)
        op.forward, op.backward, op.gradient, op.sync_backward = builder.addresses(
            batch_norm_forward, batch_norm_backward, batch_norm_gradient, batch_norm_sums
        )
        op.mean, op.moments, op.sums = (builder.new_block(k * ld) for k in (5, 2 * blocks, 2 * blocks))
        op.frozen = not builder.training
        moments = BATCH_NORM.on(builder.before)  # the op of `BatchMoments`: the same statistics, and the way back ends there
        for name in ("gamma", "running", "moments", "sums", "mean", "constants", "frozen", "dy"):
            setattr(moments, name, getattr(op, name))
        moments.forward, moments.backward, moments.sync_forward = builder.addresses(
            moments_forward, moments_backward, moments_sync
        )


class BatchMoments(Layer):
    """The first half of a `BatchNorm`: moments of blocks of rows on the way forward, the input's gradient on the way back."""

    name = "moments"
    internal = True


# Rows of the block at `mean`: mean, 1 / sqrt(var + epsilon), (1 / rows or 0), sum of dY, sum of dY times the normalized X.


@row_op(3, 1)
def _plus_square(x, mean, total):
    return fma(x - mean, x - mean, total)


@row_op(3, 1, scalars=1)
def _plus_scaled_square(x, mean, total, factor):
    return fma((x - mean) * factor, x - mean, total)


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


@op_kernel(BATCH_NORM)
def moments_forward(op, data, params, grads, work, start, lo, n):
    """Mean and sum of squared differences of each block of rows in lo..lo+n (lo a multiple of BLOCK), 2 rows at `moments`."""
    if op.frozen:
        return
    ld, columns = op.ld_out, op.n_out
    for first in range(lo, lo + n, BLOCK):
        rows = min(BLOCK, lo + n - first)
        mean = offset(work, op.moments + first // BLOCK * 2 * ld)
        m2 = offset(mean, ld)
        copy(offset(work, ZEROS), mean, ld)
        copy(offset(work, ZEROS), m2, ld)
        for i in range(first, first + rows):
            add(mean, offset(work, op.x + i * ld), mean, columns)
        scaled(mean, mean, real(work, 1.0 / rows), columns)
        for i in range(first, first + rows):
            _plus_square(offset(work, op.x + i * ld), mean, m2, m2, columns)


@op_kernel(BATCH_NORM)
def moments_sync(op, data, params, grads, work, start, lo, n):
    """Mean and 1 / sqrt(var + epsilon) of the n rows of the batch, from the blocks; running statistics move in training."""
    ld, columns, numbers = op.ld_out, op.n_out, doubles_at(op.constants)
    mean = offset(work, op.mean)
    inverse, share = offset(mean, ld), offset(mean, 2 * ld)
    running = offset(pointer_at(data.state, work), op.running)
    if op.frozen or n == 1:
        copy(running, mean, ld)
        _inverse_root(offset(running, ld), inverse, real(work, 1.0), real(work, numbers[0]), columns)
        share[0] = real(work, 0.0)
        return
    copy(offset(work, ZEROS), mean, ld)
    copy(offset(work, ZEROS), inverse, ld)
    for first in range(0, n, BLOCK):
        block = offset(work, op.moments + first // BLOCK * 2 * ld)
        add_scaled(block, mean, mean, real(work, min(BLOCK, n - first) / n), columns)
    for first in range(0, n, BLOCK):
        block = offset(work, op.moments + first // BLOCK * 2 * ld)
        add(inverse, offset(block, ld), inverse, columns)
        _plus_scaled_square(block, mean, inverse, inverse, real(work, float(min(BLOCK, n - first))), columns)
    if data.training:
        momentum = real(work, numbers[1])
        _moved(running, mean, running, real(work, 1.0), momentum, columns)
        _moved(offset(running, ld), inverse, offset(running, ld), real(work, 1.0 / (n - 1)), momentum, columns)
    _inverse_root(inverse, inverse, real(work, 1.0 / n), real(work, numbers[0]), columns)
    share[0] = real(work, 1.0 / n)


@op_kernel(BATCH_NORM)
def batch_norm_forward(op, data, params, grads, work, start, lo, n):
    """Y = gamma (X - mean) / sqrt(var + epsilon) + beta for rows lo..lo+n; writes its own rows of Y."""
    ld, mean, gamma = op.ld_out, offset(work, op.mean), offset(params, op.gamma)
    for i in range(lo, lo + n):
        x, y = offset(work, op.x + i * ld), offset(work, op.y + i * ld)
        _normalized(x, mean, offset(mean, ld), gamma, offset(gamma, ld), y, op.n_out)


@row_op(2, 1, scalars=1)
def _folded_scale(var, gamma, epsilon):
    return gamma / sqrt(var + epsilon)


@row_op(3, 1)
def _folded_shift(mean, beta, scale):
    return fma(-mean, scale, beta)


@op_kernel(BATCH_NORM)
def batch_norm_infer(op, data, params, grads, work, start, lo, n):
    """X <- scale X + shift for rows lo..lo+n, in place on the output of the layer before, while it is in the cache.

    scale = gamma / sqrt(var + epsilon), shift = beta - mean scale, from the running statistics, are made anew in each call:
    whoever writes to weights or statistics sees the effect. (Folded into the matrix before they would take a pass over it.)
    """
    ld, columns, gamma = op.ld_out, op.n_out, offset(params, op.gamma)
    running, numbers = offset(pointer_at(data.state, work), op.running), doubles_at(op.constants)
    scale = offset(work, op.mean)
    shift = offset(scale, ld)
    _folded_scale(offset(running, ld), gamma, scale, real(work, numbers[0]), columns)
    _folded_shift(running, offset(gamma, ld), scale, shift, columns)
    for i in range(lo, lo + n):
        x = offset(work, op.x + i * ld)
        _scaled_and_shifted(x, scale, shift, x, columns)


@op_kernel(BATCH_NORM)
def batch_norm_backward(op, data, params, grads, work, start, lo, n):
    """Sums of dY and of dY times the normalized X over each block of rows in lo..lo+n, 2 rows at `sums`."""
    ld, mean, columns = op.ld_out, offset(work, op.mean), op.n_out
    for first in range(lo, lo + n, BLOCK):
        sums = offset(work, op.sums + first // BLOCK * 2 * ld)
        products = offset(sums, ld)
        copy(offset(work, ZEROS), sums, ld)
        copy(offset(work, ZEROS), products, ld)
        for i in range(first, min(first + BLOCK, lo + n)):
            x, dy = offset(work, op.x + i * ld), offset(work, op.dy + i * ld)
            add(sums, dy, sums, columns)
            _plus_product(x, mean, offset(mean, ld), dy, products, products, columns)


@op_kernel(BATCH_NORM)
def batch_norm_sums(op, data, params, grads, work, start, lo, n):
    """The two sums over the n rows of the batch, from the blocks, into rows 3 and 4 at `mean`."""
    ld, columns = op.ld_out, op.n_out
    sums = offset(work, op.mean + 3 * ld)
    products = offset(sums, ld)
    copy(offset(work, ZEROS), sums, ld)
    copy(offset(work, ZEROS), products, ld)
    for first in range(0, n, BLOCK):
        block = offset(work, op.sums + first // BLOCK * 2 * ld)
        add(sums, block, sums, columns)
        add(products, offset(block, ld), products, columns)


@op_kernel(BATCH_NORM)
def moments_backward(op, data, params, grads, work, start, lo, n):
    """dX = gamma / sqrt(var + epsilon) (dY - mean of dY - X' mean of dY X') for rows lo..lo+n, X' being the normalized X."""
    ld, mean, gamma = op.ld_out, offset(work, op.mean), offset(params, op.gamma)
    if op.dx >= 0:
        for i in range(lo, lo + n):
            x, dy = offset(work, op.x + i * ld), offset(work, op.dy + i * ld)
            _input_gradient(
                x, dy, mean, offset(mean, ld), gamma, offset(mean, 3 * ld), offset(mean, 4 * ld),
                offset(work, op.dx + i * ld), offset(mean, 2 * ld)[0], op.n_out
            )  # fmt: skip


@op_kernel(BATCH_NORM)
def batch_norm_gradient(op, data, params, grads, work, start, lo, n):
    """Unit 0, dgamma = sum of dY X'; unit 1, dbeta = sum of dY: as the way back has summed them."""
    ld = op.ld_out
    for unit in range(lo, lo + n):
        copy(offset(work, op.mean + (4 - unit) * ld), offset(grads, op.gamma + unit * ld), ld)
