"""scikit-learn's `SimpleImputer` for numbers: skl2onnx's is for float32, and for columns of one type."""

import numbers

import numpy as np
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer
from skl2onnx.shape_calculators.imputer import calculate_sklearn_imputer_output_shapes

from .converting import add, connect, part_of
from .table_inputs import beside

DTYPES = {Int64TensorType: np.int64, FloatTensorType: np.float32, DoubleTensorType: np.float64}


def holds_strings(operator):
    """Whether there are strings in its columns, of which skl2onnx knows."""
    return any(isinstance(x.type, StringTensorType) for x in operator.inputs)


def looks_for_nan(imputer):
    """Whether NaN (or None, or pandas.NA) is what is missing, which integers have none of."""
    missing = imputer.missing_values
    return not isinstance(missing, numbers.Real) or missing != missing


def imputed_type(operator):
    """skl2onnx's type of what an imputer gives."""
    types, imputer = {type(x.type) for x in operator.inputs}, operator.raw_operator
    stays_whole = looks_for_nan(imputer) or imputer.strategy in ("most_frequent", "constant")
    if types == {Int64TensorType} and stays_whole:
        return Int64TensorType
    return FloatTensorType if types == {FloatTensorType} else DoubleTensorType


def shapes(operator):
    """Set the type and the shape of an operator's output."""
    if holds_strings(operator):
        calculate_sklearn_imputer_output_shapes(operator)
    else:
        rows = operator.inputs[0].get_first_dimension()
        operator.outputs[0].set_type(imputed_type(operator)([rows, len(operator.raw_operator.statistics_)]))


def impute(scope, operator, container):
    """Add the nodes of an operator."""
    if holds_strings(operator):
        convert_sklearn_imputer(scope, operator, container)
        return
    imputer = operator.raw_operator
    filling = np.asarray(imputer.statistics_, np.float64)  # of objects, if the strategy is "constant"
    if imputer.add_indicator or np.isnan(filling).any():
        raise ValueError(
            "a SimpleImputer with add_indicator=True, or with a column without a value in fit, gives other columns than it "
            "takes, which skl2onnx does not know: leave the indicator out, or drop the column before"
        )
    dtype = DTYPES[imputed_type(operator)]
    graph = part_of(scope, container, np.float32 if dtype == np.float32 else np.float64)
    x = beside(graph, [graph.cast(column.full_name, dtype) for column in operator.inputs])
    if not (looks_for_nan(imputer) and dtype == np.int64):
        if looks_for_nan(imputer):
            absent = graph.node("IsNaN", x)
        else:
            absent = graph.node("Equal", x, graph.constant(imputer.missing_values, dtype=dtype))
        x = graph.node("Where", absent, graph.constant(filling, "statistics", dtype), x)
    connect(graph, x, operator.outputs[0])
    add(graph, container)
