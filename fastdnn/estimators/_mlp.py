"""What the two drop-in estimators share: scikit-learn's fit, step by step in its order, on fastdnn's engine."""

import copy
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ..callbacks import Callback
from ..convergence import collapsed, warn
from ..inputs import check_range, check_sparse, times
from ..layers import ACTIVATIONS, ActivationFunction, Dense, Dropout
from ..layers.activation_function import ALIASES, check_activation
from ..model import Model
from ..schedules import Schedule
from ..sources import Source
from ..specs import check_number
from ._bridge import callbacks_of
from ._freezing import Freezable
from ._mlp_solver import SOLVERS
from ._mlp_solving import Solving
from ._predict import predictions
from ._restore import unchanged_on_error
from ._sklearn import FromSklearn, ToSklearn
from ._weights import views, weights_property, write_all


class BaseMLP(Freezable, ToSklearn, FromSklearn, Solving, CallbackSupportMixin, BaseEstimator):
    """Base of MLPClassifier and MLPRegressor; not for direct use."""

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's convention
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({*ACTIVATIONS, *ALIASES}), ActivationFunction, list, tuple],
        "solver": [StrOptions({"lbfgs", *SOLVERS})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "l1": [Interval(Real, 0, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "clip_value": [Interval(Real, 0, None, closed="neither"), None],
        "schedule": [Schedule, None],
        "callbacks": [list, tuple, callable, Callback, None],
    }

    coefs_ = weights_property(".kernel", "coefs_")
    intercepts_ = weights_property(".bias", "intercepts_")

    # ------------------------------------------------------------ fit

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model to samples X and targets y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. float32 and float64 are computed in their own precision, anything else in float64. A sparse matrix
            is never made dense.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, label indicators or numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; a batch's loss and gradient are divided by the sum of its weights.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data or a parameter does not fit, or training diverged to non-finite weights.
        ZeroDivisionError
            If the weights of all samples of a batch are zero.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _fit_more(self, X, y, sample_weight):
        """What `partial_fit` does, its input checked by the task."""
        return self._fit(X, y, sample_weight, incremental=True)

    def _check_solver(self):
        if self.solver not in SOLVERS:
            raise AttributeError(f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic.")
        return True

    def _fit(self, X, y, sample_weight, incremental):
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        with unchanged_on_error(self, None if first_pass else self.__dict__.get("_model")):
            return self._fitted(X, y, sample_weight, incremental, first_pass)

    def _fitted(self, X, y, sample_weight, incremental, first_pass):
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if np.any(np.array(hidden) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        self._check_extras(len(hidden))
        callbacks = callbacks_of(self, X, y, {} if sample_weight is None else {"sample_weight": sample_weight}, "_model")
        check_sparse(X)  # before SciPy's conversions, which trust the indices and write where they point
        X, y = self._validate_input(X, y, incremental, reset=first_pass)
        source = Source(X, X.dtype if first_pass or "_model" not in self.__dict__ else self._model.dtype)
        if sample_weight is not None:
            sample_weight = np.asarray(_check_sample_weight(sample_weight, X), np.float64)
        factors, n_outputs = self._class_factors(y, sample_weight), self._count_outputs(y)
        weights = times(sample_weight, factors)
        if weights is not None:
            check_range(weights)
        self._random_state = check_random_state(self.random_state)
        sizes = [X.shape[1], *hidden, self._make_loss().n_scores(n_outputs)]
        if first_pass:
            self._initialize(sizes, X.dtype)
        elif "_model" not in self.__dict__:  # weights that the user set before the first partial_fit
            self._make_model(sizes, X.dtype, self._given_weights)
        model = self._network()
        built = [model.layout.shapes[0][0], *(layer.units for layer in model.layers if isinstance(layer, Dense))]
        if built != sizes or (type(model.loss), model.loss) != (type(self._make_loss()), self._make_loss()):
            raise ValueError(
                f"the network was built with layers of {built} units and {model.loss!r}, now these would be {sizes} and "
                f"{self._make_loss()!r}; call fit with warm_start=False to start anew"
            )
        self.n_outputs_ = n_outputs
        if any(self._dropout_rates(len(hidden))):  # without a draw from the stream, which scikit-learn's weights come from
            model.seed = int(copy.deepcopy(self._random_state).randint(2**31))
        if self.solver == "lbfgs":
            self._fit_lbfgs(source, y, times(sample_weight, factors), callbacks)
        else:
            self._fit_stochastic(source, y, sample_weight, factors, first_pass, incremental, callbacks)
        if not np.isfinite(self._model.params).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
                " preprocessed."
            )
        if not incremental:
            self._warn_if_collapsed(source, y)
        return self

    def _warn_if_collapsed(self, source, y):
        """scikit-learn, too, trains networks that give the same for all samples; it is the warning that is ours."""
        targets = y.argmax(axis=1) if self._model.loss.labels and y.ndim > 1 else y
        if not source.all_same():
            for text in collapsed(self._model, source, targets, np.arange(source.n)):
                warn(text)

    def _make_model(self, sizes, dtype, weights):
        """Build the network and write weights {"coefs_": [...], "intercepts_": [...]} into it."""
        model = Model(self._layers(sizes[1:]), loss=self._make_loss(), dtype=dtype, random_state=0)
        model.build(int(sizes[0]), initialize=False)
        for part, name in ((".kernel", "coefs_"), (".bias", "intercepts_")):
            write_all(views(model, part), weights[name], name)
        self._model = model
        self.__dict__.pop("_given_weights", None)

    def _network(self):
        """The network, with the activations and dropout that the parameters name now: they may be changed between calls."""
        model = self._model
        units = [layer.units for layer in model.layers if isinstance(layer, Dense)]
        several = isinstance(self.activation, (list, tuple)) or np.ndim(self.dropout)
        if not several and self.__dict__.get("_named") == (self.activation, self.dropout):
            return model  # one row is predicted in 6 us
        try:
            layers = self._layers(units)
        except ValueError:  # parameters for the next fit, of another number of layers
            return model
        if list(model.layers) != layers:
            model.layers = layers
        self._named = self.activation, self.dropout
        return model

    def _layers(self, units):
        """The layers for the units of the hidden layers and the outputs; a dropout of rate 0 passes its input on."""
        *hidden, outputs = map(int, units)
        parts = zip(hidden, self._activations(len(hidden)), self._dropout_rates(len(hidden)), strict=True)
        return [layer for n, activation, rate in parts for layer in (Dense(n, activation), Dropout(rate))] + [Dense(outputs)]

    def _activations(self, n):
        """The activation of each of n hidden layers; ValueError unless there is one for all or one for each."""
        several = isinstance(self.activation, (list, tuple))
        if several and len(self.activation) != n:
            raise ValueError(f"activation must be one, or one for each of the {n} hidden layers, got {self.activation!r}")
        return [check_activation(a) for a in (self.activation if several else [self.activation] * n)]

    def _dropout_rates(self, n):
        """The rate of each of n hidden layers."""
        rates = [self.dropout] * n if np.ndim(self.dropout) == 0 else list(self.dropout)
        if len(rates) != n:
            raise ValueError(f"dropout must be one, or one for each of the {n} hidden layers, got {self.dropout!r}")
        return [check_number("dropout", rate, "[0, 1)") for rate in rates]

    def _check_extras(self, n_hidden):
        """ValueError if parameters that scikit-learn does not have do not fit each other or the layers."""
        self._activations(n_hidden)
        rules = {name: getattr(self, name) for name in ("l1", "weight_decay", "clip_norm", "clip_value", "schedule")}
        given = [name for name, value in rules.items() if value] + ["dropout"] * any(self._dropout_rates(n_hidden))
        if self.solver == "lbfgs" and given:
            raise ValueError(f"{', '.join(given)} cannot be used with solver='lbfgs'; take 'adam', 'adamw' or 'sgd'")
        if self.schedule is not None and self.solver == "schedule_free_adamw":
            raise ValueError("schedule cannot be used with solver='schedule_free_adamw', which needs none")
        if self.schedule is not None and self.learning_rate != "constant":
            raise ValueError(
                f"schedule takes the place of learning_rate, which must be 'constant', got {self.learning_rate!r}"
            )

    def _initialize(self, sizes, dtype):
        """Everything that a first fit starts from. Weights are drawn in float64 and in scikit-learn's order."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(sizes)
        self.out_activation_ = self._output_activation()
        weights = {"coefs_": [], "intercepts_": []}
        hidden = self._activations(len(sizes) - 2)
        last = hidden[-1:] or self._activations(0 if isinstance(self.activation, (list, tuple)) else 1) or [None]
        for (fan_in, fan_out), activation in zip(pairwise(sizes), [*hidden, *last], strict=True):
            bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / (fan_in + fan_out))
            weights["coefs_"].append(self._random_state.uniform(-bound, bound, (fan_in, fan_out)))
            weights["intercepts_"].append(self._random_state.uniform(-bound, bound, fan_out))
        self._make_model(sizes, dtype, weights)
        if self.solver in SOLVERS:
            self.loss_curve_, self.validation_scores_ = [], [] if self.early_stopping else None
            self._judge_anew()

    # ------------------------------------------------------------ prediction

    def _predictions(self, X):
        """(n, n_outputs) predictions, in chunks: beyond them and X no memory grows with n."""
        model = self._fitted_network()
        found, of_samples = predictions(self, model, X)
        return found.astype(np.result_type(of_samples, model.dtype), copy=False)

    def _fitted_network(self):
        """The network, made from weights that the user set if need be; NotFittedError if there are none."""
        if "_model" not in self.__dict__:
            check_is_fitted(self, "coefs_")
            sizes = [self.coefs_[0].shape[0], *(c.shape[1] for c in self.coefs_)]
            self._make_model(sizes, self.coefs_[0].dtype, self._given_weights)
        return self._network()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
