"""Table of contents of the callbacks: one line each, in a file for each purpose."""

from .base import Callback
from .checkpoint import ModelCheckpoint
from .logs import CSVLogger, LambdaCallback
from .monitor import GradientMonitor, TrainingWarning
from .rates import ReduceLROnPlateau
from .stopping import EarlyStopping, TimeLimit

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "GradientMonitor",
    "LambdaCallback",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TimeLimit",
    "TrainingWarning",
]
