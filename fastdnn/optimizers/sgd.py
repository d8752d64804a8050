"""Stochastic gradient descent."""

from ..specs import check_number
from .base import Optimizer, optimizer, scalar_table


@optimizer
class SGD(Optimizer):
    """Stochastic gradient descent with momentum: v <- momentum v - rate g, p <- p + v.

    With Nesterov's momentum p <- p + momentum v - rate g, with the new v.

    Parameters
    ----------
    learning_rate : float or Schedule, default=0.01
        Greater than 0.
    momentum : float, default=0.0
        In [0, 1].
    nesterov : bool, default=False
        Whether to use Nesterov's momentum.
    **rules
        As for `Optimizer`: weight_decay, l1, l2, clip_norm, clip_value, average, skip_nonfinite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers, optimizers
    >>> X = np.linspace(-1, 1, 64, dtype="float32").reshape(-1, 1)
    >>> model = Model([layers.Dense(1)], optimizer=optimizers.SGD(0.1, momentum=0.9), random_state=0)
    >>> losses = model.fit(X, 3 * X, epochs=5, batch_size=8)["loss"]
    >>> losses[-1] < losses[0]
    True

    References
    ----------
    Sutskever, I. et al. (2013). On the importance of initialization and momentum in deep learning.
    """

    name = "sgd"
    n_moments = 1

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, **rules):
        super().__init__(learning_rate, **rules)
        self.momentum = check_number("momentum", momentum, "[0, 1]")
        self.nesterov = bool(nesterov)

    def scalars(self, rates, steps):
        ahead = (self.momentum, -rates) if self.nesterov else (1.0, 0.0)
        return scalar_table(len(steps), self.momentum, rates, *ahead)

    def update(p, g, v, momentum, rate, of_velocity, of_gradient, *_):
        v = momentum * v - rate * g
        return p + (of_velocity * v + of_gradient * g), v
