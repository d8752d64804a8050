"""Products of convolutions with at most 16 channels of output: pixels in the lanes, channels below each other.

A tile whose columns are 16 channels or fewer waits for the broadcast elements of the image: half of the peak with 16, an
eighth with 4. So the image is turned, planes instead of pixels, and the product is that of the turned kernel with rows of
pixels; what comes out is turned back, and gets bias and activation on the way. Pixels between the end of a row and the
beginning of the next are computed too, and thrown away. The sums, and their order, are those of `conv_products`.
"""

from .._isa import isa
from .._jit import inner
from .._rows import block_op
from .._simd import offset, where
from ..gemm import ALIGN, CLAMP, MASK, call_gemm, new_product, plain, whole_blocks
from ..transpose import call_transpose, transpose
from .conv_products import axis_phases, phase_at, small_border
from .windows import slot_scratch

LANES = 32  # pixels of a tile
LEAST = 48  # products of an output: fewer do not pay for the turning


def whole_lanes(n):
    """n pixels rounded up to whole tiles."""
    return -(-n // LANES) * LANES


def narrow_op(op, builder, axes):
    """Fill in which of the two products are narrow, and scratch for them.

    `correlate` needs strides of 1: what it reads of a plane must be one run of pixels. `spread` has them in any case.
    """
    places, most = axes[0].kernel * axes[1].kernel, {64: 16, 32: 8}.get(isa().bytes, 0)
    plain_layout = op.groups == 1 and not builder.packed
    op.narrow_small = plain_layout and op.small <= most and places * op.large >= LEAST and op.stride_h * op.stride_w == 1
    op.narrow_large = plain_layout and op.large <= most and places * op.small >= LEAST
    run = axes[1].kernel * op.large  # numbers of a row of the kernel
    side_by_side = plain_layout and op.large_pixel == op.large and op.dilation_w == 1
    op.narrow_kernel = side_by_side and op.small <= most and op.small * -(-run // LANES) < run
    if not (op.narrow_small or op.narrow_large or op.narrow_kernel):
        return 0
    op.transpose_planes = transpose.address(builder.dtype)
    large = [a.before + a.size + a.after for a in axes]
    small = [sum(small_border(a)) + a.out for a in axes]
    outputs = [axes[0].out * large[1]] if op.narrow_small else []
    if op.narrow_large:
        outputs += [rows * small[1] for _, rows, *_ in axis_phases(axes[0])]
    op.lanes = whole_lanes(max([*outputs, run]))
    inputs = [(op.large, large)] * op.narrow_small + [(op.small, small)] * op.narrow_large
    op.plane = max((-(-height * width // ALIGN) * ALIGN for _, (height, width) in inputs), default=0) + 2 * LANES
    planes = max((-(-channels // ALIGN) * ALIGN for channels, _ in inputs), default=0) * op.plane
    op.turned_out = planes + op.lanes  # behind the planes a row of zeros, the product, and what it becomes
    return planes + op.lanes + 2 * (op.lanes + ALIGN) * ALIGN


@block_op(1, 1, outputs=1)
def _biased(x, bias):
    return x + bias


@block_op(1, 1, outputs=1)
def _biased_and_clamped(x, bias):
    y = x + bias
    return where(y < 0.0, 0.0, y)


@block_op(2, 0, outputs=1)
def _masked(x, saved):
    return where(saved.equals(0.0), 0.0, x)


@block_op(2, 0, outputs=1)
def _added(x, total):
    return total + x


@inner
def turned_product(op, p, image, apart, pixels, channels, place, rows, width, outputs, kernel, scratch):
    """The product of a bordered image with a kernel, `width` pixels a row, as pixels of 16 channels in scratch; p: steps.

    image : `pixels` of `channels`, `apart` elements from one to the next; the product starts at pixel `place`
    """
    zeros, product = offset(scratch, op.turned_out - op.lanes), offset(scratch, op.turned_out)
    result = offset(product, (op.lanes + ALIGN) * ALIGN)
    if pixels:
        call_transpose(op.transpose_planes, image, scratch, pixels, channels, apart, op.plane)
    n = (rows * width + LANES - 1) // LANES * LANES
    p.m, p.n, p.k, p.rsa, p.ldb, p.ldc, p.ldy, p.ld_init, p.flags, p.epilogue = (
        outputs,
        n,
        channels,
        1,
        op.plane,
        n,
        n,
        0,
        0,
        0,
    )
    call_gemm(op.gemm, kernel, offset(scratch, place), product, zeros, product, p)
    call_transpose(op.transpose_planes, product, result, outputs, n, n, ALIGN)
    return result


@inner
def narrow_correlate(op, data, work, large, matrix, ldb, y, bias, flags):
    """As `conv_products.correlate`, with bias and ReLU."""
    width, p, tap = op.pitch // op.large_pixel, new_product(), op.large * ldb
    height = op.height if op.direct else (op.out_height - 1) * op.stride_h + op.dilation_h * (op.kernel_height - 1) + 1
    plain(p, op.small, 0, op.large, 1, 0, 0)
    p.csa, p.k1, p.a1, p.b1 = ldb, op.kernel_width, tap, op.dilation_w
    p.k2, p.a2, p.b2 = op.kernel_height, op.kernel_width * tap, op.dilation_h * width
    scratch = slot_scratch(op, data, work, op.planes)
    found = turned_product(
        op, p, large, op.large_pixel, height * width, op.large, 0, op.out_height, width, op.small, matrix, scratch
    )  # fmt: skip
    for r in range(op.out_height):
        source, target = offset(found, r * width * ALIGN), offset(y, r * op.out_width * ALIGN)
        if flags & CLAMP:
            _biased_and_clamped(source, bias, target, op.out_width, ALIGN, op.small)
        else:
            _biased(source, bias, target, op.out_width, ALIGN, op.small)


@inner
def narrow_spread(op, data, work, small, matrix, ldb, dx, saved, zeros, flags):
    """As `conv_products.spread`, with the derivative of a ReLU."""
    width, scratch, p = op.small_pitch // op.small, slot_scratch(op, data, work, op.planes), new_product()
    pixels = op.small_height * width
    for f in range(op.n_phases):
        phase = phase_at(op.phases, f)
        plain(p, op.large, 0, op.small, 1, 0, 0)
        p.csa, p.k1, p.a1, p.b1 = ldb, phase.taps_w, phase.b1, phase.a1 // op.small
        p.k2, p.a2, p.b2 = phase.taps_h, phase.b2, phase.a2 // op.small
        place, kernel, found = phase.a // op.small, offset(matrix, phase.b), scratch
        seen = phase.taps_h * phase.taps_w
        if seen:
            found = turned_product(
                op, p, small, op.small, pixels, op.small, place, phase.rows, width, op.large, kernel, scratch
            )  # fmt: skip
            pixels = 0  # turned once for all phases
        for r in range(phase.rows):
            for c in range(phase.columns if op.stride_w > 1 or not seen else 1):
                at = ((phase.row + r * op.stride_h) * op.width + phase.column + c * op.stride_w) * ALIGN
                source = offset(found, (r * width + c) * ALIGN) if seen else zeros
                count = 1 if op.stride_w > 1 or not seen else phase.columns
                if flags & MASK:
                    _masked(source, offset(saved, at), offset(dx, at), count, ALIGN, op.large)
                else:
                    _biased(source, zeros, offset(dx, at), count, ALIGN, op.large)


@inner
def narrow_kernel_gradient(op, data, work, large, small, ld_small, target, adds, zeros):
    """As `conv_products.kernel_gradient`, the channels of the small image being rows and a row of the kernel the columns."""
    scratch, p, run = slot_scratch(op, data, work, op.planes), new_product(), op.kernel_width * op.large
    nothing, product = offset(scratch, op.turned_out - op.lanes), offset(scratch, op.turned_out)
    result, n = offset(product, (op.lanes + ALIGN) * ALIGN), whole_blocks(run)
    for i in range(op.kernel_height):
        plain(p, op.small, n, op.out_width, 1, op.stride_w * op.large, n)
        p.csa, p.k1, p.a1, p.b1 = ld_small, op.out_height, op.out_width * ld_small, op.stride_h * op.pitch
        call_gemm(op.gemm, small, offset(large, i * op.dilation_h * op.pitch), product, nothing, product, p)
        call_transpose(op.transpose_planes, product, result, op.small, n, n, ALIGN)
        row = offset(target, i * run * ALIGN)
        if adds:
            _added(result, row, row, run, ALIGN, op.small)
        else:
            _biased(result, zeros, row, run, ALIGN, op.small)
