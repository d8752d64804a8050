"""GAN: a generator that learns to make samples like those it is shown, against a discriminator that tells them apart."""

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import rng
from ._guard import guard
from .adversarial_checks import (
    as_labels,
    check_optimizer,
    check_pair,
    check_samples,
    class_numbers,
    named,
    say_what_went_wrong,
)
from .adversarial_pair import Pair
from .adversarial_training import AdversarialFit, AdversarialTraining, fit_in_turns
from .callbacks import Callback, EarlyStopping, GradientMonitor, ReduceLROnPlateau
from .callbacks.base import check_callbacks
from .history import History
from .layers import Layer
from .losses.adversarial import KINDS
from .network import Trained, check_layers
from .optimizers import Adam, Optimizer, get_optimizer
from .progress import reporter
from .saving.pairs import load_gan, save_gan
from .schedules import Polynomial
from .specs import check_count, check_number
from .weights import check_dtype

RATE, BETA_1, SMOOTHING = 2e-3, 0.5, 0.1


class GAN(Pair):
    """A generative adversarial network: two networks that learn from each other to make samples like those of a data set.

    Parameters
    ----------
    generator : list of Layer
        From codes (latent,), and a one-hot class behind them where there are classes, to samples.
    discriminator : list of Layer
        From samples to a vector; a Dense layer with one score, or one for each class, is added.
    latent : int, default=64
        Numbers of a code, drawn from the standard normal distribution.
    loss : {"non_saturating", "least_squares", "hinge"}, default="non_saturating"
        See `fastdnn.losses.Adversarial`.
    label_smoothing : float or None, default=None
        The discriminator is to give real samples 1 - label_smoothing, not 1, in [0, 1); None is 0.1, and 0 with "hinge",
        which has no targets to smooth. Made samples are not smoothed.
    discriminator_steps : int, default=1
        Steps of the discriminator for each of the generator.
    instance_noise : float, default=0.5
        Noise on all that the discriminator sees, in parts of the standard deviation of X, >= 0; it goes down to
        0 in the course of the fit. Without it the first mode that the generator finds is often the last. Reference:
        Soenderby et al. 2016, arXiv:1610.04490.
    generator_optimizer, discriminator_optimizer : str, Optimizer or None, default=None
        None is ``Adam(Polynomial(2e-3), beta_1=0.5)``: a rate that goes down to 0 in the course of the fit. A slower
        generator is no cure for what goes wrong (it finds fewer modes).
    average : float or None, default=None
        Decay of a moving average of the generator's weights, in (0, 1), with which `sample` then makes samples: for rates
        that do not go down to 0. None takes the last weights.
    dtype : {"float32", "float64", "bfloat16"}, default="float32"
        Float type of both; "bfloat16" is float32 with products of bfloat16 in training, as in `Model`.
    random_state : int, RandomState, Generator or None, default=None
        Seed of weights, codes and the order of samples. The same seed gives the same bits on any number of threads.

    Attributes
    ----------
    generator, discriminator : Model
        The two networks, once `fit` or `build` has been called, None before; both are ordinary models.
    classes : ndarray or None
        Labels, in the order of the generator's one-hot inputs and the discriminator's scores.
    history : History or None
        Of the last fit: "discriminator_loss", "generator_loss", "rate", "seconds".
    epochs, step : int
        Epochs and steps of the generator in all.
    optimizers : tuple of Optimizer
        Of the generator and of the discriminator.

    Raises
    ------
    ValueError
        If an argument is not one of those named above.

    Notes
    -----
    With labels, the discriminator has a score for each class, and of a sample that of its class alone counts: a projection
    discriminator without the part that all classes share (Miyato & Koyama 2018, arXiv:1802.05637). Any stack of layers
    takes labels that way.

    Real and made samples go through the discriminator as batches of their own, so that each has batch statistics of its own.
    A step costs the generator's way forward and back, the discriminator's for real and made samples, and the gradient of its
    input: nothing is done twice, but for generators of images without BatchNorm, which go forward again on their way back.

    References
    ----------
    Goodfellow, I. et al. (2014). Generative adversarial networks. arXiv:1406.2661.
    Salimans, T. et al. (2016). Improved techniques for training GANs (one-sided label smoothing). arXiv:1606.03498.
    Yazici, Y. et al. (2018). The unusual effectiveness of averaging in GAN training. arXiv:1806.04498.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import GAN, layers
    >>> angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 512)
    >>> circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> gan = GAN([layers.Dense(32, "relu"), layers.Dense(2)], [layers.Dense(32, "relu")], latent=4, random_state=0)
    >>> history = gan.fit(circle, epochs=2, batch_size=64)
    >>> gan.sample(3, random_state=0).shape
    (3, 2)
    """

    def __init__(
        self,
        generator: Sequence[Layer],
        discriminator: Sequence[Layer],
        latent: int = 64,
        loss: str = "non_saturating",
        label_smoothing: float | None = None,
        discriminator_steps: int = 1,
        instance_noise: float = 0.5,
        generator_optimizer: str | Optimizer | None = None,
        discriminator_optimizer: str | Optimizer | None = None,
        average: float | None = None,
        dtype: DTypeLike = "float32",
        random_state: Any = None,
    ) -> None:
        if not isinstance(loss, str) or loss not in KINDS:
            raise ValueError(f"loss must be one of {KINDS}, got {loss!r}")
        hinge = loss == "hinge"
        if label_smoothing is None:
            label_smoothing = 0.0 if hinge else SMOOTHING
        self.label_smoothing = check_number("label_smoothing", label_smoothing, "[0, 1)")
        if hinge and self.label_smoothing:
            raise ValueError(f"label_smoothing must be 0 or None with loss='hinge', got {label_smoothing!r}")
        self.layers = named("generator", check_layers, generator), named("discriminator", check_layers, discriminator)
        self.latent, self.loss = check_count("latent", latent), loss
        self.discriminator_steps = check_count("discriminator_steps", discriminator_steps)
        self.instance_noise = check_number("instance_noise", instance_noise, "[0, inf)")
        self.average = None if average is None else check_number("average", average, "(0, 1)")
        self._optimizers = (
            named("generator_optimizer", self._optimizer, generator_optimizer, self.average),
            named("discriminator_optimizer", self._optimizer, discriminator_optimizer),
        )
        self.dtype, self._precision = check_dtype(dtype)
        self.seed = rng.check_seed(random_state)
        self.generator = self.discriminator = self.classes = None
        self.trained = Trained()

    @staticmethod
    def _optimizer(given, average=None):
        optimizer = Adam(Polynomial(RATE), beta_1=BETA_1) if given is None else get_optimizer(given)
        check_optimizer(optimizer)
        changes = {"average": average} if average is not None else {}
        return optimizer.replace(**changes)

    # ------------------------------------------------------------ training

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        epochs: int = 1,
        batch_size: int = 64,
        callbacks: Sequence[Callback] = (),
        verbose: int | str = 0,
        shuffle: bool = True,
        *,
        resume: bool = False,
    ) -> History:
        """Train both networks for a number of epochs; a second fit goes on with the weights of the first.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Real samples, finite, in the range of the generator's last activation (tanh: -1 to 1).
        y : array-like of shape (n,) or None
            Labels: samples are then made by class.
        epochs : int, default=1
            Passes over the samples; with `resume` those already done are counted.
        batch_size : int, default=64
            Real samples in a step, and made ones. What does not fill a batch is left out of an epoch, other samples each
            time.
        callbacks, verbose, shuffle
            As for `Model.fit`; callbacks get this GAN as their model. `EarlyStopping`, `ReduceLROnPlateau` and
            `GradientMonitor` are of one network and its loss.
        resume : bool, default=False
            Whether to go on with the last fit of this GAN, from a file perhaps, up to `epochs` in all, bit for bit as if it
            had not ended.

        Returns
        -------
        History
            "discriminator_loss" and "generator_loss", means over the steps, each before its step; "rate", the generator's,
            and "seconds".

        Raises
        ------
        ValueError
            If the data or an argument does not fit; raised before anything is changed.

        Warns
        -----
        RuntimeWarning
            If training has stopped because a loss was not finite.
        sklearn.exceptions.ConvergenceWarning
            If more than 1 % of the steps were left out (not finite), the discriminator believes nothing any more, all samples
            made are the same, or all that were given are of one class.

        Notes
        -----
        Ctrl-C ends the training and raises KeyboardInterrupt; both networks stay usable.
        """
        epochs, batch_size = check_count("epochs", epochs), check_count("batch_size", batch_size)
        callbacks = [*check_callbacks(callbacks), *reporter(verbose)]
        for callback in callbacks:
            if isinstance(callback, (EarlyStopping, ReduceLROnPlateau, GradientMonitor)):
                raise ValueError(f"{callback!r} is of one network and its loss, a GAN has two; take another callback")
        X, labels = check_samples(self, X, y)
        before = dict(self.__dict__) if self.generator is None else None
        if before:
            self.build(X.shape[1:], labels)
        check_pair(self)
        numbers = None if labels is None else class_numbers(self.classes, labels)
        training = AdversarialTraining(self, X, numbers, min(batch_size, len(X)))
        run = AdversarialFit(self, training, y, epochs, callbacks=callbacks, shuffle=shuffle, resume=resume, has_rate=True)
        if run.epoch >= run.epochs:
            return run.history
        for model in (self, self.generator, self.discriminator):
            guard(model).begin()
        if not resume or self.history is None:
            for model in self._models:
                model.trained.fit_start = model.step, 0
        counts = [(model.skipped_steps, model.step) for model in self._models]
        try:
            with run:
                fit_in_turns(run)
        finally:
            if not run.began and before:  # a callback has refused: as if nothing had been built
                self.__dict__.update(before)
        say_what_went_wrong(self, X, numbers, counts)
        return run.history

    # ------------------------------------------------------------ samples

    def sample(self, n: int, random_state: Any = None, *, labels: ArrayLike | None = None) -> np.ndarray:
        """Samples that the generator makes of new codes, with averaged weights if there are some.

        Parameters
        ----------
        n : int
            How many.
        random_state : int, RandomState, Generator or None, default=None
            Of the codes; the same seed gives the same samples.
        labels : array-like of shape (n,), one label, or None
            Classes of the samples, for a GAN that knows some; None draws them.

        Returns
        -------
        ndarray of shape (n, ...), of the GAN's float type

        Raises
        ------
        ValueError
            If there are no networks yet, or a label is not known.
        """
        self._built()
        n, source = check_count("n", n, 0), np.random.default_rng(rng.check_seed(random_state))
        codes = source.standard_normal((n, self.latent), self.dtype)
        if self.classes is None:
            if labels is not None:
                raise ValueError("this GAN knows no classes: it was fitted without y")
            return self.make(codes)
        if labels is None:
            labels = self.classes[source.integers(len(self.classes), size=n)]
        labels = as_labels([labels] * n if np.ndim(labels) == 0 else labels, "labels") if n else self.classes[:0]
        if labels.shape != (n,):
            raise ValueError(f"labels must be {n} labels or one, got shape {labels.shape}")
        one_hot = np.zeros((n, len(self.classes)), self.dtype)
        one_hot[np.arange(n), class_numbers(self.classes, labels)] = 1
        return self.make(np.concatenate([codes, one_hot], axis=1))

    def make(self, codes: ArrayLike) -> np.ndarray:
        """Samples that the generator makes of codes; on the way from one code to another they change little by little.

        Parameters
        ----------
        codes : array-like of shape (n, latent), or (n, latent + k) with k classes
            Finite or not: NaN in a code gives NaN in its sample. Behind the numbers of a code stands its one-hot class.

        Returns
        -------
        ndarray of shape (n, ...), of the GAN's float type

        Raises
        ------
        ValueError
            If there are no networks yet, or codes have another shape.
        """
        network, averaged = self._built(), self.generator.averaged
        shape = np.shape(codes)
        if len(shape) != 2 or shape[1] != self.code_size:
            raise ValueError(f"codes must have shape (n, {self.code_size}), got {shape}")
        if averaged is not None:
            network = network._replace(params=averaged, idle=[])
        return self.generator._infer(network, codes, True)

    def save(self, path: str | os.PathLike) -> None:
        """Write both networks, and all that training goes on from, to a file that cannot execute code; see `Model.save`."""
        save_gan(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike, parts: Sequence[type] = (), max_bytes: int | None = None) -> Self:
        """A GAN from a file that `save` wrote; see `Model.load`."""
        return load_gan(cls, path, parts, max_bytes)

    def __repr__(self):
        state = "not built" if self.generator is None else f"{self.generator!r}, {self.discriminator!r}"
        return f"<GAN of {self.latent} numbers, {state}>"
