"""Vector code of depthwise convolutions: each channel by itself, channels in the lanes, a row of pixels in the registers."""

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .._isa import isa
from .._simd import INT64, Emit, Vec, intrinsic_of, where
from ..gemm import CLAMP, MASK

PIXELS = 8, 4, 1  # that are summed up at once: the most that a row has room for, the last ones again where it does not divide
TAPS = 9, 3, 1  # places of the kernel whose gradients are summed up at once


def _int(n):
    return ir.Constant(INT64, n)


def _multiply_add(e, a, b, c):
    return e.call("fma", a, b, c) if isa().fma else a * b + c


def _clamped(e, v, _):
    return where(v < 0.0, 0.0, v)  # NaN stays: it is not below 0


def _masked(e, v, pointer):
    return where(e.load(pointer).equals(0.0), 0.0, v)


def _row_typing(typingctx, x, w, y, init, saved, taps, n_taps, pixels, x_step, y_step, columns, flags):
    def codegen(context, builder, signature, values):
        x, w, y, init, saved, taps, n_taps, pixels, x_step, y_step, columns, flags = values
        e = Emit(builder, signature.args[0].dtype)
        table = builder.inttoptr(taps, INT64.as_pointer())

        def block(size, first, j):
            """Outputs of `size` pixels from `first` on, a vector of channels from j on."""
            sums = [cgutils.alloca_once(builder, e.vector) for _ in range(size)]
            start = e.load(e.at(init, j)).v
            for total in sums:
                builder.store(start, total)
            source = e.at(e.at(x, j), builder.mul(first, x_step))
            with cgutils.for_range(builder, n_taps, intp=INT64) as loop:
                entry = builder.mul(loop.index, _int(2))
                at_x, at_w = (builder.load(builder.gep(table, [builder.add(entry, _int(k))])) for k in range(2))
                weight, pixel = e.load(e.at(e.at(w, j), at_w)), e.at(source, at_x)
                for total in sums:
                    builder.store(_multiply_add(e, weight, e.load(pixel), Vec(e, builder.load(total))).v, total)
                    pixel = e.at(pixel, x_step)
            at = builder.mul(first, y_step)
            target, other = e.at(e.at(y, j), at), e.at(e.at(saved, j), at)
            for bit, change in ((CLAMP, _clamped), (MASK, _masked)):
                with builder.if_then(builder.icmp_signed("!=", builder.and_(flags, _int(bit)), _int(0))):
                    pointer = other
                    for total in sums:
                        builder.store(change(e, Vec(e, builder.load(total)), pointer).v, total)
                        pointer = e.at(pointer, y_step)
            for total in sums:
                e.store(Vec(e, builder.load(total)), target)
                target = e.at(target, y_step)

        def row(size, j):
            last = builder.sub(pixels, _int(size))
            blocks = builder.sdiv(builder.add(pixels, _int(size - 1)), _int(size))
            with cgutils.for_range(builder, blocks, intp=INT64) as loop:
                first = builder.mul(loop.index, _int(size))
                block(size, builder.select(builder.icmp_signed("<", first, last), first, last), j)

        def fitting(sizes):
            if len(sizes) == 1:
                return row(sizes[0], j)
            with builder.if_else(builder.icmp_signed(">=", pixels, _int(sizes[0]))) as (yes, no):
                with yes:
                    row(sizes[0], j)
                with no:
                    fitting(sizes[1:])
            return None

        with cgutils.for_range_slice(builder, _int(0), columns, _int(e.width), intp=INT64) as (j, _):
            fitting(PIXELS)
        return context.get_dummy_value()

    pointer = x
    return types.void(*[pointer] * 5, *[types.int64] * 7), codegen


# depthwise_row(x, w, y, init, saved, taps, n_taps, pixels, x_step, y_step, columns, flags) y[p * y_step + j] = init[j] + sum
# over the taps (a, b) of w[b + j] * x[p * x_step + a + j], for p < pixels and j < columns rounded up to whole vectors; then
# as the flags of `gemm` say, MASK with `saved`, which has y's steps. `taps`: address of int64.
depthwise_row = intrinsic_of(12, _row_typing)


def _gradient_typing(size):
    def typing(typingctx, x, dy, dw, taps, rows, pixels, x_step, dy_step, x_row, dy_row, columns):
        def codegen(context, builder, signature, values):
            x, dy, dw, taps, rows, pixels, x_step, dy_step, x_row, dy_row, columns = values
            e = Emit(builder, signature.args[0].dtype)
            table = builder.inttoptr(taps, INT64.as_pointer())
            places = [[builder.load(builder.gep(table, [_int(2 * t + k)])) for k in range(2)] for t in range(size)]
            sums = [cgutils.alloca_once(builder, e.vector) for _ in range(size)]
            with cgutils.for_range_slice(builder, _int(0), columns, _int(e.width), intp=INT64) as (j, _):
                targets = [e.at(e.at(dw, j), at_w) for _, at_w in places]
                for total, target in zip(sums, targets, strict=True):
                    builder.store(e.load(target).v, total)
                with cgutils.for_range(builder, rows, intp=INT64) as row:
                    source = e.at(e.at(x, j), builder.mul(row.index, x_row))
                    given = e.at(e.at(dy, j), builder.mul(row.index, dy_row))
                    with cgutils.for_range(builder, pixels, intp=INT64) as loop:
                        pixel = e.at(source, builder.mul(loop.index, x_step))
                        d = e.load(e.at(given, builder.mul(loop.index, dy_step)))
                        for total, (at_x, _) in zip(sums, places, strict=True):
                            builder.store(
                                _multiply_add(e, d, e.load(e.at(pixel, at_x)), Vec(e, builder.load(total))).v, total
                            )
                for total, target in zip(sums, targets, strict=True):
                    e.store(Vec(e, builder.load(total)), target)
            return context.get_dummy_value()

        return types.void(*[x] * 3, *[types.int64] * 8), codegen

    typing.__name__ = f"depthwise_gradient_{size}"
    return typing


# depthwise_gradients[size](x, dy, dw, taps, rows, pixels, x_step, dy_step, x_row, dy_row, columns), of the next `size` taps:
# dw[b + j] += sum over rows and pixels of dy[row * dy_row + p * dy_step + j] * x[row * x_row + p * x_step + a + j]
nine_gradients, three_gradients, one_gradient = (intrinsic_of(11, _gradient_typing(size)) for size in TAPS)
