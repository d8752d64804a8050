"""Training of convolutions in bfloat16 with sums in float32: what `conv` does, numbers of images and kernels in pairs.

As in `dense_pairs` weights, values and gradients stay float32 and are rounded as they are read. Images are rounded into their
bordered copies. Forward and back, words are neighbors among the channels, so that an image is read as it stands. The kernel's
gradient runs along the pixels: words have a channel of two pixels that neighboring windows see, and each pixel stands in two
words, so that every place of the kernel finds its pairs.
"""

from .._jit import inner
from .._simd import offset, pointer_at
from ..gemm import ALIGN, CLAMP, MASK, gemm_of_segments, new_product, padded, plain, whole_columns
from ..narrowing import PAIR, as_halves, call_pairs, gemm_of_pairs, to_halves
from ..pairing import pairs_apart, row_pairs, word_of
from .activation_function import activated, call_on_tile, get_activation
from .base import ZEROS, dx_base, dy_base, fields, op_kernel
from .conv_products import PHASE, bias_gradient, clear_padding, phases_of, small_border
from .dense_pairs import turn
from .windows import WINDOW_FIELDS, slot_scratch, window_op

# Kernels; offsets in `params` (-1: no bias); addresses of the kernel in words, and of the turned one, with its words from row
# to row. Bordered images of halves: of a row, the first inside, the offset of the small one in the scratch. Words of pixels:
# those of the large image, where they and those of the small one stand. Address and number of the phases of `conv_products`.
# Of the layer before, what dX is to be multiplied by.
CONV_PAIRS = fields(
    *WINDOW_FIELDS, "gemm", "gemm_pairs", "activation", "weight", "bias", "matrix", "turned", "ld_turned", "pitch", "inside",
    "small_pitch", "small_inside", "small_scratch", "numbers", "large_words", "small_words", "phases", "n_phases",
    "saved_before", "clamps_before", "derivative_before",
)  # fmt: skip
phase_at = PHASE.view


def fills_words(channels, filters, groups):
    """Whether a convolution is one of bfloat16: channels fill words, and there are enough of them."""
    # With fewer `narrow_products` are faster in float32.
    return groups == 1 and min(channels, filters) > ALIGN and channels % PAIR == filters % PAIR == 0


