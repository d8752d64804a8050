"""Dense products of one output: W is a row of `params`, not a matrix whose rows are one number and their padding.

y is a dot product of two rows, dX an outer product, dW a sum of rows of X: whole vectors along the inputs. As a matrix of
rows of 16, of which products take 8 columns, all three took 8 times as many multiplications and the update 16 times as many
parameters: half of a step of 11-300-1. One number is what regressors and classifiers of two classes end with.
"""

from .._jit import inner
from .._rows import dot
from .._simd import copy, integers_at, offset, pointer_at, real
from ..gemm import COLUMNS, MASK, call_gemm, gemm, gemm_of_segments, new_product, padded, plain, whole_columns
from .activation_function import activated, call_on_tile, get_activation
from .base import ZEROS, dx_base, dy_base, fields, op_kernel, sample, shard_rows

# The product's kernel, the activation's; offsets in `params` of the weights and the bias (-1: none). Of the layer before,
# what dX is to be multiplied by. Kernel of products that add.
ONE_OUTPUT = fields(
    "gemm", "activation", "weight", "bias", "saved_before", "clamps_before", "derivative_before", "gemm_adds"
)  # fmt: skip


def one_output_op(op, builder, layer, kernel):
    """Fill in the op of a layer with a Dense's activation and bias, as `dense.dense_op` does."""
    n_in = builder.input_shape[-1]
    forward, gradient = one_output_forward, one_output_gradient
    if builder.sparse:
        forward, gradient = one_output_forward_sparse, one_output_gradient_sparse
    op.forward, op.backward, op.gradient, op.gemm = builder.addresses(forward, one_output_backward, gradient, gemm)
    op.n_in, op.n_out, op.ld_in, op.ld_out, op.sample_rows = n_in, 1, padded(n_in), padded(1), builder.sample_rows
    op.x, op.dx, op.y, op.dy = builder.input, builder.d_input, builder.new_rows(1), builder.new_deltas(1)
    op.weight, op.bias = builder.parameter(kernel), builder.parameter("bias") if layer.use_bias else -1
    op.plain = not builder.sparse
    if builder.sample_rows > 1:  # gradients of few samples after each other
        op.adds, op.gemm_adds = 1, gemm_of_segments.address(builder.dtype)
    activated(op, builder, get_activation(layer.activation), apart=True)
    if builder.with_gradient and op.dx >= 0:
        derive, op.saved_before, op.clamps_before = builder.take_derivative()
        op.derivative_before = 0 if op.clamps_before else derive


@inner
def begin_row(op, params, work, z):
    """The bias, and zeros behind it, into the row z of the output: as many as products write."""
    copy(offset(work, ZEROS), z, COLUMNS)
    if op.bias >= 0:
        z[0] = params[op.bias]


@inner
def end_rows(op, work, lo, n):
    """f of rows lo..lo+n, of their one column; numbers behind it are not written where X w + b is kept."""
    if op.activation:
        z, y = offset(work, op.saved + lo * op.ld_out), offset(work, op.y + lo * op.ld_out)
        call_on_tile(op.activation, z, y, n, 1, op.ld_out, op.ld_out)


@op_kernel(ONE_OUTPUT)
def one_output_forward(op, data, params, grads, work, start, lo, n):
    """y[lo:lo+n] = f(X[lo:lo+n] w + b). 2*n*n_in flops; writes its own rows of y (and of X w + b if that is kept).

    X : (rows, n_in), stride ld_in     w : (n_in,), b : (1,)     y : (rows, 1), stride ld_out
    """
    for i in range(lo, lo + n):
        z = offset(work, op.saved + i * op.ld_out)
        begin_row(op, params, work, z)
        z[0] += dot(offset(work, op.x + i * op.ld_in), offset(params, op.weight), op.n_in)
    end_rows(op, work, lo, n)


