"""A network without what only training needs: batch norm in the weights before it, activations in products, no dropout."""

import math
from typing import NamedTuple

import numpy as np

from ..layers import Activation, BatchNorm, Columns, Conv1D, Conv2D, Dense, DepthwiseConv2D, Residual, SeparableConv2D
from ..layers.augmentation import Augmentation
from ..layers.noise import Noise

PRODUCTS = Dense, Conv1D, Conv2D  # layers whose outputs stand on the last axis of a kernel; not classes made of them
FOLDED = *PRODUCTS, DepthwiseConv2D  # layers that take a batch norm and an activation into themselves
OWN_MODULES = Noise.__module__, Augmentation.__module__  # whose layers pass samples on in inference; others' may not


class Part(NamedTuple):
    """A layer with the arrays of its leaves: a dict by name for each, parameters and running statistics together."""

    layer: object
    arrays: list

    @property
    def kernel_and_bias(self):
        """(kernel, bias) of a layer that is `FOLDED`, float64."""
        arrays = self.arrays[0]
        kernel = np.asarray(arrays["kernel"], np.float64)
        bias = arrays.get("bias")
        return kernel, np.zeros(math.prod(self.outputs)) if bias is None else np.asarray(bias, np.float64)

    @property
    def outputs(self):
        """Shape of the last axes of the kernel, which are those of the outputs."""
        return self.arrays[0]["kernel"].shape[-2 if type(self.layer) is DepthwiseConv2D else -1 :]


def parts_of(layers, prefix, values, change=None):
    """The layers as a list of `Part`, folded.

    Parameters
    ----------
    layers : sequence of Layer
        One after the other.
    prefix : str
        What stands before the number of a layer in the keys of its arrays.
    values : dict of str -> ndarray
        Parameters and running statistics by key.
    change : callable or None
        ``change(part)`` gives the part that takes the place of one, once that is folded.
    """
    found = []
    for i, layer in enumerate(layers):
        key = f"{prefix}{i}.{layer.name}"
        if isinstance(layer, Noise | Augmentation) and type(layer).__module__ in OWN_MODULES:
            continue
        for part in _parts(layer, key, values, change):
            if not (found and _absorbed(found, part)):
                found.append(part)
    return [change(part) if change else part for part in found]


def _parts(layer, key, values, change):
    """The parts that take the place of one layer; those inside it are folded where it has some."""
    if type(layer) is Residual:
        return [_residual(layer, key, values, change)]
    if type(layer) is Columns:
        return [_columns(layer, key, values, change)]
    if type(layer) is SeparableConv2D:
        return _halves(layer, _arrays_of(key, values))
    arrays = [_arrays_of(leaf_key, values) for leaf_key, _ in layer.leaves(key)]
    return [_undivided(Part(layer, arrays))]


def _halves(layer, arrays):
    """The two convolutions of a `SeparableConv2D`, of which the second one is a product like others."""
    settings = ("kernel_size", "strides", "padding", "depth_multiplier", "dilation_rate")
    first = DepthwiseConv2D(**{name: getattr(layer, name) for name in settings}, use_bias=False)
    second = Conv2D(layer.filters, 1, activation=layer.activation, use_bias=layer.use_bias)
    bias = {"bias": arrays["bias"]} if layer.use_bias else {}
    return [Part(first, [{"kernel": arrays["depthwise"]}]), Part(second, [{"kernel": arrays["pointwise"], **bias}])]


def _residual(layer, key, values, change):
    """The two ways, each folded by itself."""
    nothing = [Part(Activation("identity"), [{}])]  # of layers that only training needs
    inside = parts_of(layer.layers, f"{key}.", values, change) or nothing
    if layer.shortcut is None:
        return Part(Residual([part.layer for part in inside]), [{}, *_leaves_of(inside), {}])
    around = parts_of(layer.shortcut, f"{key}.shortcut.", values, change) or nothing
    folded = Residual([part.layer for part in inside], [part.layer for part in around])
    return Part(folded, [{}, *_leaves_of(inside), {}, *_leaves_of(around), {}])


def _columns(layer, key, values, change):
    """The groups of a `Columns`, each folded by itself."""
    groups, arrays, number = [], [{}], 0
    for columns, layers in layer.groups:
        # Layers are counted through all groups: what comes before this one takes the numbers before.
        inside = parts_of([_Skipped()] * number + list(layers), f"{key}.", values, change)[number:]
        number += len(layers)
        groups.append((columns, [part.layer for part in inside]))
        arrays += [{}, *_leaves_of(inside), {}]
    return Part(Columns(groups), arrays)


class _Skipped:
    """A layer of a group before."""

    name = "skipped"

    def leaves(self, key):
        return []


def _leaves_of(parts):
    return [arrays for part in parts for arrays in part.arrays]


def _arrays_of(leaf_key, values):
    """What stands under a leaf's key."""
    return {key.rpartition(".")[2]: a for key, a in values.items() if key.rpartition(".")[0] == leaf_key}


def _undivided(part):
    """A product whose kernel is divided by its norm as one whose kernel is the quotient."""
    layer = part.layer
    if type(layer) not in PRODUCTS or not layer.spectral_norm:
        return part
    arrays = {name: a for leaf in part.arrays for name, a in leaf.items()}
    kernel = np.asarray(arrays["kernel"], np.float64)
    matrix = kernel.reshape(-1, kernel.shape[-1])
    norm = np.asarray(arrays["v"], np.float64) @ matrix @ np.asarray(arrays["u"], np.float64)
    kept = {name: a for name, a in arrays.items() if name == "bias"}
    return Part(layer.replace(spectral_norm=False), [{"kernel": kernel / (norm or 1.0), **kept}])


def _absorbed(found, part):
    """Whether the part before has taken this one into itself."""
    before = found[-1]
    if type(before.layer) not in FOLDED or before.layer.activation != "identity":
        return False
    if type(part.layer) is BatchNorm:
        found[-1] = _normalized(before, part)
    elif type(part.layer) is Activation:
        found[-1] = before._replace(layer=before.layer.replace(activation=part.layer.activation))
    else:
        return False
    return True


def _normalized(before, norm):
    """A layer with the batch norm behind it: each output times gamma / sqrt(var + epsilon), what is left in the bias."""
    (kernel, bias), (_, own) = before.kernel_and_bias, norm.arrays
    gamma, beta, mean, var = (np.asarray(own[name], np.float64) for name in ("gamma", "beta", "mean", "var"))
    factor = gamma / np.sqrt(var + norm.layer.epsilon)
    layer = before.layer.replace(use_bias=True, activation=norm.layer.activation)
    return Part(layer, [{"kernel": kernel * factor.reshape(before.outputs), "bias": (bias - mean) * factor + beta}])
