"""MLPClassifier: scikit-learn's, many times faster."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import StrOptions

from ..inference import chunks
from ..losses import ClippedLogLoss, CrossEntropy, Focal, LogLoss
from ._mlp import BaseMLP
from ._mlp_docs import ATTRIBUTES, NOTES, PARAMETERS
from ._parameters import set_all
from ._tasks import ClassifierTask


class MLPClassifier(ClassifierTask, ClassifierMixin, BaseMLP):
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
        callbacks=None,
    ):
        set_all(self, locals())

    def _log_loss(self, softmax):
        return CrossEntropy(clip=True) if softmax else ClippedLogLoss()

    def _score(self, source, y, sample_weight):
        """Accuracy of the predictions for targets y as the network learns them."""
        model = self._model
        if model.loss.labels:
            parts = chunks(source.n, model.n_out)
            right = np.concatenate([model.predict(source.take(part)).argmax(axis=1) for part in parts]) == y
        else:
            right = ((model.predict(source) > 0.5) == y).all(axis=1)
        return float(np.average(right, weights=sample_weight))
