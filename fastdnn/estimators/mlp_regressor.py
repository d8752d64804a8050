"""MLPRegressor: scikit-learn's, many times faster."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions

from ..callbacks import Callback
from ..losses import Loss, SquaredError
from ..optimizers import Optimizer
from ..schedules import Schedule
from ._mlp import BaseMLP
from ._mlp_docs import ATTRIBUTES, NOTES, PARAMETERS
from ._parameters import set_all
from ._tasks import RegressorTask

LOSSES = {"squared_error", "poisson", "absolute_error", "huber", "log_cosh", "quantile", "gamma"}


class MLPRegressor(RegressorTask, RegressorMixin, BaseMLP):
    __doc__ = f"""Multi-layer perceptron regressor, a drop-in for `sklearn.neural_network.MLPRegressor`.

    Same parameters, attributes, warnings and, with the same `random_state`, the same training as scikit-learn's.

    Parameters
    ----------
    loss : {{'squared_error', 'poisson', 'absolute_error', 'huber', 'log_cosh', 'quantile', 'gamma'}} or Loss, \
            default='squared_error'
        Half the squared error, half the Poisson deviance with exp as the link (then y >= 0), and what scikit-learn does not
        have: any regression loss of `fastdnn.losses`, by name or as it is. It is the first positional parameter, as in
        scikit-learn since 1.7. ``losses.Quantile((0.1, 0.5, 0.9))`` predicts one column for each quantile.

    {PARAMETERS}

    Attributes
    ----------
    {ATTRIBUTES}

    Notes
    -----
    With several outputs the squared error that is reported is the mean over the outputs, while the gradient that is
    followed is that of the sum: scikit-learn's training (issue 8349), matched step by step.

    {NOTES}

    y is taken in X's float type, so float32 samples are computed in float32 whatever y is (scikit-learn trains in float64
    if y is); `partial_fit` does not exist with solver='lbfgs', as for the classifier (scikit-learn runs a whole L-BFGS
    fit); and loss='poisson' is computed from the scores, finite where scikit-learn's overflows to NaN, and refuses
    negative y.

    References
    ----------
    Glorot, X. & Bengio, Y. (2010). Understanding the difficulty of training deep feedforward neural networks. AISTATS.

    Kingma, D. & Ba, J. (2015). Adam: A method for stochastic optimization. arXiv:1412.6980.

    Examples
    --------
    >>> from fastdnn import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=1)
    >>> regr = MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X_train, y_train)
    >>> regr.predict(X_test[:2]).round(1)
    array([  29. , -290.8])
    >>> round(regr.score(X_test, y_test), 2)
    0.98
    """

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's convention
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(LOSSES), Loss],
    }

    def __init__(
        self,
        loss: str | Loss = "squared_error",
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
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
        set_all(self, locals())

    def _make_loss(self):
        return SquaredError(mean_over_outputs=True) if self.loss == "squared_error" else super()._make_loss()

    def _score(self, source, y, sample_weight):
        """R2 of the predictions for targets y; NaN where a prediction is not finite."""
        p = self._model.predict(source)
        if not np.isfinite(p).all():
            return float("nan")
        return float(r2_score(y, self._central(p), sample_weight=sample_weight))
