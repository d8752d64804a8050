"""Table of contents of the schedules."""

from .base import SCHEDULES, Constant, Schedule, get_schedule, schedule
from .cycles import Cosine, CosLog, OneCycle
from .decays import Exponential, InverseScaling, Polynomial, Step
from .reactions import ReduceOnPlateau, Warmup

__all__ = [
    "SCHEDULES",
    "Constant",
    "CosLog",
    "Cosine",
    "Exponential",
    "InverseScaling",
    "OneCycle",
    "Polynomial",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "Warmup",
    "get_schedule",
    "schedule",
]
