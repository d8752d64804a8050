"""DNNClassifier: a scikit-learn classifier over any list of layers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import StrOptions

from ..callbacks import Callback
from ..layers import Layer
from ..losses import CrossEntropy, Focal, LogLoss, Loss
from ..optimizers import Optimizer
from ..schedules import Schedule
from ..validation import can_stratify
from ._dnn import BaseDNN
from ._dnn_docs import ATTRIBUTES, NOTES, PARAMETERS
from ._parameters import set_all
from ._tasks import ClassifierTask


class DNNClassifier(ClassifierTask, ClassifierMixin, BaseDNN):
    __doc__ = f"""Deep neural network classifier over any list of layers; the output layer is added for the classes.

    Two classes and each label of an indicator matrix get a sigmoid, several classes a softmax.

    Parameters
    ----------
    {PARAMETERS}

    loss : {{'log_loss', 'focal'}} or Loss, default='log_loss'
        'focal' (two classes, multilabel), or `fastdnn.losses.Focal`, `LogLoss` or, for several classes,
        `CrossEntropy(label_smoothing=...)`.

    class_weight : dict, 'balanced' or None, default=None
        Weight of each class by its label, multiplied with the sample weights in training, not in validation; 'balanced' is
        (sum of the sample weights) / (n_classes * sum of those of the class's samples).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.

    {ATTRIBUTES}

    {NOTES}

    Examples
    --------
    >>> from fastdnn import DNNClassifier, layers
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> net = [layers.Dense(64, activation="relu"), layers.BatchNorm(), layers.Dropout(0.2), layers.Dense(32, "relu")]
    >>> clf = DNNClassifier(net, epochs=30, random_state=0).fit(X, y)
    >>> clf.score(X, y) > 0.98
    True
    >>> clf.transform(X).shape
    (1797, 32)
    """

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's convention
        **BaseDNN._parameter_constraints,
        "loss": [StrOptions({"log_loss", "focal"}), CrossEntropy, LogLoss, Focal],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        layers: Sequence[Layer] | None = None,
        *,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: Any = "relu",
        dropout: float | Sequence[float] = 0.0,
        optimizer: str | Optimizer = "adam",
        schedule: Schedule | None = None,
        epochs: int = 200,
        batch_size: int | str = "auto",
        accumulate: int = 1,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        shuffle: bool = True,
        early_stopping: bool = False,
        patience: int = 10,
        min_delta: float = 0.0,
        scoring: Any = None,
        validation_fraction: float | None = None,
        validation_split: Any = "auto",
        callbacks: Sequence[Callback] | None = None,
        transform_layer: int = -1,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool | int = 0,
        loss: str | Loss = "log_loss",
        class_weight: dict | str | None = None,
    ) -> None:
        set_all(self, locals())

    def _default_split(self, strata, fraction):
        if self._label_binarizer.y_type_ == "multilabel-indicator" or not can_stratify(strata, fraction):
            return "random"
        return "stratified"

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores of the classes, before the sigmoid or the softmax.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            One column for two classes: above 0 is the second one.
        """
        scores = self._scores(X)
        return scores[..., 0] if self.n_outputs_ == 1 else scores
