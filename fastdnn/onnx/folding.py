"""Values of a graph that do not depend on the samples: computed once, in bounds.

Exporters leave whole chains of them behind: the shape of a value, an entry of it, the shape that it is reshaped to; zeros of
a shape, from which a recurrent layer starts. Where one number stands for all, an array takes no memory (strides of 0), so
that zeros for each of `SAMPLES` samples are nothing.
"""

import math

import numpy as np

from ..saving.errors import ModelFormatError

FREE = 1 << 20  # bytes that may be computed whatever the size of the file


class Room:
    """Bytes that constants may still take.

    Parameters
    ----------
    size : int
        Of the file.
    """

    def __init__(self, size):
        self.left = size + FREE

    def take(self, shape, *arrays):
        """ModelFormatError if an array of that shape, made of these arrays, has no room."""
        self.left -= math.prod(shape) * max((a.itemsize for a in arrays), default=8)
        if self.left < 0:
            raise ModelFormatError(f"an array of shape {tuple(shape)[:8]} is made of the file, which is larger than the file")


def is_uniform(array):
    """Whether one number in memory stands for all."""
    return array.size > 0 and not any(s for s, n in zip(array.strides, array.shape, strict=True) if n > 1)


def one_of(array):
    """A number of a uniform array, as an array of one."""
    return array[(0,) * array.ndim]


def fold(node, values, room):
    """The value of a node whose inputs (None: left out) are arrays; None if its operator is none of those that are folded."""
    function = _elementwise if node.op in ELEMENTWISE else STRUCTURAL.get(node.op)
    return None if function is None else np.asarray(function(node, values, room))


def _elementwise(node, values, room):
    arrays, function = [np.asarray(v) for v in values], ELEMENTWISE[node.op]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    if all(map(is_uniform, arrays)):
        return np.broadcast_to(function(node, *map(one_of, arrays)), shape)
    room.take(shape, *arrays)
    return np.asarray(function(node, *arrays))


def _div(node, a, b):
    if a.dtype.kind in "iu":  # towards 0, as C has it
        if not np.all(b):
            raise ModelFormatError("it divides integers by 0")
        return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)
    return a / b


DTYPES = {1: "f4", 2: "u1", 3: "i1", 5: "i2", 6: "i4", 7: "i8", 9: "?", 10: "f2", 11: "f8", 16: "f4"}


def _cast(node, a):
    kind = node.attribute("to", 1)
    if kind not in DTYPES:
        raise ModelFormatError(f"it casts to the type {kind} of onnx.TensorProto, which is not supported")
    return a.astype(DTYPES[kind])


def _of(function):
    return lambda node, *arrays: function(*arrays)


ELEMENTWISE = {
    "Add": _of(np.add),
    "Sub": _of(np.subtract),
    "Mul": _of(np.multiply),
    "Div": _div,
    "Neg": _of(np.negative),
    "Abs": _of(np.abs),
    "Sqrt": _of(np.sqrt),
    "Exp": _of(np.exp),
    "Log": _of(np.log),
    "Reciprocal": _of(np.reciprocal),
    "Pow": _of(np.power),
    "Mod": lambda node, a, b: (np.fmod if node.attribute("fmod", 0) else np.mod)(a, b),
    "Floor": _of(np.floor),
    "Ceil": _of(np.ceil),
    "Min": lambda node, first, *more: _extreme(np.minimum, first, more),
    "Max": lambda node, first, *more: _extreme(np.maximum, first, more),
    "Equal": _of(np.equal),
    "Greater": _of(np.greater),
    "Less": _of(np.less),
    "Not": _of(np.logical_not),
    "And": _of(np.logical_and),
    "Or": _of(np.logical_or),
    "Where": _of(np.where),
    "Cast": _cast,
}


def _extreme(function, first, more):
    for array in more:
        first = function(first, array)
    return first


# ---------------------------------------------------------------- shapes and parts


def integers(node, values, number, name):
    """Integers that are an input of newer operators and an attribute of older ones; None if there are none."""
    if number < len(values) and values[number] is not None:
        return [int(n) for n in np.asarray(values[number]).reshape(-1)[:64]]
    found = node.attribute(name, (), tuple)
    return [int(n) for n in found] if found else None


def _identity(node, values, room):
    return values[0]


