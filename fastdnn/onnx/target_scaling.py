"""What skl2onnx is told of `TransformedTargetRegressor`, which it does not know: networks learn scaled targets best."""

import numpy as np
from onnx import helper
from sklearn.preprocessing import FunctionTransformer

from .converting import add, connect, float_type, guess_proto_type, part_of, sklearn_operator_name_map
from .scalers import SCALERS

FUNCTIONS = {
    np.exp: lambda graph, y: graph.node("Exp", y),
    np.expm1: lambda graph, y: graph.node("Sub", graph.node("Exp", y), graph.constant(1.0)),
    np.log: lambda graph, y: graph.node("Log", y),
    np.sqrt: lambda graph, y: graph.node("Sqrt", y),
    np.square: lambda graph, y: graph.node("Mul", y, y),
    None: lambda graph, y: y,
}


def shapes(operator):
    """Set the type and the shape of an operator's output."""
    rows = operator.inputs[0].get_first_dimension()
    operator.outputs[0].set_type(float_type(operator)([rows, None]))


def convert(scope, operator, container):
    """Add the nodes of the regressor and of the way back from its targets."""
    model, (result,) = operator.raw_operator, operator.outputs
    inner = scope.declare_local_operator(sklearn_operator_name_map[type(model.regressor_)], model.regressor_)
    inner.inputs = operator.inputs
    scaled = scope.declare_local_variable("scaled_target", type(result.type)())
    inner.outputs.append(scaled)
    graph = part_of(scope, container, helper.tensor_dtype_to_np_dtype(guess_proto_type(result.type)))
    connect(graph, unscaled(graph, model.transformer_, scaled.full_name), result)
    add(graph, container)


def unscaled(graph, transformer, y):
    """Name of what the `inverse_transform` of a scaler or of a function gives, (n, k)."""
    if isinstance(transformer, FunctionTransformer) and transformer.inverse_func in FUNCTIONS:
        return FUNCTIONS[transformer.inverse_func](graph, y)
    if isinstance(transformer, SCALERS):  # all of them are straight lines
        zeros = np.zeros((1, transformer.n_features_in_))
        low, high = (transformer.inverse_transform(zeros + x) for x in (0.0, 1.0))
        return graph.node("Add", graph.node("Mul", y, graph.constant(high - low)), graph.constant(low))
    raise ValueError(
        f"TransformedTargetRegressor: nothing is known of how ONNX says the way back of {transformer!r}; take one of "
        f"{', '.join(scaler.__name__ for scaler in SCALERS)}, or exp, expm1, log, sqrt or square of numpy as inverse_func"
    )
