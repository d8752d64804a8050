"""Functions of single numbers as ONNX has them, and what activations of ours they are, told by their values."""

import functools
import math

import numpy as np
from scipy.special import erf

from ..layers import Activation, ParametricActivation, Rescaling
from .drafts import Draft

# Where functions are compared, and how near they must be: ONNX's constants are float32.
POINTS = np.concatenate([np.linspace(-12, 12, 481), [-60.0, -25.0, 25.0, 60.0]])
ZERO, FIRST = 240, -4  # numbers of the points 0 and -60
NEAR = 2e-6

SELU_ALPHA, SELU_SCALE = 1.67326319217681884765625, 1.05070102214813232421875  # ONNX's


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def softplus(x):
    return np.logaddexp(0, x)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def selu(x, alpha=SELU_ALPHA, gamma=SELU_SCALE):
    return gamma * elu(x, alpha)


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def mish(x):
    return x * np.tanh(softplus(x))


def softsign(x):
    return x / (1 + np.abs(x))


def leaky_relu(x, alpha=0.01):
    return np.where(x < 0, alpha * x, x)


def hard_sigmoid(x, alpha=0.2, beta=0.5):
    return np.clip(alpha * x + beta, 0, 1)


def hard_swish(x):
    return x * hard_sigmoid(x, 1 / 6, 0.5)


ACTIVATIONS = {  # of ours, by name
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": leaky_relu,
    "elu": elu,
    "selu": selu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": lambda x: x * sigmoid(x),
    "mish": mish,
    "tanh": np.tanh,
    "logistic": sigmoid,
    "softplus": softplus,
    "softsign": softsign,
    "hard_swish": hard_swish,
    "relu6": lambda x: np.clip(x, 0, 6),
}


@functools.cache
def table():
    """Values of our activations at `POINTS`, a row each, in the order of `ACTIVATIONS`."""
    return np.array([ours(POINTS) for ours in ACTIVATIONS.values()])


def values_at_points(function):
    """Values of a function at `POINTS`, or None if some are no finite numbers."""
    with np.errstate(all="ignore"):
        values = np.asarray(function(POINTS), np.float64)
    return np.broadcast_to(values, POINTS.shape) if np.isfinite(values).all() else None


def near(a, b):
    """Whether the values of functions, along the last axis, are those of one."""
    size = np.abs(np.atleast_1d(b))
    return np.all(np.abs(a - b) <= NEAR * np.maximum(size, np.minimum(1, size.max(axis=-1, keepdims=True))), axis=-1)


def as_drafts(function):
    """Layers that do what a function of single numbers does, or None if there are none."""
    values = values_at_points(function)
    if values is None:
        return None
    if (fits := near(values, table())).any():
        return [Draft(Activation, {"activation": list(ACTIVATIONS)[np.argmax(fits)]})]
    slope, offset = (values[-1] - values[FIRST]) / (POINTS[-1] - POINTS[FIRST]), values[ZERO]
    if np.abs(values - slope * POINTS - offset).max() <= 1e-9 * np.ptp(values) + 1e-15 * abs(offset):
        return line(1.0 if abs(slope - 1) < 1e-12 else float(slope), float(offset))
    slope, right = values[FIRST] / POINTS[FIRST], POINTS > 0
    if near(values[right], POINTS[right]) and near(values[~right], slope * POINTS[~right]):
        return leaky(float(slope))
    return None


def line(scale, offset):
    """y = scale x + offset"""
    return [] if (scale, offset) == (1, 0) else [Draft(Rescaling, {"scale": scale, "offset": offset})]


def leaky(slope):
    """x where x > 0, slope x elsewhere, with a slope that is not trained: x + (1 - slope) (relu(x) - x)"""
    return [Draft(ParametricActivation, {"activation": "relu", "learning_rate_factor": 0.0}, {"alpha": 1 - slope})]


def clipped(scale, offset, low, high):
    """min(max(scale x + offset, low), high), by way of the one function of ours that has two bounds, 0 and 6."""
    unit = (high - low) / 6
    return [*line(scale / unit, (offset - low) / unit), Draft(Activation, {"activation": "relu6"}), *line(unit, low)]
