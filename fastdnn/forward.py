"""The compiled loop of inference: samples forward through a program, some at a time, by all threads."""

from . import _atomic
from ._jit import driver, inner
from ._phases import OVER, arrive, claim, end_phase, end_phases, next_phase, open_phase, share_is_done, ticks
from ._simd import integers_at
from .calls import FORWARD, call_op, copy_bytes, run
from .layers.base import DATA, OP
from .tables import INFER

_infer_at, _op_at, _data_at = INFER.view, OP.view, DATA.view
STOPPED, NEXT_PIECE = 8 * INFER.stopped, 8 * INFER.next_piece


@driver
def infer(job_at):
    """Samples job.first..job.last forward through all ops, the last of which writes results, in job.pieces pieces.

    Each thread has a workspace of its own, work_bytes after that of the one before it, and takes the next piece that nobody
    has taken until there is none or the time is up; job.next_piece is then where to go on.
    """
    job = _infer_at(job_at, 0)
    number, count, pieces = arrive(job), job.last - job.first, job.pieces
    if number >= job.shares:
        return
    work = job.work + number * job.work_bytes
    until = ticks(job) + job.time if number == 0 else 0
    while not _atomic.load(job_at + STOPPED):
        piece = _atomic.add(job_at + NEXT_PIECE, 1)
        if piece >= pieces:
            return
        start = job.first + count * piece // pieces
        n = job.first + count * (piece + 1) // pieces - start
        if n > 0:
            for first in range(0, n if job.whole else 0, job.chunk):
                rows = min(job.chunk, n - first)
                for o in range(job.whole):
                    run(job, FORWARD, o, job.data, work, start + first, 0, rows)
                copy_bytes(work + job.made, work + job.taken + first * job.sample_bytes, rows * job.sample_bytes)
            for o in range(job.whole, job.ops):
                run(job, FORWARD, o, job.data, work, start, 0, n)
        if number == 0 and ticks(job) >= until:
            _atomic.store(job_at + STOPPED, 1)


@inner
def shares_of_op(job, number, phase):
    """Claim and do what is left of the shares of the op that the phase is about, from the thread's own on."""
    for k in range(job.shares):
        share = (number + k) % job.shares
        if claim(job, phase, share):
            op = _op_at(job.shared, job.op * job.shares + share)
            call_op(op.forward, op, _data_at(job.data, 0), job.params, 0, job.work, 0, 0, op.sample_rows)
            share_is_done(job)


@driver
def infer_one(job_at):
    """One sample through all ops, by threads that work in one workspace; ops that are not divided are the leader's."""
    job = _infer_at(job_at, 0)
    number = arrive(job)
    if number >= job.shares:
        return
    if number > 0:
        phase = next_phase(job, job.zero)
        while phase != OVER:
            shares_of_op(job, number, phase)
            phase = next_phase(job, phase)
        return
    for o in range(job.ops):
        if o == job.whole and o > 0:
            copy_bytes(job.work + job.made, job.work + job.taken, job.sample_bytes)
        if integers_at(job.divided, o)[0]:
            job.op = o
            phase = open_phase(job)
            shares_of_op(job, number, phase)
            end_phase(job, phase)
        else:
            run(job, FORWARD, o, job.data, job.work, 0, 0, 1)
    end_phases(job)
