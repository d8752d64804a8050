"""`freeze` of estimators."""

from typing import Any

from sklearn.base import is_classifier

from ..frozen.estimators import FrozenClassifier, FrozenRegressor
from ._predict import checked
from ._steps import takes_ids


class Freezable:
    """What is given by an estimator: `_fitted_network()`, and `classes_` of a classifier."""

    def freeze(self, dtype: str = "float32", calibration: Any = None, percentile: float = 100.0) -> Any:
        """An object that only predicts as this estimator does now: smaller, faster, and no training.

        Parameters
        ----------
        dtype : {"float32", "float64", "bfloat16", "int8"}, default="float32"
            Of the products, see `Model.freeze`; predictions are of the network's float type, float64 only with "float64".
        calibration : samples as `predict` takes them, or None
            For "int8", see `Model.freeze`.
        percentile : float, default=100.0
            See `Model.freeze`.

        Returns
        -------
        FrozenClassifier or FrozenRegressor
            With `predict`, of a classifier `predict_proba` and `classes_`, and ``save(path)``, which writes a file that
            `fastdnn.predictor.load` reads. It takes the estimator's place in a scikit-learn Pipeline that is fitted.

        Raises
        ------
        ValueError
            If an argument is not one of those named above.
        """
        predictor = self._freeze_network(dtype, calibration, percentile)
        names = getattr(self, "feature_names_in_", None)
        rest = {"names": names, "samples": self._kind_of_samples()}
        if is_classifier(self):
            scored = hasattr(self, "decision_function")
            return FrozenClassifier(predictor, self.classes_, self._kind_of_task(), scored, **rest)
        return FrozenRegressor(predictor, *self._kind_of_numbers(predictor), **rest)

    def _freeze_network(self, dtype, calibration, percentile):
        """What predicts."""
        model = self._fitted_network()
        samples = None if calibration is None else checked(self, model, calibration)
        return model.freeze(dtype, samples, percentile)

    def _kind_of_samples(self):
        return "ids" if takes_ids(self) else "floats"

    def _kind_of_task(self):
        kind = self._label_binarizer.y_type_
        return "multilabel" if kind == "multilabel-indicator" else kind

    def _kind_of_numbers(self, predictor):
        """(whether one number for a sample has no axis of its own, quantiles or None)"""
        quantiles = getattr(self._fitted_network().loss, "quantiles", None)
        quantiles = quantiles if isinstance(quantiles, tuple) else None
        return predictor.output_shape[-1] == 1, quantiles
