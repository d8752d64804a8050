"""Where the parameters of the layers stand in one flat array, and in what parts they are updated."""

import math
from dataclasses import dataclass

import numpy as np

from .gemm import ALIGN, padded
from .layers.base import BLOCK, Parameter, sample_rows, values_read
from .layers.windows import check_channels_last

PARTS = 8, 64  # parts of the parameters to share among threads, small and large nets; no result may depend on the threads
PART_SIZES = 1024, 8192  # least parameters in a part, and where more than the least number of parts is worth it


def aligned(n, dtype):
    """n zeros, starting on a cache line."""
    raw = np.zeros(n * np.dtype(dtype).itemsize + 128, np.uint8)  # products of groups read up to 7 numbers behind the end
    start = -raw.ctypes.data % 64
    return raw[start : start + n * np.dtype(dtype).itemsize].view(dtype)


def realigned(a):
    """A copy that starts on a cache line."""
    copied = aligned(len(a), a.dtype)
    copied[...] = a
    return copied


def keeps_steps(layer, before, after):
    """Whether what a layer makes of samples of shape `before` has the same steps, so that a mask of them goes on."""
    return not (layer.mixes_steps or layer.reshapes) and len(after) == 2 and before[0] == after[0]


@dataclass(frozen=True)
class Entry:
    """A parameter array in the flat buffer: `rows` x `columns` with row stride `stride`, from element `offset` on."""

    key: str
    layer: int  # number of the leaf
    parameter: Parameter
    offset: int

    @property
    def name(self):
        return self.parameter.name

    @property
    def shape(self):
        return self.parameter.shape

    @property
    def decays(self):
        return self.parameter.decays

    @property
    def rows(self):
        return self.parameter.rows

    @property
    def stride(self):
        return padded(self.parameter.columns)

    @property
    def end(self):
        """Where the next array may start: a matrix of several rows has whole blocks of 16, for the transposed copy."""
        rows = -(-self.rows // ALIGN) * ALIGN if len(self.shape) > self.parameter.last_axes else 1
        return self.offset + rows * self.stride

    def view(self, flat):
        block = flat[self.offset : self.offset + self.rows * self.stride]
        return block.reshape(self.rows, self.stride)[:, : self.parameter.columns].reshape(self.shape)


class Views(dict):
    """dict of arrays in which assigning to a key writes into the array: ``model.weights[key] = a`` changes the model."""

    def __setitem__(self, key, value):
        view, value = self[key], np.asarray(value)
        if value.shape != view.shape:
            raise ValueError(f"{key} has shape {view.shape}, got {value.shape}")
        view[...] = value

    def update(self, other):
        for key, value in dict(other).items():
            self[key] = value

    def __ior__(self, other):
        self.update(other)
        return self

    def _fixed(self, *_):
        raise TypeError("the arrays of a network cannot be added or removed, only written to")

    __delitem__ = pop = popitem = clear = setdefault = _fixed


class Layout:
    """Where the parameters of the layers stand in the flat buffer, and their running statistics in another.

    Attributes
    ----------
    leaves : list of (str, Layer)
        The layers with an op of their own, under the first part of their parameters' keys.
    entries, states : list of Entry
        Parameters and running statistics, in layer order.
    reads : list of tuple of int
        For each leaf the numbers of the values that it reads; 0 are the samples, i + 1 is what leaf i makes.
    shapes : list of tuple
        Of a sample of each value.
    has_steps : list of bool
        Whether each value has the same steps as the samples, so that a mask of them goes on to it.
    size, state_size : int
        Elements of the flat buffers, padding included.
    flops : int
        Of the way forward of one sample.
    """

    def __init__(self, layers, input_shape):
        self._layers, self._of_steps = layers, {}
        self.leaves = [leaf for i, layer in enumerate(layers) for leaf in layer.leaves(f"{i}.{layer.name}")]
        self.entries, self.states, self.shapes, self.flops = [], [], [tuple(input_shape)], 0
        self.reads, self.has_steps = values_read(self.leaves), [True]
        as_given = len(self.shapes[0]) == 3  # whether samples have the shape still that users gave them
        for number, (key, layer) in enumerate(self.leaves):
            *others, number_read = self.reads[number]
            shape = self.shapes[number_read]
            try:
                if layer.takes_windows and as_given:
                    check_channels_last(shape)
                as_given = as_given and not (layer.reshapes or layer.takes_windows)
                output = tuple(layer.output_shape(shape))
                wanted = layer.parameters(shape)
                for other in others:
                    self._check_sum(other, self.shapes[other], output)
            except ValueError as error:
                what = "" if layer.internal else f", {layer!r}"
                raise ValueError(f"layer {key.rpartition('.')[0]}{what}: {error}") from error
            for p in wanted:
                target = self.states if p.state else self.entries
                target.append(Entry(f"{key}.{p.name}", number, p, target[-1].end if target else 0))
            self.shapes.append(output)
            self.has_steps.append(keeps_steps(layer, shape, output) and all(self.has_steps[v] for v in self.reads[number]))
            self.flops += layer.flops(shape)
        self._trained = {e.layer for e in self.entries if e.parameter.learning_rate_factor != 0}
        self.size = self.entries[-1].end if self.entries else 0
        self.state_size = self.states[-1].end if self.states else 0

    def _check_sum(self, value, shape, output):
        """ValueError unless what comes on two ways has one shape; value : the number of what has come on the first."""
        if shape != output and self.leaves[value][1].opens_skip:
            raise ValueError(
                f"the layers inside must give the shape that they take, {shape}, and give {output}; where they are to give "
                "another one, shortcut=[...] are layers that make it of the input"
            )
        if shape != output:
            raise ValueError(
                f"the layers inside give the shape {shape} and those of the shortcut {output}: both are added, so let "
                f"shortcut=[...] give {shape} too, or change the layers inside"
            )

    @property
    def most_rows(self):
        """Most rows of a sample that a layer gets, those that only reshape left out."""
        inputs = [shape for (_, layer), shape in zip(self.leaves, self.shapes, strict=False) if not layer.reshapes]
        return max(map(sample_rows, [*inputs, self.shapes[-1]]))

    def is_trained(self, number):
        """Whether a leaf has parameters that move: those with a learning_rate_factor of 0 need no gradient."""
        return number in self._trained

    @property
    def unit(self):
        """Samples that no split of a batch may part: those whose rows a layer that `needs_batch` sums up before others."""
        rows = [sample_rows(shape) for (_, layer), shape in zip(self.leaves, self.shapes, strict=False) if layer.needs_batch]
        return math.lcm(1, *(max(1, BLOCK // n) for n in rows))

    def unit_of(self, precision):
        """`unit` of a training with products of that precision: rows of bfloat16 stand in pairs."""
        return math.lcm(self.unit, 2 if precision == "bfloat16" else 1)

    @property
    def first_whole(self):
        """Number of the first op that all of a shard's samples take at once, 0 if that is the first of all.

        Ops before it take so few samples at a time that what one makes of them is in the cache for the next. Those behind
        it have one row a sample, and read all their weights in each call.
        """
        whole = open_ways = 0
        inside = False  # whether a way around some of those ops has not ended yet
        for number, (_, layer) in enumerate(self.leaves):
            open_ways += layer.opens_skip - layer.closes_skip
            several = not layer.reshapes and (layer.takes_windows or sample_rows(self.shapes[number]) > 1)
            if several or inside:
                whole, inside = number + 2, open_ways > 0
        return whole

    def of_steps(self, steps):
        """The layout for sequences of so many steps, the same one each time; parameters stand in the same places."""
        if steps not in self._of_steps:
            self._of_steps[steps] = Layout(self._layers, (steps, *self.shapes[0][1:]))
        return self._of_steps[steps]

    def check_mask(self):
        """ValueError unless a mask of the steps of samples reaches a layer that looks at it, or the loss."""
        for (key, layer), after, comes in zip(self.leaves, self.shapes[1:], self.has_steps[:-1], strict=True):
            if comes and layer.recurrent and layer.go_backwards and len(after) == 2:
                raise ValueError(
                    f"layer {key.rpartition('.')[0]}, {layer!r}: it cannot turn masked sequences around; put it into a "
                    "Bidirectional, or turn X around"
                )
            if comes and layer.sees_mask:
                return
        if not self.gives_steps:
            key, layer = self.leaves[self.has_steps.index(False) - 1]
            raise ValueError(
                f"lengths and masks mean nothing to this network: they end at layer {key.rpartition('.')[0]}, {layer!r}, "
                "before a layer that looks at them (recurrent, BatchNorm, global pooling) or the loss"
            )

    @property
    def goes_by_steps(self):
        """Whether there are recurrent layers."""
        return any(layer.recurrent for _, layer in self.leaves)

    @property
    def gives_steps(self):
        """Whether a mask of the steps of samples is one of the rows of scores, too."""
        return self.has_steps[-1]

    def views(self, flat):
        """Views into `flat` by key, in layer order."""
        return Views((e.key, e.view(flat)) for e in self.entries)

    def state_views(self, flat):
        """The same for the running statistics."""
        return Views((e.key, e.view(flat)) for e in self.states)

    def fits(self, other):
        """Whether another layout has the same parameters in the same places."""
        mine, theirs = ([(e.key, e.shape, e.offset) for e in (*x.entries, *x.states)] for x in (self, other))
        return mine == theirs and self.shapes[-1] == other.shapes[-1]

    def padding(self):
        """Positions of the flat buffer that belong to no parameter."""
        own = np.zeros(self.size, bool)
        for view in self.views(own).values():
            view[...] = True
        return np.flatnonzero(~own)

    def parts(self):
        """(parts, 7) int64 for the engine: op, first unit, units, first parameter, parameters, whether they decay, array.

        Op 0 is the input, so layer i is op i + 1. Each row of a matrix is a unit, each vector is one,
        and so is a matrix that stands in one row.
        """
        least = max(PART_SIZES[0], self.size // min(max(self.size // PART_SIZES[1], PARTS[0]), PARTS[1]))
        parts, units = [], {}
        for number, e in enumerate(self.entries):
            unit = units.get(e.layer, 0)
            pieces = -(-e.rows * e.stride // least)
            if e.parameter.whole:
                pieces = 1
            if e.parameter.few_rows:  # each part looks at all ids of a batch
                pieces = min(pieces, PARTS[0])
            rows = -(-e.rows // (pieces * ALIGN)) * ALIGN  # a multiple of 16, for the transposed blocks
            for lo in range(0, e.rows, rows):
                n = min(rows, e.rows - lo)
                parts.append((e.layer + 1, unit + lo, n, e.offset + lo * e.stride, n * e.stride, e.decays, number))
            units[e.layer] = unit + e.rows
        return np.array(parts, np.int64).reshape(-1, 7)

    def factors(self):
        """(parts, 4) float64 for the engine: the layer's l2 and l1, factor of the rate, whether weight decay applies."""
        of = [self.entries[number].parameter for number in self.parts()[:, 6]]
        return np.array([(p.l2, p.l1, p.learning_rate_factor, p.decays) for p in of], float).reshape(-1, 4)

    def limits(self):
        """(k, 5) int64, op, rows, first parameter, row stride, columns, and (k,) norms, of what has a `max_norm`."""
        limited = [e for e in self.entries if e.parameter.max_norm is not None]
        table = [(e.layer + 1, e.rows, e.offset, e.stride, e.parameter.columns) for e in limited]
        return np.array(table, np.int64).reshape(-1, 5), np.array([e.parameter.max_norm for e in limited], float)

    @property
    def n_params(self):
        """Number of parameters, padding not counted."""
        return sum(int(np.prod(e.shape)) for e in self.entries)
