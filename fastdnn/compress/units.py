"""Which numbers of a network belong to a neuron, a channel, a unit, so that all of it can go."""

from typing import NamedTuple

import numpy as np

from ..frozen.calibration import FirstLeaves
from ..layers import (
    GRU,
    LSTM,
    Activation,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Bidirectional,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    ParametricActivation,
    PReLU,
    Reshape,
    Residual,
    Scale,
    SeparableConv2D,
    SimpleRNN,
    UpSampling2D,
    ZeroPadding2D,
)
from ..layers.activation_function import get_activation
from ..layers.noise import Noise

POOLS = MaxPool1D, MaxPool2D, AvgPool1D, AvgPool2D, GlobalMaxPool1D, GlobalMaxPool2D, GlobalAvgPool1D, GlobalAvgPool2D
PASSING = {*POOLS, UpSampling2D, ZeroPadding2D}  # layers that take each channel by itself and have no weights
OF_CHANNELS = {  # names of the weights and statistics, one number a channel
    BatchNorm: ("gamma", "beta", "mean", "var"),
    LayerNorm: ("gamma", "beta"),
    PReLU: ("slope",),
    ParametricActivation: ("alpha",),
    Scale: ("scale",),
}
OF_NUMBERS = Activation, BatchNorm, DepthwiseConv2D  # whose activation must look at each number by itself
PRODUCTS = {Dense: "units", Conv1D: "filters", Conv2D: "filters", Conv2DTranspose: "filters"}
RECURRENT = {SimpleRNN, LSTM, GRU}


class Cut(NamedTuple):
    """Where the numbers of each unit stand in an array: (units, k) positions on an axis."""

    key: str
    axis: int
    positions: np.ndarray


class Shift(NamedTuple):
    """Where a constant goes that a unit adds to what takes it: to the array of that key, times the factor."""

    key: str
    factor: float


class Units:
    """The units of a layer, that can go one by one.

    Parameters
    ----------
    path : tuple of str
        Of the setting that is their number, from the list of layers on: ("2", "layers", "0", "units") in a `Residual`.
    count : int
        How many there are.

    Attributes
    ----------
    cuts : list of Cut
        All that belongs to them.
    incoming, outgoing, inner : list of Cut
        Of the weights that make a unit, of those that take it, and of those that take it in the next step of a sequence.
    places : (units, k) int
        Where their values stand on the last axis of what comes to the layer that takes them.
    gamma : Cut or None
        Of the factors that a batch normalization multiplies them with.
    before : list of Layer
        All layers before the one that takes them.
    shifts : dict of str -> Shift
        By the keys of `outgoing`.
    """

    def __init__(self, path, count):
        self.path, self.count = path, count
        self.cuts, self.incoming, self.outgoing, self.inner = [], [], [], []
        self.gamma, self.before, self.places, self.shifts = None, [], None, {}

    def cut(self, key, axis, positions):
        """Let numbers of an array belong to the units; returns the `Cut`."""
        self.cuts.append(Cut(key, axis, positions))
        return self.cuts[-1]


def find_units(layers, input_shape, keys):
    """The `Units` of layers that may lose some, in order; keys : of all weights and statistics.

    Those are not among them whose number the user sees or other layers hang on: scores, what comes to a `Residual` and what
    it gives (its way around adds them up; those inside it, and inside its shortcut, may go), outputs of embeddings and of
    layers that are not known here.
    """
    walk = Walk(set(keys))
    walk.through(layers, tuple(input_shape), "", ())
    return walk.found


