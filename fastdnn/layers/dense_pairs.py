"""Training of dense products in bfloat16 with sums in float32: what `dense` does, numbers of A and B in pairs.

Weights, values and their gradients stay float32. Rounded to bfloat16, as they are read, are: x, W and the gradient of the
output; the bias's gradient sums what the weights' reads. Of W there are two copies in words, made where the transposed copy
is made. x and the gradient of the output are read along their rows by one product, and down the rows by another: the first
kind of words stands in scratch, the second is kept until the gradient.
References: Kalamkar, D. et al. (2019). A study of BFLOAT16 for deep learning training. arXiv:1905.12322.
"""

from .._jit import inner
from .._simd import copy, local, offset, pointer_at
from ..gemm import ALIGN, CLAMP, MASK, new_product, padded, plain, whole_columns
from ..narrowing import PAIR, as_halves, call_pairs, gemm_of_pairs
from ..pairing import BLOCK, row_halves, row_pairs, turn_pairs
from .activation_function import activated, call_on_tile, get_activation
from .base import ZEROS, dx_base, dy_base, fields, op_kernel, shard_rows

# Kernels; offsets in `params` (-1: no bias); addresses of W in words, and of the transposed one; where halves of rows stand,
# elements for those of a sample. Of the layer before, what dX is to be multiplied by.
DENSE_PAIRS = fields(
    "gemm", "activation", "weight", "bias", "matrix", "turned", "scratch", "scratch_sample", "saved_before", "clamps_before",
    "derivative_before",
)  # fmt: skip
LEAST = 32  # inputs and outputs: with fewer, rounding the rows takes what the product saves
ONE = 0x3F80  # in bfloat16


def large_enough(n_in, n_out):
    """Whether a product of rows is one of bfloat16."""
    return min(n_in, n_out) >= LEAST


def in_order(builder):
    """Whether rows are there, two and two: not in CSR form, and not one a sample of several windows of steps."""
    return not builder.sparse and (builder.sample_rows > 1 or builder.windows == 1)


