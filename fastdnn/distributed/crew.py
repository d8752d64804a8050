"""The lanes of one worker in step with those of all others: sums of gradients each step, or averages every few steps."""

import hashlib
import itertools
import math
from typing import NamedTuple

import numpy as np
import scipy.sparse

from .. import rng
from ..layers.base import DATA
from ..layout import aligned
from ..optimizers.base import CONTROL
from ..sources import Source
from ..steps import Applying
from ..tables import TRAIN
from ..training import Training

# Behind the numbers of a message: what the samples of a lane count for; the sum of their losses, and what the samples count
# for whose loss is known; norms of gradients and their sum; steps that were left out.
TAIL = 6
PUT_TOGETHER = 1 << 28  # bytes of a lane's samples up to which a copy is worth its memory: a step gathers 5 % faster
ALIGNED = 16  # numbers: messages begin where a vector does, for gradients are written into them
OF_LANES = 1000  # purpose of random numbers, beside those of `rng`
COUNTED, LOSS, JUDGED, NORMS, NORM_SUM, SKIPPED = range(-TAIL, 0)
FIGURES = slice(LOSS, SKIPPED)


class Order(NamedTuple):
    """Steps that a round is to do.

    Attributes
    ----------
    epoch : int
        The model's, counted from 0: with the seed it decides about the order of the samples.
    first, last : int
        Steps of the epoch, the last one not included.
    schedule : tuple (int, int or None, float)
        First step of the schedule, its number of steps, what the rates are multiplied by.
    shuffle : bool
        Whether lanes take their samples in another order each epoch.
    """

    epoch: int
    first: int
    last: int
    schedule: tuple
    shuffle: bool = True


