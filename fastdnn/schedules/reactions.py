"""Schedules around others, and those that react to the loss."""

import math

import numpy as np

from ..specs import check_count, check_number
from .base import Schedule, get_schedule, positive_rate, schedule


@schedule
class Warmup(Schedule):
    """A straight line from 0 up to another schedule in the first steps: rate_t (step + 1) / steps.

    Parameters
    ----------
    schedule : Schedule or float
        What comes after it; its own steps count from the end of the warm-up.
    steps : int
        Steps of the warm-up.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import schedules
    >>> schedules.Warmup(1.0, 4).rates(np.arange(6), None)
    array([0.25, 0.5 , 0.75, 1.  , 1.  , 1.  ])

    References
    ----------
    Goyal, P. et al. (2017). Accurate, large minibatch SGD. arXiv:1706.02677.
    """

    def __init__(self, schedule, steps):
        self.schedule, self.steps = get_schedule(schedule), check_count("steps", steps)

    @property
    def rate(self):
        """The rate of the schedule after it."""
        return self.schedule.rate

    @property
    def reacts(self):
        """Whether the schedule after the warm-up reacts to the loss."""
        return self.schedule.reacts

    def observe(self, loss, state):
        self.schedule.observe(loss, state)

    @property
    def spans_fit(self):
        return self.schedule.spans_fit

    def rates(self, steps, total):
        steps = np.asarray(steps)
        later = np.maximum(steps - self.steps, 0)
        rates = self.schedule.rates(later, None if total is None else max(1, total - self.steps))
        return rates * np.minimum((steps + 1) / self.steps, 1)


@schedule
class ReduceOnPlateau(Schedule):
    """Times `factor` whenever the loss of an epoch (the validation loss if there is one) has stopped falling.

    Parameters
    ----------
    rate : float
        First rate, > 0.
    factor : float, default=0.1
        In (0, 1).
    patience : int, default=10
        Epochs without improvement that are borne.
    min_delta : float, default=1e-4
        Part of the best loss by which it must fall to count, >= 0.
    min_rate : float, default=0.0
        Never below it.

    Examples
    --------
    >>> from fastdnn import schedules
    >>> plateau, state = schedules.ReduceOnPlateau(1.0, patience=0), {}
    >>> for loss in (1.0, 0.5, 0.5):
    ...     plateau.observe(loss, state)
    >>> state["factor"]
    0.1

    References
    ----------
    PyTorch's and Keras's schedule of the same name.
    """

    reacts = True
    spans_fit = False

    def __init__(self, rate, factor=0.1, patience=10, min_delta=1e-4, min_rate=0.0):
        self.rate = positive_rate("rate", rate)
        self.factor = check_number("factor", factor, "(0, 1)")
        self.patience, self.min_delta = check_count("patience", patience, 0), check_number("min_delta", min_delta, "[0, 1]")
        self.min_rate = check_number("min_rate", min_rate, f"[0, {self.rate}]")

    def rates(self, steps, total):
        return np.full(len(steps), self.rate)

    def observe(self, loss, state):
        best, waited = state.get("best", math.inf), state.get("waited", 0)
        better = loss < best - (self.min_delta * abs(best) if math.isfinite(best) else 0.0)
        best, waited = (loss, 0) if better else (best, waited + 1)
        if waited > self.patience:
            state["factor"] = max(state.get("factor", 1.0) * self.factor, self.min_rate / self.rate)
            waited = 0
        state["best"], state["waited"] = best, waited
