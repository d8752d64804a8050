"""Kernels of recurrent layers: samples through all steps of a sequence in one call, and back in another.

X W + b of all steps is one product. Then each step adds h U to the rows of its gates, for all samples of the call at once,
and the cell makes of them the gates, in place, and the new states. On the way back the gates' rows become those of their
gradient, in place, so that the gradients of W and U are one product each over all steps and samples. No step waits for
another thread, and U stays in the cache.
"""

from .._jit import inner, kernel_from
from .._math import fma
from .._records import Record
from .._rows import row_op
from .._simd import bytes_at, copy, doubles_at, offset, pointer_at, real, where
from ..gemm import MASK, call_gemm, call_transpose, new_product, plain, whole_columns
from ..rng import uniform_row
from .base import ONE, ZEROS, fields, op_kernel, op_signature, sample
from .masks import step_counts

# Addresses of the `CELL`s and their number, numbers of units, gates and steps; strides in `work` from step to step and from
# sample to sample, of the gates, of what the recurrent product has apart from them, and of the states. Whether the output is
# there for each step, stands in the order of the steps, is a sum of the cells' and not side by side; steps after which the
# gradient ends (0: none). Kernels: of products, of the transpose, of the activation and its derivative. Whether there is a
# mask; whether states stay from call to call; whether sequences come in windows of their steps, gradients go through all of
# them, and elements from the states that one starts from to the next one's. Of the layer before, what dX is to be multiplied
# by.
RECURRENT = fields(
    "cells", "n_cells", "units", "gates", "steps", "ld_z", "sample_z", "step_u", "sample_u", "step_h", "sample_h", "ld_h",
    "sequences", "reversed", "sums", "truncate", "gemm", "segments", "transpose", "activation", "by_input", "cell_derivative",
    "masked", "stateful", "windows", "checkpoints", "start_step", "constants", "apart",
    "saved_before", "clamps_before", "derivative_before",
)  # fmt: skip

# One direction. Offsets in `params` of W, U and the biases (-1: none), addresses of the transposed matrices. Offsets in
# `work`: of the gates (n, steps, gates * units), of what stands `apart`, of the states c and h (n, steps, units), of h as the
# recurrent product reads it, which is h times `factors` (n, units) or h itself, and of dL/dh through U, dL/dh and dL/dc of
# the step at hand; where a sequence comes in windows, of h and c before the window's first step.
CELL = Record(
    "backwards", "column", "first_unit", "kernel", "recurrent", "bias", "recurrent_bias", "kernel_t", "recurrent_t",
    "z", "u", "c", "h", "read", "factors", "through", "dh", "dc", "h_start", "c_start", "key",
)  # fmt: skip
_cell_at = CELL.view


# ---------------------------------------------------------------- steps that count


@inner
def counts(op, data, position, t):
    """Whether step t of the sample at `position` of the order counts."""
    return op.masked == 0 or step_counts(data, position * op.steps + t, op.steps)


@inner
def span(op, data, position, n):
    """(begin, end) of the steps outside of which nothing counts of the n samples from `position` of the order on."""
    if op.masked == 0 or op.windows:
        return 0, op.steps
    begin, end = op.steps, 0
    for i in range(position, position + n):
        row = bytes_at(data.mask, sample(data, i) * data.mask_row)
        first, last = 0, op.steps
        while last > end and row[last - 1] == 0:
            last -= 1
        while first < begin and row[first] == 0:
            first += 1
        begin, end = min(begin, first), max(end, last)
    return begin, max(begin, end)


@inner
def run_of(op, data, start, t, i, end):
    """How many samples, one after the other from row i on and before `end`, have a step t that counts."""
    if op.masked == 0:
        return end - i
    j = i
    while j < end and counts(op, data, start + j, t):
        j += 1
    return j - i


@inner
def step_number(d, number, begin, end):
    """(t, the step before it in the cell's direction) of step `number` of begin..end."""
    if d.backwards:
        t = begin + end - 1 - number
        return t, t + 1
    return number, number - 1