class Walk:
    """A way through the layers, with the units whose values are on the last axis just now.

    Attributes
    ----------
    found : list of Units
        Those that have met a layer that takes them.
    open : Units or None
        Those that have not yet; None where the numbers on the last axis are to stay.
    positions : (units, k) int
        Where the values of each stand on that axis.
    """

    def __init__(self, keys):
        self.found, self.open, self.positions, self._keys, self._before = [], None, None, keys, []

    def through(self, layers, shape, prefix, path):
        """Go through layers one after the other; returns the shape that they give."""
        for i, layer in enumerate(layers):
            key, here = f"{prefix}{i}.{layer.name}", (*path, str(i))
            behind = layers[i + 1] if i + 1 < len(layers) else None
            if type(layer) is Residual:
                self._around(layer, key, here, shape)
                shape = layer.output_shape(shape)
            else:
                after = tuple(layer.output_shape(shape))
                self._pass(layer, key, here, shape, after, f"{prefix}{i + 1}.{behind.name}" if behind else "")
                self._before.append(layer)
                shape = after
        return shape

    def _around(self, layer, key, path, shape):
        """Go through a `Residual`: the layers inside, then those of its shortcut."""
        self.open, before = None, list(self._before)
        self.through(layer.layers, shape, f"{key}.", (*path, "layers"))
        if layer.shortcut is not None:
            leaves = layer.leaves(key)
            begins = [name for name, _ in leaves].index(f"{key}.shortcut") + 1
            self.open, self._before = None, [*before, FirstLeaves(leaves[:begins])]
            self.through(layer.shortcut, shape, f"{key}.shortcut.", (*path, "shortcut"))
        self.open, self._before = None, [*before, layer]

    def _pass(self, layer, key, path, shape, after, behind):
        """Go through one layer; shape, after : of its samples and of what it makes of them."""
        kind = type(layer)
        apart = getattr(layer, "spectral_norm", False) or getattr(layer, "groups", 1) > 1
        if apart or (kind in OF_NUMBERS and not by_numbers(layer.activation)):
            self.open = None
        elif kind in PRODUCTS:
            linear = get_activation(layer.activation).is_identity  # otherwise f stands before what follows
            share = 1 / np.prod(layer.strides) if kind is Conv2DTranspose else 1.0  # of the kernel, that a pixel sees
            self._take([(f"{key}.kernel", f"{key}.bias")], behind if linear else "", share=share)
            self._open(path, PRODUCTS[kind], after[-1], layer.activation)
            self._own([f"{key}.kernel"], [f"{key}.bias"], np.arange(after[-1])[:, None])
        elif kind is SeparableConv2D:
            places = self.positions
            self._each(f"{key}.depthwise")
            self._spread(layer.depth_multiplier)
            self._take([(f"{key}.pointwise", "")], "", places)
            self._open(path, "filters", after[-1], layer.activation)
            self._own([f"{key}.pointwise"], [f"{key}.bias"], np.arange(after[-1])[:, None])
        elif kind in RECURRENT or kind is Bidirectional:
            self._recurrent(layer, key, path)
        elif kind is DepthwiseConv2D:
            self._each(f"{key}.kernel")
            self._spread(layer.depth_multiplier)
            self._channels(key, ("bias",))
        elif kind in OF_CHANNELS:
            self._channels(key, OF_CHANNELS[kind])
        elif kind is Flatten or (kind is Reshape and layer.shape == (-1,)):
            if self.open is not None:
                places = np.prod(shape[:-1], dtype=int)
                self.positions = (self.positions[:, None] + shape[-1] * np.arange(places)[:, None]).reshape(
                    self.open.count, -1
                )
        elif not (kind in PASSING or kind is Activation or isinstance(layer, Noise)):
            self.open = None

    def _take(self, kernels, behind, places=None, share=1.0):
        """Let kernels take the values, which ends the units: pairs (key, key of the bias).

        behind : key of the layer that follows, if it gets the sums as they are
        places : where the values stand on the last axis, if not where the kernels take them
        share : of a kernel's places, that an output sees
        """
        if self.open is None:
            return
        units, self.open = self.open, None
        for kernel, bias in kernels:
            units.outgoing.append(units.cut(kernel, -2, self.positions))
            if bias in self._keys:
                units.shifts[kernel] = Shift(bias, share)
            elif f"{behind}.mean" in self._keys:  # of a batch normalization
                units.shifts[kernel] = Shift(f"{behind}.mean", -share)
        units.before, units.places = list(self._before), self.positions if places is None else places
        self.found.append(units)

    def _each(self, kernel):
        """Let a kernel take each value by itself."""
        if self.open is not None:
            self.open.cut(kernel, -2, self.positions)

    def _open(self, path, setting, count, activation="identity"):
        """Units of a new layer."""
        self.open = Units((*path, setting), count) if by_numbers(activation) else None
        self.positions = np.arange(count)[:, None]

    def _own(self, kernels, biases, positions):
        """Columns of kernels and numbers of biases that make the units."""
        if self.open is not None:
            self.open.incoming += [self.open.cut(key, -1, positions) for key in kernels]
            self.open.incoming += [self.open.cut(key, 0, positions) for key in biases if key in self._keys]

    def _channels(self, key, names):
        """Weights and statistics with a number for each value."""
        for name in names if self.open is not None else ():
            if f"{key}.{name}" in self._keys:
                cut = self.open.cut(f"{key}.{name}", 0, self.positions)
                self.open.gamma = cut if name == "gamma" else self.open.gamma

    def _spread(self, multiplier):
        """Each value has become so many, side by side."""
        if self.open is not None:
            wide = self.positions[:, :, None] * multiplier + np.arange(multiplier)
            self.positions = wide.reshape(self.open.count, -1)

    def _recurrent(self, layer, key, path):
        """Through a recurrent layer, in one direction or in both: then the units of both go together."""
        both = type(layer) is Bidirectional
        cell = layer.layer if both else layer
        prefixes = [f"{key}.forward_", f"{key}.backward_"] if both else [f"{key}."]
        self._take([(f"{p}kernel", f"{p}bias") for p in prefixes], "")
        self._open((*path, "layer") if both else path, "units", cell.units)
        gates = np.arange(cell.units)[:, None] + cell.units * np.arange(cell.gates)
        for p in prefixes:
            self._own([f"{p}kernel", f"{p}recurrent_kernel"], [f"{p}bias", f"{p}recurrent_bias"], gates)
            self.open.inner.append(self.open.cut(f"{p}recurrent_kernel", -2, np.arange(cell.units)[:, None]))
        if both and layer.merge == "concat":
            self.positions = np.arange(cell.units)[:, None] + cell.units * np.arange(2)


def by_numbers(activation):
    """Whether an activation is a function of single numbers, and not of whole rows."""
    return not get_activation(activation).by_rows
