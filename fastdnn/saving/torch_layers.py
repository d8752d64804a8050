"""What the layers of a model are called in PyTorch: names and shapes of the tensors of a module, and how they become ours.

PyTorch has the channels of an image in front, (channels, height, width), and flattens them in that order; ours are the
last axis. So the weights that stand behind a Flatten, up to the next Dense and its rows, have their features in another
order, and so have the columns of a Dense before a Reshape to an image. `feature_orders` finds these places.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

BY_HAND = "set the weights through model.weights"


class Tensor(NamedTuple):
    """A tensor that a layer takes."""

    key: str  # of the array that it becomes, in `Model.weights` or `Model.states`
    shapes: tuple  # that it may have in PyTorch; the first is the usual one
    convert: Callable  # of an array of such a shape, to one of ours
    adds: bool = False  # whether it is one of several that add up


class Module(NamedTuple):
    """What stands in a state_dict for a layer with weights."""

    layer: str  # first part of the keys of the layer's arrays
    tensors: dict  # str -> Tensor, by the last part of their names

    @property
    def on_shortcut(self):
        """Whether the layer is on the shortcut of a `Residual`."""
        return ".shortcut." in self.layer


def modules(layout):
    """The `Module` of each layer with weights, in layer order; ValueError if PyTorch has none like it."""
    orders, entries, found = feature_orders(layout), {}, []
    for entry in (*layout.entries, *layout.states):
        entries.setdefault(entry.layer, []).append(entry)
    for number, own in sorted(entries.items()):
        key, layer = layout.leaves[number]
        if layer.recurrent:
            found.append(Module(key, recurrent(own)))
            continue
        kernel = next((KERNELS[c.name] for c in type(layer).__mro__ if getattr(c, "name", None) in KERNELS), None)
        names = ["weight" if len(entry.shape) > 1 else VECTORS.get(entry.name) for entry in own]
        if kernel is None or None in names or len(set(names)) < len(own):
            raise ValueError(f"nothing is known of PyTorch's module for the layer {key}, {layer!r}; {BY_HAND}")
        order, makers = (orders.get(number), orders.get(number + 1)), (kernel if len(e.shape) > 1 else vector for e in own)
        tensors = {name: make(entry, *order) for name, make, entry in zip(names, makers, own, strict=True)}
        found.append(Module(key, tensors))
    return found


# ---------------------------------------------------------------- tensors


def taken(array, order, axis=-1):
    """The array with its features in our order; None is the same order."""
    return array if order is None else np.take(array, order, axis)


def vector(entry, before, after):
    """One number a feature; a PReLU's single slope stands for all."""
    shapes = (entry.shape, (1,)) if entry.name == "slope" else (entry.shape,)
    return Tensor(entry.key, shapes, lambda a: taken(np.broadcast_to(a, entry.shape), after))


def matrix(entry, before, after):
    """Linear: (outputs, inputs)."""
    return Tensor(entry.key, (entry.shape[::-1],), lambda a: taken(taken(a.T, before, 0), after))


def convolution(entry, *_):
    """Conv1d, Conv2d: (outputs, inputs / groups, places...), ours the other way round."""
    *places, n_in, n_out = entry.shape
    return Tensor(entry.key, ((n_out, n_in, *places),), lambda a: np.moveaxis(a, (0, 1), (-1, -2)))


def transposed_convolution(entry, *_):
    """ConvTranspose2d: (inputs, outputs, places...)."""
    *places, n_in, n_out = entry.shape
    return Tensor(entry.key, ((n_in, n_out, *places),), lambda a: np.moveaxis(a, (0, 1), (-2, -1)))


def depthwise(entry, *_):
    """Conv2d with as many groups as channels: (channels m, 1, height, width)."""
    *places, channels, m = entry.shape
    shape = channels * m, 1, *places
    return Tensor(entry.key, (shape,), lambda a: np.moveaxis(a.reshape(channels, m, *places), (0, 1), (-2, -1)))


def table(entry, *_):
    """Embedding: (ids, features), as ours."""
    return Tensor(entry.key, (entry.shape,), lambda a: a)


