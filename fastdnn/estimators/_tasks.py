"""What estimators do for their task, whatever network they fit: labels and weights in, labels and probabilities out."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from ..frozen.estimators import nearest_median
from ..inputs import check_dense, check_kinds, check_missing, check_sparse, refuse_texts, weights_of_classes
from ..losses import CrossEntropy, Focal, Gamma, Hinge, LogLoss, Poisson, get_loss, scores_link
from ._predict import winners
from ._restore import unchanged_on_error
from ._steps import scored_steps, steps_of, takes_ids, targets_of_steps


def check_data(estimator, X, y, reset, warn=False, **checks):
    """Samples and targets as scikit-learn checks them, a single column of targets as (n,).

    reset : whether they are those of a first fit     warn : whether a column of targets is worth a warning
    """
    check_sparse(y, "y")
    if (hasattr(y, "dtype") and y.dtype == object) or isinstance(y, (list, tuple)):
        check_missing(np.asarray(y), "y")
        check_kinds(np.asarray(y), "y")
    if checks.get("y_numeric"):
        check_dense(y, "y")
    nd = getattr(estimator, "layers", None) is not None
    dtype = None if takes_ids(estimator) else (np.float64, np.float32)
    checks |= {"accept_sparse": ["csr", "csc"], "multi_output": True, "dtype": dtype, "allow_nd": nd}
    if takes_ids(estimator):
        refuse_texts(X)
    steps = steps_of(estimator, X)
    try:
        if steps is not None:
            y = targets_of_steps(estimator, X, y, steps)
            only_X = {name: checks[name] for name in ("accept_sparse", "dtype", "allow_nd")}
            return validate_data(estimator, X, reset=reset, **only_X), check_steps(y, checks.get("y_numeric"))
        X, y = validate_data(estimator, X, y, reset=reset, **checks)
    except TypeError as error:
        if "NAType" not in str(error):
            raise
        raise ValueError("X contains missing values (pandas.NA); remove those rows or replace the values") from error
    return X, column_or_1d(y, warn=warn) if y.ndim == 2 and y.shape[1] == 1 else y


def check_steps(y, numeric):
    """Targets of steps as scikit-learn checks those of samples."""
    numbers = {"dtype": np.float64} if numeric else {"dtype": None}
    return check_array(y, ensure_2d=False, input_name="y", **numbers)


def need_no_check(estimator, X, y):
    """Whether X and y are arrays as `check_data` would give them back, for an estimator that has been fitted on arrays.

    scikit-learn's checks take 0.4 ms, three times as long as a step with 64 samples of a small network.
    """
    fits = (
        type(X) is type(y) is np.ndarray
        and X.dtype in (np.float32, np.float64)
        and X.shape[1:] == (getattr(estimator, "n_features_in_", None),)
        and not hasattr(estimator, "feature_names_in_")
        and y.shape == X.shape[:1] != (0,)
    )
    with np.errstate(all="ignore"):  # a sum may overflow; the checks then look at each number
        return fits and bool(np.isfinite(X.sum()))


def check_labels(y):
    """ValueError, in a line, where y holds numbers that are no class labels."""
    with np.errstate(invalid="ignore"):  # of numbers too large for an integer
        kind = type_of_target(y)
    if kind == "continuous":
        example = next(value for value in y if value != np.floor(value) or abs(value) > 2**53)
        raise ValueError(
            f"Unknown label type: {kind}. y must hold class labels, got numbers like {example:.6g}: take a regressor, or "
            "make classes of them, np.digitize(y, limits)"
        )


class ClassifierTask:
    """Classes, two or several, or labels of an indicator matrix.

    An estimator gives `_predictions(X)`, the (n, n_outputs) probabilities, `_fitted_network()`, and the parameters `loss` and
    `class_weight`.
    """

    def _output_activation(self):
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _make_loss(self):
        softmax = self._output_activation() == "softmax"
        if self.loss == "log_loss":
            return self._log_loss(softmax)
        loss = get_loss(self.loss)
        if softmax != (loss.link is CrossEntropy.link):
            kind = "several classes" if softmax else "two classes or a multilabel problem"
            raise ValueError(f"loss={self.loss!r} does not fit {kind}; 'log_loss' fits all")
        return loss

    def _log_loss(self, softmax):
        """The loss that 'log_loss' stands for."""
        return CrossEntropy() if softmax else LogLoss()

    def _class_factors(self, y, sample_weight):
        """Factor (n,) of each sample's weight in training, or None; y as `_validate_input` gave it."""
        if self.class_weight is None:
            return None
        if self._label_binarizer.y_type_ == "multilabel-indicator":
            if self.class_weight != "balanced":
                raise ValueError("class_weight must be 'balanced' or None for label indicators; use sample_weight")
            return compute_sample_weight("balanced", y)
        numbers = y.ravel().astype(np.int64)
        return weights_of_classes(self.class_weight, self.classes_, numbers, sample_weight)[numbers]

    def _count_outputs(self, y):
        """Columns of the targets: one a class, one for two classes, one a label."""
        return len(self.classes_) if self._label_binarizer.y_type_ == "multiclass" else y.shape[1]

    def _encoded(self, y):
        """Labels as the network learns them: class numbers (n,), or of two classes and of labels indicators (n, columns).

        Indicators of many classes are many: 40,000 samples of 5,000 classes would take 1.6 GB.
        """
        if self._label_binarizer.y_type_ == "multiclass":
            return np.searchsorted(self.classes_, y)
        return self._label_binarizer.transform(y).astype(bool)

    def _validate_input(self, X, y, incremental, reset):
        if incremental and not reset and need_no_check(self, X, y) and y.dtype.kind == self.classes_.dtype.kind in "iu":
            numbers = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1)
            kind = self._label_binarizer.y_type_
            if kind in ("binary", "multiclass") and (self.classes_[numbers] == y).all():
                return X, numbers if kind == "multiclass" else (numbers == 1)[:, None]
        X, y = check_data(self, X, y, reset, warn=True)
        check_labels(y)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = unique_labels(y)
            if self.warm_start and not incremental:
                if set(classes) != set(self.classes_):
                    raise ValueError(
                        "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                        f"Previously got {self.classes_}, `y` has {classes}"
                    )
            elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
                )
        return X, self._encoded(y)

    def _encode(self, X, y):
        """Validation samples as `_validate_input` gives those of a fit, by the classes of the fit."""
        X, y = check_data(self, X, y, reset=False)
        check_labels(y)
        unknown = np.setdiff1d(unique_labels(y), self.classes_)
        if len(unknown):
            raise ValueError(f"y_val has classes that y has not: {unknown}, the classes are {self.classes_}")
        return X, self._encoded(y)

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, classes: ArrayLike | None = None
    ) -> Self:
        """Update the model with one pass over the samples, in batches.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels or label indicators; not all classes need to occur.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        classes : array of shape (n_classes,), default=None
            All classes that will ever occur; needed in the first call.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If `classes` is missing in the first call, another one in a later call, or y has a class not among them.
        """
        with unchanged_on_error(self):
            self._check_classes(y, classes)
            return self._fit_more(X, y, sample_weight)

    def _check_classes(self, y, classes):
        """What comes before a `partial_fit`: the classes of the first call, and no weights that need all samples."""
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all samples at once; for partial_fit give a dict, which "
                "sklearn.utils.class_weight.compute_class_weight('balanced', classes=classes, y=y) makes"
            )
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer().fit(y if type_of_target(y).startswith("multilabel") else classes)

    def predict(self, X: Any) -> np.ndarray:
        """Class labels of samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or indicators of a multilabel problem.
        """
        if getattr(self, "out_activation_", None) == "softmax":
            return self.classes_[winners(self, self._fitted_network(), X, self._predictions)]
        p = self._predictions(X)
        if self.n_outputs_ == 1 and len(self.classes_) == 2:
            return self.classes_[(p[..., 0] > 0.5).astype(np.intp)]
        return self._label_binarizer.inverse_transform(p.ravel() if self.n_outputs_ == 1 else p)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`. In a multilabel problem each label's own probability.
        """
        p = self._predictions(X)
        return np.concatenate([1 - p, p], axis=-1) if self.n_outputs_ == 1 else p

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy of the predictions; of labels of steps over those that count.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,), (n_samples, n_labels) or (n_samples, time)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            In [0, 1].
        """
        y, predicted, sample_weight = scored_steps(self, X, y, self.predict(X), sample_weight)
        return accuracy_score(y, predicted, sample_weight=sample_weight)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithm of `predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            -inf where a probability is zero.
        """
        p = self.predict_proba(X)
        return np.log(p, out=p)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class RegressorTask:
    """Numbers, one or several a sample.

    An estimator gives `_predictions(X)`, the (n, n_outputs) predictions, and the parameter `loss`.
    """

    def _output_activation(self):
        loss = self._make_loss()
        if loss.link is scores_link:
            return "identity"
        return "exp" if isinstance(loss, (Poisson, Gamma)) else loss.name

    def _make_loss(self):
        loss = get_loss(self.loss)
        if loss.labels or isinstance(loss, (LogLoss, Focal, Hinge)):
            raise ValueError(f"loss must be one for numbers, got {self.loss!r}, which is one for classes: take a classifier")
        return loss

    def _class_factors(self, y, sample_weight):
        return None

    def _count_outputs(self, y):
        return 1 if y.ndim == 1 else y.shape[1]

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Update the model with one pass over the samples, in batches.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        self : object
            The estimator.
        """
        return self._fit_more(X, y, sample_weight)

    def _encode(self, X, y):
        """Validation samples as `_validate_input` gives those of a fit."""
        return check_data(self, X, y, reset=False, y_numeric=True)

    def _central(self, p):
        """The predictions that are scored: of several quantiles the one nearest the median."""
        quantiles = getattr((getattr(self, "model_", None) or self._model).loss, "quantiles", None)
        if not isinstance(quantiles, tuple):
            return p
        return p[:, nearest_median(quantiles) :: len(quantiles)]

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Coefficient of determination of the predictions; of several quantiles the one nearest the median is taken.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            R2, at most 1.
        """
        y, p, sample_weight = scored_steps(self, X, y, self.predict(X), sample_weight)
        return r2_score(y, p if p.ndim == 1 else self._central(p), sample_weight=sample_weight)

    def _validate_input(self, X, y, incremental, reset):
        if incremental and not reset and need_no_check(self, X, y) and y.dtype.kind == "f" and np.isfinite(y).all():
            return X, y
        return check_data(self, X, y, reset, warn=True, y_numeric=True)

    def predict(self, X: Any) -> np.ndarray:
        """Predicted means of samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions.
        """
        p = self._predictions(X)
        return p[..., 0] if p.shape[-1] == 1 else p
