"""Images under affine maps of rows and columns, one drawn for each sample: one kernel for flips, shifts, turns and zooms.

Each pixel of the output is mapped to the place in the input that it comes from; between pixels the input is interpolated.
The map is drawn from ranges (`MAP`), by the model's seed, the layer, the step and the row of the sample, never the threads;
the way back draws it once more. Places are integers, 2**32 steps to a pixel: what is a whole pixel but for the rounding of a
sine is one, so a quarter turn is exact and reads no neighbour; and no pixel calls floor, which took half the time.
"""

import math

from numba import types

from .._jit import inner
from .._math import fma
from .._records import Record
from .._rows import add_scaled, move, row_op
from .._simd import local, offset, real
from ..rng import uniform_row
from .base import ZEROS, fields, op_kernel
from .windows import WINDOW_FIELDS, Axis, window_op

# Number in `FILL_MODES`; whether the nearest pixel is taken; address of a `MAP`.
WARP = fields(*WINDOW_FIELDS, "fill_mode", "nearest", "map")
# Probabilities that rows and columns are flipped; from and to where are drawn: the shift (pixels, down and to the right),
# the angle (counterclockwise), the factors of distances from the center; whether both factors are one; what is outside.
MAP = Record(
    "flip_rows", "flip_columns", "down", "down_end", "right", "right_end", "angle", "angle_end", "rows", "rows_end",
    "columns", "columns_end", "together", "fill", number=types.float64,
)  # fmt: skip
_map_at = MAP.view

FILL_MODES = "constant", "nearest", "wrap", "reflect"
CONSTANT, NEAREST, WRAP, REFLECT = range(4)
INTERPOLATIONS = "bilinear", "nearest"

BITS = 32
PIXEL = 1 << BITS  # steps to a pixel; places are less than 2**31 pixels


def warp_op(op, builder, ranges, fill_mode, interpolation, fill_value):
    """Fill in the op. ranges: the entries of `MAP` that are not the identity's, (from, to) for one that has an end."""
    height, width, channels = builder.input_shape
    numbers = dict.fromkeys(MAP.names, 0.0) | {"fill": fill_value}
    for name, value in {"rows": (1.0, 1.0), "columns": (1.0, 1.0), **ranges}.items():
        numbers |= {name: value[0], f"{name}_end": value[1]} if isinstance(value, tuple) else {name: value}
    window_op(op, builder, [Axis(size, 1, 1, 1, 0, 0, size) for size in (height, width)], channels)
    op.forward, op.backward = builder.addresses(warp_forward, warp_backward)
    op.key, op.map = builder.key(), builder.constants(*numbers.values())
    op.fill_mode, op.nearest = FILL_MODES.index(fill_mode), interpolation == "nearest"


# ---------------------------------------------------------------- kernels


@inner
def between(lower, upper, u):
    """The number that the uniform u stands for, of a range."""
    return lower + u * (upper - lower)


@inner
def steps(x):
    """x pixels, or pixels to a pixel, in steps."""
    return math.floor(PIXEL * x + 0.5)


@inner
def drawn_map(op, work, row, step):
    """Integers (a, b, c, d, e, f): pixel (i, j) of Y comes from row a i + b j + c and column d i + e j + f, in steps."""
    m, u = _map_at(op.map, 0), local(work)
    uniform_row(u, 16, op.key, row, step)
    angle = between(m.angle, m.angle_end, u[4])
    rows = between(m.rows, m.rows_end, u[5])
    columns = rows if m.together > 0.0 else between(m.columns, m.columns_end, u[6])
    rows, columns = -rows if u[0] < m.flip_rows else rows, -columns if u[1] < m.flip_columns else columns
    a, b = rows * math.cos(angle), rows * math.sin(angle)
    d, e = -columns * math.sin(angle), columns * math.cos(angle)
    center_r, center_c = 0.5 * (op.height - 1), 0.5 * (op.width - 1)
    to_r, to_c = center_r + between(m.down, m.down_end, u[2]), center_c + between(m.right, m.right_end, u[3])
    c, f = center_r - (a * to_r + b * to_c), center_c - (d * to_r + e * to_c)
    return steps(a), steps(b), steps(c), steps(d), steps(e), steps(f)


@inner
def inside(k, size, fill_mode):
    """The row (or column) of an image that row k is once the image goes on in all directions; -1 if it is none."""
    if 0 <= k < size:
        return k
    if fill_mode == CONSTANT:
        return -1
    if fill_mode == NEAREST:
        return 0 if k < 0 else size - 1
    if fill_mode == WRAP:
        return k % size
    k %= 2 * size
    return min(k, 2 * size - 1 - k)


