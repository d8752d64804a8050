"""Columns of a table through layers of their own, side by side again: numbers, encodings of them, categories."""

import numpy as np

from .._simd import copy, integers_at, offset, real
from ..gemm import padded
from ..specs import check_count
from .base import OP, ZEROS, Layer, fields, op_kernel, shape_behind

# Address of the numbers of the columns; rows of the table's gradient: stride, and whether they are to be set to 0 first.
TAKE = fields("columns", "ld_table", "clears")
# First column of the result that is written; columns behind the last one that are set to 0.
PUT = fields("first", "rest")


class Columns(Layer):
    """Groups of columns through layers of their own, the results side by side: y = [f_1(x[c_1]), f_2(x[c_2]), ...].

    Parameters
    ----------
    groups : list of tuple (columns, layers)
        Of each group the numbers of its columns, in any order (the same one may be in several groups), and the list of
        layers that they go through, which may be empty. Samples and what the layers make of them are vectors.

    Raises
    ------
    ValueError
        If a group is no such pair; when the model is built, if a sample has too few features or a group's layers do not fit.

    Notes
    -----
    Weights of the layer number i, counted through all groups, are called "<number>.columns.<i>.<name>.<weight>". Columns that
    are in no group are left out. Beside the layers' own work a sample costs two copies of the columns and of the result.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> table = layers.Columns([((0, 1), [layers.Scale()]), ((2,), [layers.CategoryEmbedding((5,), 3)])])
    >>> Model([table, layers.Dense(4)]).build(3).layout.shapes[-2]
    (5,)

    References
    ----------
    Guo, C. & Berkhahn, F. (2016). Entity embeddings of categorical variables. arXiv:1604.06737.
    """

    name = "columns"

    def __init__(self, groups):
        if not isinstance(groups, (list, tuple)) or not groups:
            raise ValueError(f"groups must be a list of at least one pair (columns, layers), got {groups!r}")
        self.groups = tuple(_checked(group) for group in groups)

    @property
    def layers(self):
        """The layers of all groups, one after the other."""
        return tuple(layer for _, layers in self.groups for layer in layers)

    @property
    def _least(self):
        """Features that a sample must have."""
        return max(max(columns) for columns, _ in self.groups) + 1

    @property
    def width(self):
        """Numbers of the result."""
        return sum(self._widths())

    def _widths(self):
        """Numbers of what each group makes of a sample."""
        return [_behind((len(columns),), layers)[0] for columns, layers in self.groups]

    def output_shape(self, input_shape):
        Open(self._least).output_shape(input_shape)
        return (self.width,)

    def leaves(self, key):
        widths, number = self._widths(), 0
        found = [(f"{key}.open", Open(self._least))]
        for i, (columns, layers) in enumerate(self.groups):
            last = i + 1 == len(self.groups)
            found.append((f"{key}.take{i}", Take(columns, last)))
            for layer in layers:
                found += layer.leaves(f"{key}.{number}.{layer.name}")
                number += 1
            found.append((f"{key}.put{i}", Put(sum(widths[:i]), sum(widths), last)))
        return found


def _checked(group):
    """(columns, layers) of a group, both tuples."""
    if not isinstance(group, (list, tuple)) or len(group) != 2:
        raise ValueError(f"a group must be a pair (columns, layers), got {group!r}")
    columns, layers = group
    if isinstance(columns, (str, bytes)) or not hasattr(columns, "__iter__"):
        raise ValueError(f"columns must be a sequence of numbers of columns, got {columns!r}")
    columns = tuple(check_count("a column", column, 0) for column in columns)
    if not columns:
        raise ValueError("a group must have at least one column")
    if not isinstance(layers, (list, tuple)) or not all(isinstance(layer, Layer) for layer in layers):
        raise ValueError(f"layers of a group must be a list of fastdnn layers, got {layers!r}")
    wrong = [
        layer for layer in layers for _, leaf in layer.leaves("") if leaf.takes_ids or leaf.needs_batch or leaf.recurrent
    ]
    if wrong:
        raise ValueError(f"a group's layers work on rows of floats by themselves, which {wrong[0]!r} does not")
    return columns, tuple(layers)


def _behind(shape, layers):
    """Shape of a sample behind layers; ValueError unless it is a vector's."""
    for layer in layers:
        shape = shape_behind(layer, shape)
    if len(shape) != 1:
        raise ValueError(f"the layers of a group must give vectors, not samples of shape {shape}: end them with Flatten()")
    return shape


class Open(Layer):
    """Where the ways part: the samples stay where they are, for all groups."""

    name, record = "open", OP
    internal, new_value = True, False

    def __init__(self, least):
        self.least = least

    def output_shape(self, input_shape):
        if len(input_shape) != 1 or input_shape[0] < self.least:
            raise ValueError(f"samples must be vectors of at least {self.least} features, got shape {tuple(input_shape)}")
        return input_shape

    def emit(self, op, builder):
        builder.in_place(op)
        if not builder.with_gradient:  # the layers of the groups work on the two blocks in turns
            op.y, op.forward = builder.new_block(builder.rows * op.ld_out), open_forward.address(builder.dtype)
        builder.open_columns.append([op, -1, -1])


