"""Scalers of pipelines: computed in float64, whatever types columns have.

skl2onnx gives all columns the type of the first one, which cuts floats off to integers where that is one, and makes float32
of several.
"""

import numpy as np
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from .converting import add, connect, guess_proto_type, part_of
from .table_inputs import beside

SCALERS = StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler


def scale(scope, operator, container):
    """Add the nodes of a scaler of numbers, whatever their types."""
    scaler, graph = operator.raw_operator, part_of(scope, container, np.float64)
    x = beside(graph, [graph.cast(column.full_name, np.float64) for column in operator.inputs])
    y = scaled(graph, scaler, x)
    if getattr(scaler, "clip", False):
        low, high = getattr(scaler, "feature_range", (-1, 1))
        y = graph.node("Clip", y, graph.constant(float(low)), graph.constant(float(high)))
    connect(graph, graph.node("Cast", y, to=guess_proto_type(operator.outputs[0].type)), operator.outputs[0])
    add(graph, container)


def scaled(graph, scaler, x):
    """Name of what a scaler makes of numbers, before it cuts off at limits."""
    if isinstance(scaler, MinMaxScaler):
        return graph.node("Add", graph.node("Mul", x, graph.constant(scaler.scale_)), graph.constant(scaler.min_))
    center = getattr(scaler, "center_", None)
    if isinstance(scaler, StandardScaler) and scaler.with_mean:
        center = scaler.mean_
    x = x if center is None else graph.node("Sub", x, graph.constant(np.asarray(center, float)))
    return x if scaler.scale_ is None else graph.node("Div", x, graph.constant(np.asarray(scaler.scale_, float)))
