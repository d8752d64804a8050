"""Optimizers, each one fused pass of vector code over a range of the flat arrays. To add one, add one class here.

    @optimizer
    class SignDescent(Optimizer):
        "p <- p - rate sign(g)"

        name, n_moments = "sign_descent", 0

        def update(p, g, rate, *_):
            return (p - where(g.equals(0.0), 0.0, with_sign(rate, g)),)

        def scalars(self, rates, steps):
            return scalar_table(len(steps), rates)

`update` gets the vectors of parameters p, gradients g and moments, and the six scalars that `scalars` gave for the step (the
function `scalar_table` fills them up); it returns the new parameters and moments. Where all of them are 0 they must stay 0:
there is padding between the parameters. L1, L2, clipping, weight decay and rates of layers go around it, in the same pass.
Outside the package the same decorator is `fastdnn.optimizers.optimizer`.
"""

import math

import numpy as np
from numba import types

from .._jit import kernel, kernel_from
from .._math import absolute, fma, maximum, minimum, with_sign
from .._records import Record
from .._rows import add_whole, row_op
from .._simd import offset, real, where
from ..schedules import Schedule
from ..specs import Spec, check_number

OPTIMIZERS = {}  # name -> class

BLOCK = 1024  # elements summed in the float type before they join the float64 total
OF_UPDATE = 6  # scalars of an update
# Of a step: those of its update, then its rate, what the gradient is multiplied by and where it is cut off.
SCALARS = Record(*(f"s{i}" for i in range(OF_UPDATE)), "rate", "gradient_scale", "clip_value", number=types.float64)
# Of a part of the parameters: penalties, factor of the learning rate, weight decay. See `program.Layout.factors`.
FACTORS = Record("l2", "l1", "rate", "decay", number=types.float64)
# Of all steps: largest norm of a gradient, decay of the averaged parameters; written by the engine: steps left out so far,
# and, of the norms of the gradients, how many there were and their sum.
CONTROL = Record("clip_norm", "average_decay", "skipped", "norms", "norm_sum", size=8, number=types.float64)


def update_signature(kind):
    """(scalars, factors, params, grads, moments, n_params, lo, n, l2) -> penalty of the parameters before it."""
    p = types.CPointer(kind)
    return types.float64(SCALARS.type, FACTORS.type, p, p, p, types.intp, types.intp, types.intp, types.float64)


def norm_signature(kind):
    """(grads, lo, n) -> sum of squares."""
    return types.float64(types.CPointer(kind), types.intp, types.intp)


def average_signature(kind):
    """(averaged, params, lo, n, decay) -> None."""
    p = types.CPointer(kind)
    return types.void(p, p, types.intp, types.intp, types.float64)


def limit_signature(kind):
    """(params, lo, rows, columns, stride, limit) -> None."""
    return types.void(types.CPointer(kind), *[types.intp] * 4, types.float64)


def add_signature(kind):
    """(target, source, lo, n) -> None."""
    p = types.CPointer(kind)
    return types.void(p, p, types.intp, types.intp)


@kernel(add_signature)
def add(target, source, lo, n):
    """target[lo:lo+n] += source[lo:lo+n]; n a multiple of 16."""
    add_whole(offset(target, lo), offset(source, lo), offset(target, lo), n)


@row_op(1, 0, reduce="sum", whole=True)
def _square(g):
    return g * g


@kernel(norm_signature)
def norm(grads, lo, n):
    """Sum of the squares of grads[lo:lo+n], n a multiple of 16, in float64 beyond blocks of 1024.

    Where the squares leave the range of float32 (above 1e19), all is summed again in float64, number by number.
    """
    total = 0.0
    for j in range(lo, lo + n, BLOCK):
        total += _square(offset(grads, j), min(BLOCK, lo + n - j))
    if not math.isfinite(total):
        total = 0.0
        for j in range(lo, lo + n):
            total += np.float64(grads[j]) ** 2
    return total


@row_op(2, 1, scalars=1, whole=True)
def _toward(average, p, gain):
    return fma(p - average, gain, average)


