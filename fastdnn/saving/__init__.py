"""Models as files that cannot execute code."""

from .errors import ModelFormatError
from .files import Files

__all__ = ["Files", "ModelFormatError"]
