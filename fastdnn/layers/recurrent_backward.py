"""Samples through all steps of a sequence, back, in one call; the gradients of the parameters of recurrent layers."""

from .._jit import inner, kernel_from
from .._math import fma
from .._rows import row_op
from .._simd import copy, offset, pointer_at
from ..gemm import MASK, call_gemm, new_product, plain, whole_columns
from ..transpose import call_transpose
from .base import ONE, ZEROS, op_kernel
from .recurrent_rows import (
    CELL,
    RECURRENT,
    copied,
    counts,
    recurrent_signature,
    run_of,
    span,
    start_row,
    state_before,
    state_row,
    step_number,
    u_row,
    y_row,
    z_row,
)

_cell_at = CELL.view


@inner
def begin_back(op, d, data, work, lo, n):
    """dL/dh and dL/dc behind the last step, unless the window behind has left them."""
    for i in range(lo, lo if data.carries else lo + n):
        dh, zeros = offset(work, d.dh + i * op.ld_h), offset(work, ZEROS)
        copied(zeros if op.sequences else y_row(op, d, op.dy, work, i, 0), dh, op.units)
        copied(zeros, offset(work, d.dc + i * op.ld_h), op.units)


@inner
def cuts(op, d, t):
    """Whether the gradient ends before step t."""
    return (t + 1 if d.backwards else t) % op.truncate == 0


@inner
def goes_on(op, d, data, position, t):
    """Whether a sample has a step that counts behind step t, in the cell's direction."""
    for other in range(0 if d.backwards else t + 1, t if d.backwards else op.steps):
        if counts(op, data, position, other):
            return True
    return False


@inner
def end_gradient(op, d, work, i):
    """No gradient with respect to h and c of the step before."""
    copied(offset(work, ZEROS), offset(work, d.dh + i * op.ld_h), op.units)
    copied(offset(work, ZEROS), offset(work, d.dc + i * op.ld_h), op.units)


@inner
def recur_back(op, d, work, i, m, t, first):
    """dL/dh of the step before: what the cell has left at dh, plus the gradient of h U times U^T; none behind a cut."""
    if first or (op.truncate > 0 and cuts(op, d, t)):
        for s in range(i, i + m):
            end_gradient(op, d, work, s)
        return
    p, dh = new_product(), offset(work, d.dh + i * op.ld_h)
    stride = op.sample_u if op.apart else op.sample_z
    plain(p, m, whole_columns(op.units), op.gates * op.units, stride, op.ld_h, op.ld_h)
    if d.factors < 0:
        p.ld_init = op.ld_h
        call_gemm(op.segments, u_row(op, d, work, i, t), pointer_at(d.recurrent_t, work), dh, dh, dh, p)
        return
    through = offset(work, d.through + i * op.ld_h)
    call_gemm(op.gemm, u_row(op, d, work, i, t), pointer_at(d.recurrent_t, work), through, offset(work, ZEROS), through, p)
    for s in range(i, i + m):
        through, dh = offset(work, d.through + s * op.ld_h), offset(work, d.dh + s * op.ld_h)
        _times_and_sum(through, offset(work, d.factors + s * op.ld_h), dh, dh, op.units)


@row_op(3, 1, exact=True)
def _times_and_sum(a, factor, total):
    return fma(a, factor, total)


@inner
def gradient_of_inputs(op, d, k, work, lo, n, begin, end):
    """dX = dZ W^T, plus that of the cells before; times f' of the layer before."""
    if op.dx < 0:
        return
    dx = offset(work, op.dx + lo * op.steps * op.ld_in)
    if k == 0:
        for i in range(n):
            for t in range(op.steps):
                if t < begin or t >= end:
                    copied(offset(work, ZEROS), offset(dx, (i * op.steps + t) * op.ld_in), op.n_in)
    if begin == end:
        return
    p, init, at = new_product(), offset(work, ZEROS), begin * op.ld_in
    plain(p, end - begin, whole_columns(op.n_in), op.gates * op.units, op.ld_z, op.ld_in, op.ld_in)
    p.blocks, p.a_block, p.c_block = n, op.sample_z, op.steps * op.ld_in
    if k > 0:
        p.ld_init, init = op.ld_in, offset(dx, at)
    saved = offset(work, op.saved_before + lo * op.steps * op.ld_in + at)
    if k == op.n_cells - 1:
        p.flags, p.epilogue = MASK if op.clamps_before else 0, op.derivative_before
    call_gemm(op.segments, z_row(op, d, work, lo, begin), pointer_at(d.kernel_t, work), offset(dx, at), init, saved, p)


def back(op, d, work, z, u, c_before, c, h_before, h, dh, dc, dy):
    """Placeholder for a step of the cell back: gates become their gradient, in place; dh and dc those of the step before."""