@inner
def neighbours(place, size, fill_mode, nearest):
    """(row before, row after, weight of the second) of a place along an axis, both as `inside` has them."""
    if nearest:
        place = (place + PIXEL // 2) >> BITS << BITS
    k = place >> BITS
    return inside(k, size, fill_mode), inside(k + 1, size, fill_mode), (place & (PIXEL - 1)) * (1.0 / PIXEL)


@inner
def pixel_at(row, column, width, weight):
    """Number of the pixel; -1 if it is outside or does not count: 0 times an infinity would be NaN."""
    return row * width + column if row >= 0 and column >= 0 and weight > 0.0 else -1


@inner
def corners(op, row, column):
    """The numbers of the four pixels around a place, or -1, their weights, and the weight of what is outside."""
    top, bottom, below = neighbours(row, op.height, op.fill_mode, op.nearest)
    left, right, behind = neighbours(column, op.width, op.fill_mode, op.nearest)
    above, before = 1.0 - below, 1.0 - behind
    rows = (above if top >= 0 else 0.0) + (below if bottom >= 0 else 0.0)
    columns = (before if left >= 0 else 0.0) + (behind if right >= 0 else 0.0)
    a, b, c, d = above * before, above * behind, below * before, below * behind
    i, j = pixel_at(top, left, op.width, a), pixel_at(top, right, op.width, b)
    k, m = pixel_at(bottom, left, op.width, c), pixel_at(bottom, right, op.width, d)
    return i, j, k, m, a, b, c, d, 1.0 - rows * columns


@row_op(4, 1, scalars=5)
def _blend(a, b, c, d, of_a, of_b, of_c, of_d, rest):
    return fma(d, of_d, fma(c, of_c, fma(b, of_b, fma(a, of_a, rest))))


@inner
def pixel_or(image, pixel, ld, zeros):
    """Pointer to a pixel, or to zeros where there is none."""
    return offset(image, pixel * ld) if pixel >= 0 else zeros


@inner
def give(dy, image, pixel, ld, weight, n):
    """Add a pixel's share of dY to its gradient."""
    if pixel >= 0:
        dx = offset(image, pixel * ld)
        add_scaled(dy, dx, dx, real(dy, weight), n)


@op_kernel(WARP)
def warp_forward(op, data, params, grads, work, start, lo, n):
    """Y = X, each sample under a map of its own, for samples lo..lo+n; writes its own samples of Y.

    X, Y : (n, height, width, channels), pixels ld_in apart. A number takes 4 multiplications, or a copy on a whole pixel.
    """
    ld, zeros, fill = op.ld_in, offset(work, ZEROS), _map_at(op.map, 0).fill
    for s in range(lo, lo + n):
        a, b, c, d, e, f = drawn_map(op, work, start + s, data.step)
        image, target = offset(work, op.x + s * op.sample), offset(work, op.y + s * op.sample)
        for row in range(op.height):
            for column in range(op.width):
                y = offset(target, (row * op.width + column) * ld)
                i, j, k, m, wi, wj, wk, wm, outside = corners(op, a * row + b * column + c, d * row + e * column + f)
                if i >= 0 and wi == 1.0:
                    move(offset(image, i * ld), y, ld)
                else:
                    _blend(
                        pixel_or(image, i, ld, zeros), pixel_or(image, j, ld, zeros), pixel_or(image, k, ld, zeros),
                        pixel_or(image, m, ld, zeros), y, real(work, wi), real(work, wj), real(work, wk), real(work, wm),
                        real(work, fill * outside), op.n_in,
                    )  # fmt: skip


@op_kernel(WARP)
def warp_backward(op, data, params, grads, work, start, lo, n):
    """dX = sum of dY times the weights with which pixels were read, for samples lo..lo+n; writes its own samples of dX."""
    ld = op.ld_in
    if op.dx < 0:
        return
    for s in range(lo, lo + n):
        a, b, c, d, e, f = drawn_map(op, work, start + s, data.step)
        image, source = offset(work, op.dx + s * op.sample), offset(work, op.dy + s * op.sample)
        for pixel in range(op.height * op.width):
            move(offset(work, ZEROS), offset(image, pixel * ld), ld)
        for row in range(op.height):
            for column in range(op.width):
                dy = offset(source, (row * op.width + column) * ld)
                i, j, k, m, wi, wj, wk, wm, _ = corners(op, a * row + b * column + c, d * row + e * column + f)
                give(dy, image, i, ld, wi, op.n_in)
                give(dy, image, j, ld, wj, op.n_in)
                give(dy, image, k, ld, wk, op.n_in)
                give(dy, image, m, ld, wm, op.n_in)
