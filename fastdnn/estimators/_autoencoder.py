"""What Autoencoder and VariationalAutoencoder share: networks that make their own input of few numbers."""

import copy
import math
import warnings
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from ..callbacks import Callback, EarlyStopping
from ..inference import chunks
from ..layers import Dense, Flatten, GaussianNoise, Layer, Reshape
from ..layout import Layout
from ..losses import Adversarial, CrossEntropy, Hinge, Linear, Loss, PolicyGradient, get_loss
from ..model import Model
from ..network import Network
from ..optimizers import Optimizer
from ..schedules import Schedule
from ._parameters import NestedParameters, made_optimizer
from ._restore import unchanged_on_error

SENSELESS = CrossEntropy, PolicyGradient, Hinge, Linear, Adversarial  # losses whose targets are no samples

PARAMETERS = """n_components : int, default=16
        Numbers of a code.

    hidden_layer_sizes : array-like of int, default=(128,)
        Units of the dense layers of the encoder; the decoder has them the other way round. () for none.

    activation : str or ActivationFunction, default='relu'
        Of these layers.

    encoder : list of Layer or None, default=None
        Layers before the code, in place of dense ones; the layer that makes the code is added.

    decoder : list of Layer or None, default=None
        Layers that take a code; a Dense layer for the samples' numbers is added where they do not make samples of the shape
        of X.

    noise : float, default=0.0
        Standard deviation of the noise on the samples in training, >= 0: with some, the network learns to remove it.

    loss : str or Loss, default='squared_error'
        A loss of numbers, or 'log_loss' for numbers between 0 and 1.

    optimizer : str or Optimizer, default='adam'
        Name in `fastdnn.optimizers.OPTIMIZERS`, or one with settings of its own.

    schedule : Schedule or None, default=None
        Learning rate of each step, in place of the optimizer's.

    epochs : int, default=100
        Largest number of passes over the samples.

    batch_size : int or 'auto', default='auto'
        Samples in a step; 'auto' is min(200, n_samples).

    early_stopping : bool, default=False
        Whether to stop when the error of held out samples has not fallen for `patience` epochs, and to put the best weights
        back.

    patience : int, default=10
        Epochs without improvement that early stopping bears.

    validation_fraction : float or None, default=None
        Part of the samples to hold out, in (0, 1). None is 0.1 with early stopping, otherwise nothing.

    callbacks : list of Callback or callable, default=None
        See `fastdnn.callbacks`. A fit works on copies, which `callbacks_` holds.

    random_state : int, RandomState instance or None, default=None
        Source of weights, shuffles and noise. The same int gives the same bits on any number of threads.

    verbose : bool, int or 'log', default=0
        As in `fastdnn.Model.fit`."""

ATTRIBUTES = """model_ : Model
        The network, encoder and decoder one after the other.

    n_encoder_layers_ : int
        How many layers of it make a code.

    n_components_ : int
        Numbers of a code.

    history_ : History
        What happened, epoch by epoch.

    callbacks_ : list of Callback
        The copies that the fit worked with.

    n_features_in_ : int
        Features seen in fit.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X had string column names."""


