"""Normalization of a feature over the batch."""

from .._jit import inner
from .._math import fma, sqrt
from .._rows import add, add_scaled, block_op, row_op, scaled
from .._simd import copy, doubles_at, integers_at, offset, pointer_at, real, where
from ..specs import check_number
from .activation_function import activated, call_on_tile, check_activation, get_activation
from .base import BLOCK, ZEROS, Layer, Parameter, dx_base, fields, op_kernel, shard_rows
from .masks import step_counts

# Offsets: in `params` gamma, beta behind it; in `state` the running mean, the variance behind it; in `work` the moments and
# sums of blocks, two rows each, and at `mean` those of the batch. Address of epsilon and momentum. Whether it is the running
# statistics that are normalized with. Address of the numbers of rows of the blocks; steps of a sample, where a mask leaves
# some out, and room for those of a block that it does not.
BATCH_NORM = fields(
    "gamma", "running", "moments", "sums", "mean", "constants", "frozen", "block", "activation", "counts", "steps", "aside"
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
    activation : str or ActivationFunction, default="identity"
        What is done with the result, in the same pass.

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
    needs_batch = True

    def __init__(self, momentum=0.1, epsilon=1e-5, activation="identity"):
        self.momentum = check_number("momentum", momentum, "[0, 1]")
        self.epsilon = check_number("epsilon", epsilon, "(0, inf)")
        self.activation = check_activation(activation)

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
            activated(op, builder, get_activation(self.activation))
            return
        samples = max(1, BLOCK // builder.sample_rows)
        op.block = samples * builder.sample_rows
        blocks = -(-builder.rows // samples)
        op.y, op.dy = builder.new_rows(n), builder.new_deltas(n)
        activated(op, builder, get_activation(self.activation))
        op.forward, op.backward, op.gradient, op.sync_backward = builder.addresses(
            batch_norm_forward, batch_norm_backward, batch_norm_gradient, batch_norm_sums
        )
        op.mean, op.moments, op.sums = (builder.new_block(k * ld) for k in (5, 2 * blocks, 2 * blocks))
        op.frozen, op.counts = not builder.training, builder.new_table(1, blocks).ctypes.data
        op.steps = builder.sample_rows if builder.masked and builder.training else 0
        op.aside = builder.new_rows(n) if op.steps else 0
        moments = BATCH_NORM.on(builder.before)  # the op of `BatchMoments`: the same statistics, and the way back ends there
        for name in (
            "gamma",
            "running",
            "moments",
            "sums",
            "mean",
            "constants",
            "frozen",
            "block",
            "dy",
            "counts",
            "steps",
            "aside",
        ):
            setattr(moments, name, getattr(op, name))
        moments.forward, moments.backward, moments.sync_forward = builder.addresses(
            moments_forward, moments_backward, moments_sync
        )


class BatchMoments(Layer):
    """The first half of a `BatchNorm`: moments of blocks of rows on the way forward, the input's gradient on the way back."""

    name = "moments"
    internal = passing_gradients = sees_mask = True


# Rows of the block at `mean`: mean, 1 / sqrt(var + epsilon), (1 / rows or 0), sum of dY, sum of dY times the normalized X.


@block_op(1, 0, sums=1)
def _sum(x, total):
    return x + total


@block_op(1, 1, sums=1)
def _sum_of_squares(x, mean, total):
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


@block_op(1, 4, outputs=1)
def _normalized(x, mean, inverse, gamma, beta):
    return fma((x - mean) * inverse, gamma, beta)


@block_op(1, 4, outputs=1)
def _normalized_and_clamped(x, mean, inverse, gamma, beta):
    y = fma((x - mean) * inverse, gamma, beta)
    return where(y < 0.0, 0.0, y)


@block_op(1, 2, outputs=1)
def _scaled_and_shifted(x, scale, shift):
    return fma(x, scale, shift)


@block_op(1, 2, outputs=1)
def _scaled_and_clamped(x, scale, shift):
    y = fma(x, scale, shift)
    return where(y < 0.0, 0.0, y)


@block_op(2, 2, sums=2)
def _sums_back(x, dy, mean, inverse, total, products):
    return total + dy, fma((x - mean) * inverse, dy, products)


@block_op(2, 5, outputs=1, scalars=1)
def _input_gradient(x, dy, mean, inverse, gamma, sums, products, factor):
    return gamma * inverse * (dy - factor * fma((x - mean) * inverse, products, sums))


@inner
def rows_that_count(op, data, work, start, first, rows):
    """(those of `rows` rows from `first` on that a mask lets count, one below the other, and how many they are)."""
    ld, count = op.ld_out, 0
    aside = offset(work, op.aside + first * ld)
    for r in range(first, first + rows):
        if step_counts(data, start + r, op.steps):
            copy(offset(work, op.x + r * ld), offset(aside, count * ld), ld)
            count += 1
    return aside, count


@op_kernel(BATCH_NORM)
def moments_forward(op, data, params, grads, work, start, lo, n):
    """Mean and sum of squared differences of each block of rows in lo..lo+n, lo a multiple of op.block, at `moments`."""
    if op.frozen:
        return
    ld, columns = op.ld_out, op.n_out
    for first in range(lo, lo + n, op.block):
        rows = min(op.block, lo + n - first)
        x, mean = offset(work, op.x + first * ld), offset(work, op.moments + first // op.block * 2 * ld)
        if op.steps:
            x, rows = rows_that_count(op, data, work, start, first, rows)
        integers_at(op.counts, first // op.block)[0] = rows
        if rows == 0:
            copy(offset(work, ZEROS), mean, ld)
            copy(offset(work, ZEROS), offset(mean, ld), ld)
            continue
        _sum(x, mean, rows, ld, columns)
        scaled(mean, mean, real(work, 1.0 / rows), columns)
        _sum_of_squares(x, mean, offset(mean, ld), rows, ld, columns)


@op_kernel(BATCH_NORM)
def moments_sync(op, data, params, grads, work, start, lo, n):
    """Mean and 1 / sqrt(var + epsilon) of the n rows of the batch, from the blocks; running statistics move in training."""
    ld, columns, numbers = op.ld_out, op.n_out, doubles_at(op.constants)
    mean = offset(work, op.mean)
    inverse, share = offset(mean, ld), offset(mean, 2 * ld)
    running = offset(pointer_at(data.state, work), op.running)
    total = 0
    for first in range(0, n if op.frozen == 0 else 0, op.block):
        total += integers_at(op.counts, first // op.block)[0]
    if op.frozen or total <= 1:
        copy(running, mean, ld)
        _inverse_root(offset(running, ld), inverse, real(work, 1.0), real(work, numbers[0]), columns)
        share[0] = real(work, 0.0)
        return
    copy(offset(work, ZEROS), mean, ld)
    copy(offset(work, ZEROS), inverse, ld)
    for first in range(0, n, op.block):
        block = offset(work, op.moments + first // op.block * 2 * ld)
        add_scaled(block, mean, mean, real(work, integers_at(op.counts, first // op.block)[0] / total), columns)
    for first in range(0, n, op.block):
        block = offset(work, op.moments + first // op.block * 2 * ld)
        add(inverse, offset(block, ld), inverse, columns)
        rows = real(work, float(integers_at(op.counts, first // op.block)[0]))
        _plus_scaled_square(block, mean, inverse, inverse, rows, columns)
    if data.training:
        momentum = real(work, numbers[1])
        _moved(running, mean, running, real(work, 1.0), momentum, columns)
        _moved(offset(running, ld), inverse, offset(running, ld), real(work, 1.0 / (total - 1)), momentum, columns)
    _inverse_root(inverse, inverse, real(work, 1.0 / total), real(work, numbers[0]), columns)
    share[0] = real(work, 1.0 / total)


@op_kernel(BATCH_NORM)
def batch_norm_forward(op, data, params, grads, work, start, lo, n):
    """Y = f(gamma (X - mean) / sqrt(var + epsilon) + beta) for rows lo..lo+n; writes its own rows of Y."""
    ld, mean, gamma = op.ld_out, offset(work, op.mean), offset(params, op.gamma)
    x, z, y = offset(work, op.x + lo * ld), offset(work, op.saved + lo * ld), offset(work, op.y + lo * ld)
    if op.clamps:
        _normalized_and_clamped(x, mean, offset(mean, ld), gamma, offset(gamma, ld), y, n, ld, op.n_out)
        return
    _normalized(x, mean, offset(mean, ld), gamma, offset(gamma, ld), z, n, ld, op.n_out)
    if op.activation:
        call_on_tile(op.activation, z, y, n, op.n_out, ld, ld)


@row_op(2, 1, scalars=1)
def _folded_scale(var, gamma, epsilon):
    return gamma / sqrt(var + epsilon)


@row_op(3, 1)
def _folded_shift(mean, beta, scale):
    return fma(-mean, scale, beta)


@op_kernel(BATCH_NORM)
def batch_norm_infer(op, data, params, grads, work, start, lo, n):
    """X <- f(scale X + shift) for rows lo..lo+n, in place on the output of the layer before, while it is in the cache.

    scale = gamma / sqrt(var + epsilon), shift = beta - mean scale, from the running statistics, are made anew in each call:
    whoever writes to weights or statistics sees the effect. (Folded into the matrix before they would take a pass over it.)
    """
    ld, columns, gamma = op.ld_out, op.n_out, offset(params, op.gamma)
    running, numbers = offset(pointer_at(data.state, work), op.running), doubles_at(op.constants)
    scale = offset(work, op.mean)
    shift = offset(scale, ld)
    _folded_scale(offset(running, ld), gamma, scale, real(work, numbers[0]), columns)
    _folded_shift(running, offset(gamma, ld), scale, shift, columns)
    x = offset(work, op.x + lo * ld)
    if op.clamps:
        _scaled_and_clamped(x, scale, shift, x, n, ld, columns)
        return
    _scaled_and_shifted(x, scale, shift, x, n, ld, columns)
    if op.activation:
        call_on_tile(op.activation, x, x, n, columns, ld, ld)


@op_kernel(BATCH_NORM)
def batch_norm_backward(op, data, params, grads, work, start, lo, n):
    """Sums of dY and of dY times the normalized X over each block of rows in lo..lo+n, 2 rows at `sums`.

    dY *= f' first where no layer after this one did it.
    """
    ld, mean, columns = op.ld_out, offset(work, op.mean), op.n_out
    if op.derivative:
        call_on_tile(op.derivative, offset(work, op.dy + lo * ld), offset(work, op.saved + lo * ld), n, columns, ld, ld)
    for first in range(lo, lo + n, op.block):
        sums = offset(work, op.sums + first // op.block * 2 * ld)
        x, dy, rows = offset(work, op.x + first * ld), offset(work, op.dy + first * ld), min(op.block, lo + n - first)
        _sums_back(x, dy, mean, offset(mean, ld), sums, offset(sums, ld), rows, ld, columns)


@op_kernel(BATCH_NORM)
def batch_norm_sums(op, data, params, grads, work, start, lo, n):
    """The two sums over the n rows of the batch, from the blocks, into rows 3 and 4 at `mean`."""
    ld, columns = op.ld_out, op.n_out
    sums = offset(work, op.mean + 3 * ld)
    products = offset(sums, ld)
    copy(offset(work, ZEROS), sums, ld)
    copy(offset(work, ZEROS), products, ld)
    for first in range(0, n, op.block):
        block = offset(work, op.sums + first // op.block * 2 * ld)
        add(sums, block, sums, columns)
        add(products, offset(block, ld), products, columns)


@row_op(3, 1)
def _only_scaled_back(dy, inverse, gamma):
    return gamma * inverse * dy


@op_kernel(BATCH_NORM)
def moments_backward(op, data, params, grads, work, start, lo, n):
    """dX = gamma / sqrt(var + epsilon) (dY - mean of dY - X' mean of dY X') for rows lo..lo+n, X' being the normalized X.

    Rows that a mask leaves out were in no mean: theirs is gamma / sqrt(var + epsilon) dY.
    """
    ld, mean, gamma = op.ld_out, offset(work, op.mean), offset(params, op.gamma)
    if op.dx >= 0:
        _input_gradient(
            offset(work, op.x + lo * ld), offset(work, op.dy + lo * ld), mean, offset(mean, ld), gamma, offset(mean, 3 * ld),
            offset(mean, 4 * ld), offset(work, dx_base(op, data) + lo * ld), offset(mean, 2 * ld)[0], n, ld, op.n_out
        )  # fmt: skip
        for r in range(lo, lo + n if op.steps else lo):
            if not step_counts(data, start + r, op.steps):
                dx = offset(work, dx_base(op, data) + r * ld)
                _only_scaled_back(offset(work, op.dy + r * ld), offset(mean, ld), gamma, dx, op.n_out)


@op_kernel(BATCH_NORM)
def batch_norm_gradient(op, data, params, grads, work, start, lo, n):
    """Unit 0, dgamma = sum of dY X'; unit 1, dbeta = sum of dY, over a shard's blocks, as the way back has summed them."""
    ld = op.ld_out
    first_row, rows = shard_rows(op, data)
    for unit in range(lo, lo + n):
        target = offset(grads, op.gamma + unit * ld)
        copy(offset(work, ZEROS), target, ld)
        for first in range(first_row, first_row + rows, op.block):
            add(target, offset(work, op.sums + (first // op.block * 2 + 1 - unit) * ld), target, op.n_out)
