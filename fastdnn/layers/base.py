"""What a layer is: a spec that declares its parameters and fills in one row of the program.

The program is an int64 table, one row an op: addresses of compiled kernels, offsets into the flat arrays, sizes. The
engine walks the rows and calls the addresses; it knows no layer. The entries of a row have names: those of `OP`, which all
ops have, and the layer's own, a record that stands in its file (`fields`). A kernel of an op has the signature `op_signature`
and is one of four, any of which may be missing:

forward   rows [lo, lo + n) of the workspace: input -> output
backward  the same rows, in reverse order of the ops: gradient of the output -> gradient of the input
gradient  units [lo, lo + n) of the op's parameters (each row of a matrix is a unit, each vector is one), after backward
          has run: the gradient of the parameters, summed over data.rows samples from data.first_row on (`shard_rows`)
refresh   the same units, after the parameters have changed: whatever is derived from them (a transposed copy)

A value, what one op gives to the next, holds a sample of shape (..., width) as prod(...) rows of that width: row r of
sample s stands at element (s * rows + r) * stride, the stride being padded(width). An op says how many rows a sample has
for it (op.sample_rows); the engine multiplies, so whoever works row by row works on the last axis of any shape. Ops that
take whole samples say 1.

Rows are independent in forward and backward, units in gradient and refresh: any split of either over threads gives the
same bits, because each result is one sum in one fixed order. An op that needs all rows of the batch at once (batch
normalization) sums blocks of BLOCK rows, which no split of the rows cuts; once all rows have passed it, a fifth kernel,
sync_forward or sync_backward, is run once, by one thread, before any row goes on.
"""

import functools
import math
from dataclasses import dataclass

from numba import types

from .._jit import inner, kernel
from .._records import Record
from .._simd import integers_at, one_by_one
from ..specs import Spec

# What every op has, and the engine, the layer after it or another op may ask for: the addresses of its kernels (0: none), its
# geometry, where its input and output and their gradients stand in `work` (in elements), and what it leaves undone. Its
# gradient is still to be multiplied by what the kernel `derivative` makes of the rows at `saved`, or, where it `clamps`, to
# be 0 where these are. `by_rows`: the derivative needs whole rows. `key`: of its random numbers. `adds`: whether `gradient`
# adds to what is there where data.adds says so, and is called while the values of a few samples are in the cache. `plain`:
# whether `gradient` reads nothing but the rows at x and dy. Where gradients of values are there for a chunk of samples only:
# elements of a slot and of a sample, else 0 (`dy_base`). `touched`: of parameters of which a batch uses few rows, the address
# of `TOUCHED`. Elements of x and of dy of a sample that are kept for a gradient of all samples of a batch at once. Of a
# product whose kernel is normalized: the number of the op that divides by the norm (0: none), whose kernels are `derive`,
# which finds the norm anew after the kernel has changed, and `correct`, which makes of the gradient of the quotient that of
# the kernel. What the gradient of products of bfloat16 reads in place of the rows at x and dy (0: these): pairs of rows.
OP = Record(
    "forward", "backward", "gradient", "refresh", "sync_forward", "sync_backward",
    "sample_rows", "n_in", "n_out", "ld_in", "ld_out", "x", "y", "dx", "dy",
    "saved", "derivative", "clamps", "by_rows", "key", "adds", "plain",
    "dy_slot", "dy_sample", "dx_slot", "dx_sample", "touched", "kept_in", "kept_out",
    "spectral", "derive", "correct", "pairs_x", "pairs_dy", size=88,
)  # fmt: skip

# What one call works on: addresses (0: none) and counts. `slot`: number of the scratch of whoever runs it; `adds`: see `OP`;
# what samples are mixed with, by their positions, see `mixing`. `mask`: a byte for each step of each sample, 0 where it does
# not count, `mask_row` of them a sample. `whole_gradient`: whether rows of parameters that no sample uses get a gradient of
# 0, not none. Where sequences are taken in windows of some steps: the number of the window, steps of a whole sequence where
# each has a target, and those before the window; whether gradients add to those of another window; whether the window goes
# forward for the second time; whether the gradients of the states come from the window behind it.
DATA = Record(
    "x", "x_row", "x_column", "indptr", "indices", "order", "y", "sample_weight", "scale", "losses", "result",
    "rows", "first_row", "base", "flag", "step", "state", "training", "dx", "slot", "adds",
    "partners", "shares", "boxes", "mask", "mask_row", "whole_gradient", "window", "steps", "first_step", "more", "again",
    "carries", size=40,
)  # fmt: skip

