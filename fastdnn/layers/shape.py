"""Layers that change shapes or the way that numbers take: nothing is computed but sums."""

import math

from .._jit import inner
from .._rows import add_whole, move
from .._simd import copy, offset
from ..gemm import padded
from ..specs import check_count
from .base import Layer, fields, op_kernel, sample_rows

RESHAPE = fields("rows_in")  # rows of a sample of the input


class Flatten(Layer):
    """A sample of any shape as a vector, in the order of its memory (the last dimension fastest).

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers
    >>> Model([layers.Flatten()]).build((2, 3)).forward(np.zeros((5, 2, 3))).shape
    (5, 6)

    References
    ----------
    Keras's layer of the same name.
    """

    name, record = "flatten", RESHAPE
    reshapes = True

    def output_shape(self, input_shape):
        return (math.prod(input_shape),)

    def emit(self, op, builder):
        reshape_op(op, builder, self.output_shape(builder.input_shape))


class Reshape(Layer):
    """A sample in another shape with as many numbers, in the order of its memory.

    Parameters
    ----------
    shape : tuple of int
        One of them may be -1: whatever is left.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model, layers
    >>> Model([layers.Reshape((2, -1)), layers.Flatten()]).build(6).layout.shapes
    [(6,), (2, 3), (6,)]

    References
    ----------
    Keras's layer of the same name.
    """

    name, record = "reshape", RESHAPE
    reshapes = True

    def __init__(self, shape):
        shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if not shape or shape.count(-1) > 1:
            raise ValueError(f"shape must be integers, at most one of them -1, got {shape!r}")
        self.shape = tuple(-1 if n == -1 else check_count("shape", n) for n in shape)

    def output_shape(self, input_shape):
        size, known = math.prod(input_shape), math.prod(n for n in self.shape if n != -1)
        if size % known if -1 in self.shape else size != known:
            raise ValueError(f"{size} numbers of shape {tuple(input_shape)} do not fit the shape {self.shape}")
        return tuple(size // known if n == -1 else n for n in self.shape)

    def emit(self, op, builder):
        reshape_op(op, builder, self.output_shape(builder.input_shape))


def reshape_op(op, builder, shape):
    """Fill in the op of a layer whose output is its input in another shape: nothing to do where rows have no padding."""
    builder.in_place(op)
    rows, width = sample_rows(shape), shape[-1]
    strides = op.ld_in, padded(width)
    op.n_out, op.ld_out = width, strides[1]
    if (builder.sample_rows, op.n_in) == (rows, width):
        return
    op.sample_rows = 1  # whole samples
    if strides == (op.n_in, width):
        return
    op.y, op.dy = builder.new_rows(width, rows), builder.new_deltas(width, rows)
    op.rows_in = builder.sample_rows
    op.forward, op.backward = builder.addresses(reshape_forward, reshape_backward)


@inner
def copy_sample(source, source_width, source_stride, target, target_width, target_stride, size):
    """The `size` numbers of a sample from rows of one width into rows of another."""
    done = 0
    while done < size:
        i, j = done // source_width, done // target_width
        a, b = done - i * source_width, done - j * target_width
        n = min(source_width - a, target_width - b)
        copy(offset(source, i * source_stride + a), offset(target, j * target_stride + b), n)
        done += n


@op_kernel(RESHAPE)
def reshape_forward(op, data, params, grads, work, start, lo, n):
    """Samples lo..lo+n from rows_in rows of n_in numbers each into rows of n_out; writes those samples."""
    size = op.rows_in * op.n_in
    rows = size // op.n_out
    for i in range(lo, lo + n):
        source, target = offset(work, op.x + i * op.rows_in * op.ld_in), offset(work, op.y + i * rows * op.ld_out)
        copy_sample(source, op.n_in, op.ld_in, target, op.n_out, op.ld_out, size)


@op_kernel(RESHAPE)
def reshape_backward(op, data, params, grads, work, start, lo, n):
    """The gradients of samples lo..lo+n back into the shape of the input; writes those samples."""
    size = op.rows_in * op.n_in
    rows = size // op.n_out
    if op.dx >= 0:
        for i in range(lo, lo + n):
            source = offset(work, op.dy + i * rows * op.ld_out)
            target = offset(work, op.dx + i * op.rows_in * op.ld_in)
            copy_sample(source, op.n_out, op.ld_out, target, op.n_in, op.ld_in, size)


SKIP = fields("other")  # offset: of the split what the join is to add, or its gradient; of the join what comes from the split


class Residual(Layer):
    """y = x + f(x), f being layers one after the other whose output has the shape of their input.

    Parameters
    ----------
    layers : list of Layer
        At least one.

    Notes
    -----
    Weights of the layer number i inside are called "<number>.residual.<i>.<name>.<weight>".

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> block = layers.Residual([layers.Dense(8, activation="relu"), layers.Dense(4)])
    >>> list(Model([block]).build(4).weights)[:2]
    ['0.residual.0.dense.kernel', '0.residual.0.dense.bias']

    References
    ----------
    He, K. et al. (2016). Deep residual learning for image recognition. arXiv:1512.03385.
    """

    name = "residual"

    def __init__(self, layers):
        if not isinstance(layers, (list, tuple)) or not layers or not all(isinstance(layer, Layer) for layer in layers):
            raise ValueError(f"layers must be a list of at least one fastdnn layer, got {layers!r}")
        self.layers = tuple(layers)

    def leaves(self, key):
        inside = [leaf for i, layer in enumerate(self.layers) for leaf in layer.leaves(f"{key}.{i}.{layer.name}")]
        return [(f"{key}.split", Split()), *inside, (f"{key}.join", Join())]

    def __repr__(self):
        return f"Residual([{', '.join(map(repr, self.layers))}])"


class Split(Layer):
    """Where the two ways of a `Residual` part."""

    name, record = "split", SKIP
    internal = True
    opens_skip = True

    def emit(self, op, builder):
        builder.in_place(op)
        if builder.with_gradient:
            op.backward = split_backward.address(builder.dtype)
        else:  # the layers inside work on the two blocks in turns
            op.forward = split_forward.address(builder.dtype)
            op.other = builder.new_block(builder.rows * builder.sample_rows * op.ld_out)
        builder.open_skips.append(op)


class Join(Layer):
    """Where they meet again: the sum."""

    name, record = "join", SKIP
    internal = True
    closes_skip = True

    def emit(self, op, builder):
        split = builder.open_skips.pop()
        builder.in_place(op)
        op.forward = join_forward.address(builder.dtype)
        if builder.with_gradient:
            op.other, op.y, op.dy = split.y, builder.new_rows(op.n_out), builder.new_deltas(op.n_out)
            op.backward, split.other = join_backward.address(builder.dtype), op.dy
        else:
            op.other = split.other


@op_kernel(SKIP)
def split_forward(op, data, params, grads, work, start, lo, n):
    """Keeps rows lo..lo+n of X for the join, in inference."""
    ld = op.ld_out
    move(offset(work, op.x + lo * ld), offset(work, op.other + lo * ld), n * ld)


@op_kernel(SKIP)
def split_backward(op, data, params, grads, work, start, lo, n):
    """dX += gradient of the join's output for rows lo..lo+n, in place on what the way through the layers has given."""
    ld = op.ld_out
    if op.dy >= 0:
        dx = offset(work, op.dy + lo * ld)
        add_whole(dx, offset(work, op.other + lo * ld), dx, n * ld)


@op_kernel(SKIP)
def join_forward(op, data, params, grads, work, start, lo, n):
    """Y = X + what came to the split, for rows lo..lo+n; writes its own rows of Y."""
    ld = op.ld_out
    add_whole(offset(work, op.x + lo * ld), offset(work, op.other + lo * ld), offset(work, op.y + lo * ld), n * ld)


@op_kernel(SKIP)
def join_backward(op, data, params, grads, work, start, lo, n):
    """dX = dY for rows lo..lo+n: a copy, because the layers inside work in place on theirs and the split needs dY."""
    ld = op.ld_out
    if op.dx >= 0:
        move(offset(work, op.dy + lo * ld), offset(work, op.dx + lo * ld), n * ld)
