"""MLPClassifier: scikit-learn's, many times faster."""

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from ..losses import ClippedLogLoss, CrossEntropy, Focal, LogLoss, get_loss
from ._base import BaseMLP
from ._docs import ATTRIBUTES, NOTES, PARAMETERS


class MLPClassifier(ClassifierMixin, BaseMLP):
    __doc__ = f"""Multi-layer perceptron classifier, a drop-in for `sklearn.neural_network.MLPClassifier`.

    Minimizes the log loss: softmax over the classes, or a sigmoid for two classes and for each label of an indicator
    matrix. Same parameters, attributes, warnings and, with the same `random_state`, the same training as scikit-learn's.

    Parameters
    ----------
    {PARAMETERS}

    loss : {{'log_loss', 'focal'}} or Loss, default='log_loss'
        Not scikit-learn's. 'focal' (two classes, multilabel), or `fastdnn.losses.Focal`, `LogLoss` or, for several classes,
        `CrossEntropy(label_smoothing=...)`.

    class_weight : dict, 'balanced' or None, default=None
        Not scikit-learn's. Weight of each class by its label, multiplied with the sample weights; 'balanced' is
        n_samples / (n_classes * samples of the class).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.

    {ATTRIBUTES}

    Notes
    -----
    The loss that is reported takes probabilities as clipped to [eps, 1 - eps] of the float type, as scikit-learn does.

    {NOTES}

    References
    ----------
    Glorot, X. & Bengio, Y. (2010). Understanding the difficulty of training deep feedforward neural networks. AISTATS.

    Kingma, D. & Ba, J. (2015). Adam: A method for stochastic optimization. arXiv:1412.6980.

    Examples
    --------
    >>> from fastdnn import MLPClassifier
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = make_classification(n_samples=100, random_state=1)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=1)
    >>> clf = MLPClassifier(random_state=1, max_iter=300).fit(X_train, y_train)
    >>> clf.predict_proba(X_test[:1]).round(3)
    array([[0.038, 0.962]])
    >>> clf.predict(X_test[:5, :])
    array([1, 0, 1, 0, 1])
    >>> clf.score(X_test, y_test)
    0.88
    """

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's convention
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"log_loss", "focal"}), CrossEntropy, LogLoss, Focal],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        dropout=0.0,
        l1=0.0,
        weight_decay=None,
        clip_norm=None,
        clip_value=None,
        schedule=None,
        loss="log_loss",
        class_weight=None,
    ):
        self._set(locals())

    def _output_activation(self):
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _make_loss(self):
        softmax = self._output_activation() == "softmax"
        if self.loss == "log_loss":
            return CrossEntropy(clip=True) if softmax else ClippedLogLoss()
        loss = get_loss(self.loss)
        if softmax != (loss.link is CrossEntropy.link):
            kind = "several classes" if softmax else "two classes or a multilabel problem"
            raise ValueError(f"loss={self.loss!r} does not fit {kind}; 'log_loss' fits all")
        return loss

    def _class_weighted(self, y, sample_weight):
        if self.class_weight is None:
            return sample_weight
        if self._label_binarizer.y_type_ == "multilabel-indicator":
            if self.class_weight != "balanced":
                raise ValueError("class_weight must be 'balanced' or None for label indicators; use sample_weight")
            weights = compute_sample_weight("balanced", y)
        else:
            labels = self._label_binarizer.inverse_transform(y)
            of_classes = np.asarray(compute_class_weight(self.class_weight, classes=self.classes_, y=labels), float)
            if not np.isfinite(of_classes).all() or (of_classes < 0).any():
                raise ValueError(f"class_weight must hold finite numbers >= 0, got {self.class_weight!r}")
            weights = of_classes[np.searchsorted(self.classes_, labels)]
        return weights if sample_weight is None else weights * sample_weight

    def _validate_input(self, X, y, incremental, reset):
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = unique_labels(y)
            if self.warm_start:
                if set(classes) != set(self.classes_):
                    raise ValueError(
                        "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                        f"Previously got {self.classes_}, `y` has {classes}"
                    )
            elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
                )
        return X, self._label_binarizer.transform(y).astype(bool)

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
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
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all samples at once; for partial_fit give a dict, which "
                "sklearn.utils.class_weight.compute_class_weight('balanced', classes=classes, y=y) makes"
            )
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer().fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X):
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
        p = self._predictions(X)
        if self.out_activation_ == "softmax":
            return self.classes_[p.argmax(axis=1)]
        if self.n_outputs_ == 1 and len(self.classes_) == 2:
            return self.classes_[(p.ravel() > 0.5).astype(np.intp)]
        return self._label_binarizer.inverse_transform(p.ravel() if self.n_outputs_ == 1 else p)

    def predict_proba(self, X):
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
        return np.column_stack([1 - p, p]) if self.n_outputs_ == 1 else p

    def predict_log_proba(self, X):
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

    def _score(self, p, y, sample_weight):
        """Accuracy of probabilities p for binarized targets y."""
        right = p.argmax(axis=1) == y.argmax(axis=1) if self._model.loss.labels else ((p > 0.5) == y).all(axis=1)
        return float(np.average(right, weights=sample_weight))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
