"""MLPClassifier: scikit-learn's, many times faster."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import StrOptions

from ..callbacks import Callback
from ..inference import chunks
from ..losses import ClippedLogLoss, CrossEntropy, Focal, LogLoss, Loss
from ..optimizers import Optimizer
from ..schedules import Schedule
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
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: Any = "relu",
        *,
        solver: str | Optimizer = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str | Schedule = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float | None = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
        dropout: float | Sequence[float] = 0.0,
        l1: float = 0.0,
        weight_decay: float | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        schedule: Schedule | None = None,
        loss: str | Loss = "log_loss",
        class_weight: dict | str | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
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
