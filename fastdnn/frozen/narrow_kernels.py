"""Products of bfloat16 and of bytes with what comes before and behind them.

Rows of float32 come in and go out; between them are narrow numbers, a few rows at a time, in the scratch of whoever works.
Bytes: a row (of a convolution: a sample) is x = step (q - zero) with q in 0..255, the kernel w = scale p for each output, so
y = step scale (sum q p - zero sum p) + b, of which the sums are exact. `step` and `zero` are made of the least and greatest
number of the row, or once for all. A number that is not finite makes the whole row NaN.
References: Jacob, B. et al. (2018). Quantization and training of neural networks for efficient integer-arithmetic-only
inference. arXiv:1712.05877.
"""

from .._jit import inner
from .._math import fma
from .._rows import row_op
from .._simd import doubles_at, local, offset, pointer_at, real, where
from ..gemm import CLAMP, new_product, plain, whole_columns
from ..layers.activation_function import call_on_tile
from ..layers.base import ZEROS, fields, op_kernel
from ..layers.windows import WINDOW_FIELDS, slot_scratch
from ..narrowing import (
    PAIR,
    QUAD,
    as_bytes,
    as_halves,
    call_pairs,
    call_quads,
    largest,
    largest_negative,
    to_bytes,
    to_halves,
    words_at,
)

# Kernel of the product; address of the packed matrix, words of a run of it, elements from row to row of it; address of the
# bias; of bytes those of the scales, of scales times sums of columns, of (step, zero) where they are fixed, and what is taken
# from bytes before they are stored. Narrow numbers from row to row. Rows that are taken at once. Of images: channels; narrow
# numbers before the first inside, and in all; whether the border is to be filled; runs of the kernel and the steps from one
# to the next, within a row of the kernel and from row to row.
NARROW = fields(
    *WINDOW_FIELDS, "gemm", "matrix", "words", "ld_matrix", "bias", "activation", "scales", "sums", "range", "bias_of_bytes",
    "narrow_row", "block", "channels", "inside", "numbers", "fills", "runs_w", "run_w", "runs_h", "run_h",
)  # fmt: skip
BLOCK_ROWS = 112  # of a product at once: a multiple of the tile's 14; 112 x 784 bytes and their kernel fit the second cache
LEAST_RANGE = 1e-30  # steps, and ranges, below it are 0


@row_op(4, 1, scalars=2)
def _scaled(sums, scale, zeros, bias, step, shift):
    """step scale sums + shift zeros + bias."""
    return fma(sums * scale, step, fma(zeros, shift, bias))


@row_op(4, 1, scalars=2)
def _scaled_and_clamped(sums, scale, zeros, bias, step, shift):
    y = fma(sums * scale, step, fma(zeros, shift, bias))
    return where(y < 0.0, 0.0, y)


# ---------------------------------------------------------------- products


@inner
def product_of_rows(op, p, m, size):
    """Fill in `p` for m narrow rows; size : numbers of a word."""
    plain(p, m, whole_columns(op.n_out), op.words, op.narrow_row, op.ld_matrix, op.ld_out)
    p.csa = size


@inner
def product_of_windows(op, p, size):
    """Fill in `p` for all windows of a narrow image; size : numbers of a word."""
    ldb = op.ld_matrix
    plain(p, op.out_width, whole_columns(op.n_out), op.words, op.stride_w * op.channels, ldb, op.ld_out)
    p.csa, p.k1, p.a1, p.b1 = size, op.runs_w, op.run_w, op.words * ldb
    p.k2, p.a2, p.b2 = op.runs_h, op.run_h, op.runs_w * op.words * ldb
    p.blocks, p.a_block, p.c_block = op.out_height, op.stride_h * op.narrow_row, op.out_width * op.ld_out


@inner
def finish(op, y, rows):
    """The activation where no product has done it."""
    if op.activation:
        call_on_tile(op.activation, y, y, rows, op.n_out, op.ld_out, op.ld_out)


# ---------------------------------------------------------------- bfloat16


