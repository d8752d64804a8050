"""What the kernels of recurrent layers share: names for their tables, steps that count, rows of gates and states.

Samples go through all steps of a sequence in one call, and back in another. X W + b of all steps is one product. Then each
step adds h U to the rows of its gates, for all samples of the call at once, and the cell makes of them the gates, in place,
and the new states. On the way back the gates' rows become those of their gradient, in place, so that the gradients of W and
U are one product each over all steps and samples. No step waits for another thread, and U stays in the cache.
"""

from .._jit import inner
from .._records import Record
from .._rows import row_op
from .._simd import bytes_at, offset
from .base import ZEROS, fields, op_signature, sample
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


def recurrent_signature(real):
    """Of the kernels."""
    return op_signature(real, RECURRENT)
