"""Table of contents of the optimizers."""

from .adaptive import Adagrad, Adam, AdamW, NAdam, RMSprop
from .base import OPTIMIZERS, Optimizer, get_optimizer, optimizer
from .lbfgs import LBFGS
from .schedule_free import ScheduleFreeAdamW
from .sgd import SGD

__all__ = [
    "LBFGS",
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "NAdam",
    "Optimizer",
    "RMSprop",
    "ScheduleFreeAdamW",
    "get_optimizer",
    "optimizer",
]
