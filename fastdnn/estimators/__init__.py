"""scikit-learn estimators."""

from .autoencoder import Autoencoder
from .dnn_classifier import DNNClassifier
from .dnn_regressor import DNNRegressor
from .mlp_classifier import MLPClassifier
from .mlp_regressor import MLPRegressor
from .tabular_classifier import TabularClassifier
from .tabular_regressor import TabularRegressor
from .variational_autoencoder import VariationalAutoencoder

__all__ = [
    "Autoencoder",
    "DNNClassifier",
    "DNNRegressor",
    "MLPClassifier",
    "MLPRegressor",
    "TabularClassifier",
    "TabularRegressor",
    "VariationalAutoencoder",
]
