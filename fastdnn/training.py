"""One data set on one network: epochs, loss and gradient, in slices short enough for Ctrl-C."""

import math
import operator
import time

import numpy as np

from .binding import Binding
from .layers.base import BLOCK, DATA
from .optimizers.base import CONTROL, SCALARS
from .program import Program, value_size
from .thread_choice import FLOPS, thread_choice, worthwhile_threads

PIECE = 1024  # rows of a larger batch that are taken at once: bounds the workspace, their gradients add up
# The gradient of a network of at most SHARD_SIZE parameters is summed over SHARDS shards of the rows of a batch, SHARD_ROWS
# or more in all, so that two threads can do so each on its own rows: an epoch of 64-100-10 takes 0.46 ms so, not 0.55.
SHARDS, SHARD_SIZE, SHARD_ROWS = 2, 1 << 16, 32
# Where weights are few beside the work of a sample (those of series and images), more shards cost nothing that counts.
MANY_SHARDS, MUCH_WORK = 8, 16  # flops of a sample for a parameter
PIECE_BYTES = 1 << 27  # of values and their gradients that are there at once, unless BLOCK samples take more
# Of those that go forward and back together, of samples of several rows, and rows that a product should have.
CHUNK_BYTES, CHUNK_ROWS = 512 * 1024, 64
NO_SCALARS = np.zeros((1, SCALARS.size))  # what a batch without an update reads
STEPS = 65536  # most steps whose scalars are made ahead


def n_shards(layout, rows):
    """Shards of `rows` samples that the gradient of a network is summed over: fixed by the network, not by the threads."""
    if layout.flops >= MUCH_WORK * layout.size and rows >= MANY_SHARDS:
        return MANY_SHARDS
    return SHARDS if layout.size <= SHARD_SIZE and rows >= SHARD_ROWS else 1


