"""DaskTabularClassifier and DaskTabularRegressor: the Tabular* estimators for dask frames and arrays."""

from collections.abc import Callable, Sequence
from typing import Any, Self

from sklearn.base import _fit_context

from ..estimators import TabularClassifier, TabularRegressor
from ..estimators._parameters import set_all
from ..estimators._tabular_docs import ATTRIBUTES, PARAMETERS
from .fitting_tabular import DaskTabular
from .local import CONSTRAINTS, OF_WORKERS

NOTES = """Notes
    -----
    A table of up to 100,000 rows (fewer of more than 335 columns) comes here and is fitted as `{local}` fits the table of its
    rows in the order of the partitions, to the same bits. Of a longer one each worker learns from the partitions that lie
    there; what they have learned comes here and is merged, with a sample of 100,000 rows. See the notes on streams of
    `{local}` for what is exact, which rows are held out, and how many networks there are; the sample with the held out rows
    is here, the others stay on the workers, which need room for float32 arrays of them beside the partitions.

    Each network is trained by all workers together, one after the other, as `fastdnn.distributed.fit` trains a `Model`: see
    there for what is fixed by the seed and `lanes`, and for what happens when a worker is lost. Where partitions hold
    different things (rows in the order of a date, categories that occur in one of them), averages every few steps learn these
    slowly: take ``sync_every=1``, or mix the rows before.

    `predict` and the like give dask collections for dask collections, computed when they are wanted, and arrays for what is
    here. `to_local` gives the `{local}`, which can be explained, frozen and exported. Callbacks run here, at the ends of
    epochs."""
FIT = """Fit the networks to a table X and targets y that lie on the workers.

        Parameters
        ----------
        X : dask DataFrame, or dask array of shape (n_samples, n_features)
            The table as it is: numbers of any scale, categories, strings, dates, gaps; sizes need not be known.
        y : dask Series, DataFrame or array
            Targets, in partitions of the same rows.
        sample_weight : dask Series or array, default=None
            Weights >= 0 of the samples. Those of weight 0 are left out.
        client : distributed.Client, default=None
            None is the one that was made last.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the table, the targets or a parameter does not fit; what is wrong with a column names it, and its partition.
        MemoryError, RuntimeError
            See `fastdnn.distributed.fit`.
        """


class DaskTabularClassifier(DaskTabular, TabularClassifier):
    __doc__ = f"""`TabularClassifier` for dask frames and arrays, whose rows stay on the workers.

    Parameters
    ----------
    {PARAMETERS}

    eval_metric, label_smoothing, class_weight
        As for `TabularClassifier`.

    {OF_WORKERS}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels of all partitions; numbers of the labels of an indicator matrix.

    temperature_ : float
        As for `TabularClassifier`.

    {ATTRIBUTES}

    {NOTES.format(local="TabularClassifier")}

    Examples
    --------
    >>> from distributed import Client  # doctest: +SKIP
    >>> client = Client(n_workers=2, threads_per_worker=1)  # doctest: +SKIP
    >>> clf = DaskTabularClassifier("fast", random_state=0).fit(frame[["size", "color"]], frame["kind"])  # doctest: +SKIP
    >>> clf.predict(frame[["size", "color"]]).compute()  # doctest: +SKIP
    """

    local = TabularClassifier
    _parameter_constraints: dict = {**TabularClassifier._parameter_constraints, **CONSTRAINTS}  # noqa: RUF012

    def __init__(
        self,
        preset: str = "balanced",
        *,
        n_models: int | None = None,
        refit: bool | None = None,
        categorical_features: Any = "from_dtype",
        hidden_layer_sizes: Sequence[float] | None = None,
        learning_rate: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        n_bins: int | Sequence[int] | None = None,
        dropout: float | None = None,
        weight_decay: float | None = None,
        time_limit: float | None = None,
        callbacks: Any = None,
        random_state: Any = None,
        verbose: bool | int = 0,
        eval_metric: str | Callable = "log_loss",
        label_smoothing: float | None = None,
        class_weight: dict | str | None = None,
        sync_every: int | str = "auto",
        lanes: int | None = None,
    ) -> None:
        set_all(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, client: Any = None) -> Self:
        return self._fit_collections(X, y, sample_weight, client)

    fit.__doc__ = FIT

    def predict(self, X: Any) -> Any:
        """The most probable class of each row: a dask array or series of dask collections, an array of tables."""
        return self._mapped("predict", X)

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes: a dask array or frame of dask collections, an array of tables."""
        return self._mapped("predict_proba", X)

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithm of `predict_proba`."""
        return self._mapped("predict_log_proba", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of the predictions, of dask collections partition by partition."""
        return self._scored(X, y, sample_weight)

    def to_local(self) -> TabularClassifier:
        """A fitted `TabularClassifier` of the same networks, which predicts the same."""
        return self._to_local()


class DaskTabularRegressor(DaskTabular, TabularRegressor):
    __doc__ = f"""`TabularRegressor` for dask frames and arrays, whose rows stay on the workers.

    Parameters
    ----------
    {PARAMETERS}

    eval_metric, quantiles, target_transform
        As for `TabularRegressor`.

    {OF_WORKERS}

    Attributes
    ----------
    {ATTRIBUTES}

    {NOTES.format(local="TabularRegressor")}

    Examples
    --------
    >>> from distributed import Client  # doctest: +SKIP
    >>> client = Client(n_workers=2, threads_per_worker=1)  # doctest: +SKIP
    >>> regr = DaskTabularRegressor("fast", random_state=0).fit(frame[["size", "color"]], frame["price"])  # doctest: +SKIP
    """

    local = TabularRegressor
    _parameter_constraints: dict = {**TabularRegressor._parameter_constraints, **CONSTRAINTS}  # noqa: RUF012

    def __init__(
        self,
        preset: str = "balanced",
        *,
        n_models: int | None = None,
        refit: bool | None = None,
        categorical_features: Any = "from_dtype",
        hidden_layer_sizes: Sequence[float] | None = None,
        learning_rate: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        n_bins: int | Sequence[int] | None = None,
        dropout: float | None = None,
        weight_decay: float | None = None,
        time_limit: float | None = None,
        callbacks: Any = None,
        random_state: Any = None,
        verbose: bool | int = 0,
        eval_metric: str | Callable = "rmse",
        quantiles: float | Sequence[float] | None = None,
        target_transform: str = "auto",
        sync_every: int | str = "auto",
        lanes: int | None = None,
    ) -> None:
        set_all(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, client: Any = None) -> Self:
        return self._fit_collections(X, y, sample_weight, client)

    fit.__doc__ = FIT

    def predict(self, X: Any) -> Any:
        """Predictions for the rows: a dask array, series or frame of dask collections, an array of tables."""
        return self._mapped("predict", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Coefficient of determination of the predictions, of dask collections partition by partition."""
        return self._scored(X, y, sample_weight)

    def to_local(self) -> TabularRegressor:
        """A fitted `TabularRegressor` of the same networks, which predicts the same."""
        return self._to_local()