# Of a matrix of which a batch uses few rows: int64 arrays, an entry a row. Whether the batch uses it; the numbers of those
# that it does use, of a part of the parameters from the part's first on, and their count at the part's first. Neighbors that
# stand one after the other there are updated in one call.
TOUCHED = Record("used", "numbers", "counts")

# Rows that a kernel before a sync kernel sums up; threads split rows at its multiples, so a batch of 32 in two.
BLOCK = 16

# Offsets in the workspace: a one to sum columns with, and a row of zeros to start products from.
ONE, ZEROS = 0, 16


@inner
def sample(data, position):
    """Number of the sample that stands at `position` of the order."""
    order = one_by_one(data.order)
    return integers_at(order, position)[0] if order else position


def sample_rows(shape):
    """Rows of a sample of that shape."""
    return math.prod(shape[:-1])


def values_read(leaves):
    """For each leaf the numbers of the values that it reads; 0 are the samples, i + 1 is what leaf i makes."""
    found, ways = [], []
    for i, (_, layer) in enumerate(leaves):
        read = (i,)
        if layer.opens_skip:
            ways.append(i)
        elif layer.opens_shortcut:  # what came to the layers before it, whose result is kept for the end
            read, ways[-1] = (ways[-1],), i
        elif layer.closes_skip:
            read = ways.pop(), i
        found.append(read)
    return found


def shape_behind(layer, shape):
    """Shape of one sample behind a layer, by those that it is made of."""
    leaves, shapes = layer.leaves(""), [shape]
    for (_, leaf), read in zip(leaves, values_read(leaves), strict=True):
        shapes.append(tuple(leaf.output_shape(shapes[read[-1]])))
    return shapes[-1]


@inner
def shard_rows(op, data):
    """(first row, rows) of the samples that a gradient is summed over."""
    return data.first_row * op.sample_rows, data.rows * op.sample_rows


@inner
def dy_base(op, data):
    """Offset in `work` of row 0 of dY: of the batch, or of the chunk that `data` is about, in the slot of who works on it."""
    return op.dy + data.slot * op.dy_slot - data.first_row * op.dy_sample


@inner
def dx_base(op, data):
    """The same of dX."""
    return op.dx + data.slot * op.dx_slot - data.first_row * op.dx_sample


def op_signature(real, record=OP):
    """(op, data, params, grads, work, start, lo, n) -> None.

    op, data : the op's record and `DATA`     params, grads, work : flat arrays of the float type
    start : position in the order of the samples of workspace row 0     lo, n : rows or units to work on
    """
    p = types.CPointer(real)
    return types.void(record.type, DATA.type, p, p, p, types.intp, types.intp, types.intp)


def fields(*names):
    """The record of ops with these fields of their own, beside those that all have."""
    return Record(*names, after=OP, size=OP.size)


def op_kernel(record, dtypes=("float32", "float64")):
    """Decorator: a function becomes a kernel of ops with that record."""
    return kernel(functools.partial(op_signature, record=record), dtypes)


