"""From layers to numbers: the program table of a network, and its workspace."""

import math
from itertools import pairwise

import numpy as np

from .builder import Builder
from .gather import INPUT, NARROW, input_op
from .gather_mixed import mix_op
from .gemm import ALIGN, padded
from .layers.base import ONE, OP, ZEROS, sample_rows
from .layout import aligned
from .losses.base import LOSS, leave_out_masked


def share(costs, n_threads):
    """(n_threads + 1,) int64 bounds that cut consecutive parts into shares of about equal cost."""
    ends = np.concatenate([[0.0], np.cumsum(costs, dtype=float)])
    middles = (ends[1:] + ends[:-1]) / 2
    wanted = ends[-1] * np.arange(n_threads + 1) / n_threads
    bounds = np.searchsorted(middles, wanted).astype(np.int64)
    bounds[0], bounds[-1] = 0, len(costs)
    return bounds


def value_size(shape):
    """Elements of a sample of that shape in the workspace."""
    return sample_rows(shape) * padded(shape[-1])


def done_by_gather(leaves, kind, input_gradient=False):
    """(number of first layers that the gather does, (scale, offset)): samples come in the shape and range these give."""
    first, affine = 0, None
    while kind not in ("csr", "ids") and first < len(leaves):
        layer = leaves[first][1]
        scales = layer.affine if kind in NARROW and affine is None and not input_gradient else None
        if not layer.reshapes and scales is None:
            break
        first, affine = first + 1, scales or affine
    return first, affine or (1.0, 0.0)


