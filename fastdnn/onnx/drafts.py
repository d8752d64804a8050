"""Layers before they are made: what they are told, and where their weights come from."""

from typing import NamedTuple

import numpy as np

from ..layers import (
    Activation,
    BatchNorm,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    LayerNorm,
    Rescaling,
    Reshape,
    Residual,
    Scale,
)
from ..saving.errors import ModelFormatError

LINEAR = Dense, Conv1D, Conv2D, Conv2DTranspose, DepthwiseConv2D


class Matrix(NamedTuple):
    """A matrix whose rows and columns are to change places (None: they stay), which is not made at once."""

    array: np.ndarray
    rows: np.ndarray | None = None
    columns: np.ndarray | None = None

    def piece(self, part):
        """Some rows of the result, a slice."""
        piece = self.array[part] if self.rows is None else self.array[self.rows[part]]
        return piece if self.columns is None else piece[:, self.columns]


class Draft:
    """A layer before it is made.

    Parameters
    ----------
    layer : type
        Of the layer, or one of the classes below, which become layers when it is known what stands around them.
    settings : dict
        Arguments of its constructor.
    arrays : dict of str -> ndarray, Matrix or float
        Its weights and running statistics in our shapes; a number stands for all.
    inside, shortcut : list of Draft
        The layers of a Residual, and those of its shortcut.
    """

    def __init__(self, layer, settings=None, arrays=None, inside=(), shortcut=()):
        self.layer, self.settings, self.arrays = layer, settings or {}, arrays or {}
        self.inside, self.shortcut = list(inside), list(shortcut)
        self.nested = 1 + max(draft.nested for draft in (*self.inside, *self.shortcut)) if self.inside else 0

    @property
    def reshapes(self):
        """Whether its output is its input in another shape."""
        return self.layer.reshapes

    def changed(self, settings, **arrays):
        """Another one with some settings and arrays changed."""
        return Draft(self.layer, {**self.settings, **settings}, {**self.arrays, **arrays}, self.inside, self.shortcut)

    def ordered(self, rows, columns):
        """Another one whose features, those it takes and those it gives, have changed places; None: they have not."""
        changes = {}
        for name, array in self.arrays.items():
            if isinstance(array, Matrix):
                changes[name] = Matrix(array.array, rows, columns)
            elif np.ndim(array) == 1 and columns is not None:
                changes[name] = array[columns]
            elif np.ndim(array) > 1 and rows is not None and not name.endswith("recurrent_kernel"):
                changes[name] = np.take(array, rows, axis=-2)
        return self.changed({}, **changes)


class Affine:
    """y = scale x + offset, with numbers of each feature. Settings: the shape of a sample."""

    reshapes = False


class Pair:
    """z becomes (-z / 2, z / 2), whose softmax is (1 - p, p), p = sigmoid(z)."""

    reshapes = False


class LogSoftmax:
    """Logarithms of the softmax: the scores of a classifier, the last layer."""

    reshapes = False


class Refused:
    """What fastdnn has no layer for, unless nobody needs it. Settings: why."""

    reshapes = False


def residual(inside, shortcut=()):
    """A Residual of these layers, with these on the way around them."""
    if not inside:
        raise ModelFormatError("it adds a value to itself in another order")
    return Draft(Residual, inside=inside, shortcut=shortcut)


# ---------------------------------------------------------------- what stands side by side


def simplified(drafts, trained=False):
    """The drafts with those in one that make one layer, and those that are no layers spelled out.

    trained : whether layers with weights stand before them
    """
    done = []
    for draft in drafts:
        merged = _merged(done[-1], draft) if done else None
        if merged is not None:
            done[-1] = merged
        else:
            done.append(draft)
    found = []
    for draft in done:
        if draft.inside:
            draft = residual(simplified(draft.inside, trained), simplified(draft.shortcut, trained))
        found += _spelled(draft, trained)
        trained = trained or bool(draft.arrays or draft.inside)
    return found


