"""Models as files that cannot execute code."""

from .errors import ModelFormatError
from .state import load_model, save_model

__all__ = ["ModelFormatError", "load_model", "save_model"]