# ---------------------------------------------------------------- rows


@row_op(1, 1, exact=True)
def copied(x):
    return x


@row_op(2, 1, exact=True)
def summed(a, b):
    return a + b


@row_op(2, 1, exact=True)
def _product(a, b):
    return a * b


@row_op(1, 1, scalars=2)
def _factors(u, rate, scale):
    return where(u < rate, 0.0, scale)


@inner
def z_row(op, d, work, i, t):
    return offset(work, d.z + i * op.sample_z + t * op.ld_z)


@inner
def u_row(op, d, work, i, t):
    return offset(work, d.u + i * op.sample_u + t * op.step_u) if op.apart else z_row(op, d, work, i, t)


@inner
def state_row(op, block, work, i, t):
    """Row of the states c or h after step t."""
    return offset(work, block + i * op.sample_h + t * op.step_h)


@inner
def state_before(op, data, block, start, work, i, before, first):
    """Row of the states c or h before a step: that of the step before, or where the call starts from."""
    if first:
        return start_row(op, data, start, work, i) if op.windows else offset(work, ZEROS)
    return state_row(op, block, work, i, before)


@inner
def start_row(op, data, start, work, i):
    """Row of the states c or h that the window at hand starts from."""
    return offset(work, start + data.window * op.start_step + i * op.ld_h)


@inner
def start_window(op, d, data, work, lo, n):
    """Go on from the last step of the window before, or from 0."""
    for i in range(lo, lo + n if op.windows and data.again == 0 else lo):
        for block, start in ((d.h, d.h_start), (d.c, d.c_start)):
            source = state_row(op, block, work, i, op.steps - 1) if data.window else offset(work, ZEROS)
            copied(source, start_row(op, data, start, work, i), op.units)


@inner
def y_row(op, d, at, work, i, t):
    """Row of the output or its gradient that belongs to step t, of a cell's part of it."""
    place = op.steps - 1 - t if op.reversed else t
    return offset(work, at + ((i * op.steps + place) if op.sequences else i) * op.ld_out + d.column)


# ---------------------------------------------------------------- forward


@inner
def project(op, d, params, work, lo, n, begin, end):
    """X W + b of steps begin..end of samples lo..lo+n into the rows of the gates."""
    bias, p = offset(params, d.bias) if d.bias >= 0 else offset(work, ZEROS), new_product()
    plain(p, end - begin, whole_columns(op.gates * op.units), op.n_in, op.ld_in, op.ld_z, op.ld_z)
    p.blocks, p.a_block, p.c_block = n, op.steps * op.ld_in, op.sample_z
    x, z = offset(work, op.x + (lo * op.steps + begin) * op.ld_in), z_row(op, d, work, lo, begin)
    call_gemm(op.segments, x, offset(params, d.kernel), z, bias, z, p)


@inner
def recur(op, d, data, params, work, i, m, t, before, first):
    """Add h U of the step before to the gates of m samples from row i on; or put it, plus its bias, where it stands apart."""
    columns = whole_columns(op.gates * op.units)
    target, bias = u_row(op, d, work, i, t), offset(work, ZEROS)
    if op.apart:
        bias = offset(params, d.recurrent_bias) if d.recurrent_bias >= 0 else bias
    if first and op.windows == 0:  # h is 0
        for s in range(i, i + m if op.apart else i):
            copied(bias, u_row(op, d, work, s, t), columns)
        return
    p = new_product()
    plain(p, m, columns, op.units, op.sample_h, op.ld_z, op.sample_u if op.apart else op.sample_z)
    if op.apart == 0:
        p.ld_init, bias = op.sample_z, target
    h = state_before(op, data, d.read, d.h_start, work, i, before, first)
    if first:
        p.rsa = op.ld_h
    call_gemm(op.segments, h, offset(params, d.recurrent), target, bias, target, p)


