"""The compiled loops that walk a program. They know no layer, no loss, no optimizer and no float type.

A step of training is two parallel regions. In the first each thread takes its share of the batch's rows through all ops,
forward and back. In the second each thread takes its parts of the parameters: gradient, update and whatever is derived
from the parameters, one after the other while the part is in the cache. The gradient is a sum over fixed slots of rows
(`Training.slots`), each summed in order: the results do not depend on the number of threads, and no thread writes what
another one wrote in the same region.

Where no thread is without a slot, each sums the gradients of its own slots in the first region: then gradients cross
between the cores and not activations, which are more in small networks, and whole matrices are one product instead of a
product for each part. The sums are the same.
"""

import math

from numba import prange, types

from ._jit import driver, inner
from ._simd import caller, doubles_at, integers_at
from .layers.base import BACKWARD, BASE, BLOCK, COLUMNS, DATA, FIRST_ROW, FORWARD, GRADIENT, REFRESH, ROWS, STEP, op_signature
from .optimizers.base import (
    NUMBERS,
    SCALE_OF_GRADIENT,
    add_signature,
    average_signature,
    limit_signature,
    norm_signature,
    update_signature,
)

# Entries of `at`, the addresses and counts that the loops need.
PARAMS, GRADS, WORK, SLOTS, UPDATE, N_PARAMS, SCRATCH, SCRATCH_BYTES, ITEMSIZE, OWN, ADD = range(11)
NORM, AVERAGE, AVERAGED, LIMIT, LIMITS, N_LIMITS, LIMIT_NORMS, FACTORS, SKIP = range(11, 20)
AT = 24
# Entries of `rules`: largest norm of a gradient, decay of the averaged parameters; written: steps skipped so far,
# and, of the norms of the gradients, how many there were and their sum.
CLIP_NORM, AVERAGE_DECAY, SKIPPED, NORMS, NORM_SUM = range(5)
RULES = 8
# Columns of `parts`: units [LO, LO + UNITS) of op OP are the parameters [FIRST, FIRST + SIZE), of the array ENTRY.
OP, LO, UNITS, FIRST, SIZE, DECAYS, ENTRY = range(7)
PART, SEGMENT = 7, 6  # columns of `parts` and `segments`
FACTOR = 4  # columns of `Layout.factors`

_call_op = caller(op_signature, 8)
_call_update = caller(update_signature, 9)
_call_add = caller(add_signature, 4)
_call_norm = caller(norm_signature, 3)
_call_average = caller(average_signature, 5)
_call_limit = caller(limit_signature, 6)

_integers, _table = types.int64[::1], types.int64[:, ::1]
_doubles, _matrix = types.float64[::1], types.float64[:, ::1]


@inner
def run(kind, table, o, data, params, grads, work, start, lo, n):
    """Call kernel `kind` (FORWARD, ...) of op o, if it has one; table, data, params, grads, work are addresses."""
    row = integers_at(table, o * COLUMNS)
    if row[kind]:
        _call_op(row[kind], row, integers_at(data, 0), params, grads, work, start, lo, n)


@inner
def segment_rows(table, segment, data, params, work, start, lo, n):
    """Rows lo..lo+n of the batch that starts at `start` through the ops of one segment, forward and back."""
    for o in range(segment[0], segment[1]):
        run(FORWARD, table, o, data, params, 0, work, start, lo, n)
    for o in range(segment[2], segment[3] - 1, -1):
        run(BACKWARD, table, o, data, params, 0, work, start, lo, n)


@inner
def slot_gradients(table, parts, n_parts, data, params, grads, work, start):
    """The gradients of all parameters, summed over the rows of the slot `data`."""
    p = 0
    while p < n_parts:
        first, units = integers_at(parts, p * PART), 0
        while p < n_parts and integers_at(parts, p * PART)[ENTRY] == first[ENTRY]:
            units += integers_at(parts, p * PART)[UNITS]
            p += 1
        run(GRADIENT, table, first[OP], data, params, grads, work, start, first[LO], units)


@inner
def scratch_of(at, t, offset):
    """Where a gradient array would have to start for the part of it from `offset` on to be in thread t's scratch."""
    return at[SCRATCH] + t * 2 * at[SCRATCH_BYTES] - offset * at[ITEMSIZE]


@inner
def part_gradient(table, part, data, slots, at, t, base, begin):
    """The gradient of one part, over all slots; returns the address of the array that holds it."""
    scratch = scratch_of(at, t, part[FIRST])
    grads = at[GRADS] if at[GRADS] else scratch + at[SCRATCH_BYTES]
    if integers_at(table, part[OP] * COLUMNS)[GRADIENT]:
        for s in range(slots):
            own = data + s * 8 * DATA
            if integers_at(own, 0)[ROWS] > 0:
                more = s > 0 or base > begin
                source = grads + s * at[OWN] if at[OWN] else scratch
                if not at[OWN]:
                    target = scratch if more else grads
                    run(GRADIENT, table, part[OP], own, at[PARAMS], target, at[WORK], base, part[LO], part[UNITS])
                if more:
                    _call_add(at[ADD], grads, source, part[FIRST], part[SIZE])
    return grads