@kernel(average_signature)
def average(averaged, params, lo, n, decay):
    """averaged <- decay averaged + (1 - decay) params, for lo..lo+n."""
    target = offset(averaged, lo)
    _toward(target, offset(params, lo), target, real(target, 1.0 - decay), n)


@kernel(limit_signature)
def limit(params, lo, rows, columns, stride, most):
    """Shorten each column of a matrix to at most the norm `most`."""
    for j in range(columns):
        total = 0.0
        for i in range(rows):
            total += np.float64(params[lo + i * stride + j]) ** 2
        if total > most * most:
            factor = real(params, most / math.sqrt(total))
            for i in range(rows):
                params[lo + i * stride + j] *= factor


@row_op(2, 1, whole=True)
def _where_kept(g, kept):
    return where(kept.equals(0.0), 0.0, g)


@kernel(add_signature)
def prune(grads, mask, lo, n):
    """grads[lo:lo+n] = 0 where the mask is; n a multiple of 16."""
    _where_kept(offset(grads, lo), offset(mask, lo), offset(grads, lo), n)


def scalar_table(n, *values):
    """(n, SCALARS) float64, the first columns filled with the values (each a number or an array of n)."""
    table = np.zeros((n, SCALARS.size))
    for column, value in enumerate(values):
        table[:, column] = value
    return table


