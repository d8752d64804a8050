"""A model from an ONNX file: the graph walked from the samples to an output, and the layers on that way."""

import math
import os

import numpy as np

from ..layers import Activation, Reshape, Residual
from ..layers.windows import check_channels_last
from ..layout import Layout
from ..losses import CrossEntropy, Focal, LogLoss, get_loss
from ..saving.errors import ModelFormatError
from ..saving.state import MAX_LAYERS, narrowed
from ..specs import check_count
from . import operators_of_images as _images  # noqa: F401 - each of them fills the table of operators
from . import operators_of_sequences as _sequences  # noqa: F401
from . import operators_of_shapes as _shapes  # noqa: F401
from .calls import OPERATORS, Call
from .dimensions import SAMPLES, Factor, axis, joined, shape_of
from .drafts import Draft, LogSoftmax, Matrix, simplified
from .folding import Room, fold, shape_from
from .patterns import with_layer_norms
from .reading import RECURRENT, Graph, read_model
from .tracing import BatchAxis, OtherOrder, Traced, Tracer

MOST_NUMBERS = 1 << 30  # of a value of a sample
COPIED = 1 << 18  # numbers of a matrix that are copied at once
SPARE = 1 << 18  # parameters that a model may have whatever the size of the file
# What NumPy and layers raise where arrays and sizes do not fit.
UNFIT = ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError, MemoryError


def load_onnx(cls, model, loss, optimizer, dtype, random_state, input_shape, output, finite, max_bytes):
    """`Model.from_onnx`."""
    if input_shape is not None:
        given = input_shape if isinstance(input_shape, (tuple, list)) else (input_shape,)
        input_shape = tuple(check_count("input_shape", n) for n in given)
    try:
        proto, size = read_model(model, max_bytes)
        graph = _sound(Graph, proto, size, output)
        del proto  # from here on memory holds the arrays that are used, and no file
        with np.errstate(all="ignore"):
            shape, drafts, out = _sound(traced, graph, input_shape)
            drafts, loss = ended(drafts, loss)
            drafts = _sound(simplified, drafts)
        new = cls(_sound(as_layers, drafts), loss, optimizer, dtype, random_state)
        _sound(check_sizes, new, shape, out, size)
        new.build(shape, initialize=False)
        fill(new, drafts, finite)
    except ModelFormatError as error:
        where = f"{os.fspath(model)!r}: " if isinstance(model, (str, os.PathLike)) else ""
        raise ModelFormatError(f"{where}{error}") from None
    return new


def _sound(function, *args):
    """What a function gives, with ModelFormatError for whatever it finds that does not fit."""
    try:
        return function(*args)
    except ModelFormatError:
        raise
    except UNFIT as error:
        raise ModelFormatError(f"the file is no sound model: {str(error)[:300] or type(error).__name__}") from None


# ---------------------------------------------------------------- the walk


def traced(graph, input_shape):
    """(shape of a sample, drafts of the layers, shape of what they give).

    The samples are on the first axis of the input, or, before recurrent layers, on the second; whether it has its channels
    last may turn out late.
    """
    ways = [(0, False), (0, True)]
    if any(node.op in RECURRENT for node in graph.nodes):
        ways += [(1, False)]
    errors = []
    for batch_axis, turned in ways:
        if not errors or isinstance(errors[0], BatchAxis if batch_axis else OtherOrder):
            try:
                return walked(graph, input_shape, batch_axis, turned)
            except ModelFormatError as error:
                errors.append(error)
    raise errors[0]


def walked(graph, input_shape, batch_axis, turned):
    """As `traced`, the samples being on that axis of the input."""
    axes, batch = input_axes(graph, input_shape, batch_axis)
    tracer, room = Tracer(axes, batch, graph.input_type, turned), Room(graph.size)
    values = {**graph.constants, graph.input: tracer.input}
    for node in with_layer_norms(graph):
        try:
            found = run(node, values, tracer, room, graph)
        except ModelFormatError as error:
            raise type(error)(f"{node}: {error}") from None
        except UNFIT as error:
            raise ModelFormatError(f"{node}: {str(error)[:300] or type(error).__name__}") from None
        found = found if isinstance(found, tuple) and not hasattr(found, "_fields") else (found,)
        values.update(zip(node.outputs, found, strict=False))
    try:
        return finished(tracer, values.get(graph.output))
    except ModelFormatError as error:
        raise type(error)(f"the output {graph.output[:80]!r}: {error}") from None


