"""Schedules that rise and fall: cosines with restarts, one cycle, waves."""

import math

import numpy as np

from ..specs import check_count, check_number
from .base import Schedule, given_total, positive_rate, schedule


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
        self.rate, self.end = positive_rate("rate", rate), check_number("end", end, "[0, inf]")
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
        self.rate, self.start, self.end = positive_rate("rate", rate), check_number("start", start, "[1, inf]"), float(end)
        check_number("end", end, "[1, inf]")
        self.rise, self.total = check_number("rise", rise, "(0, 1)"), given_total(total)

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
class CosLog(Schedule):
    """Waves, each twice as long as the one before: rate (1 - cos(2 pi log2(1 + (2^cycles - 1) t))) / 2, t = step / total.

    The rate is 0 at the start, at the end of each wave (`valleys`) and from `total` on. A network is as good as it gets for
    so many steps in a valley: what is chosen there on validation data is chosen among few, each at rest.

    Parameters
    ----------
    rate : float
        Highest rate, > 0.
    cycles : int, default=4
        Number of waves, 1 to 50.
    total : int or None, default=None
        Steps in all; None for all of a fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import schedules
    >>> waves = schedules.CosLog(1.0, cycles=2)
    >>> waves.rates(np.array([0, 5, 10, 30]), 30).round(4)
    array([0.    , 0.9304, 0.    , 0.    ])
    >>> [round(part, 4) for part in waves.valleys]
    [0.3333, 1.0]

    References
    ----------
    Holzmüller, D., Grinsztajn, L. & Steinwart, I. (2024). Better by default. arXiv:2407.04491, section 3.
    """

    def __init__(self, rate, cycles=4, total=None):
        self.rate, self.cycles, self.total = positive_rate("rate", rate), check_count("cycles", cycles), given_total(total)
        if self.cycles > 50:  # beyond that a float64 tells no step from the one before
            raise ValueError(f"cycles must be an integer from 1 to 50, got {cycles!r}")

    @property
    def spans_fit(self):
        return self.total is None

    @property
    def valleys(self):
        """Parts of the steps after which the rate is 0, rising: (2^k - 1) / (2^cycles - 1) for k = 1 to cycles."""
        return tuple((2**k - 1) / (2**self.cycles - 1) for k in range(1, self.cycles + 1))

    def rates(self, steps, total):
        t = np.minimum(steps / self._total(total, "the number of steps"), 1)
        return self.rate * 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + (2**self.cycles - 1) * t)))