class Optimizer(Spec):
    """Base of the optimizers.

    Parameters
    ----------
    learning_rate : float or Schedule
        Greater than 0.
    weight_decay : float, default=0.0
        Decoupled: p <- p - rate weight_decay p for matrices, not for biases and scales of normalizations. >= 0.
    l1, l2 : float, default=0.0
        Penalty l1 sum |p| + l2 / 2 sum p^2 on matrices, added to the mean loss of a batch, whatever its size, and to the
        penalties of the layers (`alpha` and `l1` of MLPClassifier and MLPRegressor are divided by the batch size, as in
        scikit-learn). >= 0.
    clip_norm : float or None, default=None
        Gradients whose norm (over all parameters, penalties not included) is larger are shortened to it.
    clip_value : float or None, default=None
        Each gradient is cut off at minus and plus it.
    average : float or None, default=None
        Decay of the exponential moving average of the parameters that `Model.averaged` holds, in (0, 1).
    skip_nonfinite : bool, default=True
        Whether a step whose loss, or norm of the gradient, is NaN or infinite is left out and counted
        (`Model.skipped_steps`); `Model.fit` warns of it at its end.

    Attributes
    ----------
    name : str
        Its name in the table.
    n_moments : int
        Arrays of the size of the parameters that the update keeps (moments, velocities).
    n_arrays : int
        Those, and what it keeps besides.
    update_kernel, full_kernel : Kernel
        Made by the decorator from the static method `update(p, g, *moments, *scalars)` -> (p, *moments), functions of
        vectors; the full one knows the rules above too.

    Notes
    -----
    A setting may be assigned at any time, between epochs too; it is checked like the constructor's argument.

    A subclass defines `update` and `scalars(rates, steps)`, which gives the six scalars of each of the steps 1, 2, ... with
    the function `scalar_table`, (len(steps), SCALARS) float64.

    References
    ----------
    Loshchilov, I. & Hutter, F. (2019). Decoupled weight decay regularization. arXiv:1711.05101.
    Pascanu, R., Mikolov, T. & Bengio, Y. (2013). On the difficulty of training recurrent neural networks (clipping).
    Polyak, B. & Juditsky, A. (1992). Acceleration of stochastic approximation by averaging.
    """

    n_moments = 0
    full_batch = False  # whether it works on all samples at once, through SciPy
    decays_itself = False  # whether `update` gets the decay and the layer's rate factor as last scalars, and applies them
    trains_elsewhere = False  # whether gradients are taken at other parameters than those that predict (see `to_training`)
    changeable = True  # a rate between epochs, say

    def __init__(
        self,
        learning_rate,
        *,
        weight_decay=0.0,
        l1=0.0,
        l2=0.0,
        clip_norm=None,
        clip_value=None,
        average=None,
        skip_nonfinite=True,
    ):
        self.learning_rate = (
            learning_rate if isinstance(learning_rate, Schedule) else check_number("learning_rate", learning_rate, "(0, inf)")
        )
        self.weight_decay = check_number("weight_decay", weight_decay, "[0, inf)")
        self.l1, self.l2 = check_number("l1", l1, "[0, inf)"), check_number("l2", l2, "[0, inf)")
        self.clip_norm = None if clip_norm is None else check_number("clip_norm", clip_norm, "(0, inf)")
        self.clip_value = None if clip_value is None else check_number("clip_value", clip_value, "(0, inf)")
        self.average = None if average is None else check_number("average", average, "(0, 1)")
        self.skip_nonfinite = bool(skip_nonfinite)

    def refuse(self, what):
        """ValueError if the optimizer cannot do what another part of the network asks for; most can."""

    def step_scalars(self, steps, first=0, total=None, factor=1.0, rate=None):
        """`scalars` with the rules' own, for steps 1, 2, ... of the model: a rate, or the schedule's times `factor`.

        The schedule begins after step `first` and has `total` steps; `factor` is what reactions to the loss make of it.
        """
        given = self.learning_rate if rate is None else rate
        if isinstance(given, Schedule):
            rates = np.asarray(given.rates(steps - 1 - first, total), float)
            if rates.shape != steps.shape or not np.isfinite(rates).all() or (rates < 0).any():
                raise ValueError(
                    f"{given!r}.rates must give a finite number >= 0 for each of {len(steps)} steps, got {rates}"
                )
        else:
            rates = np.full(len(steps), given)
        rates = rates * factor
        table = self.scalars(rates, steps)
        table[:, SCALARS.rate], table[:, SCALARS.gradient_scale] = rates, 1.0
        table[:, SCALARS.clip_value] = math.inf if self.clip_value is None else self.clip_value
        return table

    def rate_of(self, scalars):
        """The learning rate of a step, from its row of `step_scalars`."""
        return float(scalars[SCALARS.rate])

    def factors(self, layers):
        """What a part's factors are, from those of the layers (in `decay` whether it decays)."""
        table = layers.copy()
        table[:, FACTORS.l2] += self.l2 * layers[:, FACTORS.decay]
        table[:, FACTORS.l1] += self.l1 * layers[:, FACTORS.decay]
        table[:, FACTORS.decay] *= self.weight_decay
        return table

    def is_plain(self, factors):
        """Whether `update_kernel` does all there is to do, for the factors of the parts."""
        rules = self.clip_norm is not None or self.clip_value is not None
        return not rules and not factors[:, [FACTORS.l1, FACTORS.decay]].any() and (factors[:, FACTORS.rate] == 1).all()

    @property
    def n_arrays(self):
        return self.n_moments

    def start(self, params, moments):
        """First values of the arrays, those of the moments being 0 when this is called."""

    def to_training(self, params, moments):
        """Turn the parameters that predict into those that train, in place, where they differ."""

    def to_inference(self, params, moments):
        """The other way round."""


def apply(*args):
    """Placeholder in the templates for the optimizer's `row_op`."""


def _update_0(c, f, params, grads, moments, n_params, lo, n, l2):
    """Update parameters lo..lo+n (multiples of 16): one pass, 12 bytes a parameter in float32."""
    total = 0.0
    decay = c.rate * f.decay
    for j in range(lo, lo + n, BLOCK):
        p, g = offset(params, j), offset(grads, j)
        m = min(BLOCK, lo + n - j)
        total += apply(p, g, p, real(p, l2), real(p, f.l1), real(p, c.gradient_scale),
                       real(p, c.clip_value), real(p, f.rate), real(p, decay), real(p, c.s0),
                       real(p, c.s1), real(p, c.s2), real(p, c.s3), real(p, c.s4), real(p, c.s5), m)  # fmt: skip
    return total


