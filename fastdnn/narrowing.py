"""Rows of float32 as narrower numbers: bfloat16, bytes in a range; and the products of such rows with packed matrices.

A matrix (k, n) is packed in words of 32 bits, each with `p` numbers of a column that stand one below the other: two of
bfloat16, four bytes. Row r of the packed matrix has the numbers of the rows p r to p r + p - 1. Rows of A are as they were,
and p neighbors are one word; k is filled up with zeros to a multiple of p.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._dots import BYTE, HALF, add_pairs, add_quads, byte_bias, has_bfloat16, to_floats
from ._rows import row_op
from ._simd import INT32, INT64, Emit, Vec, caller, intrinsic_of, where
from ._tile_sums import Multiplier
from .gemm import PRODUCT, padded, product_of_segments

PAIR, QUAD = 2, 4  # numbers of a word
MOST_QUADS = (2**31 - 1) // (255 * 127)  # bytes of a row whose products cannot leave int32: 66,311


# ---------------------------------------------------------------- packing, in NumPy


def rounded(values):
    """float32 numbers as bfloat16, rounded to the nearest, ties to even, in a uint16 array; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    with np.errstate(over="ignore"):
        near = (bits + (0x7FFF + ((bits >> 16) & 1)).astype(np.uint32)) >> 16
    return np.where(np.isnan(values), (bits >> 16) | 0x40, near).astype(np.uint16)


def widened(halves):
    """bfloat16 numbers, a uint16 array, as float32."""
    return (np.asarray(halves, np.uint32) << 16).view(np.float32)


def quantized(kernel):
    """(int8 array, float32 scales): a matrix (..., n) in 255 steps of each column's own, symmetric about 0."""
    kernel = np.asarray(kernel, np.float64)
    largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.where(largest == 0, 1.0, largest / 127).astype(np.float32)  # what is not finite spoils the whole column
        steps = np.nan_to_num(kernel / scale)
    return np.clip(np.rint(steps), -127, 127).astype(np.int8), scale