class Training:
    """A network bound to samples, targets and a batch size.

    Parameters
    ----------
    model : Model
        Built; its params, grads, moments and step are used and changed.
    source : Source
        The samples.
    targets : ndarray
        As the loss's `check_targets` made them.
    sample_weight : ndarray of shape (n,), float64, or None
        Not negative.
    batch_size : int
        At least 1.
    as_sklearn : bool
        Whether an epoch's loss is the mean over its batches by their rows, and a batch whose weights are all zero a
        ZeroDivisionError, as scikit-learn has it. Otherwise batches count by the sums of their weights, and an empty one
        moves nothing.
    training : bool
        Whether layers behave as in training (dropout, statistics of the batch) or as in inference.
    piece : int or None
        Rows of a batch that go through the network at once, where their gradients are to be accumulated: memory is that of
        a batch of so many, and so are the statistics that BatchNorm normalizes with.
    input_gradient : bool
        Whether the gradient of the samples is written to data.dx, which the caller sets.
    loss : Loss or None
        In place of the model's.

    Attributes
    ----------
    watch : callable or None
        Called at least every 0.1 s of an epoch with the part of it that is done; a true result ends the epoch.
    done : int
        Samples that the last epoch has trained with: fewer than all if it was ended.
    rate : float
        Learning rate of the last step.
    """

    def __init__(
        self, model, source, targets, sample_weight, batch_size, as_sklearn=False, training=True, piece=None,
        input_gradient=False, loss=None,
    ):  # fmt: skip
        self.model, self.as_sklearn = model, as_sklearn
        self.watch, self.done, self.rate = None, 0, math.nan
        # Of the schedule: its number of steps, the step of the model that is its first, what it has made of its rates.
        self.total_steps, self.first_step, self.rate_factor = None, 0, 1.0
        model.make_writable()
        model.clear_padding()
        self.network = model.network
        self.batch_size = int(batch_size)
        loss = loss or model.loss
        self.program, kernel = None, loss.kernel_for(targets, model.n_out)
        bytes_per_sample = 2 * sum(map(value_size, model.layout.shapes)) * model.dtype.itemsize
        piece_rows = piece or min(PIECE, max(BLOCK, PIECE_BYTES // bytes_per_sample))
        for rows in (min(self.batch_size, piece_rows), self.batch_size):
            if self.program is None or (len(self.program.segments) > 1 and not piece):  # all rows must be there at once
                self.program = Program(
                    model.layout, loss, source.kind, model.dtype, rows, kernel, training, model.seed, input_gradient
                )
        rows = self.program.rows
        self.parts, self.factors = model.layout.parts(), model.layout.factors()
        self.limits, self.limit_norms = model.layout.limits()
        self.scale, self.losses = np.zeros(1), np.zeros(rows * self.program.loss_rows)
        self.squares = np.zeros(len(self.parts))
        shards = n_shards(model.layout, rows) if len(self.program.segments) == 1 else 1
        self.data = np.zeros((shards, DATA.size), np.int64)
        most = model.layout.most_rows
        chunk = max(CHUNK_BYTES // bytes_per_sample, CHUNK_ROWS // most)
        self.chunk = -(-chunk // BLOCK) * BLOCK if most > 1 else max(rows, 1)
        self.data[:, [DATA.scale, DATA.losses]] = self.scale.ctypes.data, self.losses.ctypes.data
        self.take(source, targets, sample_weight)
        self._owned, self._order, self._calls, self._choices = None, None, {}, {}
        self._equal_shares, self._values = (0, 0, None, 0), (np.zeros(0), 0)
        self.flops_per_piece = rows * max(1, 3 * model.layout.flops)  # forward, input gradient and weight gradient
        self._seconds_per_piece = self.flops_per_piece / FLOPS[model.dtype.itemsize]

    def take(self, source, targets, sample_weight):
        """Go on with other samples of the same kind: as many as before, the same type of targets, with weights or without."""
        self.source, self.targets, self.sample_weight = source, targets, sample_weight
        source.fill(self.data)
        self.data[:, DATA.y] = targets.ctypes.data
        if sample_weight is not None:
            self.data[:, DATA.sample_weight] = sample_weight.ctypes.data

    def let_go(self):
        """Keep the samples no longer; `take` gives others."""
        self.source = self.targets = self.sample_weight = None

    def _shares(self, order, n, batch_size):
        """(1 / sum of the sample weights for each batch, the array's address)"""
        if self.sample_weight is None:
            if self._equal_shares[:2] != (n, batch_size):  # the same from epoch to epoch
                equal = 1.0 / np.minimum(batch_size, n - np.arange(0, n, batch_size))
                self._equal_shares = n, batch_size, equal, equal.ctypes.data
            return self._equal_shares[2:]
        starts = np.arange(0, n, batch_size)
        weights = self.sample_weight if order is None else self.sample_weight[order]
        sums = np.add.reduceat(weights, starts)
        if self.as_sklearn and not sums.all():
            raise ZeroDivisionError("Weights sum to zero, can't be normalized: a batch has only samples of weight 0")
        found = np.divide(1.0, sums, out=np.zeros(len(sums)), where=sums != 0)
        return found, found.ctypes.data

    def _losses_of(self, batches):
        """(zeros for the losses of so many batches, the array's address); the same memory each time."""
        if len(self._values[0]) != batches:
            values = np.zeros(batches)
            self._values = values, values.ctypes.data  # an address takes NumPy 0.8 us
        self._values[0].fill(0.0)
        return self._values

    def epoch(self, order=None, learning_rate=None, l2=0.0):
        """One pass over the samples `order` (all, in their order, if None), updating the parameters batch by batch.

        Returns the mean over the samples of the loss (of each batch before its update), L2 term included.
        """
        n, model = self.source.n if order is None else len(order), self.model
        if model.step:
            model.optimizer.to_training(model.params, model.moments)
        skipped = model.skipped_steps
        model.trained.control[CONTROL.norms : CONTROL.norm_sum + 1] = 0.0
        try:
            values = self._walk(order, n, self.batch_size, True, learning_rate, float(l2))
        finally:
            model.optimizer.to_inference(model.params, model.moments)
        return self._mean(order, values, fine=model.skipped_steps == skipped)

    def _mean(self, order, values, fine):
        """Mean over the samples of the batches' losses, of which those that were left out do not count (unless `fine`)."""
        n, values = self.done, values[: -(-self.done // self.batch_size)]
        if not n:
            return math.nan
        if fine and (self.sample_weight is None or self.as_sklearn):
            *whole, last = values.tolist()  # in scikit-learn's order of operations
            return (math.fsum(whole) * self.batch_size + last * (n - len(whole) * self.batch_size)) / n
        counts = np.full(len(values), float(self.batch_size))
        counts[-1] = n - (len(values) - 1) * self.batch_size
        if self.sample_weight is not None and not self.as_sklearn:
            weights = self.sample_weight[:n] if order is None else self.sample_weight[order[:n]]
            counts = np.add.reduceat(weights, np.arange(0, n, self.batch_size))
        if not fine:
            counts[~np.isfinite(values)] = 0
            values = np.nan_to_num(values) * (counts > 0)
        total = counts.sum()
        return float(np.dot(values, counts) / total) if total else math.nan

    @property
    def measures_norm(self):
        """Whether steps measure the norm of their gradient."""
        return self.model.optimizer.clip_norm is not None or self.model.optimizer.skip_nonfinite

    @property
    def gradient_norm(self):
        """Mean norm of the gradients of the last epoch's steps, before clipping; None where it was not needed."""
        norms = self.model.trained.control[CONTROL.norms]
        return float(self.model.trained.control[CONTROL.norm_sum] / norms) if norms else None

    def loss_and_grad(self):
        """Mean loss of all samples as one batch; its gradient is left in the model's `grads`."""
        return float(self._walk(None, self.source.n, self.source.n)[0])

    def _walk(self, order, n, batch, update=False, rate=None, l2=0.0):
        """Losses of the batches of n samples; with `update` the parameters change after each, otherwise gradients are kept.

        The engine is called for slices: some batches, or some pieces of a batch that is larger than the workspace.
        """
        model, (shares, shares_at) = self.model, self._shares(order, n, batch)
        (values, values_at), piece = self._losses_of(len(shares)), min(batch, self.program.rows)
        choice = self._choice(update)
        self._set_order(order)
        b, skip, scalars = 0, 0, NO_SCALARS
        while b < len(shares):
            threads, seconds = choice.next()
            steps = min(STEPS, max(1, 2 * int(seconds / self._seconds_per_piece)))
            first, last = b * batch + skip, min(len(shares), b + steps)
            if update:
                steps = np.arange(model.step + 1, model.step + 1 + last - b)
                schedule = self.first_step, self.total_steps, self.rate_factor
                scalars = model.optimizer.step_scalars(steps, *schedule, rate)
            call, began = self.bound(threads, update), time.perf_counter()
            self.data[:, DATA.step] = model.step
            done, skip = call(b, last, skip, batch, n, (shares_at, values_at, scalars.ctypes.data), l2, seconds)
            seconds, rows = time.perf_counter() - began, min(n, (b + done) * batch + skip) - first
            if rows >= piece:  # a short last batch says nothing about the others
                self._seconds_per_piece = max(1e-7, seconds * piece / rows)
                choice.took(threads, rows / piece, seconds)
            if update and done:
                model.step += done
                self.rate = model.optimizer.rate_of(scalars[done - 1])
            b += done
            if self.watch is not None and update and b < len(shares) and self.watch(min(n, b * batch) / n):
                break
        self.done = min(n, b * batch)
        return values

    def _choice(self, update):
        """The `ThreadChoice` of all trainings that cost the same."""
        model, program = self.model, self.program
        most = worthwhile_threads(self.flops_per_piece, 2, model.dtype.itemsize)
        if (update, most) in self._choices:
            return self._choices[update, most]
        cost = model.layout.size, len(program.table), program.rows, model.dtype, len(program.segments), len(self.data)
        return self._choices.setdefault((update, most), thread_choice(most, (update, *cost)))

    def _set_order(self, order):
        if self.model.network is not self.network:
            raise RuntimeError("the model's layers or loss were changed while it was being trained")
        self._order = None if order is None else np.ascontiguousarray(order, np.int64)
        self.data[:, DATA.order] = 0 if order is None else self._order.ctypes.data

    def bound(self, threads, update):
        """The engine with the arrays that stay from epoch to epoch; they are looked up anew only where one has changed."""
        model = self.model
        if update:
            owned = model.params, model.optimizer, model.moments, model.averaged, model.state
        else:
            owned = model.params, model.grads, model.state
        if self._owned is None or len(self._owned) != len(owned) or any(map(operator.is_not, self._owned, owned)):
            self._owned, self._calls = owned, {}
        if threads not in self._calls:
            self._calls[threads] = Binding(self, threads, update)
        return self._calls[threads]
