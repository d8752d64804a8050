"""Numbers that a regression network learns, and back: another scale, standardized."""

import numpy as np

SKEW, RATIO = 0.75, 5.0  # skewness, and ratio of the 95th to the 5th percentile, from which logarithms are tried
MARGIN = 0.1  # of the range of the training targets, by which predictions may be beyond it


def weighted_moments(y, weight):
    """(mean, standard deviation) of the columns of y; 1 for the deviation of a constant."""
    mean = np.average(y, axis=0, weights=weight)
    std = np.sqrt(np.average(np.square(y - mean), axis=0, weights=weight))
    return mean, np.where(std > 1e-12 * np.maximum(1e-300, np.abs(y).max(axis=0, initial=0)), std, 1.0)


def spans_magnitudes(y):
    """Whether targets (n, k) are >= 0, and skewed or of several magnitudes: their logarithms may be easier to learn."""
    if y.min() < 0:
        return False
    mean, std = weighted_moments(y, None)
    low, high = np.quantile(y, (0.05, 0.95), axis=0)
    return bool(((np.mean(((y - mean) / std) ** 3, axis=0) > SKEW) | (high > RATIO * low)).any())


class TargetScale:
    """Standardized targets, of their logarithms where `logarithm`; predictions stay near the range of the training targets.

    Parameters
    ----------
    logarithm : bool
        Whether log(1 + y / s) is learned, s being the median: targets must be >= 0.
    """

    def __init__(self, logarithm=False):
        self.logarithm = logarithm

    def fit(self, y, weight=None):
        """Learn from targets of shape (n, k)."""
        self._limit(y.min(axis=0), y.max(axis=0))
        if self.logarithm:
            median = np.median(y, axis=0)
            self.unit = np.where(median > 0, median, np.where(y.mean(axis=0) > 0, y.mean(axis=0), 1.0))
        self.mean, self.std = weighted_moments(self._scaled(y), weight)
        return self

    def fit_sample(self, y, weight, moments):
        """Learn from a sample of the targets, and from the `Moments` of all of them as far as these tell it."""
        self.fit(y, weight)
        self._limit(moments.low, moments.high)
        if not self.logarithm:
            self.mean, self.std = moments.mean, moments.std
        return self

    def _limit(self, low, high):
        margin = MARGIN * (high - low)
        self.low, self.high = np.where(low >= 0, np.maximum(low - margin, 0), low - margin), high + margin

    def _scaled(self, y):
        return np.log1p(np.maximum(y, 0) / self.unit) if self.logarithm else y

    def transform(self, y):
        """Targets of the network, float32 of shape (n, k)."""
        return ((self._scaled(y) - self.mean) / self.std).astype(np.float32)

    def inverse(self, z):
        """Predictions of shape (..., k), float64, of the network's."""
        y = z * self.std + self.mean
        if self.logarithm:
            y = np.expm1(np.minimum(y, 700)) * self.unit
        return np.clip(y, self.low, self.high)
