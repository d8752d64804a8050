"""Settings worth trying for each estimator, as scikit-learn's random searches and Optuna take them."""

from typing import Any

import scipy.stats

from .estimators import DNNClassifier, DNNRegressor, MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor

# Hidden layers of tables' networks; floats are multiples of the number of features.
TABULAR_LAYERS = [(64, 64), (128, 128), (128, 128, 128), (256, 256), (256, 256, 256), (1.0, 1.0), (2.0, 1.0), (4.0, 2.0)]
LAYERS = [(50,), (100,), (200,), (100, 50), (100, 100), (200, 100), (256, 256), (100, 100, 100), (256, 128, 64)]


def search_space(estimator: Any) -> dict:
    """Distributions of the settings of an estimator that are worth a search.

    Parameters
    ----------
    estimator : estimator
        A Tabular*, DNN* or MLP* estimator of fastdnn, or its class.

    Returns
    -------
    dict of str -> list or scipy.stats distribution
        For ``RandomizedSearchCV(estimator, search_space(estimator))`` or ``HalvingRandomSearchCV``; lists are choices,
        distributions are log-uniform numbers, which a ``GridSearchCV`` does not take. In a pipeline put the step's name
        and "__" before each key.

    Raises
    ------
    ValueError
        If it is another estimator.

    Examples
    --------
    >>> from fastdnn import TabularRegressor, search_space
    >>> sorted(search_space(TabularRegressor()))
    ['batch_size', 'dropout', 'hidden_layer_sizes', 'learning_rate', 'n_bins', 'weight_decay']
    """
    cls = estimator if isinstance(estimator, type) else type(estimator)
    if issubclass(cls, (TabularClassifier, TabularRegressor)):
        space = {
            "hidden_layer_sizes": TABULAR_LAYERS,
            "learning_rate": scipy.stats.loguniform(0.01, 0.3),
            "n_bins": [0, 8, 16, 32, 64, 128],
            "dropout": [0.0, 0.05, 0.1, 0.2, 0.3],
            "weight_decay": scipy.stats.loguniform(1e-4, 0.1),
            "batch_size": [32, 64, 128, 256, 512],
        }
        return space | ({"label_smoothing": [0.0, 0.05, 0.1]} if issubclass(cls, TabularClassifier) else {})
    if issubclass(cls, (DNNClassifier, DNNRegressor)):
        return {
            "hidden_layer_sizes": LAYERS,
            "activation": ["relu", "silu", "mish"],
            "dropout": [0.0, 0.1, 0.2, 0.3],
            "optimizer__learning_rate": scipy.stats.loguniform(1e-4, 1e-2),
            "batch_size": [32, 64, 128, 256],
        }
    if issubclass(cls, (MLPClassifier, MLPRegressor)):
        return {
            "hidden_layer_sizes": LAYERS,
            "activation": ["relu", "tanh"],
            "alpha": scipy.stats.loguniform(1e-6, 1e-1),
            "learning_rate_init": scipy.stats.loguniform(1e-4, 1e-2),
            "batch_size": [32, 64, 128, 256],
        }
    raise ValueError(f"estimator must be a Tabular*, DNN* or MLP* estimator of fastdnn, got {estimator!r}")
