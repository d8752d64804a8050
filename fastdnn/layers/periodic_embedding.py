"""Numbers of a table as a trained mixture of waves of them."""

import math

from .._jit import inner
from .._math import cos, fma, sin
from .._rows import row_op
from .._simd import copy, offset, real
from ..gemm import call_gemm, gemm, new_product, padded, plain
from ..specs import check_count, check_number
from .base import ONE, ZEROS, Layer, Parameter, fields, op_kernel, shard_rows

# Offsets in `params` of the matrices, the row stride of the first three and of the last. Numbers of a feature: waves, columns
# of the output. The kernel of products. Offsets of cos(z) and of the loss's gradient by z; elements from row to row and from
# feature to feature there (0 in inference, where nothing is kept).
PERIODIC = fields(
    "frequency", "phase", "kernel", "bias", "ld", "ld_bias", "n_waves", "n_columns", "gemm", "waves", "slopes", "row_step",
    "feature_step",
)  # fmt: skip
TAU = 2 * math.pi


class PeriodicEmbedding(Layer):
    """Each feature x beside waves of it, mixed: [x, W cos(2 pi w x + b) + c], with w, b, W and c of each feature trained.

    Samples of shape (..., features) become (..., features * n_features), the features one after the other. (PBLD in the paper
    of RealMLP: periodic, with biases, linear, with the number itself, DenseNet's way.)

    Parameters
    ----------
    n_frequencies : int, default=16
        Waves of a feature, at least 1.
    n_features : int, default=4
        Numbers that a feature becomes, itself included, at least 2.
    sigma : float, default=0.1
        Standard deviation of the first frequencies w, > 0. Too large harms more than too small.
    learning_rate_factor : float, default=1.0
        Factor of the learning rate for this layer, >= 0; 0 freezes it.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Weights "frequency" and "phase" of shape (features, n_frequencies), "kernel" of shape (features, n_features - 1,
    n_frequencies), the only one with weight decay, and "bias" of shape (features, n_features - 1). They start from N(0,
    sigma^2), from the uniform distributions on [-pi, pi], and, both others, on [-a, a] with a = 1 / sqrt(n_frequencies).
    Cost of a feature: a cosine and 2 (n_features - 1) flops for each wave.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> model = Model([layers.PeriodicEmbedding(8, 3)], random_state=0).build(2)
    >>> model.forward([[0.5, -2.0]])[0, [0, 3]]
    array([ 0.5, -2. ], dtype=float32)

    References
    ----------
    Holzmüller, D., Grinsztajn, L. & Steinwart, I. (2024). Better by default. arXiv:2407.04491, section 3.
    Gorishniy, Y., Rubachev, I. & Babenko, A. (2022). On embeddings for numerical features in tabular deep learning.
    arXiv:2203.05556.
    """

    name, record = "periodic_embedding", PERIODIC

    def __init__(self, n_frequencies=16, n_features=4, sigma=0.1, learning_rate_factor=1.0):
        self.n_frequencies = check_count("n_frequencies", n_frequencies)
        self.n_features, self.sigma = check_count("n_features", n_features, 2), check_number("sigma", sigma, "(0, inf)")
        self.learning_rate_factor = check_number("learning_rate_factor", learning_rate_factor, "[0, inf)")

    def output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] * self.n_features)

    def parameters(self, input_shape):
        d, waves, mixed = input_shape[-1], self.n_frequencies, self.n_features - 1
        # Lecun's initializers have variance 1 / fan_in, and the uniform one so the bound sqrt(3 / fan_in).
        wanted = [
            ("frequency", (d, waves), "lecun_normal", self.sigma**-2),
            ("phase", (d, waves), "lecun_uniform", 3 / math.pi**2),
            ("kernel", (d, mixed, waves), "lecun_uniform", 3 * waves),
            ("bias", (d, mixed), "lecun_uniform", 3 * waves),
        ]
        return [
            Parameter(
                name, shape, initializer, name == "kernel", fans=(fan_in, 1), learning_rate_factor=self.learning_rate_factor
            )
            for name, shape, initializer, fan_in in wanted
        ]

    def widest_row(self, input_shape):
        return max(self.n_frequencies, self.n_features)

    def flops(self, input_shape):
        return math.prod(input_shape) * self.n_frequencies * (2 * self.n_features + 20)

    def emit(self, op, builder):
        builder.in_place(op)
        op.n_waves, op.n_columns = self.n_frequencies, self.n_features
        op.ld, op.ld_bias, op.n_out = padded(op.n_waves), padded(op.n_columns - 1), op.n_in * op.n_columns
        op.ld_out = padded(op.n_out)
        for name in ("frequency", "phase", "kernel", "bias"):
            setattr(op, name, builder.parameter(name))
        op.forward, op.y = periodic_forward.address(builder.dtype), builder.new_rows(op.n_out)
        op.dy = builder.new_deltas(op.n_out)
        if builder.with_gradient:
            op.feature_step, op.row_step = op.ld, padded(op.n_in * op.ld)
            op.waves, op.slopes = (builder.new_rows(op.row_step) for _ in range(2))
            op.backward, op.gradient, op.gemm = builder.addresses(periodic_backward, periodic_gradient, gemm)
        else:
            op.waves = builder.new_block(op.ld)