@inner
def part_update(table, part, factors, at, grads, numbers, average_decay, l2):
    """Update one part and refresh what is derived from it; returns its penalty, before the update."""
    if not integers_at(table, part[OP] * COLUMNS)[GRADIENT]:  # an op without a gradient is frozen
        return 0.0
    penalty = _call_update(
        at[UPDATE], numbers, factors, at[PARAMS], grads, at[SLOTS], at[N_PARAMS], part[FIRST], part[SIZE],
        l2 * part[DECAYS] + doubles_at(factors)[0]
    )  # fmt: skip
    if at[AVERAGED] and not at[N_LIMITS]:
        _call_average(at[AVERAGE], at[AVERAGED], at[PARAMS], part[FIRST], part[SIZE], average_decay)
    run(REFRESH, table, part[OP], 0, at[PARAMS], 0, at[WORK], 0, part[LO], part[UNITS])
    return penalty


@inner
def limit_norms(table, parts, n_parts, at, average_decay):
    """Shorten the columns of the matrices that have a largest norm; the average, if there is one, takes what is left."""
    norms = doubles_at(at[LIMIT_NORMS])
    for k in range(at[N_LIMITS]):
        row = integers_at(at[LIMITS], 5 * k)
        _call_limit(at[LIMIT], at[PARAMS], row[2], row[1], row[4], row[3], norms[k])
        run(REFRESH, table, row[0], 0, at[PARAMS], 0, at[WORK], 0, 0, row[1])
    if at[AVERAGED]:
        for p in range(n_parts):
            part = integers_at(parts, p * PART)
            _call_average(at[AVERAGE], at[AVERAGED], at[PARAMS], part[FIRST], part[SIZE], average_decay)


@inner
def cut(rows, slots, s):
    """First row of slot s."""
    return (rows * s + slots - 1) // slots


@driver(types.void(_table, _table, _table, _integers, _table, _integers, _doubles, *[types.intp] * 6, *[_doubles] * 4,
                   _matrix, types.float64, _doubles, types.intp))  # fmt: skip
