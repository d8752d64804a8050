"""Loops over rows: functions of vectors become intrinsics that run them along rows of memory, and the most common ones."""

import hashlib
import math

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ._jit import inner
from ._math import fma
from ._simd import INT64, Emit, Vec, copy, intrinsic_of, offset, where


def row_op(inputs, outputs, scalars=0, reduce=None, whole=False, exact=False):
    """Decorator: a function of vectors becomes an intrinsic that runs it along rows.

    The body gets `inputs` vectors and `scalars` splatted scalars and returns a tuple of `outputs` vectors or numbers,
    followed by the value to reduce if `reduce` is "sum" or "max"; another count of them is a TypeError. The intrinsic is
    called from compiled code as `op(in pointers..., out pointers..., scalars..., n)`; all pointers are to one float type; it
    returns the reduced scalar, or nothing. Rows are read and written in whole vectors: they must be padded to a multiple of
    16 elements. Lanes from n on are written as 0 and do not count in the reduction; with `whole` there are none (n is a
    multiple of 16), which saves the masks. With `exact` they keep what is there: rows may stand side by side, anywhere, with
    room for a vector behind the last one; rows that are read and written may be the same, not overlap otherwise.
    """

    def wrap(body):
        def typing(typingctx, *args):
            real = args[0].dtype

            def codegen(context, builder, signature, values):
                result = _emit_row(Emit(builder, real), body, inputs, outputs, reduce, whole, exact, values)
                return context.get_dummy_value() if result is None else result

            pointers = [types.CPointer(real)] * (inputs + outputs)
            result = real if reduce else types.void
            return result(*pointers, *[real] * scalars, types.intp), codegen

        def fingerprint(real):
            """Hash of the code that the body emits: two bodies are the same if, and only if, it is."""
            pointer = (ir.FloatType() if real.bitwidth == 32 else ir.DoubleType()).as_pointer()
            kinds = [pointer] * (inputs + outputs) + [pointer.pointee] * scalars + [INT64]
            function = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), kinds), "row")
            builder = ir.IRBuilder(function.append_basic_block("entry"))
            _emit_row(Emit(builder, real), body, inputs, outputs, reduce, whole, exact, function.args)
            builder.ret_void()
            return hashlib.sha256(str(function).encode()).hexdigest()[:16]

        typing.__name__ = body.__name__
        made = intrinsic_of(inputs + outputs + scalars + 1, typing)
        made.fingerprint = fingerprint
        return made

    return wrap


_COMBINE = {"sum": (0.0, lambda a, b: a + b), "max": (-math.inf, lambda a, b: where(a > b, a, b))}  # max: NaN may pass


def _emit_row(e, body, inputs, outputs, reduce, whole, exact, values):
    b = e.builder
    pointers, n = values[: inputs + outputs], values[-1]
    constants = [Vec(e, e.splat(s)) for s in values[inputs + outputs : -1]]
    step = ir.Constant(INT64, e.width)
    if reduce:
        start, combine = _COMBINE[reduce]
        total = cgutils.alloca_once(b, e.vector)
        b.store(e.constant(start).v, total)
    with cgutils.for_range_slice(b, ir.Constant(INT64, 0), n, step, intp=INT64) as (j, _):
        mask = None if whole else e.lanes_below(b.sub(n, j))
        result = body(*[e.load(e.at(p, j)) for p in pointers[:inputs]], *constants)
        result = result if isinstance(result, tuple) else (result,)
        if len(result) != outputs + bool(reduce):
            raise TypeError(f"{body.__name__} must return {outputs + bool(reduce)} vectors, got {len(result)}")
        result = [e.value(x) for x in result]
        for p, x in zip(pointers[inputs:], result, strict=False):
            rest = e.load(e.at(p, j)) if exact else 0.0
            e.store(x if whole else where(mask, x, rest), e.at(p, j))
        if reduce:
            value = result[-1] if whole else where(mask, result[-1], start)
            b.store(combine(Vec(e, b.load(total)), value).v, total)
    if reduce:
        return e.reduce(Vec(e, b.load(total)), combine)
    return None


def fold_op(body):
    """Decorator: a function of vectors becomes an intrinsic that folds n rows of 16 elements into one.

    The body gets what has been folded so far, a row, and a row that is the same all the way; it returns the new fold and,
    if anything, what is written in place of the row. Called as `op(rows, same, result, n)`: `result` holds the start and
    gets the end. The fold stays in registers: through memory the softmax of 10 scores took 11.7 ns a row, not 8.0.
    """

    def typing(typingctx, rows, same, result, n):
        def codegen(context, builder, signature, values):
            rows, same, result, n = values
            e = Emit(builder, signature.args[0].dtype)
            for lane in range(0, 16, e.width):
                fold, other = cgutils.alloca_once(builder, e.vector), e.load(e.at(same, lane))
                builder.store(e.load(e.at(result, lane)).v, fold)
                with cgutils.for_range(builder, n, intp=INT64) as loop:
                    row = e.at(e.at(rows, lane), builder.mul(loop.index, ir.Constant(INT64, 16)))
                    new, *written = body(Vec(e, builder.load(fold)), e.load(row), other)
                    builder.store(new.v, fold)
                    for x in written:
                        e.store(x, row)
                e.store(Vec(e, builder.load(fold)), e.at(result, lane))
            return context.get_dummy_value()

        return types.void(rows, same, result, types.intp), codegen

    typing.__name__ = body.__name__
    return intrinsic_of(4, typing)


