"""Adam that averages its way instead of following a schedule."""

import functools

import numpy as np

from .._math import fma, reciprocal, sqrt
from ..schedules import Schedule
from ..specs import check_number
from .adaptive import above_tiny
from .base import SCALARS, Optimizer, optimizer, scalar_table

TABLE = 1 << 20  # steps until which sums are tabulated; after twice the warm-up the rate does not change any more


@functools.lru_cache(16)
def _sums(rate, beta_2, warmup, n):
    """(rate, its weight, sum of the weights so far) of each of the first n steps."""
    t = np.arange(1, n + 1)
    rates = rate * np.sqrt(1 - beta_2**t) * np.minimum(1, t / max(1, warmup))
    weights = np.maximum.accumulate(rates) ** 2
    return rates, weights, np.cumsum(weights)


def averaging(rate, beta_2, warmup, steps):
    """(share of the average, rate) of the ascending steps, counted from 1."""
    most = max(TABLE, 2 * warmup)
    rates, weights, sums = _sums(rate, beta_2, warmup, min(most, 1 << int(steps[-1]).bit_length()))
    at = np.minimum(steps, most) - 1
    return weights[at] / (sums[at] + weights[at] * (steps - 1 - at)), rates[at]


@optimizer
class ScheduleFreeAdamW(Optimizer):
    """Adam that needs no schedule: gradients are taken between the fast weights z and their average x, which predicts.

    y = (1 - beta_1) z + beta_1 x, z <- z - rate_t (g(y) / (sqrt(v) + epsilon) + weight_decay y), x <- the mean of all z,
    weighted by the squares of their rates; rate_t = rate sqrt(1 - beta_2^t) min(1, t / warmup).

    Parameters
    ----------
    learning_rate : float, default=0.0025
        Greater than 0; a schedule would not make sense.
    beta_1, beta_2 : float, default=0.9, 0.999
        Place of y between z and x, in (0, 1); decay of the mean of squares, in [0, 1).
    epsilon : float, default=1e-8
        Greater than 0.
    warmup : int, default=0
        Steps in which the rate grows to its full size, at most 10,000,000.
    **rules
        As for `Optimizer`. Weight decay is part of the gradient's step, as in the paper.

    Notes
    -----
    `Model.params` hold y while an epoch runs and x after it. A third array keeps x as an epoch left it: where the parameters
    are others when the next one begins, they have been assigned, and z begins anew from them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers, optimizers
    >>> X = np.linspace(-1, 1, 64, dtype="float32").reshape(-1, 1)
    >>> model = Model([layers.Dense(1)], optimizer=optimizers.ScheduleFreeAdamW(0.1), random_state=0)
    >>> losses = model.fit(X, 3 * X, epochs=5, batch_size=8)["loss"]
    >>> losses[-1] < losses[0]
    True

    References
    ----------
    Defazio, A. et al. (2024). The road less scheduled. arXiv:2405.15682.
    """

    name = "schedule_free_adamw"
    n_moments = 2
    trains_elsewhere = True
    decays_itself = True

    def __init__(self, learning_rate=0.0025, beta_1=0.9, beta_2=0.999, epsilon=1e-8, warmup=0, **rules):
        super().__init__(check_number("learning_rate", learning_rate, "(0, inf)"), **rules)
        if self.average is not None:
            self.refuse("average")
        self.beta_1, self.beta_2 = check_number("beta_1", beta_1, "(0, 1)"), check_number("beta_2", beta_2, "[0, 1)")
        self.epsilon = check_number("epsilon", epsilon, "(0, inf)")
        self.warmup = int(check_number("warmup", warmup, "[0, 1e7]"))

    def scalars(self, rates, steps):
        share, rate = averaging(float(rates[0]), self.beta_2, self.warmup, steps)
        of_step = rate * (self.beta_1 * (1 - share) - 1)
        return scalar_table(len(steps), share, of_step, rate, self.beta_2, 1 - self.beta_2, self.epsilon)

    def update(y, g, z, v, share, of_step, rate, beta_2, gain_2, epsilon, decay, factor):
        v = fma(v, beta_2, gain_2 * g * g)
        step = factor * (g * reciprocal(above_tiny(sqrt(v) + epsilon)) + decay * y)
        return fma(of_step, step, fma(z - y, share, y)), fma(-rate, step, z), v

    def refuse(self, what):
        raise ValueError(f"{what} cannot be used with {type(self).__name__}, which averages the weights itself")

    def step_scalars(self, steps, first=0, total=None, factor=1.0, rate=None):
        if isinstance(self.learning_rate, Schedule):
            self.refuse("a schedule")
        table = super().step_scalars(steps, first, total, factor, rate)
        table[:, SCALARS.rate] = 1.0  # the decay is part of the step, which is multiplied by the rate
        return table

    def rate_of(self, scalars):
        return float(scalars[2])

    @property
    def n_arrays(self):
        return self.n_moments + 1

    def start(self, params, moments):
        z, _, left = moments.reshape(3, -1)
        z[...] = left[...] = params

    def to_training(self, params, moments):
        z, _, left = moments.reshape(3, -1)
        np.copyto(z, params, where=params != left)
        params += (z - params) * params.dtype.type(1 - self.beta_1)

    def to_inference(self, params, moments):
        z, _, left = moments.reshape(3, -1)
        params += (z - params) * params.dtype.type(1 - 1 / self.beta_1)
        left[...] = params
