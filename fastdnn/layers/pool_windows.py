"""Kernels of pooling: the largest number or the mean of each window, channels in the lanes."""

import math

from .._jit import inner
from .._rows import add, row_op, scaled
from .._simd import copy, doubles_at, offset, real, where
from .base import ZEROS, dx_base, dy_base, fields, op_kernel
from .windows import WINDOW_FIELDS, window_op

# Whether windows overlap, and whether each pixel is in one. Offset of the number of the place that the largest came from,
# one of each output. Address of what the output (of averages: the input) is where nothing goes back: 0 behind a ReLU, else
# NaN.
POOL = fields(*WINDOW_FIELDS, "overlaps", "covers", "chosen", "constants")


def pool_op(op, builder, axes, kernels):
    """Fill in the op of a pooling layer."""
    window_op(op, builder, axes, builder.input_shape[-1])
    op.overlaps = any(a.kernel > a.stride for a in axes)
    op.covers = all(a.kernel >= a.stride and (a.out - 1) * a.stride + a.kernel >= a.before + a.size for a in axes)
    masks = builder.with_gradient and op.dx >= 0 and builder.take_mask() >= 0
    op.constants = builder.constants(0.0 if masks else math.nan)
    forward, backward, infer = kernels
    op.forward, op.backward = builder.addresses(forward if builder.with_gradient else infer, backward)
    if builder.with_gradient:
        op.chosen = builder.new_rows(op.n_out, op.out_height * op.out_width)


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
