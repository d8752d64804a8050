"""What the two drop-in estimators share: scikit-learn's fit, step by step in its order, on fastdnn's engine."""

import contextlib
import copy
import warnings
from itertools import pairwise
from numbers import Integral, Real

import numpy as np
import scipy.optimize
import scipy.sparse
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ..callbacks import Callback
from ..fitting import Fit
from ..inputs import Source, check_sparse
from ..layers import ACTIVATIONS, ActivationFunction, Dense, Dropout
from ..layers.activation_function import ALIASES, check_activation
from ..model import Model
from ..rng import shuffle_as_numpy
from ..schedules import Schedule
from ..specs import check_number
from ..training import Training
from ._blas import one_blas_thread
from ._bridge import Bridge, callbacks_of
from ._predict import predictions
from ._restore import put_back
from ._solver import SOLVERS, StochasticSolver
from ._weights import views, weights_property, write_all


class BaseMLP(CallbackSupportMixin, BaseEstimator):
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
    def fit(self, X, y, sample_weight=None):
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
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if np.any(np.array(hidden) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        self._check_extras(len(hidden))
        before = self._snapshot(first_pass)
        callbacks = callbacks_of(self, X, y, {} if sample_weight is None else {"sample_weight": sample_weight}, "_model")
        check_sparse(X)  # before SciPy's conversions, which trust the indices and write where they point
        X, y = self._validate_input(X, y, incremental, reset=first_pass)
        source = Source(X, X.dtype if first_pass or "_model" not in self.__dict__ else self._model.dtype)
        if sample_weight is not None:
            sample_weight = np.asarray(_check_sample_weight(sample_weight, X), np.float64)
        sample_weight = self._class_weighted(y, sample_weight)
        y = y.reshape(-1, 1) if y.ndim == 1 else y
        self._random_state = check_random_state(self.random_state)
        sizes = [X.shape[1], *hidden, self._make_loss().n_scores(y.shape[1])]
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
        self.n_outputs_ = y.shape[1]
        if any(self._dropout_rates(len(hidden))):  # without a draw from the stream, which scikit-learn's weights come from
            model.seed = int(copy.deepcopy(self._random_state).randint(2**31))
        if self.solver == "lbfgs":
            self._fit_lbfgs(source, y, sample_weight, callbacks)
        else:
            self._fit_stochastic(source, y, sample_weight, first_pass, incremental, callbacks)
        if not np.isfinite(self._model.params).all():
            self._restore(before)
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
                " preprocessed."
            )
        return self

    def _snapshot(self, first_pass):
        """What a diverging training must not leave half-written: the attributes, and the network that it goes on with."""
        kept = {k: copy.copy(v) if isinstance(v, (list, StochasticSolver)) else v for k, v in self.__dict__.items()}
        model = None if first_pass else kept.get("_model")
        return kept, model, None if model is None else (model.params.copy(), model.optimizer, model.slots.copy(), model.step)

    def _restore(self, before):
        kept, model, state = before
        put_back(self, kept)
        if model is not None:
            model.params = state[0]
            model.optimizer = state[1]
            model.slots[...], model.step = state[2:]

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
        return [check_number("dropout", rate, 0, 1, high_open=True) for rate in rates]

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
            self.loss_curve_ = []
            self._no_improvement_count = 0
            self.best_loss_ = None if self.early_stopping else np.inf
            self.validation_scores_ = [] if self.early_stopping else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None

    # ------------------------------------------------------------ solvers

    def _training(self, source, y, sample_weight, batch_size):
        model = self._model
        targets = y.argmax(axis=1) if model.loss.labels else y
        targets = model.loss.check_targets(targets, model.n_out, model.dtype)
        return Training(model, source, targets, sample_weight, batch_size, skip_empty=False)

    def _packed(self):
        """Positions of the weights in the flat buffer, in scikit-learn's order: all coefs_, then all intercepts_."""
        positions = np.arange(len(self._model.params))
        entries = sorted(self._model.layout.entries, key=lambda e: not e.decays)
        return np.concatenate([e.view(positions).ravel() for e in entries])

    def _loss_and_grad(self, training, x, positions):
        """Loss with its L2 term for the packed weights x, and its gradient, packed likewise, both in float64."""
        model = self._model
        model.make_writable()
        model.params[positions] = x
        loss = training.loss_and_grad()
        gradient = model.grads[positions].astype(np.float64)
        decay = self.alpha / (training.source.n if training.sample_weight is None else training.sample_weight.sum())
        decaying = x[: sum(w.size for w in self.coefs_)]
        gradient[: len(decaying)] += decay * decaying
        return loss + 0.5 * decay * np.dot(decaying, decaying), gradient

    def _loss_grad_lbfgs(self, packed, X, y, sample_weight, *_):
        """scikit-learn's private name for the function that L-BFGS minimizes; its own tests call it."""
        training = self._training(Source(X, self._model.dtype), y, sample_weight, len(y))
        return self._loss_and_grad(training, packed, self._packed())

    def _fit_lbfgs(self, source, y, sample_weight, callbacks):
        """SciPy's L-BFGS-B on the weights of the flat buffer, without its padding."""
        training = self._training(source, y, sample_weight, len(y))
        positions = self._packed()

        def report(intermediate_result):
            report.n += 1
            if self.verbose:
                print(f"Iteration {report.n}, loss = {intermediate_result.fun:.8f}")
            if run is not None:
                self._model.params[positions] = intermediate_result.x
                if run.end_epoch(float(intermediate_result.fun)):
                    raise StopIteration

        def objective(x):
            if run is not None and run.epoch_is_over and run.epoch < run.epochs:
                run.begin_epoch()
            return self._loss_and_grad(training, x, positions)

        report.n, run = 0, self._run(training, y, None, callbacks)
        with one_blas_thread(), run or contextlib.nullcontext():
            result = scipy.optimize.minimize(
                objective,
                self._model.params[positions].astype(np.float64),
                method="L-BFGS-B",
                jac=True,
                callback=report if self.verbose or run is not None else None,
                options={"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol},
            )
        stopped = run is not None and run.history.stopped is not None  # no reason to warn
        self.n_iter_ = result.nit if stopped else _check_optimize_result("lbfgs", result, self.max_iter)
        self.loss_ = np.float64(result.fun)
        self._model.params[positions] = result.x

    def _fit_stochastic(self, source, y, sample_weight, first_pass, incremental, callbacks):
        model = self._model
        if not incremental or not hasattr(self, "_optimizer"):
            size = len(y) if self.batch_size == "auto" else self.batch_size
            self._optimizer = StochasticSolver(self, min(200 if self.batch_size == "auto" else size, len(y)))
            model.optimizer = self._optimizer.optimizer
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        rows, validation = None, None
        if self.early_stopping:
            rows, validation = self._split(source, y, sample_weight)
        n = len(y) if rows is None else len(rows)
        if self.batch_size == "auto":
            batch_size = min(200, n)
        else:
            if self.batch_size > n:
                warnings.warn(
                    "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=4
                )
            batch_size = min(self.batch_size, n)
        training = self._training(source, y, sample_weight, batch_size)
        if not incremental:
            training.first_step, training.total_steps = model.step, self.max_iter * -(-n // batch_size)
        # Only what is better than before this fit is put back at its end: so does scikit-learn, whose best weights are
        # the trained arrays themselves from the second fit on. A first fit starts with the initial weights as the best.
        best = model.params.copy() if self.early_stopping and first_pass else None
        order = np.arange(n, dtype=np.int64) if rows is None else rows.astype(np.int64)
        natural = not self.shuffle and rows is None
        self.n_iter_, run = 0, self._run(training, y, rows, callbacks)
        try:
            with run or contextlib.nullcontext():
                while self.n_iter_ < self.max_iter:
                    if run is not None:
                        run.begin_epoch()
                    loss = self._epoch(training, order, natural)
                    if not training.done:  # stopped within the first batch
                        break
                    if not np.isfinite(loss) and not self.early_stopping and not np.isfinite(model.params).all():
                        break  # what has no number any more will not get one again; `_fit` says so
                    if self._update_no_improvement_count(validation):
                        best = model.params.copy()
                    if run is not None and run.end_epoch(float(loss), **self._figures(training)):
                        break
                    if self._stops(loss if validation is None else -self.validation_scores_[-1]) or incremental:
                        break
                    if self.n_iter_ == self.max_iter:
                        warnings.warn(
                            f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                            "converged yet.",
                            ConvergenceWarning,
                            stacklevel=4,
                        )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        if best is not None:
            model.params[...] = best

    def _epoch(self, training, order, natural):
        """One epoch, in another order unless it is to be the natural one; returns its loss."""
        if self.shuffle:
            shuffle_as_numpy(self._random_state, order)
        training.rate_factor = self._optimizer.rate_factor * self._model.rate_factor
        loss = np.float64(training.epoch(None if natural else order, self._optimizer.learning_rate, self.alpha))
        if training.done:
            self.n_iter_ += 1
            self.loss_ = loss
            self.t_ += len(order)
            self.loss_curve_.append(loss)
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        return loss

    def _stops(self, loss):
        """Whether there has been no improvement for too long; what the solver does after an epoch is done on the way."""
        self._optimizer.iteration_ends(self.t_, loss)
        if self._no_improvement_count > self.n_iter_no_change:
            what = "Validation score" if self.early_stopping else "Training loss"
            epochs = f"{self.n_iter_no_change:d} consecutive epochs."
            message = f"{what} did not improve more than tol={self.tol:f} for {epochs}"
            if self._optimizer.trigger_stopping(message, self.verbose):
                return True
            self._no_improvement_count = 0
        return False

    def _run(self, training, y, rows, callbacks):
        """The `Fit` that drives the callbacks, or None where there are none."""
        if not callbacks:
            self.__dict__.pop("history_", None)
            self.__dict__.pop("callbacks_", None)
            return None
        run = Fit(self._model, training, y, self.max_iter, rows, callbacks=callbacks, estimator=self)
        run.validates = self.early_stopping
        self.history_, self.callbacks_ = run.history, [c for c in callbacks if not isinstance(c, Bridge)]
        return run

    def _figures(self, training):
        """What the history holds of an epoch beside its loss."""
        return {"rate": training.rate, **({"val_score": self.validation_scores_[-1]} if self.early_stopping else {})}

    def _split(self, source, y, sample_weight):
        """(rows to train on, (Source, y, weights) to validate on), drawn as scikit-learn draws them."""
        # Multilabel and multiclass targets are not stratified, as in scikit-learn: only one column of y can be.
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        train, held_out = train_test_split(
            np.arange(len(y)), random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        if len(held_out) < 2:
            raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
        weights = None if sample_weight is None else sample_weight[held_out]
        if weights is not None and not weights.any():
            raise ValueError("Sample weights must contain at least one non-zero number.")
        return train, (source.take(held_out), y[held_out], weights)

    def _update_no_improvement_count(self, validation):
        """Judge the epoch by the validation score or the training loss; True if it is the best validation so far."""
        if validation is None:
            better, value = self.loss_curve_[-1] < self.best_loss_, self.loss_curve_[-1]
            none = value > self.best_loss_ - self.tol
            if better:
                self.best_loss_ = value
            better = False
        else:
            source, y, weights = validation
            score = self._score(self._model.predict(source), y, weights)
            self.validation_scores_.append(score)
            if self.verbose:
                print(f"Validation score: {score:f}")
            none = score < self.best_validation_score_ + self.tol
            better = score > self.best_validation_score_
            if better:
                self.best_validation_score_ = score
        self._no_improvement_count = self._no_improvement_count + 1 if none else 0
        return better

    # ------------------------------------------------------------ prediction

    def _predictions(self, X):
        """(n, n_outputs) predictions, in chunks: beyond them and X no memory grows with n."""
        if "_model" not in self.__dict__:
            check_is_fitted(self, "coefs_")
            sizes = [self.coefs_[0].shape[0], *(c.shape[1] for c in self.coefs_)]
            self._make_model(sizes, self.coefs_[0].dtype, self._given_weights)
        model = self._network()
        found = predictions(self, model, X)
        return found.astype(np.result_type(getattr(X, "dtype", np.float64), model.dtype), copy=False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
