"""From layers to numbers: the layout of the flat parameters, and the program table with its workspace."""

from dataclasses import dataclass

import numpy as np

from .gemm import ALIGN, padded
from .inputs import input_op
from .layers.base import BACKWARD, CLAMPS, COLUMNS, D_IN, D_OUT, DERIVE, FORWARD, HYPER, IN, LD_IN, N_IN, ONE, OUT, PRE, ZEROS

PARTS = 8, 64  # parts of the parameters to share among threads, small and large nets; no result may depend on the threads
PART_SIZES = 1024, 8192  # least parameters in a part, and where more than the least number of parts is worth it


def aligned(n, dtype):
    """n zeros, starting on a cache line."""
    raw = np.zeros(n * np.dtype(dtype).itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + n * np.dtype(dtype).itemsize].view(dtype)


def realigned(a):
    """A copy that starts on a cache line."""
    copied = aligned(len(a), a.dtype)
    copied[...] = a
    return copied


@dataclass(frozen=True)
class Entry:
    """A parameter array in the flat buffer: `rows` x `columns` with row stride `stride`, from element `offset` on."""

    key: str
    layer: int
    name: str
    shape: tuple
    offset: int
    rows: int
    stride: int
    initializer: str
    decays: bool

    def view(self, flat):
        columns = self.shape[-1]
        block = flat[self.offset : self.offset + self.rows * self.stride].reshape(self.rows, self.stride)[:, :columns]
        return block.reshape(self.shape) if len(self.shape) == 2 else block[0]


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
    """Where the parameters of the layers stand in the flat buffer.

    Attributes
    ----------
    entries : list of Entry
        In layer order.
    shapes : list of tuple
        Input shape of each layer, then the output shape.
    size : int
        Elements of the flat buffer, padding included.
    """

    def __init__(self, layers, input_shape):
        self.entries, self.shapes, self.size = [], [tuple(input_shape)], 0
        for number, layer in enumerate(layers):
            shape = self.shapes[-1]
            try:
                output = layer.output_shape(shape)
                wanted = layer.parameters(shape)
            except ValueError as error:
                raise ValueError(f"layer {number}, {layer!r}: {error}") from error
            for p in wanted:
                rows, stride = (p.shape[0] if len(p.shape) == 2 else 1), padded(p.shape[-1])
                key = f"{number}.{layer.name}.{p.name}"
                self.entries.append(Entry(key, number, p.name, p.shape, self.size, rows, stride, p.initializer, p.decays))
                # A matrix has whole blocks of 16 rows, for the transposed copy.
                self.size += (-(-rows // ALIGN) * ALIGN if len(p.shape) == 2 else 1) * stride
            self.shapes.append(tuple(output))

    def views(self, flat):
        """Views into `flat` by key, in layer order."""
        return Views((e.key, e.view(flat)) for e in self.entries)

    def fits(self, other):
        """Whether another layout has the same parameters in the same places."""
        return [(e.key, e.shape, e.offset) for e in self.entries] == [(e.key, e.shape, e.offset) for e in other.entries]

    def padding(self):
        """Positions of the flat buffer that belong to no parameter."""
        own = np.zeros(self.size, bool)
        for view in self.views(own).values():
            view[...] = True
        return np.flatnonzero(~own)

    def parts(self):
        """(parts, 7) int64 for the engine: op, first unit, units, first parameter, parameters, whether they decay, array.

        Op 0 is the input, so layer i is op i + 1. Each row of a matrix is a unit, each vector is one.
        """
        least = max(PART_SIZES[0], self.size // min(max(self.size // PART_SIZES[1], PARTS[0]), PARTS[1]))
        parts, units = [], {}
        for number, e in enumerate(self.entries):
            unit = units.get(e.layer, 0)
            pieces = -(-e.rows * e.stride // least)
            rows = -(-e.rows // (pieces * ALIGN)) * ALIGN  # a multiple of 16, for the transposed blocks
            for lo in range(0, e.rows, rows):
                n = min(rows, e.rows - lo)
                parts.append((e.layer + 1, unit + lo, n, e.offset + lo * e.stride, n * e.stride, e.decays, number))
            units[e.layer] = unit + e.rows
        return np.array(parts, np.int64).reshape(-1, 7)

    @property
    def n_params(self):
        """Number of parameters, padding not counted."""
        return sum(int(np.prod(e.shape)) for e in self.entries)


def share(costs, n_threads):
    """(n_threads + 1,) int64 bounds that cut consecutive parts into shares of about equal cost."""
    ends = np.concatenate([[0.0], np.cumsum(costs, dtype=float)])
    middles = (ends[1:] + ends[:-1]) / 2
    wanted = ends[-1] * np.arange(n_threads + 1) / n_threads
    bounds = np.searchsorted(middles, wanted).astype(np.int64)
    bounds[0], bounds[-1] = 0, len(costs)
    return bounds


class Place:
    """Where an op stands, while its row is being filled: what it reads, and the workspace it asks for."""

    def __init__(self, program, dtype, rows, training):
        self._program, self.dtype, self.rows, self.training = program, dtype, rows, training
        self.input, self.d_input, self.input_shape, self.sparse = -1, -1, (), False
        self._parameters, self._turn, self.number = {}, 0, 0

    @staticmethod
    def stride(n):
        return padded(n)

    def addresses(self, *kernels):
        return [k.address(self.dtype) for k in kernels]

    def parameter(self, name):
        """Offset of the layer's parameter in `params`."""
        return self._parameters[name]

    def new_block(self, size):
        """Offset of `size` new elements of the workspace."""
        return self._program.reserve(size)

    def take_derivative(self):
        """(kernel, offset, is mask) of the derivative that the layer before wants its gradient multiplied by; no longer its.

        Whoever computes that gradient multiplies while it is in registers; (0, 0, 0) if there is nothing to multiply by.
        """
        before = self._program.table[self.number]
        found = before[DERIVE], before[PRE], before[DERIVE] != 0 and before[CLAMPS]
        before[DERIVE] = 0
        return found

    def new_rows(self, width):
        """Offset of a block of activations, `width` columns with stride padded(width).

        In training every op keeps its own for the way back; in inference two blocks take turns.
        """
        if self.training:
            return self.new_block(self.rows * padded(width))
        self._turn = 1 - self._turn
        return self._program.blocks[self._turn]

    def new_deltas(self, width):
        """Offset of a block of gradients of activations, or -1 in inference."""
        return self.new_block(self.rows * padded(width)) if self.training else -1


class Program:
    """The program table of a network for one float type and number of rows, with its workspace.

    Attributes
    ----------
    table : (ops, COLUMNS) int64
        First the input, then the layers, last the loss.
    work : flat array
        Workspace of one thread, or of all in training.
    """

    def __init__(self, layers, layout, loss, sparse, dtype, rows, training):
        self.rows, self.training = rows, training
        self.dtype = np.dtype(dtype)
        self.table = np.zeros((len(layers) + 2, COLUMNS), np.int64)
        place = Place(self, self.dtype.name, rows, training)
        place.sparse = sparse and layers[0].takes_sparse
        widths = [padded(int(np.prod(shape))) for shape in layout.shapes[place.sparse :]]
        self._size = ZEROS + max(widths)
        if not training:
            self.blocks = [self.reserve(rows * max(widths)) for _ in range(2)]
        place.input_shape = layout.shapes[0]
        input_op(self.table[0], place, sparse)
        for number, layer in enumerate(layers):
            row, place.number = self.table[number + 1], number
            place.input_shape, place.input = layout.shapes[number], self._output(number)
            place.d_input = self._d_output(number) if number else -1
            place._parameters = {e.name: e.offset for e in layout.entries if e.layer == number}
            layer.op(row, place)
            place.sparse = False
        last, n_out = self.table[-1], int(np.prod(layout.shapes[-1]))
        self.hyper = np.ascontiguousarray(loss.hyper(n_out, self.dtype), np.float64)
        last[[N_IN, LD_IN, IN, HYPER]] = n_out, padded(n_out), self._output(len(layers)), self.hyper.ctypes.data
        if training:
            last[BACKWARD], last[D_IN] = loss.kernel.address(self.dtype), self._d_output(len(layers))
        else:
            # Evaluation writes gradients too, into a block that nobody reads.
            last[D_IN] = self.reserve(rows * padded(n_out))
        self._size = padded(self._size)
        self.n_work = self._size
        self.work = None

    def reserve(self, size):
        start = self._size
        self._size += -(-size // ALIGN) * ALIGN
        return start

    def _output(self, op):
        return self.table[op, OUT]

    def _d_output(self, op):
        return self.table[op, D_OUT]

    def workspace(self, n_threads=1):
        """The workspace, with room for that many threads side by side (inference)."""
        if self.work is None or len(self.work) < n_threads * self.n_work:
            self.work = aligned(n_threads * self.n_work, self.dtype)
            for t in range(n_threads):
                self.work[t * self.n_work + ONE] = 1
        return self.work

    def end_with(self, kernel):
        """Inference: what the last op does with the scores, the address of a link or a loss's kernel."""
        self.table[-1, FORWARD] = kernel
