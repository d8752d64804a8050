"""Products of rows with matrices of which only the numbers that are not 0 are there."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .._isa import isa
from .._jit import FLOATS, inner
from .._simd import INT32, INT64, Emit, Vec, copy, integers_at, intrinsic_of, offset, pointer_at, real, where
from ..gemm import ALIGN
from ..layers.activation_function import call_on_tile
from ..layers.base import fields, op_kernel
from ..layers.windows import slot_scratch
from ..transpose import call_transpose

# Kernels of the transpose and of the activation. Addresses of the values, of their inputs within a block of `block` inputs,
# and of where those of each output begin, block by block; the same input by input; of the bias. Scratch of whoever works: a
# block of x turned, from `y_turned` on y turned, from `spoiled` on a row, from `behind` on rows of y that do not fill a
# group. Groups of `ALIGN` rows that are taken at once at the most.
SPARSE = fields(
    "scratch", "scratch_size", "transpose", "activation", "values", "indices", "starts", "column_values", "column_indices",
    "column_starts", "bias", "y_turned", "spoiled", "behind", "groups", "block",
)  # fmt: skip

# Sums that are there at once: each weight that is read is used so often, and four hide the time that one takes. With eight,
# blocks have too few inputs: where a run of an output's weights ends is a surprise each time.
MOST_VECTORS = 6
BLOCK_BYTES = 1 << 15  # of x: what is read from the second cache takes twice as long


def groups_of_lanes(dtype):
    """Most groups of `ALIGN` rows side by side, on this processor."""
    vectors = MOST_VECTORS * (2 if isa().bytes == 16 and isa().registers == 32 else 1)
    return max(1, vectors * isa().width(FLOATS[str(dtype)]) // ALIGN)


def inputs_of_block(dtype):
    """Inputs that are taken at once: a block of x turned is in the first cache while all outputs read it."""
    lanes = ALIGN * groups_of_lanes(dtype)
    return max(1, BLOCK_BYTES // (lanes * np.dtype(dtype).itemsize * ALIGN)) * ALIGN


def _fma(e, a, b, c):
    return e.call("fma", a, b, c) if isa().fma else a * b + c


def _index(e, indices, k):
    """Number k of the int32 array at an address, as int64."""
    pointer = e.builder.inttoptr(indices, INT32.as_pointer())
    return e.builder.sext(e.builder.load(e.builder.gep(pointer, [k]), align=4), INT64)


def _sums(e, vectors, op):
    """IR of `_by_lanes` for so many vectors of rows."""
    b, places = e.builder, [v * e.width for v in range(vectors)]
    sums, spoiled = ([cgutils.alloca_once(b, e.vector) for _ in places] for _ in range(2))
    for s, place in zip(spoiled, places, strict=True):
        b.store(e.load(e.at(op["spoiled"], place)).v, s)
    with cgutils.for_range(b, op["n_in"], intp=INT64) as loop:
        row = e.at(op["x"], b.mul(loop.index, op["ld"]))
        for s, place in zip(spoiled, places, strict=True):
            b.store(_fma(e, e.load(e.at(row, place)), e.constant(0.0), Vec(e, b.load(s))).v, s)
    for s, place in zip(spoiled, places, strict=True):
        e.store(Vec(e, b.load(s)), e.at(op["spoiled"], place))
    floor = Vec(e, e.splat(b.select(op["last"], op["floor"], ir.Constant(e.scalar, float("-inf")))))
    more = [b.select(op["last"], b.load(s), e.constant(0.0).v) for s in spoiled]
    starts = b.inttoptr(op["starts"], INT64.as_pointer())
    with cgutils.for_range(b, op["n_out"], intp=INT64) as loop:
        bias, target = e.splat(b.load(e.at(op["bias"], loop.index))), e.at(op["y"], b.mul(loop.index, op["ld"]))
        for s, place in zip(sums, places, strict=True):
            b.store(b.select(op["first"], bias, e.load(e.at(target, place)).v), s)
        begin, end = (b.load(b.gep(starts, [k])) for k in (loop.index, b.add(loop.index, ir.Constant(INT64, 1))))
        with cgutils.for_range_slice(b, begin, end, ir.Constant(INT64, 1), intp=INT64) as (k, _):
            value = Vec(e, e.splat(b.load(e.at(op["values"], k))))
            row = e.at(op["x"], b.mul(_index(e, op["indices"], k), op["ld"]))
            for s, place in zip(sums, places, strict=True):
                b.store(_fma(e, value, e.load(e.at(row, place)), Vec(e, b.load(s))).v, s)
        for s, m, place in zip(sums, more, places, strict=True):
            y = Vec(e, b.load(s)) + Vec(e, m)
            e.store(where(y < floor, floor, y), e.at(target, place))


def _lanes_typing(typingctx, groups, x, y, spoiled, values, bias, indices, starts, n_in, n_out, ld, floor, first, last):
    number = x.dtype
    names = "x", "y", "spoiled", "values", "bias", "indices", "starts", "n_in", "n_out", "ld", "floor", "first", "last"

    def codegen(context, builder, signature, a):
        op, zero = dict(zip(names, a[1:], strict=True)), ir.Constant(INT64, 0)
        op |= {name: builder.icmp_signed("!=", op[name], zero) for name in ("first", "last")}
        end = builder.append_basic_block("sparse_end")
        switch = builder.switch(a[0], end)
        for g in range(1, groups_of_lanes(number.name) + 1):
            builder.position_at_end(builder.append_basic_block(f"sparse_{g}"))
            switch.add_case(ir.Constant(INT64, g), builder.block)
            e = Emit(builder, number)
            _sums(e, g * ALIGN // e.width, op)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    pointer = types.CPointer(number)
    return types.void(types.intp, *[pointer] * 5, *[types.int64] * 5, number, *[types.int64] * 2), codegen


# _by_lanes(groups, x, y, spoiled, values, bias, indices, starts, n_in, n_out, ld, floor, first, last): for `groups` groups
# of 16 rows, which are columns of x and y, y[j] += the sum of values[k] x[indices[k]] for k from starts[j] to starts[j + 1],
# y[j] being bias[j] before the first block of inputs and at least `floor` after the last. spoiled += 0 x, NaN where a number
# of a row is not finite, comes to all of y in the end.
_by_lanes = intrinsic_of(14, _lanes_typing)


def _column_typing(typingctx, y, values, indices, first, last, x):
    def codegen(context, builder, signature, a):
        y, values, indices, first, last, x = a
        e = Emit(builder, signature.args[0].dtype, 1)
        factor = Vec(e, e.splat(x))
        with cgutils.for_range_slice(builder, first, last, ir.Constant(INT64, 1), intp=INT64) as (k, _):
            target = e.at(y, _index(e, indices, k))
            e.store(_fma(e, e.load(e.at(values, k)), factor, e.load(target)), target)
        return context.get_dummy_value()

    return types.void(y, values, *[types.int64] * 3, y.dtype), codegen


# _add_column(y, values, indices, first, last, x): y[indices[k]] += values[k] x for k from first to last.
_add_column = intrinsic_of(6, _column_typing)


@inner
def row_alone(op, work, i):
    """Row i, input by input."""
    x, y, zero = offset(work, op.x + i * op.ld_in), offset(work, op.y + i * op.ld_out), real(work, 0.0)
    values, bias, starts = pointer_at(op.column_values, work), pointer_at(op.bias, work), integers_at(op.column_starts, 0)
    copy(bias, y, op.n_out)
    spoiled = zero
    for k in range(op.n_in):
        spoiled += x[k] * zero
        if x[k] != zero:
            _add_column(y, values, op.column_indices, starts[k], starts[k + 1], x[k])
    for j in range(op.n_out):
        y[j] += spoiled
        if op.clamps and y[j] < zero:
            y[j] = zero


@inner
def rows_in_lanes(op, work, scratch, first, rows):
    """Rows first..first+rows, at most `groups` groups of them, side by side, output by output."""
    groups, zero = (rows + ALIGN - 1) // ALIGN, real(work, 0.0)
    ld, turned, spoiled = groups * ALIGN, offset(scratch, op.y_turned), offset(scratch, op.spoiled)
    values, bias, x = pointer_at(op.values, work), pointer_at(op.bias, work), offset(work, op.x + first * op.ld_in)
    floor = zero if op.clamps else real(work, -1.0) / zero
    for i in range(ld):
        spoiled[i] = zero
    for i in range(op.n_out * ld, (op.n_out + ALIGN - 1) // ALIGN * ALIGN * ld):  # the padding of y
        turned[i] = zero
    for b in range(0, op.n_in, op.block):
        inputs = min(op.block, op.n_in - b)
        call_transpose(op.transpose, offset(x, b), scratch, rows, inputs, op.ld_in, ld)
        starts, begins, ends = op.starts + 8 * (b // op.block * op.n_out), int(b == 0), int(b + inputs == op.n_in)
        _by_lanes(
            groups, scratch, turned, spoiled, values, bias, op.indices, starts, inputs, op.n_out, ld, floor, begins, ends
        )
    turn_back(op, work, scratch, first, ld, rows)


@inner
def turn_back(op, work, scratch, first, ld, rows):
    """Rows first..first+rows of y from the columns of y turned; those behind them stay."""
    turned, y, whole = offset(scratch, op.y_turned), offset(work, op.y + first * op.ld_out), rows // ALIGN * ALIGN
    if whole:
        call_transpose(op.transpose, turned, y, op.n_out, whole, ld, op.ld_out)
    if whole < rows:
        behind = offset(scratch, op.behind)
        call_transpose(op.transpose, offset(turned, whole), behind, op.n_out, ALIGN, ld, op.ld_out)
        copy(behind, offset(y, whole * op.ld_out), (rows - whole) * op.ld_out)


@op_kernel(SPARSE)
def sparse_forward(op, data, params, grads, work, start, lo, n):
    """Y[lo:lo+n] = f(X[lo:lo+n] W + b). 2 flops a row and weight that is not 0; writes its own rows of Y.

    Rows behind the last one may be read, up to a multiple of 16, and have no effect.
    """
    if n == 1:
        row_alone(op, work, lo)
    else:
        groups = (n + ALIGN - 1) // ALIGN
        blocks = (groups + op.groups - 1) // op.groups
        size = (groups + blocks - 1) // blocks * ALIGN  # all blocks of about the same size
        for first in range(lo, lo + n, size):
            rows_in_lanes(op, work, slot_scratch(op, data, work, 0), first, min(size, lo + n - first))
    if op.activation:
        y = offset(work, op.y + lo * op.ld_out)
        call_on_tile(op.activation, y, y, n, op.n_out, op.ld_out, op.ld_out)