def _merged(before, draft):
    """One draft that does what two do, or None."""
    kind, first = draft.layer, before.layer
    if first in (*LINEAR, BatchNorm) and before.settings.get("activation", "identity") == "identity":
        if kind is Activation:
            return before.changed(draft.settings)
        if kind is Affine:
            return _scaled(before, draft.arrays["scale"], draft.arrays["offset"])
        if kind is Rescaling and draft.settings["scale"] == 1 and first is not BatchNorm:
            return _scaled(before, 1.0, draft.settings["offset"])
        if kind is Pair and first is Dense and before.settings["units"] == 1:
            half = _scaled(before, 0.5, 0.0)
            both = {name: np.array([-1.0, 1.0]) * a for name, a in half.arrays.items() if name != "kernel"}
            matrix = half.arrays["kernel"]
            return half.changed({"units": 2}, kernel=matrix._replace(array=matrix.array * np.array([-1.0, 1.0])), **both)
    if kind is Affine and first is LayerNorm:
        return _scaled(before, draft.arrays["scale"], draft.arrays["offset"])
    if kind is Affine and first is Affine:
        scale, offset = draft.arrays["scale"], draft.arrays["offset"]
        return before.changed({}, scale=before.arrays["scale"] * scale, offset=before.arrays["offset"] * scale + offset)
    return None


def _scaled(draft, scale, offset):
    """A layer whose output is scaled and shifted, feature by feature."""
    arrays = {}
    names = ("gamma", "beta") if draft.layer in (BatchNorm, LayerNorm) else ("kernel", "bias")
    first, second = draft.arrays[names[0]], draft.arrays.get(names[1])
    if np.any(np.not_equal(scale, 1)):
        factors = np.asarray(scale, np.result_type(first.array if isinstance(first, Matrix) else first, np.float32))
        if isinstance(first, Matrix):
            arrays[names[0]] = Matrix(first.piece(slice(None)) * factors)
        elif draft.layer is DepthwiseConv2D:  # whose outputs are two axes of its kernel
            factors = np.broadcast_to(factors, first.shape[-2] * first.shape[-1]).reshape(first.shape[-2:])
            arrays[names[0]] = first * factors
        else:
            arrays[names[0]] = first * factors
    if second is not None or np.any(np.not_equal(offset, 0)):
        arrays[names[1]] = (0.0 if second is None else np.asarray(second, np.float64)) * scale + offset
    return draft.changed({"use_bias": True} if "bias" in arrays else {}, **arrays)


def _spelled(draft, trained):
    """Layers of ours that do what a draft does; trained : whether layers with weights stand before it."""
    if draft.layer is Pair:
        return [Draft(Dense, {"units": 2, "use_bias": False}, {"kernel": np.array([[-0.5, 0.5]])})]
    if draft.layer is Refused:
        raise ModelFormatError(draft.settings["why"])
    if draft.layer is LogSoftmax:
        raise ModelFormatError("LogSoftmax is supported at the end only")
    if draft.layer is not Affine:
        return [draft]
    scale, offset, shape = draft.arrays["scale"], draft.arrays["offset"], draft.settings["shape"]
    if np.ptp(scale) == 0 and np.ptp(offset) == 0:
        return [Draft(Rescaling, {"scale": float(np.ravel(scale)[0]), "offset": float(np.ravel(offset)[0])})]
    rate = {} if trained else {"learning_rate_factor": 0.0}  # of the samples: a scaler, which was fitted and not trained
    if not np.any(offset):
        return [Draft(Scale, rate, {"scale": scale})]
    width = shape[-1]
    kernel = np.broadcast_to(scale, width).reshape(1, 1, width, 1)
    image = (1, int(np.prod(shape[:-1], dtype=np.int64)), width)
    return [
        Draft(Reshape, {"shape": image}),
        Draft(DepthwiseConv2D, {"kernel_size": 1, **rate}, {"kernel": kernel, "bias": offset}),
        Draft(Reshape, {"shape": tuple(shape)}),
    ]