def _constant(node, values, room):
    for name, kind in (("value_int", int), ("value_float", float)):
        if (value := node.attribute(name, None, kind)) is not None:
            return np.array(value, np.int64 if kind is int else np.float32)
    for name, dtype in (("value_ints", np.int64), ("value_floats", np.float32)):
        if (value := node.attribute(name, None, tuple)) is not None:
            return np.array(value, dtype)
    return node.attribute("value", None, np.ndarray)


def _constant_of_shape(node, values, room):
    shape, value = _shape(values[0]), node.attribute("value", np.zeros(1, np.float32))
    return np.broadcast_to(value.reshape(-1)[:1].reshape(()), shape)


def _shape(array):
    """A shape from an array; its numbers may be as many as there are samples."""
    shape = tuple(int(n) for n in np.asarray(array).reshape(-1)[:17])
    if len(shape) > 16 or any(n < 0 for n in shape) or math.prod(shape) >= 1 << 62:
        raise ModelFormatError(f"its shape {shape} is no shape, or too large")
    return shape


def _reshape(node, values, room):
    array, sizes = values[0], integers(node, values, 1, "shape") or []
    sizes = [array.shape[i] if n == 0 and not node.attribute("allowzero", 0) else n for i, n in enumerate(sizes)]
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = array.size // math.prod(n for n in sizes if n != -1)
    if math.prod(sizes) != array.size:
        raise ModelFormatError(f"an array of shape {array.shape} does not fit the shape {tuple(sizes)}")
    return _reshaped(array, _shape(sizes), room)


def _reshaped(array, shape, room):
    if is_uniform(array):
        return np.broadcast_to(one_of(array), shape)
    if not array.flags.c_contiguous:  # it will be copied
        room.take(shape, array)
    return array.reshape(shape)


def _expand(node, values, room):
    return np.broadcast_to(values[0], np.broadcast_shapes(values[0].shape, _shape(values[1])))


def _gather(node, values, room):
    array, numbers, axis = values[0], np.asarray(values[1]), node.attribute("axis", 0)
    room.take((numbers.size, array.size // max(1, array.shape[axis])), array)
    return np.take(array, numbers, axis)


def _concat(node, values, room):
    room.take((sum(v.size for v in values),), *values)
    return np.concatenate(values, node.attribute("axis", 0))


def _squeeze(node, values, room):
    axes = integers(node, values, 1, "axes")
    return np.squeeze(values[0], None if axes is None else tuple(axes))


def _unsqueeze(node, values, room):
    return np.expand_dims(values[0], tuple(integers(node, values, 1, "axes") or ()))


def _slice(node, values, room):
    array, index = values[0], [slice(None)] * values[0].ndim
    starts, ends = integers(node, values, 1, "starts") or [], integers(node, values, 2, "ends") or []
    axes = integers(node, values, 3, "axes") or range(len(starts))
    steps = integers(node, values, 4, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        end = None if step < 0 and end < -array.shape[axis] else end
        index[axis] = slice(start, end, step)
    return array[tuple(index)]


def _transpose(node, values, room):
    return np.transpose(values[0], node.attribute("perm", None, tuple))


def _flatten(node, values, room):
    array, axis = values[0], node.attribute("axis", 1)
    return _reshaped(array, (math.prod(array.shape[:axis]), math.prod(array.shape[axis:])), room)


def _range(node, values, room):
    start, end, step = (v.reshape(-1)[0] for v in values)
    room.take((max(0, math.ceil((float(end) - float(start)) / float(step))),))
    return np.arange(start, end, step, values[0].dtype)


def _tile(node, values, room):
    times = _shape(values[1])
    room.take((*values[0].shape, *times), values[0])
    return np.tile(values[0], times)


def _reduced(function):
    def run(node, values, room):
        axes = integers(node, values, 1, "axes")
        keeps = bool(node.attribute("keepdims", 1))
        room.take(values[0].shape, values[0])  # what is looped over, be it in memory or not
        return np.asarray(function(values[0], axis=None if axes is None else tuple(axes), keepdims=keeps))

    return run


STRUCTURAL = {
    "Identity": _identity,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Shape": lambda node, values, room: shape_from(node, values[0].shape),
    "Size": lambda node, values, room: np.array(values[0].size),
    "Reshape": _reshape,
    "Expand": _expand,
    "Gather": _gather,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Range": _range,
    "Tile": _tile,
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
}


def shape_from(node, shape):
    """What Shape gives of a value of that shape."""
    end = node.attribute("end", len(shape))
    return np.array(shape[node.attribute("start", 0) : end], np.int64)
