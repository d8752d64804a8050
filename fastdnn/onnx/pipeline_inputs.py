"""Inputs of a pipeline's graph, as skl2onnx takes them, from samples that it predicts."""

import narwhals.stable.v2 as nw
import numpy as np
from onnx import helper
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
    guess_proto_type,
)

from .facts import network_type

NAMES_SHOWN = 5


def inputs_of(X):
    """List of (name, type): of a table the columns, each (n, 1), of an array "X"; ValueError where there is no such type."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame) or not all(isinstance(name, str) for name in frame.columns):
        array = np.asarray(X)
        return [("X", type_of_array(array)([None, *array.shape[1:]]))]
    return [(name, type_of_column(frame[name], name)([None, 1])) for name in frame.columns]


def as_one(columns):
    """The input that scikit-learn makes of columns of numbers, [(name, type)]; None where there is one, or one is of strings.

    columns : as of `inputs_of`
    """
    types = {type(kind) for _, kind in columns}
    if len(columns) < 2 or StringTensorType in types:
        return None
    return [("fastdnn_columns", (types.pop() if len(types) == 1 else DoubleTensorType)([None, len(columns)]))]


# ---------------------------------------------------------------- inputs of a graph that is made


def take_columns(graph, columns):
    """Let columns, as of `inputs_of`, be the inputs of a graph, and what was its only one their concatenation."""
    (x,) = graph.input
    kind, casts = x.type.tensor_type.elem_type, [f"{x.name}_{number}" for number in range(len(columns))]
    made = names_within(graph) | {x.name, *casts}
    inputs = [f"{name}1" if name in made else name for name, _ in columns]
    nodes = [helper.make_node("Cast", [name], [cast], name=cast, to=kind) for name, cast in zip(inputs, casts, strict=True)]
    nodes += [helper.make_node("Concat", casts, [x.name], name=x.name, axis=1), *graph.node]
    types = [guess_proto_type(kind) for _, kind in columns]
    infos = [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in zip(inputs, types, strict=True)]
    for field, items in ((graph.node, nodes), (graph.input, infos)):
        del field[:]
        field.extend(items)


def name_inputs(graph, names):
    """Give the inputs of a graph these names, but those that are taken; skl2onnx writes "_" for all that is no letter."""
    made, pairs = names_within(graph), list(zip(graph.input, names, strict=True))
    kept = {x.name for x, name in pairs if name in made}
    rename_values(graph, {x.name: name for x, name in pairs if x.name not in kept and name not in kept})


def names_within(graph):
    """Names of the values that a graph makes, and of its constants."""
    return {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}


def rename_values(graph, names):
    """Rename inputs of a graph, and where it uses them."""
    for x in graph.input:
        x.name = names.get(x.name, x.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                rename_values(inner, names)


# ---------------------------------------------------------------- types


def type_of_array(array):
    """skl2onnx's type of an array's numbers, booleans or strings; booleans are integers, which its converters take."""
    if array.dtype.kind == "f":
        return FloatTensorType if array.dtype == np.float32 else DoubleTensorType
    found = {"b": Int64TensorType, "i": Int64TensorType, "u": Int64TensorType, "U": StringTensorType, "O": StringTensorType}
    if array.dtype.kind not in found:
        raise ValueError(f"X must hold numbers, booleans or strings for ONNX, got {array.dtype}")
    return found[array.dtype.kind]


def type_of_column(column, name):
    """skl2onnx's type of a column of a frame; integers with gaps are float64, booleans integers."""
    dtype = column.dtype
    if dtype in (nw.String, nw.Categorical, nw.Enum, nw.Object):
        return StringTensorType
    if dtype == nw.Boolean or dtype.is_integer():
        return DoubleTensorType if column.null_count() else Int64TensorType
    if not dtype.is_numeric():
        raise ValueError(f"column {name!r} must hold numbers, booleans or strings for ONNX, got {dtype}; make numbers of it")
    return FloatTensorType if dtype == nw.Float32 else DoubleTensorType


def usual_input(model, ours):
    """The input where no samples are given: "X", as many numbers as the model takes; ours : its fastdnn estimators."""
    names, n = getattr(model, "feature_names_in_", None), getattr(model, "n_features_in_", None)
    if names is not None or n is None:
        why = "does not say how many features it takes"
        if names is not None:
            shown = ", ".join(map(repr, names[:NAMES_SHOWN].tolist())) + ", ..." * (len(names) > NAMES_SHOWN)
            why = f"was fitted to a frame, and its columns {shown} may be of any types"
        raise ValueError(f"X must be given, some samples as predict takes them: the {type(model).__name__} {why}")
    single = all(network_type(estimator) == np.float32 for estimator in ours)
    return [("X", (FloatTensorType if single else DoubleTensorType)([None, n]))]
