"""scikit-learn estimators."""

from .dnn_classifier import DNNClassifier
from .dnn_regressor import DNNRegressor
from .mlp_classifier import MLPClassifier
from .mlp_regressor import MLPRegressor

__all__ = ["DNNClassifier", "DNNRegressor", "MLPClassifier", "MLPRegressor"]
