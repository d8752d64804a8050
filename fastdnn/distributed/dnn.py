"""DaskDNNClassifier and DaskDNNRegressor: the DNN* estimators for dask arrays and frames."""

from collections.abc import Sequence
from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.base import _fit_context

from ..callbacks import Callback
from ..estimators import DNNClassifier, DNNRegressor
from ..estimators._dnn_docs import ATTRIBUTES, PARAMETERS
from ..estimators._parameters import set_all
from ..layers import Layer
from ..losses import Loss
from ..optimizers import Optimizer
from ..schedules import Schedule
from .fitting_dnn import DaskDNN
from .local import CONSTRAINTS, OF_WORKERS

NOTES = """`predict` and the like give dask collections for dask collections, computed when they are wanted, and arrays for
    arrays. `to_local` gives the estimator for arrays. What is fixed by the seed, and what happens when a worker is lost, see
    `fastdnn.distributed.fit`.

    `accumulate`, `mixup` and `cutmix` are not for samples that lie on workers, nor are parts that are held out: early
    stopping needs X_val and y_val."""
FIT = """Fit the network to samples X and targets y that lie on the workers.

        Parameters
        ----------
        X : dask array of shape (n_samples, n_features) or (n_samples, ...), or dask DataFrame
            Samples, numbers; chunk sizes need not be known.
        y : dask array, Series or DataFrame
            Targets, in partitions of the same rows.
        sample_weight : dask array or Series, default=None
            Weights of the samples.
        client : distributed.Client, default=None
            None is the one that was made last.
        X_val, y_val : array-like or dask collection, default=None
            Samples and targets to validate with, here.
        sample_weight_val : array-like, default=None
            Weights of those.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, MemoryError, RuntimeError
            See `fastdnn.distributed.fit`.
        """


class DaskDNNClassifier(DaskDNN, DNNClassifier):
    __doc__ = f"""`DNNClassifier` for dask arrays and frames, whose samples stay on the workers.

    Parameters
    ----------
    {PARAMETERS}

    loss : {{'log_loss', 'focal'}} or Loss, default='log_loss'
        As for `DNNClassifier`.

    class_weight : dict, 'balanced' or None, default=None
        As for `DNNClassifier`.

    {OF_WORKERS}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels of all partitions.

    {ATTRIBUTES}

    Notes
    -----
    {NOTES}

    Examples
    --------
    >>> from distributed import Client  # doctest: +SKIP
    >>> client = Client(n_workers=2, threads_per_worker=1)  # doctest: +SKIP
    >>> clf = DaskDNNClassifier(epochs=20, random_state=0).fit(X, y)  # doctest: +SKIP
    >>> clf.predict(X).compute()  # doctest: +SKIP
    """

    local = DNNClassifier
    _parameter_constraints: dict = {**DNNClassifier._parameter_constraints, **CONSTRAINTS}  # noqa: RUF012

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
        sync_every: int | str = "auto",
        lanes: int | None = None,
    ) -> None:
        set_all(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, client: Any = None, X_val: Any = None, y_val: Any = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:  # fmt: skip
        return self._fit_collections(X, y, sample_weight, client, (X_val, y_val, sample_weight_val))

    fit.__doc__ = FIT

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: ArrayLike | None = None) -> Self:
        """Update the network with one pass over arrays; ValueError for dask collections."""
        self._check_local(X)
        return super().partial_fit(X, y, sample_weight, classes)

    def predict(self, X: Any) -> Any:
        """Class labels of samples: a dask array or series of dask collections, an array of arrays."""
        return self._mapped("predict", X)

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes: a dask array or frame of dask collections, an array of arrays."""
        return self._mapped("predict_proba", X)

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithm of `predict_proba`."""
        return self._mapped("predict_log_proba", X)

    def decision_function(self, X: Any) -> Any:
        """Scores of the classes, before the sigmoid or the softmax; collections as in `predict_proba`."""
        return self._mapped("decision_function", X)

    def transform(self, X: Any) -> Any:
        """What a hidden layer gives for samples; collections as in `predict_proba`."""
        return self._mapped("transform", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of the predictions, of dask collections partition by partition."""
        return self._scored(X, y, sample_weight)

    def to_local(self) -> DNNClassifier:
        """A fitted `DNNClassifier` with a copy of the network, which predicts the same."""
        return self._to_local()


class DaskDNNRegressor(DaskDNN, DNNRegressor):
    __doc__ = f"""`DNNRegressor` for dask arrays and frames, whose samples stay on the workers.

    Parameters
    ----------
    {PARAMETERS}

    loss : str or Loss, default='squared_error'
        As for `DNNRegressor`.

    {OF_WORKERS}

    Attributes
    ----------
    {ATTRIBUTES}

    Notes
    -----
    {NOTES}

    Examples
    --------
    >>> from distributed import Client  # doctest: +SKIP
    >>> client = Client(n_workers=2, threads_per_worker=1)  # doctest: +SKIP
    >>> regr = DaskDNNRegressor(epochs=20, random_state=0).fit(X, y)  # doctest: +SKIP
    """

    local = DNNRegressor
    _parameter_constraints: dict = {**DNNRegressor._parameter_constraints, **CONSTRAINTS}  # noqa: RUF012

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
        sync_every: int | str = "auto",
        lanes: int | None = None,
    ) -> None:
        set_all(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, client: Any = None, X_val: Any = None, y_val: Any = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:  # fmt: skip
        return self._fit_collections(X, y, sample_weight, client, (X_val, y_val, sample_weight_val))

    fit.__doc__ = FIT

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Update the network with one pass over arrays; ValueError for dask collections."""
        self._check_local(X)
        return super().partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Any:
        """Predicted means of samples: a dask array, series or frame of dask collections, an array of arrays."""
        return self._mapped("predict", X)

    def transform(self, X: Any) -> Any:
        """What a hidden layer gives for samples; collections as in `predict`."""
        return self._mapped("transform", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Coefficient of determination of the predictions, of dask collections partition by partition."""
        return self._scored(X, y, sample_weight)

    def to_local(self) -> DNNRegressor:
        """A fitted `DNNRegressor` with a copy of the network, which predicts the same."""
        return self._to_local()
