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

from numba import prange, types

from ._jit import driver, inner
from ._simd import caller, integers_at
from .layers.base import BACKWARD, BASE, COLUMNS, FIRST_ROW, FORWARD, GRADIENT, REFRESH, ROWS, op_signature
from .optimizers import NUMBERS, add_signature, update_signature

# Entries of `at`, the addresses that both loops need.
PARAMS, GRADS, WORK, SLOTS, UPDATE, N_PARAMS, SCRATCH, SCRATCH_BYTES, ITEMSIZE, OWN, ADD = range(11)
AT = 12
# Columns of `parts`: units [LO, LO + UNITS) of op OP are the parameters [FIRST, FIRST + SIZE), of the array ENTRY.
OP, LO, UNITS, FIRST, SIZE, DECAYS, ENTRY = range(7)

_call_op = caller(op_signature, 8)
_call_update = caller(update_signature, 8)
_call_add = caller(add_signature, 4)

_integers, _table = types.int64[::1], types.int64[:, ::1]
_doubles, _matrix = types.float64[::1], types.float64[:, ::1]


@inner
def run(kind, table, o, data, params, grads, work, start, lo, n):
    """Call kernel `kind` (FORWARD, ...) of op o, if it has one; table, data, params, grads, work are addresses."""
    row = integers_at(table, o * COLUMNS)
    if row[kind]:
        _call_op(row[kind], row, integers_at(data, 0), params, grads, work, start, lo, n)


@inner
def step_rows(program, data, params, work, start, lo, n):
    """Rows lo..lo+n of the batch that starts at `start`: forward through all ops, and back."""
    ops, table, here = program.shape[0], program.ctypes.data, data.ctypes.data
    for o in range(ops - 1):
        run(FORWARD, table, o, here, params, 0, work, start, lo, n)
    for o in range(ops - 1, -1, -1):
        run(BACKWARD, table, o, here, params, 0, work, start, lo, n)


@inner
def slot_gradients(program, parts, data, params, grads, work, start):
    """The gradients of all parameters, summed over the rows of the slot `data`."""
    table, own, p = program.ctypes.data, data.ctypes.data, 0
    while p < len(parts):
        first, units = p, 0
        while p < len(parts) and parts[p, ENTRY] == parts[first, ENTRY]:
            units += parts[p, UNITS]
            p += 1
        run(GRADIENT, table, parts[first, OP], own, params, grads, work, start, parts[first, LO], units)


@inner
def cut(rows, slots, s):
    """First row of slot s."""
    return (rows * s + slots - 1) // slots


@driver(types.void(_table, _table, _integers, _table, _integers, *[types.intp] * 6, *[_doubles] * 4, _matrix, types.float64,
                   _doubles, types.intp))  # fmt: skip
def train(
    program,
    parts,
    bounds,
    data,
    at,
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
    """Batches first..last of an epoch: values[b] += mean loss + L2 term of batch b; parameters updated in place.

    program (ops, COLUMNS), parts (parts, 7), bounds (nt + 1,): tables     data (slots, DATA), at : see `layers.base`
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
    """
    capacity, slots = len(losses), data.shape[0]
    params, work, table = at[PARAMS], at[WORK], program.ctypes.data
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
            for t in prange(nt):
                if at[OWN]:
                    mine, end_of_mine = slots * t // nt, slots * (t + 1) // nt
                    lo = data[mine, FIRST_ROW]
                    m = data[end_of_mine - 1, FIRST_ROW] + data[end_of_mine - 1, ROWS] - lo
                    if m > 0:
                        step_rows(program, data[mine], params, work, base, lo, m)
                        for s in range(mine, end_of_mine):
                            if data[s, ROWS] > 0:
                                slot_gradients(program, parts, data[s], params, at[GRADS] + s * at[OWN], work, base)
                else:
                    lo = rows * t // nt
                    m = rows * (t + 1) // nt - lo
                    if m > 0:
                        step_rows(program, data[0], params, work, base, lo, m)
            for i in range(rows):
                loss += losses[i]
            for t in prange(nt):
                for p in range(bounds[t], bounds[t + 1]):
                    o, lo, units, offset, size = parts[p, OP], parts[p, LO], parts[p, UNITS], parts[p, FIRST], parts[p, SIZE]
                    # Where a gradient array would have to start for this part of it to be the thread's scratch.
                    scratch = at[SCRATCH] + t * 2 * at[SCRATCH_BYTES] - offset * at[ITEMSIZE]
                    grads = at[GRADS] if at[GRADS] else scratch + at[SCRATCH_BYTES]
                    for s in range(slots):
                        if data[s, ROWS] > 0:
                            more = s > 0 or base > begin
                            if at[OWN]:
                                scratch = grads + s * at[OWN]
                            else:
                                own = data[s].ctypes.data
                                run(GRADIENT, table, o, own, params, scratch if more else grads, work, base, lo, units)
                            if more and program[o, GRADIENT]:
                                _call_add(at[ADD], grads, scratch, offset, size)
                    if final and program[o, GRADIENT]:  # an op without a gradient is frozen
                        decay, step = l2 * shares[b] * parts[p, DECAYS], numbers.ctypes.data + (b - first) * NUMBERS * 8
                        squares[p] = decay * _call_update(
                            at[UPDATE], step, params, grads, at[SLOTS], at[N_PARAMS], offset, size, decay
                        )
                        run(REFRESH, table, o, 0, params, 0, work, 0, lo, units)
        if at[UPDATE] and l2 and begin + skip + most >= end:
            for p in range(len(parts)):
                if parts[p, DECAYS]:
                    loss += 0.5 * squares[p]
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