def _backward(op, data, params, grads, work, start, lo, n):
    """dX and the gradient of the gates of samples lo..lo+n; writes its own samples of dX, of the gates, and of dh and dc."""
    begin, end = span(op, data, start + lo, n)
    zeros = offset(work, ZEROS)
    for k in range(op.n_cells):
        d = _cell_at(op.cells, k)
        begin_back(op, d, data, work, lo, n)
        for number in range(end - 1, begin - 1, -1):
            t, before = step_number(d, number, begin, end)
            first, i = number == begin, lo
            while i < lo + n:
                m = run_of(op, data, start, t, i, lo + n)
                if m > 0:
                    for s in range(i, i + m):
                        h_before = state_before(op, data, d.h, d.h_start, work, s, before, first)
                        c_before = state_before(op, data, d.c, d.c_start, work, s, before, first)
                        h, c = state_row(op, d.h, work, s, t), state_row(op, d.c, work, s, t)
                        dh, dc = offset(work, d.dh + s * op.ld_h), offset(work, d.dc + s * op.ld_h)
                        dy = y_row(op, d, op.dy, work, s, t) if op.sequences else zeros
                        z, u = z_row(op, d, work, s, t), u_row(op, d, work, s, t)
                        back(op, d, work, z, u, c_before, c, h_before, h, dh, dc, dy)
                    recur_back(op, d, work, i, m, t, first and op.checkpoints == 0)
                else:
                    columns = whole_columns(op.gates * op.units)
                    copied(zeros, z_row(op, d, work, i, t), columns)
                    copied(zeros, u_row(op, d, work, i, t), columns)
                    if op.truncate > 0 and cuts(op, d, t) and goes_on(op, d, data, start + i, t):
                        end_gradient(op, d, work, i)
                i += max(m, 1)
        gradient_of_inputs(op, d, k, work, lo, n, begin, end)


def backward_kernel(name, back):
    """The kernel of a cell from its step back."""
    return kernel_from(_backward, f"{name}_backward", recurrent_signature, _backward, back=back)


# ---------------------------------------------------------------- gradient


@inner
def cell_of(op, unit):
    """The cell that a unit of the parameters belongs to."""
    d = _cell_at(op.cells, 0)
    for k in range(1, op.n_cells):
        if unit >= _cell_at(op.cells, k).first_unit:
            d = _cell_at(op.cells, k)
    return d


@op_kernel(RECURRENT)
def recurrent_gradient(op, data, params, grads, work, start, lo, n):
    """dW = X^T dZ, dU = h^T dZ and the biases, the sum of dZ, over the steps and samples of a shard; its own units.

    Units are those of one array: rows of W, rows of U, or a bias.
    """
    d = cell_of(op, lo)
    begin, end = span(op, data, start + data.first_row, data.rows)
    row, columns, i = lo - d.first_unit, whole_columns(op.gates * op.units), data.first_row
    zeros, p, steps = offset(work, ZEROS), new_product(), end - begin
    plain(p, n, columns, steps, 1, op.ld_z, op.ld_z)
    p.k1, p.b1, p.csa = data.rows, op.sample_z, op.ld_in
    a, b, target = zeros, z_row(op, d, work, i, begin), offset(grads, d.kernel + row * op.ld_z)
    if row < op.n_in:
        a, p.a1 = offset(work, op.x + (i * op.steps + begin) * op.ld_in + row), op.steps * op.ld_in
    elif row < op.n_in + op.units:
        gradient_of_recurrent(op, d, data, work, grads, p, i, data.rows, begin, steps, row - op.n_in)
        return
    else:
        a, p.m, p.rsa, p.csa, p.a1 = offset(work, ONE), 1, 0, 0, 0
        target = offset(grads, d.bias)
        if row > op.n_in + op.units:
            target, b, p.b1 = offset(grads, d.recurrent_bias), u_row(op, d, work, i, begin), op.sample_u
    if steps > 0:
        call_gemm(op.segments, a, b, target, zeros, target, p)
    clear_rest(op, target, p.m, columns if steps > 0 else 0, zeros)


@inner
def gradient_of_recurrent(op, d, data, work, grads, p, i, rows, begin, steps, row):
    """Rows of dU from `row` on: h of a step times the gradient of the gates of the next one, h before the first if not 0."""
    ahead = 0 if d.backwards else 1  # of a step and the one before it, which is the first in memory
    target, zeros = offset(grads, d.recurrent + row * op.ld_z), offset(work, ZEROS)
    a, b = offset(state_row(op, d.read, work, i, begin + 1 - ahead), row), u_row(op, d, work, i, begin + ahead)
    sample = op.sample_u if op.apart else op.sample_z
    p.k, p.csa, p.a1, p.b1 = steps - 1, op.step_h, op.sample_h, sample
    if steps > 1:
        call_gemm(op.segments, a, b, target, zeros, target, p)
    clear_rest(op, target, p.m, p.n if steps > 1 else 0, zeros)
    if op.windows:
        p.k, p.k1, p.csa, p.ldb, p.ld_init = rows, 1, op.ld_h, sample, op.ld_z
        first = offset(start_row(op, data, d.h_start, work, i), row)
        call_gemm(op.segments, first, u_row(op, d, work, i, 0), target, target, target, p)


@inner
def clear_rest(op, target, rows, done, zeros):
    """Zeros behind the columns of a gradient that a product has written: the update reads them."""
    for r in range(rows):
        copy(zeros, offset(target, r * op.ld_z + done), op.ld_z - done)


@op_kernel(RECURRENT)
def recurrent_refresh(op, data, params, grads, work, start, lo, n):
    """Rows of W and U into the columns of their transposed copies; biases have nothing to refresh."""
    d = cell_of(op, lo)
    row, columns = lo - d.first_unit, op.gates * op.units
    if row < op.n_in:
        if d.kernel_t:
            source, target = offset(params, d.kernel + row * op.ld_z), offset(pointer_at(d.kernel_t, work), row)
            call_transpose(op.transpose, source, target, n, columns, op.ld_z, op.ld_in)
    elif row < op.n_in + op.units:
        row -= op.n_in
        source, target = offset(params, d.recurrent + row * op.ld_z), offset(pointer_at(d.recurrent_t, work), row)
        call_transpose(op.transpose, source, target, n, columns, op.ld_z, op.ld_h)
