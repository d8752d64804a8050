"""scikit-learn estimators."""

from .mlp_classifier import MLPClassifier
from .mlp_regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
