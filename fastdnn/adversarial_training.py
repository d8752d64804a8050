"""A generator and a discriminator in turns: four bound steps on buffers that they share.

A step of training is: the generator makes a batch (`Making`); the discriminator takes a step with it and as many real
samples; it gives the gradient of the generator's loss with respect to what was made (`Judging`), which goes back through the
generator (`Improving`), whose values of the way forward are still there where its workspace holds a whole batch.
"""

import copy
import math
import time
import warnings

import numpy as np

from . import rng
from .fitting import Fit
from .layers.base import DATA, OP
from .losses import Adversarial, scores_link
from .losses.base import GivenGradient
from .schedules import get_schedule
from .sources import Source
from .training import Training
from .validation import take

# Noise on the samples goes down to 0 by this power of what is left of this part of a fit: it spends as many steps at small
# scales as at large ones. A straight line lost modes of a grid of 25 Gaussians: 18 to 22 stayed, not 22 to 25.
NOISY, NOISE_POWER = 0.9, 3
MEASURED = 4096  # samples whose standard deviation the noise is measured by
WATCH = 0.1  # seconds between two calls of what watches an epoch
DRAWN = 1 << 20  # numbers of codes that are drawn at once
BANK = 1 << 18  # numbers of noise of an epoch, of which each batch takes a piece: to draw 100,000 takes 1 ms, as a step does


def zeros(shape, dtype):
    """An array of zeros with a vector's room behind it: kernels read whole vectors of targets."""
    size = math.prod(shape)
    return np.zeros(size + 64, dtype)[:size].reshape(shape)


class WithoutGradients(Training):
    """One in which rows go through the network, forward and back, and parameters get no gradients."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.program.workspace()  # the same as that of the program with gradients
        self.program = copy.copy(self.program)
        self.program.table = self.program.table.copy()
        self.program.table[:, OP.gradient] = 0
        self.late = self.program.late(self.capacity) if self.apart else (self.program.table, None)


class Making(WithoutGradients):
    """The way forward of a batch, layers behaving as in training; the scores go to data.result."""

    def __init__(self, model, source, targets, made):
        super().__init__(model, source, targets, None, source.n, piece=source.n, loss=GivenGradient())
        self.program.table[-1, OP.backward] = scores_link.address(model.dtype)
        forward, last = self.segments[self.segments[:, 2] < 0], len(self.program.table) - 1
        # Those that go forward alone, and the first that turns round: all its ops forward, back the last, which is the link.
        turn = [self.segments[len(forward), 0], last, last, last, 0, -1]
        self.segments = np.array([*forward.tolist(), turn], np.int64)
        self.data[:, DATA.result] = made.ctypes.data

    def bound(self, threads, update):
        call = super().bound(threads, update)
        self.data[:, DATA.training] = 1  # running statistics move, though no parameters do
        return call

    def run(self):
        """Make a batch of what the codes say."""
        self._walk(None, self.source.n, self.source.n)


class Improving(Training):
    """The way back of the batch that `Making` has made last, and the optimizer's step, for a gradient of the scores."""

    def __init__(self, model, source, targets):
        super().__init__(model, source, targets, None, source.n, piece=source.n, loss=GivenGradient())
        if not self.apart:  # otherwise the workspace holds a part of the batch, which has to come again
            forward = np.flatnonzero(self.segments[:, 2] < 0)
            self.segments = self.segments[len(forward) :].copy()
            self.segments[0, 1] = self.segments[0, 0]

    def run(self):
        """One step."""
        self._walk(None, self.source.n, self.source.n, True)


class Judging(WithoutGradients):
    """The generator's loss of samples that it has made, and its gradient with respect to them; no others are computed."""

    def __init__(self, model, source, targets, loss, gradient):
        super().__init__(model, source, targets, None, source.n, piece=source.n, input_gradient=True, loss=loss)
        self.data[:, DATA.dx] = gradient.ctypes.data

    def run(self):
        """The mean loss."""
        return float(self._walk(None, self.source.n, self.source.n)[0])


