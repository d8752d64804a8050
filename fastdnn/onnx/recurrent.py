"""Recurrent layers: ONNX's operators where ONNX Runtime has them, for float32, otherwise a loop over the steps."""

import numpy as np

from ..layers import GRU, LSTM, Bidirectional, SimpleRNN
from ..layers.activation_function import ACTIVATIONS, get_activation
from .masks import compacted
from .registry import exporter
from .scanning import scanned
from .tensors import TIME

# Of each layer the operator, and our gates in its order: it has i, o, f, c for our i, f, g, o, and z, r, h for our r, z, n.
OPERATORS = {LSTM: ("LSTM", (0, 3, 1, 2)), GRU: ("GRU", (1, 0, 2)), SimpleRNN: ("RNN", (0,))}
# Activations of RNN that ONNX Runtime knows under these names.
NAMES = {"tanh": "Tanh", "relu": "Relu", "logistic": "Sigmoid", "softplus": "Softplus", "softsign": "Softsign"}


@exporter(LSTM, GRU, SimpleRNN, orders=(TIME,), any_length=True)
def recurrent(graph, layer, x, weights):
    return recurred(graph, layer, x, weights, [("", layer.go_backwards)], "concat")


@exporter(Bidirectional, orders=(TIME,), any_length=True)
def bidirectional(graph, layer, x, weights):
    return recurred(graph, layer.layer, x, weights, [("forward_", False), ("backward_", True)], layer.merge)


def recurred(graph, layer, x, weights, directions, merge):
    """Name of what a layer makes of x in one or both directions, pairs (prefix of its weights' names, whether backwards)."""
    if graph.is_single and rnn_activation(layer) is not None:
        x, back = compacted(graph, x)
        outputs = operated(graph, layer, x, weights, directions)
    else:
        outputs, back = scanned(graph, layer, x, weights, directions), lambda y: y
    n_out = layer.units * len(directions) if merge == "concat" else layer.units
    name = merged(graph, outputs[not layer.return_sequences], layer.return_sequences, len(directions), merge, n_out)
    if not layer.return_sequences:
        return name
    if layer.go_backwards:  # the steps are in the order that they were taken in
        name = graph.slice(name, 0, step=-1)
    return back(x._replace(name=name)).name


def rnn_activation(layer):
    """Name of the activation of a SimpleRNN in ONNX, "" of other layers, None where ONNX Runtime has none like it."""
    if not isinstance(layer, SimpleRNN):
        return ""
    f = get_activation(layer.activation)
    return NAMES.get(f.name) if ACTIVATIONS.get(f.name) is f else None


def operated(graph, layer, x, weights, directions):
    """(outputs of all steps (time, directions, n, units), the last ones (directions, n, units)) of ONNX's operator."""
    ((op, order),) = [made for cls, made in OPERATORS.items() if isinstance(layer, cls)]
    kernels = [gates_first(weights[f"{prefix}kernel"], order) for prefix, _ in directions]
    recurrent_kernels = [gates_first(weights[f"{prefix}recurrent_kernel"], order) for prefix, _ in directions]
    bias = None
    if layer.use_bias:
        biases = []
        for prefix, _ in directions:
            own = weights[f"{prefix}bias"]
            second = weights.get(f"{prefix}recurrent_bias", np.zeros_like(own))
            biases.append(np.concatenate([gates_first(own, order), gates_first(second, order)]))
        bias = graph.constant(np.stack(biases), "bias")
    attributes = {"linear_before_reset": 1} if op == "GRU" else {}
    if op == "RNN":
        attributes = {"activations": [rnn_activation(layer)] * len(directions)}
    return graph.node(
        op, x, graph.constant(np.stack(kernels), "kernel"), graph.constant(np.stack(recurrent_kernels), "recurrent_kernel"),
        bias, None if x.steps is None else graph.cast(x.steps.lengths, "int32"), outputs=2, hidden_size=layer.units,
        direction="bidirectional" if len(directions) == 2 else "reverse" if directions[0][1] else "forward", **attributes,
    )  # fmt: skip


def gates_first(array, order):
    """A kernel (inputs, gates * units) as (gates * units, inputs), a bias as it is, with the gates in another order."""
    gates = array.T.reshape(len(order), -1, *array.shape[:-1])
    return gates[list(order)].reshape(array.shape[::-1])


def merged(graph, y, sequences, n_directions, merge, n_out):
    """Outputs (time, directions, n, units), or (directions, n, units), with the directions side by side or added."""
    axis = 1 if sequences else 0
    if n_directions == 1:
        return graph.node("Squeeze", y, graph.constant([axis]))
    if merge == "sum":
        return graph.reduce("ReduceSum", y, [axis], keepdims=False)
    turned = graph.node("Transpose", y, perm=[0, 2, 1, 3] if sequences else [1, 0, 2])
    return graph.node("Reshape", turned, graph.constant([*[0] * (axis + 1), n_out]))
