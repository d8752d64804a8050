"""Augmentation: images that are flipped, moved, turned, zoomed or partly erased in training, and left alone in inference.

What is drawn depends on the model's seed, the layer, the step and the row of the sample, never on the threads.
"""

import abc
import math

from numba import types

from .._jit import inner
from .._records import Record
from .._rows import move, row_op
from .._simd import copy, local, offset, real
from ..rng import uniform_row
from ..specs import check_number
from .base import ZEROS, Layer, fields, op_kernel
from .warping import FILL_MODES, INTERPOLATIONS, WARP, between, warp_op
from .windows import check_image


def check_word(name, value, words):
    """`value`, or ValueError if it is none of the words."""
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name} must be {', '.join(map(repr, words))}, got {value!r}")
    return value


def check_factor(name, value, interval="[-1, 1]"):
    """`value` as a float or a pair of them in rising order, or ValueError if it is neither, or not in the interval."""
    if not isinstance(value, (tuple, list)):
        return check_number(name, value, interval)
    if len(value) != 2:
        raise ValueError(f"{name} must be a number in {interval} or a pair (lower, upper) of them, got {value!r}")
    lower, upper = (check_number(name, end, interval) for end in value)
    if lower > upper:
        raise ValueError(f"{name} must be a pair (lower, upper) with lower <= upper, got {value!r}")
    return lower, upper


def bounds(factor):
    """(lower, upper) of a factor as Keras has it: a number stands for both signs of itself."""
    return factor if isinstance(factor, tuple) else (-abs(factor), abs(factor))


# ---------------------------------------------------------------- geometric layers


class Augmentation(Layer):
    """Base of the layers that change images (height, width, channels) in training and pass them on in inference."""

    takes_windows = True

    def output_shape(self, input_shape):
        check_image(input_shape, 2)
        return input_shape


class Geometric(Augmentation):
    """Base of those that map pixels to places; a subclass says what its map is drawn from, for a size of images."""

    record = WARP
    fill_mode, interpolation, fill_value = "nearest", "nearest", 0.0

    @abc.abstractmethod
    def ranges(self, height, width):
        """dict of the entries of `MAP` that are not those of the identity; an entry with an end is given as a pair."""

    def flops(self, input_shape):
        return 8 * math.prod(input_shape) + 32 * math.prod(input_shape[:-1])  # and to find the four pixels

    def emit(self, op, builder):
        if not builder.training:
            builder.in_place(op)
            return
        ranges = self.ranges(*builder.input_shape[:2])
        warp_op(op, builder, ranges, self.fill_mode, self.interpolation, self.fill_value)


class Filling(Geometric):
    """Base of those that read places outside the image."""

    def __init__(self, fill_mode, interpolation, fill_value):
        self.fill_mode = check_word("fill_mode", fill_mode, FILL_MODES)
        self.interpolation = check_word("interpolation", interpolation, INTERPOLATIONS)
        self.fill_value = check_number("fill_value", fill_value, "(-inf, inf)")


class RandomFlip(Geometric):
    """Each image is mirrored with probability 1/2 in training; nothing in inference.

    Parameters
    ----------
    mode : {"horizontal_and_vertical", "horizontal", "vertical"}, default="horizontal_and_vertical"
        Whether left and right are exchanged, or top and bottom, or either of it independently of the other.

    Raises
    ------
    ValueError
        If the mode is another one, or (when the model is built) if samples are no images (height, width, channels).

    Notes
    -----
    What happens to an image depends on the model's `random_state`, the layer, the step and the row: the same bits on any
    number of threads.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model
    >>> from fastdnn.layers import RandomFlip
    >>> Model([RandomFlip("horizontal")]).build((1, 3, 1)).forward(np.arange(3.0).reshape(1, 1, 3, 1)).ravel()
    array([0., 1., 2.], dtype=float32)

    References
    ----------
    Keras's layer of the same name.
    Krizhevsky, A., Sutskever, I. & Hinton, G. (2012). ImageNet classification with deep convolutional networks. NIPS.
    """

    name = "random_flip"

    def __init__(self, mode="horizontal_and_vertical"):
        self.mode = check_word("mode", mode, ("horizontal_and_vertical", "horizontal", "vertical"))

    def ranges(self, height, width):
        return {"flip_rows": 0.5 * ("vertical" in self.mode), "flip_columns": 0.5 * ("horizontal" in self.mode)}


