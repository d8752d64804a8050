"""Estimators that only predict: a predictor with the labels, the shapes and the checks of the estimator that it was made of.

Importing this, and predicting for arrays of numbers, needs NumPy alone: a service that starts has no time for scikit-learn.
"""

import math
import warnings

import numpy as np

from .._importing import alone

MOST_NUMBERS = 1 << 22  # probabilities that are there at once where labels are wanted
TASKS = "binary", "multiclass", "multilabel"
SAMPLES = "floats", "ids", "table"  # what a predictor takes


class Frozen:
    """Base of what `freeze` of an estimator gives.

    It goes into a scikit-learn `Pipeline` as its last step, into `CalibratedClassifierCV` and the like: `fit` leaves it as it
    is, and clones are the same object, as with scikit-learn's `FrozenEstimator`. Python threads may share it. It pickles.

    Parameters
    ----------
    predictor : Predictor
        Of the network, or of the networks of a table.
    names : sequence of str or None
        Of the columns that fit has seen, if they had some.
    samples : {"floats", "ids", "table"}, default="floats"
        What the predictor takes; it checks tables itself.

    Attributes
    ----------
    predictor : Predictor
    n_features_in_ : int
        Features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X had string column names.
    """

    def __init__(self, predictor, names=None, samples="floats"):
        self.predictor, self._shape, self._samples = predictor, predictor.input_shape, samples
        self._real = np.dtype("float64" if predictor.dtype == "float64" else "float32")  # of the network
        self.n_features_in_ = self._shape[0]
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)

    def fit(self, X=None, y=None, **parameters):
        """Nothing, but for scikit-learn's sake: what is frozen stays as it is."""
        return self

    def save(self, path):
        """Write it to a file that cannot execute code; whole or not at all.

        Parameters
        ----------
        path : str or path-like
            The file, ".fdnn" by custom; `fastdnn.predictor.load` reads it.

        Raises
        ------
        OSError
            If it cannot be written.
        ValueError
            If there are parts that cannot be written down: functions of your own, labels that are no strings or numbers.
        """
        with alone():
            from .files import save_predictor
        save_predictor(self.predictor, path, {"estimator": self.plain()})

    def plain(self):
        """What makes it of its predictor, as JSON has it; see `of_plain`."""
        names = self.__dict__.get("feature_names_in_")
        return {"samples": self._samples, "names": None if names is None else names.tolist()}

    def _checked(self, X):
        """X as the predictor takes it: an array of finite numbers, or what scikit-learn makes of it, with its errors."""
        if self._samples == "table":
            return X
        ids, shape, names = self._samples == "ids", self._shape, self.__dict__.get("feature_names_in_")
        named = names is not None and _is_plain_frame(X, names)
        given = X.to_numpy() if named else np.asarray(X) if isinstance(X, (list, tuple)) and not ids else X
        if (
            type(given) is np.ndarray
            and given.dtype.kind in ("iub" if ids else "fiub")
            and given.shape[1:] == shape
            and len(given)
            and (ids or _fits(given, self._real))
        ):
            if names is not None and not named:
                text = f"X does not have valid feature names, but {type(self).__name__} was fitted with feature names"
                warnings.warn(text, UserWarning, stacklevel=3)
            return given
        with alone():
            from ..inputs import check_samples
        return check_samples(self, X, shape, self._real, ids)

    def _refuse_steps(self):
        """ValueError if something is predicted for each step: who knows which of them count."""
        if len(self.predictor.output_shape) > 1:
            raise ValueError("score is of one prediction a sample, here each step has one; compare those that count yourself")

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_clone__(self):
        return self

    def __sklearn_tags__(self):
        from sklearn.utils import InputTags, Tags, TargetTags

        table = self._samples == "table"
        inputs = InputTags(sparse=not table, allow_nan=table, string=table, three_d_array=len(self._shape) > 1)
        return Tags(estimator_type=None, target_tags=TargetTags(required=True), input_tags=inputs)

    def __repr__(self):
        return f"<{type(self).__name__} of {self.predictor!r}>"


def _is_plain_frame(X, names):
    """Whether X is a frame of pandas whose columns have these names, in this order, and are NumPy's numbers."""
    dtypes = getattr(X, "dtypes", ())
    plain = hasattr(X, "iloc") and len(dtypes) and all(isinstance(t, np.dtype) and t.kind in "iuf" for t in dtypes)
    return plain and len(X.columns) == len(names) and X.columns.tolist() == names.tolist()