def train(
    program,
    segments,
    parts,
    bounds,
    data,
    at,
    rules,
    first,
    last,
    skip,
    most,
    batch,
    n,
    shares,
    values,
    scale,
    losses,
    numbers,
    l2,
    squares,
    nt,
):
    """Batches first..last of an epoch: values[b] += mean loss + penalty of batch b; parameters updated in place.

    program (ops, COLUMNS), segments (k, 6), parts (parts, 7), bounds (nt + 1,): tables, see `program`
    data (slots, DATA), at, rules (RULES,) : see `layers.base` and above
    skip, most : of a batch larger than the workspace, the rows from `skip` on and at most so many (a multiple of the
    workspace's); 0 and `batch` for whole batches. The update comes with a batch's last rows.
    batch : samples in a batch     n : samples in the epoch     shares[b] : 1 / sum of the weights of batch b
    scale (1,) : written, the share of the current batch     losses (rows of the workspace,), squares (parts,) : scratch
    numbers (last - first, NUMBERS) : of the optimizer; at[UPDATE] = 0 leaves the parameters and keeps the gradients
    l2 : weight decay, divided by the sum of the weights of the batch as scikit-learn does
    at[SCRATCH] : per thread, twice the room for the gradient of one part: of a slot, and the sum, which is used up at once
    and never leaves the cache, unless at[GRADS] is an array to keep it in. A batch larger than the workspace is taken in
    pieces, whose gradients add up there.
    at[OWN] : the nt <= slots threads sum the gradients of their own slots, each in its part of at[GRADS], at[OWN] bytes long
    at[NORM] : the norm of the gradient decides about the update, so that all of it (at[GRADS]) comes before any of this:
    a third parallel region. at[SKIP] : a step whose loss or norm is not finite is left out, and counted in rules[SKIPPED].
    """
    capacity, slots, regions, n_parts = len(losses), data.shape[0], len(segments), len(parts)
    params, work, table, here = at[PARAMS], at[WORK], program.ctypes.data, data.ctypes.data
    # Rows of tables are taken by address: a view of an array counts references, and steps of tiny32 took 9 % longer.
    all_parts, all_segments = parts.ctypes.data, segments.ctypes.data
    unit = BLOCK if regions > 1 else 1
    for t in prange(nt):
        for p in range(bounds[t], bounds[t + 1]):
            run(REFRESH, table, parts[p, OP], 0, params, 0, work, 0, parts[p, LO], parts[p, UNITS])
    for b in range(first, last):
        begin, end = b * batch, min(n, b * batch + batch)
        scale[0] = shares[b]
        loss = values[b]  # a batch may come in several calls: one sum, wherever it is cut
        for base in range(begin + skip, min(end, begin + skip + most), capacity):
            rows = min(capacity, end - base)
            final = base + rows == end and at[UPDATE] != 0
            for s in range(slots):
                data[s, FIRST_ROW] = cut(rows, slots, s)
                data[s, ROWS] = cut(rows, slots, s + 1) - data[s, FIRST_ROW]
                data[s, BASE] = base
            for g in range(regions):
                for t in prange(nt):
                    segment = integers_at(all_segments, g * SEGMENT)
                    if at[OWN]:
                        mine, end_of_mine = slots * t // nt, slots * (t + 1) // nt
                        lo = data[mine, FIRST_ROW]
                        m = data[end_of_mine - 1, FIRST_ROW] + data[end_of_mine - 1, ROWS] - lo
                        if m > 0:
                            segment_rows(table, segment, here + mine * 8 * DATA, params, work, base, lo, m)
                            for s in range(mine, end_of_mine):
                                if data[s, ROWS] > 0:
                                    own, sums = here + s * 8 * DATA, at[GRADS] + s * at[OWN]
                                    slot_gradients(table, all_parts, n_parts, own, params, sums, work, base)
                    else:
                        blocks = (rows + unit - 1) // unit
                        lo = min(rows, blocks * t // nt * unit)
                        m = min(rows, blocks * (t + 1) // nt * unit) - lo
                        if m > 0:
                            segment_rows(table, segment, here, params, work, base, lo, m)
                if segments[g, 5] >= 0:
                    run(segments[g, 5], table, segments[g, 4], here, params, 0, work, base, 0, rows)
            for i in range(rows):
                loss += losses[i]
            decay = l2 * shares[b]
            step = numbers.ctypes.data + (b - first) * NUMBERS * 8
            fine = not at[SKIP] or math.isfinite(loss)
            for t in prange(nt):
                for p in range(bounds[t], bounds[t + 1]):
                    part = integers_at(all_parts, p * PART)
                    grads = part_gradient(table, part, here, slots, at, t, base, begin)
                    if final and at[NORM]:
                        squares[p] = _call_norm(at[NORM], grads, part[FIRST], part[SIZE])
                    elif final and fine:
                        factors = at[FACTORS] + p * FACTOR * 8
                        squares[p] = part_update(table, part, factors, at, grads, step, rules[AVERAGE_DECAY], decay)
            if final and at[NORM]:
                total = 0.0
                for p in range(n_parts):
                    total += squares[p]
                norm = math.sqrt(total)
                fine = fine and (not at[SKIP] or math.isfinite(norm))
                if rules[CLIP_NORM] > 0.0 and norm > rules[CLIP_NORM]:
                    numbers[b - first, SCALE_OF_GRADIENT] = rules[CLIP_NORM] / norm
                if fine:
                    rules[NORMS] += 1.0
                    rules[NORM_SUM] += norm
                    for t in prange(nt):
                        for p in range(bounds[t], bounds[t + 1]):
                            part, factors = integers_at(all_parts, p * PART), at[FACTORS] + p * FACTOR * 8
                            squares[p] = part_update(table, part, factors, at, at[GRADS], step, rules[AVERAGE_DECAY], decay)
            if final and fine and at[N_LIMITS]:
                limit_norms(table, all_parts, n_parts, at, rules[AVERAGE_DECAY])
            if final and not fine:
                rules[SKIPPED] += 1.0
                for p in range(n_parts):
                    squares[p] = 0.0
        if at[UPDATE] and begin + skip + most >= end:
            for p in range(n_parts):
                loss += squares[p]
            for s in range(slots):
                data[s, STEP] += 1
        values[b] = loss


@driver(types.void(_table, _integers, _integers, *[types.intp] * 4, types.intp))
def infer(program, data, at, work_bytes, capacity, first, last, nt):
    """Samples first..last forward through all ops, the last of which writes results; at most `capacity` rows at a time.

    Each thread has a workspace of its own, `work_bytes` after that of the one before it, and takes whole pieces.
    """
    ops, params, table, here = program.shape[0], at[PARAMS], program.ctypes.data, data.ctypes.data
    count = last - first
    pieces = (count + capacity - 1) // capacity
    pieces = (pieces + nt - 1) // nt * nt  # as many for each thread, all of about the same size
    for t in prange(nt):
        work = at[WORK] + t * work_bytes
        for piece in range(pieces * t // nt, pieces * (t + 1) // nt):
            start = first + count * piece // pieces
            m = first + count * (piece + 1) // pieces - start
            if m > 0:
                for o in range(ops):
                    run(FORWARD, table, o, here, params, 0, work, start, 0, m)
