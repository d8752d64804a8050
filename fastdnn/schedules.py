"""Learning rates over the steps of a training. To add one, add one class here; tests and pictures pick it up by its name.

An optimizer takes one in place of a number: ``Adam(OneCycle(1e-2))``. A schedule is a function of the step (0, 1, ...: one
batch each) and of the number of steps in all, which `Model.fit` knows; ``total`` fixes it where a schedule shall be shorter.
"""

import abc
import math

import numpy as np

from .specs import Spec, check_count, check_number

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "InverseScaling",
    "OneCycle",
    "Polynomial",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "Warmup",
]

SCHEDULES = {}  # name -> class


def schedule(cls):
    """Class decorator: put a schedule into the table, under its class's name."""
    SCHEDULES[cls.__name__] = cls
    return cls


def _rate(name, value):
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


def _total(total):
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
        self.rate = _rate("learning_rate", rate)

    def rates(self, steps, total):
        return np.full(len(steps), self.rate)


@schedule
class Step(Schedule):
    """Times `factor` every `every` steps: rate factor^floor(step / every).

    Parameters
    ----------
    rate : float
        First rate, > 0.
    every : int
        Steps of the same rate.
    factor : float, default=0.1
        In (0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import schedules
    >>> schedules.Step(1.0, every=2).rates(np.arange(4), None)
    array([1. , 1. , 0.1, 0.1])

    References
    ----------
    Krizhevsky, A., Sutskever, I. & Hinton, G. (2012). ImageNet classification with deep convolutional neural networks.
    """

    spans_fit = False

    def __init__(self, rate, every, factor=0.1):
        self.rate, self.every = _rate("rate", rate), check_count("every", every)
        self.factor = check_number("factor", factor, "(0, 1]")

    def rates(self, steps, total):
        return self.rate * self.factor ** (steps // self.every)


@schedule
class Exponential(Schedule):
    """Times `factor` every `every` steps, little by little: rate factor^(step / every).

    Parameters
    ----------
    rate : float
        First rate, > 0.
    factor : float
        In (0, 1].
    every : int, default=1
        Steps in which the factor is reached.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import schedules
    >>> schedules.Exponential(1.0, 0.5).rates(np.arange(3), None)
    array([1.  , 0.5 , 0.25])

    References
    ----------
    Bottou, L. (2012). Stochastic gradient descent tricks. Neural Networks: Tricks of the Trade.
    """

    spans_fit = False

    def __init__(self, rate, factor, every=1):
        self.rate, self.factor = _rate("rate", rate), check_number("factor", factor, "(0, 1]")
        self.every = check_count("every", every)

    def rates(self, steps, total):
        return self.rate * self.factor ** (steps / self.every)


@schedule
class Polynomial(Schedule):
    """From `rate` down to `end`: end + (rate - end) (1 - step / total)^power; `end` from there on.

    Parameters
    ----------
    rate : float
        First rate, > 0.
    end : float, default=0.0
        Last rate, >= 0.
    power : float, default=1.0
        1 is a straight line.
    total : int or None, default=None
        Steps until the end; None for all of a fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import schedules
    >>> schedules.Polynomial(1.0).rates(np.arange(4), 4)
    array([1.  , 0.75, 0.5 , 0.25])

    References
    ----------
    Chen, L.-C. et al. (2017). DeepLab. arXiv:1606.00915.
    """

    def __init__(self, rate, end=0.0, power=1.0, total=None):
        self.rate, self.end = _rate("rate", rate), check_number("end", end, "[0, inf]")
        self.power, self.total = _rate("power", power), _total(total)

    @property
    def spans_fit(self):
        return self.total is None

    def rates(self, steps, total):
        left = 1 - np.minimum(steps / self._total(total, "the number of steps"), 1)
        return self.end + (self.rate - self.end) * left**self.power


@schedule
class InverseScaling(Schedule):
    """rate / (step + 1)^power.

    Parameters
    ----------
    rate : float
        First rate, > 0.
    power : float, default=0.5
        Greater than 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import schedules
    >>> schedules.InverseScaling(1.0).rates(np.array([0, 3, 8]), None).round(4)
    array([1.    , 0.5   , 0.3333])

    References
    ----------
    Robbins, H. & Monro, S. (1951). A stochastic approximation method. Annals of Mathematical Statistics 22.
    """

    spans_fit = False

    def __init__(self, rate, power=0.5):
        self.rate, self.power = _rate("rate", rate), _rate("power", power)

    def rates(self, steps, total):
        return self.rate / (steps + 1.0) ** self.power


@schedule
class Cosine(Schedule):
    """Half a cosine from `rate` to `end`, once or again and again: end + (rate - end) (1 + cos(pi s / period)) / 2.

    s is the step since the last restart.

    Parameters
    ----------
    rate : float
        First rate, > 0.
    end : float, default=0.0
        Lowest rate, >= 0.
    period : int or None, default=None
        Steps from restart to restart; None for one way down in all of a fit.
    growth : float, default=1.0
        Each period is so many times as long as the one before, >= 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import schedules
    >>> schedules.Cosine(1.0, period=2).rates(np.arange(4), None)
    array([1. , 0.5, 1. , 0.5])

    References
    ----------
    Loshchilov, I. & Hutter, F. (2017). SGDR: stochastic gradient descent with warm restarts. arXiv:1608.03983.
    """

    def __init__(self, rate, end=0.0, period=None, growth=1.0):
        self.rate, self.end = _rate("rate", rate), check_number("end", end, "[0, inf]")
        self.period = None if period is None else check_count("period", period)
        self.growth = check_number("growth", growth, "[1, inf]")

    @property
    def spans_fit(self):
        return self.period is None

    def rates(self, steps, total):
        if self.period is None and total is None:
            raise ValueError("Cosine needs a period, or the number of steps, which Model.fit knows")
        s = np.asarray(steps, float)
        if self.period is None:
            position = np.minimum(s / total, 1)
        elif self.growth == 1:
            position = s / self.period % 1
        else:
            turn = np.floor(np.log1p(s / self.period * (self.growth - 1)) / math.log(self.growth) + 1e-12)
            start = self.period * (self.growth**turn - 1) / (self.growth - 1)
            position = (s - start) / (self.period * self.growth**turn)
        return self.end + (self.rate - self.end) * 0.5 * (1 + np.cos(np.pi * position))


@schedule
class OneCycle(Schedule):
    """Up from rate / start to `rate` in the first part of the steps, down to rate / end in the rest, along cosines.

    Parameters
    ----------
    rate : float
        Highest rate, > 0.
    start : float, default=25.0
        What it is divided by at first, >= 1.
    end : float, default=1e5
        What it is divided by at last, >= 1.
    rise : float, default=0.3
        Part of the steps that go up, in (0, 1).
    total : int or None, default=None
        Steps in all; None for all of a fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import schedules
    >>> schedules.OneCycle(1.0, rise=0.5).rates(np.array([0, 5, 10]), 11).round(4)
    array([0.04, 1.  , 0.  ])

    References
    ----------
    Smith, L. & Topin, N. (2019). Super-convergence. arXiv:1708.07120.
    """

    def __init__(self, rate, start=25.0, end=1e5, rise=0.3, total=None):
        self.rate, self.start, self.end = _rate("rate", rate), check_number("start", start, "[1, inf]"), float(end)
        check_number("end", end, "[1, inf]")
        self.rise, self.total = check_number("rise", rise, "(0, 1)"), _total(total)

    @property
    def spans_fit(self):
        return self.total is None

    def rates(self, steps, total):
        last = max(1, self._total(total, "the number of steps") - 1)
        position, low, bottom = np.minimum(steps / last, 1), self.rate / self.start, self.rate / self.end
        up = low + (self.rate - low) * 0.5 * (1 - np.cos(np.pi * position / self.rise))
        down = bottom + (self.rate - bottom) * 0.5 * (1 + np.cos(np.pi * (position - self.rise) / (1 - self.rise)))
        return np.where(position < self.rise, up, down)


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
        self.rate = _rate("rate", rate)
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
