"""Layers that go through the steps of a sequence: what they are told, their parameters, and where their numbers stand."""

from ..gemm import ALIGN, gemm, gemm_of_segments, padded
from ..initializers import check_initializer
from ..specs import check_count, check_number
from ..transpose import transpose
from .base import Layer, Parameter
from .noise import SpatialDropout
from .recurrent_backward import recurrent_gradient, recurrent_refresh
from .recurrent_rows import CELL, RECURRENT
from .weighted import keep_rules


class Recurrent(Layer):
    """Base of the recurrent layers; a subclass has the number of `gates` and the kernels of its cell."""

    record = RECURRENT
    takes_windows = recurrent = sees_mask = True
    gates = 1
    apart = False  # whether what the recurrent product gives is kept apart from X W + b, with a bias of its own
    has_c = False  # whether there is a state c beside h
    kernels = None  # (forward, backward)

    def __init__(
        self,
        units,
        return_sequences=False,
        go_backwards=False,
        dropout=0.0,
        recurrent_dropout=0.0,
        truncate=None,
        checkpoint=None,
        use_bias=True,
        initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        l1=0.0,
        l2=0.0,
        learning_rate_factor=1.0,
        max_norm=None,
    ):
        self.units = check_count("units", units)
        self.return_sequences, self.go_backwards = bool(return_sequences), bool(go_backwards)
        self.dropout = check_number("dropout", dropout, "[0, 1)")
        self.recurrent_dropout = check_number("recurrent_dropout", recurrent_dropout, "[0, 1)")
        self.truncate = None if truncate is None else check_count("truncate", truncate)
        self.checkpoint = checkpoint if checkpoint is True or checkpoint is None else check_count("checkpoint", checkpoint)
        if self.truncate and self.checkpoint:
            raise ValueError("truncate and checkpoint exclude each other: gradients either end or go on")
        self.use_bias = bool(use_bias)
        self.initializer = check_initializer(initializer)
        self.recurrent_initializer = check_initializer(recurrent_initializer)
        self.bias_initializer = check_initializer(bias_initializer)
        keep_rules(self, l1, l2, learning_rate_factor, max_norm)

    def leaves(self, key):
        # One mask of the inputs a sequence is what drops whole features.
        return [*([(key, SpatialDropout(self.dropout))] if self.dropout else []), (key, self)]

    def output_shape(self, input_shape):
        check_sequence(input_shape)
        return (input_shape[0], self.units) if self.return_sequences else (self.units,)

    def parameters(self, input_shape):
        return self.cell_parameters(input_shape[-1])

    def cell_parameters(self, n_in, prefix=""):
        """The parameters of one direction."""
        columns, factor = self.gates * self.units, self.learning_rate_factor
        matrix = {"l1": self.l1, "l2": self.l2, "max_norm": self.max_norm, "learning_rate_factor": factor}
        square = (self.recurrent_initializer,) * self.gates
        found = [
            Parameter(f"{prefix}kernel", (n_in, columns), self.initializer, True, **matrix),
            Parameter(f"{prefix}recurrent_kernel", (self.units, columns), square, True, **matrix),
        ]
        names = ["bias", "recurrent_bias"][: 1 + self.apart] if self.use_bias else []
        for name in names:
            found.append(
                Parameter(f"{prefix}{name}", (columns,), self.bias_starts(), decays=False, learning_rate_factor=factor)
            )
        return found

    def bias_starts(self):
        """Initializer of a bias."""
        return self.bias_initializer

    def widest_row(self, input_shape):
        return self.gates * self.units

    def flops(self, input_shape):
        return self.cell_flops(input_shape)

    def cell_flops(self, input_shape):
        """Floating-point operations of one direction forward."""
        return input_shape[0] * self.gates * self.units * (2 * (input_shape[-1] + self.units) + 10)

    def cell_op(self, op, builder):
        """Fill in what of the op is the cell's own."""

    def emit(self, op, builder):
        recurrent_op(op, builder, self, [("", self.go_backwards)])
        op.reversed = self.go_backwards and self.return_sequences


def check_sequence(shape):
    """ValueError unless samples of that shape are sequences."""
    if len(shape) != 2:
        hint = "Embedding makes features of ids; " if len(shape) == 1 else ""
        raise ValueError(
            f"samples must be sequences (time, features), got the shape {tuple(shape)}; {hint}Reshape((time, features)) "
            "gives them that shape"
        )


