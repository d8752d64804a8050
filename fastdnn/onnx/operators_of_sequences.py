"""Recurrent operators."""

import numpy as np

from ..layers import GRU, LSTM, Bidirectional, SimpleRNN
from .calls import features, operator
from .dimensions import axis
from .drafts import Draft, Refused
from .tracing import BatchAxis, Stage, Traced

# Our layers, and where their gates stand in ONNX's weights: i o f c and z r h there, i f g o and r z n here.
CELLS = {"LSTM": (LSTM, (0, 2, 3, 1)), "GRU": (GRU, (1, 0, 2)), "RNN": (SimpleRNN, (0,))}
USUAL = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
OURS = {"tanh": "tanh", "relu": "relu", "sigmoid": "logistic", "softsign": "softsign", "softplus": "softplus"}
PREFIXES = {"forward": ("",), "reverse": ("",), "bidirectional": ("forward_", "backward_")}


@operator("LSTM", "GRU", "RNN")
def _recurrent(call):
    value, kernel, inner_kernel = call.data(0), call.weights(1, rank=3), call.weights(2, rank=3)
    call.rank(value, 3)
    layout, direction = call.attribute("layout", 0), call.attribute("direction", "forward")
    if layout not in (0, 1) or direction not in PREFIXES:
        call.refuse(f"layout={layout} and direction={direction!r} are not supported")
    n_directions, (layer, gates) = len(PREFIXES[direction]), CELLS[call.node.op]
    units, n_in = inner_kernel.shape[2], kernel.shape[2]
    columns = len(gates) * units
    if kernel.shape[:2] != (n_directions, columns) or inner_kernel.shape[:2] != (n_directions, columns):
        call.refuse(f"weights of shapes {kernel.shape} and {inner_kernel.shape} do not fit each other, and {direction!r}")
    if features(value, 2) != n_in:
        call.refuse(f"weights of shape {kernel.shape} do not fit the value of shape {value.shape}")
    settings = {"units": units, "use_bias": call.has(3), **_checked(call, units, direction)}
    bias = call.weights(3, shape=(n_directions, 2 * columns)) if call.has(3) else None
    arrays = {}
    for k, prefix in enumerate(PREFIXES[direction]):
        arrays[f"{prefix}kernel"] = _gates(kernel[k], gates).T
        arrays[f"{prefix}recurrent_kernel"] = _gates(inner_kernel[k], gates).T
        if bias is not None:
            first, second = (_gates(b, gates) for b in np.split(bias[k], 2))
            arrays |= {f"{prefix}bias": first, f"{prefix}recurrent_bias": second}
            if layer is not GRU:
                arrays[f"{prefix}bias"] = first.astype(np.float64) + arrays.pop(f"{prefix}recurrent_bias")
    return _outputs(call, value, layer, settings, arrays)


def _gates(array, order):
    """Rows of the gates in our order, which take turns in blocks."""
    return np.concatenate([np.split(array, len(order))[gate] for gate in order]) if len(order) > 1 else array


def _checked(call, units, direction):
    """More settings of our layer; ModelFormatError for what it cannot do."""
    kind, twice = call.node.op, 1 + (direction == "bidirectional")
    call.only(input_forget=0, hidden_size=units)
    if call.attribute("clip", None, float) is not None:
        call.refuse("clip is not supported")
    if kind == "GRU" and not call.attribute("linear_before_reset", 0):
        call.refuse("linear_before_reset=0, which multiplies h by r before the product, is not supported, 1 is")
    for number in (5, 6):
        if call.has(number) and (np.any(_small(call.constant(number, "f"))) or call.constant(number).shape[-1:] != (units,)):
            call.refuse(f"its input {number}, the state that it starts from, must be 0, for {units} units")
    if call.has(7) and np.any(call.constant(7, "f")):
        call.refuse("its input 7, peepholes, is not supported")
    if call.has(4):  # not one of the file's inputs, for which there is `lengths` of predict
        lengths = _small(call.constant(4, "iu"))
        if np.any(lengths != features(call.data(0), call.attribute("layout", 0))):
            call.refuse("its input 4, lengths of sequences, must be an input of the file or the number of all steps")
    names = call.attribute("activations", USUAL[kind] * twice, tuple)
    given = tuple(name.lower() for name in names if isinstance(name, str))
    if kind != "RNN":
        if given != tuple(name.lower() for name in USUAL[kind] * twice):
            call.refuse(f"activations={names} are not supported, {USUAL[kind]} are")
        return {}
    if len(given) != twice or len(set(given)) != 1 or given[0] not in OURS:
        call.refuse(f"activations={names} are not supported, one of {sorted(OURS)} is")
    return {"activation": OURS[given[0]]}


def _small(array):
    """The array, or one number of it that stands for all, which takes no memory."""
    return array[(slice(0, 1),) * array.ndim] if array.ndim and not any(array.strides) else array


def _outputs(call, value, layer, settings, arrays):
    """The values of all steps, and of the last one."""
    layout, direction = call.attribute("layout", 0), call.attribute("direction", "forward")
    first = 1 if layout else 0  # the axis of time
    if call.tracer.batch in value.axes[first]:
        raise BatchAxis("the axis of its steps is that of the samples")
    batch_first = call.tracer.viewed(value, (value.axes[1 - first], value.axes[first], value.axes[2]))
    stage = call.tracer.as_image(batch_first, [1], 2)
    n_directions = len(PREFIXES[direction])
    both, units = axis(n_directions), axis(settings["units"])
    batch, time = (call.tracer.batch,), value.axes[first]

    def draft(sequences):
        own = settings | {"return_sequences": sequences, "go_backwards": direction == "reverse"}
        if direction != "bidirectional":
            return Draft(layer, own, arrays)
        return Draft(Bidirectional, {"layer": layer(**own)}, arrays)

    everything, last = draft(True), Stage(stage, draft(False), (both + units,), value.axes[2])
    if direction == "reverse":
        everything = Draft(
            Refused, {"why": f"{call.node}: steps of direction='reverse' are not supported, its last state is"}
        )
    steps = Stage(stage, everything, (stage.axes[0], both + units), value.axes[2])
    if direction != "bidirectional":  # where the last step of each direction is another one
        steps.last = last, time, 0 if direction == "reverse" else features(value, first) - 1
    all_axes = (batch, time, both, units) if layout else (time, both, batch, units)
    state_axes = (batch, both, units) if layout else (both, batch, units)
    return Traced(steps, all_axes), Traced(last, state_axes)