@op_kernel(ONE_OUTPUT)
def one_output_backward(op, data, params, grads, work, start, lo, n):
    """dX = dy w^T for rows lo..lo+n, times f' of the layer before. n*n_in flops; writes its own rows of dX (and dy).

    dy *= f' first where no layer after this one did it. Columns behind n_in get 0 from the padding of w, which is 0.
    """
    ldx, ldy = op.ld_in, op.ld_out
    dy = offset(work, dy_base(op, data) + lo * ldy)
    if op.derivative:
        call_on_tile(op.derivative, dy, offset(work, op.saved + lo * ldy), n, 1, ldy, ldy)
    if op.dx >= 0:
        dx, saved = offset(work, dx_base(op, data) + lo * ldx), offset(work, op.saved_before + lo * ldx)
        p = new_product()
        plain(p, n, whole_columns(op.n_in), 1, ldy, ldx, ldx)
        p.flags, p.epilogue = MASK if op.clamps_before else 0, op.derivative_before
        call_gemm(op.gemm, dy, offset(params, op.weight), dx, offset(work, ZEROS), saved, p)


@op_kernel(ONE_OUTPUT)
def one_output_gradient(op, data, params, grads, work, start, lo, n):
    """dw = dy^T X, unit 0, and db = the sum of dy, unit 1, over the rows of a shard. 2*rows*n_in flops; writes its units."""
    first, rows = shard_rows(op, data)
    ldx, ldy, target = op.ld_in, op.ld_out, offset(grads, op.weight)
    dy, adds = offset(work, dy_base(op, data) + first * ldy), op.adds and data.adds
    if lo > 0:
        bias_gradient(op, grads, dy, rows, adds)
        return
    x, p = offset(work, op.x + first * ldx), new_product()
    plain(p, 1, whole_columns(op.n_in), rows, 0, ldx, ldx)
    p.csa = ldy
    if adds:
        p.ld_init = ldx
        call_gemm(op.gemm_adds, dy, x, target, target, target, p)
    else:
        call_gemm(op.gemm, dy, x, target, offset(work, ZEROS), target, p)
    for j in range(op.n_in, ldx):  # X may have any numbers there; the update reads them
        target[j] = 0


@inner
def bias_gradient(op, grads, dy, rows, adds):
    """db = the sum of dy over so many rows, or that added to what is there, and zeros behind it."""
    target = offset(grads, op.bias)
    total = target[0] if adds else real(dy, 0.0)
    for i in range(rows):
        total += dy[i * op.ld_out]
    for j in range(op.ld_out):
        target[j] = 0
    target[0] = total


# ---------------------------------------------------------------- the first layer, from a CSR matrix


@op_kernel(ONE_OUTPUT)
def one_output_forward_sparse(op, data, params, grads, work, start, lo, n):
    """As `one_output_forward` for samples in CSR form: 2*nnz flops."""
    values, indices, weight = pointer_at(data.x, work), integers_at(data.indices, 0), offset(params, op.weight)
    for i in range(lo, lo + n):
        bounds, z = integers_at(data.indptr, sample(data, start + i)), offset(work, op.saved + i * op.ld_out)
        begin_row(op, params, work, z)
        for k in range(bounds[0], bounds[1]):
            z[0] += values[k] * weight[indices[k]]
    end_rows(op, work, lo, n)


@op_kernel(ONE_OUTPUT)
def one_output_gradient_sparse(op, data, params, grads, work, start, lo, n):
    """As `one_output_gradient` for samples in CSR form: 2*nnz flops, and n_in numbers to clear."""
    first, rows = shard_rows(op, data)
    if lo > 0:
        bias_gradient(op, grads, offset(work, op.dy + first * op.ld_out), rows, 0)
        return
    values, indices, target = pointer_at(data.x, work), integers_at(data.indices, 0), offset(grads, op.weight)
    for j in range(op.ld_in):
        target[j] = 0
    for i in range(first, first + rows):
        bounds, dy = integers_at(data.indptr, sample(data, start + i)), work[op.dy + i * op.ld_out]
        for k in range(bounds[0], bounds[1]):
            target[indices[k]] += values[k] * dy
