"""Where an op stands, while its row of the program is being filled."""

import numpy as np

from . import rng
from .gemm import ALIGN, padded
from .layers.base import OP, sample_rows
from .layout import aligned


class Builder:
    """Where an op stands, while its row is being filled: what it reads, and the workspace it asks for.

    Attributes
    ----------
    with_gradient : bool
        Whether there is a way back: values are kept for it, and gradients have places.
    training : bool
        Whether layers behave as in training: dropout, statistics of the batch.
    reads : str
        Kind of the source that the op reads itself, "" where it gets rows of floats.
    packed : bool
        Whether the samples stand as (height, width * channels), pixels side by side, for a layer that `takes_packed`.
    has_pairs : bool
        Whether products are of bfloat16 where layers have some, in training.
    """

    def __init__(self, program, dtype, rows, with_gradient, training, seed):
        self._program, self.dtype, self.rows = program, dtype, rows
        self.with_gradient, self.training = with_gradient, training
        self.input, self.d_input, self.input_shape, self.reads, self.packed = -1, -1, (), "", False
        self._parameters, self._turn, self.number, self._seed = {}, 0, 0, seed
        self.kernel_before = -1
        self.sizes = {}  # elements of a sample, of the blocks of values by their offsets
        # Whether the gradient of the output goes with the chunk; of those that do, sizes.
        self.passing, self.slots = False, {}
        self.masked, self.stateful, self.windows, self.checkpoints = False, False, 1, False
        self.open_skips = []  # rows of the ops where ways around other layers start, or go on with layers of their own
        # Of each `Columns` that has begun: the op with its samples, offsets of its result and of that one's gradient.
        self.open_columns = []
        self.has_pairs, self.sharing_scratch = False, []  # ops that take turns with scratch, and their elements of a sample

    @property
    def sparse(self):
        """Whether the op reads a CSR matrix of samples itself."""
        return self.reads == "csr"

    @property
    def sample_rows(self):
        """Rows of a sample of the input."""
        return sample_rows(self.input_shape)

    def in_place(self, op):
        """Fill in the sizes; the output, and its gradient, stand where the input and its gradient do."""
        op.n_in = op.n_out = self.input_shape[-1]
        op.ld_in = op.ld_out = padded(self.input_shape[-1])
        op.sample_rows, op.x, op.y, op.dx, op.dy = self.sample_rows, self.input, self.input, self.d_input, self.d_input

    @property
    def loss_rows(self):
        """Rows of a sample, or of a window of its steps, for the loss."""
        return self._program.loss_rows

    @property
    def loss_divisor(self):
        """Rows over which the loss of a sample is a mean; 1 where a mask counts them."""
        program = self._program
        return 1 if program.masked else program.loss_rows * (1 if program.ends_whole else self.windows)

    @property
    def loss_adds_up(self):
        """Whether layers may add terms to the loss: not where there is none, but a gradient that is given."""
        return self._program.adds_up

    @property
    def before(self):
        """The row of the op before."""
        return self._program.table[self.number]

    def constants(self, *values):
        """Address of these numbers as float64, kept as long as the program."""
        self._program.kept.append(np.array(values, np.float64))
        return self._program.kept[-1].ctypes.data

    def reals(self, values):
        """Address of these numbers in the network's float type, kept as long as the program; a vector may reach behind."""
        kept = aligned(len(values) + ALIGN, self.dtype)
        kept[: len(values)] = values
        self._program.kept.append(kept)
        return kept.ctypes.data

    def array(self, values):
        """Address of an array as it is, kept as long as the program."""
        self._program.kept.append(values)
        return values.ctypes.data

    def integers(self, table):
        """Address of an int64 array, kept as long as the program."""
        self._program.kept.append(np.ascontiguousarray(table, np.int64))
        return self._program.kept[-1].ctypes.data

    def new_cells(self, rows, columns):
        """`new_table` for the cells of a recurrent layer, which are found again by the op's number."""
        cells = self._program.cells[self.number + 1] = self.new_table(rows, columns)
        return cells

    def new_table(self, rows, columns):
        """An int64 array of zeros, kept as long as the program."""
        self._program.kept.append(np.zeros((rows, columns), np.int64))
        return self._program.kept[-1]

    def key(self, *path):
        """Key of this op's random numbers, or of one of several kinds of them."""
        return rng.key(self._seed, self.number, *path)

    @property
    def samples(self):
        """Samples that an op before `whole` gets at once, at the most."""
        return self.rows if self.with_gradient else self._program.chunk

    @staticmethod
    def stride(n):
        return padded(n)

    def addresses(self, *kernels):
        return [k.address(self.dtype) for k in kernels]

    def divides(self):
        """Let the op before know that this one divides by the norm of its kernel; offset of that in `params`."""
        OP.on(self.before).spectral = self.number + 1
        return self.kernel_before

    def parameter(self, name):
        """Offset of the layer's parameter in `params`."""
        return self._parameters[name].offset

    def in_one_row(self, name):
        """Whether all of a layer's parameter, a matrix or more, stands in one row of `params`."""
        entry = self._parameters[name]
        return entry.parameter.last_axes == len(entry.shape) > 1

    def new_block(self, size):
        """Offset of `size` new elements of the workspace."""
        return self._program.reserve(size)

    def new_shared(self, size):
        """Address of `size` new elements that all threads share, whatever workspace they have."""
        self._program.kept.append(aligned(size, self.dtype))
        return self._program.kept[-1].ctypes.data

    def new_scratch(self, op, size):
        """Give the op scratch of `size` elements, 0 at first, for each thread."""
        op.scratch, op.scratch_size = self.new_block(self._program.slots * size), size

    def new_pairs(self, ld):
        """Offset of new words of pairs of rows, `ld` of them for two rows of the input."""
        rows = self.rows * self.sample_rows
        return self.new_block((rows + rows % 2) // 2 * ld)

    def share_scratch(self, op, size):
        """Give the op `size` elements of scratch for each sample, in a block that all who ask for one use in turn."""
        self.sharing_scratch.append((op, size))

    def place_scratch(self):
        """Make that block, once all layers have filled in their ops."""
        size = max((size for _, size in self.sharing_scratch), default=0)
        start = self.new_block(self.rows * size)
        for op, _ in self.sharing_scratch:
            op.scratch, op.scratch_sample = start, size

    def take_mask(self):
        """Offset of the rows where the layer before wants its gradient to be 0 where they are; no longer its. -1: nothing.

        For layers whose gradient is 0 there once it is 0 for their own output, which these then are.
        """
        return self.take_derivative()[1] if self._producer().clamps and self._producer().derivative else -1

    def take_derivative(self):
        """(kernel, offset, is mask) of the derivative that the layer before wants its gradient multiplied by; no longer its.

        Whoever computes that gradient multiplies while it is in registers; (0, 0, 0) if there is nothing to multiply by.
        """
        before = self._producer()
        if before.by_rows:
            return 0, 0, 0
        found = before.derivative, before.saved, before.derivative != 0 and before.clamps
        before.derivative = 0
        return found

    def _producer(self):
        """The op that has made the input."""
        number = self.number
        while number and not self._program.table[number, [OP.forward, OP.backward]].any():
            number -= 1  # what passes its input on does not stand between
        return OP.on(self._program.table[number])

    def new_rows(self, width, rows=None):
        """Offset of a block of activations, `width` columns with stride padded(width), and `rows` of them for each sample.

        As many as the input has by default. In training every op keeps its own for the way back; in inference two blocks
        take turns.
        """
        if self.with_gradient:
            return self._new_value(width, rows)
        self._turn = 1 - self._turn
        return self._program.blocks[self._turn]

    def _new_value(self, width, rows):
        """Offset of a new block of values; how long it is for a sample is looked at once the layer has filled in its op."""
        size = (rows or self.sample_rows) * padded(width)
        start = self.new_block(self.rows * size)
        self.sizes[start] = size
        return start

    def new_deltas(self, width, rows=None):
        """Offset of a block of gradients of activations, or -1 in inference."""
        if not self.with_gradient:
            return -1
        if not self.passing:
            return self._new_value(width, rows)
        size = (rows or self.sample_rows) * padded(width)
        slot = self._program.chunk * size
        start = self.new_block(self._program.slots * slot)
        self.sizes[start], self.slots[start] = size, (slot, size)
        return start