@dataclass(frozen=True)
class Parameter:
    """A parameter array that a layer asks for.

    Attributes
    ----------
    name : str
        Last part of its key in `Model.weights`.
    shape : tuple of int
        (n,), or (..., columns): the rows of a matrix, whatever its rank, stand in `params` with a padded stride.
    initializer : str, float or tuple of them
        Name in `fastdnn.initializers.INITIALIZERS`, or the number that all values have; of several, each draws as many of the
        columns by itself.
    decays : bool
        Whether weight decay (L2) applies to it.
    state : bool
        Whether it is not trained but measured (running statistics): it then stands in `Model.state`.
    l1, l2 : float
        Penalty of the layer's own, l1 sum |w| + l2 / 2 sum w^2.
    learning_rate_factor : float
        Factor of the learning rate; 0 freezes it.
    max_norm : float or None
        Largest norm of a column.
    fans : tuple (fan_in, fan_out) or None
        Numbers that a unit sees and that see it, for initializers; None takes the rows and columns of the matrix.
    last_axes : int
        How many axes are the columns of the matrix.
    few_rows : bool
        Whether a batch uses few of its rows, see `TOUCHED`.
    whole : bool
        Whether it is updated as a whole, by one thread.
    """

    name: str
    shape: tuple
    initializer: str | float | tuple
    decays: bool
    state: bool = False
    l1: float = 0.0
    l2: float = 0.0
    learning_rate_factor: float = 1.0
    max_norm: float | None = None
    fans: tuple | None = None
    last_axes: int = 1
    few_rows: bool = False
    whole: bool = False

    @property
    def rows(self):
        """Rows of the matrix that it is in memory; a vector is one."""
        return math.prod(self.shape[: -self.last_axes])

    @property
    def columns(self):
        """Columns of that matrix."""
        return math.prod(self.shape[-self.last_axes :])


class Layer(Spec):
    """Base of the layer specs.

    A subclass sets `name` and overrides `output_shape`, `parameters` and `emit`; its kernels stand in the same file.
    """

    name = "layer"
    record = OP  # names of the entries of its ops
    takes_sparse = False  # whether as the first layer it reads a CSR matrix itself (builder.sparse), not rows made dense
    takes_ids = False  # the same of integers, which then never become floats
    takes_packed = False  # whether as the first layer it reads pixels that stand side by side, without padding
    passing_gradients = (
        False  # whether its kernels find gradients by `dy_base` and `dx_base`, so that they can be there for a chunk
    )
    takes_windows = False  # whether it needs scratch of its own (`builder.new_scratch`) or moments of whole samples
    rows_at_once = 32  # rows of samples that predictions take at once at the least
    recurrent = False  # whether it takes samples through their steps one after the other: many at once are faster
    sees_mask = go_backwards = False  # whether it leaves out steps that do not count; takes them from the last to the first
    mixes_steps = False  # whether rows of its output are no longer steps of the sequences that it takes
    needs_batch = False  # whether all rows of a batch must be there at once: it has a sync kernel
    affine = None  # (scale, offset) where that is all it does: samples of 8 or 16 bits are scaled as they become floats
    internal = False  # whether it is no layer of a user's, but a part of one
    new_value = True  # whether memory is counted for its output; False where that is another's, and often large
    reshapes = False  # whether its output is its input in another shape, number by number
    # Whether a way around other layers starts here; goes on with layers of its own, behind those others; ends here.
    opens_skip = opens_shortcut = closes_skip = False

    def leaves(self, key):
        """The layers with an op of their own that it is made of, as pairs (key, layer); most are one."""
        return [(key, self)]

    def output_shape(self, input_shape):
        """Shape of one sample after the layer, for one of `input_shape`; raises ValueError if that does not fit."""
        return input_shape

    def parameters(self, input_shape):
        """The `Parameter` arrays of the layer."""
        return []

    def check_ids(self, ids):
        """ValueError unless the integers, an int64 array, are such as the layer takes; of one that `takes_ids`."""

    def start(self, key, weights, states):
        """Set states that depend on the parameters, when these have been drawn; dicts of views, key : of the leaf."""

    def mask(self, X):
        """Which steps of samples X count, a bool array (n, time), or None for all; asked of the first layer."""
        return None

    def widest_row(self, input_shape):
        """Numbers of the longest row that its kernels take from `ZEROS`, beyond those of its input and output."""
        return 0

    def has_pairs(self, input_shape):
        """Whether its products are of bfloat16, for samples of that shape, in a training where the model's are."""
        return False

    def flops(self, input_shape):
        """Floating-point operations of the way forward of one sample: what threads and slices are chosen by."""
        matrices = sum(2 * math.prod(p.shape) for p in self.parameters(input_shape) if len(p.shape) > 1)
        output = self.output_shape(input_shape)
        elementwise = 0 if type(self).emit is Layer.emit else math.prod(output)  # the base's passes its input on
        return sample_rows(output) * matrices + elementwise

    def emit(self, op, builder):
        """Fill in the op, a row of the program with the names of `record`, for the place where it stands (`program.Builder`).

        What is not overridden passes its input on.
        """
        builder.in_place(op)
