"""Table of contents of the losses: one class a loss, in a file for each kind of target."""

from .adversarial import Adversarial
from .base import LOSSES_TABLE, Loss, get_loss, loss, scores_link
from .classification import ClippedLogLoss, Focal, Hinge, LogLoss
from .cross_entropy import CrossEntropy
from .linear import Linear
from .policy_gradient import PolicyGradient
from .regression import AbsoluteError, Gamma, Huber, LogCosh, Poisson, Quantile, SquaredError

__all__ = [
    "LOSSES_TABLE",
    "AbsoluteError",
    "Adversarial",
    "ClippedLogLoss",
    "CrossEntropy",
    "Focal",
    "Gamma",
    "Hinge",
    "Huber",
    "Linear",
    "LogCosh",
    "LogLoss",
    "Loss",
    "Poisson",
    "PolicyGradient",
    "Quantile",
    "SquaredError",
    "get_loss",
    "loss",
    "scores_link",
]
