"""Pooling: the largest number or the mean of windows, channel by channel."""

import math

from .._jit import inner
from .._rows import add, row_op, scaled
from .._simd import copy, doubles_at, offset, real, where
from .base import ZEROS, Layer, dx_base, dy_base, fields, op_kernel
from .windows import WINDOW_FIELDS, Axis, axes_of, check_image, check_padding, check_sizes, window_op

# Whether windows overlap, and whether each pixel is in one. Offset of the number of the place that the largest came from,
# one of each output. Address of what the output (of averages: the input) is where nothing goes back: 0 behind a ReLU, else
# NaN.
POOL = fields(*WINDOW_FIELDS, "overlaps", "covers", "chosen", "constants")


class Pool(Layer):
    """Base of the pooling layers."""

    record = POOL
    passing_gradients = True
    takes_windows = True
    dims = 2
    kernels = ()  # forward, backward, and forward in inference

    def __init__(self, pool_size=2, strides=None, padding="valid"):
        self.pool_size = check_sizes("pool_size", pool_size, self.dims)
        self.strides = None if strides is None else check_sizes("strides", strides, self.dims)
        self.padding = check_padding(padding, self.dims)
        if not isinstance(self.padding, str):
            for pair, size in zip(self.padding, self.pool_size, strict=True):
                if max(pair) >= size:
                    raise ValueError(f"padding must be less than pool_size={self.pool_size}, got {padding!r}")

    def axes(self, input_shape):
        """The `Axis` of each axis of samples of that shape."""
        check_image(input_shape, self.dims)
        return axes_of(input_shape, self.pool_size, self.strides or self.pool_size, (1,) * self.dims, self.padding)

    def output_shape(self, input_shape):
        return (*(a.out for a in self.axes(input_shape)[-self.dims :]), input_shape[-1])

    def flops(self, input_shape):
        return math.prod(a.out * a.kernel for a in self.axes(input_shape)) * input_shape[-1]

    def emit(self, op, builder):
        pool_op(op, builder, self.axes(builder.input_shape), self.kernels)


class GlobalPool(Layer):
    """Base of the layers that pool all pixels of an image, or all steps of a series, into one."""

    record = POOL
    passing_gradients = True
    takes_windows = True
    dims = 2
    kernels = ()

    def output_shape(self, input_shape):
        check_image(input_shape, self.dims)
        return input_shape[-1:]

    def flops(self, input_shape):
        return math.prod(input_shape)

    def emit(self, op, builder):
        rows = math.prod(builder.input_shape[:-1])
        pool_op(op, builder, [Axis(1, 1, 1, 1, 0, 0, 1), Axis(rows, rows, 1, 1, 0, 0, 1)], self.kernels)


def pool_op(op, builder, axes, kernels):
    """Fill in the op of a pooling layer."""
    window_op(op, builder, axes, builder.input_shape[-1])
    op.overlaps = any(a.kernel > a.stride for a in axes)
    op.covers = all(a.kernel >= a.stride and (a.out - 1) * a.stride + a.kernel >= a.before + a.size for a in axes)
    masks = builder.with_gradient and op.dx >= 0 and builder.take_mask()
    op.constants = builder.constants(0.0 if masks else math.nan)
    forward, backward, infer = kernels
    op.forward, op.backward = builder.addresses(forward if builder.with_gradient else infer, backward)
    if builder.with_gradient:
        op.chosen = builder.new_rows(op.n_out, op.out_height * op.out_width)


# ---------------------------------------------------------------- kernels


@row_op(2, 1)
def _larger(x, y):
    return where((x > y) | x.is_nan(), x, y)


@row_op(3, 2, scalars=1)
def _larger_and_place(x, y, chosen, place):
    takes = (x > y) | (x.is_nan() & ~y.is_nan())  # of equal numbers the first
    return where(takes, x, y), where(takes, place, chosen)


@row_op(4, 1)
def _largest_of_four(a, b, c, d):
    left, right = where((b > a) | b.is_nan(), b, a), where((d > c) | d.is_nan(), d, c)
    return where((right > left) | right.is_nan(), right, left)


