"""The compiled loops that walk a program. They know no layer, no loss, no optimizer and no float type.

A step of training is two phases that threads share (see `_phases`). In the first each share is some of the batch's rows,
taken through all ops, forward and back. In the second it is some parts of the parameters: gradient, update and whatever is
derived from the parameters, one after the other while the part is in the cache. The gradient is a sum over fixed shards of
rows, each summed in order: the results do not depend on the number of threads.

Where no share is without a shard, each sums the gradients of its own shards in the first phase: then gradients cross between
the cores and not activations, which are more in small networks, and whole matrices are one product instead of a product
for each part. The sums are the same.

The loop looks at the clock and returns when its time is up, wherever it is: who called it goes on from there.
"""

import math

from numba import types

from ._jit import driver, inner, routine
from ._phases import (
    OVER,
    arrive,
    claim,
    end_phase,
    end_phases,
    next_phase,
    open_phase,
    share_is_done,
    ticks,
)
from ._simd import caller, doubles_at, integers_at
from .calls import (
    BACKWARD,
    DATA_BYTES,
    FORWARD,
    GRADIENT,
    is_late,
    run,
    run_units,
    shard,
)
from .layers.base import DATA, OP
from .optimizers.base import CONTROL, SCALARS
from .parts import call_correct, part_gradient, part_norm, part_update, prune_part, refresh_part
from .tables import PART, SEGMENT, SETTINGS, TRAIN

_train_at, _data_at, _op_at = TRAIN.view, DATA.view, OP.view
_part_at, _segment_at, _settings_at, _control_at = PART.view, SEGMENT.view, SETTINGS.view, CONTROL.view

REFRESH_ALL, THROUGH, GRADIENTS, UPDATES = range(4)  # kinds of phases

SEGMENT_BYTES, SCALARS_BYTES = 8 * SEGMENT.size, 8 * SCALARS.size

share_signature = types.void(TRAIN.type, types.intp)  # (job, share)
loss_signature = types.float64(TRAIN.type, types.intp, types.intp, types.intp)  # (job, batch, base, rows)
step_signature = types.void(TRAIN.type, types.intp, types.float64)  # (job, batch, loss)
shard_signature = types.void(TRAIN.type, types.intp, types.intp)  # (job, share, shard)
late_signature = types.int64(TRAIN.type, types.intp, types.intp)  # (job, part, share)
_call_share = caller(lambda _: share_signature, 2)
_call_loss, _call_step = caller(lambda _: loss_signature, 4), caller(lambda _: step_signature, 3)
_call_shard, _call_late = caller(lambda _: shard_signature, 3), caller(lambda _: late_signature, 3)


# ---------------------------------------------------------------- the first phase: rows


@inner
def segment_rows(job, data, lo, n):
    """Rows lo..lo+n of the workspace through the ops of one segment, forward and back, `chunk` at a time."""
    segment, work, start = _segment_at(job.segment, 0), job.work, job.start
    forward, backward = job.zero + FORWARD, job.zero + BACKWARD  # not literals, see `PHASES`
    for first in range(lo, lo + n, job.chunk):
        rows = lo + n - first if lo + n - first < job.chunk else job.chunk
        for o in range(segment.forward, segment.forward_end):
            run(job, forward, o, data, work, start, first, rows)
        for o in range(segment.backward, segment.backward_end - 1, -1):
            run(job, backward, o, data, work, start, first, rows)


@inner
def shard_gradients(job, data, grads):
    """The gradients of all parameters, summed over the rows of the shard `data`."""
    p = 0
    while p < job.n_parts:
        first, units = _part_at(job.parts, p), 0
        while p < job.n_parts and _part_at(job.parts, p).entry == first.entry:
            units += _part_at(job.parts, p).units
            p += 1
        if _op_at(job.program, first.op).touched == 0:
            run_units(job, job.zero + GRADIENT, first.op, data, grads, job.start, first.first_unit, units)


