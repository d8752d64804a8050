"""Networks that only predict: folded, narrowed, saved without what training needs."""

import importlib

__all__ = ["Predictor", "freeze"]

_HOMES = {"Predictor": "predictor", "freeze": "freezing"}


def __getattr__(name):
    """What `estimators`, which needs NumPy alone, leaves for later."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