class Figures(NamedTuple):
    """What steps have found: sums, to which those of other steps are added."""

    loss: float = 0.0
    judged: float = 0.0
    norms: float = 0.0
    norm_sum: float = 0.0

    def plus(self, other):
        return Figures(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def mean_loss(self):
        return self.loss / self.judged if self.judged else math.nan

    @property
    def gradient_norm(self):
        """None where norms were not measured."""
        return self.norm_sum / self.norms if self.norms else None


def lane_seed(seed, lane):
    """Seed of what a lane draws (the order of its samples, dropout): that of lane 0 is the model's."""
    return seed if lane == 0 else int(rng.generator(seed, OF_LANES, lane).integers(2**63))


def digest(model):
    """Text that differs where the parameters or statistics of two models do."""
    found = hashlib.blake2b(model.params, digest_size=16)
    found.update(model.state)
    return found.hexdigest()


class LaneTraining(Training):
    """A `Training` that also gives gradients of single batches, with running statistics that move as in a step."""

    _into = None

    def bound(self, threads, update):
        call = super().bound(threads, update)
        self.data[:, DATA.training] = update or self._into is not None
        if self._into is not None:
            call.job[TRAIN.grads] = self._into.ctypes.data
        return call

    def gradient(self, rows, into):
        """Mean loss of the samples of these numbers; the gradient is written to `into`, statistics move.

        Where nothing is written, padding and what is frozen, `into` must be 0.
        """
        self._into = into
        try:
            return float(self._walk(rows, len(rows), len(rows))[0])
        finally:
            self._into = None


class Lane:
    """Samples in their order, and a network that learns from them.

    Parameters
    ----------
    model : Model
        The lane's, from `model_of_lane`.
    X : list of arrays
        Its samples, which follow one another.
    y : ndarray
        Their targets.
    sample_weight : ndarray or None
        Their weights.
    batch_size : int
        Its samples of a batch.
    """

    def __init__(self, model, X, y, sample_weight, batch_size):
        counts = sample_weight is None or sample_weight.any()
        source, targets, weights = model.check(model.network, source_of(X, model), y, sample_weight if counts else None)
        weights = weights if counts else sample_weight  # a lane may have nothing that counts, a fit may not
        self.model, self.batch_size = model, batch_size
        self.training = LaneTraining(model, source, targets, weights, min(batch_size, source.n))
        self.n, self._order, self._epoch = source.n, None, None

    def rows(self, order, first, last):
        """Numbers of the samples of steps first..last of the epoch; none where it has come to its end."""
        if self._epoch != (order.epoch, order.shuffle):
            source = rng.generator(self.model.seed, rng.SHUFFLE, order.epoch)
            self._order = source.permutation(self.n) if order.shuffle else np.arange(self.n)
            self._epoch = order.epoch, order.shuffle
        return self._order[first * self.batch_size : last * self.batch_size]

    def weight(self, rows):
        """What samples count for."""
        weights = self.training.weights
        return float(len(rows)) if weights is None else float(weights[rows].sum())


def model_of_lane(model, number, every, alone):
    """The model of a lane: the one that all agree about, a view of it with statistics and a seed of its own, or a copy."""
    if alone:
        return model
    own = model.copy()
    if every == 1:  # its parameters are those of all
        own.network, own.trained = own.network._replace(params=model.params), model.trained
    own.seed = lane_seed(model.seed, number)
    return own


def source_of(X, model):
    """Arrays as one `Source`: read where they are if the kernels can and they are large, otherwise put together."""
    dtype, ids = model.dtype, model.layers[0].takes_ids
    if scipy.sparse.issparse(X[0]):
        return Source(scipy.sparse.vstack(X, "csr"), dtype, ids)
    large = sum(a.nbytes for a in X) > PUT_TOGETHER
    if len(X) > 1 and large and not ids and all(a.dtype == dtype and a.flags.c_contiguous for a in X):
        return Source.of_chunks(X, dtype)
    return Source(X[0] if len(X) == 1 else np.concatenate(X), dtype, ids)


def _arrays(model):
    """What lanes average: arrays of which differences are sent, so that what no lane has changed stays as it is, bit for bit;
    and those that are sent themselves, for they must not become negative, as sums of differences may by rounding."""
    averaged = model.averaged
    kept = [model.params, *([] if averaged is None else [averaged])]
    return kept, [model.state, *([model.moments] if model.optimizer.n_arrays else [])]


class Crew:
    """The lanes that a worker hosts.

    Parameters
    ----------
    model : Model
        Built; what all agree about.
    lanes : list of Lane
        In the order of their numbers.
    every : int
        Steps between two averages; 1 adds gradients.
    alone : bool
        Whether there is no other lane anywhere: it does what `Model.fit` does.
    exchange : Exchange
        With the same lanes.
    """

    def __init__(self, model, lanes, every, alone, exchange):
        self.model, self.lanes, self.every, self.alone, self.exchange = model, lanes, every, alone, exchange
        self._kept, self._shared = _arrays(model)
        if every == 1 and not alone:
            self._applying, numbers = Applying(model), len(model.params) + len(model.state)
        else:
            numbers = sum(map(len, [*self._kept, *self._shared]))
        width = -(-(numbers + TAIL) // ALIGNED) * ALIGNED  # what is between the numbers and the tail stays 0
        self._rows = aligned(len(lanes) * width, model.dtype).reshape(len(lanes), width)

    def work(self, order):
        """The steps of an `Order`; the `Figures` of all lanes."""
        if self.alone:
            return Figures(*self._local(self.lanes[0], order, order.first, order.last)[FIGURES].tolist())
        return self._together(order) if self.every == 1 else self._apart(order)

    # ------------------------------------------------------------ averages

    @staticmethod
    def _local(lane, order, first, last):
        """Steps of a lane with its own gradients; the numbers of a message's `TAIL`."""
        found, rows = np.zeros(TAIL), lane.rows(order, first, last)
        training, trained = lane.training, lane.model.trained
        skipped = lane.model.skipped_steps
        if len(rows):
            training.first_step, training.total_steps, training.rate_factor = order.schedule
            loss = training.run_epoch(rows)
            found[COUNTED] = lane.weight(rows)
            found[[NORMS, NORM_SUM]] = trained.control[[CONTROL.norms, CONTROL.norm_sum]]
            found[SKIPPED] = lane.model.skipped_steps - skipped
            # Of a lane all of whose steps were left out, or whose samples count for nothing, nothing is known.
            if found[COUNTED] and not (found[SKIPPED] and math.isnan(loss)):
                found[JUDGED], found[LOSS] = found[COUNTED], loss * found[COUNTED]
        return found

    def _apart(self, order):
        """Local steps, then averages of all that they have changed, weighted by what the samples count for."""
        model, figures = self.model, Figures()
        for first in range(order.first, order.last, self.every):
            last = min(order.last, first + self.every)
            for row, lane in zip(self._rows, self.lanes, strict=True):
                self._follow(lane.model)
                self._write(row, lane.model, self._local(lane, order, first, last))
            total = self.exchange.all_reduce(self._rows)
            self._take_mean(total)
            model.step += last - first
            model.trained.control[CONTROL.skipped] += float(total[SKIPPED])
            figures = figures.plus(Figures(*total[FIGURES].tolist()))
        return figures

    def _follow(self, own):
        """Let a lane's model be what all agree about."""
        for theirs, array in zip(itertools.chain(*_arrays(own)), self._kept + self._shared, strict=True):
            theirs[...] = array
        own.trained.step = self.model.step

    def _pieces(self, flat):
        """The pieces of a message for all arrays."""
        ends = np.cumsum([0, *map(len, self._kept + self._shared)]).tolist()
        return [flat[begin:end] for begin, end in itertools.pairwise(ends)]

    def _write(self, row, own, tail):
        """A lane's message: by how much parameters have changed, and the rest as it is, times what its samples count for."""
        row[-TAIL:] = tail
        if not tail[COUNTED]:
            row[:-TAIL] = 0
            return
        pieces, (kept, shared), counted = self._pieces(row), _arrays(own), row.dtype.type(tail[COUNTED])
        for piece, array, theirs in zip(pieces, self._kept, kept, strict=False):
            np.subtract(theirs, array, out=piece)
            piece *= counted
        for piece, theirs in zip(pieces[len(kept) :], shared, strict=True):
            np.multiply(theirs, counted, out=piece)

    def _take_mean(self, total):
        """Let what all agree about be the mean of the lanes, from the sum of their messages."""
        if not total[COUNTED]:
            return
        total[:-TAIL] /= total[COUNTED]
        pieces = self._pieces(total)
        for piece, array in zip(pieces, self._kept, strict=False):
            array += piece
        for piece, array in zip(pieces[len(self._kept) :], self._shared, strict=True):
            array[...] = piece

    # ------------------------------------------------------------ sums of gradients

    def _together(self, order):
        """Steps with the gradient of all lanes' samples."""
        model, figures = self.model, Figures()
        first, *schedule = order.schedule
        steps = np.arange(model.step + 1, model.step + 1 + order.last - order.first)
        scalars, control = model.optimizer.step_scalars(steps, first, *schedule), model.trained.control
        control[CONTROL.norms : CONTROL.norm_sum + 1] = 0.0
        if model.step:
            model.optimizer.to_training(model.params, model.moments)
        for i, step in enumerate(range(order.first, order.last)):
            for row, lane in zip(self._rows, self.lanes, strict=True):
                self._write_gradient(row, lane, lane.rows(order, step, step + 1))
            figures = figures.plus(self._step(self.exchange.all_reduce(self._rows), scalars[i : i + 1]))
        model.optimizer.to_inference(model.params, model.moments)
        return figures._replace(norms=float(control[CONTROL.norms]), norm_sum=float(control[CONTROL.norm_sum]))

    def _write_gradient(self, row, lane, rows):
        """A lane's message: gradient, statistics and loss of a batch, times what its samples count for."""
        counted, own, size = lane.weight(rows), lane.model, len(self.model.params)
        if not counted:
            row[...] = 0
            return
        own.state[...] = self.model.state
        gradient, factor = row[:size], row.dtype.type(counted)
        loss = lane.training.gradient(rows, gradient)
        gradient *= factor
        np.multiply(own.state, factor, out=row[size : size + len(own.state)])
        row[-TAIL:] = 0
        row[COUNTED], row[LOSS] = counted, loss * counted

    def _step(self, total, scalars):
        """The optimizer's step with the sum of the lanes' messages; the `Figures` of it."""
        model, size, counted = self.model, len(self.model.params), float(total[COUNTED])
        if not counted:
            model.step += 1
            return Figures()
        total *= total.dtype.type(1.0 / counted)
        model.state[...], skipped = total[size : size + len(model.state)], model.skipped_steps
        loss = float(total[LOSS]) + self._applying.step(model, scalars, total[:size])
        left_out = model.skipped_steps > skipped and not math.isfinite(loss)
        return Figures() if left_out else Figures(loss * counted, counted)
