"""Samples through all steps of a sequence, forward, in one call."""

from .._jit import inner, kernel_from
from .._rows import row_op
from .._simd import copy, doubles_at, offset, real, where
from ..gemm import call_gemm, new_product, plain, whole_columns
from ..rng import uniform_row
from .base import ZEROS
from .recurrent_rows import (
    CELL,
    copied,
    recurrent_signature,
    run_of,
    span,
    start_window,
    state_before,
    state_row,
    step_number,
    summed,
    u_row,
    y_row,
    z_row,
)

_cell_at = CELL.view


@row_op(1, 1, scalars=2)
def _factors(u, rate, scale):
    return where(u < rate, 0.0, scale)


@row_op(2, 1, exact=True)
def _product(a, b):
    return a * b


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


def forward_kernel(name, step):
    """The kernel of a cell from its step."""
    return kernel_from(_forward, f"{name}_forward", recurrent_signature, _forward, step=step)
