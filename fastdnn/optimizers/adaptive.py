"""Optimizers that divide by the size of past gradients."""

import functools

import numpy as np

from .._math import fma, maximum, reciprocal, sqrt
from ..specs import check_number
from .base import Optimizer, optimizer, scalar_table


def above_tiny(x):
    """x, or the least normal number: where the float type has no epsilon that small, 0 / 0 must not make a NaN of an unused
    weight."""
    return maximum(x, 2.0**-126 if x.e.bits == 32 else 2.0**-1022)


@optimizer
class RMSprop(Optimizer):
    """v <- rho v + (1 - rho) g^2, b <- momentum b + g / (sqrt(v) + epsilon), p <- p - rate b.

    Parameters
    ----------
    learning_rate : float or Schedule, default=0.01
        Greater than 0.
    rho : float, default=0.99
        Decay of the running mean, in [0, 1).
    momentum : float, default=0.0
        In [0, 1).
    epsilon : float, default=1e-8
        Greater than 0.
    **rules
        As for `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers, optimizers
    >>> X = np.linspace(-1, 1, 64, dtype="float32").reshape(-1, 1)
    >>> model = Model([layers.Dense(1)], optimizer=optimizers.RMSprop(0.1), random_state=0)
    >>> losses = model.fit(X, 3 * X, epochs=5, batch_size=8)["loss"]
    >>> losses[-1] < losses[0]
    True

    References
    ----------
    Tieleman, T. & Hinton, G. (2012). Lecture 6.5: RMSProp. Coursera, Neural networks for machine learning.
    """

    name = "rmsprop"
    n_moments = 2

    def __init__(self, learning_rate=0.01, rho=0.99, momentum=0.0, epsilon=1e-8, **rules):
        super().__init__(learning_rate, **rules)
        self.rho, self.momentum = check_number("rho", rho, "[0, 1)"), check_number("momentum", momentum, "[0, 1)")
        self.epsilon = check_number("epsilon", epsilon, "(0, inf)")

    def scalars(self, rates, steps):
        return scalar_table(len(steps), rates, self.rho, 1 - self.rho, self.momentum, self.epsilon)

    def update(p, g, v, b, rate, rho, gain, momentum, epsilon, *_):
        v = fma(v, rho, gain * g * g)
        b = fma(momentum, b, g * reciprocal(above_tiny(sqrt(v) + epsilon)))
        return fma(-rate, b, p), v, b


@optimizer
class Adagrad(Optimizer):
    """v <- v + g^2, p <- p - rate g / (sqrt(v) + epsilon).

    Parameters
    ----------
    learning_rate : float or Schedule, default=0.01
        Greater than 0.
    epsilon : float, default=1e-10
        Greater than 0.
    **rules
        As for `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers, optimizers
    >>> X = np.linspace(-1, 1, 64, dtype="float32").reshape(-1, 1)
    >>> model = Model([layers.Dense(1)], optimizer=optimizers.Adagrad(0.5), random_state=0)
    >>> losses = model.fit(X, 3 * X, epochs=5, batch_size=8)["loss"]
    >>> losses[-1] < losses[0]
    True

    References
    ----------
    Duchi, J., Hazan, E. & Singer, Y. (2011). Adaptive subgradient methods. JMLR 12.
    """

    name = "adagrad"
    n_moments = 1

    def __init__(self, learning_rate=0.01, epsilon=1e-10, **rules):
        super().__init__(learning_rate, **rules)
        self.epsilon = check_number("epsilon", epsilon, "(0, inf)")

    def scalars(self, rates, steps):
        return scalar_table(len(steps), rates, self.epsilon)

    def update(p, g, v, rate, epsilon, *_):
        v = fma(g, g, v)
        return fma(-rate * g, reciprocal(above_tiny(sqrt(v) + epsilon)), p), v


@optimizer
class Adam(Optimizer):
    """p <- p - rate m' / (sqrt(v') + epsilon), m and v being running means of g and g^2, m' and v' corrected for their bias.

    m' = m / (1 - beta_1^t), v' = v / (1 - beta_2^t).

    Parameters
    ----------
    learning_rate : float or Schedule, default=0.001
        Greater than 0.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of the running means, in [0, 1).
    epsilon : float, default=1e-8
        Greater than 0.
    correct_epsilon : bool, default=True
        Whether epsilon is added to the corrected root, as PyTorch has it; otherwise to the root as it is, the form at the
        end of section 2 of the paper, which scikit-learn and Keras use.
    **rules
        As for `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers, optimizers
    >>> X = np.linspace(-1, 1, 64, dtype="float32").reshape(-1, 1)
    >>> model = Model([layers.Dense(1)], optimizer=optimizers.Adam(0.1), random_state=0)
    >>> losses = model.fit(X, 3 * X, epochs=5, batch_size=8)["loss"]
    >>> losses[-1] < losses[0]
    True

    References
    ----------
    Kingma, D. & Ba, J. (2015). Adam: a method for stochastic optimization. arXiv:1412.6980.
    """

    name = "adam"
    n_moments = 2

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-8, correct_epsilon=True, **rules):
        super().__init__(learning_rate, **rules)
        self.beta_1, self.beta_2 = check_number("beta_1", beta_1, "[0, 1)"), check_number("beta_2", beta_2, "[0, 1)")
        self.epsilon, self.correct_epsilon = check_number("epsilon", epsilon, "(0, inf)"), bool(correct_epsilon)

    def scalars(self, rates, steps):
        root = np.sqrt(1 - self.beta_2**steps)
        epsilon = self.epsilon * root if self.correct_epsilon else self.epsilon
        # 1 - beta in float64: taken in float32 it would lose half its digits.
        gains = 1 - self.beta_1, self.beta_2, 1 - self.beta_2
        return scalar_table(len(steps), rates * root / (1 - self.beta_1**steps), *gains, epsilon)

    def update(p, g, m, v, rate, gain_1, beta_2, gain_2, epsilon, *_):
        m = fma(g - m, gain_1, m)
        v = fma(v, beta_2, gain_2 * g * g)
        return fma(-rate * m, reciprocal(above_tiny(sqrt(v) + epsilon)), p), m, v