class Program:
    """The program table of a network for one float type and number of rows, with its workspace.

    Parameters
    ----------
    layout : Layout
        Of the network.
    loss : Loss
        Of the network.
    kind : str
        Of the source of the samples, see `Source.kind`.
    dtype : numpy.dtype
        Float type.
    rows : int
        Most rows at once.
    kernel : Kernel or None
        The loss's, where gradients are wanted; otherwise the program only goes forward.
    training : bool
        Whether layers behave as in training.
    seed : int
        Of the random numbers that layers draw.
    input_gradient : bool
        Whether the way back ends with the gradient of the samples, written to data.dx.
    slots : int
        Threads that work in one workspace at once, each with scratch of its own.
    chunk : int or None
        Inference: samples that the ops before `whole` take at once, always in the same rows of the workspace; None: rows.
    mixes : bool
        Whether samples are mixed with others as they are gathered, see `gather_mixed`.
    masked : bool
        Whether there is a mask of the steps of sequences, see `DATA`.
    stateful : bool
        Inference: whether recurrent layers go on from the states that the call before has left.
    windows : int
        Training: in how many windows of `layout`'s steps sequences come.
    checkpoints : bool
        Whether gradients go through all windows, see `truncation`.
    precision : str
        Of the products of a training: "bfloat16" where that is the model's.

    Attributes
    ----------
    loss_rows : int
        Rows of a sample for the loss.
    table : (ops, OP.size) int64
        First the input, then the layers, last the loss.
    segments : (k, 6) int64
        What is done with all rows before the sync kernel at its end: ops [0, 1) forward, ops [2] down to [3] back, then
        the kernel in column [5] of op [4], or none.
    whole : int
        `Layout.first_whole`; in inference the number of ops, if only the last is behind it.
    boundary : tuple (from, to, size)
        Inference: where in `work` a sample's input of the op `whole` stands when it is made and where it is taken from; the
        elements of a sample.
    unit : int
        `Layout.unit_of` the precision.
    masked : bool
        Whether a mask reaches the loss.
    sample_shape : tuple
        Of a sample as it is gathered: behind the first layers that only reshape or rescale it.
    cells : dict
        Tables of the cells of recurrent layers, by the numbers of their ops.
    work : flat array
        Workspace of one thread, or of all in training.
    """

    def __init__(
        self, layout, loss, kind, dtype, rows, kernel=None, training=False, seed=0, input_gradient=False, slots=1, chunk=None,
        mixes=False, masked=False, stateful=False, windows=1,
        checkpoints=False, precision="",
    ):  # fmt: skip
        self.rows, self.with_gradient, self.slots = rows, kernel is not None, slots
        self.dtype, self.kept, self.cells = np.dtype(dtype), [], {}
        self.table = np.zeros((len(layout.leaves) + 2, OP.size), np.int64)
        builder = Builder(self, self.dtype.name, rows, self.with_gradient, training, seed)
        builder.masked, builder.stateful, builder.windows, builder.checkpoints = masked, stateful, windows, checkpoints
        builder.has_pairs = self.with_gradient and precision == "bfloat16"
        self.windows, self.ends_whole = windows, not layout.gives_steps
        leaves, shapes = layout.leaves, layout.shapes
        reads = {"csr": leaves[0][1].takes_sparse, "ids": leaves[0][1].takes_ids}
        builder.reads = kind if reads.get(kind) else ""
        self.table[:, OP.sample_rows] = 1
        first, affine = done_by_gather(leaves, kind, input_gradient)
        folded = [layer.reshapes and following.reshapes for (_, layer), (_, following) in pairwise(leaves)] + [False]
        folded[:first] = [True] * first
        shape = shapes[first]
        # Not where the gradient of the samples is wanted: narrow products, 2.4 times as fast there, want their pixels padded.
        packs = not (builder.reads or input_gradient) and first < len(leaves) and leaves[first][1].takes_packed
        packed = packs and shape[-1] % ALIGN != 0 and not (builder.has_pairs and leaves[first][1].has_pairs(shape))
        gathered = (math.prod(shape[:-2]), shape[-2] * shape[-1]) if packed else shape
        wide = shapes[first + 1 :] if builder.reads else [gathered, *shapes[first + 1 :]]
        zeros = max(layer.widest_row(shape) for (_, layer), shape in zip(leaves, shapes, strict=False))
        self._size = self.head = ZEROS + max(padded(zeros), *(padded(s[-1]) for s in wide))
        self.whole, self.unit = layout.first_whole, layout.unit_of(precision)
        self.boundary, self.chunk, self._late_blocks = (0, 0, 0), chunk or rows, []
        if not self.with_gradient:
            self._reserve_blocks(wide, shapes, len(leaves))
        builder.input_shape, self.sample_shape = gathered, shape
        input_op(INPUT.on(self.table[0]), builder, kind, input_gradient, affine)
        if mixes:
            mix_op(INPUT.on(self.table[0]), builder, shape, packed)
        self.loss_rows, self.adds_up = sample_rows(shapes[-1]), loss.adds_up
        self.masked = bool(masked and layout.gives_steps)  # whether a mask reaches the loss
        self._emit(layout, builder, folded, first, packed, input_gradient)
        builder.place_scratch()
        self._kept_out = self.table[:, OP.kept_out].copy()  # as layers have it: `late` may be called again
        if self.table[:, [OP.sync_forward, OP.sync_backward]].any() and not any(layer.needs_batch for _, layer in leaves):
            raise ValueError("a layer has a kernel that needs all rows of a batch: its class says needs_batch = True")
        builder.input_shape = shapes[-1]
        self._end(LOSS.on(self.table[-1]), builder, loss, kernel)
        self.segments = self._cut()
        self.n_work, self.work = padded(self._size), None

    def _emit(self, layout, builder, folded, first, packed, wanted):
        """Let each layer fill in its op.

        folded : of each layer, whether its op is left to another     first : the one behind those that the gather does
        packed : whether that gets packed pixels     wanted : whether somebody wants the gradient of its input
        """
        shapes, shape, masked = layout.shapes, self.sample_shape, builder.masked
        for number, (_, layer) in enumerate(layout.leaves):
            op, builder.number = layer.record.on(self.table[number + 1]), number
            builder.input_shape, builder.input = shape, int(self.table[number, OP.y])
            builder.packed = packed and number == first
            builder.passing = self._passes(layout, number, first)
            if not self.with_gradient and number + 1 == self.whole:
                *self.blocks, taken = self._late_blocks
                self.boundary, builder.input = (builder.input, taken, value_size(shape)), taken
            builder.d_input = int(self.table[number, OP.dy]) if wanted else -1
            wanted = wanted or layout.is_trained(number)
            builder.masked = masked and layout.has_steps[number]
            if folded[number]:  # of several reshapes one after the other the last one does it all
                builder.in_place(op)
                continue
            builder.kernel_before = builder.parameter("kernel") if "kernel" in builder._parameters else -1
            builder._parameters = {e.name: e for e in (*layout.entries, *layout.states) if e.layer == number}
            layer.emit(op, builder)
            op.gradient *= layout.is_trained(number)
            op.dy_slot, op.dy_sample = builder.slots.get(op.dy, (0, 0))
            op.dx_slot, op.dx_sample = builder.slots.get(op.dx, (0, 0))
            shape = shapes[number + 1]
            self._check_places(layer, op, builder, shape)
            self._refuse_overwriting(layer, number)
            builder.reads = ""
        builder.masked = self.masked

    def _reserve_blocks(self, wide, shapes, n_layers):
        """Inference: two blocks that values take in turns, behind the chunks two more, and one for what is between them."""
        if self.whole > n_layers:
            self.whole = len(self.table)
        late = shapes[self.whole - 1 :] if 0 < self.whole < len(self.table) else []
        early = wide[: len(wide) - len(late) + 1] if late else wide
        rows = self.chunk if self.whole else self.rows
        self.blocks = [self.reserve(rows * max(map(value_size, early))) for _ in range(2)]
        self._late_blocks = [self.reserve(self.rows * max(map(value_size, late))) for _ in range(3 if late else 0)]

    def _passes(self, layout, number, first):
        """Whether the gradient of a layer's output is there for a chunk only: who makes and who takes it stand side by side.

        Values of a batch that must be there at once leave the cache; their gradients need not.
        """

        def takes_chunks(number):
            layer = layout.leaves[number][1]
            return layer.passing_gradients and (layer.takes_windows or sample_rows(layout.shapes[number]) > 1)

        near = self.with_gradient and self.slots > 1 and first <= number and number + 2 < self.whole
        return near and takes_chunks(number) and takes_chunks(number + 1)

    def late(self, capacity):
        """(table, workspace) for the gradients of plain products of a row a sample, from all samples of a batch at once.

        They have many weights: summed in each shard, vgg's dense layers moved 150 MB a step between the cores and memory. The
        rows that they read are kept in a workspace of their own, where this table has them.
        """
        table, size, rows = self.table.copy(), self.head, capacity + capacity % 2
        for number, (row, here) in enumerate(zip(table, self.table, strict=True)):
            op = OP.on(row)
            if op.gradient and (op.touched or (op.plain and number >= self.whole)):
                windows = 1 if self.ends_whole and number >= self.whole else self.windows
                kept = 0 if op.touched else windows * op.ld_in, windows * (self._kept_out[number] or op.ld_out)
                kept = (op.ld_in // 2, op.ld_out // 2) if op.pairs_x else kept  # words of two rows
                op.sample_rows, places = windows, (size, size + rows * kept[0])
                (op.pairs_x, op.pairs_dy) = places if op.pairs_x else (0, 0)
                op.x, op.dy, size = *places, size + rows * sum(kept)
                here[[OP.kept_in, OP.kept_out]] = row[[OP.kept_in, OP.kept_out]] = kept
        work = aligned(size, self.dtype)
        work[ONE] = 1
        return table, work

    def _end(self, op, builder, loss, kernel):
        """Fill in the op of the loss, or of its link."""
        n_out, rows, before = builder.input_shape[-1], self.rows, OP.on(self.table[-2])
        of_outputs = np.zeros(n_out + 64, self.dtype)
        of_outputs[:n_out] = loss.output_constants(n_out)
        self.kept.append(of_outputs)
        op.of_outputs, op.constants = of_outputs.ctypes.data, builder.constants(*loss.hyper(n_out, self.dtype))
        op.n_in, op.ld_in, op.x, op.sample_rows = n_out, padded(n_out), before.y, self.loss_rows
        op.masked = leave_out_masked.address(self.dtype) if builder.masked else 0
        op.by_steps = self.loss_rows > 1 or self.windows > 1
        if self.with_gradient:
            op.backward, op.dx = kernel.address(self.dtype), before.dy
        if not self.with_gradient or op.dx < 0:  # evaluation, or nothing to train: gradients go to a block that nobody reads
            op.dx = self.reserve(rows * value_size(builder.input_shape))

    @staticmethod
    def _check_places(layer, op, builder, shape):
        """ValueError unless the output of the layer, a sample of that shape, has room where its kernels write it."""
        before = value_size(builder.input_shape)
        if op.forward and op.y == op.x and value_size(shape) != before and not builder.reads:
            raise ValueError(
                f"{layer!r} makes samples of shape {shape} of those of shape {builder.input_shape}: they need a place of "
                "their own, op.y = builder.new_rows(width, rows) and op.dy = builder.new_deltas(width, rows)"
            )
        for place in (op.y, op.dy):
            if builder.sizes.get(place, value_size(shape)) < value_size(shape):
                raise ValueError(
                    f"{layer!r} makes samples of shape {shape}, which take {value_size(shape)} elements, and has asked for "
                    f"{builder.sizes[place]}: give new_rows and new_deltas the rows of a sample of the output"
                )

    def _refuse_overwriting(self, layer, number):
        """ValueError if a layer works in place on what the op before has saved for its way back."""
        op, before = OP.on(self.table[number + 1]), OP.on(self.table[number])
        saved = before.saved if before.derivative or before.backward else -1
        if self.with_gradient and op.forward and op.y == op.x == saved:
            raise ValueError(
                f"{layer!r} writes over its input, which the layer before it needs for its gradient: give its output a place "
                "of its own, op.y = builder.new_rows(...)"
            )

    def _cut(self):
        """The `segments`, from the ops that have a sync kernel."""
        segments, ops, forward = [], len(self.table), 0
        for o in np.flatnonzero(self.table[:, OP.sync_forward]):
            segments.append((forward, o + 1, -1, 0, o, OP.sync_forward))
            forward = o + 1
        back = ops - 1
        for o in np.flatnonzero(self.table[:, OP.sync_backward])[::-1]:
            segments.append((forward, ops - 1, back, o, o, OP.sync_backward))
            forward, back = ops - 1, o - 1
        segments.append((forward, ops - 1, back, 0, 0, -1))
        return np.array(segments, np.int64)

    def reserve(self, size):
        start = self._size
        self._size += -(-size // ALIGN) * ALIGN
        return start

    def workspace(self, n_threads=1):
        """The workspace, with room for that many threads side by side (inference)."""
        if self.work is None or len(self.work) < n_threads * self.n_work:
            self.work = aligned(n_threads * self.n_work, self.dtype)
            for t in range(n_threads):
                self.work[t * self.n_work + ONE] = 1
        return self.work

    def end_with(self, kernel):
        """Inference: what the last op does with the scores, the address of a link or a loss's kernel."""
        self.table[-1, OP.forward] = kernel
