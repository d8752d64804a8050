"""Inputs of a pipeline's graph, as skl2onnx takes them, from samples that it predicts."""

import narwhals.stable.v2 as nw
import numpy as np
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)

from .facts import network_type

NAMES_SHOWN = 5


def inputs_of(X):
    """List of (name, type): of a table the columns, each (n, 1), of an array "X"; ValueError where there is no such type."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        array = np.asarray(X)
        return [("X", type_of_array(array)([None, *array.shape[1:]]))]
    return [(name, type_of_column(frame[name], name)([None, 1])) for name in frame.columns]


def type_of_array(array):
    """skl2onnx's type of an array's numbers, booleans or strings."""
    if array.dtype.kind == "f":
        return FloatTensorType if array.dtype == np.float32 else DoubleTensorType
    found = {"b": BooleanTensorType, "i": Int64TensorType, "u": Int64TensorType, "U": StringTensorType, "O": StringTensorType}
    if array.dtype.kind not in found:
        raise ValueError(f"X must hold numbers, booleans or strings for ONNX, got {array.dtype}")
    return found[array.dtype.kind]


def type_of_column(column, name):
    """skl2onnx's type of a column of a frame; integers with gaps are float64."""
    dtype = column.dtype
    if dtype in (nw.String, nw.Categorical, nw.Enum, nw.Object):
        return StringTensorType
    if dtype == nw.Boolean:
        return BooleanTensorType
    if dtype.is_integer():
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