class RandomTranslation(Filling):
    """Each image is moved by a random distance in training; nothing in inference.

    Parameters
    ----------
    height_factor : float or pair (lower, upper)
        Range of the distance down (negative: up), as a fraction of the height, in [-1, 1]; a number f means (-|f|, |f|).
    width_factor : float or pair (lower, upper)
        The same to the right (negative: to the left), as a fraction of the width.
    fill_mode : {"reflect", "constant", "wrap", "nearest"}, default="reflect"
        How a row of pixels a b c d goes on at both ends: d c b a | a b c d | d c b a, or with `fill_value`, or
        a b c d | a b c d | a b c d, or a a a a | a b c d | d d d d.
    interpolation : {"bilinear", "nearest"}, default="bilinear"
        Between the pixels: weighted by the distances of the four around a place, or the nearest of them.
    fill_value : float, default=0.0
        What is outside the image if fill_mode is "constant".

    Raises
    ------
    ValueError
        If an argument is out of its range, or (when the model is built) if samples are no images (height, width, channels).

    Notes
    -----
    Arguments and ranges are Keras's. Rules of ours: a pair must rise (Keras sorts it); of the four pixels around a place
    those outside are what `fill_mode` says, so the image fades into `fill_value` within one pixel; places are computed in
    steps of 2**-32 of a pixel, so that whole pixels are exact; halfway between two pixels "nearest" takes the one after; a
    pixel of weight 0 is not read, whatever it is.
    What happens to an image depends on the model's `random_state`, the layer, the step and the row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model
    >>> from fastdnn.layers import RandomTranslation
    >>> model = Model([RandomTranslation(0.1, (-0.2, 0.3), fill_mode="constant")]).build((8, 8, 3))
    >>> model.forward(np.ones((2, 8, 8, 3))).min()
    np.float32(1.0)

    References
    ----------
    Keras's layer of the same name.
    Simard, P., Steinkraus, D. & Platt, J. (2003). Best practices for convolutional neural networks. ICDAR.
    """

    name = "random_translation"

    def __init__(self, height_factor, width_factor, fill_mode="reflect", interpolation="bilinear", fill_value=0.0):
        super().__init__(fill_mode, interpolation, fill_value)
        self.height_factor = check_factor("height_factor", height_factor)
        self.width_factor = check_factor("width_factor", width_factor)

    def ranges(self, height, width):
        down, right = bounds(self.height_factor), bounds(self.width_factor)
        return {"down": tuple(height * x for x in down), "right": tuple(width * x for x in right)}


class RandomRotation(Filling):
    """Each image is turned around its center by a random angle in training; nothing in inference.

    Parameters
    ----------
    factor : float or pair (lower, upper)
        Range of the angle as a fraction of a whole turn, 2 pi, in [-1, 1]; positive is counterclockwise; a number f means
        (-|f|, |f|).
    fill_mode, interpolation, fill_value
        As in `RandomTranslation`.

    Raises
    ------
    ValueError
        If an argument is out of its range, or (when the model is built) if samples are no images (height, width, channels).

    Notes
    -----
    Arguments and angles are Keras's; the rules of ours stand in `RandomTranslation`. The size stays as it is: what a turn
    takes out of the image is lost. A quarter turn of a square image is exactly ``np.rot90``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model
    >>> from fastdnn.layers import RandomRotation
    >>> Model([RandomRotation(0.1)]).build((8, 8, 3)).forward(np.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)

    References
    ----------
    Keras's layer of the same name.
    """

    name = "random_rotation"

    def __init__(self, factor, fill_mode="reflect", interpolation="bilinear", fill_value=0.0):
        super().__init__(fill_mode, interpolation, fill_value)
        self.factor = check_factor("factor", factor)

    def ranges(self, height, width):
        return {"angle": tuple(2 * math.pi * x for x in bounds(self.factor))}


class RandomZoom(Filling):
    """Each image is made smaller or larger around its center by a random factor in training; nothing in inference.

    Parameters
    ----------
    height_factor : float or pair (lower, upper)
        Range of f in [-1, 1], a pixel of the output being 1 + f pixels of the input high: positive zooms out, negative zooms
        in. A number f means (-|f|, |f|).
    width_factor : float, pair (lower, upper) or None, default=None
        The same of the width, drawn by itself; None takes what is drawn for the height, so that proportions stay.
    fill_mode, interpolation, fill_value
        As in `RandomTranslation`.

    Raises
    ------
    ValueError
        If an argument is out of its range, or (when the model is built) if samples are no images (height, width, channels).

    Notes
    -----
    Arguments and ranges are Keras's; the rules of ours stand in `RandomTranslation`. Zooming out samples the input without
    smoothing it first, as Keras does. With f = -1 the whole image is what stands in the center.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model
    >>> from fastdnn.layers import RandomZoom
    >>> Model([RandomZoom((-0.2, 0.1))]).build((8, 8, 3)).forward(np.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)

    References
    ----------
    Keras's layer of the same name.
    """

    name = "random_zoom"

    def __init__(
        self, height_factor, width_factor=None, fill_mode="reflect", interpolation="bilinear", fill_value=0.0
    ):  # fmt: skip
        super().__init__(fill_mode, interpolation, fill_value)
        self.height_factor = check_factor("height_factor", height_factor)
        self.width_factor = None if width_factor is None else check_factor("width_factor", width_factor)

    def ranges(self, height, width):
        rows, columns = (tuple(1 + x for x in bounds(f or 0.0)) for f in (self.height_factor, self.width_factor))
        return {"rows": rows, "columns": columns, "together": float(self.width_factor is None)}


