"""The compiled loop of inference: samples forward through a program, some at a time, by all threads."""

from . import _atomic
from ._jit import driver
from ._phases import arrive, ticks
from .calls import FORWARD, copy_bytes, run
from .tables import INFER

_infer_at = INFER.view
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
