"""fastdnn: deep neural networks on the CPU, at the speed of the CPU."""

from ._collector import paused

with paused():
    import sklearn.utils.validation  # noqa: F401 - before numba: the other way round the two take 0.03 to 0.07 s longer

    from . import callbacks, initializers, inspection, layers, losses, optimizers, preprocessing, schedules
    from ._jit import warmup
    from ._threads import config_context, get_num_threads, set_num_threads
    from .adversarial import GAN
    from .displays import NetworkDisplay, TrainingCurveDisplay
    from .estimators import (
        Autoencoder,
        DNNClassifier,
        DNNRegressor,
        MLPClassifier,
        MLPRegressor,
        TabularClassifier,
        TabularRegressor,
        VariationalAutoencoder,
    )
    from .model import Model
    from .saving import ModelFormatError
    from .searching import search_space

__version__ = "0.1.0"

__all__ = [
    "GAN",
    "Autoencoder",
    "DNNClassifier",
    "DNNRegressor",
    "MLPClassifier",
    "MLPRegressor",
    "Model",
    "ModelFormatError",
    "NetworkDisplay",
    "TabularClassifier",
    "TabularRegressor",
    "TrainingCurveDisplay",
    "VariationalAutoencoder",
    "callbacks",
    "config_context",
    "get_num_threads",
    "initializers",
    "inspection",
    "layers",
    "losses",
    "optimizers",
    "preprocessing",
    "schedules",
    "search_space",
    "set_num_threads",
    "warmup",
]