UNROLLED = (
    4  # rows that a `block_op` takes at once, each with sums of its own: one sum waits for the one before, 4 cycles a row
)


def block_op(moving, constant, outputs=0, sums=0, scalars=0):
    """Decorator: a function of vectors becomes an intrinsic that runs it down the rows of blocks, column by column.

    The body gets `moving` vectors of a row, `constant` ones, which are the same for all rows and stay in registers, `scalars`
    splatted scalars and `sums` sums so far; it returns a tuple of `outputs` vectors and the new sums. The intrinsic is called
    as `op(moving pointers..., constant pointers..., output pointers..., sum pointers..., scalars..., rows, ld, n)`: all
    blocks have rows `ld` apart, a multiple of 16. Sums start from 0, are of four interleaved sets of rows, and are written
    in the end.
    Lanes from n on are written as 0.
    """

    def wrap(body):
        def typing(typingctx, *args):
            real = args[0].dtype

            def codegen(context, builder, signature, values):
                _emit_block(Emit(builder, real), body, moving, constant, outputs, sums, scalars, values)
                return context.get_dummy_value()

            pointers = [types.CPointer(real)] * (moving + constant + outputs + sums)
            return types.void(*pointers, *[real] * scalars, *[types.intp] * 3), codegen

        typing.__name__ = body.__name__
        return intrinsic_of(moving + constant + outputs + sums + scalars + 3, typing)

    return wrap


def _emit_block(e, body, moving, constant, outputs, sums, scalars, values):
    b, values = e.builder, list(values)
    taken = [[values.pop(0) for _ in range(k)] for k in (moving, constant, outputs, sums, scalars)]
    blocks, constants, targets, totals, numbers = taken
    rows, ld, n = values
    numbers = [Vec(e, e.splat(s)) for s in numbers]
    parts = [[cgutils.alloca_once(b, e.vector) for _ in totals] for _ in range(UNROLLED if sums else 1)]
    with cgutils.for_range_slice(b, ir.Constant(INT64, 0), n, ir.Constant(INT64, e.width), intp=INT64) as (j, _):
        mask, same = e.lanes_below(b.sub(n, j)), [e.load(e.at(p, j)) for p in constants]
        for part in parts:
            for total in part:
                b.store(e.constant(0.0).v, total)

        def row(r, part):
            at = b.add(b.mul(r, ld), j)
            found = body(*[e.load(e.at(p, at)) for p in blocks], *same, *numbers, *[Vec(e, b.load(t)) for t in part])
            found = [e.value(x) for x in (found if isinstance(found, tuple) else (found,))]
            for p, x in zip(targets, found, strict=False):
                e.store(where(mask, x, 0.0), e.at(p, at))
            for total, x in zip(part, found[outputs:], strict=True):
                b.store(x.v, total)

        whole = b.sub(rows, b.srem(rows, ir.Constant(INT64, len(parts))))
        with cgutils.for_range_slice(b, ir.Constant(INT64, 0), whole, ir.Constant(INT64, len(parts)), intp=INT64) as (r, _):
            for k, part in enumerate(parts):
                row(b.add(r, ir.Constant(INT64, k)), part)
        with cgutils.for_range(b, b.sub(rows, whole), intp=INT64) as loop:
            row(b.add(whole, loop.index), parts[0])
        for k, target in enumerate(totals):
            found = [Vec(e, b.load(part[k])) for part in parts]
            while len(found) > 1:
                found = [x + y for x, y in zip(found[::2], found[1::2], strict=True)]
            e.store(where(mask, found[0], 0.0), e.at(target, j))


@row_op(1, 1, whole=True)
def move(x):
    """Copy n elements, a multiple of 16, from one pointer to another."""
    return x


# ---------------------------------------------------------------- what many kernels do with rows


@row_op(2, 1)
def add(a, b):
    """c = a + b."""
    return a + b


@row_op(2, 1, whole=True)
def add_whole(a, b):
    """c = a + b for a multiple of 16 elements."""
    return a + b


@row_op(1, 1, scalars=1)
def scaled(a, factor):
    """c = factor a."""
    return a * factor


@row_op(2, 1)
def multiply(a, b):
    """c = a b, element by element."""
    return a * b


@row_op(2, 1, whole=True)
def multiply_whole(a, b):
    """c = a b for a multiple of 16 elements."""
    return a * b


@row_op(2, 1, scalars=1)
def add_scaled(a, total, factor):
    """c = total + factor a, rounded once."""
    return fma(a, factor, total)


@row_op(3, 1)
def add_product(a, b, total):
    """c = total + a b, rounded once."""
    return fma(a, b, total)


@row_op(1, 0, reduce="sum")
def sum_of(a):
    """The sum of the elements."""
    return a


@row_op(2, 0, reduce="sum")
def dot(a, b):
    """The sum of a b."""
    return a * b


@inner
def copy_row(source, target, n):
    """n elements, in whole vectors of 16 of which the last may overlap the one before: memcpy takes 10 ns to start."""
    if n < 16:
        copy(source, target, n)
    else:
        for j in range(0, n, 16):
            at = j if j < n - 16 else n - 16
            move(offset(source, at), offset(target, at), 16)
