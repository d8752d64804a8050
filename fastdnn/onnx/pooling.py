"""Pooling, of windows and of all there is."""

import math

from ..layers import (
    AvgPool1D,
    AvgPool2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    MaxPool1D,
    MaxPool2D,
)
from .convolution import goes_by_any_length, windows
from .masks import counting
from .registry import exporter
from .tensors import FIRST, LAST, TIME, turned


def pool_goes_by_any_length(layer):
    return goes_by_any_length(layer.padding, layer.strides or layer.pool_size)


@exporter(MaxPool1D, MaxPool2D, orders=(FIRST,), any_length=pool_goes_by_any_length)
def max_pool(graph, layer, x, weights):
    return graph.node("MaxPool", x, **windows(layer.axes(x.shape)[-layer.dims :]))


@exporter(AvgPool1D, AvgPool2D, orders=(FIRST,), any_length=pool_goes_by_any_length)
def avg_pool(graph, layer, x, weights):
    return graph.node("AveragePool", x, **windows(layer.axes(x.shape)[-layer.dims :]), count_include_pad=0)


@exporter(GlobalMaxPool1D, GlobalMaxPool2D, orders=(LAST, FIRST, TIME), any_length=True)
def global_max_pool(graph, layer, x, weights):
    if x.steps is not None:
        x = turned(graph, x, LAST)
        low = graph.constant(-math.inf)
        x = x._replace(name=graph.node("Where", counting(graph, x), x, low))
    return pooled(graph, x, "GlobalMaxPool", "ReduceMax")


@exporter(GlobalAvgPool1D, GlobalAvgPool2D, orders=(LAST, FIRST, TIME), any_length=True)
def global_avg_pool(graph, layer, x, weights):
    if x.steps is None:
        return pooled(graph, x, "GlobalAveragePool", "ReduceMean")
    x = turned(graph, x, LAST)
    kept = graph.node("Where", counting(graph, x), x, graph.constant(0.0))
    count = graph.cast(graph.node("Unsqueeze", x.steps.lengths, graph.constant([1])), graph.dtype)
    return graph.node("Div", graph.reduce("ReduceSum", kept, [1], keepdims=False), count)


def pooled(graph, x, op, reduction):
    """ONNX's operator of images, channels first, where ONNX Runtime has it; otherwise, and of series, a reduction of axes."""
    if x.order == FIRST and len(x.shape) == 3 and graph.is_single:
        return graph.node("Flatten", graph.node(op, x), axis=1)
    return graph.reduce(reduction, x, x.places, keepdims=False)
