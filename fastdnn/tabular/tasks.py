"""What a table is for: numbers, quantiles, classes, labels. Each says what a network learns, and how it is judged."""

import numpy as np

from ..losses import CrossEntropy, Quantile
from . import metrics
from .targets import TargetScale


class Task:
    """Base of the tasks.

    Attributes
    ----------
    y : ndarray of shape (n, k), or (n,) of class numbers
        Targets as metrics take them.
    n_outputs : int
        Outputs of a network.
    strata : ndarray of shape (n,) or None
        Classes that each part of the rows is to have its share of.
    refits : bool
        Whether networks of all rows may be better than those of parts.
    spreads : bool
        Whether predictions say how far targets spread, which is calibrated by networks that have not seen a row.
    """

    strata, refits, spreads = None, False, False

    def __init__(self, y, metric, weight=None):
        self.y, self._metric = y, metric

    @property
    def width(self):
        """Columns of final predictions."""
        return self.n_outputs

    def scale_of(self, recipe):
        """The `TargetScale` of a recipe's networks, None where there is none."""
        return None

    def forget(self):
        """Let go of the targets once the fit is over."""
        self.y = self.strata = None

    def targets(self, y, recipe):
        """What the network is trained on."""
        return y

    def final(self, p, recipe):
        """Predictions of the task, float64, from those of a network of a recipe."""
        return p.astype(np.float64)

    def calibrated(self, predictions, rows, weight=None):
        """Predictions of the training rows, as they are once their temperature is known."""
        return predictions

    def error_of(self, y, predictions, weight=None):
        """The error of final predictions; NaN ones are infinitely bad."""
        return float(self._metric(y, predictions, weight)) if np.isfinite(predictions).all() else np.inf

    def judge(self, rows, recipe, weight=None):
        """A function of the network's predictions of the rows: their error."""
        y, weight = self.y[rows], None if weight is None else weight[rows]
        return lambda p: self.error_of(y, self.final(p, recipe), weight)


class Numbers(Task):
    """Regression: means of one or several numbers, learned as they are or as logarithms.

    scales : dict of whether logarithms are learned -> TargetScale, where others targets than y have told them
    """

    refits = True

    def __init__(self, y, metric, weight=None, scales=None):
        super().__init__(y, metric, weight)
        self.n_outputs = y.shape[1]
        self._scales = scales or {
            logarithm: TargetScale(logarithm).fit(y, weight) for logarithm in (False, True)[: 1 + (y.min() >= 0)]
        }

    def scale_of(self, recipe):
        return self._scales[recipe.logarithm]

    def loss(self, recipe):
        """The loss of the networks."""
        return "squared_error"

    def targets(self, y, recipe):
        return self.scale_of(recipe).transform(y)

    def final(self, p, recipe):
        return self.scale_of(recipe).inverse(p.astype(np.float64))


class Quantiles(Numbers):
    """Regression: several quantiles of one number, which never cross."""

    refits, spreads = False, True

    def __init__(self, y, quantiles, weight=None, scales=None):
        super().__init__(y, self._pinball, weight, scales)
        self.quantiles, self.n_outputs = np.array(quantiles, float), len(quantiles)
        self._order = np.argsort(np.argsort(self.quantiles))

    def _pinball(self, y, p, weight):
        r = y - p
        return np.average(np.maximum(self.quantiles * r, (self.quantiles - 1) * r).mean(axis=1), weights=weight)

    def loss(self, recipe):
        return Quantile(tuple(self.quantiles))

    def final(self, p, recipe):
        return self.ordered(super().final(p, recipe))

    @property
    def limits(self):
        """The lowest and the highest that predictions may be."""
        return self._scales[False].low, self._scales[False].high

    def near(self, p):
        """Within what predictions may be."""
        return np.clip(p, *self.limits)

    def ordered(self, p):
        """Sorted: quantiles that cross are in the wrong order. Reference: Chernozhukov et al. 2010, Econometrica 78."""
        return np.sort(p, axis=1)[:, self._order]


class Classes(Task):
    """Classification: probabilities of classes."""

    def __init__(self, y, metric, weight=None, n_classes=2):
        super().__init__(y, metric, weight)
        self.n_outputs, self.strata = n_classes, y

    def calibrated(self, predictions, rows, weight=None):
        return tempered(predictions, best_temperature(predictions, self.y[rows], weight))

    def loss(self, recipe):
        return CrossEntropy(label_smoothing=recipe.label_smoothing)


class Labels(Task):
    """Multilabel classification: a probability for each label."""

    def __init__(self, y, metric=metrics.binary_log_loss, weight=None):
        super().__init__(y, metric, weight)
        self.n_outputs = y.shape[1]

    def loss(self, recipe):
        return "log_loss"

    def targets(self, y, recipe):
        return y.astype(np.float32)


def tempered(p, temperature):
    """Probabilities of classes to the power of 1 / temperature, normalized."""
    with np.errstate(divide="ignore"):
        q = np.log(p) / temperature
    q = np.exp(q - q.max(axis=1, keepdims=True))
    return q / q.sum(axis=1, keepdims=True)


def best_temperature(p, y, weight=None):
    """The temperature of least log loss, 1/3 to 3. Reference: Guo et al. 2017, arXiv:1706.04599."""
    candidates = np.geomspace(1 / 3, 3, 67)
    return float(min(candidates, key=lambda t: (metrics.log_loss(y, tempered(p, t), weight), abs(np.log(t)))))
