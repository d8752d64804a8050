"""Dense layers, and layers that work on each number, or each feature, by itself."""

from ..layers import Activation, Dense, ParametricActivation, PReLU, Rescaling, Scale
from .activations import activated, below_zero
from .registry import exporter
from .tensors import FIRST, LAST, TIME

ANY = (LAST, FIRST, TIME)


def product(graph, x, kernel, bias):
    """Name of x W + b on the last axis of a `Tensor`; b is None where there is none."""
    kernel = graph.constant(kernel, "kernel")
    bias = None if bias is None else graph.constant(bias, "bias")
    if len(x.shape) == 1:
        return graph.node("Gemm", x, kernel, bias)
    name = graph.node("MatMul", x, kernel)
    return name if bias is None else graph.node("Add", name, bias)


@exporter(Dense, orders=(LAST, TIME), any_length=True)
def dense(graph, layer, x, weights):
    name = product(graph, x, weights["kernel"], weights.get("bias"))
    return activated(graph, layer.activation, x._replace(name=name))


@exporter(Activation, orders=ANY, any_length=True)
def activation(graph, layer, x, weights):
    return activated(graph, layer.activation, x)


@exporter(PReLU, orders=ANY, any_length=True)
def prelu(graph, layer, x, weights):
    slope = graph.constant(x.per_channel(weights["slope"]), "slope")
    if graph.is_single:
        return graph.node("PRelu", x, slope)
    return below_zero(graph, x, graph.node("Mul", x, slope))


@exporter(ParametricActivation, orders=ANY, any_length=True)
def parametric_activation(graph, layer, x, weights):
    alpha, f = x.per_channel(weights["alpha"]), activated(graph, layer.activation, x)
    share = graph.node("Mul", f, graph.constant(alpha, "alpha"))
    return graph.node("Add", share, graph.node("Mul", x, graph.constant(1 - alpha, "rest")))


@exporter(Scale, orders=ANY, any_length=True)
def scale(graph, layer, x, weights):
    return graph.node("Mul", x, graph.constant(x.per_channel(weights["scale"]), "scale"))


@exporter(Rescaling, orders=ANY, any_length=True)
def rescaling(graph, layer, x, weights):
    scaled = graph.node("Mul", x, graph.constant(float(layer.scale)))
    return graph.node("Add", scaled, graph.constant(float(layer.offset))) if layer.offset else scaled