class BaseAutoencoder(NestedParameters, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base of Autoencoder and VariationalAutoencoder; not for direct use."""

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's convention
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [str, HasMethods("forward_kernel")],
        "encoder": [list, tuple, None],
        "decoder": [list, tuple, None],
        "noise": [Interval(Real, 0, None, closed="left")],
        "loss": [str, Loss],
        "optimizer": [str, Optimizer],
        "schedule": [Schedule, None],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "callbacks": [list, tuple, callable, Callback, None],
        "random_state": ["random_state"],
        "verbose": ["verbose", StrOptions({"log"})],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit encoder and decoder to samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Samples, finite and scaled alike: an error of 1 counts the same in each number.
        y : ignored
            Part of scikit-learn's interface.

        Returns
        -------
        self : object
            The fitted estimator. Ctrl-C ends the fit early with a warning; the estimator is fitted then, too.

        Raises
        ------
        ValueError
            If the data or a parameter does not fit, or training diverged.
        """
        with unchanged_on_error(self):
            return self._fitted(X)

    def _fitted(self, X):
        X = validate_data(self, X, dtype=(np.float64, np.float32), allow_nd=True)
        loss = get_loss(self.loss)
        if isinstance(loss, SENSELESS):
            raise ValueError(f"loss must be one of numbers, such as 'squared_error' or 'log_loss', got {self.loss!r}")
        before = self._encoder_layers(X.shape[1:])
        layers = [*before, *self._decoder_layers(X.shape[1:])]
        first = [GaussianNoise(float(self.noise))] if self.noise else []
        seed = int(check_random_state(self.random_state).randint(2**31))
        model = Model([*first, *layers], self.loss, made_optimizer(self), X.dtype, seed)
        given = self.callbacks
        callbacks = [] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]
        callbacks = copy.deepcopy(callbacks)
        if self.early_stopping:
            callbacks.append(EarlyStopping("val_loss", self.patience))
        fraction = self.validation_fraction or (0.1 if self.early_stopping else None)
        batch_size = min(200, len(X)) if self.batch_size == "auto" else int(self.batch_size)
        try:
            model.fit(
                X, X, epochs=int(self.epochs), batch_size=batch_size, callbacks=callbacks, verbose=self.verbose,
                validation_fraction=None if fraction is None else float(fraction),
            )  # fmt: skip
        except KeyboardInterrupt:
            if model.history is None:
                raise
            warnings.warn("Training interrupted by user.", stacklevel=4)
        if not (np.isfinite(model.params).all() and np.isfinite(model.predict(X[:32])).all()):
            raise ValueError("training diverged: the weights are not finite. Scale X, or take a smaller learning rate")
        self.model_, self.history_, self.callbacks_ = model, model.history, callbacks
        self.n_encoder_layers_, self.n_components_ = len(first) + len(before), self.n_components
        return self

    def _sizes(self):
        return list(self.hidden_layer_sizes) if np.ndim(self.hidden_layer_sizes) else [self.hidden_layer_sizes]

    def _checked_layers(self, name):
        layers = list(getattr(self, name))
        if not all(isinstance(layer, Layer) for layer in layers):
            raise ValueError(f"{name} must be a list of fastdnn layers, got {layers!r}")
        if name == "encoder" and layers and layers[0].takes_ids:
            raise ValueError(f"encoder cannot begin with {layers[0]!r}: ids are no numbers that a decoder could come near")
        return layers

    def _encoder_layers(self, shape):
        """The layers up to the code."""
        if self.encoder is None:
            layers = [Flatten()] if len(shape) > 1 else []
            layers += [Dense(size, self.activation) for size in self._sizes()]
        else:
            layers = self._checked_layers("encoder")
            if len(Layout(layers, shape).shapes[-1] if layers else shape) > 1:
                layers.append(Flatten())
        return [*layers, *self._code_layers()]

    def _decoder_layers(self, shape):
        """The layers from the code to samples of that shape."""
        if self.decoder is None:
            layers = [Dense(size, self.activation) for size in self._sizes()[::-1]]
        else:
            layers = self._checked_layers("decoder")
        made = Layout(layers, (self.n_components,)).shapes[-1] if layers else (self.n_components,)
        if made != shape or not layers or self.decoder is None:
            layers += [Flatten()] if len(made) > 1 else []
            layers += [Dense(math.prod(shape)), *([Reshape(shape)] if len(shape) > 1 else [])]
        return layers

    # ------------------------------------------------------------ codes and samples

    def _checked(self, X):
        check_is_fitted(self)
        return validate_data(
            self, X, dtype=(np.float64, np.float32), reset=False, allow_nd=len(self.model_.layout.shapes[0]) > 1
        )

    @property
    def _n_features_out(self):
        return self.n_components_

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Codes of samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Samples.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
        """
        X = self._checked(X)
        return self.model_.forward(X, layer=self.n_encoder_layers_ - 1)

    def inverse_transform(self, Z: ArrayLike) -> np.ndarray:
        """What the decoder makes of codes.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features) or (n_samples, ...)
        """
        check_is_fitted(self)
        return self.model_._infer(self._decoder(), check_array(Z, dtype=self.model_.dtype), False)

    def _decoder(self):
        """The `Network` behind the code."""
        whole, n = self.model_.network, self.n_encoder_layers_
        layers, encoder = whole.layers[n:], Layout(whole.layers[:n], whole.layout.shapes[0])
        layout = Layout(layers, (self.n_components_,))  # its parameters stand behind the encoder's
        params, state = whole.params[whole.layout.size - layout.size :], whole.state[encoder.state_size :]
        return Network(layers, whole.loss, layout, params, state, [])

    def reconstruction_error(self, X: ArrayLike) -> np.ndarray:
        """Mean squared difference of the numbers of each sample and of what becomes of it on its way through a code.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Samples.

        Returns
        -------
        errors : ndarray of shape (n_samples,), float64
        """
        X, found = self._checked(X), []
        for part in chunks(len(X), math.prod(X.shape[1:])):
            difference = self.model_.predict(X[part]).astype(np.float64) - X[part]
            found.append((difference**2).reshape(len(difference), -1).mean(axis=1))
        return np.concatenate(found)

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Minus the reconstruction error of each sample: the lower, the less it is like those of the fit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Samples.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
        """
        return -self.reconstruction_error(X)

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Minus the mean reconstruction error, so that more is better; y is ignored."""
        return float(self.score_samples(X).mean())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
