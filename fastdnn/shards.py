"""Networks of images and series: a shard of a batch through all ops, so that what one makes is in the cache for the next.

Routines of the engine for trainings `by_shards`; networks of vectors do without, and without their compilation.
"""

from ._jit import inner, routine
from ._simd import integers_at
from .engine import (
    BACKWARD,
    DATA_BYTES,
    FORWARD,
    GRADIENT,
    OP_SIZE,
    call_add,
    call_op,
    copy_bytes,
    is_late,
    late_signature,
    run,
    shard,
    shard_signature,
    touched_gradient,
)
from .layers.base import DATA, OP
from .tables import PART, SEGMENT

_data_at, _op_at, _part_at, _segment_at = DATA.view, OP.view, PART.view, SEGMENT.view


@inner
def op_gradient(job, o, data, grads, work, start):
    """The gradient of the parameters of op o over the samples of the shard `data`, which stand in `work`."""
    kernel = integers_at(job.program, o * OP_SIZE)[GRADIENT]
    p = 0
    while p < job.n_parts and kernel:
        first, units = _part_at(job.parts, p), 0
        while p < job.n_parts and _part_at(job.parts, p).entry == first.entry:
            units += _part_at(job.parts, p).units
            p += 1
        if first.op == o:
            call_op(
                kernel, _op_at(job.program, o), _data_at(data, 0), job.params, grads, work, start, first.first_unit, units
            )


@inner
def back_by_chunks(job, data_at, grads, work, start, lo, n):
    """A segment's ops that work on chunks, back for samples lo..lo+n, and the gradients of those that can add them up."""
    segment, data = _segment_at(job.segment, 0), _data_at(data_at, 0)
    chunks = (n + job.chunk - 1) // job.chunk
    for c in range(chunks - 1, -1, -1):  # the last chunk forward is still in the cache
        first = lo + c * job.chunk
        rows = min(job.chunk, lo + n - first)
        data.first_row, data.rows, data.adds = first, rows, 1 if c < chunks - 1 else 0
        for o in range(min(segment.backward, job.whole - 1), segment.backward_end - 1, -1):
            run(job, BACKWARD, o, data_at, work, start, first, rows)
            if _op_at(job.program, o).adds:
                op_gradient(job, o, data_at, grads, work, start)
    data.first_row, data.rows, data.adds = lo, n, 0


@routine(shard_signature)
def shard_through(job, share, s):
    """The samples of shard s through one segment, forward, back, and to the gradients of the ops that it goes back through.

    Ops before `whole` take a chunk at a time, so that one finds in the cache what another has left there; those behind it
    all samples of the shard at once, so that their weights are read once.
    """
    segment, data, data_at = _segment_at(job.segment, 0), shard(job, s), job.data + s * DATA_BYTES
    lo, n, start, work, grads = data.first_row, data.rows, job.start, job.work, job.own_grads + s * job.own
    first_row = lo
    data.slot = share
    if job.work_bytes:  # the workspace holds the samples of one shard; each share has its own
        start, work, data.slot, lo = start + lo, work + share * job.work_bytes, 0, 0
        data.first_row = 0
    for first in range(lo, lo + n, job.chunk):
        rows = min(job.chunk, lo + n - first)
        for o in range(segment.forward, min(segment.forward_end, job.whole)):
            run(job, FORWARD, o, data_at, work, start, first, rows)
    for o in range(max(segment.forward, job.whole), segment.forward_end):
        run(job, FORWARD, o, data_at, work, start, lo, n)
    for o in range(segment.backward, max(segment.backward_end, job.whole) - 1, -1):
        run(job, BACKWARD, o, data_at, work, start, lo, n)
    back_by_chunks(job, data_at, grads, work, start, lo, n)
    for o in range(segment.backward, segment.backward_end - 1, -1):
        if is_late(job, o):
            keep_rows(job, o, work, first_row, n)
        elif o >= job.whole or not _op_at(job.program, o).adds:
            op_gradient(job, o, data_at, grads, work, start)


@inner
def keep_rows(job, o, work, first, n):
    """What the gradient of op o reads of a shard's n samples, from its workspace to rows `first`.. of that of all of them."""
    if job.work_bytes and _op_at(job.program, o).gradient:
        op, late, size = _op_at(job.program, o), _op_at(job.late, o), job.itemsize
        for here, there, kept in ((op.x, late.x, op.kept_in), (op.dy, late.dy, op.kept_out)):
            copy_bytes(work + here * size, job.late_work + (there + first * kept) * size, n * kept * size)


@routine(late_signature)
def late_gradient(job, p, share):
    """The gradient of a part that `is_late`; returns the address of the array that holds it."""
    part = _part_at(job.parts, p)
    more, data = job.start > job.begin, job.data + job.n_shards * DATA_BYTES
    if _op_at(job.program, part.op).touched:
        return touched_gradient(job, part, job.late, job.late_work, job.grads)
    scratch = job.scratch + share * 2 * job.scratch_bytes - part.first_param * job.itemsize
    kernel, target = integers_at(job.late, part.op * OP_SIZE)[GRADIENT], scratch if more else job.grads
    if kernel:
        op, work = _op_at(job.late, part.op), job.late_work
        call_op(kernel, op, _data_at(data, 0), job.params, target, work, job.start, part.first_unit, part.units)
        if more:
            call_add(job.add, job.grads, scratch, part.first_param, part.n_params)
    return job.grads