@row_op(4, 2)
def _largest_of_four_and_place(a, b, c, d):
    y, chosen = a, 0.0
    for place, x in ((1.0, b), (2.0, c), (3.0, d)):
        takes = (x > y) | (x.is_nan() & ~y.is_nan())
        y, chosen = where(takes, x, y), where(takes, place, chosen)
    return y, chosen


@row_op(3, 1, scalars=2)
def _back_to(dy, y, chosen, place, nothing):
    return where(y.equals(nothing) | ~chosen.equals(place), 0.0, dy)


@row_op(4, 1, scalars=2)
def _more_back_to(dy, y, chosen, dx, place, nothing):
    return where(y.equals(nothing) | ~chosen.equals(place), dx, dx + dy)


@row_op(3, 4, scalars=1)
def _back_to_four(dy, y, chosen, nothing):
    dy = where(y.equals(nothing), 0.0, dy)
    return tuple(where(chosen.equals(float(place)), dy, 0.0) for place in range(4))


@row_op(3, 1, scalars=2)
def _mean_back(dy, x, dx, factor, nothing):
    return where(x.equals(nothing), dx, dx + dy * factor)


@inner
def window_at(op, r, c):
    """(first row, one behind the last, first column, one behind the last, whether all of it is inside) of a window."""
    i, j = r * op.stride_h - op.top, c * op.stride_w - op.left
    first_i, first_j = max(i, 0), max(j, 0)
    end_i, end_j = min(i + op.kernel_height, op.height), min(j + op.kernel_width, op.width)
    whole = (end_i - first_i) * (end_j - first_j) == op.kernel_height * op.kernel_width
    return first_i, end_i, first_j, end_j, whole


@inner
def clear_sample(op, work, dx):
    """A gradient of 0 for all pixels of a sample."""
    for k in range(op.height * op.width):
        copy(offset(work, ZEROS), offset(dx, k * op.ld_in), op.ld_in)


@op_kernel(POOL)
def max_pool_forward(op, data, params, grads, work, start, lo, n):
    """Y = largest number of each window for samples lo..lo+n, and the place in the window where it stands first, at `chosen`.

    X : (n, height, width, channels)     Y : (n, out_height, out_width, channels); writes its own samples of both outputs.
    """
    ld, columns = op.ld_in, op.n_in
    for i in range(lo, lo + n):
        image, at = offset(work, op.x + i * op.sample), i * op.out_height * op.out_width
        for r in range(op.out_height):
            for c in range(op.out_width):
                out = (at + r * op.out_width + c) * ld
                y, chosen = offset(work, op.y + out), offset(work, op.chosen + out)
                first_i, end_i, first_j, end_j, whole = window_at(op, r, c)
                x = offset(image, (first_i * op.width + first_j) * ld)
                if whole and op.kernel_height == 2 and op.kernel_width == 2:
                    below = offset(x, op.width * ld)
                    _largest_of_four_and_place(x, offset(x, ld), below, offset(below, ld), y, chosen, columns)
                else:
                    copy(x, y, ld)
                    copy(offset(work, ZEROS), chosen, ld)
                    for k in range(first_i, end_i):
                        for m in range(first_j, end_j):
                            place = real(work, float((k - first_i) * (end_j - first_j) + m - first_j))
                            x = offset(image, (k * op.width + m) * ld)
                            _larger_and_place(x, y, chosen, y, chosen, place, columns)


@op_kernel(POOL)
def max_pool_infer(op, data, params, grads, work, start, lo, n):
    """`max_pool_forward` without the places."""
    ld, columns = op.ld_in, op.n_in
    for i in range(lo, lo + n):
        image, at = offset(work, op.x + i * op.sample), i * op.out_height * op.out_width
        for r in range(op.out_height):
            for c in range(op.out_width):
                y = offset(work, op.y + (at + r * op.out_width + c) * ld)
                first_i, end_i, first_j, end_j, whole = window_at(op, r, c)
                x = offset(image, (first_i * op.width + first_j) * ld)
                if whole and op.kernel_height == 2 and op.kernel_width == 2:
                    below = offset(x, op.width * ld)
                    _largest_of_four(x, offset(x, ld), below, offset(below, ld), y, columns)
                else:
                    copy(x, y, ld)
                    for k in range(first_i, end_i):
                        for m in range(first_j, end_j):
                            _larger(offset(image, (k * op.width + m) * ld), y, y, columns)


