"""Rows of float32 as pairs of bfloat16 in 32-bit words: numbers side by side, or of two rows one below the other; turned.

A product of pairs reads A and B in words along its inner dimension (see `narrowing`). Where that runs along a row, words are
neighbors of the row (`halves`); where it runs down the rows, a word has a number of each of two rows (`pairs`), the upper
row's first. Numbers are rounded to the nearest, ties to even; NaN stays NaN.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ._dots import HALF
from ._simd import INT32, INT64, Emit, intrinsic_of, where
from .narrowing import to_bfloat16
from .transpose import turned_block

BLOCK = 8  # words of a side of the squares in which matrices are turned: any channels in eights fill them


def _over_rows(builder, n, body):
    """body(e, j, mask) for whole vectors along n numbers; mask: the lanes that are among them."""
    e = Emit(builder, types.float32)
    with cgutils.for_range_slice(builder, ir.Constant(INT64, 0), n, ir.Constant(INT64, e.width), intp=INT64) as (j, _):
        body(e, j, e.lanes_below(builder.sub(n, j)))


def _store(builder, x, pointer):
    builder.store(x, builder.bitcast(pointer, x.type.as_pointer()), align=1)


def _words(e, first, second):
    """Words of the lanes of two vectors of 16-bit integers, the first in the lower halves; as a vector of float32."""
    b, words = e.builder, ir.VectorType(INT32, len_of(first))
    upper = b.shl(b.zext(second, words), ir.Constant(words, [16] * words.count))
    return b.bitcast(b.or_(b.zext(first, words), upper), ir.VectorType(ir.FloatType(), words.count))


def len_of(x):
    """Lanes of an LLVM vector."""
    return x.type.count


def _row_halves_typing(typingctx, source, target, n):
    def codegen(context, builder, signature, values):
        source, target, n = values

        def body(e, j, mask):
            _store(builder, to_bfloat16(e, where(mask, e.load(e.at(source, j)), 0.0)), e.at(target, j))

        _over_rows(builder, n, body)
        return context.get_dummy_value()

    return types.void(source, target, types.intp), codegen


# (source, target, n): n float32 numbers as bfloat16, 0 behind them up to a whole vector.
row_halves = intrinsic_of(3, _row_halves_typing)


def _row_pairs_typing(typingctx, first, second, target, n):
    def codegen(context, builder, signature, values):
        first, second, target, n = values

        def body(e, j, mask):
            found = [to_bfloat16(e, where(mask, e.load(e.at(p, j)), 0.0)) for p in (first, second)]
            _store(builder, _words(e, *found), e.at(target, j))

        _over_rows(builder, n, body)
        return context.get_dummy_value()

    return types.void(first, second, target, types.intp), codegen


# (first, second, target, n): words of the numbers of two rows, 0 behind n of them up to a whole vector.
row_pairs = intrinsic_of(4, _row_pairs_typing)


def _pairs_apart_typing(typingctx, source, apart, target, n):
    def codegen(context, builder, signature, values):
        source, apart, target, n = values
        second = builder.gep(source, [apart])

        def body(e, j, mask):
            halves = ir.VectorType(HALF, e.width).as_pointer()
            found = [builder.load(builder.bitcast(e.at(p, j), halves), align=1) for p in (source, second)]
            _store(builder, _words(e, *found), e.at(target, j))

        _over_rows(builder, n, body)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), codegen


# (source, apart, target, n): n words of the numbers of bfloat16 and those `apart` numbers behind them, in whole vectors.
pairs_apart = intrinsic_of(4, _pairs_apart_typing)


def _turn_pairs_typing(typingctx, source, target, lds, ldt):
    def codegen(context, builder, signature, values):
        source, target, lds, ldt = values
        e = Emit(builder, types.float32, BLOCK)
        rows = []
        for i in range(BLOCK):
            row = e.at(source, builder.mul(lds, ir.Constant(INT64, i)))
            numbers = [to_bfloat16(e, e.load(e.at(row, k))) for k in range(0, 2 * BLOCK, e.width)]
            rows.append(_joined(builder, numbers))
        for i, row in enumerate(turned_block(builder, rows)):
            _store(builder, row, e.at(target, builder.mul(ldt, ir.Constant(INT64, i))))
        return context.get_dummy_value()

    return types.void(source, target, types.intp, types.intp), codegen


def _joined(builder, vectors):
    """Vectors of 16-bit integers, one behind the other, as one of words, float32."""
    while len(vectors) > 1:
        count = 2 * len_of(vectors[0])
        lanes = ir.Constant(ir.VectorType(INT32, count), list(range(count)))
        vectors = [builder.shuffle_vector(a, b, lanes) for a, b in zip(vectors[::2], vectors[1::2], strict=True)]
    return builder.bitcast(vectors[0], ir.VectorType(ir.FloatType(), len_of(vectors[0]) // 2))


# (source, target, lds, ldt): 8 rows of 16 float32 numbers as 8 rows of words, target[j, i] = (source[i, 2 j], [i, 2 j + 1]).
turn_pairs = intrinsic_of(4, _turn_pairs_typing)


def _word_of_typing(typingctx, source, target):
    def codegen(context, builder, signature, values):
        source, target = values
        e = Emit(builder, types.float32, 2)
        _store(builder, _joined(builder, [to_bfloat16(e, e.load(source))]), target)
        return context.get_dummy_value()

    return types.void(source, target), codegen


word_of = intrinsic_of(2, _word_of_typing)  # (source, target): two float32 numbers, one behind the other, as a word
