"""TabularRegressor: numbers for the rows of a table as it is, or their quantiles."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_array, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions

from ..frozen.estimators import nearest_median
from ..inputs import check_dense, check_missing, check_sparse
from ..specs import check_number
from ..tabular import metrics
from ..tabular.targets import TargetScale, spans_magnitudes
from ..tabular.tasks import Numbers, Quantiles
from ._parameters import set_all
from ._tabular import BaseTabular
from ._tabular_docs import ATTRIBUTES, NOTES, PARAMETERS


def _quantile(x, q, weight):
    """The quantile q of numbers with weights."""
    return np.quantile(x, q) if weight is None else np.quantile(x, q, weights=weight, method="inverted_cdf")


class TabularRegressor(RegressorMixin, BaseTabular):
    __doc__ = f"""Regressor for tables as they come: numbers of any scale, categories, dates, gaps. No tuning needed.

    Parameters
    ----------
    {PARAMETERS}

    eval_metric : {{'rmse', 'mae', 'rmsle', 'poisson'}} or callable, default='rmse'
        What networks are judged by on held out rows, but for quantiles, whose pinball loss it is; a callable
        (y, predictions) of arrays of shape (n, n_outputs) gives an error, the smaller the better. For 'rmsle' the
        logarithms of the targets are learned.

    quantiles : sequence of float or None, default=None
        Quantiles that are predicted, each between 0 and 1, in place of the mean: ``(0.1, 0.5, 0.9)``. They never cross, and
        are shifted so that they are those of held out rows.

    target_transform : {{'auto', 'none', 'log'}}, default='auto'
        Whether the logarithm of 1 + y / median is learned; 'auto' tries both where the targets are skewed or of several
        magnitudes, none of them negative, and mixes what is best for held out rows ('fast' does not try).

    Attributes
    ----------
    {ATTRIBUTES}

    {NOTES}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastdnn import TabularRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = TabularRegressor("fast", random_state=0).fit(X[:300], y[:300])
    >>> model.score(X[300:], y[300:]) > 0.4
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's convention
        **BaseTabular._parameter_constraints,
        "eval_metric": [StrOptions(set(metrics.OF_NUMBERS)), callable],
        "quantiles": [Interval(Real, 0, 1, closed="neither"), "array-like", None],
        "target_transform": [StrOptions({"auto", "none", "log"})],
    }

    def __init__(
        self,
        preset: str = "balanced",
        *,
        n_models: int | None = None,
        refit: bool | None = None,
        categorical_features: Any = "from_dtype",
        hidden_layer_sizes: Sequence[float] | None = None,
        learning_rate: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        n_bins: int | Sequence[int] | None = None,
        dropout: float | None = None,
        weight_decay: float | None = None,
        time_limit: float | None = None,
        callbacks: Any = None,
        random_state: Any = None,
        verbose: bool | int = 0,
        eval_metric: str | Callable = "rmse",
        quantiles: float | Sequence[float] | None = None,
        target_transform: str = "auto",
    ) -> None:
        set_all(self, locals())

    def _checked_targets(self, y):
        """Numbers, float64 of shape (n, n_outputs)."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        check_sparse(y, "y")
        check_dense(y, "y")
        if (hasattr(y, "dtype") and y.dtype == object) or isinstance(y, (list, tuple)):
            check_missing(np.asarray(y), "y")
        if getattr(getattr(y, "dtype", None), "kind", "") in ("m", "M"):
            raise ValueError("y must hold numbers, got dates or durations: convert them to a number of days, say")
        try:
            y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        except ValueError as error:
            if "could not convert" not in str(error):
                raise
            raise ValueError(f"y must hold numbers, {error}: take TabularClassifier for classes") from error
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._flat = y.ndim == 1
        if np.abs(y).max() > 1e150:
            raise ValueError(f"y contains values up to {np.abs(y).max():g}, whose squares are too large for float64; scale y")
        if self.eval_metric in ("rmsle", "poisson") and y.min() < 0:
            raise ValueError(f"eval_metric={self.eval_metric!r} needs targets >= 0, got {y.min():g}")
        if self.target_transform == "log" and y.min() < 0:
            raise ValueError(f"target_transform='log' needs targets >= 0, got {y.min():g}")
        return y.reshape(len(y), -1)

    def _with_class_weight(self, y, weight):
        return weight

    def _targets_of_block(self, y):
        return self._checked_targets(y), None

    def _take_classes(self, moments):
        """There are none; whether there is one target to a row."""
        self._flat = len(moments.low) == 1

    def _class_factors(self, moments):
        return None, moments.weight

    def _scales(self, moments, y, weight):
        """The `TargetScale` of targets and, if there are any, of their logarithms, by a sample of them."""
        return {
            logarithm: TargetScale(logarithm).fit_sample(y, weight, moments)
            for logarithm in (False, True)[: 1 + (moments.low.min() >= 0)]
        }

    def _logarithms(self, y):
        if self.target_transform == "log" or (self.target_transform == "auto" and self.eval_metric == "rmsle"):
            return (True,)
        return (False, True) if self.target_transform == "auto" and spans_magnitudes(y) else (False,)

    def _make_task(self, y, weight, scales=None):
        if self.quantiles is None:
            return Numbers(y, self._metric(), weight, scales)
        if y.shape[1] > 1:
            raise ValueError(f"quantiles are of one target, got y of shape {y.shape}: fit a TabularRegressor for each column")
        given = [self.quantiles] if np.ndim(self.quantiles) == 0 else list(self.quantiles)
        if not given:
            raise ValueError("quantiles must hold at least one number between 0 and 1")
        return Quantiles(y, [check_number("a quantile", q, "(0, 1)") for q in given], weight, scales)

    def _metric(self):
        return metrics.Own(self.eval_metric) if callable(self.eval_metric) else metrics.OF_NUMBERS[self.eval_metric]

    def _metric_name(self):
        if self.quantiles is not None:
            return "mean pinball loss"
        return getattr(self.eval_metric, "__name__", self.eval_metric)

    def _calibrate(self, oof, weight):
        self._shift = None
        if oof is not None and self.quantiles is not None:  # networks have seen their rows, and take quantiles to be closer
            known = np.isfinite(oof[:, 0])
            rest, weight = self._task.y[known] - oof[known], None if weight is None else weight[known]
            quantiles = zip(rest.T, self._task.quantiles, strict=True)
            self._shift = np.array([_quantile(r, q, weight) for r, q in quantiles])

    def _final(self, p):
        return p if self._shift is None else self._task.near(self._task.ordered(p + self._shift))

    def _frozen_end(self):
        if self.quantiles is None:
            return {}
        limits = None if self._shift is None else self._task.limits
        return {"quantiles": self._task.quantiles, "shift": self._shift, "limits": limits}

    def _kind_of_numbers(self, predictor):
        return self._is_flat(), None if self.quantiles is None else self._task.quantiles.tolist()

    def _is_flat(self):
        """Whether targets were of shape (n,), and one number is predicted of each row."""
        return self._flat and (self.quantiles is None or np.ndim(self.quantiles) == 0)

    def _shaped(self, p):
        return p[:, 0] if self._is_flat() else p

    def predict(self, X: Any) -> np.ndarray:
        """Predictions for the rows of a table.

        Parameters
        ----------
        X : table as for `fit`
            Rows; categories that fit has not seen count as missing.

        Returns
        -------
        y : ndarray of float64, shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_quantiles)
            At most a tenth of the range of the training targets beyond it, and not negative where these are not.
        """
        return self._shaped(self._predictions(X))

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Coefficient of determination of the predictions; of several quantiles the one nearest the median is taken.

        Parameters
        ----------
        X : table as for `fit`
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            R2, at most 1.
        """
        p = self.predict(X)
        return r2_score(y, p if p.ndim == 1 else self._central(p), sample_weight=sample_weight)

    def _central(self, p):
        """The predictions that are scored: of several quantiles the one nearest the median."""
        return p if self.quantiles is None else p[:, nearest_median(self.quantiles)]

    def _score_numbers(self, Z, target):
        most = self._task.n_outputs
        if target is not None and (isinstance(target, bool) or target not in range(most)):
            raise ValueError(f"target must be the number of an output, 0 to {most - 1}, got {target!r}")
        return np.full(len(Z), 0 if target is None else int(target))

    def _slopes(self, recipe, numbers, scores, base):
        scale, k = self._task.scale_of(recipe), self._task.n_outputs
        at, rest = (scale.inverse(np.repeat(z[:, None], k, axis=1))[np.arange(len(z)), numbers] for z in (scores, base))
        steep = np.abs(scores - base) > 1e-6
        return np.where(steep, (at - rest) / np.where(steep, scores - base, 1), 0.0)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
