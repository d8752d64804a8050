"""The two networks of a GAN: laid out for samples and classes, copied, locked, and seen as one by fits and callbacks."""

import contextlib
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from ._guard import guard
from .adversarial_checks import as_labels, draw_weights, named
from .history import History
from .layers import Dense
from .losses import Adversarial, Linear
from .model import Model
from .network import Trained
from .optimizers import Optimizer
from .specs import check_count


class Pair:
    """A generator and a discriminator; `GAN` sets what they are made of, and trains them."""

    @property
    def precision(self) -> str:
        """Of the products of training: "bfloat16", or the name of `dtype`."""
        return self.__dict__.get("_precision", self.dtype.name)  # pickles of before have none

    def build(self, input_shape: int | Sequence[int], classes: ArrayLike | None = None) -> Self:
        """Lay out both networks for samples of that shape, and of these classes, if any, and draw their initial weights.

        Parameters
        ----------
        input_shape : tuple of int or int
            Shape of one sample.
        classes : array-like of shape (k,) or None
            Labels; one that occurs again is the same class.

        Returns
        -------
        GAN
            Itself.

        Raises
        ------
        ValueError
            If the layers do not fit the shape: the generator makes others, say.
        """
        shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
        shape = tuple(check_count("input_shape", n) for n in shape)
        classes = None if classes is None else np.unique(as_labels(classes, "classes"))
        k, (generator, discriminator) = 0 if classes is None else len(classes), self.layers
        kinds = {"dtype": self.precision, "random_state": self.seed}
        of_generator, of_discriminator = self._optimizers
        generator = Model(generator, Linear(), of_generator, **kinds)  # which has no link: it predicts samples
        named("generator", generator.build, self.latent + k)
        draw_weights(generator)
        if generator.layout.shapes[-1] != shape:
            raise ValueError(f"the generator makes samples of shape {generator.layout.shapes[-1]}, not {shape}, those of X")
        kinds["random_state"] = self.seed + 1  # not the weights of the generator again
        discriminator = Model([*discriminator, Dense(max(1, k))], Adversarial(self.loss), of_discriminator, **kinds)
        named("discriminator", discriminator.build, shape)
        draw_weights(discriminator)
        if len(discriminator.layout.shapes[-1]) != 1:
            raise ValueError(
                f"the discriminator must make vectors of samples, its last layer gives {discriminator.layout.shapes[-2]}; "
                "add layers.Flatten() or layers.GlobalAvgPool2D()"
            )
        self.generator, self.discriminator, self.classes, self.trained = generator, discriminator, classes, Trained()
        return self

    def _built(self):
        """The generator's network; ValueError if there is none yet."""
        if self.generator is None:
            raise ValueError("this GAN has no networks yet: call fit(X) or build(input_shape) first")
        return self.generator.network

    def copy(self) -> Self:
        """A GAN that is equal and independent."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__, trained=self.trained.copy())
        if self.generator is not None:
            with self.locked():
                new.generator, new.discriminator = self.generator.copy(), self.discriminator.copy()
        return new

    __copy__ = copy

    @property
    def code_size(self) -> int:
        """Numbers that the generator takes: a code, and a one-hot class."""
        return self.latent + (0 if self.classes is None else len(self.classes))

    @contextlib.contextmanager
    def locked(self):
        """Nobody else reads or writes the two networks meanwhile."""
        self._built()
        with guard(self), guard(self.generator), guard(self.discriminator):
            yield

    # What fits and their callbacks ask a model for.

    network = property(_built)
    params = property(lambda self: self._built().params)
    optimizer = property(lambda self: self.optimizers[0])
    step = property(lambda self: 0 if self.generator is None else self.generator.step)
    skipped_steps = property(lambda self: sum(model.skipped_steps for model in self._models))
    _models = property(lambda self: () if self.generator is None else (self.generator, self.discriminator))

    @property
    def optimizers(self) -> tuple[Optimizer, Optimizer]:
        """Those of the generator and of the discriminator."""
        return tuple(model.optimizer for model in self._models) or self._optimizers

    @property
    def epochs(self):
        return self.trained.epochs

    @epochs.setter
    def epochs(self, value):
        self.trained.epochs = value

    @property
    def history(self) -> History | None:
        return self.trained.history

    @history.setter
    def history(self, value):
        self.trained.history = value
