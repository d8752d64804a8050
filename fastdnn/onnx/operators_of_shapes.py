"""Operators that say in what axes numbers stand: most of them are no layer."""

import numpy as np

from ..layers import Activation, Dense, Dropout, LayerNorm, ParametricActivation, PReLU, Rescaling
from ..saving.errors import ModelFormatError
from .calls import features, operator, without
from .dimensions import joined, resolved, shape_of
from .drafts import Affine
from .operators_of_matrices import embedding
from .operators_of_numbers import with_complement
from .tracing import Stage, Traced

STEPWISE = Activation, Affine, Dense, Dropout, LayerNorm, ParametricActivation, PReLU, Rescaling  # what a step is, alone


class Parts:
    """Values side by side on an axis, none of which is a layer's: what a Gather may pick from."""

    def __init__(self, values, axis):
        self.values, self.axis = values, axis

    def __str__(self):
        return "a concatenation of values that are made on different ways"

    def pick(self, number):
        """(value, number in it) of the slice of that number."""
        for value in self.values:
            size = features(value, self.axis)
            if number < size:
                return value, number
            number -= size
        raise ModelFormatError("it picks what is not there")


class Slice:
    """One of the slices along an axis of a value: of several in their order a Concat makes the value again."""

    def __init__(self, value, axis, number):
        self.value, self.axis, self.number = value, axis, number

    def __str__(self):
        return (
            "one slice of a value, of which the last step of a recurrent layer is supported (of a bidirectional one, whose "
            "last step is the first one of a direction, its last states Y_h) and all of them side by side"
        )


