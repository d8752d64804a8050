"""Optimizers, each one fused pass of vector code over a range of the flat arrays. To add one, add one class here.

`update` gets the vectors of parameters p, gradients g (with L2 already in it) and slots, and the numbers that `numbers`
returned for the step; the template adds the L2 term and sums the squares of the parameters on the way.
"""

import numpy as np
from numba import types

from ._jit import kernel, kernel_from
from ._math import fma, maximum, reciprocal, sqrt
from ._simd import doubles_at, offset, real, row_op
from .layers.base import Spec

__all__ = ["OPTIMIZERS", "SGD", "Adam", "Optimizer"]

OPTIMIZERS = {}  # name -> class

BLOCK = 1024  # elements summed in the float type before they join the float64 total
NUMBERS = 5  # scalars of an update


def update_signature(kind):
    """(numbers f64*, params, grads, slots, n_params, lo, n, l2) -> sum of the squared parameters, before the update."""
    p = types.CPointer(kind)
    return types.float64(types.int64, p, p, p, types.intp, types.intp, types.intp, types.float64)


def add_signature(kind):
    """(target, source, lo, n) -> None."""
    p = types.CPointer(kind)
    return types.void(p, p, types.intp, types.intp)


@row_op(2, 1, whole=True)
def _sum(a, b):
    return a + b


@kernel(add_signature)
def add(target, source, lo, n):
    """target[lo:lo+n] += source[lo:lo+n]; n a multiple of 16."""
    _sum(offset(target, lo), offset(source, lo), offset(target, lo), n)


class Optimizer(Spec):
    """Base of the optimizers.

    Attributes
    ----------
    name : str
        Its name in the table.
    n_slots : int
        Arrays of the size of the parameters that it keeps (moments, velocities).
    update_kernel : Kernel
        Compiled from the static method `update(p, g, *slots, *numbers)` -> (p, *slots), functions of vectors.
    """

    n_slots = 0
    __setattr__ = object.__setattr__  # unlike other specs: a rate may be changed between epochs

    def numbers(self, learning_rate, steps):
        """(len(steps), NUMBERS) float64: the scalars of `update` for each of the steps (1, 2, ...)."""
        raise NotImplementedError(f"{type(self).__name__} must define numbers(learning_rate, steps)")


def apply(*args):
    """Placeholder in the templates for the optimizer's `row_op`."""


def _update_0(numbers, params, grads, slots, n_params, lo, n, l2):
    """Update parameters lo..lo+n (multiples of 16): one pass, 12 bytes a parameter in float32."""
    c, total = doubles_at(numbers), 0.0
    for j in range(lo, lo + n, BLOCK):
        p, g = offset(params, j), offset(grads, j)
        m = min(BLOCK, lo + n - j)
        total += apply(p, g, p, real(p, l2), real(p, c[0]), real(p, c[1]), real(p, c[2]), real(p, c[3]),
                       real(p, c[4]), m)  # fmt: skip
    return total


def _update_1(numbers, params, grads, slots, n_params, lo, n, l2):
    """Update parameters lo..lo+n (multiples of 16) and one slot: one pass, 20 bytes a parameter in float32."""
    c, total = doubles_at(numbers), 0.0
    for j in range(lo, lo + n, BLOCK):
        p, g, a = offset(params, j), offset(grads, j), offset(slots, j)
        m = min(BLOCK, lo + n - j)
        total += apply(
            p, g, a, p, a, real(p, l2), real(p, c[0]), real(p, c[1]), real(p, c[2]), real(p, c[3]), real(p, c[4]), m
        )
    return total


def _update_2(numbers, params, grads, slots, n_params, lo, n, l2):
    """Update parameters lo..lo+n (multiples of 16) and two slots: one pass, 28 bytes a parameter in float32."""
    c, total = doubles_at(numbers), 0.0
    for j in range(lo, lo + n, BLOCK):
        p, g, a, b = offset(params, j), offset(grads, j), offset(slots, j), offset(slots, n_params + j)
        m = min(BLOCK, lo + n - j)
        total += apply(
            p, g, a, b, p, a, b, real(p, l2), real(p, c[0]), real(p, c[1]), real(p, c[2]), real(p, c[3]), real(p, c[4]), m
        )
    return total


