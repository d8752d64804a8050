"""Global pooling over the steps of sequences that a mask lets count."""

from .._rows import add, row_op, scaled
from .._simd import copy, offset, real, where
from ..gemm import padded
from .base import ZEROS, dx_base, dy_base, fields, op_kernel
from .masks import step_counts

MASKED_POOL = fields("steps", "chosen")  # of a sample; offset of the numbers of the steps that gave the largest values


def masked_pool_op(table, builder, largest):
    """Fill in the op of a global pool, of the largest values or of the means, on sequences with a mask."""
    op, (steps, n) = MASKED_POOL.on(table), builder.input_shape
    op.sample_rows, op.n_in, op.n_out, op.ld_in, op.ld_out, op.steps = 1, n, n, padded(n), padded(n), steps
    op.x, op.dx, op.y, op.dy = builder.input, builder.d_input, builder.new_rows(n, 1), builder.new_deltas(n, 1)
    op.chosen, op.saved = builder.new_block(builder.samples * op.ld_out), op.y
    forward, backward = (max_forward, max_backward) if largest else (mean_forward, mean_backward)
    op.forward = forward.address(builder.dtype)
    if builder.with_gradient:
        op.backward = backward.address(builder.dtype)


@row_op(3, 2, scalars=1)
def _larger(x, y, chosen, t):
    stays = where(y.is_nan(), 1.0, where(x <= y, 1.0, 0.0)) > 0.5
    return where(stays, y, x), where(stays, chosen, t)


@row_op(2, 1, scalars=1)
def _where_chosen(dy, chosen, t):
    return where(chosen.equals(t), dy, 0.0)


@op_kernel(MASKED_POOL)
def max_forward(op, data, params, grads, work, start, lo, n):
    """Y = largest number of each feature over the steps that count, the first of equal ones; writes its own samples."""
    ld = op.ld_out
    for i in range(lo, lo + n):
        y, chosen, found = offset(work, op.y + i * ld), offset(work, op.chosen + i * ld), False
        for t in range(op.steps):
            if step_counts(data, (start + i) * op.steps + t, op.steps):
                x = offset(work, op.x + (i * op.steps + t) * ld)
                if not found:
                    copy(x, y, ld)
                    for j in range(ld):
                        chosen[j] = real(work, float(t))
                    found = True
                _larger(x, y, chosen, y, chosen, real(work, float(t)), op.n_out)


@op_kernel(MASKED_POOL)
def max_backward(op, data, params, grads, work, start, lo, n):
    """dX = dY in the steps that were chosen, 0 elsewhere; writes its own samples of dX."""
    ld = op.ld_out
    if op.dx >= 0:
        for i in range(lo, lo + n):
            dy, chosen = offset(work, dy_base(op, data) + i * ld), offset(work, op.chosen + i * ld)
            for t in range(op.steps):
                dx = offset(work, dx_base(op, data) + (i * op.steps + t) * ld)
                _where_chosen(dy, chosen, dx, real(work, float(t)), op.n_out)


@op_kernel(MASKED_POOL)
def mean_forward(op, data, params, grads, work, start, lo, n):
    """Y = mean of each feature over the steps that count; writes its own samples, and their numbers of steps at `chosen`."""
    ld = op.ld_out
    for i in range(lo, lo + n):
        y, count = offset(work, op.y + i * ld), 0
        copy(offset(work, ZEROS), y, ld)
        for t in range(op.steps):
            if step_counts(data, (start + i) * op.steps + t, op.steps):
                add(y, offset(work, op.x + (i * op.steps + t) * ld), y, op.n_out)
                count += 1
        work[op.chosen + i * ld] = real(work, 1.0 / max(count, 1))
        scaled(y, y, work[op.chosen + i * ld], op.n_out)


@op_kernel(MASKED_POOL)
def mean_backward(op, data, params, grads, work, start, lo, n):
    """dX = dY / number of the steps that count, in those, 0 elsewhere; writes its own samples of dX."""
    ld = op.ld_out
    if op.dx >= 0:
        for i in range(lo, lo + n):
            dy, share = offset(work, dy_base(op, data) + i * ld), work[op.chosen + i * ld]
            for t in range(op.steps):
                dx = offset(work, dx_base(op, data) + (i * op.steps + t) * ld)
                if step_counts(data, (start + i) * op.steps + t, op.steps):
                    scaled(dy, dx, share, op.n_out)
                else:
                    copy(offset(work, ZEROS), dx, ld)