@op_kernel(NARROW, ("float32",))
def pairs_forward(op, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(X[lo:lo+n] W + b), X and W in bfloat16. 2*n*n_in*n_out flops; writes its own rows of Y."""
    halves, p, bias = as_halves(slot_scratch(op, data, work, 0)), new_product(), pointer_at(op.bias, work)
    for first in range(lo, lo + n, op.block):
        rows = min(op.block, lo + n - first)
        for i in range(rows):
            to_halves(offset(work, op.x + (first + i) * op.ld_in), offset(halves, i * op.narrow_row), op.n_in)
        y = offset(work, op.y + first * op.ld_out)
        product_of_rows(op, p, rows, PAIR)
        p.flags, p.epilogue = CLAMP if op.clamps else 0, 0 if op.by_rows else op.activation
        call_pairs(op.gemm, halves, words_at(op.matrix), y, bias, y, p)
        if op.by_rows:
            finish(op, y, rows)


@op_kernel(NARROW, ("float32",))
def pairs_of_images(op, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(convolution of X[lo:lo+n] by W + b), X and W in bfloat16; writes its own samples of Y."""
    halves, p, bias = as_halves(slot_scratch(op, data, work, 0)), new_product(), pointer_at(op.bias, work)
    pixels, inside = op.out_height * op.out_width, offset(halves, op.inside)
    product_of_windows(op, p, PAIR)
    p.flags, p.epilogue = CLAMP if op.clamps else 0, 0 if op.by_rows else op.activation
    for i in range(lo, lo + n):
        image, y = offset(work, op.x + i * op.sample), offset(work, op.y + i * pixels * op.ld_out)
        for r in range(op.height):
            row, target = offset(image, r * op.row), offset(inside, r * op.narrow_row)
            if op.pixel == op.channels:
                to_halves(row, target, op.width * op.channels)
            else:
                for j in range(op.width):
                    to_halves(offset(row, j * op.pixel), offset(target, j * op.channels), op.channels)
        call_pairs(op.gemm, halves, words_at(op.matrix), y, bias, y, p)
        if op.by_rows:
            finish(op, y, pixels)


# ---------------------------------------------------------------- bytes


@inner
def steps(op, work, high, low):
    """(1 / step, step, zero) for numbers from -low to high, or those that are fixed."""
    if op.range:
        fixed = doubles_at(op.range)
        step, zero = real(work, fixed[0]), real(work, fixed[1])
        return real(work, 1.0) / step, step, zero
    nothing = real(work, 0.0)
    high, low = high if high > nothing else nothing, low if low > nothing else nothing
    step = high / real(work, 255.0) + low / real(work, 255.0)  # their sum may be infinite
    if step < real(work, LEAST_RANGE):
        return nothing, nothing, nothing
    inverse = real(work, 1.0) / step
    return inverse, step, real(work, float(int(low * inverse + real(work, 0.5))))


@inner
def dequantize(op, work, y, rows, step, zero):
    """y = step (scale sums - zero scale column sums) + bias, and ReLU, for `rows` rows of sums."""
    scales, sums, bias = pointer_at(op.scales, work), pointer_at(op.sums, work), pointer_at(op.bias, work)
    shift = -step * (zero - real(work, float(op.bias_of_bytes)))
    for i in range(rows):
        row = offset(y, i * op.ld_out)
        if op.clamps:
            _scaled_and_clamped(row, scales, sums, bias, row, step, shift, op.n_out)
        else:
            _scaled(row, scales, sums, bias, row, step, shift, op.n_out)


@op_kernel(NARROW, ("float32",))
def quads_forward(op, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(X[lo:lo+n] W + b), X and W in bytes. 2*n*n_in*n_out operations; writes its own rows of Y.

    Each row has a step and a zero of its own, or all have the same; rows do not depend on each other.
    """
    quads, p, zeros = as_bytes(slot_scratch(op, data, work, 0)), new_product(), offset(work, ZEROS)
    of_rows = local(work)
    for first in range(lo, lo + n, op.block):
        rows = min(op.block, lo + n - first)
        for i in range(rows):
            x, high, low = offset(work, op.x + (first + i) * op.ld_in), real(work, 0.0), real(work, 0.0)
            if not op.range:
                high, low = largest(x, op.n_in), largest_negative(x, op.n_in)
            inverse, step, zero = steps(op, work, high, low)
            of_rows[2 * i] = step + to_bytes(x, offset(quads, i * op.narrow_row), inverse, zero, op.n_in)
            of_rows[2 * i + 1] = zero
        y = offset(work, op.y + first * op.ld_out)
        product_of_rows(op, p, rows, QUAD)
        call_quads(op.gemm, quads, words_at(op.matrix), y, zeros, y, p)
        for i in range(rows):
            dequantize(op, work, offset(y, i * op.ld_out), 1, of_rows[2 * i], of_rows[2 * i + 1])
        finish(op, y, rows)


@op_kernel(NARROW, ("float32",))
def quads_of_images(op, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(convolution of X[lo:lo+n] by W + b), X and W in bytes; writes its own samples of Y.

    Each sample has a step and a zero of its own, or all have the same; its border is the byte that stands for 0.
    """
    quads, p, zeros = as_bytes(slot_scratch(op, data, work, 0)), new_product(), offset(work, ZEROS)
    pixels, inside = op.out_height * op.out_width, offset(quads, op.inside)
    product_of_windows(op, p, QUAD)
    apart = op.pixel != op.channels
    run, runs = (op.channels, op.width) if apart else (op.width * op.channels, 1)
    for i in range(lo, lo + n):
        image, y = offset(work, op.x + i * op.sample), offset(work, op.y + i * pixels * op.ld_out)
        high, low = real(work, 0.0), real(work, 0.0)
        for r in range(0 if op.range else op.height):
            for j in range(runs):
                x = offset(image, r * op.row + j * op.pixel)
                high, low = max(high, largest(x, run)), max(low, largest_negative(x, run))
        inverse, step, zero = steps(op, work, high, low)
        if op.fills:
            border = (int(zero) - op.bias_of_bytes) & 255
            for k in range(op.numbers):
                quads[k] = border
        for r in range(op.height):
            for j in range(runs):
                x, target = offset(image, r * op.row + j * op.pixel), offset(inside, r * op.narrow_row + j * op.channels)
                step += to_bytes(x, target, inverse, zero, run)
        call_quads(op.gemm, quads, words_at(op.matrix), y, zeros, y, p)
        dequantize(op, work, y, pixels, step, zero)
        finish(op, y, pixels)
