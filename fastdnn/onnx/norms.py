"""Normalization."""

import numpy as np

from ..layers import BatchNorm, LayerNorm
from ..layers.batch_norm import BatchMoments
from ..layers.spectral_norm import SpectralScale
from .activations import activated
from .dense import ANY
from .registry import exporter
from .tensors import LAST, TIME


@exporter(BatchNorm, orders=ANY, any_length=True)
def batch_norm(graph, layer, x, weights):
    gamma, beta, mean, var = (weights[name] for name in ("gamma", "beta", "mean", "var"))
    if graph.is_single and x.channel_axis == 1:  # the operator's epsilon is a float32
        arrays = [graph.constant(weights[name], name) for name in ("gamma", "beta", "mean", "var")]
        name = graph.node("BatchNormalization", x, *arrays, epsilon=layer.epsilon)
    else:
        scale = gamma / np.sqrt(var.astype(np.float64) + layer.epsilon)
        scaled = graph.node("Mul", x, graph.constant(x.per_channel(scale), "scale"))
        name = graph.node("Add", scaled, graph.constant(x.per_channel(beta - mean * scale), "shift"))
    return activated(graph, layer.activation, x._replace(name=name))


@exporter(LayerNorm, orders=(LAST, TIME), any_length=True)
def layer_norm(graph, layer, x, weights):
    gamma, beta = graph.constant(weights["gamma"], "gamma"), graph.constant(weights["beta"], "beta")
    if graph.is_single:
        return graph.node("LayerNormalization", x, gamma, beta, axis=x.channel_axis, epsilon=layer.epsilon)
    centered = graph.node("Sub", x, graph.reduce("ReduceMean", x, [x.channel_axis]))
    variance = graph.reduce("ReduceMean", graph.node("Mul", centered, centered), [x.channel_axis])
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.constant(layer.epsilon)))
    return graph.node("Add", graph.node("Mul", graph.node("Div", centered, deviation), gamma), beta)


@exporter(BatchMoments, SpectralScale, orders=ANY, any_length=True)
def done_elsewhere(graph, layer, x, weights):
    """Batch norm's first half is for training; a kernel is divided by its norm before it comes here."""
    return x.name