def input_axes(graph, input_shape, batch_axis):
    """(axes of the input, the factor that counts samples)"""
    dims = graph.input_dims
    if dims is None:
        dims = [None] * (1 + len(input_shape or ()))
    own = [n for i, n in enumerate(dims) if i != batch_axis]
    given = own if input_shape is None else list(input_shape)
    if len(dims) <= batch_axis or len(given) != len(own) or any(n not in (None, m) for n, m in zip(own, given, strict=True)):
        raise BatchAxis(f"samples of shape {tuple(own)} do not fit input_shape={input_shape}")
    if None in given:
        raise BatchAxis(
            f"the file leaves sizes of a sample open, {tuple(given)}: give them as it has them, input_shape=(...)"
        )
    if max(given, default=1) >= SAMPLES or math.prod(given) > MOST_NUMBERS:
        raise ModelFormatError(f"samples of shape {tuple(given)} are too large")
    batch = Factor(dims[batch_axis] or SAMPLES, is_batch=True)
    axes = [axis(n) for n in given]
    axes.insert(batch_axis, (batch,))
    return tuple(axes), batch


def run(node, values, tracer, room, graph):
    """The value of a node's first output, or those of several, as a tuple."""
    missing = [name for name in node.inputs if name and name not in values and name not in graph.lengths]
    if missing:
        raise ModelFormatError(f"it uses {missing[0][:80]!r}, an output that the operator before it does not have here")
    given = [values.get(name) for name in node.inputs]
    if node.op == "Shape" and given and isinstance(given[0], Traced):
        return shape_from(node, given[0].shape)
    if all(value is None or isinstance(value, np.ndarray) for value in given):
        if (found := fold(node, given, room)) is not None:
            return found
    elif node.op in OPERATORS:
        found = OPERATORS[node.op](Call(tracer, node, given))
        for value in found if type(found) is tuple else (found,):
            if isinstance(value, Traced) and math.prod(value.shape) // tracer.batch.size > MOST_NUMBERS:
                raise ModelFormatError(f"it gives a value of shape {value.shape}, which is too large")
        return found
    if node.op in OPERATORS:
        raise ModelFormatError(
            "none of its inputs is made of the samples, and it is no operator that is computed ahead; a recurrent layer that "
            "is written step by step begins so (by Keras, and an RNN by PyTorch's newer exporter), which is not supported"
        )
    raise ModelFormatError(f"this operator is not supported; supported are {', '.join(sorted(OPERATORS))}")


def finished(tracer, value):
    """(shape of a sample, drafts of the layers up to a value, its shape)"""
    if not isinstance(value, Traced):
        raise ModelFormatError("it is no value that layers make of the samples")
    stage, theirs = tracer.settle(value), list(value.axes)
    if theirs and theirs[0][:1] == (tracer.batch,) != theirs[0]:  # samples and features on one axis: here they stand apart
        theirs = [(tracer.batch,), *(factors for factors in (theirs[0][1:], *theirs[1:]) if factors)]
    theirs = [factors for factors in theirs if not tracer.is_batch(factors)]
    if any(tracer.batch in factors for factors in theirs):
        raise BatchAxis("the samples do not stand on an axis of their own")
    tracer.lay(stage, tuple(theirs) or None)
    theirs, ours = tuple(theirs) or ((),), stage.axes
    if len(ours) != len(theirs) or {a for a in ours if a} != {a for a in theirs if a}:  # otherwise it is their order alone
        last = (*theirs[1:], theirs[0])
        try:
            stage = tracer.arranged(stage, last if joined(last) == joined(ours) != joined(theirs) else theirs)
        except OtherOrder:
            raise OtherOrder(
                "the network ends by flattening what has its channels in front in the file, and last here: give the name of "
                "the value before it, output=..."
            ) from None
    drafts, end = [], stage
    while stage.parent is not None:
        drafts.append(stage.draft())
        stage = stage.parent
    if len(drafts) > MAX_LAYERS:
        raise ModelFormatError(f"it takes more than {MAX_LAYERS} layers")
    is_vector = len(tracer.own) == 1 and joined(tracer.own) == joined(stage.axes)  # of which the file makes something else
    shape, first = shape_of(tracer.own if is_vector else stage.axes), shape_of(stage.axes)
    if shape != first or looks_turned(shape):
        drafts.append(Draft(Reshape, {"shape": first}))
    return shape, drafts[::-1], shape_of(end.axes)