@operator("Reshape")
def _reshape(call):
    value, sizes = call.data(0), call.integers(1, "shape", ())
    shape, keeps = value.shape, not call.attribute("allowzero", 0)
    if sizes.count(-1) > 1 or any(n < -1 or (n == 0 and (not keeps or i >= len(shape))) for i, n in enumerate(sizes)):
        call.refuse(f"the shape {sizes} does not fit a value of shape {shape}")
    sizes = [shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    size, known = int(np.prod(shape, dtype=object)), int(np.prod([n for n in sizes if n != -1], dtype=object))
    if size % known if -1 in sizes else size != known:
        call.refuse(f"the shape {tuple(sizes)} does not fit a value of shape {shape}")
    return call.tracer.reshaped(value, [size // known if n == -1 else n for n in sizes])


@operator("Flatten")
def _flatten(call):
    value = call.data(0)
    first = call.attribute("axis", 1)
    if first != len(value.axes):
        first = call.axis(value, first)
    return call.tracer.viewed(value, (joined(value.axes[:first]), joined(value.axes[first:])))


@operator("Transpose")
def _transpose(call):
    value = call.data(0)
    order = call.attribute("perm", tuple(range(len(value.axes)))[::-1])
    if sorted(order) != list(range(len(value.axes))):
        call.refuse(f"perm={order} is no order of {len(value.axes)} axes")
    return call.tracer.viewed(value, tuple(value.axes[i] for i in order))


@operator("Squeeze")
def _squeeze(call):
    value = call.data(0)
    axes = [call.axis(value, n) for n in call.integers(1, "axes", ())]
    axes = axes or [i for i, factors in enumerate(value.axes) if not factors]
    if any(value.axes[i] for i in axes):
        call.refuse(f"it takes axes away that are not of size 1, or the samples'; the value has the shape {value.shape}")
    return call.tracer.viewed(value, without(value.axes, axes))


@operator("Unsqueeze")
def _unsqueeze(call):
    value, axes = call.data(0), call.integers(1, "axes", ())
    rank = len(value.axes) + len(axes)
    if not all(-rank <= n < rank for n in axes) or len({n % rank for n in axes}) != len(axes):
        call.refuse(f"axes={axes} do not fit a value of {len(value.axes)}")
    axes, left = {n % rank for n in axes}, iter(value.axes)
    return call.tracer.viewed(value, tuple(() if i in axes else next(left) for i in range(rank)))


@operator("Expand")
def _expand(call):
    value, sizes = call.data(0), call.integers(1, "shape", ())
    if len(sizes) > len(value.axes) or any(n not in (1, m) for n, m in zip(sizes[::-1], value.shape[::-1], strict=False)):
        call.refuse(f"it repeats numbers: from the shape {value.shape} to {sizes}")
    return value


# ---------------------------------------------------------------- parts


@operator("Gather")
def _gather(call):
    source = call.values[0]
    if call.is_constant(0) and call.has(1):
        return embedding(call, call.weights(0), call.values[1])
    number = call.constant(1, "iu")
    if number.size != 1:
        call.refuse("single slices along an axis are supported, no lists of them")
    return _taken(call, source, call.attribute("axis", 0), int(number.reshape(-1)[0]), keeps=number.ndim == 1)


def _taken(call, source, axis, number, keeps):
    """The slice of that number along an axis, which stays as one of size 1 or goes."""
    if isinstance(source, Parts):
        if axis % len(source.values[0].axes) != source.axis:
            call.refuse(f"its input is {source}")
        total = sum(features(value, source.axis) for value in source.values)
        source, number = source.pick(number % total if -total <= number < total else total)
    value = source if isinstance(source, Traced) else call.data(0)
    axis = call.axis(value, axis)
    size = features(value, axis)
    if not -size <= number < size:
        call.refuse(f"it takes the slice {number} of {size}")
    number %= size
    left = (*value.axes[:axis], *(((),) if keeps else ()), *value.axes[axis + 1 :])
    stage = call.tracer.settle(value)
    if size == 1 and not value.axes[axis]:
        return call.tracer.viewed(value, left)
    if (last := _last_step(stage, value.axes[axis], number)) is not None:
        return Traced(last, left)
    if keeps or call.tracer.batch in value.axes[axis]:
        call.refuse("of slices, the last step of a recurrent layer is supported")
    return Slice(value, axis, number)


def _last_step(stage, axis, number):
    """The stage of that step alone, if it is the last one of a recurrent layer, through layers that work step by step."""
    above = []
    while stage.last is None:
        if stage.plain is None or stage.plain.layer not in STEPWISE or stage.plain.inside:
            return None
        above.append(stage)
        stage = stage.parent
    last, time, step = stage.last
    if resolved((time,)) != (axis,) or number != step:
        return None
    for layer in reversed(above):
        axes = None if layer.follows else layer.axes[-1:]
        draft = layer.plain.changed({"shape": shape_of(last.axes)}) if layer.plain.layer is Affine else layer.plain
        last = Stage(last, draft, axes, layer.takes, layer.gives, layer.pliable)
    return last


@operator("Slice")
def _slice(call):
    value = call.data(0)
    starts, ends = call.integers(1, "starts", ()), call.integers(2, "ends", ())
    axes = call.integers(3, "axes", ()) or tuple(range(len(starts)))
    steps = call.integers(4, "steps", ()) or (1,) * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = call.axis(value, axis)
        size = features(value, axis)
        first, behind, step = slice(start, end, step).indices(size)
        if (first, behind, step) == (0, size, 1):
            continue
        if step != 1 or behind - first != 1:
            call.refuse(f"of slices, the last step of a recurrent layer is supported, not {first} to {behind} of {size}")
        value = _taken(call, value, axis, first, keeps=True)
    return value


@operator("Concat")
def _concat(call):
    values = call.values
    axis = call.attribute("axis", 1)
    if len(values) == 1:
        return call.data(0)
    if all(isinstance(value, Slice) for value in values):
        return _whole(call, values, axis)
    values = [call.data(i) for i in range(len(values))]
    axis = call.axis(values[0], axis)
    if any(len(v.axes) != len(values[0].axes) or call.tracer.batch in v.axes[axis] for v in values):
        call.refuse("its values must have the same axes, and samples stay apart")
    if len(values) == 2 and (found := with_complement(call, values, axis)) is not None:
        return found
    return Parts(values, axis)


def _whole(call, slices, axis):
    """All slices of a value side by side: two of its axes as one."""
    value, first = slices[0].value, slices[0].axis
    size = features(value, first)
    axis = axis + len(value.axes) - 1 if axis < 0 else axis
    axis += axis >= first  # as it is counted with the axis of the slices
    if [s.number for s in slices] != list(range(size)) or any(s.value is not value or s.axis != first for s in slices):
        call.refuse("of slices, all of one value in their order can be put side by side")
    if not 0 <= axis < len(value.axes):
        call.refuse("it has no such axis")
    axes = list(value.axes)
    moved = axes[first]
    axes[axis] = moved + axes[axis]
    return call.tracer.viewed(value, without(axes, [first]))