def dense_pairs_op(op, builder, layer, n_out, kernel):
    """Fill in the op of a layer with a Dense's activation and bias, as `dense.dense_op` does."""
    n_in, rows = builder.input_shape[-1], builder.sample_rows
    op.forward, op.backward, op.gradient, op.refresh = builder.addresses(
        dense_pairs_forward, dense_pairs_backward, dense_pairs_gradient, dense_pairs_refresh
    )
    op.gemm = gemm_of_pairs.address(builder.dtype)
    op.n_in, op.n_out, op.ld_in, op.ld_out, op.sample_rows = n_in, n_out, padded(n_in), padded(n_out), rows
    op.x, op.dx, op.y, op.dy = builder.input, builder.d_input, builder.new_rows(n_out), builder.new_deltas(n_out)
    op.weight, op.bias = builder.parameter(kernel), builder.parameter("bias") if layer.use_bias else -1
    op.plain, op.adds = 1, rows > 1
    activated(op, builder, get_activation(layer.activation))
    # Rows of W come in sixteens; rows of the turned one in as many as there are pairs of columns, padding included.
    op.matrix = builder.new_shared(-(-n_in // ALIGN) * ALIGN // PAIR * op.ld_out)
    op.pairs_x, op.pairs_dy = builder.new_pairs(op.ld_in), builder.new_pairs(op.ld_out)
    builder.share_scratch(op, rows * max(op.ld_in, op.ld_out) // PAIR)
    if op.dx >= 0:
        op.turned = builder.new_shared(op.ld_out // PAIR * op.ld_in)
        derive, op.saved_before, op.clamps_before = builder.take_derivative()
        op.derivative_before = 0 if op.clamps_before else derive


@inner
def narrow_rows(rows, ld, n, columns, halves, pairs, zeros):
    """Rows of float32, the first of an even number, in words of neighbors and in words of two rows; an odd one with zeros."""
    for i in range(0, n, 2):
        first, second = offset(rows, i * ld), offset(rows, (i + 1) * ld) if i + 1 < n else zeros
        row_halves(first, offset(halves, i * ld), columns)
        if i + 1 < n:
            row_halves(second, offset(halves, (i + 1) * ld), columns)
        row_pairs(first, second, offset(pairs, i // 2 * ld), columns)


@inner
def halves_of_rows(op, work, lo):
    """Scratch for the halves of rows from `lo` on, which no other thread's rows use, whatever its op."""
    return as_halves(offset(work, op.scratch + lo // op.sample_rows * op.scratch_sample))


@op_kernel(DENSE_PAIRS, ("float32",))
def dense_pairs_forward(op, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(X[lo:lo+n] W + b), lo even; writes its own rows of Y (and of X W + b if that is kept), pairs of X."""
    ldx, ldy, halves = op.ld_in, op.ld_out, halves_of_rows(op, work, lo)
    y, z = offset(work, op.y + lo * ldy), offset(work, op.saved + lo * ldy)
    pairs = offset(work, op.pairs_x + lo // 2 * ldx)
    narrow_rows(offset(work, op.x + lo * ldx), ldx, n, op.n_in, halves, pairs, offset(work, ZEROS))
    p = new_product()
    plain(p, n, whole_columns(op.n_out), (op.n_in + 1) // PAIR, ldx, ldy, ldy)
    p.csa, p.flags, p.epilogue = PAIR, CLAMP if op.clamps else 0, 0 if op.by_rows else op.activation
    bias = offset(params, op.bias) if op.bias >= 0 else offset(work, ZEROS)
    call_pairs(op.gemm, halves, pointer_at(op.matrix, work), z, bias, y, p)
    if op.by_rows:
        call_on_tile(op.activation, z, y, n, op.n_out, ldy, ldy)


@op_kernel(DENSE_PAIRS, ("float32",))
def dense_pairs_backward(op, data, params, grads, work, start, lo, n):
    """dX = dY W^T for rows lo..lo+n, lo even, times f' of the layer before; writes its own rows of dX (and dY), pairs of dY.

    dY *= f' first where no layer after this one did it
    """
    ldx, ldy, halves, p = op.ld_in, op.ld_out, halves_of_rows(op, work, lo), new_product()
    dy = offset(work, dy_base(op, data) + lo * ldy)
    if op.derivative:
        columns = op.n_out if op.by_rows else whole_columns(op.n_out)
        call_on_tile(op.derivative, dy, offset(work, op.saved + lo * ldy), n, columns, ldy, ldy)
    narrow_rows(dy, ldy, n, op.n_out, halves, offset(work, op.pairs_dy + lo // 2 * ldy), offset(work, ZEROS))
    if op.dx >= 0:
        dx, saved = offset(work, dx_base(op, data) + lo * ldx), offset(work, op.saved_before + lo * ldx)
        plain(p, n, whole_columns(op.n_in), (op.n_out + 1) // PAIR, ldy, ldx, ldx)
        p.csa, p.flags, p.epilogue = PAIR, MASK if op.clamps_before else 0, op.derivative_before
        call_pairs(op.gemm, halves, pointer_at(op.turned, work), dx, offset(work, ZEROS), saved, p)


@op_kernel(DENSE_PAIRS, ("float32",))
def dense_pairs_gradient(op, data, params, grads, work, start, lo, n):
    """dW[lo:lo+n] = X[:, lo:lo+n]^T dY over the rows of a shard; unit n_in is the bias, db = ones times dY.

    Both are read in pairs of rows; where data.adds says so they add to what is there. Writes its own rows of dW.
    """
    ldx, ldy, columns = op.ld_in, op.ld_out, whole_columns(op.n_out)
    first, rows = shard_rows(op, data)
    p, zeros = new_product(), offset(work, ZEROS)
    plain(p, n, columns, (rows + 1) // PAIR, PAIR, ldy, ldy)
    p.csa = PAIR * ldx
    x, target = as_halves(offset(work, op.pairs_x + first // 2 * ldx + lo)), offset(grads, op.weight + lo * ldy)
    if lo >= op.n_in:
        x, target, p.m, p.rsa, p.csa = as_halves(local(work)), offset(grads, op.bias), 1, 0, 0
        x[0] = x[1] = ONE
    init, dy = zeros, offset(work, op.pairs_dy + first // 2 * ldy)
    if op.adds and data.adds:
        init, p.ld_init = target, ldy
    call_pairs(op.gemm, x, dy, target, init, target, p)
    if columns < ldy:  # the product leaves the padding of a row; the update reads it
        for i in range(p.m):
            copy(zeros, offset(target, i * ldy + columns), ldy - columns)


@op_kernel(DENSE_PAIRS, ("float32",))
def dense_pairs_refresh(op, data, params, grads, work, start, lo, n):
    """Rows lo..lo+n of W, lo a multiple of 16, into its words and the columns of the turned ones; the bias has nothing."""
    if lo >= op.n_in:
        return
    ldx, ldy, source = op.ld_in, op.ld_out, offset(params, op.weight + lo * op.ld_out)
    matrix = offset(pointer_at(op.matrix, work), lo // 2 * ldy)
    for i in range(0, n, 2):  # an odd row has one of padding behind it
        row = offset(source, i * ldy)
        row_pairs(row, offset(row, ldy), offset(matrix, i // 2 * ldy), op.n_out)
    if op.turned:
        turn(source, ldy, n, op.n_out, offset(pointer_at(op.turned, work), lo), ldx)


@inner
def turn(source, lds, rows, columns, target, ldt):
    """Rows of numbers in columns of words; rows are rounded up to a multiple of 8, columns to one of 16."""
    for i in range(0, rows, BLOCK):
        for j in range(0, columns, PAIR * BLOCK):
            turn_pairs(offset(source, i * lds + j), offset(target, j // PAIR * ldt + i), lds, ldt)