class Discriminating(Training):
    """The discriminator's step with real samples and as many made ones; either have statistics of their own."""

    def __init__(self, model, source, targets):
        whole = any(layer.needs_batch for _, layer in model.layout.leaves)
        super().__init__(model, source, targets, None, source.n, piece=source.n // 2 if whole else None)

    def run(self):
        """One step; the loss before it."""
        return float(self._walk(None, self.source.n, self.source.n, True)[0])


class AdversarialTraining:
    """Two networks bound to samples and to each other.

    Parameters
    ----------
    gan : GAN
        Built.
    X : ndarray of shape (n, ...)
        Real samples, finite, of the networks' float type.
    classes : ndarray of int, shape (n,), or None
        Class numbers of the samples.
    batch_size : int
        Real samples in a step, at most n. Those that do not fill a batch are left out of an epoch.
    """

    as_sklearn, measures_norm, gradient_norm = False, False, None

    def __init__(self, gan, X, classes, batch_size):
        generator, discriminator, dtype = gan.generator, gan.discriminator, gan.dtype
        self.gan, self.batch_size, self.source = gan, batch_size, Source(X, dtype)
        self.watch, self.done, self.rate, self.rate_factor = None, 0, math.nan, 1.0
        self._X, self._classes, n, self._n_scores = X, classes, batch_size, discriminator.n_out
        shape, deviation = X.shape[1:], float(X[:MEASURED].std(dtype=np.float64)) if gan.instance_noise else 0.0
        self._noise = gan.instance_noise * deviation
        self.codes, self.pairs = np.zeros((n, gan.code_size), dtype), zeros((2 * n, *shape), dtype)
        gradient = zeros((n, *shape), dtype)
        self.targets, self.wanted = zeros((2 * n, self._n_scores), dtype), zeros((n, self._n_scores), dtype)
        if classes is None:
            self._set_targets(np.zeros(n, int))
        codes, made, flat = Source(self.codes, dtype), Source(self.pairs[n:], dtype), gradient.reshape(-1)
        self._making = Making(generator, codes, flat, self.pairs[n:])
        self._improving = Improving(generator, codes, flat)
        self._discriminating = Discriminating(discriminator, Source(self.pairs, dtype), self.targets.reshape(-1))
        loss = Adversarial(gan.loss, "generator")
        self._judging = Judging(discriminator, made, self.wanted.reshape(-1), loss, gradient)

    @property
    def steps(self):
        """Steps of the generator in an epoch, in which the discriminator sees each sample about once."""
        return max(1, self.source.n // (self.batch_size * self.gan.discriminator_steps))

    def _set_targets(self, classes):
        """What the discriminator is to say of a batch of these classes, and what the generator wants to hear."""
        n, rows = self.batch_size, np.arange(self.batch_size)
        self.targets.fill(0)
        self.wanted.fill(0)
        self.targets[rows, classes], self.targets[n + rows, classes] = 1 - self.gan.label_smoothing, -1
        self.wanted[rows, classes] = 1

    def set_schedule(self, total):
        """Let the schedules of both networks have this number of steps of the generator in all, from the fit's start on."""
        for training, k in ((self._improving, 1), (self._discriminating, self.gan.discriminator_steps)):
            start, schedule = training.model.trained.fit_start[0], get_schedule(training.model.optimizer.learning_rate)
            training.first_step, training.total_steps = start if schedule.spans_fit else 0, total * k

    def _add_noise(self, bank, offsets):
        """Noise on real and made samples alike, less and less of it."""
        model = self._improving.model
        done = (model.step - model.trained.fit_start[0]) / (NOISY * self._improving.total_steps)
        if done < 1 and self._noise:
            flat, offset = self.pairs.reshape(-1), next(offsets)
            level = self.gan.dtype.type(self._noise * (1 - done) ** NOISE_POWER)
            for first in range(0, len(flat), len(bank) // 2):
                part = flat[first : first + len(bank) // 2]
                part += level * bank[offset : offset + len(part)]

    def _noises(self, batches):
        """(numbers drawn from the normal distribution, where the batches of an epoch begin in them)"""
        if not self._noise:
            return None, iter(())
        source = rng.generator(self.gan.seed, rng.INSTANCE_NOISE, self.gan.epochs)
        return source.standard_normal(BANK, self.gan.dtype), (int(source.integers(BANK // 2)) for _ in range(batches))

    def run_epoch(self, order):
        """One pass over the samples `order`: (mean loss of the discriminator, mean loss of the generator)."""
        n, k, gan = self.batch_size, self.gan.discriminator_steps, self.gan
        steps = self.steps
        draws, (bank, offsets) = self._codes(steps * k), self._noises(steps * k)
        sums, counts, heard = np.zeros(2), np.zeros(2), time.perf_counter()
        self.done = 0
        for step in range(steps):
            for turn in range(step * k, step * k + k):
                rows = order[np.arange(n * turn, n * turn + n) % len(order)]
                np.take(self._X, rows, axis=0, out=self.pairs[:n])
                self.codes[:, : gan.latent] = next(draws)
                if self._classes is not None:
                    self._take_classes(self._classes[rows])
                self._making.run()
                self._add_noise(bank, offsets)
                self._add(sums, counts, 0, self._discriminating.run())
            self._add(sums, counts, 1, self._judging.run())
            self._improving.run()
            self.done = step + 1
            if self.watch is not None and time.perf_counter() - heard > WATCH and step + 1 < steps:
                heard = time.perf_counter()
                if self.watch((step + 1) / steps):
                    break
        self.rate = self._improving.rate
        return tuple(np.divide(sums, counts, out=np.full(2, math.nan), where=counts > 0).tolist())

    @staticmethod
    def _add(sums, counts, which, loss):
        if math.isfinite(loss):
            sums[which] += loss
            counts[which] += 1

    def _take_classes(self, classes):
        """Let the next batch, real and made, be of these classes."""
        self._set_targets(classes)
        one_hot = self.codes[:, self.gan.latent :]
        one_hot.fill(0)
        one_hot[np.arange(len(classes)), classes] = 1

    def _codes(self, batches):
        """The codes of the epoch's batches, one after the other."""
        source, shape = rng.generator(self.gan.seed, rng.LATENT, self.gan.epochs), (self.batch_size, self.gan.latent)
        several = max(1, DRAWN // math.prod(shape))
        for first in range(0, batches, several):
            yield from source.standard_normal((min(several, batches - first), *shape), self.gan.dtype)


class AdversarialFit(Fit):
    """A fit of a `GAN` under way: what callbacks see."""

    @property
    def n(self):
        return self.training.source.n

    @property
    def keys(self):
        return ["discriminator_loss", "generator_loss", "rate", "seconds"]

    def monitored(self, key, what="monitor"):
        return super().monitored("generator_loss" if key is None else key, what)

    def value(self, key):
        return self.history[key][-1]

    def sample(self, n):
        X = self.training.source.arrays[0].reshape(-1, *self.training.source.shape)
        return X[:n], None if self.y is None else take(self.y, np.arange(min(n, len(X))))

    def record_epoch(self, losses, **figures):
        """The losses of both, and the history."""
        self.epoch += 1
        self.model.epochs += 1
        self.epoch_is_over = True
        of_both = dict(zip(self.keys[:2], losses, strict=True))
        self.history.record(self.epoch - 1, {**of_both, **figures, "seconds": time.perf_counter() - self._began})
        for name, loss in of_both.items():
            if not math.isfinite(loss):
                self.history.stopped = f"the {name.replace('_', ' ')} is {loss} in epoch {self.epoch}"


def fit_in_turns(run):
    """The epochs of an `AdversarialFit`."""
    gan, training = run.model, run.training
    training.set_schedule(training.steps * run.epochs)
    while run.epoch < run.epochs and run.history.stopped is None:
        run.begin_epoch()
        with gan.locked():
            losses = training.run_epoch(run.order() if run.shuffle else np.arange(run.n))
            if not training.done:  # stopped within the first batch
                break
            run.record_epoch(losses, rate=training.rate)
        run.call("on_epoch_end")
        if not all(map(math.isfinite, losses)):
            warnings.warn(
                f"{run.history.stopped}: training stopped. Scale X to about unit variance or take smaller learning rates",
                RuntimeWarning,
                stacklevel=3,
            )
