"""Vectors for ids and categories, and encodings of numbers."""

import numpy as np

from ..layers import CategoryEmbedding, Embedding, PeriodicEmbedding, PiecewiseLinear
from ..layers.periodic_embedding import TAU
from .activations import clip
from .registry import exporter
from .tensors import LAST, TIME


@exporter(Embedding, any_length=True)
def embedding(graph, layer, x, weights):
    return graph.node("Gather", graph.constant(weights["kernel"], "kernel"), x)


@exporter(CategoryEmbedding)
def category_embedding(graph, layer, x, weights):
    counts = np.array(layer.n_categories)
    zero, last = graph.constant(0.0), graph.constant([2])
    low = graph.node("GreaterOrEqual", x, zero)
    known = graph.node("And", low, graph.node("Less", x, graph.constant(counts.astype(float), "counts")))
    numbers = graph.cast(graph.node("Where", known, x, zero), "int64")
    rows = graph.node("Add", numbers, graph.constant(np.cumsum(counts) - counts, "first_rows"))
    vectors = graph.node("Gather", graph.constant(weights["kernel"], "kernel"), rows)
    missing = graph.node("Where", graph.node("IsNaN", x), x, zero)  # NaN stays NaN
    vectors = graph.node("Add", vectors, graph.node("Unsqueeze", missing, last))
    return graph.node("Reshape", vectors, graph.constant([0, *layer.output_shape(x.shape)]))


@exporter(PiecewiseLinear, orders=(LAST, TIME), any_length=True)
def piecewise_linear(graph, layer, x, weights):
    edges = [np.array(e) for e in layer.edges]
    features = np.repeat(np.arange(len(edges)), [len(e) - 1 for e in edges])
    with np.errstate(over="ignore"):  # of very narrow bins: infinity times 0 would be no number
        inverses = np.concatenate([np.minimum(1 / np.diff(e), np.finfo(graph.dtype).max) for e in edges])
    repeated = graph.node("Gather", x, graph.constant(features, "features"), axis=x.channel_axis)
    beyond = graph.node("Sub", repeated, graph.constant(np.concatenate([e[:-1] for e in edges]), "edges"))
    return clip(graph, graph.node("Mul", beyond, graph.constant(inverses, "inverses")), 0.0, 1.0)


@exporter(PeriodicEmbedding, orders=(LAST, TIME), any_length=True)
def periodic_embedding(graph, layer, x, weights):
    axis = len(x.shape) + 1  # of what each feature becomes
    column = graph.node("Unsqueeze", x, graph.constant([axis]))
    angles = graph.node("Mul", column, graph.constant(TAU))
    turns = graph.node("Mul", angles, graph.constant(weights["frequency"], "frequency"))
    waves = graph.node("Cos", graph.node("Add", turns, graph.constant(weights["phase"], "phase")))
    rows = graph.node("Unsqueeze", waves, graph.constant([axis]))  # (..., features, 1, waves)
    kernel = graph.constant(weights["kernel"].swapaxes(1, 2), "kernel")  # (features, waves, numbers)
    mixed = graph.node("Squeeze", graph.node("MatMul", rows, kernel), graph.constant([axis]))
    mixed = graph.node("Add", mixed, graph.constant(weights["bias"], "bias"))
    both = graph.node("Concat", column, mixed, axis=axis)
    return graph.node("Reshape", both, graph.constant([*[0] * len(x.shape), layer.output_shape(x.shape)[-1]]))
