"""Networks of images and series: a shard of a batch through all ops, so that what one makes is in the cache for the next.

Routines of the engine for trainings `by_shards`; networks of vectors do without, and without their compilation.
"""

from ._jit import inner, routine
from ._simd import integers_at
from .calls import BACKWARD, DATA_BYTES, FORWARD, GRADIENT, OP_SIZE, call_op, copy_bytes, is_late, run, shard
from .engine import late_signature, shard_signature
from .layers.base import DATA, OP
from .parts import call_add
from .tables import PART, SEGMENT

_data_at, _op_at, _part_at, _segment_at = DATA.view, OP.view, PART.view, SEGMENT.view


@inner
def op_gradient(job, share, o, data, grads, work, start):
    """The gradient of the parameters of op o over the samples of the shard `data`, which stand in `work`.

    Where it is to be added up, of windows of steps, and the op's kernel cannot: by way of an array of the share's own.
    """
    kernel, p, aside = integers_at(job.program, o * OP_SIZE)[GRADIENT], 0, 0
    if _data_at(data, 0).adds and _op_at(job.program, o).adds == 0:
        aside = job.more_grads + share * job.own
    while p < job.n_parts and kernel:
        first, units = _part_at(job.parts, p), 0
        while p < job.n_parts and _part_at(job.parts, p).entry == first.entry:
            units += _part_at(job.parts, p).units
            p += 1
        if first.op == o:
            target, op = aside if aside else grads, _op_at(job.program, o)
            call_op(kernel, op, _data_at(data, 0), job.params, target, work, start, first.first_unit, units)
            if aside:
                call_add(job.add, grads, aside, first.first_param, units * (first.n_params // first.units))


@inner
def back_by_chunks(job, share, data_at, grads, work, start, lo, n):
    """A segment's ops that work on chunks, back for samples lo..lo+n, and the gradients of those that can add them up."""
    segment, data = _segment_at(job.segment, 0), _data_at(data_at, 0)
    chunks, more = (n + job.chunk - 1) // job.chunk, data.more
    for c in range(chunks - 1, -1, -1):  # the last chunk forward is still in the cache
        first = lo + c * job.chunk
        rows = min(job.chunk, lo + n - first)
        data.first_row, data.rows, data.adds = first, rows, 1 if c < chunks - 1 else more
        for o in range(min(segment.backward, job.whole - 1), segment.backward_end - 1, -1):
            run(job, BACKWARD, o, data_at, work, start, first, rows)
            if _op_at(job.program, o).adds:
                op_gradient(job, share, o, data_at, grads, work, start)
    data.first_row, data.rows, data.adds = lo, n, more


@routine(shard_signature)
def shard_through(job, share, s):
    """The samples of shard s through one segment: whole, or, of sequences, one window of their steps after the other.

    Where gradients end at the windows' borders, each goes forward and back before the next. Where they do not
    (`checkpoints`), all go forward, but for the last, and leave the states they start from; then each goes forward again, and
    back, from the last to the first. What comes behind the sequences, of one row a sample, is for the last window.
    """
    data, losses = shard(job, s), 8 * job.rows * job.loss_rows
    first_row, x, values, last = data.first_row, data.x, data.losses, job.windows - 1
    data.again = data.more = 0
    for turn in range(last if job.checkpoints else 0):
        aim(job, data, turn, first_row, x, values, losses)
        forward_again(job, share, s)
    for turn in range(job.windows):
        w = last - turn if job.checkpoints else turn
        aim(job, data, w, first_row, x, values, losses)
        if w < last and job.ends_whole and job.checkpoints == 0:
            forward_again(job, share, s)
        else:
            data.again, data.carries = 1 if job.checkpoints and w < last else 0, 1 if job.checkpoints and w < last else 0
            through(job, share, s)
            data.more = 1
    data.x, data.losses = x, values
    data.window = data.first_step = data.adds = data.more = data.again = data.carries = 0


@inner
def aim(job, data, w, first_row, x, losses, size):
    """Let `data` be about window w: its samples from `x` on, and losses, where each of its steps has one."""
    data.window, data.first_step, data.first_row = w, w * job.window_steps, first_row
    data.x = x + w * job.window_bytes
    data.losses = losses if job.ends_whole else losses + w * size


@inner
def workplace(job, share, s):
    """(first row, start of the order, address of the workspace) of shard s, for whoever works on it; its slot is set."""
    data, start, work, lo = shard(job, s), job.start, job.work, shard(job, s).first_row
    data.slot = share
    if job.work_bytes:  # the workspace holds the samples of one shard; each share has its own
        start, work, data.slot, lo = start + lo, work + share * job.work_bytes, 0, 0
        data.first_row = 0
    return lo, start, work


@inner
def forward_again(job, share, s):
    """A window of the samples of shard s forward, as far as sequences go: for the states alone."""
    data, data_at = shard(job, s), job.data + s * DATA_BYTES
    lo, start, work = workplace(job, share, s)
    for o in range(job.whole):
        run(job, FORWARD, o, data_at, work, start, lo, data.rows)


@inner
def through(job, share, s):
    """The samples of shard s through one segment, forward, back, and to the gradients of the ops that it goes back through.

    Ops before `whole` take a chunk at a time, so that one finds in the cache what another has left there; those behind it
    all samples of the shard at once, so that their weights are read once. With windows of steps these are for the last one,
    unless each step has scores.
    """
    segment, data, data_at = _segment_at(job.segment, 0), shard(job, s), job.data + s * DATA_BYTES
    first_row, n, grads = data.first_row, data.rows, job.own_grads + s * job.own
    lo, start, work = workplace(job, share, s)
    forward_end, last_op = segment.forward_end, segment.backward + 1  # a segment before a sync kernel may have no way back
    if job.ends_whole and data.window < job.windows - 1:
        forward_end, last_op = min(forward_end, job.whole), job.whole
    for first in range(lo, lo + n, job.chunk):
        rows = min(job.chunk, lo + n - first)
        for o in range(segment.forward, min(forward_end, job.whole)):
            run(job, FORWARD, o, data_at, work, start, first, rows)
    for o in range(max(segment.forward, job.whole), forward_end):
        run(job, FORWARD, o, data_at, work, start, lo, n)
    for o in range(last_op - 1, max(segment.backward_end, job.whole) - 1, -1):
        run(job, BACKWARD, o, data_at, work, start, lo, n)
    back_by_chunks(job, share, data_at, grads, work, start, lo, n)
    for o in range(last_op - 1, segment.backward_end - 1, -1):
        if is_late(job, o):
            keep_rows(job, o, work, first_row, n, data.window)
        elif o >= job.whole or not _op_at(job.program, o).adds:
            op_gradient(job, share, o, data_at, grads, work, start)


@inner
def keep_rows(job, o, work, first, n, window):
    """What the gradient of op o reads of a shard's n samples, from its workspace to rows `first`.. of that of all of them."""
    if job.work_bytes and _op_at(job.program, o).gradient:
        op, late, size = _op_at(job.program, o), _op_at(job.late, o), job.itemsize
        windows, x, dy, rows = late.sample_rows, op.x, op.dy, n
        if op.pairs_x:
            x, dy, rows = op.pairs_x, op.pairs_dy, n + n % 2
        for here, there, kept in ((x, late.x, op.kept_in), (dy, late.dy, op.kept_out)):
            part = kept // windows  # of a sample, in the window at hand
            for i in range(n if windows > 1 else 0):
                target = there + (first + i) * kept + window * part
                copy_bytes(work + (here + i * part) * size, job.late_work + target * size, part * size)
            if windows == 1:
                copy_bytes(work + here * size, job.late_work + (there + first * kept) * size, rows * kept * size)


@routine(late_signature)
def late_gradient(job, p, share):
    """The gradient of a part that `is_late`; returns the address of the array that holds it."""
    part = _part_at(job.parts, p)
    data = job.data + job.n_shards * DATA_BYTES
    more = job.start > job.begin and _op_at(job.program, part.op).touched == 0  # few rows: the op adds by itself
    scratch = job.scratch + share * 2 * job.scratch_bytes - part.first_param * job.itemsize
    kernel, target = integers_at(job.late, part.op * OP_SIZE)[GRADIENT], scratch if more else job.grads
    if kernel:
        op, work = _op_at(job.late, part.op), job.late_work
        call_op(kernel, op, _data_at(data, 0), job.params, target, work, job.start, part.first_unit, part.units)
        if more:
            call_add(job.add, job.grads, scratch, part.first_param, part.n_params)
    return job.grads
