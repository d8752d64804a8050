"""TabularClassifier: classes of the rows of a table as it is."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import check_array, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from ..inputs import check_dense, check_kinds, check_missing, check_sparse, weights_of_classes
from ..tabular import metrics
from ..tabular.statistics import Moments
from ..tabular.tasks import Classes, Labels, best_temperature, tempered
from ._parameters import set_all
from ._tabular import BaseTabular
from ._tabular_docs import ATTRIBUTES, NOTES, PARAMETERS
from ._tasks import check_labels


class TabularClassifier(ClassifierMixin, BaseTabular):
    __doc__ = f"""Classifier for tables as they come: numbers of any scale, categories, dates, gaps. No tuning needed.

    Parameters
    ----------
    {PARAMETERS}

    eval_metric : {{'log_loss', 'accuracy', 'roc_auc'}} or callable, default='log_loss'
        What networks are judged by on held out rows; a callable (y, probabilities) gives an error, the smaller the better.
        Label indicators take 'log_loss' or a callable.

    label_smoothing : float or None, default=None
        Part of each target that is spread over all classes, in [0, 1); None tries 0.1, with many rows 0, too. The
        temperature undoes what it does to probabilities.

    class_weight : dict, 'balanced' or None, default=None
        Weight of each class by its label, multiplied with the sample weights.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; numbers of the labels of an indicator matrix.

    temperature_ : float
        What logarithms of probabilities are divided by, so that those of held out rows have the least log loss; 1 where there
        are none.

    {ATTRIBUTES}

    {NOTES}

    Examples
    --------
    >>> import pandas as pd
    >>> from fastdnn import TabularClassifier
    >>> frame = pd.DataFrame({{"size": [1.0, 30.0, 2.0, None] * 10, "color": ["red", "blue", "red", "blue"] * 10}})
    >>> clf = TabularClassifier("fast", random_state=0).fit(frame, ["small", "large", "small", "large"] * 10)
    >>> clf.predict(pd.DataFrame({{"size": [1.5], "color": ["green"]}}))
    array(['small'], dtype='<U5')
    """

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's convention
        **BaseTabular._parameter_constraints,
        "eval_metric": [StrOptions(set(metrics.OF_CLASSES)), callable],
        "label_smoothing": [Interval(Real, 0, 1, closed="left"), None],
        "class_weight": [dict, StrOptions({"balanced"}), None],
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
        eval_metric: str | Callable = "log_loss",
        label_smoothing: float | None = None,
        class_weight: dict | str | None = None,
    ) -> None:
        set_all(self, locals())

    def _checked_targets(self, y):
        """Class numbers (n,), or indicators (n, labels)."""
        y, classes = self._targets_of_block(y)
        self._multilabel = classes is None
        self.classes_ = np.arange(y.shape[1]) if self._multilabel else classes
        return y

    def _targets_of_block(self, y):
        """(positions in the labels (n,), labels that occur), or (indicators (n, labels), None)"""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        check_sparse(y, "y")
        check_dense(y, "y")
        if (hasattr(y, "dtype") and y.dtype == object) or isinstance(y, (list, tuple)):
            check_missing(np.asarray(y), "y")
            check_kinds(np.asarray(y), "y")
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y", ensure_all_finite=True)
        if type_of_target(y, input_name="y") == "multilabel-indicator":
            return y.astype(np.int64), None
        y = column_or_1d(y, warn=True)
        check_labels(y)
        check_classification_targets(y)
        classes, numbers = np.unique(y, return_inverse=True)
        return numbers, classes

    def _with_class_weight(self, y, weight):
        if self.class_weight is None:
            return weight
        if self._multilabel:
            if self.class_weight != "balanced":
                raise ValueError("class_weight must be 'balanced' or None for label indicators; use sample_weight")
            factors = compute_sample_weight("balanced", y)
        else:
            factors = weights_of_classes(self.class_weight, self.classes_, y, weight)[y]
        return factors if weight is None else factors * weight

    def _settings(self):
        given = super()._settings()
        if len(self.classes_) == 1:  # nothing to learn
            given |= {"epochs": 1, "n_models": 1}
        if self._multilabel:  # log_loss of labels smooths nothing: recipes that differ in it alone are one
            return given | {"label_smoothing": 0.0}
        return given if self.label_smoothing is None else given | {"label_smoothing": self.label_smoothing}

    def _take_classes(self, targets):
        """The classes that blocks have told are those of the estimator."""
        self._multilabel = isinstance(targets, Moments)
        self.classes_ = np.arange(len(targets.low)) if self._multilabel else targets.classes()[0]

    def _class_factors(self, targets):
        """(what the weights of the rows of each class are multiplied by or None, the sum of all weights then)"""
        if self._multilabel:
            if self.class_weight is not None:
                raise ValueError("class_weight must be None for label indicators in a stream; give weights in the blocks")
            return None, targets.weight
        weights = targets.classes()[2]
        if self.class_weight is None:
            return None, weights.sum()
        factors = weights_of_classes(self.class_weight, self.classes_, np.arange(len(self.classes_)), weights)
        if not (factors * weights).any():
            raise ValueError("class_weight must have at least one number > 0 of a class that occurs")
        return factors, float(factors @ weights)

    def _scales(self, targets, y, weight):
        return None

    def _make_task(self, y, weight, scales=None):
        if self._multilabel:
            if self.eval_metric != "log_loss" and not callable(self.eval_metric):
                raise ValueError(
                    f"eval_metric of label indicators must be 'log_loss' or a callable, got {self.eval_metric!r}"
                )
            return Labels(y, self._metric_of(metrics.binary_log_loss), weight)
        return Classes(y, self._metric_of(metrics.OF_CLASSES.get(self.eval_metric)), weight, len(self.classes_))

    def _metric_of(self, usual):
        """A function (y, probabilities, weight) by the user's `eval_metric`."""
        if not callable(self.eval_metric):
            return usual
        return metrics.Own(self.eval_metric, None if self._multilabel else self.classes_)

    def _metric_name(self):
        return getattr(self.eval_metric, "__name__", self.eval_metric)

    def _calibrate(self, oof, weight):
        self.temperature_ = 1.0
        if oof is not None and not self._multilabel:
            known = np.isfinite(oof[:, 0])
            weight = None if weight is None else weight[known]
            self.temperature_ = best_temperature(oof[known], self._task.y[known], weight)

    def _final(self, p):
        return p if self._multilabel else tempered(p, self.temperature_)

    def _frozen_end(self):
        return {} if self._multilabel else {"temperature": self.temperature_}

    def _kind_of_task(self):
        return "multilabel" if self._multilabel else "multiclass"

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : table as for `fit`
            Rows; categories that fit has not seen count as missing.

        Returns
        -------
        p : ndarray of float64, shape (n_samples, n_classes)
            In the order of `classes_`; of an indicator matrix each label's own probability.
        """
        return self._predictions(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row.

        Parameters
        ----------
        X : table as for `fit`
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or indicators.
        """
        p = self.predict_proba(X)
        return (p > 0.5).astype(int) if self._multilabel else self.classes_[p.argmax(axis=1)]

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithm of `predict_proba`.

        Parameters
        ----------
        X : table as for `fit`
            Rows.

        Returns
        -------
        log_p : ndarray of float64, shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _score_numbers(self, Z, target):
        if target is None:
            return self.ensemble_.predict(Z, self._task).argmax(axis=1)
        found = np.flatnonzero(self.classes_ == target) if np.ndim(target) == 0 else ()
        if len(found) != 1:
            raise ValueError(f"target must be one of the classes {self.classes_.tolist()}, got {target!r}")
        return np.full(len(Z), found[0])

    def _slopes(self, recipe, numbers, scores, base):
        return np.ones(len(numbers))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
