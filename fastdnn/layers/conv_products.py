"""The products of convolutions on images with a border of zeros, a row of windows at a time; no im2col.

A convolution joins a large image to a small one, each pixel of which is a place of the kernel on the large one. `correlate`
makes the small image (the way forward of Conv2D, the way back of Conv2DTranspose), `spread` the large one (the other way).
Strides make no zeros: `spread` works in phases, all places of the large image that see the same places of the kernel.

A kernel (kernel_height, kernel_width, a, b) is a matrix of kernel_height * kernel_width * a rows; its turned copy has a and b
exchanged, for whichever of the two products needs it so.
References: Georganas, E. et al. (2018). Anatomy of high-performance deep learning convolutions on SIMD architectures.
arXiv:1808.05567 (rows of outputs by batch-reduce products); Dumoulin & Visin (2016). arXiv:1603.07285 (transposed ones).
"""

import math

import numpy as np

from .._jit import inner
from .._records import Record
from .._simd import copy, offset, pointer_at
from ..gemm import ALIGN, call_gemm, gemm_of_segments, new_product, padded, plain, whole_blocks, whole_columns
from ..transpose import call_transpose, transpose
from .base import ONE, ZEROS, dy_base, fields, shard_rows
from .windows import WINDOW_FIELDS, copy_inside, slot_scratch

# Kernels; offsets in `params`; the address of the turned kernel, elements between its rows; groups; channels of a group of
# the large and of the small image. Bordered images: elements from pixel to pixel of the large one, from row to row, the
# first inside, where they stand in the scratch; whether the large one is read where it is. Address and number of the phases.
# Whether channels of groups are no multiples of 16, so that products of one would write over those of another, and where in
# the scratch these stand first. Of the layer before, what dX is to be multiplied by.
CONV = fields(
    *WINDOW_FIELDS, "gemm", "transpose", "activation", "weight", "bias", "turned", "ld_turned", "groups", "large", "small",
    "large_pixel", "pitch", "inside", "small_pitch", "small_inside", "small_scratch", "direct", "phases",
    "n_phases", "ragged", "aside",
    "saved_before", "clamps_before", "derivative_before",
    # of `narrow_products`: whether they are taken; their scratch, elements of a plane, pixels of a product, where that is
    "narrow_small", "narrow_large", "narrow_kernel", "planes", "plane", "lanes", "turned_out",
    "transpose_planes", "small_height",
)  # fmt: skip

# Places of the large image that see the same places of the kernel: the first, and how many; the first element of the small
# bordered image and of the kernel's matrix; places of the kernel, and the steps from one to the next in both.
PHASE = Record("row", "column", "rows", "columns", "a", "b", "taps_h", "taps_w", "a1", "a2", "b1", "b2")
phase_at = PHASE.view


# ---------------------------------------------------------------- geometry


