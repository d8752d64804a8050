"""Learning rates over the steps of a training. To add one, add one class to a file of this package and
its name to the table of contents; tests and pictures pick it up there.

An optimizer takes one in place of a number: ``Adam(OneCycle(1e-2))``. A schedule is a function of the step (0, 1, ...: one
batch each) and of the number of steps in all, which `Model.fit` knows; ``total`` fixes it where a schedule shall be shorter.
"""

import abc

import numpy as np

from ..specs import Spec, check_count, check_number

SCHEDULES = {}  # name -> class


def schedule(cls):
    """Class decorator: put a schedule into the table, under its class's name."""
    SCHEDULES[cls.__name__] = cls
    return cls


def positive_rate(name, value):
    """A rate > 0, checked."""
    return check_number(name, value, "(0, inf)")


class Schedule(Spec, abc.ABC):
    """Base of the schedules; a subclass overrides `rates`.

    Attributes
    ----------
    rate : float
        The rate that everything else is relative to.
    """

    reacts = False  # whether `observe` changes what comes
    spans_fit = True  # whether it runs once through each fit; otherwise on from fit to fit

    @abc.abstractmethod
    def rates(self, steps, total):
        """Rates of the steps, (n,) int64 from 0 on, of `total`, or of no known number if that is None: (n,) float64 >= 0."""

    def observe(self, loss, state):
        """What an epoch's loss makes of `state` (a dict of its own, empty at first): for schedules that react to it."""

    def _total(self, total, what):
        total = self.total if self.total is not None else total
        if total is None:
            raise ValueError(f"{type(self).__name__} needs {what}: give total, or train with Model.fit, which knows it")
        return total


def get_schedule(given):
    """A `Schedule` from a number > 0, or itself."""
    return given if isinstance(given, Schedule) else Constant(given)


def given_total(total):
    """Steps in all, an integer >= 1 or None, checked."""
    return None if total is None else check_count("total", total)


@schedule
class Constant(Schedule):
    """The same rate all the time: rate.

    Parameters
    ----------
    rate : float
        Greater than 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import schedules
    >>> schedules.Constant(0.1).rates(np.arange(3), None)
    array([0.1, 0.1, 0.1])

    References
    ----------
    Robbins, H. & Monro, S. (1951). A stochastic approximation method. Annals of Mathematical Statistics 22.
    """

    spans_fit = False

    def __init__(self, rate):
        self.rate = positive_rate("learning_rate", rate)

    def rates(self, steps, total):
        return np.full(len(steps), self.rate)
