"""Kernels that take samples from where they stand into rows of the network's float type, and back.

One for each kind of source (`sources`): floats side by side or apart, chunks, integers of 8 and 16 bits and float16.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ._jit import inner, kernel_from
from ._math import fma
from ._rows import copy_row, row_op, sum_of
from ._simd import (
    INT64,
    Emit,
    Vec,
    copy,
    doubles_at,
    integers_at,
    intrinsic_of,
    offset,
    one_by_one,
    pointer_at,
    prefetch,
    real,
    where,
)
from .layers.base import ZEROS, fields, op_kernel, sample

IN_FLIGHT = 1024  # elements of the rows to come that are asked for ahead of time, at most; at least the next row's start
# Number types that are read as they are, exactly, and become floats a batch at a time.
NARROW = {"u1", "i1", "u2", "i2", "f2"}

# Rows of a sample stand in n_in. Offset of a row that has NaN where a number was not finite; address of what integers and
# float16 are multiplied by, and what is added. Of samples that are mixed: the kernel that gathers them, where those that
# they are mixed with stand, elements from row to row and from pixel to pixel of an image.
INPUT = fields("watched", "constants", "gather", "mixed", "row_step", "pixel_step")


def input_op(op, builder, kind, gradient=False, affine=(1.0, 0.0)):
    """Fill in a program's first op, which has no parameters; nothing where the first layer reads the source itself.

    gradient : whether the way back ends with the gradient of the samples, in data.dx
    affine : what numbers of a `NARROW` type are multiplied by, and what is then added
    """
    if builder.reads:
        return
    if kind == "csr":
        raise ValueError("a sparse X needs a first layer that takes it (Dense does); use X.toarray() otherwise")
    width, rows = builder.input_shape[-1], builder.sample_rows
    watched = kind in ("float", "strided") and not builder.with_gradient
    op.forward = GATHERS[kind].address(builder.dtype)
    op.n_in, op.n_out, op.y, op.ld_out = rows, width, builder.new_rows(width), builder.stride(width)
    op.constants = builder.constants(*affine)
    if watched:
        op.watched = builder.new_block(builder.stride(width))
    if gradient:
        op.backward, op.dy = scatter_gradient.address(builder.dtype), builder.new_deltas(width)


@inner
def watch(op, data, work, lo, n):
    """1 into data.flag if a number of samples lo..lo+n is infinite or NaN, where op.watched is a row: 0 times it is NaN.

    A check before the call would cost a small network a fifth of its time.
    """
    if op.watched > 0:
        zeros, ld = offset(work, op.watched), op.ld_out
        copy(offset(work, ZEROS), zeros, ld)
        for i in range(lo * op.n_in, (lo + n) * op.n_in):
            add_nothing(offset(work, op.y + i * ld), zeros, zeros, op.n_out)
        if sum_of(zeros, op.n_out) != real(work, 0.0):
            integers_at(data.flag, 0)[0] = 1


@row_op(2, 1)
def add_nothing(x, zeros):
    return zeros + x * 0.0


@op_kernel(INPUT)
def gather_dense(op, data, params, grads, work, start, lo, n):
    """Samples order[start + lo], ... into n_in rows of n_out numbers each, which stand side by side, 2 moves a number.

    Shuffled samples stand anywhere in memory: some are asked for ahead of time, so that their latencies overlap. Writes its
    own samples, and data.flag (`watch`).
    """
    x, ld, columns, rows = pointer_at(data.x, work), op.ld_out, op.n_out, op.n_in
    size = rows * columns
    ahead = max(1, min(16, IN_FLIGHT // size)) if data.order else 0
    for i in range(lo - ahead, lo + n):
        if one_by_one(ahead) and i + ahead < lo + n:
            coming = offset(x, sample(data, start + i + ahead) * data.x_row)
            for j in range(0, min(size, IN_FLIGHT), 16):
                prefetch(offset(coming, j))
        if i >= lo:
            source = offset(x, sample(data, start + i) * data.x_row)
            for r in range(rows):
                copy_row(offset(source, r * columns), offset(work, op.y + (i * rows + r) * ld), columns)
    watch(op, data, work, lo, n)


@op_kernel(INPUT)
def gather_strided(op, data, params, grads, work, start, lo, n):
    """As `gather_dense` for samples whose numbers stand x_column apart (Fortran order, every other column)."""
    x, columns = pointer_at(data.x, work), op.n_out
    for i in range(lo, lo + n):
        source = offset(x, sample(data, start + i) * data.x_row)
        for r in range(op.n_in):
            target = offset(work, op.y + (i * op.n_in + r) * op.ld_out)
            for j in range(columns):
                target[j] = source[(r * columns + j) * data.x_column]
    watch(op, data, work, lo, n)


@op_kernel(INPUT)
def gather_chunks(op, data, params, grads, work, start, lo, n):
    """As `gather_dense` for chunks: their number in data.x, first samples at data.indptr, addresses at data.indices."""
    starts, addresses = integers_at(data.indptr, 0), integers_at(data.indices, 0)
    columns, rows = op.n_out, op.n_in
    for i in range(lo, lo + n):
        s = sample(data, start + i)
        first, last = 0, data.x
        while last - first > 1:
            middle = (first + last) // 2
            if starts[middle] <= s:
                first = middle
            else:
                last = middle
        x = pointer_at(addresses[first], work)
        for r in range(rows):
            source = offset(x, (s - starts[first]) * data.x_row + r * columns)
            copy_row(source, offset(work, op.y + (i * rows + r) * op.ld_out), columns)


# ---------------------------------------------------------------- narrow numbers


def _floats(e, kind, v):
    """Vector of floats from a vector of the integers that numbers of a NARROW type are made of."""
    builder, wide = e.builder, ir.VectorType(ir.IntType(32), e.width)
    v = builder.sext(v, wide) if kind[0] == "i" else builder.zext(v, wide)
    if kind[0] != "f":
        return Vec(e, builder.sitofp(v, e.vector))

    def bits(x):
        return ir.Constant(wide, [x] * e.width)

    # Half precision has its exponent 112 lower and 13 bits less behind the point; the largest exponent means infinity or NaN.
    magnitude = builder.shl(builder.and_(v, bits(0x7FFF)), bits(13))
    floats = ir.VectorType(ir.FloatType(), e.width)
    scaled = builder.fmul(builder.bitcast(magnitude, floats), ir.Constant(floats, [2.0**112] * e.width))
    special = builder.icmp_unsigned("==", builder.and_(v, bits(0x7C00)), bits(0x7C00))
    found = builder.select(special, builder.or_(magnitude, bits(0x7F800000)), builder.bitcast(scaled, wide))
    found = builder.or_(found, builder.shl(builder.and_(v, bits(0x8000)), bits(16)))
    found = builder.bitcast(found, floats)
    return Vec(e, found if e.bits == 32 else builder.fpext(found, e.vector))


def _converter(kind):
    """Intrinsic (address, target, n, scale, shift): target[j] = scale * number j of the type `kind` at `address` + shift."""
    size = int(kind[1])

    def convert(typingctx, address, target, n, scale, shift):
        real = target.dtype

        def codegen(context, builder, signature, a):
            address, target, n, scale, shift = a
            e = Emit(builder, real)
            element, width = ir.IntType(8 * size), ir.Constant(INT64, e.width)
            source = builder.inttoptr(address, element.as_pointer())
            scale, shift = Vec(e, e.splat(scale)), Vec(e, e.splat(shift))

            def converted(pointer):
                where_ = builder.bitcast(pointer, ir.VectorType(element, e.width).as_pointer())
                return fma(_floats(e, kind, builder.load(where_, align=size)), scale, shift)

            rest = builder.srem(n, width)
            with cgutils.for_range_slice(builder, ir.Constant(INT64, 0), builder.sub(n, rest), width, intp=INT64) as (j, _):
                e.store(converted(e.at(source, j)), e.at(target, j))
            with builder.if_then(builder.icmp_signed(">", rest, ir.Constant(INT64, 0))):
                room = cgutils.alloca_once(builder, element, size=e.width)
                done = builder.sub(n, rest)
                cgutils.raw_memcpy(builder, room, e.at(source, done), rest, size)
                e.store(where(e.lanes_below(rest), converted(room), 0.0), e.at(target, done))
            return context.get_dummy_value()

        return types.void(types.int64, target, types.intp, real, real), codegen

    convert.__name__ = f"convert_{kind}"
    return intrinsic_of(5, convert)


def convert(*args):
    """Placeholder in the template for the converter of a number type."""


def _gather_narrow(op, data, params, grads, work, start, lo, n):
    """As `gather_dense` for integers of 8 or 16 bits and float16, times constants[0] plus constants[1]."""
    columns, rows, size = op.n_out, op.n_in, BYTES
    scale, shift = real(work, doubles_at(op.constants)[0]), real(work, doubles_at(op.constants)[1])
    for i in range(lo, lo + n):
        for r in range(rows):
            source = data.x + (sample(data, start + i) * data.x_row + r * columns) * size
            convert(source, offset(work, op.y + (i * rows + r) * op.ld_out), columns, scale, shift)


BYTES = 1  # of a number, in the template
GATHERS = {"float": gather_dense, "strided": gather_strided, "chunks": gather_chunks} | {
    kind: kernel_from(
        _gather_narrow, f"gather_{kind}", gather_dense.signature, _gather_narrow, convert=_converter(kind), BYTES=int(kind[1])
    )
    for kind in sorted(NARROW)
}


# ---------------------------------------------------------------- back


@op_kernel(INPUT)
def scatter_gradient(op, data, params, grads, work, start, lo, n):
    """The gradients of samples lo..lo+n, without padding, to their positions in data.dx; writes its own samples."""
    columns, rows, target = op.n_out, op.n_in, pointer_at(data.dx, work)
    for i in range(lo * rows, (lo + n) * rows):
        copy(offset(work, op.dy + i * op.ld_out), offset(target, (start * rows + i) * columns), columns)
