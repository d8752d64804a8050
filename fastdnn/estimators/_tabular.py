"""What TabularClassifier and TabularRegressor share: a table to a matrix, an ensemble of networks on it."""

import math
import time
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted

from ..callbacks import Callback
from ..frozen.tables import FrozenTable
from ..preprocessing.table import TableReader
from ..specs import check_count, check_number
from ..streaming import predict_stream
from ..tabular.ensemble import Ensemble
from ..tabular.features import Features
from ..tabular.recipe import TINY, recipes_for
from ._freezing import Freezable
from ._restore import unchanged_on_error
from ._tabular_insight import Insight
from ._tabular_streams import FitsTableStreams, stream_of_tables

HELD = 2000  # most rows that are kept for `feature_importances_`


class BaseTabular(Freezable, FitsTableStreams, Insight, BaseEstimator):
    """Base of TabularClassifier and TabularRegressor; not for direct use."""

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's convention
        "preset": [StrOptions({"fast", "balanced", "best"})],
        "n_models": [Interval(Integral, 1, None, closed="left"), None],
        "refit": ["boolean", None],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "hidden_layer_sizes": ["array-like", None],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "n_bins": [Interval(Integral, 0, None, closed="left"), "array-like", None],
        "dropout": [Interval(Real, 0, 1, closed="left"), None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "callbacks": [list, tuple, callable, Callback, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the networks to a table.

        Parameters
        ----------
        X : DataFrame of pandas or Polars, Arrow Table, or array-like of shape (n_samples, n_features)
            The table as it is: numbers of any scale, categories, dates, gaps. Or a stream of blocks (X, y) or (X, y,
            sample_weight) of such tables, which need not be all in memory: `fastdnn.data.ParquetSource`, a list, a function
            that gives a generator; see Notes.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets. None with a stream.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0 of the samples. Those of weight 0 are left out.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the table, the targets or a parameter does not fit; what is wrong with a column names it, and its block.
        """
        stream = stream_of_tables(X, y)
        if stream is not None and sample_weight is not None:
            raise ValueError("sample_weight cannot be given with a stream; give blocks (X, y, sample_weight)")
        with unchanged_on_error(self, errors=BaseException):
            return self._fitted(X, y, sample_weight) if stream is None else self._fitted_stream(stream)

    def _fitted(self, X, y, sample_weight):
        began = time.perf_counter()
        reader = TableReader(self.categorical_features, type(self).__name__)
        numbers, codes = reader.fit_transform(X)
        self._take_names(reader)
        y = self._checked_targets(y)
        check_consistent_length(numbers, y)
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, numbers, dtype=np.float64, ensure_non_negative=True)
        return self._fitted_rows(reader, numbers, codes, y, weight, began)

    def _take_names(self, reader):
        """The columns of a fitted reader are those of the estimator."""
        self.n_features_in_ = reader.n_features_in_
        self.__dict__.pop("feature_names_in_", None)
        if reader.has_names_:
            self.feature_names_in_ = np.array(reader.columns_, dtype=object)

    def _fitted_rows(self, reader, numbers, codes, y, weight, began, seed=None, n=None, rows=None):
        """Fit the networks to rows that are all in memory; rows : their numbers among n, where not all are here."""
        weight = self._with_class_weight(y, weight)
        if not numbers.shape[1] + codes.shape[1]:
            raise ValueError("X has no column with a value that is there: all are missing")
        n, rows = (len(numbers), np.arange(len(numbers))) if rows is None else (n, rows)
        numbers, codes, y, weight, kept = _counted(numbers, codes, y, weight)
        self._reader, seed = reader, self._new_seed() if seed is None else seed
        self._features = Features().fit(
            numbers, codes, [len(c) for c in reader.categories_], reader.number_sources_, reader.category_sources_
        )
        Z = self._features.transform(numbers, codes)
        self._task = self._make_task(y, weight)
        tried, spreads = self._logarithms(y), self._task.spreads
        recipes = recipes_for(len(Z), is_classifier(self), self.preset, self._settings(), tried, spreads)
        seconds = math.inf if self.time_limit is None else self.time_limit - (time.perf_counter() - began)
        self.ensemble_ = Ensemble(recipes, self._features, self._task, weight, seed, self._callbacks(), seconds, self._say)
        self.ensemble_.fit(Z)
        self._finish(numbers, codes, weight, n, rows[kept])
        return self

    def _new_seed(self):
        return int(check_random_state(self.random_state).randint(2**31))

    def _settings(self):
        """Settings of the recipe that the user has given."""
        names = "learning_rate", "epochs", "batch_size", "dropout", "weight_decay", "n_models", "refit"
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.n_bins is not None:
            if np.size(self.n_bins) == 0:
                raise ValueError("n_bins must be a number of bins or a list of at least one, got an empty one")
            given["n_bins"] = tuple(check_count("n_bins", n, 0) for n in np.atleast_1d(self.n_bins).tolist())
        if self.hidden_layer_sizes is not None:
            given["hidden_layer_sizes"] = tuple(map(_size, self.hidden_layer_sizes))
        return given

    def _logarithms(self, y):
        """Which of the targets themselves (False) and their logarithms (True) networks may learn."""
        return (False,)

    def _callbacks(self):
        if self.callbacks is None:
            return []
        return list(self.callbacks) if isinstance(self.callbacks, (list, tuple)) else [self.callbacks]

    def _say(self, text):
        if self.verbose:
            print(text, flush=True)

    def _finish(self, numbers, codes, weight, n, rows):
        """What is kept beside the networks; n : rows of the table, rows : numbers of those that were trained on."""
        self.oof_predictions_ = None
        p = self._judge_held(weight)
        if p is not None:
            of_all = np.full((n, p.shape[1]), np.nan)
            of_all[rows] = p
            self.oof_predictions_ = self._shaped(of_all)
        self._keep_some(numbers, codes, weight)

    def _finish_stream(self, numbers, codes, weight):
        """What is kept of the rows that were held out of a stream."""
        self.oof_predictions_ = None
        self._judge_held(weight)
        self._keep_some(numbers, codes, weight)

    def _judge_held(self, weight):
        """Calibrate by predictions of held out rows and keep their error; returns them, None where there are none."""
        oof, task = self.ensemble_.oof, self._task
        self._calibrate(oof, weight)
        self.validation_score_ = math.nan
        if oof is None:
            return None
        p, known = self._final(oof), np.isfinite(oof[:, 0])
        self.validation_score_ = task.error_of(task.y[known], p[known], None if weight is None else weight[known])
        return p

    def _keep_some(self, numbers, codes, weight):
        """Keep rows for `feature_importances_`, and let go of the targets."""
        kept, task, parts = slice(None, None, max(1, -(-len(numbers) // HELD))), self._task, self.ensemble_.parts
        parts = None if parts is None else parts[kept]
        self._held = numbers[kept], codes[kept], task.y[kept], None if weight is None else weight[kept], parts
        task.forget()
        self.__dict__.pop("_importances", None)

    def _shaped(self, p):
        """Predictions in the shape in which users get them."""
        return p

    def _matrix(self, X):
        check_is_fitted(self)
        return self._features.transform(*self._reader.transform(X))

    def _freeze_network(self, dtype, calibration, percentile):
        Z = None if calibration is None else self._matrix(calibration)
        check_is_fitted(self)
        kinds, task = self.ensemble_.kinds, self._task
        members = [(kind, model) for kind in kinds for model in kind.models]
        return FrozenTable(
            self._reader,
            self._features,
            [model.freeze(dtype, Z, percentile) for _, model in members],
            [kind.weight / len(kind.models) for kind, _ in members],
            [task.scale_of(kind.recipe) for kind, _ in members],
            **self._frozen_end(),
        )

    def _frozen_end(self):
        """What comes behind the mean of the networks, as `FrozenTable` takes it."""
        return {}

    def _kind_of_samples(self):
        return "table"

    def _predictions(self, X):
        """(n, k) mean of the networks' predictions, calibrated, float64."""
        check_is_fitted(self)
        if (stream := stream_of_tables(X)) is not None:
            return predict_stream(lambda X, _: self._predictions(X), stream)
        Z = self._matrix(X)
        return self._final(self.ensemble_.predict(Z, self._task))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True
        return tags


def _size(given):
    """Units of a hidden layer, or a multiple of its features; ValueError if it is neither."""
    if isinstance(given, (int, np.integer)):
        return check_count("hidden_layer_sizes", given)
    return check_number("hidden_layer_sizes", given, "(0, inf)")


def _counted(numbers, codes, y, weight):
    """Rows of weight 0 are left out; of few rows, equal ones become one with the sum of their weights.

    So few are not held out, and are trained on all at once: their order means nothing then, nor how often one is written.
    Last the numbers of the rows that are left.
    """
    rows = np.arange(len(y))
    if weight is not None:
        largest = weight.max(initial=0)
        weight = weight / largest if largest > 0 else weight
        kept = weight > 0
        if not kept.any():
            raise ValueError("sample_weight must have at least one number > 0: all samples have weight 0")
        if not kept.all():
            numbers, codes, y, weight, rows = numbers[kept], codes[kept], y[kept], weight[kept], rows[kept]
    if len(y) < TINY:
        table = np.concatenate([numbers, codes, y.reshape(len(y), -1)], axis=1)
        _, first, inverse = np.unique([row.tobytes() for row in table], return_index=True, return_inverse=True)
        sums = np.bincount(inverse, weight)
        numbers, codes, y, rows = numbers[first], codes[first], y[first], rows[first]
        weight = None if np.ptp(sums) == 0 else sums
    return numbers, codes, y, None if weight is None else weight / weight.mean(), rows
