"""How the threads of one parallel region share a computation: phases that one of them opens and all of them work on.

The first thread that comes leads, the others help (`arrive`). The leader walks through the computation and opens a phase
wherever work can be shared; a phase has as many shares as the computation has threads, each is done by the thread that
claims it, and the phase is over when all are done. Nobody waits for a thread that has not claimed anything: where another
process computes on the cores a helper may be away for milliseconds, and the leader then does the helper's shares. What a
share is does not depend on who does it, nor do results.

A region of Numba's for each phase instead costs 1.1 us on a free machine, and where each core has another process to run,
4 to 10 ms: each end of a region waits for a thread that does not run.

`gate` is an int64 array of words 128 bytes apart (no two threads write to the same cache line), zero when a region starts.
"""

import numpy as np
from numba import types

from . import _atomic
from ._jit import inner
from ._records import Record
from ._simd import caller, integers_at
from ._system import system_calls

APART = 16  # words from one to the next in use
ARRIVED, PHASE, DONE, CLAIMED = (
    APART * k for k in range(4)
)  # of each share the last phase in which it was claimed, from here
OVER = -1  # the phase when there will be no more
SPINS = 2000  # looks at a word before the thread gives way to others, a look being 5 to 100 ns

# The clock's address, its two arguments, where it writes seconds and nanoseconds (or ticks and nothing), nanoseconds of the
# first of them; the address of what gives way to another thread.
SYSTEM = Record("clock", "clock_first", "clock_second", "clock_at", "clock_unit", "give_way")
# First entries of the table of a computation, `job`: the address of `gate`, the shares, and 0: Numba compiles a function anew
# for each literal that it is given, which took 2 of 7 s of a cold start.
PHASES = Record("gate", "shares", "zero", after=SYSTEM)


def _system_signature(_):
    return types.int64(types.int64, types.int64)


_call_system = caller(_system_signature, 2)


def prepare_phases(job, shares):
    """Fill the entries of PHASES in `job`; returns (gate, what else must live as long)."""
    reading = np.zeros(2, np.int64)
    system_calls(job, reading)
    raw = np.zeros(APART * (4 + shares), np.int64)
    start = -raw.ctypes.data % (8 * APART) // 8
    gate = raw[start : start + APART * (3 + shares)]
    job[PHASES.gate], job[PHASES.shares] = gate.ctypes.data, shares
    return gate, (reading, raw)


@inner
def ticks(job):
    """The time, in ticks of `_system.ticks_per_second`. One thread at a time: the clock writes it into memory."""
    _call_system(job.clock, job.clock_first, job.clock_second)
    reading = integers_at(job.clock_at, 0)
    return reading[0] * job.clock_unit + reading[1]


@inner
def arrive(job):
    """Number of this thread in the region, in the order in which they come: 0 leads."""
    return _atomic.add(job.gate + 8 * ARRIVED, 1)


@inner
def wait(job, spins):
    """One look further in a loop that waits: spin at first, then let others run."""
    if spins < SPINS:
        _atomic.hint_waiting()
    else:
        _call_system(job.give_way, 0, 0)
    return spins + 1


@inner
def open_phase(job):
    """Leader: begin the next phase, whose settings are in memory already; returns its number."""
    phase = _atomic.load(job.gate + 8 * PHASE) + 1
    _atomic.store(job.gate + 8 * PHASE, phase)
    return phase


@inner
def claim(job, phase, share):
    """Whether this thread is the one to do a share of a phase."""
    return _atomic.swap_if(job.gate + 8 * (CLAIMED + APART * share), phase - 1, phase)


@inner
def share_is_done(job):
    """A share that was claimed is done."""
    _atomic.add(job.gate + 8 * DONE, 1)


@inner
def end_phase(job, phase):
    """Leader: wait until all shares of a phase are done."""
    spins = job.zero
    while _atomic.load(job.gate + 8 * DONE) < phase * job.shares:
        spins = wait(job, spins)


@inner
def next_phase(job, seen):
    """Helper: the number of a phase later than `seen`, or OVER."""
    spins, phase = job.zero, _atomic.load(job.gate + 8 * PHASE)
    while phase == seen:
        spins = wait(job, spins)
        phase = _atomic.load(job.gate + 8 * PHASE)
    return phase


@inner
def end_phases(job):
    """Leader: there will be no more phases."""
    _atomic.store(job.gate + 8 * PHASE, OVER)