@inner
def draw_factors(op, d, data, work, start, lo, n):
    """Factors of the recurrent dropout, the same in all steps."""
    if d.factors >= 0:
        rate, scale = real(work, doubles_at(op.constants)[0]), real(work, doubles_at(op.constants)[1])
        for i in range(lo, lo + n):
            row = offset(work, d.factors + i * op.ld_h)
            uniform_row(row, op.ld_h, d.key, start + i, data.step)
            _factors(row, row, rate, scale, op.units)


@inner
def put(op, d, k, source, target):
    """h, or zeros, as cell k's part of the output."""
    if k > 0 and op.sums:
        summed(source, target, target, op.units)
    elif k > 0:  # what stands behind it may be another thread's
        copy(source, target, op.units)
    else:
        copied(source, target, op.units)


@inner
def finish(op, d, k, work, lo, n, begin, end):
    """What is left of the output of cell k: zeros where no sample has a step that counts, or the last h."""
    for i in range(lo, lo + n):
        if op.sequences == 0:
            last = begin if d.backwards else end - 1
            source = state_row(op, d.h, work, i, last) if begin < end else offset(work, ZEROS)
            put(op, d, k, source, y_row(op, d, op.y, work, i, 0))
        elif d.h != op.y:
            for t in range(op.steps):
                if t < begin or t >= end:
                    put(op, d, k, offset(work, ZEROS), y_row(op, d, op.y, work, i, t))


def step(op, d, work, z, u, c_before, c, h_before, h):
    """Placeholder in the template for a step of the cell at hand: gates in place, c and h, of one sample."""


def _forward(op, data, params, grads, work, start, lo, n):
    """Y of samples lo..lo+n, all their steps; writes its own samples of Y, of the gates and of the states.

    X : (n, steps, n_in), stride ld_in     W : (n_in, gates * units), U : (units, gates * units), stride ld_z
    """
    begin, end = span(op, data, start + lo, n)
    for k in range(op.n_cells):
        d = _cell_at(op.cells, k)
        start_window(op, d, data, work, lo, n)
        if begin < end:
            project(op, d, params, work, lo, n, begin, end)
            draw_factors(op, d, data, work, start, lo, n)
        for number in range(begin, end):
            t, before = step_number(d, number, begin, end)
            first, i = number == begin and op.stateful == 0, lo
            while i < lo + n:
                m = run_of(op, data, start, t, i, lo + n)
                if m > 0:
                    recur(op, d, data, params, work, i, m, t, before, first)
                for s in range(i, i + max(m, 1)):
                    h_before = state_before(op, data, d.h, d.h_start, work, s, before, first)
                    c_before = state_before(op, data, d.c, d.c_start, work, s, before, first)
                    h, c = state_row(op, d.h, work, s, t), state_row(op, d.c, work, s, t)
                    if m > 0:
                        step(op, d, work, z_row(op, d, work, s, t), u_row(op, d, work, s, t), c_before, c, h_before, h)
                    else:
                        copied(h_before, h, op.units)
                        copied(c_before, c, op.units)
                    if d.factors >= 0:
                        _product(h, offset(work, d.factors + s * op.ld_h), state_row(op, d.read, work, s, t), op.units)
                    if op.sequences and d.h != op.y:
                        put(op, d, k, h if m > 0 else offset(work, ZEROS), y_row(op, d, op.y, work, s, t))
                i += max(m, 1)
        finish(op, d, k, work, lo, n, begin, end)


# ---------------------------------------------------------------- back


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


def recurrent_kernels(name, step, back):
    """The kernels (forward, backward) of a cell from its two steps."""
    signature = _op_signature
    return (
        kernel_from(_forward, f"{name}_forward", signature, _forward, step=step),
        kernel_from(_backward, f"{name}_backward", signature, _backward, back=back),
    )


def _op_signature(real):
    return op_signature(real, RECURRENT)


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