def conv_pairs_op(op, builder, layer, axes):
    """Fill in the op of a `Conv` without groups, as its `emit` does."""
    window_op(op, builder, axes, layer.filters)
    op.forward, op.backward, op.gradient, op.refresh = builder.addresses(
        conv_pairs_forward, conv_pairs_backward, conv_pairs_gradient, conv_pairs_refresh
    )
    op.gemm_pairs, op.gemm = builder.addresses(gemm_of_pairs, gemm_of_segments)
    op.adds = 1
    op.weight, op.bias = builder.parameter("kernel"), builder.parameter("bias") if layer.use_bias else -1
    places = op.kernel_height * op.kernel_width
    op.matrix = builder.new_shared(-(-places * op.n_in // ALIGN) * ALIGN // PAIR * op.ld_out)
    _image_places(op, builder, axes)
    activated(op, builder, get_activation(layer.activation), op.out_height * op.out_width)
    if op.dx >= 0:
        op.ld_turned = padded(op.n_in)
        op.turned = builder.new_shared(places * op.n_out // PAIR * op.ld_turned)
        table = phases_of(axes, op.small_pitch, op.small_inside, op.n_out, op.n_out // PAIR * op.ld_turned)
        op.phases, op.n_phases = builder.integers(table), len(table)
        op.derivative_before, op.saved_before, op.clamps_before = builder.take_derivative()
        op.derivative_before = 0 if op.clamps_before else op.derivative_before


def _image_places(op, builder, axes):
    """Fill in the bordered images and where they stand in the scratch, in elements of float32."""
    rows, columns = axes
    height, width = (a.before + a.size + a.after for a in axes)
    (top, bottom), (left, right) = (small_border(a) for a in axes)
    op.pitch, op.numbers = width * op.n_in, height * width * op.n_in
    op.inside = rows.before * op.pitch + columns.before * op.n_in
    op.small_pitch = (left + columns.out + right) * op.n_out
    op.small_inside = top * op.small_pitch + left * op.n_out
    small = (top + rows.out + bottom) * op.small_pitch
    sizes = [(op.numbers + op.stride_w * op.n_in) // PAIR, small // PAIR, op.numbers]
    starts = [0]
    for size in sizes:
        starts.append(-(-(starts[-1] + size) // ALIGN) * ALIGN + 2 * ALIGN)  # vectors reach behind the end
    _, op.small_scratch, op.large_words, op.small_words = starts
    builder.new_scratch(op, op.small_words + rows.out * (-(-columns.out // PAIR)) * op.ld_out)


# ---------------------------------------------------------------- images


@inner
def halves_inside(image, pixel, row, height, width, channels, target, pitch):
    """An image of float32 into the inside of a bordered one of bfloat16, pixels side by side; see `windows.copy_inside`."""
    for r in range(height):
        source, to = offset(image, r * row), offset(target, r * pitch)
        if pixel == channels:
            to_halves(source, to, width * channels)
        else:
            for j in range(width):
                to_halves(offset(source, j * pixel), offset(to, j * channels), channels)


@inner
def large_halves(op, data, work, i):
    """Sample i of the input with its border."""
    halves = as_halves(slot_scratch(op, data, work, 0))
    image, inside = offset(work, op.x + i * op.sample), offset(halves, op.inside)
    halves_inside(image, op.pixel, op.row, op.height, op.width, op.n_in, inside, op.pitch)
    return halves


@inner
def small_halves(op, data, work, image):
    """A sample of the gradient of the output with the border that the way back needs."""
    halves = as_halves(slot_scratch(op, data, work, op.small_scratch))
    inside, row = offset(halves, op.small_inside), op.out_width * op.ld_out
    halves_inside(image, op.ld_out, row, op.out_height, op.out_width, op.n_out, inside, op.small_pitch)
    return halves


@inner
def small_pairs(op, data, work, image, zeros):
    """The same without a border, words of two pixels of a row; the last of an odd number stands with zeros."""
    ld, pairs = op.ld_out, (op.out_width + 1) // PAIR
    words = slot_scratch(op, data, work, op.small_words)
    for r in range(op.out_height):
        for c in range(0, op.out_width, PAIR):
            first = offset(image, (r * op.out_width + c) * ld)
            second = offset(first, ld) if c + 1 < op.out_width else zeros
            row_pairs(first, second, offset(words, (r * pairs + c // PAIR) * ld), op.n_out)
    return words


# ---------------------------------------------------------------- products


@inner
def correlate_pairs(op, p, large, matrix, small, init, y):
    """As `conv_products.correlate`: the small image from the large one, for halves and words of the kernel."""
    flags, epilogue, pixel, ld = p.flags, p.epilogue, op.n_in, op.ld_out
    tap = pixel // PAIR * ld
    plain(p, op.out_width, whole_columns(op.n_out), pixel // PAIR, op.stride_w * pixel, ld, ld)
    p.csa, p.flags, p.epilogue = PAIR, flags, epilogue
    if op.dilation_w == 1:  # the pixels of a row of the kernel are one run of numbers
        p.k, p.k1, p.a1, p.b1 = op.kernel_width * p.k, op.kernel_height, op.dilation_h * op.pitch, op.kernel_width * tap
    else:
        p.k1, p.a1, p.b1 = op.kernel_width, op.dilation_w * pixel, tap
        p.k2, p.a2, p.b2 = op.kernel_height, op.dilation_h * op.pitch, op.kernel_width * tap
    p.blocks, p.a_block, p.c_block = op.out_height, op.stride_h * op.pitch, op.out_width * ld
    call_pairs(op.gemm_pairs, large, matrix, small, init, y, p)


@inner
def spread_pairs(op, p, small, matrix, large, y, zeros):
    """As `conv_products.spread`: the large image from the small one, for halves and words of the turned kernel."""
    flags, epilogue, ld = p.flags, p.epilogue, op.ld_in
    for f in range(op.n_phases):
        phase = phase_at(op.phases, f)
        first = (phase.row * op.width + phase.column) * ld
        plain(p, phase.columns, whole_columns(op.n_in), op.n_out // PAIR, op.n_out, op.ld_turned, op.stride_w * ld)
        p.csa, p.flags, p.epilogue = PAIR, flags, epilogue
        p.blocks, p.a_block, p.c_block = phase.rows, op.small_pitch, op.stride_h * op.width * ld
        a = offset(small, phase.a)
        if phase.taps_h * phase.taps_w == 0:
            a, p.k, p.rsa, p.a_block = as_halves(zeros), 1, 0, 0
        else:
            p.k1, p.a1, p.b1, p.k2, p.a2, p.b2 = phase.taps_w, phase.a1, phase.b1, phase.taps_h, phase.a2, phase.b2
        call_pairs(op.gemm_pairs, a, offset(matrix, phase.b), offset(large, first), zeros, offset(y, first), p)


@inner
def kernel_gradient_pairs(op, p, large, small, target, adds, zeros):
    """As `conv_products.kernel_gradient`, for words of two pixels of both images."""
    pixel, ld, n = PAIR * op.n_in, op.ld_out, whole_columns(op.n_out)  # a word of the large image is two halves
    pairs, pitch, init = (op.out_width + 1) // PAIR, PAIR * op.pitch, target if adds else zeros
    run = op.kernel_width if op.dilation_w == 1 else 1  # places of the kernel that are one run of words
    for i in range(1 if run > 1 else op.kernel_height):
        plain(p, run * op.n_in, n, pairs, PAIR, ld, ld)
        p.csa, p.k1, p.a1, p.b1 = PAIR * op.stride_w * pixel, op.out_height, op.stride_h * pitch, pairs * ld
        p.ld_init, p.blocks, p.c_block = ld if adds else 0, op.kernel_height, run * op.n_in * ld
        p.a_block = op.dilation_h * pitch
        if run == 1:
            p.blocks, p.a_block = op.kernel_width, op.dilation_w * pixel
        at = i * op.kernel_width * op.n_in * ld
        row, goal, start = offset(large, i * op.dilation_h * pitch), offset(target, at), offset(init, at if adds else 0)
        call_pairs(op.gemm_pairs, row, small, goal, start, goal, p)


# ---------------------------------------------------------------- kernels


@op_kernel(CONV_PAIRS, ("float32",))
def conv_pairs_forward(op, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(convolution of X[lo:lo+n] by W + b); writes its own samples of Y (and of X W + b if that is kept)."""
    ld, pixels, p = op.ld_out, op.out_height * op.out_width, new_product()
    bias = offset(params, op.bias) if op.bias >= 0 else offset(work, ZEROS)
    p.flags, p.epilogue = CLAMP if op.clamps else 0, 0 if op.by_rows else op.activation
    for i in range(lo, lo + n):
        z, y = offset(work, op.saved + i * pixels * ld), offset(work, op.y + i * pixels * ld)
        correlate_pairs(op, p, large_halves(op, data, work, i), pointer_at(op.matrix, work), z, bias, y)
        if op.activation and op.by_rows:
            call_on_tile(op.activation, z, y, pixels, op.n_out, ld, ld)


@op_kernel(CONV_PAIRS, ("float32",))
def conv_pairs_backward(op, data, params, grads, work, start, lo, n):
    """dX from dY for samples lo..lo+n, times f' of the layer before; writes its own samples of dX (and dY).

    dY *= f' first where no layer after this one did it.
    """
    ld, pixels, p = op.ld_out, op.out_height * op.out_width, new_product()
    dy = offset(work, dy_base(op, data) + lo * pixels * ld)
    if op.derivative:
        columns = op.n_out if op.by_rows else whole_columns(op.n_out)
        call_on_tile(op.derivative, dy, offset(work, op.saved + lo * pixels * ld), n * pixels, columns, ld, ld)
    if op.dx >= 0:
        p.flags, p.epilogue = MASK if op.clamps_before else 0, op.derivative_before
        for i in range(n):
            at = (lo + i) * op.sample
            dx, saved = offset(work, dx_base(op, data) + at), offset(work, op.saved_before + at)
            small = small_halves(op, data, work, offset(dy, i * pixels * ld))
            spread_pairs(op, p, small, pointer_at(op.turned, work), dx, saved, offset(work, ZEROS))


@op_kernel(CONV_PAIRS, ("float32",))
def conv_pairs_gradient(op, data, params, grads, work, start, lo, n):
    """dW over the samples of a shard, all of it, or with the unit behind its rows the bias; adds where data.adds says so."""
    ld, pixels, zeros, p = op.ld_out, op.out_height * op.out_width, offset(work, ZEROS), new_product()
    rows = op.kernel_height * op.kernel_width * op.n_in
    if lo >= rows:
        bias_gradient(op, data, work, grads, pixels)
        return
    target, words = offset(grads, op.weight), slot_scratch(op, data, work, op.large_words)
    for i in range(data.first_row, data.first_row + data.rows):
        pairs_apart(large_halves(op, data, work, i), op.stride_w * op.n_in, words, op.numbers)
        small = small_pairs(op, data, work, offset(work, dy_base(op, data) + i * pixels * ld), zeros)
        kernel_gradient_pairs(op, p, as_halves(words), small, target, data.adds or i > data.first_row, zeros)
    clear_padding(target, rows, whole_columns(op.n_out), ld, zeros)


@op_kernel(CONV_PAIRS, ("float32",))
def conv_pairs_refresh(op, data, params, grads, work, start, lo, n):
    """Rows lo..lo+n of W, lo even, into its words and the columns of the turned ones; the bias has nothing to refresh."""
    a, b, ld, r = op.n_in, op.n_out, op.ld_out, lo
    end = min(lo + n, op.kernel_height * op.kernel_width * a)
    for i in range(lo, end, PAIR):
        row = offset(params, op.weight + i * ld)
        row_pairs(row, offset(row, ld), offset(pointer_at(op.matrix, work), i // PAIR * ld), b)
    while r < end and op.turned:
        place = r // a
        rows, source = min(end, (place + 1) * a) - r, offset(params, op.weight + r * ld)
        target = offset(pointer_at(op.turned, work), place * (b // PAIR) * op.ld_turned + r - place * a)
        if a % ALIGN == 0 and b % ALIGN == 0:
            turn(source, ld, rows, b, target, op.ld_turned)
        else:
            for i in range(rows):
                for j in range(0, b, PAIR):
                    word_of(offset(source, i * ld + j), offset(target, j // PAIR * op.ld_turned + i))
        r += rows