def axis_phases(axis):
    """[(first place, places, first tap, taps, step of taps, step in the small image, start there)] along one axis."""
    together = math.gcd(axis.stride, axis.dilation)
    step, back, found = axis.stride // together, axis.dilation // together, []
    for first in range(min(axis.stride, axis.size)):
        taps = [t for t in range(axis.kernel) if (first + axis.before - t * axis.dilation) % axis.stride == 0]
        places = -(-(axis.size - first) // axis.stride)
        start = (first + axis.before - taps[0] * axis.dilation) // axis.stride if taps else 0
        found.append((first, places, taps[0] if taps else 0, len(taps), step, back, start))
    return found


def small_border(axis):
    """(before, after): zeros that `spread` needs around the small image along one axis."""
    before = after = 0
    for _, places, _, taps, _, back, start in axis_phases(axis):
        if taps:
            before, after = max(before, (taps - 1) * back - start), max(after, start + places - axis.out)
    return before, after


def phases_of(axes, pitch, inside, small, tap):
    """The table of `PHASE`, `tap` being the elements of the kernel's matrix from one place to the next."""
    table = []
    for row, rows, tap_h, taps_h, step_h, back_h, start_h in axis_phases(axes[0]):
        for column, columns, tap_w, taps_w, step_w, back_w, start_w in axis_phases(axes[1]):
            a, b = inside + start_h * pitch + start_w * small, (tap_h * axes[1].kernel + tap_w) * tap
            steps = -back_w * small, -back_h * pitch, step_w * tap, step_h * axes[1].kernel * tap
            table.append((row, column, rows, columns, a, b, taps_h, taps_w, *steps))
    return np.array(table, np.int64)


def conv_op(op, builder, axes, large_pixel, tap, narrow=None):
    """Fill in the products of an op whose geometry, groups and channels are there.

    narrow : `narrow_products.narrow_op` where the op may be such

    large_pixel : elements from pixel to pixel of the bordered large image
    tap : elements of the matrix that `spread` reads, from one place of the kernel to the next
    """
    rows, columns = axes
    op.gemm = gemm_of_segments.address(builder.dtype)
    height, width = (a.before + a.size + a.after for a in axes)
    op.direct = (height, width) == (rows.size, columns.size) and op.groups == 1 and op.pixel == large_pixel
    op.large_pixel, op.pitch = large_pixel, op.row if op.direct else width * large_pixel
    op.inside = 0 if op.direct else rows.before * op.pitch + columns.before * large_pixel
    size = 0 if op.direct else height * op.pitch + 2 * ALIGN
    (top, bottom), (left, right) = (small_border(a) for a in axes)
    op.small_scratch, op.small_pitch = size, (left + columns.out + right) * op.small
    op.small_inside = top * op.small_pitch + left * op.small
    op.small_height = top + rows.out + bottom
    size += op.small_height * op.small_pitch + 2 * ALIGN
    op.ragged = op.groups > 1 and (op.large % ALIGN or op.small % ALIGN) != 0
    if op.ragged or builder.packed:
        op.aside, large, small = size, padded(op.large), padded(op.small)
        sizes = (
            rows.size * columns.size * large,
            rows.out * columns.out * small,
            rows.kernel * columns.kernel * op.large * small,
        )
        size += max(sizes)
    if narrow:
        size = -(-size // ALIGN) * ALIGN
        op.planes, size = size, size + narrow(op, builder, axes)
    builder.new_scratch(op, size)
    phases = phases_of(axes, op.small_pitch, op.small_inside, op.small, tap)
    op.phases, op.n_phases = builder.integers(phases), len(phases)


# ---------------------------------------------------------------- products


@inner
def columns_of(op, n):
    """n channels rounded up to what a product writes; groups of multiples of 16 leave each other's alone."""
    return whole_blocks(n) if op.groups > 1 else whole_columns(n)


@inner
def large_image(op, data, work, image, group):
    """The large image (of that group's channels) with its border, `large_pixel` and `pitch` elements apart."""
    if op.direct:
        return image
    scratch = slot_scratch(op, data, work, 0)
    source = offset(image, group * op.large)
    inside, apart = offset(scratch, op.inside), op.large_pixel
    copy_inside(source, op.pixel, op.row, op.height, op.width, op.large, inside, apart, op.pitch)
    return scratch


@inner
def small_image(op, data, work, image, pixel, group):
    """The small image (of that group's channels) with the border that `spread` needs, pixels side by side."""
    scratch = slot_scratch(op, data, work, op.small_scratch)
    source, target = offset(image, group * op.small), offset(scratch, op.small_inside)
    row = op.out_width * pixel
    copy_inside(source, pixel, row, op.out_height, op.out_width, op.small, target, op.small, op.small_pitch)
    return scratch


@inner
def correlate(op, p, large, matrix, ldb, small, ldc, init, y):
    """small[r, c] = init + sum over the places of the kernel of large[r * stride + ..., c * stride + ...] times its matrix.

    `p` says what is done with finished tiles. 2 * places * windows * large * small flops; writes op.small channels of all
    pixels, rounded up to 8.
    """
    flags, epilogue, pixel, tap = p.flags, p.epilogue, op.large_pixel, op.large * ldb
    plain(p, op.out_width, columns_of(op, op.small), op.large, op.stride_w * pixel, ldb, ldc)
    p.flags, p.epilogue = flags, epilogue
    if op.dilation_w == 1 and pixel == op.large:  # the pixels of a row of the kernel are one run of numbers
        p.k, p.k1, p.a1, p.b1 = op.kernel_width * pixel, op.kernel_height, op.dilation_h * op.pitch, op.kernel_width * tap
    else:
        p.k1, p.a1, p.b1 = op.kernel_width, op.dilation_w * pixel, tap
        p.k2, p.a2, p.b2 = op.kernel_height, op.dilation_h * op.pitch, op.kernel_width * tap
    p.blocks, p.a_block, p.c_block = op.out_height, op.stride_h * op.pitch, op.out_width * ldc
    if p.a_block == p.m * p.rsa:  # windows of single pixels: the rows go on in one another
        p.m, p.blocks = p.m * p.blocks, 1
    call_gemm(op.gemm, large, matrix, small, init, y, p)


@inner
def spread(op, p, small, matrix, ldb, large, ldc, init, y, zeros):
    """large[i, j] = init + sum over the windows that see it of small[r, c] times their place of the kernel's matrix.

    `p` says what is done with finished tiles. As many flops as `correlate`; writes op.large channels of all pixels, rounded
    up to 8; pixels that no window sees are init.
    """
    flags, epilogue = p.flags, p.epilogue
    for f in range(op.n_phases):
        phase = phase_at(op.phases, f)
        first = (phase.row * op.width + phase.column) * ldc
        plain(p, phase.columns, columns_of(op, op.large), op.small, op.small, ldb, op.stride_w * ldc)
        p.flags, p.epilogue = flags, epilogue
        p.blocks, p.a_block, p.c_block = phase.rows, op.small_pitch, op.stride_h * op.width * ldc
        a = offset(small, phase.a)
        if phase.taps_h * phase.taps_w == 0:
            a, p.k, p.rsa, p.a_block = zeros, 1, 0, 0
        else:
            p.k1, p.a1, p.b1, p.k2, p.a2, p.b2 = phase.taps_w, phase.a1, phase.b1, phase.taps_h, phase.a2, phase.b2
        call_gemm(op.gemm, a, offset(matrix, phase.b), offset(large, first), init, offset(y, first), p)


@inner
def product_of_images(op, p, m, n, width, height, target, ldc, adds, zeros, a, b):
    """target = a^T b (or more of it) over the pixels of an image of that size, the steps from row to row being in `p`."""
    p.m, p.n, p.k, p.k1, p.ldc, p.ldy = m, n, width, height, ldc, ldc
    p.ld_init = ldc if adds else 0
    call_gemm(op.gemm, a, b, target, target if adds else zeros, target, p)


@inner
def kernel_gradient(op, large, small, ld_small, target, ldc, adds, zeros):
    """dW[tap, a, b] = sum over the windows of large[.., a] small[.., b], or added to what is there. Writes whole columns.

    As many flops as `correlate`. A row of the kernel is one product where its pixels stand side by side.
    """
    p, pixel, n = new_product(), op.large_pixel, columns_of(op, op.small)
    plain(p, op.large, n, op.out_width, 1, ld_small, ldc)
    p.rsa, p.csa, p.a1, p.b1 = 1, op.stride_w * pixel, op.stride_h * op.pitch, op.out_width * ld_small
    if op.dilation_w == 1 and pixel == op.large:
        p.blocks, p.a_block, p.c_block = op.kernel_height, op.dilation_h * op.pitch, op.kernel_width * pixel * ldc
        m = op.kernel_width * pixel
        product_of_images(op, p, m, n, op.out_width, op.out_height, target, ldc, adds, zeros, large, small)
        return
    for i in range(op.kernel_height):
        row, at = offset(large, i * op.dilation_h * op.pitch), i * op.kernel_width * op.large * ldc
        p.blocks, p.a_block, p.c_block = op.kernel_width, op.dilation_w * pixel, op.large * ldc
        product_of_images(op, p, op.large, n, op.out_width, op.out_height, offset(target, at), ldc, adds, zeros, row, small)


@inner
def turned_gradient(op, large, small, ld_small, target, ldc, adds, zeros):
    """As `kernel_gradient` with a and b exchanged, dW[tap, b, a]; the pixels of `large` have whole columns."""
    p, pixel = new_product(), op.large_pixel
    for i in range(op.kernel_height):
        for j in range(op.kernel_width):
            seen = offset(large, i * op.dilation_h * op.pitch + j * op.dilation_w * pixel)
            at = (i * op.kernel_width + j) * op.small * ldc
            plain(p, op.small, whole_columns(op.large), op.out_width, 1, op.stride_w * pixel, ldc)
            p.rsa, p.csa, p.a1, p.b1 = 1, ld_small, op.out_width * ld_small, op.stride_h * op.pitch
            m, n = op.small, whole_columns(op.large)
            product_of_images(op, p, m, n, op.out_width, op.out_height, offset(target, at), ldc, adds, zeros, small, seen)


@inner
def bias_gradient(op, data, work, grads, rows_of_sample):
    """db = sum of the rows of dY over a shard, or added to what is there."""
    p, ld, target = new_product(), op.ld_out, offset(grads, op.bias)
    first, rows = shard_rows(op, data)
    plain(p, 1, whole_columns(op.n_out), rows * rows_of_sample, 0, ld, ld)
    p.csa, p.ld_init = 0, ld if data.adds else 0
    init = target if data.adds else offset(work, ZEROS)
    call_gemm(
        op.gemm, offset(work, ONE), offset(work, dy_base(op, data) + first * rows_of_sample * ld), target, init, target, p
    )


@inner
def add_columns(source, lds, target, ldt, rows, columns, adds):
    """target = source, or more by it, for some of the columns of both."""
    for i in range(rows):
        row, total = offset(source, i * lds), offset(target, i * ldt)
        for j in range(columns):
            total[j] = total[j] + row[j] if adds else row[j]


@inner
def clear_padding(target, rows, columns, ld, zeros):
    """Zeros into what products leave of the rows of a gradient; the update reads it."""
    if columns < ld:
        for i in range(rows):
            copy(zeros, offset(target, i * ld + columns), ld - columns)


@inner
def turn(op, params, work, lo, n, a, b, ld):
    """Rows lo..lo+n of a kernel (places, a, groups * b), `ld` apart, into the columns of (groups, places, b, a)."""
    places, r = op.kernel_height * op.kernel_width, lo
    turned = pointer_at(op.turned, work)
    while r < min(lo + n, places * a):
        place = r // a
        rows, source = min(lo + n, (place + 1) * a) - r, offset(params, op.weight + r * ld)
        if op.transpose:
            call_transpose(
                op.transpose, source, offset(turned, place * b * op.ld_turned + r - place * a), rows, b, ld, op.ld_turned
            )
        else:
            for i in range(rows):
                for j in range(op.groups * b):
                    group = j // b
                    row = (group * places + place) * b + j - group * b
                    turned[row * op.ld_turned + r + i - place * a] = source[i * ld + j]
        r += rows


def turned_op(op, builder, places, a, b):
    """Fill in the turned copy of a kernel (places, a, groups * b)."""
    op.ld_turned = padded(a)
    op.turned = builder.new_shared(op.groups * places * b * op.ld_turned + ALIGN * op.ld_turned)
    if op.groups == 1 and a % ALIGN == 0 and b % ALIGN == 0:
        op.transpose = transpose.address(builder.dtype)