def optimizer(cls):
    """Class decorator: make the update's loop (compiled on first use) and put the optimizer into the table."""

    def body(p, g, *rest):
        slots, (l2, *numbers) = rest[: cls.n_slots], rest[cls.n_slots :]
        return *cls.update(p, fma(l2, p, g), *slots, *numbers), p * p

    body.__name__ = f"{cls.name}_row"
    op = row_op(2 + cls.n_slots, 1 + cls.n_slots, scalars=1 + NUMBERS, reduce="sum", whole=True)(body)
    template = (_update_0, _update_1, _update_2)[cls.n_slots]
    cls.update_kernel = kernel_from(template, f"{cls.name}_update", update_signature, cls.update, apply=op)
    OPTIMIZERS[cls.name] = cls
    return cls


def get_optimizer(given):
    """An `Optimizer` from its name or as it is; ValueError with the list of names otherwise."""
    if isinstance(given, Optimizer):
        return given
    if not isinstance(given, str) or given not in OPTIMIZERS:
        raise ValueError(f"optimizer must be an Optimizer or one of {sorted(OPTIMIZERS)}, got {given!r}")
    return OPTIMIZERS[given]()


def _check(name, value, interval):
    """`value` as a float if it is a number in the interval, written "(0, inf)" or "[0, 1)" or "[0, 1]"."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    above = number and (value > low if interval[0] == "(" else value >= low)
    if not above or not (value < high if interval[-1] == ")" else value <= high):
        raise ValueError(f"{name} must be a number in {interval}, got {value!r}")
    return float(value)


@optimizer
class SGD(Optimizer):
    """Stochastic gradient descent with momentum: v <- momentum v - rate g, p <- p + v.

    With Nesterov's momentum p <- p + momentum v - rate g, with the new v. Reference: Sutskever et al. 2013.

    Parameters
    ----------
    learning_rate : float, default=0.01
        Greater than 0.
    momentum : float, default=0.0
        In [0, 1].
    nesterov : bool, default=False
        Whether to use Nesterov's momentum.
    """

    name = "sgd"
    n_slots = 1

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False):
        self.learning_rate = _check("learning_rate", learning_rate, "(0, inf)")
        self.momentum = _check("momentum", momentum, "[0, 1]")
        self.nesterov = bool(nesterov)

    def numbers(self, learning_rate, steps):
        ahead = (self.momentum, -learning_rate) if self.nesterov else (1.0, 0.0)
        return np.tile([self.momentum, learning_rate, *ahead, 0.0], (len(steps), 1))

    def update(p, g, v, momentum, rate, of_velocity, of_gradient, _):
        v = momentum * v - rate * g
        return p + (of_velocity * v + of_gradient * g), v


@optimizer
class Adam(Optimizer):
    """Adam: p <- p - rate_t m / (sqrt(v) + epsilon), m and v being running means of g and g^2.

    rate_t = rate sqrt(1 - beta_2^t) / (1 - beta_1^t): the form at the end of section 2 of the paper, which scikit-learn
    uses too; epsilon is then not corrected for the bias (PyTorch corrects it). Reference: Kingma & Ba 2015,
    arXiv:1412.6980.

    Parameters
    ----------
    learning_rate : float, default=0.001
        Greater than 0.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of the running means, in [0, 1).
    epsilon : float, default=1e-8
        Greater than 0.
    """

    name = "adam"
    n_slots = 2

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        self.learning_rate = _check("learning_rate", learning_rate, "(0, inf)")
        self.beta_1, self.beta_2 = _check("beta_1", beta_1, "[0, 1)"), _check("beta_2", beta_2, "[0, 1)")
        self.epsilon = _check("epsilon", epsilon, "(0, inf)")

    def numbers(self, learning_rate, steps):
        numbers = np.empty((len(steps), NUMBERS))
        numbers[:, 0] = learning_rate * np.sqrt(1 - self.beta_2**steps) / (1 - self.beta_1**steps)
        # 1 - beta in float64: taken in float32 it would lose half its digits.
        numbers[:, 1:] = 1 - self.beta_1, self.beta_2, 1 - self.beta_2, self.epsilon
        return numbers

    def update(p, g, m, v, rate, gain_1, beta_2, gain_2, epsilon):
        m = fma(g - m, gain_1, m)
        v = fma(v, beta_2, gain_2 * g * g)
        # Where the float type has no epsilon that small, 0 / 0 must not make a NaN of an unused weight.
        tiny = 2.0**-126 if p.e.bits == 32 else 2.0**-1022
        return fma(-rate * m, reciprocal(maximum(sqrt(v) + epsilon, tiny)), p), m, v
