"""What DNNClassifier and DNNRegressor share: a fit of any list of layers by `Model.fit`'s means."""

import warnings
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ..callbacks import Callback, EarlyStopping
from ..data.blocks import as_stream
from ..fitting import fit
from ..inputs import check_sparse, check_weights
from ..layers import Dense, Dropout, Layer
from ..model import Model
from ..optimizers import Optimizer, get_optimizer
from ..preparing import prepare
from ..schedules import Schedule, get_schedule
from ..sources import Source
from ..validation import SPLITS, take
from ._bridge import Bridge, callbacks_of
from ._freezing import Freezable
from ._parameters import NestedParameters, made_optimizer
from ._predict import checked, predictions
from ._restore import unchanged_on_error
from ._sklearn import ToSklearn
from ._steps import steps_of, takes_ids
from ._streams import FitsStreams


def rows_of(given, checked, rows):
    """Rows of what the user gave, if it is a frame or a series (names matter), otherwise of what it was checked to be."""
    return _safe_indexing(given if hasattr(given, "iloc") or hasattr(given, "filter") else checked, rows)


class BaseDNN(
    FitsStreams,
    Freezable,
    ToSklearn,
    NestedParameters,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Base of DNNClassifier and DNNRegressor; not for direct use."""

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's convention
        "layers": [list, tuple, None],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [str, HasMethods("forward_kernel"), list, tuple],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "optimizer": [str, Optimizer],
        "schedule": [Schedule, None],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "accumulate": [Interval(Integral, 1, None, closed="left")],
        "mixup": [Interval(Real, 0, None, closed="left")],
        "cutmix": [Interval(Real, 0, None, closed="left")],
        "shuffle": ["boolean"],
        "early_stopping": ["boolean"],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "min_delta": [Interval(Real, 0, None, closed="left")],
        "scoring": [str, callable, list, tuple, dict, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "validation_split": [StrOptions({"auto", *SPLITS})],
        "callbacks": [list, tuple, callable, Callback, None],
        "transform_layer": [Integral],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose", StrOptions({"log"})],
    }

    # ------------------------------------------------------------ fit

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        shuffle_buffer: int | None = None,
    ) -> Self:
        """Fit the network to samples X and targets y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or array of shape (n_samples, ...)
            Samples; more than two dimensions where `layers` take them. Or a stream of blocks (X, y) or (X, y,
            sample_weight), as for `Model.fit`: `fastdnn.data.ParquetSource`, a list, a function that gives a generator. A
            classifier reads its targets once before, to find the classes.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, label indicators or numbers. None with a stream.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        X_val, y_val : array-like, default=None
            Samples and targets to validate with, in place of a part held out. In a pipeline they need
            ``Pipeline(transform_input=["X_val"])`` and metadata routing. Where X is a stream, X_val may be another one.
        sample_weight_val : array-like, default=None
            Weights of those.
        groups : array-like of shape (n_samples,), default=None
            Group of each sample, for ``validation_split="grouped"``.
        classes : array-like, default=None
            Of a stream: all labels, which then nobody needs to look for.
        shuffle_buffer : int, default=None
            Of a stream: samples among which a batch is drawn; None is what 64 MB hold.

        Returns
        -------
        self : object
            The fitted estimator. Ctrl-C ends the fit early with a warning; the estimator is fitted then, too.

        Raises
        ------
        ValueError
            If the data or a parameter does not fit, or training diverged.
        """
        validation = X_val, y_val, sample_weight_val
        stream = as_stream(X, y)
        if stream is None:
            if classes is not None or shuffle_buffer is not None:
                raise ValueError("classes and shuffle_buffer are for streams of blocks; leave them out for arrays")
            return self._fit(X, y, sample_weight, validation, groups, incremental=False)
        if sample_weight is not None or groups is not None:
            raise ValueError("sample_weight and groups cannot be given with a stream; give blocks (X, y, sample_weight)")
        with unchanged_on_error(self):
            return self._fitted_stream(stream, validation, classes, shuffle_buffer)

    def _fit(self, X, y, sample_weight, validation, groups, incremental):
        with unchanged_on_error(self):
            return self._fitted(X, y, sample_weight, validation, groups, incremental)

    def _fitted(self, X, y, sample_weight, validation, groups, incremental):
        raw_X, raw_y, metadata = X, y, {} if sample_weight is None else {"sample_weight": sample_weight}
        first = not hasattr(self, "model_") or not (self.warm_start or incremental)
        check_sparse(X)  # before SciPy's conversions, which trust the indices and write where they point
        X, y = self._validate_input(X, y, incremental, reset=first)
        ids = takes_ids(self)
        dtype = self.model_.dtype if not first else np.dtype("float32") if ids else X.dtype
        source = Source(X, dtype, ids)
        if sample_weight is not None:
            sample_weight = np.asarray(_check_sample_weight(sample_weight, X), np.float64)
        self._check_class_weight(X)
        factors = self._class_factors(y, sample_weight)
        n_targets, self.out_activation_ = self._count_outputs(y), self._output_activation()
        loss = self._make_loss()
        layers, optimizer = [*self._hidden_layers(), Dense(loss.n_scores(n_targets))], made_optimizer(self)
        model = self._network(layers, loss, optimizer, dtype, first)
        callbacks = self._callbacks(raw_X, raw_y, metadata, incremental)
        run = prepare(
            model, source, self._targets(X, y, loss), sample_weight=sample_weight, batch_size=self._batch_size(source.n),
            accumulate=self.accumulate, mixup=self.mixup, cutmix=self.cutmix,
            shuffle=self.shuffle, verbose=self.verbose, estimator=self, factors=factors,
            **self._epochs(model, incremental),
            **self._validation((raw_X, X), raw_y, y, loss, dtype, validation, groups, incremental),
            callbacks=callbacks,
        )  # fmt: skip
        return self._carry_out(run, callbacks, n_targets)

    def _carry_out(self, run, callbacks, n_targets):
        """A `Fit` that is prepared, and what is known after it."""
        model = run.model
        self.model_, self.history_, self.n_outputs_ = model, run.history, n_targets  # scorers predict during the fit
        self.callbacks_ = [c for c in callbacks if not isinstance(c, Bridge)]
        try:
            fit(run)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=6)
        if not np.isfinite(model.params).all():
            raise ValueError("training diverged: the weights are not finite. Scale X, or take a smaller learning rate")
        self.n_epochs_ = run.epoch
        return self

    def _fit_more(self, X, y, sample_weight):
        """What `partial_fit` does, its input checked by the task."""
        return self._fit(X, y, sample_weight, (None, None, None), None, incremental=True)

    def _check_solver(self):
        if get_optimizer(self.optimizer).full_batch:
            raise AttributeError(f"partial_fit is only available for stochastic optimizers, not for {self.optimizer!r}")
        return True

    def _hidden_layers(self):
        """The layers before the output layer."""
        if self.layers is not None:
            if not all(isinstance(layer, Layer) for layer in self.layers):
                raise ValueError(f"layers must be a list of fastdnn layers, got {self.layers!r}")
            return list(self.layers)
        sizes = list(self.hidden_layer_sizes) if np.ndim(self.hidden_layer_sizes) else [self.hidden_layer_sizes]
        several = isinstance(self.activation, (list, tuple))
        activations = list(self.activation) if several else [self.activation] * len(sizes)
        rates = list(self.dropout) if np.ndim(self.dropout) else [self.dropout] * len(sizes)
        for name, values in (("activation", activations), ("dropout", rates)):
            if len(values) != len(sizes):
                raise ValueError(f"{name} must be one, or one for each of the {len(sizes)} hidden layers, got {values!r}")
        found = []
        for size, activation, rate in zip(sizes, activations, rates, strict=True):
            found += [Dense(size, activation), *([Dropout(rate)] if rate else [])]
        return found

    def _network(self, layers, loss, optimizer, dtype, first):
        """A new network, or a copy of the one there is to go on with, which a failing fit must not touch."""
        if first:
            seed = int(check_random_state(self.random_state).randint(2**31))
            return Model(layers, loss, optimizer, dtype, seed)
        model = self.model_.copy()
        if list(model.layers) != layers:
            try:
                model.layers = layers
            except ValueError as error:
                raise ValueError(
                    f"the network was built with {list(model.layers)}, now it would be {layers}, which has not the same "
                    "parameters; call fit with warm_start=False to start anew"
                ) from error
        if (type(model.loss), model.loss) != (type(loss), loss):
            model.loss = loss
        if model.optimizer != optimizer:
            model.optimizer = optimizer
        return model

    def _check_class_weight(self, X):
        if self._steps(X) and getattr(self, "class_weight", None) is not None:
            raise ValueError("class_weight must be None where each step has a label: classes have no weights there")

    def _steps(self, X):
        return steps_of(self, X)

    def _targets(self, X, y, loss):
        """y as the loss wants it: class numbers or numbers, of samples or, (n, time), of their steps."""
        y, steps = y.argmax(axis=1) if loss.labels and y.ndim > 1 else y, self._steps(X)
        return y if steps is None else y.reshape(-1, steps, *y.shape[1:])

    def _batch_size(self, n):
        return min(200, n) if self.batch_size == "auto" else int(self.batch_size)

    def _epochs(self, model, incremental):
        """How many epochs; of a `partial_fit` one more than there were, in one history."""
        if not incremental:
            return {"epochs": int(self.epochs)}
        if get_schedule(model.optimizer.learning_rate).spans_fit:
            raise ValueError(
                f"partial_fit does not know how many steps {model.optimizer.learning_rate!r} is to have; give total"
            )
        done = 0 if model.history is None else model.epochs - model.trained.fit_start[1]
        return {"epochs": done + 1, "resume": True}

    def _validation(self, both_X, raw_y, y, loss, dtype, given, groups, incremental):
        """What `prepare` wants to know of validation: samples given, or a part to hold out, and what scorers get."""
        X_val, y_val, weights = given
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both or neither")
        if X_val is None and weights is not None:
            raise ValueError("sample_weight_val needs X_val and y_val")
        fraction = self.validation_fraction
        if X_val is not None:
            if fraction is not None:
                raise ValueError("validation_fraction must be None where X_val and y_val are given")
            check_sparse(X_val, "X_val")
            try:
                X, encoded = self._encode(X_val, y_val)
            except ValueError as error:
                raise ValueError(f"X_val and y_val: {error}") from error
            weights = check_weights(weights, X.shape[0], "sample_weight_val")
            data = Source(X, dtype, takes_ids(self)), self._targets(X, encoded, loss), weights
            return {"validation_data": data, "scoring": self.scoring, "judge": lambda rows: (self, X_val, y_val)}
        if incremental or (fraction is None and not self.early_stopping):
            if incremental and (self.early_stopping or fraction):
                raise ValueError(
                    "partial_fit does not hold samples out: early_stopping must be False, validation_fraction None"
                )
            if groups is not None:
                raise ValueError("groups say what is held out: give validation_fraction, or early_stopping=True, too")
            return {"scoring": None if incremental else self.scoring}
        split = self.validation_split
        fraction, strata = float(fraction or 0.1), y.argmax(axis=1) if y.ndim > 1 and y.shape[1] > 1 else np.ravel(y)
        by_steps = self._steps(both_X[1]) is not None
        if split == "auto":
            usual = "random" if by_steps else self._default_split(strata, fraction)
            split = usual if groups is None else "grouped"
        return {
            "validation_fraction": fraction,
            "validation_split": split,
            "strata": None if by_steps else strata,
            "groups": groups,
            "scoring": self.scoring,
            "judge": lambda rows: (self, rows_of(*both_X, rows), take(raw_y, rows)),
        }

    def _callbacks(self, X, y, metadata, incremental):
        found = callbacks_of(self, X, y, metadata, "model_")
        if self.early_stopping and not incremental:
            scoring = self.scoring
            first = next(iter(scoring), None) if isinstance(scoring, (list, tuple, dict)) else scoring
            first = getattr(first, "__name__", "score") if callable(first) else first
            found.append(EarlyStopping(f"val_{first}" if first else "val_loss", self.patience, self.min_delta))
        return found

    # ------------------------------------------------------------ prediction

    def _predictions(self, X):
        """(n, n_scores) predictions in the network's float type, in chunks: beyond them and X no memory grows with n."""
        return predictions(self, self._fitted_network(), X)[0]

    def _fitted_network(self):
        """The network; NotFittedError if there is none."""
        check_is_fitted(self)
        return self.model_

    def _scores(self, X):
        """(n, n_scores) scores, before the link of the loss."""
        check_is_fitted(self)
        return self.model_.forward(checked(self, self.model_, X))

    def _hidden(self):
        """Number of the layer whose output `transform` gives; None if there are no hidden layers."""
        n = len(self.model_.layers) - 1
        if not n:
            return None
        if not -n <= self.transform_layer < n:
            raise ValueError(f"transform_layer must be from {-n} to {n - 1}, the hidden layers, got {self.transform_layer}")
        return self.transform_layer % n

    @property
    def _n_features_out(self):
        number, shapes = self._hidden(), self.model_.layout.shapes
        return int(np.prod(shapes[0])) if number is None else self._embed(np.zeros((0, *shapes[0]))).shape[1]

    def _embed(self, X):
        Z = self.model_.forward(X, layer=self._hidden())
        return Z.reshape(len(Z), int(np.prod(Z.shape[1:])))

    def transform(self, X: Any) -> np.ndarray:
        """What a hidden layer gives for samples: features that the network has learned.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        Z : ndarray of shape (n_samples, units)
            Output of the layer `transform_layer`; the samples themselves where there are no hidden layers.
        """
        check_is_fitted(self)
        X = checked(self, self.model_, X)
        if self._hidden() is None:
            X = X.toarray() if scipy.sparse.issparse(X) else X
            return X.reshape(len(X), -1).astype(self.model_.dtype, copy=False)
        return self._embed(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.layers or bool(getattr(self.layers[0], "takes_sparse", False))
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
