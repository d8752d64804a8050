"""Which steps of sequences count, as nodes: what the first layer sees in the samples, and the lengths that come with them."""

from ..layers import Embedding, Masking
from ..layers.base import Layer
from .tensors import LAST, TIME, Steps, turned


def first_steps(graph, layer, x, lengths):
    """The `Steps` of the samples x that come to the first layer, or None where all of them count.

    lengths : name of an int64 vector, of shape (n,) or (1,), or None
    """
    mask = mask_of(graph, layer, x)
    if lengths is not None:
        time = graph.shape(x, 1, 2)
        lengths = graph.node("Min", graph.node("Expand", lengths, graph.shape(x, 0, 1)), time)
        if mask is not None:
            mask = graph.node("And", mask, before(graph, lengths, time))
    if mask is not None:
        return Steps(graph.reduce("ReduceSum", graph.cast(mask, "int64"), [1], keepdims=False), mask)
    return None if lengths is None else Steps(lengths)


def finds_steps(layer):
    """Whether a first layer sees in the samples which steps count."""
    rule = type(layer).mask
    return not (rule is Layer.mask or (rule is Embedding.mask and not layer.mask_zero))


def mask_of(graph, layer, x):
    """Name of what `Layer.mask` says of the samples, bool (n, time), or None where it says nothing."""
    rule = type(layer).mask
    if not finds_steps(layer):
        return None
    if rule is Embedding.mask:
        return graph.node("Not", graph.node("Equal", x, graph.constant(0)))
    if rule is Masking.mask:
        differs = graph.node("Not", graph.node("Equal", x, graph.constant(float(layer.value))))
        return graph.cast(graph.reduce("ReduceMax", graph.cast(differs, "int32"), [2], keepdims=False), bool)
    raise ValueError(f"{layer!r}: nothing is known of how ONNX says which steps its mask leaves out")


def step_numbers(graph, time):
    """0, 1, ... for so many steps, an int64 vector of one number."""
    return graph.node("Range", graph.constant(0), graph.node("Squeeze", time, graph.constant([0])), graph.constant(1))


def before(graph, lengths, time):
    """Bool (n, time): the first steps of sequences of these lengths, of `time` steps."""
    return graph.node("Less", step_numbers(graph, time), graph.node("Unsqueeze", lengths, graph.constant([1])))


def counting(graph, x):
    """Bool (n, time, 1): which steps of sequences count, of a `Tensor` with `Steps`."""
    (axis,) = x.places
    mask = x.steps.mask or before(graph, x.steps.lengths, graph.shape(x, axis, axis + 1))
    return graph.node("Unsqueeze", mask, graph.constant([2]))


def compacted(graph, x):
    """(x with the steps that count in front, a function that puts what is made of them back), in the order "time".

    Recurrent operators take the first steps of each sequence, as many as it is long.
    """
    if x.steps is None or x.steps.mask is None:
        return x, lambda y: y
    x, mask = turned(graph, x, LAST), x.steps.mask
    time, ones, one = graph.shape(x, 1, 2), graph.cast(mask, "int64"), graph.constant(1)
    # Steps that do not count are numbered behind all others; the numbers in order say which step comes where.
    moved = graph.node("Mul", graph.node("Sub", one, ones), time)
    numbers = graph.node("Add", step_numbers(graph, time), moved)
    _, order = graph.node("TopK", numbers, time, outputs=2, axis=1, largest=0)

    def back(y):
        y = turned(graph, y, LAST)
        place = graph.node("Max", graph.node("Sub", graph.node("CumSum", ones, one), one), graph.constant(0))
        name = graph.node("Where", counting(graph, y), taken(graph, y, place), graph.constant(0.0))
        return turned(graph, y._replace(name=name), TIME)

    return turned(graph, x._replace(name=taken(graph, x, order)), TIME), back


def taken(graph, x, numbers):
    """x (n, time, width) with the steps of those numbers, int64 (n, time)."""
    return graph.node("GatherND", x, graph.node("Unsqueeze", numbers, graph.constant([2])), batch_dims=1)
