"""fastdnn: deep neural networks on the CPU, at the speed of the CPU."""

import sklearn.utils.validation  # noqa: F401 - before numba: the other way round the two take 0.03 to 0.07 s longer

from . import initializers, layers, losses, optimizers, schedules
from ._jit import warmup
from ._threads import config_context, get_num_threads, set_num_threads
from .estimators import MLPClassifier, MLPRegressor
from .model import Model

__version__ = "0.1.0"

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "Model",
    "config_context",
    "get_num_threads",
    "initializers",
    "layers",
    "losses",
    "optimizers",
    "schedules",
    "set_num_threads",
    "warmup",
]