def packed(matrix, p, rows=None):
    """A matrix (k, n) of uint16 or int8 in words, uint32 (ceil(k / p), padded(n)); each run of `rows` filled up by itself.

    A kernel of a convolution is read in runs, each of which starts a word.
    """
    k, n = matrix.shape
    rows = rows or k
    words = -(-rows // p)
    filled = np.zeros((k // rows, words * p, padded(n)), matrix.dtype)
    filled[:, :rows, :n] = matrix.reshape(k // rows, rows, n)
    quads = filled.reshape(k // rows * words, p, padded(n)).transpose(0, 2, 1)
    return np.ascontiguousarray(quads).view(np.uint32)[..., 0]


# ---------------------------------------------------------------- products


def _signature_of(narrow):
    def signature(real):
        """As `gemm.gemm_signature`, A being narrow numbers: its strides count these, k words."""
        p = types.CPointer(types.float32)
        return types.void(types.CPointer(narrow), p, p, p, p, PRODUCT.type)

    return signature


pairs_signature, quads_signature = _signature_of(types.uint16), _signature_of(types.uint8)
gemm_of_pairs = product_of_segments("gemm_of_pairs", pairs_signature, Multiplier(add_pairs), dtypes=("float32",))
gemm_of_quads = product_of_segments("gemm_of_quads", quads_signature, Multiplier(add_quads, to_floats), dtypes=("float32",))
call_pairs, call_quads = caller(pairs_signature, 6), caller(quads_signature, 6)


# ---------------------------------------------------------------- rows


def _pointer_as(kind):
    @intrinsic
    def as_kind(typingctx, pointer):
        target = types.CPointer(kind)
        return target(pointer), lambda context, builder, signature, a: builder.bitcast(a[0], context.get_value_type(target))

    return as_kind


as_halves, as_bytes = _pointer_as(types.uint16), _pointer_as(types.uint8)


@intrinsic
def words_at(typingctx, address):
    """The int64 `address` of packed words as the pointer to float32 that products take."""
    kind = types.CPointer(types.float32)
    return kind(types.int64), lambda context, builder, signature, a: builder.inttoptr(a[0], context.get_value_type(kind))


def _along(builder, n, real, body):
    """body(e, j) for vectors of the elements j of a row, then for each that is left, with an `Emit` of as many lanes."""
    wide = Emit(builder, real)
    lanes = ir.Constant(INT64, wide.width)
    whole = builder.mul(builder.udiv(n, lanes), lanes)
    for e, start, end in ((wide, ir.Constant(INT64, 0), whole), (Emit(builder, real, 1), whole, n)):
        with cgutils.for_range_slice(builder, start, end, ir.Constant(INT64, e.width), intp=INT64) as (j, _):
            body(e, j)


class _BFloat(ir.types.Type):
    """LLVM's bfloat, which llvmlite does not know."""

    null = "0.0"

    def _to_string(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, _BFloat)

    def __hash__(self):
        return hash(_BFloat)


def to_bfloat16(e, x):
    """A vector of float32 as bfloat16, in one of 16-bit integers."""
    b, halves, words = e.builder, ir.VectorType(HALF, e.width), ir.VectorType(INT32, e.width)
    if has_bfloat16():
        return b.bitcast(b.fptrunc(x.v, ir.VectorType(_BFloat(), e.width)), halves)

    def constant(value):
        return ir.Constant(words, [value] * e.width)

    bits = b.bitcast(x.v, words)
    upper = b.lshr(bits, constant(16))
    near = b.lshr(b.add(bits, b.add(constant(0x7FFF), b.and_(upper, constant(1)))), constant(16))
    return b.trunc(b.select(x.is_nan().v, b.or_(upper, constant(0x40)), near), halves)


def _store_narrow(e, values, pointer, j):
    place = e.builder.bitcast(e.builder.gep(pointer, [j]), values.type.as_pointer())
    e.builder.store(values, place, align=1)


def _to_halves_typing(typingctx, source, target, n):
    def codegen(context, builder, signature, values):
        source, target, n = values

        def body(e, j):
            _store_narrow(e, to_bfloat16(e, e.load(e.at(source, j))), target, j)

        _along(builder, n, types.float32, body)
        return context.get_dummy_value()

    return types.void(source, target, types.intp), codegen


to_halves = intrinsic_of(3, _to_halves_typing)  # (source, target, n): n float32 numbers as bfloat16, and not one more


def _to_bytes_typing(typingctx, source, target, inverse, zero, n):
    def codegen(context, builder, signature, values):
        source, target, inverse, zero, n = values
        emits = [Emit(builder, types.float32), Emit(builder, types.float32, 1)]
        totals = {e.width: cgutils.alloca_once_value(builder, e.constant(0.0).v) for e in emits}

        def body(e, j):
            x = e.load(e.at(source, j))
            step = x * Vec(e, e.splat(inverse)) + Vec(e, e.splat(zero))
            step = where(step > 0.0, step, 0.0) + 0.5  # NaN becomes 0, and spoils the sum
            step = where(step < 255.0, step, 255.0)
            words, quads = (ir.VectorType(kind, e.width) for kind in (INT32, BYTE))
            found = builder.trunc(builder.fptosi(step.v, words), quads)
            if byte_bias():
                found = builder.xor(found, ir.Constant(quads, [-128] * e.width))
            _store_narrow(e, found, target, j)
            total = totals[e.width]
            builder.store((Vec(e, builder.load(total)) + x * 0.0).v, total)

        _along(builder, n, types.float32, body)
        sums = [e.reduce(Vec(e, builder.load(totals[e.width])), lambda a, b: a + b) for e in emits]
        return builder.fadd(*sums)

    return types.float32(source, target, types.float32, types.float32, types.intp), codegen


# (source, target, inverse, zero, n): n float32 numbers as round(x * inverse + zero), 0 to 255, and not one more; gives 0, or
# NaN where one of them is not finite.
to_bytes = intrinsic_of(5, _to_bytes_typing)


@row_op(1, 0, reduce="max")
def largest(x):
    """The largest of the elements."""
    return x


@row_op(1, 0, reduce="max")
def largest_negative(x):
    """The largest of the elements with the other sign."""
    return -x