def recurrent_op(op, builder, layer, directions, merge="concat"):
    """Fill in the op of a recurrent layer; directions : pairs (prefix of its parameters' names, whether backwards)."""
    steps, n_in = builder.input_shape
    samples, train = builder.samples, builder.with_gradient
    columns, units, n_cells = layer.gates * layer.units, layer.units, len(directions)
    n_out = units * n_cells if merge == "concat" else units
    op.forward, op.backward = builder.addresses(*layer.kernels)
    op.gradient = recurrent_gradient.address(builder.dtype)
    op.gemm, op.segments, op.transpose = builder.addresses(gemm, gemm_of_segments, transpose)
    op.sample_rows, op.n_in, op.n_out, op.ld_in, op.ld_out = 1, n_in, n_out, padded(n_in), padded(n_out)
    op.n_cells, op.units, op.gates, op.steps, op.apart = n_cells, units, layer.gates, steps, layer.apart
    op.sequences, op.sums, op.truncate = layer.return_sequences, merge == "sum", layer.truncate or 0
    op.masked, op.stateful, op.windows = builder.masked, builder.stateful, builder.windows > 1
    op.checkpoints, op.start_step = builder.checkpoints, samples * padded(layer.units) * builder.checkpoints
    op.x, op.dx = builder.input, builder.d_input
    rows = steps if layer.return_sequences else 1
    op.y, op.dy = builder.new_rows(n_out, rows), builder.new_deltas(n_out, rows)
    layer.cell_op(op, builder)
    # Rows of ld numbers; those of a sample have room for a vector behind the last gate, and do not lie a power of two apart.
    op.ld_z, op.ld_h = padded(columns), padded(units)
    op.sample_z = steps * op.ld_z + ALIGN
    op.step_u, op.sample_u = (op.ld_z, op.sample_z) if train else (0, op.ld_z + ALIGN)
    op.step_h, op.sample_h = (op.ld_h, steps * op.ld_h) if train else (0, op.ld_h)
    drops = builder.training and layer.recurrent_dropout > 0
    if drops:
        op.constants = builder.constants(layer.recurrent_dropout, 1 / (1 - layer.recurrent_dropout))
    # The states are the output where both are there for each step and nothing has to be kept from either.
    shared = train and n_cells == 1 and layer.return_sequences and not op.masked and not layer.go_backwards
    cells = builder.new_cells(n_cells, CELL.size)
    op.cells = cells.ctypes.data
    for k, (prefix, backwards) in enumerate(directions):
        cell = CELL.on(cells[k])
        cell.backwards, cell.column, cell.key = backwards, k * units if merge == "concat" else 0, builder.key(k)
        cell.first_unit = k * (n_in + units + (1 + layer.apart) * layer.use_bias)
        cell.kernel, cell.recurrent = builder.parameter(f"{prefix}kernel"), builder.parameter(f"{prefix}recurrent_kernel")
        cell.bias = builder.parameter(f"{prefix}bias") if layer.use_bias else -1
        cell.recurrent_bias = builder.parameter(f"{prefix}recurrent_bias") if layer.use_bias and layer.apart else -1
        cell.z = builder.new_block(samples * op.sample_z)
        cell.u = builder.new_block(samples * op.sample_u) if layer.apart else cell.z
        cell.h = op.y if shared else builder.new_block(samples * op.sample_h)
        cell.c = builder.new_block(samples * op.sample_h) if layer.has_c else cell.h
        cell.factors, cell.through = (builder.new_block(samples * op.ld_h) if drops else -1 for _ in range(2))
        cell.read = builder.new_block(samples * op.sample_h) if drops else cell.h
        if op.windows:
            starts = samples * op.ld_h * (builder.windows if op.checkpoints else 1)
            cell.h_start, cell.c_start = (builder.new_block(starts) for _ in range(2))
        if train:
            cell.dh, cell.dc = (builder.new_block(samples * op.ld_h) for _ in range(2))
            cell.recurrent_t = builder.new_shared(op.ld_z * op.ld_h)
            if op.dx >= 0:
                cell.kernel_t = builder.new_shared(op.ld_z * op.ld_in)
    if train:
        op.saved = op.y
        op.refresh = recurrent_refresh.address(builder.dtype)
        if op.dx >= 0:
            derive, op.saved_before, op.clamps_before = builder.take_derivative()
            op.derivative_before = 0 if op.clamps_before else derive
