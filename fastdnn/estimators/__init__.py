"""scikit-learn estimators."""

from .autoencoder import Autoencoder
from .dnn_classifier import DNNClassifier
from .dnn_regressor import DNNRegressor
from .mlp_classifier import MLPClassifier
from .mlp_regressor import MLPRegressor
from .variational_autoencoder import VariationalAutoencoder

__all__ = ["Autoencoder", "DNNClassifier", "DNNRegressor", "MLPClassifier", "MLPRegressor", "VariationalAutoencoder"]
