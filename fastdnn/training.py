"""One data set on one network: epochs, loss and gradient, in slices short enough for Ctrl-C."""

import math
import operator
import time

import numpy as np

from .binding import Binding
from .layers.base import DATA
from .optimizers.base import CONTROL, SCALARS
from .ordering import by_length
from .planning import plan
from .program import Program
from .thread_choice import FLOPS, thread_choice, worthwhile_threads
from .truncation import windowed

NO_SCALARS = np.zeros((1, SCALARS.size))  # what a batch without an update reads
STEPS = 65536  # most steps whose scalars are made ahead


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
    mixes : bool
        Whether samples are mixed with others, see `mixing.Mixing`.

    Attributes
    ----------
    watch : callable or None
        Called at least every 0.1 s of an epoch with the part of it that is done; a true result ends the epoch.
    at_step : callable or None
        Called after the model's step `next_step`; it gives the one after which it is called next, or None.
    segments : ndarray
        Of the program, those that a step goes through; see `Program`.
    done : int
        Samples that the last epoch has trained with: fewer than all if it was ended.
    counted : float
        What they count for in its loss: their number, or the sum of their weights, without batches that were left out.
    rate : float
        Learning rate of the last step.
    """

    def __init__(
        self, model, source, targets, sample_weight, batch_size, as_sklearn=False, training=True, piece=None,
        input_gradient=False, loss=None, mixes=False,
    ):  # fmt: skip
        self.model, self.as_sklearn = model, as_sklearn
        self.watch, self.done, self.counted, self.rate = None, 0, 0.0, math.nan
        # Of the schedule: its number of steps, the step of the model that is its first, what it has made of its rates.
        self.total_steps, self.first_step, self.rate_factor = None, 0, 1.0
        self.at_step, self.next_step = None, None
        model.make_writable()
        model.clear_padding()
        model.clear_pruned()
        self.network = model.network
        self.batch_size = int(batch_size)
        loss = loss or model.loss
        self.program, kernel = None, loss.kernel_for(targets, model.n_out)
        layout, self.windows, self.window_steps, self.checkpoints = windowed(model, source, input_gradient or mixes)
        self.plan = plan(layout, model.dtype.itemsize, self.batch_size, piece, model.precision)
        self.capacity, self.by_shards, self.apart = self.plan.capacity, self.plan.by_shards, self.plan.apart
        made = layout, loss, source.kind, model.dtype, self.plan.rows, kernel, training, model.seed, input_gradient
        options = mixes, source.mask is not None, False, self.windows, self.checkpoints, model.precision
        self.program = self._program(*made, self.plan.slots, self.plan.chunk, *options)
        rows, self.segments = self.capacity, self.program.segments
        self.parts, self.factors = model.layout.parts(), model.layout.factors()
        self.limits, self.limit_norms = model.layout.limits()
        self.scale, self.losses = np.zeros(1), np.zeros(rows * self.program.loss_rows * self.windows)
        self.squares = np.zeros(len(self.parts))
        # The last is that of all rows, for the gradients that all shards have together.
        self.data = np.zeros((self.plan.shards + 1, DATA.size), np.int64)
        self.late = self.program.late(self.capacity) if self.apart else (self.program.table, None)
        self.chunk = self.plan.chunk if self.by_shards else max(rows, 1)
        self.data[:, [DATA.scale, DATA.losses]] = self.scale.ctypes.data, self.losses.ctypes.data
        self.take(source, targets, sample_weight)
        self._of_classes, self._n_out = np.issubdtype(targets.dtype, np.integer), model.n_out
        self._owned, self._order, self._calls, self._choices = None, None, {}, {}
        self._equal_shares, self._values = (0, 0, None, 0), (np.zeros(0), 0)
        self.flops_per_piece = rows * max(1, 3 * model.layout.flops)  # forward, input gradient and weight gradient
        self._seconds_per_piece = self.flops_per_piece / FLOPS[model.dtype.itemsize]

    def _program(self, *arguments):
        """The `Program` of these arguments: the model's last one, if it is that.

        To get the workspace of a batch of images from the system, page by page, took a fifth of an epoch.
        """
        kept = self.model.kept_program
        if kept is None or kept[0] != arguments:
            self.model.kept_program = kept = arguments, Program(*arguments)
        return kept[1]

    def take(self, source, targets, sample_weight):
        """Go on with other samples of the same kind: as many as before, the same type of targets, with weights or without."""
        self.source, self.targets, self.sample_weight = source, targets, sample_weight
        # By what samples count in a batch: with a mask each step counts.
        self.weights = (
            source.steps * (1.0 if sample_weight is None else sample_weight) if self.program.masked else sample_weight
        )
        source.fill(self.data)
        self.data[:, DATA.steps] = source.shape[0] if self.windows > 1 and not self.program.ends_whole else 0
        self.data[:, DATA.y] = targets.ctypes.data
        if sample_weight is not None:
            self.data[:, DATA.sample_weight] = sample_weight.ctypes.data

    def let_go(self):
        """Keep the samples no longer; `take` gives others."""
        self.source = self.targets = self.sample_weight = self.weights = None

    def _shares(self, order, n, batch_size):
        """(1 / sum of the sample weights for each batch, the array's address)"""
        if self.weights is None:
            if self._equal_shares[:2] != (n, batch_size):  # the same from epoch to epoch
                equal = 1.0 / np.minimum(batch_size, n - np.arange(0, n, batch_size))
                self._equal_shares = n, batch_size, equal, equal.ctypes.data
            return self._equal_shares[2:]
        starts = np.arange(0, n, batch_size)
        weights = self.weights if order is None else self.weights[order]
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

    def _look_at_buffers(self, steps):
        """ValueError where class numbers in `y` or ids in `X` are none, or, for steps, the optimizer takes none."""
        if steps and self.model.optimizer.full_batch:
            raise ValueError(f"{self.model.optimizer!r} has no steps with single batches; call fit")
        targets = self.targets
        if self._of_classes and not 0 <= targets.min() <= targets.max() < self._n_out:
            raise ValueError(f"class numbers in y must be 0 to {self._n_out - 1}, got {targets.min()} to {targets.max()}")
        if self.source.kind == "ids":
            self.model.layers[0].check_ids(self.X)

    def epoch(self, order=None, learning_rate=None, l2=0.0):
        """One pass over the samples in batches, as they are in `X` and `y` now; returns their mean loss.

        Parameters
        ----------
        order : array-like of int, shape (k,), or None, default=None
            Numbers of the samples, in the order in which they are taken; None is all of them from the first on.
        learning_rate : float or None, default=None
            In place of the optimizer's.
        l2 : float, default=0.0
            Weight decay, divided by the sum of the weights of a batch, as scikit-learn does.

        Raises
        ------
        ValueError
            If a number is none of a sample, a class number or an id is none that the network knows, or the optimizer has no
            such steps.
        """
        self._look_at_buffers(True)
        if order is not None:
            order, n = np.asarray(order), self.source.n
            if order.ndim != 1 or order.dtype.kind not in "iu" or not order.size or order.min() < 0 or order.max() >= n:
                raise ValueError(f"order must be a list of numbers of samples, 0 to {n - 1}, got {order!r}")
        self.rate_factor = self.model.trained.rate_factors
        return self.run_epoch(order, learning_rate, l2)

    def run_epoch(self, order=None, learning_rate=None, l2=0.0):
        """`epoch` for who knows that samples, targets and order are sound.

        Returns the mean over the samples of the loss (of each batch before its update), L2 term included.
        """
        n, model = self.source.n if order is None else len(order), self.model
        if model.step:
            model.optimizer.to_training(model.params, model.moments)
        if self.source.mask is not None and model.layout.goes_by_steps:
            order = by_length(
                np.arange(n) if order is None else order, self.source.steps, self.batch_size, self.capacity, self.plan.shards,
                self.program.unit,
            )  # fmt: skip
        skipped = model.skipped_steps
        model.trained.control[CONTROL.norms : CONTROL.norm_sum + 1] = 0.0
        try:
            values = self._walk(order, n, self.batch_size, True, learning_rate, float(l2))
        finally:
            model.optimizer.to_inference(model.params, model.moments)
        return self._mean(order, values, fine=model.skipped_steps == skipped)

    @property
    def X(self):
        """The samples that kernels read, (n, ...): the array that was given, if its type and layout allow, or a copy of it.

        What is written into it is what the next step takes; numbers are not looked at again, as they are in `fit`. Read-only
        where the array that was given is.
        """
        if len(self.source.arrays) != 1:
            raise ValueError(f"samples of this kind ({self.source.kind}) stand in several arrays; give a dense array")
        return self.source.arrays[0].reshape(self.source.n, *self.source.shape)

    @property
    def y(self):
        """The targets that kernels read: class numbers, the array that was given if it is one of int64, or numbers, a copy.

        Numbers are (rows, outputs). Of actions with `PolicyGradient` they are advantages, the sample weights in them.
        """
        rows = self.source.n * self.program.loss_rows
        return self.targets if self._of_classes else self.targets[: rows * self._n_out].reshape(rows, self._n_out)

    def step(self):
        """One step of the optimizer with all samples as one batch, as they are in `X` and `y` now; returns their mean loss.

        Nothing is allocated and nothing is checked but the range of class numbers and ids, which kernels index with.
        """
        self._look_at_buffers(True)
        model, self.rate_factor = self.model, self.model.trained.rate_factors
        elsewhere = model.optimizer.trains_elsewhere
        if elsewhere and model.step:
            model.optimizer.to_training(model.params, model.moments)
        try:
            return float(self._walk(None, self.source.n, self.source.n, True)[0])
        finally:
            if elsewhere:
                model.optimizer.to_inference(model.params, model.moments)

    def _mean(self, order, values, fine):
        """Mean over the samples of the batches' losses, of which those that were left out do not count (unless `fine`)."""
        n, values = self.done, values[: -(-self.done // self.batch_size)]
        self.counted = float(n)
        if not n:
            return math.nan
        if fine and (self.weights is None or self.as_sklearn):
            *whole, last = values.tolist()  # in scikit-learn's order of operations
            return (math.fsum(whole) * self.batch_size + last * (n - len(whole) * self.batch_size)) / n
        counts = np.full(len(values), float(self.batch_size))
        counts[-1] = n - (len(values) - 1) * self.batch_size
        if self.weights is not None and not self.as_sklearn:
            weights = self.weights[:n] if order is None else self.weights[order[:n]]
            counts = np.add.reduceat(weights, np.arange(0, n, self.batch_size))
        if not fine:
            counts[~np.isfinite(values)] = 0
            values = np.nan_to_num(values) * (counts > 0)
        self.counted = float(counts.sum())
        return float(np.dot(values, counts) / self.counted) if self.counted else math.nan

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
        """Mean loss of all samples as one batch, as they are in `X` and `y` now; the gradient is left in `Model.grads`."""
        self._look_at_buffers(False)
        return self.run_loss_and_grad()

    def run_loss_and_grad(self):
        """`loss_and_grad` for who knows that samples and targets are sound."""
        return float(self._walk(None, self.source.n, self.source.n)[0])

    def _walk(self, order, n, batch, update=False, rate=None, l2=0.0):
        """Losses of the batches of n samples; with `update` the parameters change after each, otherwise gradients are kept.

        The engine is called for slices: some batches, or some pieces of a batch that is larger than the workspace.
        """
        model, (shares, shares_at) = self.model, self._shares(order, n, batch)
        (values, values_at), piece = self._losses_of(len(shares)), min(batch, self.capacity)
        choice = self._choice(update)
        self._set_order(order)
        b, skip, scalars = 0, 0, NO_SCALARS
        while b < len(shares):
            threads, seconds = choice.next()
            steps = min(STEPS, max(1, 2 * int(seconds / self._seconds_per_piece)))
            first, last = b * batch + skip, min(len(shares), b + steps)
            if update and self.next_step is not None:
                last = min(last, b + self.next_step - model.step)
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
            if update and self.next_step is not None and model.step >= self.next_step:
                self.next_step = self.at_step()
            if self.watch is not None and update and b < len(shares) and self.watch(min(n, b * batch) / n):
                break
        self.done = min(n, b * batch)
        return values

    def _choice(self, update):
        """The `ThreadChoice` of all trainings that cost the same."""
        model, program = self.model, self.program
        most = worthwhile_threads(self.flops_per_piece, 2, model.dtype.itemsize)
        most = min(most, self.plan.shards) if self.by_shards else most
        if (update, most) in self._choices:
            return self._choices[update, most]
        cost = model.layout.size, len(program.table), self.capacity, model.dtype, len(program.segments), self.plan.shards
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
            owned = model.params, model.optimizer, model.moments, model.averaged, model.state, model.mask
        else:
            owned = model.params, model.grads, model.state, model.mask
        if self._owned is None or len(self._owned) != len(owned) or any(map(operator.is_not, self._owned, owned)):
            self._owned, self._calls = owned, {}
        if threads not in self._calls:
            self._calls[threads] = Binding(self, threads, update)
        return self._calls[threads]
