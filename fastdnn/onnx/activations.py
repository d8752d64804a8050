"""Activation functions; in float64, for which ONNX Runtime has few of their operators, as formulas of others."""

import math

from .._math import _ERFC as ERFC
from ..layers import activations as functions
from ..layers.activation_function import get_activation
from .registry import check_exporter, exporter


def activated(graph, activation, x):
    """Name of f(x), f being an activation as layers keep it and x a `Tensor`."""
    f = get_activation(activation)
    return x.name if f.is_identity else check_exporter(f, f"activation {f!r}").function(graph, f, x)


def below_zero(graph, x, negative):
    """x where it is 0 or more, or NaN, elsewhere `negative`."""
    return graph.node("Where", graph.node("Less", x, graph.constant(0.0)), negative, x)


def expm1_below(graph, x):
    """exp(x) - 1 of the negative x."""
    return graph.node("Sub", graph.node("Exp", graph.node("Min", x, graph.constant(0.0))), graph.constant(1.0))


@exporter(functions.relu)
def relu(graph, f, x):
    return graph.node("Relu", x)


@exporter(functions.tanh)
def tanh(graph, f, x):
    return graph.node("Tanh", x)


@exporter(functions.logistic)
def logistic(graph, f, x):
    return graph.node("Sigmoid", x)


@exporter(functions.leaky_relu)
def leaky_relu(graph, f, x):
    if graph.is_single:
        return graph.node("LeakyRelu", x, alpha=0.01)
    return below_zero(graph, x, graph.node("Mul", x, graph.constant(0.01)))


@exporter(functions.elu)
def elu(graph, f, x):
    return graph.node("Elu", x, alpha=1.0) if graph.is_single else below_zero(graph, x, expm1_below(graph, x))


@exporter(functions.selu)
def selu(graph, f, x):
    alpha, scale = functions.SELU_ALPHA, functions.SELU_SCALE
    if graph.is_single:
        return graph.node("Selu", x, alpha=alpha, gamma=scale)
    negative = graph.node("Mul", expm1_below(graph, x), graph.constant(alpha))
    return graph.node("Mul", below_zero(graph, x, negative), graph.constant(scale))


@exporter(functions.gelu)
def gelu(graph, f, x):
    if not graph.is_single:
        return graph.node("Mul", x, normal_cdf(graph, x))
    erf = graph.node("Erf", graph.node("Div", x, graph.constant(math.sqrt(2))))  # in the form that runtimes look for
    return graph.node("Mul", graph.node("Mul", x, graph.node("Add", erf, graph.constant(1.0))), graph.constant(0.5))


@exporter(functions.gelu_tanh)
def gelu_tanh(graph, f, x):
    cube = graph.node("Mul", graph.node("Mul", x, x), x)
    inner = graph.node("Add", x, graph.node("Mul", cube, graph.constant(functions.CUBIC)))
    tanh_of = graph.node("Tanh", graph.node("Mul", inner, graph.constant(functions.TWICE / 2)))
    return graph.node("Mul", graph.node("Mul", x, graph.node("Add", tanh_of, graph.constant(1.0))), graph.constant(0.5))


def normal_cdf(graph, x):
    """Distribution function of the standard normal as `_math.normal_cdf` has it, its polynomial a product with powers."""
    axis, two, one = len(x.shape) + 1, graph.constant(2.0), graph.constant(1.0)
    z = graph.node("Mul", graph.node("Abs", x), graph.constant(math.sqrt(0.5)))
    t = graph.node("Div", two, graph.node("Add", z, two))
    variable = graph.node("Unsqueeze", graph.node("Sub", graph.node("Add", t, t), one), graph.constant([axis]))
    powers = graph.node("Pow", variable, graph.constant([float(k) for k in reversed(range(len(ERFC[64])))], "powers"))
    logarithm = graph.node("MatMul", powers, graph.constant(ERFC[64], "coefficients"))
    exponent = graph.node("Sub", logarithm, graph.node("Mul", z, z))
    tail = graph.node("Mul", graph.node("Mul", t, graph.constant(0.5)), graph.node("Exp", exponent))
    return graph.node("Where", graph.node("Less", x, graph.constant(0.0)), tail, graph.node("Sub", one, tail))


@exporter(functions.silu)
def silu(graph, f, x):
    return graph.node("Mul", x, graph.node("Sigmoid", x))


@exporter(functions.mish)
def mish(graph, f, x):
    return graph.node("Mul", x, graph.node("Tanh", softplus(graph, f, x)))


@exporter(functions.softplus)
def softplus(graph, f, x):
    if graph.is_single:
        return graph.node("Softplus", x)
    small = graph.node("Exp", graph.node("Neg", graph.node("Abs", x)))
    return graph.node("Add", graph.node("Max", x, graph.constant(0.0)), log1p(graph, small))


def log1p(graph, x):
    """log(1 + x) for x >= 0 without loss of small x: the rounding of 1 + x is put back."""
    one = graph.constant(1.0)
    w = graph.node("Add", x, one)
    rest = graph.node("Div", graph.node("Sub", x, graph.node("Sub", w, one)), w)
    return graph.node("Add", graph.node("Log", w), rest)


@exporter(functions.softsign)
def softsign(graph, f, x):
    if graph.is_single:
        return graph.node("Softsign", x)
    return graph.node("Div", x, graph.node("Add", graph.node("Abs", x), graph.constant(1.0)))


def clip(graph, x, low, high):
    """x within two bounds."""
    return graph.node("Clip", x, graph.constant(low), graph.constant(high))


@exporter(functions.hard_swish)
def hard_swish(graph, f, x):
    if graph.is_single:
        return graph.node("HardSwish", x)
    share = clip(graph, graph.node("Add", x, graph.constant(3.0)), 0.0, 6.0)
    return graph.node("Mul", x, graph.node("Mul", share, graph.constant(1 / 6)))


@exporter(functions.relu6)
def relu6(graph, f, x):
    return clip(graph, x, 0.0, 6.0)


@exporter(functions.softmax)
def softmax(graph, f, x):
    return graph.node("Softmax", x, axis=x.channel_axis)
