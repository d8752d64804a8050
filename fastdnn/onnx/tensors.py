"""What goes from layer to layer while a network becomes a graph: a name, and what is known of the numbers behind it."""

from typing import NamedTuple

import numpy as np

# Orders of the axes: samples first and channels last, as networks have them; channels behind the samples, as ONNX has them
# for images and series; steps of sequences before the samples, as ONNX has them for recurrent layers.
LAST, FIRST, TIME = "last", "first", "time"


class Steps(NamedTuple):
    """Which steps of sequences count.

    Attributes
    ----------
    lengths : str
        How many of each sequence do, int64 (n,).
    mask : str or None
        Which ones, bool (n, time); None where they are the first ones.
    """

    lengths: str
    mask: str | None = None


class Tensor(NamedTuple):
    """The samples at some place of a network.

    Attributes
    ----------
    name : str
        In the graph.
    shape : tuple of int
        Of a sample, channels last. Where sequences may have any length, the first is that of the network as it was built.
    order : {"last", "first", "time"}, default="last"
        In which order the axes stand: (n, ..., channels), (n, channels, ...) or (time, n, channels).
    steps : Steps or None, default=None
        Which steps of sequences count; None is all.
    ways : tuple, default=()
        What the layers around this place have kept: what a `Residual` takes or adds, the parts of a `Columns`.
    """

    name: str
    shape: tuple
    order: str = LAST
    steps: Steps | None = None
    ways: tuple = ()

    @property
    def axes(self):
        """For each axis of the tensor the number that it has in the order "last"."""
        return axes_in(self.order, len(self.shape) + 1)

    @property
    def channel_axis(self):
        """Number of the axis of the channels."""
        return self.axes.index(len(self.shape))

    @property
    def places(self):
        """Numbers of the axes between samples and channels: height and width, or time."""
        return [self.axes.index(k) for k in range(1, len(self.shape))]

    def per_channel(self, array):
        """An array of a number for each channel in the shape that goes with the tensor."""
        return np.reshape(array, (-1, *[1] * (len(self.shape) - self.channel_axis)))


def axes_in(order, rank):
    """For each axis of a tensor of that order the number that it has in the order "last"."""
    if order == FIRST:
        return (0, rank - 1, *range(1, rank - 1))
    return (1, 0, *range(2, rank)) if order == TIME else tuple(range(rank))


def turned(graph, x, order):
    """The `Tensor` in another order of axes; nothing is added to the graph where it is there in that order."""
    if x.order == order:
        return x
    rank = len(x.shape) + 1
    wanted = axes_in(order, rank)
    if wanted == x.axes:
        return x._replace(order=order)
    name = graph.twins.get((x.name, order))
    if name is None:
        name = graph.node("Transpose", x, perm=[x.axes.index(axis) for axis in wanted])
        graph.twins[x.name, order], graph.twins[name, x.order] = name, x.name
    return x._replace(name=name, order=order)