# Whole rows, padding included: there all weights are 0, and so is whatever is multiplied by them.
@row_op(2, 1, scalars=1, whole=True)
def _waves(frequency, phase, x):
    return cos(fma(frequency, x, phase))


@row_op(3, 1, scalars=1, whole=True)
def _wave_slopes(frequency, phase, d_waves, x):
    return -sin(fma(frequency, x, phase)) * d_waves


@row_op(2, 0, reduce="sum", whole=True)
def _dot(a, b):
    return a * b


@row_op(1, 1, scalars=1, whole=True)
def _times(a, factor):
    return a * factor


@row_op(2, 1, scalars=1, whole=True)
def _plus_times(a, total, factor):
    return fma(a, factor, total)


@inner
def at_feature(op, work, block, i, j):
    """Pointer to the numbers of row i and feature j, one a wave, in the block `op.waves` or `op.slopes`."""
    return offset(work, block + i * op.row_step + j * op.feature_step)


@op_kernel(PERIODIC)
def periodic_forward(op, data, params, grads, work, start, lo, n):
    """Y = [x, W cos(2 pi w x + b) + c] of each feature for rows lo..lo+n; writes its own rows of Y and of the cosines.

    X : (rows, n_in), stride ld_in     Y : (rows, n_in * n_columns), stride ld_out     w, b : (n_in, n_waves), stride ld
    W : (n_in, n_columns - 1, n_waves), stride ld     c : (n_in, n_columns - 1), stride ld_bias
    """
    ld, mixed, tau = op.ld, op.n_columns - 1, real(work, TAU)
    for i in range(lo, lo + n):
        x, y = offset(work, op.x + i * op.ld_in), offset(work, op.y + i * op.ld_out)
        for j in range(op.n_in):
            waves, columns = at_feature(op, work, op.waves, i, j), offset(y, j * op.n_columns)
            frequency, phase = offset(params, op.frequency + j * ld), offset(params, op.phase + j * ld)
            _waves(frequency, phase, waves, x[j] * tau, ld)
            columns[0] = x[j]
            for k in range(mixed):
                weights = offset(params, op.kernel + (j * mixed + k) * ld)
                columns[k + 1] = params[op.bias + j * op.ld_bias + k] + _dot(waves, weights, ld)
        copy(offset(work, ZEROS), offset(y, op.n_out), op.ld_out - op.n_out)


