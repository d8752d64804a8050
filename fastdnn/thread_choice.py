"""How many threads the next slice of a long computation takes, and for how long."""

import functools
import math
import time

from ._threads import get_num_threads, launch_seconds

SLICE = 0.1  # seconds between two looks at pending signals, on one thread; on several half of it
MOST_THREADS = 256
FLOPS = {4: 60e9, 8: 30e9}  # flop/s of a core, roughly; only decides what is too small to share


def worthwhile_threads(flops, regions, itemsize):
    """Number of threads for `flops` of work in `regions` parallel regions: as many as save more than starting them costs."""
    threads, seconds = min(get_num_threads(), MOST_THREADS), flops / FLOPS[itemsize]
    while threads > 1 and seconds * (1 - 1 / threads) < 2 * regions * launch_seconds():
        threads -= 1
    return threads


class ThreadChoice:
    """All threads that are worthwhile, or one, whichever the last slices were faster on. Results do not depend on it.

    Threads that meet at every step lose it all where something else computes on their cores, or where the cores share no
    cache: a step then takes longer than on one thread, with a busy neighbour on each core up to a thousand times. So a
    short look at one thread comes first, then a short one at all, and one thread takes over as soon as it is faster; now
    and then the others are tried again.

    A look is made of slices until its time is full: epochs of a small network end a slice after 0.4 ms, too short to tell
    1.4 times as fast from slower (digits, 64-100-10). What comes first after a change of threads does not count, because
    code and data are cold and threads asleep then: steps of 40 us took 580 alone, 1,000 together. Later stalls count at once.

    Parameters
    ----------
    most : int
        Threads worth using when the machine is free.

    Attributes
    ----------
    alone, together : float
        Seconds of a unit of work on one thread and on all, as last seen; infinite and 0 before.
    """

    crowded = 0.0  # until when the cores are taken to be busy with other processes: no network tries several threads
    FIRST = 0.0005, 0.002  # seconds of a look at one thread, and of the first at all; the next double up to half of SLICE
    PROBE = 0.05, 5.0, 0.005  # seconds on all threads before the first look at one, between later looks, and of a look
    RETRY = 0.5, 8.0  # seconds on one thread before all are tried again: the first time, and at most
    STALL = 3.0, 0.001  # times as long and seconds longer than on one thread: that is no slow network, but a busy core
    COLD = 0.01  # seconds: a slice that took longer counts even if it is the first after a change; more than any short look

    def __init__(self, most):
        self.most, self.alone, self.together = most, math.inf, 0.0
        self._until, self._pause, self._to_probe, self._slice = 0.0, self.RETRY[0], self.PROBE[0], self.FIRST[1]
        self._look = 0, 0.0, 0.0  # threads, work and seconds of the present look

    def next(self):
        """(threads, seconds) of the next slice."""
        if self.most == 1 or time.perf_counter() < max(self._until, ThreadChoice.crowded):
            return 1, SLICE
        if self.alone == math.inf:
            return 1, self.FIRST[0]
        return (1, self.PROBE[2]) if self._to_probe <= 0 else (self.most, self._slice)

    def took(self, threads, work, seconds):
        """A slice did so many units of work on so many threads in so many seconds."""
        before, done, spent = self._look
        if threads != before:
            self._look, done, spent = (threads, 0, 0.0), 0, 0.0
            if seconds < self.COLD:
                return
        stalled = threads > 1 and seconds > max(self.STALL[0] * work * self.alone, self.STALL[1] + work * self.alone)
        done, spent = done + work, spent + seconds
        over = stalled or spent >= self._enough(threads)
        self._look = (threads, 0, 0.0) if over else (threads, done, spent)
        if over:
            self._judge(threads, done, spent, stalled)

    def _enough(self, threads):
        """Seconds that a look must take."""
        return self._slice if threads > 1 else self.PROBE[2] if self._to_probe <= 0 else self.FIRST[0]

    def _judge(self, threads, work, seconds, stalled):
        """A look is over: change to one thread if that is faster, and say when to look again."""
        if threads == 1:
            self.alone = seconds / work
            if self._to_probe <= 0:
                self._to_probe = self.PROBE[1]
        else:
            self.together, self._to_probe = seconds / work, self._to_probe - seconds
            self._slice = min(2 * self._slice, SLICE / 2)
        if self.together > self.alone and time.perf_counter() >= self._until:
            self._until = time.perf_counter() + self._pause
            if stalled:
                ThreadChoice.crowded = self._until
            # The longer the pause, the longer the look that ends it, a fraction of a percent of it: another core gets the
            # weights first, and the same short look would find the same again (mnist's 784-512-256-10 was left on one
            # thread for a whole fit, two being twice as fast).
            self.together, self._slice = 0.0, min(self.FIRST[1] * self._pause / self.RETRY[0] * 2, SLICE / 2)
            self._pause = min(2 * self._pause, self.RETRY[1])
        elif threads > 1:
            self._pause = self.RETRY[0]


@functools.lru_cache(256)
def thread_choice(most, what):
    """The `ThreadChoice` of the process for computations `what`, anything hashable that says what they cost.

    One for all fits of a network: a grid search is made of fits that are over before a choice could be made anew.
    """
    return ThreadChoice(most)
