"""Schedules that only fall: in steps, by powers, towards an end."""

import numpy as np

from ..specs import check_count, check_number
from .base import Schedule, given_total, positive_rate, schedule


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
        self.rate, self.every = positive_rate("rate", rate), check_count("every", every)
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
        self.rate, self.factor = positive_rate("rate", rate), check_number("factor", factor, "(0, 1]")
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
        self.rate, self.end = positive_rate("rate", rate), check_number("end", end, "[0, inf]")
        self.power, self.total = check_number("power", power, "(0, inf)"), given_total(total)

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
        self.rate, self.power = positive_rate("rate", rate), check_number("power", power, "(0, inf)")

    def rates(self, steps, total):
        return self.rate / (steps + 1.0) ** self.power