class Take(Layer):
    """Where a group begins: its columns."""

    name, record = "take", TAKE
    internal = True

    def __init__(self, columns, last):
        self.columns, self.last = columns, last

    def output_shape(self, input_shape):
        return (len(self.columns),)

    def emit(self, op, builder):
        table = builder.open_columns[-1][0]
        op.n_in, op.ld_in, op.ld_table, op.x, op.dx = table.n_out, table.ld_out, table.ld_out, table.y, table.dy
        op.n_out, op.ld_out, op.sample_rows = len(self.columns), padded(len(self.columns)), 1
        op.columns, op.clears = builder.integers(np.array(self.columns)), self.last
        op.forward, op.y, op.dy = take_forward.address(builder.dtype), builder.new_rows(op.n_out), -1
        if builder.with_gradient and op.dx >= 0:
            op.backward, op.dy = take_backward.address(builder.dtype), builder.new_deltas(op.n_out)


class Put(Layer):
    """Where a group ends: its part of the result."""

    name, record = "put", PUT
    internal = True

    def __init__(self, first, total, last):
        self.first, self.total, self.last = first, total, last
        self.new_value = last  # all groups write to one

    def output_shape(self, input_shape):
        return (self.total,)

    def emit(self, op, builder):
        opened = builder.open_columns[-1]
        if self.first == 0 and opened[1] < 0:
            inference = not builder.with_gradient
            opened[1] = builder.new_block(builder.rows * padded(self.total)) if inference else builder.new_rows(self.total, 1)
            opened[2] = builder.new_deltas(self.total, 1)
        op.n_in, op.ld_in = builder.input_shape[-1], padded(builder.input_shape[-1])
        op.n_out, op.ld_out, op.sample_rows = self.total, padded(self.total), 1
        op.x, op.dx, op.y, op.dy = builder.input, builder.d_input, opened[1], opened[2]
        op.first, op.rest, op.forward = (
            self.first,
            op.ld_out - self.total if self.last else 0,
            put_forward.address(builder.dtype),
        )
        if builder.with_gradient and op.dx >= 0:
            op.backward = put_backward.address(builder.dtype)
        if self.last:
            builder.open_columns.pop()


@op_kernel(OP)
def open_forward(op, data, params, grads, work, start, lo, n):
    """Keeps rows lo..lo+n of X for all groups, in inference."""
    ld = op.ld_out
    copy(offset(work, op.x + lo * ld), offset(work, op.y + lo * ld), n * ld)


@op_kernel(TAKE)
def take_forward(op, data, params, grads, work, start, lo, n):
    """Y = the group's columns of X for rows lo..lo+n; writes its own rows of Y. 8 bytes a column."""
    columns, zero = integers_at(op.columns, 0), real(work, 0.0)
    for i in range(lo, lo + n):
        x, y = offset(work, op.x + i * op.ld_in), offset(work, op.y + i * op.ld_out)
        for j in range(op.n_out):
            y[j] = x[columns[j]]
        for j in range(op.n_out, op.ld_out):
            y[j] = zero


@op_kernel(TAKE)
def take_backward(op, data, params, grads, work, start, lo, n):
    """dX[:, columns] += dY for rows lo..lo+n; the group that comes first on the way back sets its rows to 0 before."""
    columns = integers_at(op.columns, 0)
    for i in range(lo, lo + n):
        dx, dy = offset(work, op.dx + i * op.ld_table), offset(work, op.dy + i * op.ld_out)
        if op.clears:
            copy(offset(work, ZEROS), dx, op.ld_table)
        for j in range(op.n_out):
            dx[columns[j]] += dy[j]


@op_kernel(PUT)
def put_forward(op, data, params, grads, work, start, lo, n):
    """Y[:, first:first+n_in] = X for rows lo..lo+n; the last group sets the padding to 0."""
    for i in range(lo, lo + n):
        y = offset(work, op.y + i * op.ld_out)
        copy(offset(work, op.x + i * op.ld_in), offset(y, op.first), op.n_in)
        copy(offset(work, ZEROS), offset(y, op.n_out), op.rest)


@op_kernel(PUT)
def put_backward(op, data, params, grads, work, start, lo, n):
    """dX = dY[:, first:first+n_in] for rows lo..lo+n; writes its own rows of dX, padding included."""
    for i in range(lo, lo + n):
        dx = offset(work, op.dx + i * op.ld_in)
        copy(offset(work, op.dy + i * op.ld_out + op.first), dx, op.n_in)
        copy(offset(work, ZEROS), offset(dx, op.n_in), op.ld_in - op.n_in)
