"""fastdnn: deep neural networks on the CPU, at the speed of the CPU."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import callbacks, compress, initializers, inspection, layers, losses, optimizers, preprocessing, schedules
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
    "compress",
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

# Names that are no modules, by the modules that they stand in.
_HOMES = {
    "_jit": ["warmup"],
    "_threads": ["config_context", "get_num_threads", "set_num_threads"],
    "adversarial": ["GAN"],
    "displays": ["NetworkDisplay", "TrainingCurveDisplay"],
    "estimators": [
        "Autoencoder",
        "DNNClassifier",
        "DNNRegressor",
        "MLPClassifier",
        "MLPRegressor",
        "TabularClassifier",
        "TabularRegressor",
        "VariationalAutoencoder",
    ],
    "model": ["Model"],
    "saving": ["ModelFormatError"],
    "searching": ["search_space"],
}
_MODULES = [name for name in __all__ if not any(name in names for names in _HOMES.values())]


def _import_all():
    """Import what stands behind all public names: what one of them is good for often needs the others (`warmup` all)."""
    for name in _MODULES:
        _imported(name)
    for home, names in _HOMES.items():
        module = _imported(home)
        globals().update({name: getattr(module, name) for name in names})


def _imported(name):
    return importlib.import_module(f"{__name__}.{name}")


def __getattr__(name):
    """What `import fastdnn` leaves for later: a process that only predicts (`fastdnn.predictor`) never needs it."""
    if name in __all__:
        from ._collector import paused
        from ._importing import alone

        with alone(), paused():
            import sklearn.utils.validation  # noqa: F401 - before numba: the other way round they take 0.03 to 0.07 s longer

            if name in _MODULES:
                return _imported(name)
            _import_all()
            return globals()[name]
    if not name.startswith("__"):
        try:
            return _imported(name)
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
