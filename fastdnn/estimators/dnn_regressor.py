"""DNNRegressor: a scikit-learn regressor over any list of layers."""

from sklearn.base import RegressorMixin

from ..losses import Loss
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
        layers=None,
        *,
        hidden_layer_sizes=(100,),
        activation="relu",
        dropout=0.0,
        optimizer="adam",
        schedule=None,
        epochs=200,
        batch_size="auto",
        accumulate=1,
        shuffle=True,
        early_stopping=False,
        patience=10,
        min_delta=0.0,
        scoring=None,
        validation_fraction=None,
        validation_split="auto",
        callbacks=None,
        transform_layer=-1,
        warm_start=False,
        random_state=None,
        verbose=0,
        loss="squared_error",
    ):
        set_all(self, locals())

    def _default_split(self, strata, fraction):
        return "random"