@op_kernel(POOL)
def max_pool_backward(op, data, params, grads, work, start, lo, n):
    """dX = dY at the places that were chosen, 0 elsewhere, for samples lo..lo+n; writes its own samples of dX."""
    ld, columns, nothing = op.ld_in, op.n_in, real(work, doubles_at(op.constants)[0])
    if op.dx < 0:
        return
    for i in range(lo, lo + n):
        image, at = offset(work, dx_base(op, data) + i * op.sample), i * op.out_height * op.out_width
        if op.overlaps or not op.covers:
            clear_sample(op, work, image)
        for r in range(op.out_height):
            for c in range(op.out_width):
                out = (at + r * op.out_width + c) * ld
                dy, y, chosen = offset(work, dy_base(op, data) + out), offset(work, op.y + out), offset(work, op.chosen + out)
                first_i, end_i, first_j, end_j, whole = window_at(op, r, c)
                if whole and op.kernel_height == 2 and op.kernel_width == 2 and not op.overlaps:
                    dx = offset(image, (first_i * op.width + first_j) * ld)
                    below = offset(dx, op.width * ld)
                    _back_to_four(dy, y, chosen, dx, offset(dx, ld), below, offset(below, ld), nothing, columns)
                else:
                    for k in range(first_i, end_i):
                        for m in range(first_j, end_j):
                            place = real(work, float((k - first_i) * (end_j - first_j) + m - first_j))
                            dx = offset(image, (k * op.width + m) * ld)
                            if op.overlaps:
                                _more_back_to(dy, y, chosen, dx, dx, place, nothing, columns)
                            else:
                                _back_to(dy, y, chosen, dx, place, nothing, columns)


@op_kernel(POOL)
def avg_pool_forward(op, data, params, grads, work, start, lo, n):
    """Y = mean of the numbers of each window, the border left out, for samples lo..lo+n; writes its own samples of Y."""
    ld, columns = op.ld_in, op.n_in
    for i in range(lo, lo + n):
        image, at = offset(work, op.x + i * op.sample), i * op.out_height * op.out_width
        for r in range(op.out_height):
            for c in range(op.out_width):
                y = offset(work, op.y + (at + r * op.out_width + c) * ld)
                first_i, end_i, first_j, end_j, _ = window_at(op, r, c)
                copy(offset(work, ZEROS), y, ld)
                for k in range(first_i, end_i):
                    for m in range(first_j, end_j):
                        add(y, offset(image, (k * op.width + m) * ld), y, columns)
                scaled(y, y, real(work, 1.0 / ((end_i - first_i) * (end_j - first_j))), columns)


@op_kernel(POOL)
def avg_pool_backward(op, data, params, grads, work, start, lo, n):
    """dX = sum of dY / numbers over the windows that a pixel is in, for samples lo..lo+n; writes its own samples of dX."""
    ld, columns, nothing = op.ld_in, op.n_in, real(work, doubles_at(op.constants)[0])
    if op.dx < 0:
        return
    for i in range(lo, lo + n):
        image, at = offset(work, dx_base(op, data) + i * op.sample), i * op.out_height * op.out_width
        clear_sample(op, work, image)
        for r in range(op.out_height):
            for c in range(op.out_width):
                dy = offset(work, dy_base(op, data) + (at + r * op.out_width + c) * ld)
                first_i, end_i, first_j, end_j, _ = window_at(op, r, c)
                share = real(work, 1.0 / ((end_i - first_i) * (end_j - first_j)))
                for k in range(first_i, end_i):
                    for m in range(first_j, end_j):
                        pixel = i * op.sample + (k * op.width + m) * ld
                        dx = offset(work, dx_base(op, data) + pixel)
                        _mean_back(dy, offset(work, op.x + pixel), dx, dx, share, nothing, columns)


