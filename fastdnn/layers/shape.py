"""Layers that change shapes or the way that numbers take: nothing is computed but sums."""

import math

from .._jit import inner, kernel
from .._simd import copy, move, offset, row_op
from ..gemm import padded
from ..specs import check_count
from .base import (
    BACKWARD,
    D_IN,
    D_OUT,
    FORWARD,
    IN,
    LD_IN,
    LD_OUT,
    N_IN,
    N_OUT,
    OTHER,
    OUT,
    SAMPLE_ROWS,
    Layer,
    op_signature,
    sample_rows,
)


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

    name = "flatten"
    reshapes = True

    def output_shape(self, input_shape):
        return (math.prod(input_shape),)

    def op(self, row, place):
        reshape_op(row, place, self.output_shape(place.input_shape))


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

    name = "reshape"
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

    def op(self, row, place):
        reshape_op(row, place, self.output_shape(place.input_shape))


def reshape_op(row, place, shape):
    """Fill the row of a layer whose output is its input in another shape: nothing to do where rows have no padding."""
    place.in_place(row)
    rows, width = sample_rows(shape), shape[-1]
    strides = row[LD_IN], padded(width)
    row[[N_OUT, LD_OUT]] = width, strides[1]
    if (place.sample_rows, row[N_IN]) == (rows, width):
        return
    row[SAMPLE_ROWS] = 1  # whole samples
    if strides == (row[N_IN], width):
        return
    row[OUT], row[D_OUT] = place.new_rows(width, rows), place.new_deltas(width, rows)
    row[OTHER] = place.sample_rows
    row[[FORWARD, BACKWARD]] = place.addresses(reshape_forward, reshape_backward)


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


@kernel(op_signature)
def reshape_forward(row, data, params, grads, work, start, lo, n):
    """Samples lo..lo+n from OTHER rows of N_IN numbers each into rows of N_OUT; writes those samples."""
    size = row[OTHER] * row[N_IN]
    rows = size // row[N_OUT]
    for i in range(lo, lo + n):
        source, target = offset(work, row[IN] + i * row[OTHER] * row[LD_IN]), offset(work, row[OUT] + i * rows * row[LD_OUT])
        copy_sample(source, row[N_IN], row[LD_IN], target, row[N_OUT], row[LD_OUT], size)


@kernel(op_signature)
def reshape_backward(row, data, params, grads, work, start, lo, n):
    """The gradients of samples lo..lo+n back into the shape of the input; writes those samples."""
    size = row[OTHER] * row[N_IN]
    rows = size // row[N_OUT]
    if row[D_IN] >= 0:
        for i in range(lo, lo + n):
            source = offset(work, row[D_OUT] + i * rows * row[LD_OUT])
            target = offset(work, row[D_IN] + i * row[OTHER] * row[LD_IN])
            copy_sample(source, row[N_OUT], row[LD_OUT], target, row[N_IN], row[LD_IN], size)


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

    name = "split"
    internal = True
    opens_way = True

    def op(self, row, place):
        place.in_place(row)
        if place.training:
            row[BACKWARD] = split_backward.address(place.dtype)
        else:  # the layers inside work on the two blocks in turns
            row[FORWARD] = split_forward.address(place.dtype)
            row[OTHER] = place.new_block(place.rows * place.sample_rows * row[LD_OUT])
        place.open_ways.append(row)


class Join(Layer):
    """Where they meet again: the sum."""

    name = "join"
    internal = True
    closes_way = True

    def op(self, row, place):
        split = place.open_ways.pop()
        place.in_place(row)
        row[FORWARD] = join_forward.address(place.dtype)
        if place.training:
            row[OTHER], row[OUT], row[D_OUT] = split[OUT], place.new_rows(row[N_OUT]), place.new_deltas(row[N_OUT])
            row[BACKWARD], split[OTHER] = join_backward.address(place.dtype), row[D_OUT]
        else:
            row[OTHER] = split[OTHER]


@row_op(2, 1, whole=True)
def _sum(a, b):
    return a + b


@kernel(op_signature)
def split_forward(row, data, params, grads, work, start, lo, n):
    """Keeps rows lo..lo+n of X for the join, in inference."""
    ld = row[LD_OUT]
    move(offset(work, row[IN] + lo * ld), offset(work, row[OTHER] + lo * ld), n * ld)


@kernel(op_signature)
def split_backward(row, data, params, grads, work, start, lo, n):
    """dX += gradient of the join's output for rows lo..lo+n, in place on what the way through the layers has given."""
    ld = row[LD_OUT]
    if row[D_OUT] >= 0:
        dx = offset(work, row[D_OUT] + lo * ld)
        _sum(dx, offset(work, row[OTHER] + lo * ld), dx, n * ld)


@kernel(op_signature)
def join_forward(row, data, params, grads, work, start, lo, n):
    """Y = X + what came to the split, for rows lo..lo+n; writes its own rows of Y."""
    ld = row[LD_OUT]
    _sum(offset(work, row[IN] + lo * ld), offset(work, row[OTHER] + lo * ld), offset(work, row[OUT] + lo * ld), n * ld)


@kernel(op_signature)
def join_backward(row, data, params, grads, work, start, lo, n):
    """dX = dY for rows lo..lo+n: a copy, because the layers inside work in place on theirs and the split needs dY."""
    ld = row[LD_OUT]
    if row[D_IN] >= 0:
        move(offset(work, row[D_OUT] + lo * ld), offset(work, row[D_IN] + lo * ld), n * ld)