def looks_turned(shape):
    """Whether samples look as if they had their channels in front, which they have not."""
    try:
        check_channels_last(shape)
    except ValueError:
        return True
    return False


# ---------------------------------------------------------------- the model


def ended(drafts, loss):
    """(drafts without the function that the loss brings along, Loss)"""
    kind = drafts[-1].settings.get("activation") if drafts and drafts[-1].layer is Activation else None
    logs = bool(drafts) and drafts[-1].layer is LogSoftmax
    usual = "cross_entropy" if logs or kind == "softmax" else "log_loss" if kind == "logistic" else "squared_error"
    loss = get_loss(usual if loss is None else loss)
    if logs and not isinstance(loss, CrossEntropy):
        raise ModelFormatError(f"the network ends in a LogSoftmax, which is part of the loss cross_entropy, not of {loss!r}")
    if logs or (kind == "softmax" and isinstance(loss, CrossEntropy)):
        drafts = drafts[:-1]
    elif kind == "logistic" and isinstance(loss, (LogLoss, Focal)):
        drafts = drafts[:-1]
    return drafts or [Draft(Activation, {"activation": "identity"})], loss


def as_layers(drafts):
    """The layers of drafts."""
    return [
        Residual(as_layers(d.inside), as_layers(d.shortcut) or None) if d.inside else d.layer(**d.settings) for d in drafts
    ]


def check_sizes(model, shape, out, size):
    """ModelFormatError unless the layers fit each other and have about as many parameters as a file of that size can hold."""
    layout = Layout(model.layers, shape)
    numbers = sum(math.prod(entry.shape) for entry in (*layout.entries, *layout.states))
    memory = (layout.size + layout.state_size) * model.dtype.itemsize  # rows of matrices are padded
    if numbers > size // 2 + SPARE or memory > 4 * size + (SPARE << 8) or max(map(math.prod, layout.shapes)) > MOST_NUMBERS:
        raise ModelFormatError(f"the network would have {numbers} parameters, for which a file of {size} bytes has no room")
    if layout.shapes[-1] != out:
        raise ModelFormatError(f"the layers give samples of shape {layout.shapes[-1]}, where the file has {out}")


def sources(layers, drafts, before=""):
    """Pairs (key of a weight or a running statistic, where it comes from)."""
    for number, (layer, draft) in enumerate(zip(layers, drafts, strict=True)):
        key = f"{before}{number}.{layer.name}"
        if draft.inside:
            yield from sources(layer.layers, draft.inside, f"{key}.")
            yield from sources(layer.shortcut or (), draft.shortcut, f"{key}.shortcut.")
        for name, array in draft.arrays.items():
            yield f"{key}.{name}", array


def fill(model, drafts, finite):
    """Write the weights and running statistics into a model that is built."""
    places = {**model.weights, **model.states}
    for key, source in sources(model.layers, drafts):
        place = places.pop(key)
        matrix = source if isinstance(source, Matrix) else Matrix(np.broadcast_to(source, place.shape))
        step = max(1, COPIED * len(place) // max(1, place.size))
        for first in range(0, len(place), step):
            rows = slice(first, first + step)
            piece = narrowed(key, matrix.piece(rows), model.dtype)
            if finite and not np.isfinite(piece).all():
                raise ModelFormatError(f"{key!r} has NaN or infinity in it; finite=False takes it as it is")
            place[rows] = piece
    if places:
        raise ModelFormatError(f"the file has no numbers for {sorted(places)[:5]}")
    model.start_states()