@optimizer
class AdamW(Adam):
    """Adam with decoupled weight decay: p <- p - rate weight_decay p - Adam's step; biases and scales do not decay.

    Parameters
    ----------
    learning_rate : float or Schedule, default=0.001
        Greater than 0.
    beta_1, beta_2, epsilon, correct_epsilon
        As for `Adam`.
    weight_decay : float, default=0.01
        As for `Optimizer`.
    **rules
        As for `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers, optimizers
    >>> X = np.linspace(-1, 1, 64, dtype="float32").reshape(-1, 1)
    >>> model = Model([layers.Dense(1)], optimizer=optimizers.AdamW(0.1), random_state=0)
    >>> losses = model.fit(X, 3 * X, epochs=5, batch_size=8)["loss"]
    >>> losses[-1] < losses[0]
    True

    References
    ----------
    Loshchilov, I. & Hutter, F. (2019). Decoupled weight decay regularization. arXiv:1711.05101.
    """

    name = "adamw"
    update = Adam.update

    def __init__(
        self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-8, correct_epsilon=True, weight_decay=0.01, **rules
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, correct_epsilon, weight_decay=weight_decay, **rules)


TABLE = 1 << 20  # steps whose momenta are tabulated; what is left of their product by then does not change any more


@functools.lru_cache(16)
def _products(beta_1, decay, n):
    """(momentum, product of the momenta so far) of each of the first n steps."""
    mu = beta_1 * (1 - 0.5 * 0.96 ** (np.arange(1, n + 1) * decay))
    return mu, np.cumprod(mu)


def momenta(beta_1, decay, steps):
    """(momentum, product of the momenta so far) of the ascending steps, counted from 1."""
    mu, products = _products(beta_1, decay, min(TABLE, 1 << int(steps[-1]).bit_length()))
    at = np.minimum(steps, TABLE) - 1
    return mu[at], products[at] * mu[at] ** (steps - 1 - at)


@optimizer
class NAdam(Optimizer):
    """Adam with Nesterov's momentum: p <- p - rate (mu_{t+1} m' + (1 - mu_t) g') / (sqrt(v') + epsilon).

    mu_t = beta_1 (1 - 0.96^(t momentum_decay) / 2), m' = m / (1 - mu_1 ... mu_{t+1}), g' = g / (1 - mu_1 ... mu_t).

    Parameters
    ----------
    learning_rate : float or Schedule, default=0.002
        Greater than 0.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of the running means, in [0, 1).
    epsilon : float, default=1e-8
        Greater than 0.
    momentum_decay : float, default=0.004
        How fast mu grows to beta_1, >= 0.
    **rules
        As for `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers, optimizers
    >>> X = np.linspace(-1, 1, 64, dtype="float32").reshape(-1, 1)
    >>> model = Model([layers.Dense(1)], optimizer=optimizers.NAdam(0.1), random_state=0)
    >>> losses = model.fit(X, 3 * X, epochs=5, batch_size=8)["loss"]
    >>> losses[-1] < losses[0]
    True

    References
    ----------
    Dozat, T. (2016). Incorporating Nesterov momentum into Adam. ICLR workshop.
    """

    name = "nadam"
    n_moments = 2

    def __init__(self, learning_rate=0.002, beta_1=0.9, beta_2=0.999, epsilon=1e-8, momentum_decay=0.004, **rules):
        super().__init__(learning_rate, **rules)
        self.beta_1, self.beta_2 = check_number("beta_1", beta_1, "[0, 1)"), check_number("beta_2", beta_2, "[0, 1)")
        self.epsilon = check_number("epsilon", epsilon, "(0, inf)")
        self.momentum_decay = check_number("momentum_decay", momentum_decay, "[0, inf)")

    def scalars(self, rates, steps):
        (mu, product), (next_mu, next_product) = (momenta(self.beta_1, self.momentum_decay, steps + i) for i in (0, 1))
        root = np.sqrt(1 - self.beta_2**steps)
        of_gradient = rates * root * (1 - mu) / (1 - product)
        of_mean = rates * root * next_mu / (1 - next_product)
        return scalar_table(
            len(steps), of_gradient, of_mean, 1 - self.beta_1, self.beta_2, 1 - self.beta_2, self.epsilon * root
        )

    def update(p, g, m, v, of_gradient, of_mean, gain_1, beta_2, gain_2, epsilon):
        m = fma(g - m, gain_1, m)
        v = fma(v, beta_2, gain_2 * g * g)
        return p - fma(of_gradient, g, of_mean * m) * reciprocal(above_tiny(sqrt(v) + epsilon)), m, v
