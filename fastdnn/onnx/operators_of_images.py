"""Operators that slide windows over images and series, or make them larger and smaller."""

import math

import numpy as np

from ..layers import (
    AvgPool1D,
    AvgPool2D,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    DepthwiseConv2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    MaxPool1D,
    MaxPool2D,
    UpSampling2D,
    ZeroPadding2D,
)
from .calls import features, operator, without
from .dimensions import axis, joined
from .drafts import Draft


class Windows:
    """What an operator says about its windows, an entry for each axis of places.

    Attributes
    ----------
    dims : int
    kernel, strides, dilations : tuple of int
    pads : tuple of (int, int)
        Border before and behind.
    """

    def __init__(self, call, value, kernel, transposed=False):
        self.dims = call.rank(value, 3, 4) - 2
        self.kernel, ones = call.attribute("kernel_shape", tuple(kernel)), (1,) * self.dims
        self.strides, self.dilations = call.attribute("strides", ones), call.attribute("dilations", ones)
        pads = call.attribute("pads", (0,) * 2 * self.dims)
        lists = (self.kernel, self.strides, self.dilations, pads[: self.dims], pads[self.dims :])
        if any(len(given) != self.dims for given in lists) or any(not isinstance(n, int) for given in lists for n in given):
            call.refuse("kernel_shape, strides and dilations must have an integer for each axis of places, pads two")
        if min(*self.kernel, *self.strides, *self.dilations) < 1 or min(pads) < 0:
            call.refuse("kernel_shape, strides and dilations must be at least 1, and pads not negative")
        self.pads, self.size = tuple(zip(pads[: self.dims], pads[self.dims :], strict=True)), value.shape[2:]
        auto = call.attribute("auto_pad", "NOTSET")
        if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
            call.refuse(f"auto_pad={auto!r} is not supported")
        if auto == "VALID":
            self.pads = ((0, 0),) * self.dims
        elif auto != "NOTSET" and not transposed:
            self.pads = tuple(_same(*given, auto) for given in zip(self.size, self.extents, self.strides, strict=True))
        self.auto = auto

    @property
    def extents(self):
        """Places from the first of a window to its last."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def outputs(self):
        """Places of windows along each axis."""
        given = zip(self.size, self.pads, self.extents, self.strides, strict=True)
        return tuple((n + sum(pads) - extent) // stride + 1 for n, pads, extent, stride in given)

    def rounded_up(self):
        """The border with what a last window that is not whole (ceil_mode) sees behind it."""
        found = []
        for n, (before, after), extent, stride in zip(self.size, self.pads, self.extents, self.strides, strict=True):
            windows = -(-(n + before + after - extent) // stride) + 1
            if (windows - 1) * stride >= n + before:  # it would begin behind the image
                windows -= 1
            found.append((before, max(after, (windows - 1) * stride + extent - n - before)))
        return tuple(found)


def _same(size, extent, stride, auto):
    """Border for ceil(size / stride) windows."""
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return (total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2)


def places_of(value):
    """Numbers of the axes of places."""
    return range(2, len(value.axes))


def as_two(numbers, other):
    """An entry for each of two axes; that of the first one, which a series has not, is `other`."""
    return tuple(numbers) if len(numbers) == 2 else (other, *numbers)


def channels_last(call, value, dims=None):
    """The value as images, or series, with their channels on the last axis."""
    return call.tracer.as_image(value, places_of(value), 1, dims)


def image_made(call, value, stage, draft, sizes, filters=None, takes=None):
    """What a layer makes: images with axes of those sizes, and so many channels, or those that there were.

    takes : the channels in ONNX's order, where weights depend on it
    """
    places = tuple(axis(n) for n in sizes)
    ours, theirs = (axis(filters),) * 2 if filters else (stage.axes[-1], value.axes[1])
    more = ((),) * (len(stage.axes) - 1 - len(places))
    return call.tracer.made(stage, draft, (*more, *places, ours), (value.axes[0], theirs, *places), takes=takes)


def short(pads):
    """The border as layers print it best."""
    sides = {n for pair in pads for n in pair}
    return pads if len(sides) > 1 else "valid" if sides == {0} else sides.pop()


@operator("Conv")
def _conv(call):
    value, kernel = call.data(0), call.weights(1)
    call.rank(value, kernel.ndim)
    windows, groups, channels = Windows(call, value, kernel.shape[2:]), call.attribute("group", 1), features(value, 1)
    filters = kernel.shape[0]
    if kernel.shape[2:] != windows.kernel or groups < 1 or filters % groups or kernel.shape[1] * groups != channels:
        call.refuse(f"weights of shape {kernel.shape} in {groups} groups do not fit the value of shape {value.shape}")
    settings = {"strides": windows.strides, "dilation_rate": windows.dilations, "padding": short(windows.pads)}
    arrays = {"bias": call.vector(2, filters)} if call.has(2) else {}
    settings |= {"use_bias": bool(arrays), "kernel_size": windows.kernel}
    depthwise = groups == channels > 1
    stage, layer = channels_last(call, value, 2 if depthwise else None), Conv1D if windows.dims == 1 else Conv2D
    if groups > 1 and stage.axes[-1] != value.axes[1]:
        call.refuse("its groups of channels are in another order in fastdnn")
    if depthwise:
        layer, kernel = DepthwiseConv2D, kernel.reshape(channels, -1, *as_two(windows.kernel, 1))
        settings["depth_multiplier"], settings["kernel_size"] = kernel.shape[1], kernel.shape[2:]
        settings["strides"], settings["dilation_rate"] = as_two(windows.strides, 1), as_two(windows.dilations, 1)
        settings["padding"] = short(as_two(windows.pads, (0, 0)))
        arrays["kernel"] = np.moveaxis(kernel, (0, 1), (-2, -1))
    else:
        settings |= {"filters": filters, "groups": groups}
        arrays["kernel"] = np.moveaxis(kernel, (0, 1), (-1, -2))
    draft, takes = Draft(layer, settings, arrays), None if groups > 1 else value.axes[1]
    return image_made(call, value, stage, draft, windows.outputs(), filters, takes)


@operator("ConvTranspose")
def _conv_transpose(call):
    value, kernel = call.data(0), call.weights(1)
    call.rank(value, kernel.ndim)
    call.only(group=1)
    windows, channels, filters = Windows(call, value, kernel.shape[2:], True), features(value, 1), kernel.shape[1]
    if kernel.shape[2:] != windows.kernel or kernel.shape[0] != channels:
        call.refuse(f"weights of shape {kernel.shape} do not fit the value of shape {value.shape}")
    more = call.attribute("output_padding", (0,) * windows.dims)
    shape = call.attribute("output_shape", ())[-windows.dims :]
    if len(more) != windows.dims or (shape and len(shape) != windows.dims) or min(more) < 0:
        call.refuse("output_padding and output_shape must have an entry for each axis behind the channels")
    if shape or windows.auto.startswith("SAME"):
        shape = shape or tuple(n * stride for n, stride in zip(windows.size, windows.strides, strict=True))
        windows.pads, more = zip(*(_left_out(windows, i, shape[i], more[i]) for i in range(windows.dims)), strict=True)
    full = zip(windows.size, windows.strides, windows.extents, windows.pads, more, strict=True)
    sizes = tuple((n - 1) * stride + extent - sum(pads) + m for n, stride, extent, pads, m in full)
    stage = channels_last(call, value, 2)
    arrays = {"kernel": np.moveaxis(kernel.reshape(channels, filters, *as_two(windows.kernel, 1)), (0, 1), (-2, -1))}
    arrays |= {"bias": call.vector(2, filters)} if call.has(2) else {}
    settings = {
        "filters": filters,
        "kernel_size": as_two(windows.kernel, 1),
        "strides": as_two(windows.strides, 1),
        "dilation_rate": as_two(windows.dilations, 1),
        "padding": short(as_two(windows.pads, (0, 0))) if any(map(any, windows.pads)) else 0,
        "output_padding": as_two(more, 0),
        "use_bias": call.has(2),
    }
    return image_made(call, value, stage, Draft(Conv2DTranspose, settings, arrays), sizes, filters, value.axes[1])


def _left_out(windows, i, wanted, more):
    """((before, behind), output_padding) of an axis for an output of the size that is wanted."""
    total = windows.strides[i] * (windows.size[i] - 1) + more + windows.extents[i] - wanted
    if total < 0:
        return (0, 0), more - total
    first = total // 2 if windows.auto == "SAME_UPPER" else total - total // 2
    return (first, total - first), more


# ---------------------------------------------------------------- pooling


@operator("MaxPool", "AveragePool")
def _pool(call):
    value, largest = call.data(0), call.node.op == "MaxPool"
    windows = Windows(call, value, ())
    call.only(storage_order=0)
    if windows.dilations != (1,) * windows.dims:
        call.refuse(f"dilations={windows.dilations} are not supported, 1 is")
    rounded = windows.rounded_up() if call.attribute("ceil_mode", 0) else windows.pads
    if any(map(any, windows.pads)) and not largest and call.attribute("count_include_pad", 0):
        value = _bordered(call, value, windows.pads)  # which then is part of the image, and counts
        rounded = tuple((0, after - own) for (_, after), (_, own) in zip(rounded, windows.pads, strict=True))
        windows.size = value.shape[2:]
    windows.pads = rounded
    stage = channels_last(call, value)
    layers = (MaxPool1D, MaxPool2D) if largest else (AvgPool1D, AvgPool2D)
    settings = {"pool_size": windows.kernel, "padding": short(windows.pads)}
    settings |= {} if windows.strides == windows.kernel else {"strides": windows.strides}
    return image_made(call, value, stage, Draft(layers[windows.dims - 1], settings), windows.outputs())


@operator("Pad")
def _pad(call):
    value = call.data(0)
    call.only(mode="constant")
    rank, pads = len(value.axes), call.integers(1, "pads", ())
    if call.scalar(2, call.attribute("value", 0.0)) != 0:
        call.refuse("a border of zeros is supported, no other one")
    axes = [call.axis(value, n) for n in call.integers(3, "axes", tuple(range(rank)))]
    if len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        call.refuse(f"pads must be two integers for each of {len(axes)} axes, got {len(pads)}")
    border = {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    if not any(map(any, border.values())):
        return value
    call.rank(value, 3, 4)
    own = call.tracer.settle(value).axes  # whose last axis are the channels, if it is one of the value's
    likely = [i for i, factors in enumerate(value.axes) if own and factors and factors == own[-1]]
    channel = next((i for i in (*likely, 1, rank - 1) if not any(border.get(i, (0, 0)))), None)
    if any(border.get(0, (0, 0))) or channel is None or min(pads) < 0:
        call.refuse("a border around images and series is supported, of at least 0, but none of samples and channels")
    order = [0, channel, *(i for i in range(1, rank) if i != channel)]
    turned = call.tracer.viewed(value, tuple(value.axes[i] for i in order))
    made = _bordered(call, turned, tuple(border.get(i, (0, 0)) for i in order[2:]))
    return call.tracer.viewed(made, tuple(made.axes[order.index(i)] for i in range(rank)))


def _bordered(call, value, pads):
    """The value, images or series, in a border of zeros."""
    stage = channels_last(call, value, 2)
    sizes = tuple(n + sum(pair) for n, pair in zip(value.shape[2:], pads, strict=True))
    return image_made(call, value, stage, Draft(ZeroPadding2D, {"padding": as_two(pads, (0, 0))}), sizes)


@operator("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(call):
    value = call.data(0)
    call.rank(value, 3, 4)
    return pooled(call, value, list(places_of(value)), True, call.node.op == "GlobalMaxPool")


@operator("ReduceMean", "ReduceMax")
def _reduce(call):
    value = call.data(0)
    axes = call.integers(1, "axes", ())
    if not axes:
        if call.attribute("noop_with_empty_axes", 0):
            return value
        call.refuse("it reduces all axes, that of the samples included")
    axes = sorted({call.axis(value, n) for n in axes})
    return pooled(call, value, axes, call.attribute("keepdims", 1), call.node.op == "ReduceMax")


def pooled(call, value, axes, keeps, largest):
    """The mean, or the largest number, over some axes, all but that of the samples and one of features."""
    left = [i for i in range(len(value.axes)) if i not in axes]
    if len(left) > 2 or 0 not in left:
        call.refuse("it is supported over all axes but that of the samples and one more (global pooling)")
    channel = left[1] if len(left) > 1 else None
    shown = call.tracer.viewed(value, (*value.axes, ())) if channel is None else value
    stage = call.tracer.as_image(shown, axes, len(value.axes) if channel is None else channel)
    if len(stage.axes) > 3 or len(stage.axes) < 2:
        stage = call.tracer.arranged(stage, (joined(stage.axes[:-1]), stage.axes[-1]))
    two = len(stage.axes) == 3
    layer = (GlobalMaxPool2D if two else GlobalMaxPool1D) if largest else GlobalAvgPool2D if two else GlobalAvgPool1D
    theirs = tuple(() if i in axes else a for i, a in enumerate(value.axes)) if keeps else without(value.axes, axes)
    return call.tracer.made(stage, Draft(layer), stage.axes[-1:], theirs)


# ---------------------------------------------------------------- larger images


@operator("Resize", "Upsample")
def _resize(call):
    value, older = call.data(0), call.node.op == "Upsample" or call.node.opset < 11
    rank = call.rank(value, 3, 4)
    axes = tuple(call.axis(value, n) for n in call.attribute("axes", tuple(range(rank))))
    scales = call.attribute("scales", (), tuple)
    number = 1 if older else 2
    if call.has(number) and call.constant(number).size:
        scales = tuple(float(n) for n in call.constant(number).reshape(-1))
    elif sizes := call.integers(3, "sizes", ()):
        scales = tuple(n / value.shape[i] for n, i in zip(sizes, axes, strict=True))
    where = "asymmetric" if older else call.attribute("coordinate_transformation_mode", "half_pixel")
    rounds = "floor" if older else call.attribute("nearest_mode", "round_prefer_floor")
    repeats = where in ("asymmetric", "tf_half_pixel_for_nn") and rounds == "floor"
    repeats = repeats or (where in ("half_pixel", "pytorch_half_pixel") and rounds.startswith("round_prefer"))
    whole = len(scales) == len(axes) and all(math.isfinite(n) and n >= 1 and n == int(n) for n in scales)
    times = [int(n) for n in scales] if whole else []
    times = [dict(zip(axes, times, strict=True)).get(i, 1) for i in range(rank)] if whole else []
    if call.attribute("mode", "nearest") != "nearest" or not repeats or times[:2] != [1, 1]:
        call.refuse("repeated pixels are supported (mode nearest, whole scales of height and width), no other size or mode")
    stage = channels_last(call, value, 2)
    sizes = tuple(n * k for n, k in zip(value.shape[2:], times[2:], strict=True))
    return image_made(call, value, stage, Draft(UpSampling2D, {"size": as_two(times[2:], 1)}), sizes)
