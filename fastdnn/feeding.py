"""What a fit trains on, an epoch at a time: arrays, or a stream in turns of its shuffle buffer."""

import dataclasses
import math

import numpy as np

from ._guard import guard
from .data.paging import ReadAhead
from .optimizers.base import CONTROL
from .validation import take


class ArrayFeed:
    """The samples of a `Training`, all of them there.

    Attributes
    ----------
    n : int or None
        Samples of an epoch; None where nobody knows yet.
    rows : ndarray of int or None
        Of what the training reads, some or all of the samples that have been trained with; None is all of it.
    ahead : ReadAhead or None
        Asks the system for samples in a memory map before they are needed.
    """

    def __init__(self, run, rows):
        self._run, self.rows = run, rows
        self.ahead = ReadAhead.of(run.training.source) if run.shuffle else None

    @property
    def n(self):
        return self._run.training.source.n if self.rows is None else len(self.rows)

    steps_done = 0  # of an epoch that a resumed fit goes on with

    def share(self, done):
        """The part of the epoch that is done, from that of the call that is under way, which is asked about every 0.1 s."""
        if self.ahead:
            self.ahead.at(done)
        return done

    def sample(self, n):
        """The first n samples that are trained on and their targets."""
        rows = np.arange(min(n, self.n)) if self.rows is None else self.rows[:n]
        return self._run.training.source.take(rows), take(self._run.y, rows)

    def close(self):
        """At the end of the fit: the samples are somebody else's."""

    def epoch(self):
        """Train for an epoch and record it; whether there was a batch before somebody has ended it."""
        run, training = self._run, self._run.training
        training.rate_factor = run.model.trained.rate_factors
        with guard(run.model):  # another thread that saves the model waits for a whole epoch
            order = run.order()
            if self.ahead:
                self.ahead.begin(order)
            if run.mixing:
                run.mixing.draw(run.model.seed, run.model.epochs, order)
            loss = training.run_epoch(order)
            if not training.done:
                return False
            norm = training.gradient_norm
            run.record_epoch(loss, rate=training.rate, **({} if norm is None else {"gradient_norm": norm}))
        return True


@dataclasses.dataclass
class Place:
    """How far an epoch of a stream has come: what a fit that is resumed goes on from.

    Attributes
    ----------
    turn, samples : int
        Turns of the shuffle buffer that are over, and the samples in them.
    weight, loss : float
        What they count for, and the sum of their losses times that.
    norms, norm_sum : float
        Gradients whose norm was measured, and the sum of these.
    rate : float
        Learning rate of the last step.
    """

    turn: int = 0
    samples: int = 0
    weight: float = 0.0
    loss: float = 0.0
    norms: float = 0.0
    norm_sum: float = 0.0
    rate: float = 0.0

    def after(self, training, loss):
        """The place after one more turn, with what its training has found."""
        control = training.model.trained.control
        return Place(
            self.turn + 1,
            self.samples + training.done,
            self.weight + training.counted,
            self.loss + (loss * training.counted if training.counted else 0.0),
            self.norms + float(control[CONTROL.norms]),
            self.norm_sum + float(control[CONTROL.norm_sum]),
            training.rate if training.done else self.rate,
        )

    @property
    def mean_loss(self):
        """The mean loss of the samples so far."""
        return self.loss / self.weight if self.weight else math.nan


class StreamFeed:
    """The samples of a stream: those of one turn of its shuffle buffer after the other.

    Parameters
    ----------
    run : Fit
    buffer : ShuffleBuffer
        Opened for the epoch that comes.
    n : int or None
        Samples of an epoch, if they are known; after the first epoch they are.
    """

    def __init__(self, run, buffer, n):
        self._run, self._buffer, self.n, self._place = run, buffer, n, None
        self.rows = self._active = buffer.first()

    @property
    def place(self):
        """The `Place` in the epoch that is under way or will be gone on with."""
        return self._place or self._run.model.trained.place or Place()

    @property
    def steps_done(self):
        return -(-self.place.samples // self._run.training.batch_size)

    def sample(self, n):
        found = self._buffer.places.rows_of_targets[self._active[:n]]
        shape = self._run.model.layout.shapes[-1]
        shape = shape[:-1] if np.issubdtype(found.dtype, np.integer) else shape
        return self._run.training.source.take(self.rows[:n]), found.reshape(len(found), *shape)

    def share(self, done):
        place, turn = self.place, len(self.rows)
        return min(1.0, (place.samples + done * turn) / self.n) if self.n else 0.0

    def close(self):
        """Let the buffer go, which would stay until Python looks for cycles."""
        self._run.training.let_go()
        self._buffer = self._run.mixing = None

    def _check_turns(self, place):
        """ValueError where turns are not as long as those that have led to the place."""
        size = self._buffer.part
        # The last turn of an epoch may have more, nearly twice as many, and the only one fewer.
        if place.turn and max(1, place.samples // size) != place.turn:
            raise ValueError(
                f"the fit that is resumed was in the middle of an epoch, after {place.turn} turns of its shuffle buffer with "
                f"{place.samples} samples; now a turn has {size}: give shuffle_buffer, batch_size and accumulate as before"
            )

    def epoch(self):
        run, training, model = self._run, self._run.training, self._run.model
        self._place, whole = self.place, True
        self._check_turns(self._place)
        for turn, active, (source, targets, weights, order) in self._buffer.turns(model.seed, model.epochs, self._place.turn):
            with guard(model):  # another thread that saves the model waits for a whole turn
                training.rate_factor = model.trained.rate_factors
                self.rows, self._active = order, active
                if run.mixing:  # which has targets of its own
                    run.mixing.draw(model.seed, (model.epochs << 32) + turn, order)
                else:
                    training.take(source, targets, weights)
                loss = training.run_epoch(order)
                whole = training.done == len(order)
                self._place = model.trained.place = place = self._place.after(training, loss)
            stops = run.call("on_turn") or run.call("on_slice", min(1.0, place.samples / self.n) if self.n else 0.0)
            model.trained.place = place  # which the model forgets where a callback gives it another optimizer
            if not whole or stops or (place.weight and not math.isfinite(place.mean_loss)):
                break
        place, self._place, model.trained.place = self._place, None, None
        if not place.samples:
            return False
        if whole and run.history.stopped is None:
            self.n = place.samples
        with guard(model):
            norm = {"gradient_norm": place.norm_sum / place.norms} if place.norms else {}
            run.record_epoch(place.mean_loss, rate=place.rate, **norm)
        return True