MAX = max_pool_forward, max_pool_backward, max_pool_infer
AVG = avg_pool_forward, avg_pool_backward, avg_pool_forward


# ---------------------------------------------------------------- layers


class MaxPool2D(Pool):
    """The largest number of each window of an image (height, width, channels), channel by channel.

    Parameters
    ----------
    pool_size : int or pair of int, default=2
        Height and width of a window.
    strides : int, pair of int or None, default=None
        Steps from window to window; None takes pool_size.
    padding : {"valid", "same"}, int or pairs of int, default="valid"
        Border, as in `Conv2D`, less than pool_size; what is there does not count.

    Notes
    -----
    Of equal numbers the first, row by row, gets the gradient; NaN is the largest.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.MaxPool2D()]).build((5, 4, 3)).layout.shapes[-1]
    (2, 2, 3)

    References
    ----------
    Ranzato, M. et al. (2007). Unsupervised learning of invariant feature hierarchies. CVPR.
    """

    name, kernels = "max_pool2d", MAX


class MaxPool1D(Pool):
    """The largest number of each window of a series (time, channels): `MaxPool2D` along one axis.

    Parameters
    ----------
    pool_size, strides, padding
        As in `MaxPool2D`, one number each; pairs of padding are (before, after).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.MaxPool1D(3, strides=1, padding="same")]).build((5, 4)).layout.shapes[-1]
    (5, 4)

    References
    ----------
    Those of `MaxPool2D`.
    """

    name, kernels, dims = "max_pool1d", MAX, 1


class AvgPool2D(Pool):
    """The mean of each window of an image (height, width, channels), channel by channel.

    Parameters
    ----------
    pool_size, strides, padding
        As in `MaxPool2D`.

    Notes
    -----
    A border does not count (Keras's rule; PyTorch's with ``count_include_pad=False``).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.AvgPool2D((2, 1))]).build((4, 4, 3)).layout.shapes[-1]
    (2, 4, 3)

    References
    ----------
    LeCun, Y. et al. (1998). Gradient-based learning applied to document recognition. Proc. IEEE 86.
    """

    name, kernels = "avg_pool2d", AVG


class AvgPool1D(Pool):
    """The mean of each window of a series (time, channels): `AvgPool2D` along one axis.

    Parameters
    ----------
    pool_size, strides, padding
        As in `MaxPool1D`.

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.AvgPool1D(5)]).build((100, 2)).layout.shapes[-1]
    (20, 2)

    References
    ----------
    Those of `AvgPool2D`.
    """

    name, kernels, dims = "avg_pool1d", AVG, 1


class GlobalMaxPool2D(GlobalPool):
    """The largest number of each channel of an image (height, width, channels).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.GlobalMaxPool2D()]).build((7, 7, 3)).layout.shapes[-1]
    (3,)

    References
    ----------
    Those of `MaxPool2D`.
    """

    name, kernels = "global_max_pool2d", MAX


class GlobalMaxPool1D(GlobalPool):
    """The largest number of each channel of a series (time, channels).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.GlobalMaxPool1D()]).build((100, 3)).layout.shapes[-1]
    (3,)

    References
    ----------
    Those of `MaxPool2D`.
    """

    name, kernels, dims = "global_max_pool1d", MAX, 1


class GlobalAvgPool2D(GlobalPool):
    """The mean of each channel of an image (height, width, channels).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.GlobalAvgPool2D()]).build((7, 7, 3)).layout.shapes[-1]
    (3,)

    References
    ----------
    Lin, M., Chen, Q. & Yan, S. (2013). Network in network. arXiv:1312.4400.
    """

    name, kernels = "global_avg_pool2d", AVG


class GlobalAvgPool1D(GlobalPool):
    """The mean of each channel of a series (time, channels).

    Examples
    --------
    >>> from fastdnn import Model, layers
    >>> Model([layers.GlobalAvgPool1D()]).build((100, 3)).layout.shapes[-1]
    (3,)

    References
    ----------
    Those of `GlobalAvgPool2D`.
    """

    name, kernels, dims = "global_avg_pool1d", AVG, 1