def recurrent(entries):
    """The tensors of a layer of an LSTM, GRU or RNN, whose gates stand in our order.

    A bias that is one here is two in PyTorch, which add up; those of the backward direction have "_reverse" at the end.
    """
    names, found = {entry.name for entry in entries}, {}
    for entry in entries:
        prefix = next(prefix for prefix in ("forward_", "backward_", "") if entry.name.startswith(prefix))
        kind, end = entry.name.removeprefix(prefix), "_reverse" if prefix == "backward_" else ""
        side = "hh" if kind.startswith("recurrent_") else "ih"
        if kind.endswith("kernel"):
            found[f"weight_{side}{end}"] = Tensor(entry.key, (entry.shape[::-1],), np.transpose)
        else:
            adds = f"{prefix}recurrent_bias" not in names
            for each in ("ih", "hh") if adds else (side,):
                found[f"bias_{each}{end}"] = Tensor(entry.key, (entry.shape,), lambda a: a, adds)
    return found


# What becomes of the matrix of a layer of that name, or of one derived from it; the other weights are vectors.
KERNELS = {
    "dense": matrix,
    "conv1d": convolution,
    "conv2d": convolution,
    "depthwise_conv2d": depthwise,
    "pointwise": convolution,
    "conv2d_transpose": transposed_convolution,
    "batch_norm": vector,
    "layer_norm": vector,
    "prelu": vector,
    "embedding": table,
}
# Our names of vectors, of one number a feature, and PyTorch's.
VECTORS = {
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "var": "running_var",
    "slope": "weight",
}

# ---------------------------------------------------------------- orders of features


def feature_orders(layout):
    """Where PyTorch has the features of a sample that is a vector: dict of number of the value -> positions.

    Value i is the input of leaf i. What is not in the dict has its features in the same order.
    """
    links, pending, found = _links(layout), [], {}
    for i, (key, layer) in enumerate(layout.leaves):
        before, after = layout.shapes[i : i + 2]
        if not layer.reshapes or before == after:
            continue
        if len(after) == 1:
            pending.append((i + 1, _positions(before, _channels_lead(layout, i, -1)), key))
        elif len(before) == 1:
            pending.append((i, _positions(after, _channels_lead(layout, i + 1, 1)), key))
        elif before[-1] != after[-1] and _channels_lead(layout, i, -1) and before[-1] > 1:
            raise ValueError(f"the layer {key} mixes channels and places, which PyTorch has in another order; {BY_HAND}")
    while pending:
        value, order, key = pending.pop()
        if value not in found:
            found[value] = order
            pending += [(other, order, key) for other in links[value]]
        elif not np.array_equal(found[value], order):
            raise ValueError(f"around the layer {key} images are flattened in ways that do not fit PyTorch's; {BY_HAND}")
    return found


def _links(layout):
    """For each value, the others with the same order of features: those a layer without a matrix away, or a skip."""
    mixing = {entry.layer for entry in layout.entries if len(entry.shape) > 1}
    links = [[] for _ in layout.shapes]
    for i, read in enumerate(layout.reads):
        for value in () if i in mixing else read:
            if layout.shapes[value] == layout.shapes[i + 1] and len(layout.shapes[value]) == 1:
                links[value].append(i + 1)
                links[i + 1].append(value)
    return links


def _positions(shape, channels_lead):
    """Where the numbers of a sample of that shape, in our order, stand when PyTorch flattens it."""
    size = math.prod(shape)
    if not channels_lead:
        return np.arange(size)
    return np.moveaxis(np.arange(size).reshape(shape[-1], *shape[:-1]), 0, -1).ravel()


def _channels_lead(layout, value, step):
    """Whether PyTorch has the channels of a value in front, as the nearest layer before (step -1) or behind (1) it says.

    Convolutions, pools and batch normalization have them there; Linear, LayerNorm, recurrent layers and Embedding work on
    the last axis. Where no such layer works on the sample, images have their channels in front, and series have not.
    """
    image = len(layout.shapes[value]) > 2
    while (number := value - 1 if step < 0 else _reader(layout, value)) in range(len(layout.leaves)):
        value = layout.reads[number][-1] if step < 0 else number + 1
        layer, shape = layout.leaves[number][1], layout.shapes[value]
        if layer.name in ("dense", "layer_norm") or layer.recurrent or layer.takes_ids:
            return False
        if layer.takes_windows or layer.name == "batch_norm":
            return True
        if len(shape) == 1:
            break
        image = image or len(shape) > 2
    return image


def _reader(layout, value):
    """Number of the first leaf that reads a value; that of all leaves where none does."""
    return next((number for number, read in enumerate(layout.reads) if value in read), len(layout.leaves))
