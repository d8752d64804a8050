"""One data set on one network: epochs, loss and gradient, in slices short enough for Ctrl-C."""

import math
import operator
import time

import numpy as np

from . import engine
from ._threads import get_num_threads, launch_seconds
from .gemm import padded
from .layers.base import DATA, LEARNS, LOSSES, ORDER, SAMPLE_WEIGHT, SCALE, STATE, STEP, Y
from .optimizers.base import NUMBERS, add, average, limit, norm
from .program import Program, aligned, share

SLICE = 0.1  # seconds between two looks at pending signals
PIECE = 1024  # rows of a larger batch that are taken at once: bounds the workspace, their gradients add up
# The gradient of a network of at most SLOT_SIZE parameters is summed over SLOTS shares of the rows of a batch, SLOT_ROWS or
# more in all, so that two threads can do so each on its own rows: an epoch of 64-100-10 takes 0.46 ms so, not 0.55.
SLOTS, SLOT_SIZE, SLOT_ROWS = 2, 1 << 16, 32
MOST_THREADS = 256
FLOPS = {4: 60e9, 8: 30e9}  # flop/s of a core, roughly; only decides what is too small to share and the first slice


def worthwhile_threads(flops, regions, itemsize):
    """Number of threads for `flops` of work in `regions` parallel regions: as many as save more than starting them costs."""
    threads, seconds = min(get_num_threads(), MOST_THREADS), flops / FLOPS[itemsize]
    while threads > 1 and seconds * (1 - 1 / threads) < 2 * regions * launch_seconds():
        threads -= 1
    return threads


class Team:
    """How many threads the next slice of a long computation takes: all that are worthwhile, or one.

    Threads that meet at every step lose it all where something else computes on their cores, or where the cores share no
    cache: a step then takes longer than on one thread, up to 30 times. So one thread takes over while that is so, and
    every now and then all are tried again. Results do not depend on it.

    Parameters
    ----------
    most : int
        Threads worth using when the machine is free.
    alone : float
        Seconds of a step on one thread, a generous guess until it has been measured.
    """

    PROBE = 0.05, 5.0, 0.005  # seconds on all threads before the first look at one, between later looks, and of a look
    RETRY = 0.5, 8.0  # seconds on one thread before all are tried again: the first time, and at most

    def __init__(self, most, alone):
        self.most, self.alone, self.together = most, alone, 0.0
        self._until, self._pause, self._to_probe = 0.0, self.RETRY[0], self.PROBE[0]

    def next(self):
        """(threads, seconds) of the next slice."""
        if self.most == 1 or time.perf_counter() < self._until:
            return 1, SLICE
        return (1, self.PROBE[2]) if self._to_probe <= 0 else (self.most, SLICE)

    def took(self, threads, step, seconds):
        """A step of a slice of so many seconds took `step` seconds on so many threads."""
        if threads == 1:
            self.alone = step
            if self._to_probe <= 0:
                self._to_probe = self.PROBE[1]
        else:
            self.together, self._to_probe = step, self._to_probe - seconds
        if self.together > self.alone and time.perf_counter() >= self._until:
            self._until, self.together = time.perf_counter() + self._pause, 0.0
            self._pause = min(2 * self._pause, self.RETRY[1])
        elif threads > 1:
            self._pause = self.RETRY[0]