def _update_1(c, f, params, grads, moments, n_params, lo, n, l2):
    """Update parameters lo..lo+n (multiples of 16) and one moment: one pass, 20 bytes a parameter in float32."""
    total = 0.0
    decay = c.rate * f.decay
    for j in range(lo, lo + n, BLOCK):
        p, g, a = offset(params, j), offset(grads, j), offset(moments, j)
        m = min(BLOCK, lo + n - j)
        total += apply(p, g, a, p, a, real(p, l2), real(p, f.l1), real(p, c.gradient_scale),
                       real(p, c.clip_value), real(p, f.rate), real(p, decay), real(p, c.s0),
                       real(p, c.s1), real(p, c.s2), real(p, c.s3), real(p, c.s4), real(p, c.s5), m)  # fmt: skip
    return total


def _update_2(c, f, params, grads, moments, n_params, lo, n, l2):
    """Update parameters lo..lo+n (multiples of 16) and two moments: one pass, 28 bytes a parameter in float32."""
    total = 0.0
    decay = c.rate * f.decay
    for j in range(lo, lo + n, BLOCK):
        p, g, a, b = offset(params, j), offset(grads, j), offset(moments, j), offset(moments, n_params + j)
        m = min(BLOCK, lo + n - j)
        total += apply(p, g, a, b, p, a, b, real(p, l2), real(p, f.l1), real(p, c.gradient_scale),
                       real(p, c.clip_value), real(p, f.rate), real(p, decay), real(p, c.s0),
                       real(p, c.s1), real(p, c.s2), real(p, c.s3), real(p, c.s4), real(p, c.s5), m)  # fmt: skip
    return total


TEMPLATES = _update_0, _update_1, _update_2  # by the number of moments


def optimizer(cls):
    """Class decorator: make the update's loops (compiled on first use) and put the optimizer into the table.

    Raises
    ------
    TypeError
        If the class lacks `update` or `scalars`.
    """
    for name in ("update", "scalars"):
        if not hasattr(cls, name):
            raise TypeError(f"{cls.__name__} must define {name}; see fastdnn.optimizers.base")

    def plain(p, g, *rest):
        """The update with L2 alone: what the other scalars would do is left out, and with it their cost."""
        moments, (l2, _, _, _, factor, decay, *scalars) = rest[: cls.n_moments], rest[cls.n_moments :]
        own = (decay, factor) if cls.decays_itself else ()
        return *cls.update(p, fma(l2, p, g), *moments, *scalars, *own), 0.5 * ((l2 * p) * p)

    def full(p, g, *rest):
        moments, (l2, l1, scale, clip, factor, decay, *scalars) = rest[: cls.n_moments], rest[cls.n_moments :]
        g = minimum(maximum(g * scale, -clip), clip)
        g = fma(l2, p, g) + where(p.equals(0.0), 0.0, with_sign(l1, p))
        penalty = l1 * absolute(p) + 0.5 * ((l2 * p) * p)
        if cls.decays_itself:
            return *cls.update(p, g, *moments, *scalars, decay, factor), penalty
        new, *moments = cls.update(p, g, *moments, *scalars)
        return fma(factor, new - p - decay * p, p), *moments, penalty

    n = cls.n_moments
    for body, attribute in ((plain, "update_kernel"), (full, "full_kernel")):
        name = f"{cls.name}_{attribute}"
        body.__name__ = f"{name}_row"
        op = row_op(2 + n, 1 + n, scalars=6 + OF_UPDATE, reduce="sum", whole=True)(body)
        setattr(cls, attribute, kernel_from(TEMPLATES[n], name, update_signature, cls.update, apply=op))
    OPTIMIZERS[cls.name] = cls
    return cls


def get_optimizer(given):
    """An `Optimizer` from its name or as it is; ValueError with the list of names otherwise."""
    if isinstance(given, Optimizer):
        return given
    if not isinstance(given, str) or given not in OPTIMIZERS:
        raise ValueError(f"optimizer must be an Optimizer or one of {sorted(OPTIMIZERS)}, got {given!r}")
    return OPTIMIZERS[given]()