@op_kernel(PERIODIC)
def periodic_backward(op, data, params, grads, work, start, lo, n):
    """-sin(2 pi w x + b) W^T dY at `slopes` for rows lo..lo+n, and dX where somebody wants it; writes its rows of both."""
    if op.dx < 0 and op.gradient == 0:
        return
    ld, mixed, tau = op.ld, op.n_columns - 1, real(work, TAU)
    for i in range(lo, lo + n):
        x, dy = offset(work, op.x + i * op.ld_in), offset(work, op.dy + i * op.ld_out)
        for j in range(op.n_in):
            slopes, columns = at_feature(op, work, op.slopes, i, j), offset(dy, j * op.n_columns)
            frequency, phase = offset(params, op.frequency + j * ld), offset(params, op.phase + j * ld)
            weights = offset(params, op.kernel + j * mixed * ld)
            _times(weights, slopes, columns[1], ld)
            for k in range(1, mixed):
                _plus_times(offset(weights, k * ld), slopes, slopes, columns[k + 1], ld)
            _wave_slopes(frequency, phase, slopes, slopes, x[j] * tau, ld)
            if op.dx >= 0:
                work[op.dx + i * op.ld_in + j] = columns[0] + tau * _dot(frequency, slopes, ld)
        if op.dx >= 0:
            copy(offset(work, ZEROS), offset(work, op.dx + i * op.ld_in + op.n_in), op.ld_in - op.n_in)


@op_kernel(PERIODIC)
def periodic_gradient(op, data, params, grads, work, start, lo, n):
    """Units lo..lo+n, rows of dw, db, dW and dc one after the other, over the rows of a shard; writes its own units.

    dw = 2 pi x^T slopes, db = sum of slopes, dW = dY^T cos, products of few rows: one sum of rows after the other would wait
    for each; and dc = sum of dY. 2 n_waves (n_columns + 1) flops for each feature of a row.
    """
    mixed, unit = op.n_columns - 1, lo
    phases, kernels = op.n_in, 2 * op.n_in  # the first units of db, dW and dc
    biases = kernels + op.n_in * mixed
    first, rows = shard_rows(op, data)
    while unit < lo + n:
        count = 1
        if unit < phases:
            target, x = offset(grads, op.frequency + unit * op.ld), offset(work, op.x + first * op.ld_in + unit)
            product_over_rows(op, work, x, 1, op.ld_in, at_feature(op, work, op.slopes, first, unit), target, 1, rows)
            _times(target, target, real(work, TAU), op.ld)
        elif unit < kernels:
            target = offset(grads, op.phase + (unit - phases) * op.ld)
            slopes = at_feature(op, work, op.slopes, first, unit - phases)
            product_over_rows(op, work, offset(work, ONE), 0, 0, slopes, target, 1, rows)
        elif unit < biases:
            row = unit - kernels
            j, k = row // mixed, row % mixed
            count = min(mixed - k, lo + n - unit)
            target = offset(grads, op.kernel + row * op.ld)
            dy = offset(work, op.dy + first * op.ld_out + j * op.n_columns + 1 + k)
            product_over_rows(op, work, dy, 1, op.ld_out, at_feature(op, work, op.waves, first, j), target, count, rows)
        else:
            target = offset(grads, op.bias + (unit - biases) * op.ld_bias)
            copy(offset(work, ZEROS), target, op.ld_bias)
            for i in range(first, first + rows):
                dy = offset(work, op.dy + i * op.ld_out + (unit - biases) * op.n_columns + 1)
                for k in range(mixed):
                    target[k] += dy[k]
        unit += count


@inner
def product_over_rows(op, work, a, rsa, csa, b, target, m, rows):
    """target, m rows of n_waves numbers, = A B, A : (m, rows), strides rsa and csa, B : (rows, n_waves), row_step apart.

    The padding is set to 0: it must stay so in the weights, and there the cosines are 1.
    """
    p = new_product()
    plain(p, m, op.ld, rows, rsa, op.row_step, op.ld)
    p.csa = csa
    call_gemm(op.gemm, a, b, target, offset(work, ZEROS), target, p)
    for i in range(m):
        copy(offset(work, ZEROS), offset(target, i * op.ld + op.n_waves), op.ld - op.n_waves)
