"""From numbers and codes to the matrix that the networks of a table get: `tabular.features.Features` as nodes."""

import numpy as np

from ..tabular.features import LARGEST
from .doubles import between, double
from .table_inputs import beside


def matrix_nodes(graph, features, numbers, codes):
    """Name of the matrix, float32 (n, columns), computed in float64 until then, as `Features.transform` does.

    numbers, codes : names of float64 (n, k) with NaN and of int64 (n, c), or None
    """
    dense, parts = dense_columns(graph, features, numbers, codes), []
    if dense:
        Z = graph.node("Sub", beside(graph, dense), double(graph, features._center, "center"))
        Z = smooth_clip(graph, graph.node("Mul", Z, double(graph, features._factor, "factor")))
        parts.append(graph.cast(Z, np.float32))
    if len(features._coded):
        coded = graph.node("Gather", codes, graph.constant(features._coded), axis=1)
        parts.append(graph.cast(coded, np.float32))
    return beside(graph, parts)


def dense_columns(graph, features, numbers, codes):
    """Names of the numbers, gaps filled, of the indicators of gaps and of the features of few categories, all float64."""
    found = []
    if features.n_numbers:
        missing = graph.node("IsNaN", numbers)
        filled = graph.node("Where", missing, double(graph, features._middle, "middle"), numbers)
        found.append(between(graph, filled, -LARGEST, LARGEST))
        if len(features._flagged):
            gaps = graph.node("Gather", graph.cast(missing, np.float64), graph.constant(features._flagged), axis=1)
            found.append(gaps)
    for column, table in zip(features._hot, features._tables, strict=True):
        code = graph.node("Gather", codes, graph.constant(column), axis=1)
        found.append(graph.node("Gather", double(graph, table, "one_hot"), code))
    return found


def smooth_clip(graph, z):
    """`tabular.features.smooth_clip`."""
    z = between(graph, z, -LARGEST, LARGEST)
    third = graph.node("Div", z, double(graph, 3.0))
    steep = graph.node("Add", graph.node("Mul", third, third), double(graph, 1.0))
    return graph.node("Div", z, graph.node("Sqrt", steep))