class Training:
    """A network bound to samples, targets and a batch size.

    Parameters
    ----------
    model : Model
        Built; its params, grads, slots and step are used and changed.
    source : Source
        The samples.
    targets : ndarray
        As the loss's `check_targets` made them.
    sample_weight : ndarray of shape (n,), float64, or None
        Not negative.
    batch_size : int
        At least 1.
    skip_empty : bool
        What to do with a batch whose weights are all zero: nothing to learn from it, or ZeroDivisionError.
    learns : bool
        Whether layers behave as in training (dropout, statistics of the batch) or as in inference.
    piece : int or None
        Rows of a batch that go through the network at once, where their gradients are to be accumulated: memory is that of
        a batch of so many, and so are the statistics that BatchNorm normalizes with.

    Attributes
    ----------
    watch : callable or None
        Called about every `SLICE` seconds of an epoch with the part of it that is done; a true result ends the epoch.
    done : int
        Samples that the last epoch has trained with: fewer than all if it was ended.
    rate : float
        Learning rate of the last step.
    """

    def __init__(self, model, source, targets, sample_weight, batch_size, skip_empty=True, learns=True, piece=None):
        self.model, self.source, self.targets, self.skip_empty = model, source, targets, skip_empty
        self.watch, self.done, self.rate = None, 0, math.nan
        # Of the schedule: its number of steps, the step of the model that is its first, what it has made of its rates.
        self.total_steps, self.first_step, self.rate_factor = None, 0, 1.0
        model.make_writable()
        model.clear_padding()
        self.network = model.network
        self.sample_weight, self.batch_size = sample_weight, int(batch_size)
        self.program, kernel = None, model.loss.kernel_for(targets)
        for rows in (min(self.batch_size, piece or PIECE), self.batch_size):
            if self.program is None or (len(self.program.segments) > 1 and not piece):  # all rows must be there at once
                self.program = Program(model.layout, model.loss, source.sparse, model.dtype, rows, kernel, learns, model.seed)
        rows = self.program.rows
        self.parts, self.factors = model.layout.parts(), model.layout.factors()
        self.limits, self.limit_norms = model.layout.limits()
        self.scale, self.losses = np.zeros(1), np.zeros(rows)
        self.squares = np.zeros(len(self.parts))
        slots = model.layout.size <= SLOT_SIZE and rows >= SLOT_ROWS and len(self.program.segments) == 1
        self.data = np.zeros((SLOTS if slots else 1, DATA), np.int64)
        source.fill(self.data[0])
        self.data[0, [Y, SCALE, LOSSES]] = targets.ctypes.data, self.scale.ctypes.data, self.losses.ctypes.data
        if sample_weight is not None:
            self.data[0, SAMPLE_WEIGHT] = sample_weight.ctypes.data
        self.data[1:] = self.data[0]
        self._owned, self._order, self._calls, self._teams = None, None, {}, {}
        self._equal_shares = (0, 0), None
        # Forward, input gradient and weight gradient: 2 flops a weight and row each.
        self.flops_per_row = 6 * model.layout.size
        self._seconds_per_piece = rows * max(1, self.flops_per_row) / FLOPS[model.dtype.itemsize]

    def shares(self, order, n, batch_size=None):
        """1 / sum of the sample weights for each batch."""
        batch_size = batch_size or self.batch_size
        if self.sample_weight is None:
            if self._equal_shares[0] != (n, batch_size):  # the same from epoch to epoch
                self._equal_shares = (n, batch_size), 1.0 / np.minimum(batch_size, n - np.arange(0, n, batch_size))
            return self._equal_shares[1]
        starts = np.arange(0, n, batch_size)
        weights = self.sample_weight if order is None else self.sample_weight[order]
        sums = np.add.reduceat(weights, starts)
        if not self.skip_empty and not sums.all():
            raise ZeroDivisionError("Weights sum to zero, can't be normalized: a batch has only samples of weight 0")
        return np.divide(1.0, sums, out=np.zeros(len(sums)), where=sums != 0)

    def epoch(self, order=None, learning_rate=None, l2=0.0):
        """One pass over the samples `order` (all, in their order, if None), updating the parameters batch by batch.

        Returns the mean over the samples of the loss (of each batch before its update), L2 term included.
        """
        n, model = self.source.n if order is None else len(order), self.model
        if model.step:
            model.optimizer.to_training(model.params, model.slots)
        skipped = model.skipped_steps
        model.rules[engine.NORMS : engine.NORM_SUM + 1] = 0.0
        try:
            values = self._walk(order, n, self.batch_size, True, learning_rate, float(l2))
        finally:
            model.optimizer.to_inference(model.params, model.slots)
        n, values = self.done, values[: -(-self.done // self.batch_size)]
        if not n:
            return math.nan
        if model.skipped_steps > skipped:  # what has been left out does not count
            rows = np.minimum(self.batch_size, n - self.batch_size * np.arange(len(values)))
            rows[~np.isfinite(values)] = 0
            return float(np.dot(np.nan_to_num(values) * (rows > 0), rows) / rows.sum()) if rows.any() else math.nan
        *values, last = values.tolist()
        return (math.fsum(values) * self.batch_size + last * (n - len(values) * self.batch_size)) / n

    @property
    def gradient_norm(self):
        """Mean norm of the gradients of the last epoch's steps, before clipping; None where it was not needed."""
        norms = self.model.rules[engine.NORMS]
        return float(self.model.rules[engine.NORM_SUM] / norms) if norms else None

    def loss_and_grad(self):
        """Mean loss of all samples as one batch; its gradient is left in the model's `grads`."""
        return float(self._walk(None, self.source.n, self.source.n)[0])

    def _walk(self, order, n, batch, update=False, rate=None, l2=0.0):
        """Losses of the batches of n samples; with `update` the parameters change after each, otherwise gradients are kept.

        The engine is called for slices: some batches, or some pieces of a batch that is larger than the workspace.
        """
        model, shares = self.model, self.shares(order, n, batch)
        values, team, piece = np.zeros(len(shares)), self._team(update), min(batch, self.program.rows)
        self._set_order(order)
        b, skip, numbers = 0, 0, np.zeros((1, NUMBERS))
        while b < len(shares):
            threads, seconds = team.next()
            pieces = max(1, int(seconds / self._seconds_per_piece))
            last, most = (min(len(shares), b + pieces), batch) if batch <= piece else (b + 1, piece * pieces)
            rows = min(n, last * batch) - b * batch - skip
            if update:
                steps = np.arange(model.step + 1, model.step + 1 + last - b)
                schedule = self.first_step, self.total_steps, self.rate_factor
                numbers = model.optimizer.step_numbers(steps, *schedule, rate)
            call, began = self._bound(threads, update), time.perf_counter()
            self.data[:, STEP] = model.step
            call(b, last, skip, most, batch, n, shares, values, self.scale, self.losses, numbers, l2, self.squares)
            seconds, done = time.perf_counter() - began, (rows if batch <= piece else min(rows, most)) / piece
            if done >= 1:  # a short last batch says nothing about the others
                self._seconds_per_piece = max(1e-7, seconds / done)
                team.took(threads, self._seconds_per_piece, seconds)
            skip += most
            if batch <= piece or most >= rows:
                if update:
                    model.step += last - b
                    self.rate = model.optimizer.rate_of(numbers[last - b - 1])
                b, skip = last, 0
            if self.watch is not None and update and b < len(shares) and self.watch(min(n, b * batch) / n):
                break
        self.done = min(n, b * batch)
        return values

    def _team(self, update):
        itemsize, flops = self.model.dtype.itemsize, self.program.rows * self.flops_per_row
        wanted = worthwhile_threads(flops, 2, itemsize)
        if update not in self._teams or self._teams[update].most != wanted:
            self._teams[update] = Team(wanted, 2 * flops / FLOPS[itemsize])
        return self._teams[update]

    def _set_order(self, order):
        if self.model.network is not self.network:
            raise RuntimeError("the model's layers or loss were changed while it was being trained")
        self._order = None if order is None else np.ascontiguousarray(order, np.int64)
        self.data[:, ORDER] = 0 if order is None else self._order.ctypes.data

    def _bound(self, threads, update):
        """The engine with the arrays that stay from epoch to epoch; they are looked up anew only where one has changed."""
        model = self.model
        if update:
            owned = model.params, model.optimizer, model.slots, model.averaged, model.state
        else:
            owned = model.params, model.grads, model.state
        if self._owned is None or len(self._owned) != len(owned) or any(map(operator.is_not, self._owned, owned)):
            self._owned, self._calls = owned, {}
        if threads not in self._calls:
            self._calls[threads] = self._bind(threads, update)
        return self._calls[threads]

    def _bind(self, threads, update):
        model, program, at = self.model, self.program, np.zeros(engine.AT, np.int64)
        bounds = share(self.parts[:, engine.SIZE], threads)
        arrays = {engine.PARAMS: model.params, engine.WORK: program.workspace()}
        self.data[:, STATE], self.data[:, LEARNS] = model.state.ctypes.data, update
        if update:
            self._bind_update(at, arrays)
        size = padded(int(self.parts[:, engine.SIZE].max(initial=1)))
        arrays[engine.SCRATCH] = aligned(threads * 2 * size, model.dtype)
        at[engine.SCRATCH_BYTES], at[engine.ADD] = size * model.dtype.itemsize, add.address(model.dtype)
        if not update or self.batch_size > program.rows:
            arrays[engine.GRADS] = model.grads
        elif threads <= len(self.data) > 1:
            arrays[engine.GRADS] = aligned(len(self.data) * len(model.params), model.dtype)
            at[engine.OWN] = arrays[engine.GRADS].nbytes // len(self.data)
        elif at[engine.NORM]:
            arrays[engine.GRADS] = model.grads
        for entry, array in arrays.items():
            at[entry] = array.ctypes.data
        at[engine.N_PARAMS], at[engine.ITEMSIZE] = len(model.params), model.dtype.itemsize
        fixed = threads, program.table, program.segments, self.parts, bounds, self.data, at, model.rules

        def call(*rest, keep=arrays):
            return engine.train(*fixed, *rest)

        return call

    def _bind_update(self, at, arrays):
        """What the update needs: the kernel that knows the optimizer's rules, or the faster one that knows none."""
        model, dtype = self.model, self.model.dtype
        optimizer, factors = model.optimizer, model.optimizer.factors(self.factors)
        kernel = optimizer.update_kernel if optimizer.is_plain(factors) else optimizer.full_kernel
        at[engine.UPDATE], at[engine.SKIP] = kernel.address(dtype), optimizer.skip_nonfinite
        arrays[engine.SLOTS], arrays[engine.FACTORS] = model.slots, factors
        model.rules[engine.CLIP_NORM] = optimizer.clip_norm or 0.0
        if optimizer.clip_norm is not None or optimizer.skip_nonfinite:
            at[engine.NORM] = norm.address(dtype)
        if optimizer.average is not None:
            at[engine.AVERAGE], arrays[engine.AVERAGED] = average.address(dtype), model.averaged
            model.rules[engine.AVERAGE_DECAY] = optimizer.average
        if len(self.limits):
            optimizer.refuse("max_norm")
            at[engine.LIMIT], at[engine.N_LIMITS] = limit.address(dtype), len(self.limits)
            arrays[engine.LIMITS], arrays[engine.LIMIT_NORMS] = self.limits, self.limit_norms
