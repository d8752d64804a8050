"""Table of contents of the losses: one class a loss, in a file for each kind of target."""

from .base import LOSSES_TABLE, Loss, get_loss, loss, scores_link
from .classification import ClippedLogLoss, Focal, Hinge, LogLoss
from .cross_entropy import CrossEntropy
from .regression import AbsoluteError, Gamma, Huber, LogCosh, Poisson, Quantile, SquaredError

__all__ = [
    "LOSSES_TABLE",
    "AbsoluteError",
    "ClippedLogLoss",
    "CrossEntropy",
    "Focal",
    "Gamma",
    "Hinge",
    "Huber",
    "LogCosh",
    "LogLoss",
    "Loss",
    "Poisson",
    "Quantile",
    "SquaredError",
    "get_loss",
    "loss",
    "scores_link",
]