def _fits(X, real):
    """Whether the numbers of an array are finite in a float type."""
    if X.dtype.kind != "f":
        return True
    if X.dtype.itemsize > real.itemsize:
        return bool((np.abs(X) <= np.finfo(real).max).all())  # False where one is NaN
    return bool(np.isfinite(X).all())


class FrozenClassifier(Frozen):
    """A classifier that only predicts: what `freeze` of a classifier gives, and `fastdnn.predictor.load` reads.

    Parameters
    ----------
    predictor, names, samples : see `Frozen`
    classes : ndarray of shape (n_classes,)
        Labels.
    task : {"binary", "multiclass", "multilabel"}
        Binary networks have one output, the probability of the second class.
    scored : bool, default=False
        Whether there is a `decision_function`, as the estimator had one.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    """

    def __init__(self, predictor, classes, task, scored=False, **rest):
        super().__init__(predictor, **rest)
        self.classes_, self._task, self._scored = classes, task, scored
        self._most = max(1, MOST_NUMBERS // math.prod(self.predictor.output_shape))

    def predict(self, X):
        """Class labels of samples.

        Parameters
        ----------
        X : as for the estimator
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or indicators of a multilabel problem; of networks that label each step (n_samples, time).
        """
        X = self._checked(X)
        if self._task == "multiclass":
            return self.classes_[self._winners(X)]
        p = self.predictor.predict(X)
        if self._task == "multilabel":
            return (p > 0.5).astype(int)
        return self.classes_[np.minimum(p[..., 0] > 0.5, len(self.classes_) - 1).astype(np.intp)]

    def _winners(self, X):
        """Number of the most probable class of each sample; the probabilities of many classes are never all there at once."""
        n, rows = X.shape[0] if hasattr(X, "shape") else len(X), self._most
        if n <= rows or self._samples == "table":
            return self.predictor.predict(X).argmax(axis=-1)
        X = X.tocsr() if hasattr(X, "tocsr") else X
        return np.concatenate([self.predictor.predict(X[lo : lo + rows]).argmax(axis=-1) for lo in range(0, n, rows)])

    def predict_proba(self, X):
        """Probabilities of the classes.

        Parameters
        ----------
        X : as for the estimator
            Samples.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`. In a multilabel problem each label's own probability.
        """
        p = self.predictor.predict(self._checked(X))
        return np.concatenate([1 - p, p], axis=-1) if self._task == "binary" else p

    def predict_log_proba(self, X):
        """Logarithm of `predict_proba`, -inf where that is zero."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    @property
    def decision_function(self):
        """Function of samples: scores of the classes, before the sigmoid or the softmax, if the estimator has one, too."""
        if not self._scored:
            raise AttributeError(f"this {type(self).__name__} has no decision_function, as the estimator had none")
        return self._scores

    def _scores(self, X):
        scores = self.predictor.forward(self._checked(X))
        return scores[..., 0] if self._task == "binary" else scores

    def score(self, X, y, sample_weight=None):
        """Accuracy of the predictions for labels y, of samples."""
        with alone():
            from sklearn.metrics import accuracy_score
        self._refuse_steps()
        return accuracy_score(y, self.predict(X), sample_weight=sample_weight)

    def plain(self):
        own = {"kind": "classifier", "classes": plain_classes(self.classes_), "task": self._task, "scored": self._scored}
        return own | super().plain()

    def __sklearn_tags__(self):
        from sklearn.utils import ClassifierTags

        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags(multi_class=True, multi_label=True)
        return tags


def nearest_median(quantiles):
    """Position of the quantile that is nearest the median."""
    return int(np.argmin(np.abs(np.array(quantiles) - 0.5)))


class FrozenRegressor(Frozen):
    """A regressor that only predicts: what `freeze` of a regressor gives, and `fastdnn.predictor.load` reads.

    Parameters
    ----------
    predictor, names, samples : see `Frozen`
    flat : bool
        Whether the one number that is predicted for a sample has no axis of its own.
    quantiles : sequence of float or None
        That are predicted for each target, if they are quantiles.
    """

    def __init__(self, predictor, flat, quantiles=None, **rest):
        super().__init__(predictor, **rest)
        self._flat, self.quantiles_ = flat, quantiles if quantiles is None else tuple(quantiles)

    def predict(self, X):
        """Predictions for samples.

        Parameters
        ----------
        X : as for the estimator
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the units of the targets of fit.
        """
        p = self.predictor.predict(self._checked(X))
        return p[..., 0] if self._flat else p

    def score(self, X, y, sample_weight=None):
        """Coefficient of determination of the predictions; of several quantiles the one nearest the median is taken."""
        with alone():
            from sklearn.metrics import r2_score
        self._refuse_steps()
        p = self.predict(X)
        if self.quantiles_ is not None and p.ndim > 1:
            p = p[:, nearest_median(self.quantiles_) :: len(self.quantiles_)]
        return r2_score(y, p, sample_weight=sample_weight)

    def plain(self):
        quantiles = None if self.quantiles_ is None else list(self.quantiles_)
        return {"kind": "regressor", "flat": self._flat, "quantiles": quantiles} | super().plain()

    def __sklearn_tags__(self):
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.regressor_tags, tags.target_tags.multi_output = "regressor", RegressorTags(), True
        return tags


# ---------------------------------------------------------------- as JSON


def of_plain(predictor, plain):
    """The estimator of `Frozen.plain`; the predictor itself where that is None.

    Raises
    ------
    ValueError
        If it is none, or does not fit the predictor.
    """
    if plain is None:
        return predictor
    if not isinstance(plain, dict):
        raise ValueError("estimator must be an object")
    _check(plain, "samples", lambda samples: samples in SAMPLES)
    _check(plain, "names", lambda names: names is None or _are(names, str))
    names, n_features, n_outputs = plain["names"], predictor.input_shape[0], predictor.output_shape[-1]
    if names is not None and len(names) != n_features:
        raise ValueError(f"names must be of {n_features} columns, got {len(names)}")
    rest = {"names": names, "samples": plain["samples"]}
    if plain.get("kind") == "classifier":
        task, classes = plain.get("task"), classes_of(plain.get("classes"))
        _check(plain, "task", lambda task: task in TASKS)
        _check(plain, "scored", lambda scored: type(scored) is bool)
        if n_outputs != len(classes) if task != "binary" else n_outputs != 1 or not 0 < len(classes) < 3:
            raise ValueError(f"{len(classes)} classes do not fit {n_outputs} outputs")
        return FrozenClassifier(predictor, classes, task, plain["scored"], **rest)
    if plain.get("kind") != "regressor":
        raise ValueError(f"kind must be 'classifier' or 'regressor', got {str(plain.get('kind'))[:80]!r}")
    _check(plain, "flat", lambda flat: type(flat) is bool)
    _check(plain, "quantiles", lambda quantiles: quantiles is None or (_are(quantiles, float) and quantiles))
    return FrozenRegressor(predictor, plain["flat"], plain["quantiles"], **rest)


def _check(plain, name, fits):
    if not fits(plain.get(name)):
        raise ValueError(f"{name} of the estimator must be another, got {str(plain.get(name))[:80]!r}")


def _are(values, kind):
    return isinstance(values, list) and all(type(value) is kind for value in values)


INTEGERS = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
LABEL_DTYPES = "str", "object", "bool", *INTEGERS, "float16", "float32", "float64"
OF_DTYPE = {"b": bool, "i": int, "u": int, "f": float, "U": str}  # types of labels, by the kind of their array


def plain_classes(classes):
    """Labels as JSON has them; ValueError if they are of a type that it has not."""
    name = "str" if classes.dtype.kind == "U" else classes.dtype.name
    values = [value.item() if isinstance(value, np.generic) else value for value in classes.tolist()]  # of object arrays
    if name not in LABEL_DTYPES or (name == "object" and not {type(value) for value in values} <= {*OF_DTYPE.values()}):
        raise ValueError(f"classes_ of {classes.dtype} cannot be written to a file; fit with strings or numbers as labels")
    return {"dtype": name, "values": values}


def classes_of(plain):
    """The other way round; ValueError if they are no labels."""
    if not isinstance(plain, dict) or plain.get("dtype") not in LABEL_DTYPES or not isinstance(plain.get("values"), list):
        raise ValueError("classes must be labels with their type")
    dtype, values = np.dtype(plain["dtype"]), plain["values"]
    kinds = {*OF_DTYPE.values()} if dtype.kind == "O" else {OF_DTYPE[dtype.kind]}
    if not {type(value) for value in values} <= kinds:
        raise ValueError(f"classes must be labels of type {plain['dtype']}")
    try:
        return np.array(values, dtype)
    except OverflowError as error:
        raise ValueError(f"classes must be labels of type {plain['dtype']}: {error}") from None
