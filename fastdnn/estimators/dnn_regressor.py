"""DNNRegressor: a scikit-learn regressor over any list of layers."""

from collections.abc import Sequence
from typing import Any

from sklearn.base import RegressorMixin

from ..callbacks import Callback
from ..layers import Layer
from ..losses import Loss
from ..optimizers import Optimizer
from ..schedules import Schedule
from ._dnn import BaseDNN
from ._dnn_docs import ATTRIBUTES, NOTES, PARAMETERS
from ._parameters import set_all
from ._tasks import RegressorTask


class DNNRegressor(RegressorTask, RegressorMixin, BaseDNN):
    __doc__ = f"""Deep neural network regressor over any list of layers; the output layer is added for the targets.

    Parameters
    ----------
    {PARAMETERS}

    loss : str or Loss, default='squared_error'
        Any regression loss of `fastdnn.losses`. ``losses.Quantile((0.1, 0.5, 0.9))`` predicts a column for each quantile.

    Attributes
    ----------
    {ATTRIBUTES}

    {NOTES}

    Examples
    --------
    >>> from fastdnn import DNNRegressor, layers
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.preprocessing import scale
    >>> X, y = make_regression(n_samples=300, n_features=10, random_state=0)
    >>> block = layers.Residual([layers.Dense(32, activation="relu"), layers.Dense(32)])
    >>> regr = DNNRegressor([layers.Dense(32), block, block], random_state=0).fit(X, scale(y))
    >>> regr.score(X, scale(y)) > 0.95
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's convention
        **BaseDNN._parameter_constraints,
        "loss": [str, Loss],
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
        loss: str | Loss = "squared_error",
    ) -> None:
        set_all(self, locals())

    def _default_split(self, strata, fraction):
        return "random"