@routine(share_signature)
def rows_of_share(job, share):
    """Rows of a share through a segment; where shares have shards of their own, their gradients too."""
    shares, here = job.shares, job.data
    if job.by_shards:
        for s in range(job.n_shards * share // shares, job.n_shards * (share + 1) // shares):
            if shard(job, s).rows > 0:
                _call_shard(job.shard_through, job, share, s)
    elif job.own:
        first, end = job.n_shards * share // shares, job.n_shards * (share + 1) // shares
        lo = shard(job, first).first_row
        n = shard(job, end - 1).first_row + shard(job, end - 1).rows - lo
        if n > 0:
            segment_rows(job, here + first * DATA_BYTES, lo, n)
            for s in range(first, end):
                if shard(job, s).rows > 0:
                    shard_gradients(job, here + s * DATA_BYTES, job.own_grads + s * job.own)
    else:
        rows, unit = job.rows, job.unit
        blocks = (rows + unit - 1) // unit
        lo = min(rows, blocks * share // shares * unit)
        n = min(rows, blocks * (share + 1) // shares * unit) - lo
        if n > 0:
            segment_rows(job, here, lo, n)


# ---------------------------------------------------------------- the second phase: parameters


@routine(share_signature)
def parts_of_share(job, share):
    """What a phase of another kind than THROUGH does with the parts of a share."""
    bounds, squares = integers_at(job.bounds, share), doubles_at(job.squares)
    for p in range(bounds[0], bounds[1]):
        part = _part_at(job.parts, p)
        if job.kind == REFRESH_ALL:
            refresh_part(job, part, job.zero)
        elif job.kind == GRADIENTS:
            late = is_late(job, part.op)
            grads = _call_late(job.late_gradient, job, p, share) if late else part_gradient(job, part, share)
            if job.correct_gradient:
                call_correct(job.correct_gradient, job, p, grads)
            if job.prune:
                prune_part(job, p, grads)
            if job.final and job.norm:
                squares[p] = part_norm(job, p, grads)
            elif job.final and job.fine:
                squares[p] = part_update(job, p, grads)
        else:
            squares[p] = part_update(job, p, job.grads)


# ---------------------------------------------------------------- phases


@inner
def do_share(job, share):
    """A share of the phase that is open."""
    _call_share(job.rows_of_share if job.kind == THROUGH else job.parts_of_share, job, share)


@inner
def take_shares(job, phase, first):
    """Do the shares of a phase that nobody else has claimed, one's own first."""
    for k in range(job.shares):
        share = (first + k) % job.shares
        if claim(job, phase, share):
            do_share(job, share)
            share_is_done(job)


@routine(share_signature)
def together(job, _):
    """Leader: a phase of the kind job.kind, from its beginning to its end."""
    if job.shares == 1:  # nobody helps: without claims, which cost small networks 3 %
        do_share(job, job.zero)
        return
    phase = open_phase(job)
    take_shares(job, phase, job.zero)
    end_phase(job, phase)


@inner
def help_leader(job, number):
    """Helper: shares of all phases that the leader opens."""
    phase = job.zero
    while phase != OVER:
        phase = next_phase(job, phase)
        if phase != OVER:
            take_shares(job, phase, number % job.shares)


# ---------------------------------------------------------------- training


@inner
def cut(job, rows, s):
    """First row of shard s."""
    units, shards = (rows + job.unit - 1) // job.unit, job.n_shards
    return min(rows, (units * s + shards - 1) // shards * job.unit)


@routine(loss_signature)
def forward_and_back(job, b, base, rows):
    """Rows `base`.. of the order through the network; returns the loss of batch b so far, its sum over the samples."""
    losses = doubles_at(job.losses)
    for s in range(job.n_shards):
        data = shard(job, s)
        data.first_row = cut(job, rows, s)
        data.rows = cut(job, rows, s + 1) - data.first_row
        data.base = base
    everything = shard(job, job.n_shards)
    everything.first_row, everything.rows, everything.base = 0, rows, base
    everything.adds, everything.whole_gradient = 1 if base > job.begin else 0, 0 if job.update else 1
    doubles_at(job.scale)[0] = doubles_at(job.batch_scales)[b]
    job.start, job.rows = base, rows
    for g in range(job.n_segments):
        job.segment = job.segments + SEGMENT_BYTES * g
        segment = _segment_at(job.segment, 0)
        job.kind = THROUGH
        _call_share(job.together, job, job.zero)
        if segment.sync >= 0:
            run(job, segment.sync, segment.sync_op, job.data, job.work, base, job.zero, rows)
    loss = doubles_at(job.values)[b]  # a batch may come in several pieces: one sum, wherever it is cut
    for i in range(rows * job.loss_rows * (1 if job.ends_whole else max(job.windows, 1))):
        loss += losses[i]
    return loss


@routine(step_signature)
def gradients_and_update(job, b, loss):
    """The gradients of the rows that have gone through the network, and the step, if they are the batch's last ones."""
    job.step_scalars = job.scalars + (b - job.first) * SCALARS_BYTES
    job.fine = 1 if not job.skip_nonfinite or math.isfinite(loss) else 0
    settings = _settings_at(job.settings, 0)
    settings.decay = settings.l2 * doubles_at(job.batch_scales)[b]
    job.kind = GRADIENTS
    _call_share(job.together, job, job.zero)
    if job.final and job.norm:
        if job.fine:
            _call_share(job.judge_norm, job, job.zero)
        if job.fine:
            job.kind = UPDATES
            _call_share(job.together, job, job.zero)
    if job.final and job.fine and job.n_limits:
        _call_share(job.limit_norms, job, job.zero)
    if job.final and not job.fine:
        _control_at(job.control, 0).skipped += 1.0
        for p in range(job.n_parts):
            doubles_at(job.squares)[p] = 0.0


@inner
def train_piece(job, b, skip):
    """The rows of batch b from `skip` on, as many as the workspace holds; returns how many rows of it are done, 0 if all."""
    begin = b * job.batch
    end, base = min(job.n, begin + job.batch), begin + skip
    values, empty = doubles_at(job.values), job.update != 0 and doubles_at(job.batch_scales)[b] == 0.0
    rows = min(job.capacity, end - base)
    job.begin, job.final = begin, 1 if job.update and base + rows == end else 0
    if not empty:
        loss = _call_loss(job.forward_and_back, job, b, base, rows)
        _call_step(job.gradients_and_update, job, b, loss)
        if job.final:
            for p in range(job.n_parts):
                loss += doubles_at(job.squares)[p]
        values[b] = loss
    if empty or base + rows == end:
        if job.update:
            for s in range(job.n_shards):
                shard(job, s).step += 1
        return 0
    return skip + rows


ROUTINES = together, rows_of_share, parts_of_share, forward_and_back, gradients_and_update  # that every training calls


@driver
def train(job_at):
    """Batches job.first..job.last of an epoch: values[b] += mean loss + penalty of batch b; parameters updated in place.

    Returns when they are done or the time is up, one piece of a batch at the least; job.first and job.skip are then where
    to go on. A batch without weights (its share is 0) is left out.

    data : (n_shards, DATA) table     control, settings : see `CONTROL` and `SETTINGS`
    program (ops, OP), segments (n_segments, SEGMENT), parts (n_parts, PART), bounds (shares + 1,) : see `program`
    skip : rows of batch `first` that are done already     batch : samples in a batch     n : samples in the epoch
    batch_scales[b] : 1 / sum of the weights of batch b     scale (1,) : written, that of the current batch
    losses (capacity * loss_rows,), squares (n_parts,) : scratch
    capacity : rows of the workspace; a larger batch is taken in pieces, whose gradients add up in `grads`, and the update
    comes with the last of them
    chunk : rows that go forward and back while their values are in the cache, a multiple of BLOCK
    scalars (last - first, SCALARS) : of the optimizer; update = 0 leaves the parameters and keeps the gradients
    settings.l2 : weight decay, divided by the sum of the weights of the batch as scikit-learn does
    scratch : for each share, twice the room for the gradient of one part: of a shard, and the sum, which is used up at once
    and never leaves the cache, unless `grads` is an array to keep it in
    own : the shares, at most as many as the shards, sum the gradients of their own shards, each in its part of `grads`, `own`
    bytes long
    norm : the norm of the gradient decides about the update, so that all of it (`grads`) comes before any of this: a third
    phase. skip_nonfinite : a step whose loss or norm is not finite is left out, and counted in control.skipped.
    """
    job = _train_at(job_at, 0)
    number = arrive(job)
    if number > 0:
        help_leader(job, number)
        return
    until = ticks(job) + job.time
    job.kind = REFRESH_ALL
    _call_share(job.together, job, job.zero)
    b, skip = job.first, job.skip
    while b < job.last:
        skip = train_piece(job, b, skip)
        if skip == 0:
            b += 1
        if ticks(job) >= until:
            break
    job.first, job.skip = b, skip
    end_phases(job)
