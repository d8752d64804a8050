"""Layers that change shapes or the way that numbers take: nothing is computed but sums."""

import math

from .._jit import inner
from .._rows import add_whole, move
from .._simd import copy, offset
from ..gemm import padded
from ..specs import check_count
from .base import Layer, fields, op_kernel, sample_rows, shape_behind

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


# Offsets: of what the join adds to what comes to it, and of the gradient that comes back around: to a split from its
# shortcut, or from the join where there is none; to a shortcut from the join.
SKIP = fields("around", "d_around")


class Residual(Layer):
    """y = x + f(x), or g(x) + f(x): layers one after the other, and a way around them.

    Parameters
    ----------
    layers : list of Layer
        What f is, at least one. Without a shortcut their output has the shape of their input.
    shortcut : list of Layer or None, default=None
        What g is, at least one, where x itself is not added: a projection to another shape, say. Their output has the shape
        of that of `layers`.

    Raises
    ------
    ValueError
        If either is no such list; when the model is built, if the two shapes that are added differ.

    Notes
    -----
    Weights of the layer number i inside are called "<number>.residual.<i>.<name>.<weight>", those of the shortcut's
    "<number>.residual.shortcut.<i>.<name>.<weight>". Layers that must be the first ones (`Embedding`, `Masking`) can be in
    neither.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> block = layers.Residual([layers.Dense(8, activation="relu"), layers.Dense(4)])
    >>> list(Model([block]).build(4).weights)[:2]
    ['0.residual.0.dense.kernel', '0.residual.0.dense.bias']

    The block of a ResNet that halves height and width, its activation behind the sum:

    >>> inside = [layers.Conv2D(16, 3, 2, padding=1, use_bias=False), layers.BatchNorm(activation="relu")]
    >>> inside += [layers.Conv2D(16, 3, padding=1, use_bias=False), layers.BatchNorm()]
    >>> projection = [layers.Conv2D(16, 1, 2, use_bias=False), layers.BatchNorm()]
    >>> block = [layers.Residual(inside, shortcut=projection), layers.Activation("relu")]
    >>> Model(block).build((32, 32, 8)).layout.shapes[-1]
    (16, 16, 16)

    References
    ----------
    He, K. et al. (2016). Deep residual learning for image recognition. arXiv:1512.03385.
    """

    name = "residual"

    def __init__(self, layers, shortcut=None):
        self.layers = _some_layers("layers", layers)
        self.shortcut = None if shortcut is None else _some_layers("shortcut", shortcut)

    def leaves(self, key):
        found = [(f"{key}.split", Split()), *_leaves_of(self.layers, key)]
        if self.shortcut is not None:
            found += [(f"{key}.shortcut", Shortcut()), *_leaves_of(self.shortcut, f"{key}.shortcut")]
        return [*found, (f"{key}.join", Join())]

    def output_shape(self, input_shape):
        return shape_behind(self, input_shape)

    def __repr__(self):
        inside = f"[{', '.join(map(repr, self.layers))}]"
        return f"Residual({inside})" if self.shortcut is None else f"Residual({inside}, shortcut={list(self.shortcut)!r})"


def _some_layers(name, given):
    """A list of layers as a tuple, checked."""
    if not isinstance(given, (list, tuple)) or not given or not all(isinstance(layer, Layer) for layer in given):
        raise ValueError(f"{name} must be a list of at least one fastdnn layer, got {given!r}")
    return tuple(given)


def _leaves_of(layers, key):
    return [leaf for i, layer in enumerate(layers) for leaf in layer.leaves(f"{key}.{i}.{layer.name}")]


class Split(Layer):
    """Where the two ways of a `Residual` part."""

    name, record = "split", SKIP
    internal = True
    opens_skip = True

    def emit(self, op, builder):
        builder.in_place(op)
        op.around = op.y
        if builder.with_gradient:
            op.saved = op.y  # no layer may write over what the other way reads
            op.backward = split_backward.address(builder.dtype)
        else:  # the layers inside work on the two blocks in turns
            op.forward = split_forward.address(builder.dtype)
            op.around = builder.new_block(builder.rows * builder.sample_rows * op.ld_out)
        builder.open_skips.append(op)


class Shortcut(Layer):
    """Where one way has ended, and the other begins with what came to the split."""

    name, record = "shortcut", SKIP
    internal = True
    opens_shortcut = True

    def emit(self, op, builder):
        split = builder.open_skips[-1]
        builder.in_place(op)  # the rows that its kernels work on are those of the way that has ended
        op.around, op.y = op.x, split.around
        if builder.with_gradient:
            op.saved = op.y
            op.backward = shortcut_backward.address(builder.dtype)
            op.dy = -1 if split.dy < 0 else builder.new_deltas(split.n_out, split.sample_rows)
            split.d_around = op.dy
        else:
            op.forward = split_forward.address(builder.dtype)
            op.around = builder.new_block(builder.rows * builder.sample_rows * op.ld_in)
        builder.open_skips[-1] = op


class Join(Layer):
    """Where they meet again: the sum."""

    name, record = "join", SKIP
    internal = True
    closes_skip = True

    def emit(self, op, builder):
        way = builder.open_skips.pop()
        builder.in_place(op)
        op.around, op.forward = way.around, join_forward.address(builder.dtype)
        if builder.with_gradient:
            op.y, op.dy = builder.new_rows(op.n_out), builder.new_deltas(op.n_out)
            op.backward, way.d_around = join_backward.address(builder.dtype), op.dy


@op_kernel(SKIP)
def split_forward(op, data, params, grads, work, start, lo, n):
    """Keeps rows lo..lo+n of X for the join, in inference."""
    ld = op.ld_in
    move(offset(work, op.x + lo * ld), offset(work, op.around + lo * ld), n * ld)


@op_kernel(SKIP)
def split_backward(op, data, params, grads, work, start, lo, n):
    """dX += what comes back the other way for rows lo..lo+n, in place on what the way through the layers has given."""
    ld = op.ld_out
    if op.dy >= 0:
        dx = offset(work, op.dy + lo * ld)
        add_whole(dx, offset(work, op.d_around + lo * ld), dx, n * ld)


@op_kernel(SKIP)
def shortcut_backward(op, data, params, grads, work, start, lo, n):
    """dX = gradient of the join's output for rows lo..lo+n, with which the way through the layers begins."""
    ld = op.ld_in
    if op.dx >= 0:
        move(offset(work, op.d_around + lo * ld), offset(work, op.dx + lo * ld), n * ld)


@op_kernel(SKIP)
def join_forward(op, data, params, grads, work, start, lo, n):
    """Y = X + what came the other way, for rows lo..lo+n; writes its own rows of Y."""
    ld = op.ld_out
    add_whole(offset(work, op.x + lo * ld), offset(work, op.around + lo * ld), offset(work, op.y + lo * ld), n * ld)


@op_kernel(SKIP)
def join_backward(op, data, params, grads, work, start, lo, n):
    """dX = dY for rows lo..lo+n: a copy, because the layers inside work in place on theirs and the other way needs dY."""
    ld = op.ld_out
    if op.dx >= 0:
        move(offset(work, op.dy + lo * ld), offset(work, op.dx + lo * ld), n * ld)