# ---------------------------------------------------------------- erasing

# Rows and columns of the image; address of a `BOX`: probability, from and to where shares of the area are drawn, what fills
# the box.
ERASE = fields("height", "width", "box")
BOX = Record("probability", "share", "share_end", "fill", number=types.float64)
_box_at = BOX.view


@row_op(0, 1, scalars=1)
def _fill(value):
    return value


@inner
def drawn_side(size, share, u):
    """(first, one behind the last) pixel whose center is in a side that takes that share of the area; u: where it begins."""
    length = math.sqrt(share) * size
    start = u * (size - length)
    return math.ceil(start - 0.5), math.ceil(start + length - 0.5)


@inner
def drawn_box(op, work, row, step):
    """(first row, one behind the last, first column, one behind the last) of what is erased of a sample."""
    box, u = _box_at(op.box, 0), local(work)
    uniform_row(u, 16, op.key, row, step)
    top, bottom = drawn_side(op.height, between(box.share, box.share_end, u[1]), u[2])
    left, right = drawn_side(op.width, between(box.share, box.share_end, u[3]), u[4])
    return top, bottom if u[0] < box.probability else top, left, right


@op_kernel(ERASE)
def erase_forward(op, data, params, grads, work, start, lo, n):
    """Y = X with a box of each sample filled, for samples lo..lo+n; writes its own samples of Y, pixels ld_in apart."""
    ld, size, fill = op.ld_in, op.height * op.width * op.ld_in, real(work, _box_at(op.box, 0).fill)
    move(offset(work, op.x + lo * size), offset(work, op.y + lo * size), n * size)
    for s in range(lo, lo + n):
        top, bottom, left, right = drawn_box(op, work, start + s, data.step)
        for row in range(top, bottom):
            for column in range(left, right):
                _fill(offset(work, op.y + s * size + (row * op.width + column) * ld), fill, op.n_in)


@op_kernel(ERASE)
def erase_backward(op, data, params, grads, work, start, lo, n):
    """dX = dY, 0 in the box, in place, for samples lo..lo+n."""
    ld, size = op.ld_in, op.height * op.width * op.ld_in
    if op.dy >= 0:
        for s in range(lo, lo + n):
            top, bottom, left, right = drawn_box(op, work, start + s, data.step)
            for row in range(top, bottom):
                for column in range(left, right):
                    copy(offset(work, ZEROS), offset(work, op.dy + s * size + (row * op.width + column) * ld), ld)


class RandomErasing(Augmentation):
    """A random box of each image is filled with a number in training; nothing in inference.

    Parameters
    ----------
    factor : float, default=1.0
        Probability that an image gets a box, in [0, 1].
    scale : float or pair (lower, upper), default=(0.02, 0.33)
        Range of the box's share of the image, in [0, 1]; a number s means (0, s).
    fill_value : float, default=0.0
        What the box is filled with.

    Raises
    ------
    ValueError
        If an argument is out of its range, or (when the model is built) if samples are no images (height, width, channels).

    Notes
    -----
    Boxes are Keras's: shares s and t are drawn from `scale`, and the box, all of it in the image, takes sqrt(s) of the
    height and sqrt(t) of the width, from a place that is drawn too. Rules of ours: pixels whose center is in the box are
    erased (Keras takes their upper left corner, so that the first row and column never are); `factor` is the probability
    (Keras draws that of each image between 0 and it, so that half as many get a box); the box is filled with a number, 0 by
    default (Keras's default is noise), which is not clipped.
    What happens to an image depends on the model's `random_state`, the layer, the step and the row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastdnn import Model
    >>> from fastdnn.layers import RandomErasing
    >>> Model([RandomErasing(0.5)]).build((8, 8, 3)).forward(np.ones((2, 8, 8, 3))).min()
    np.float32(1.0)

    References
    ----------
    Keras's layer of the same name.
    Zhong, Z. et al. (2020). Random erasing data augmentation. AAAI. arXiv:1708.04896.
    """

    name, record = "random_erasing", ERASE

    def __init__(self, factor=1.0, scale=(0.02, 0.33), fill_value=0.0):
        self.factor = check_number("factor", factor, "[0, 1]")
        self.scale = check_factor("scale", scale, "[0, 1]")
        self.fill_value = check_number("fill_value", fill_value, "(-inf, inf)")

    def emit(self, op, builder):
        builder.in_place(op)
        if builder.training and self.factor:
            op.height, op.width, op.sample_rows = *builder.input_shape[:2], 1
            op.y, op.key = builder.new_rows(op.n_out), builder.key()
            share, share_end = self.scale if isinstance(self.scale, tuple) else (0.0, self.scale)
            op.box = builder.constants(self.factor, share, share_end, self.fill_value)
            op.forward, op.backward = builder.addresses(erase_forward, erase_backward)
