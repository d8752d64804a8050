"""Networks that only predict: folded, narrowed, saved without what training needs."""

from .freezing import freeze
from .predictor import Predictor

__all__ = ["Predictor", "freeze"]
