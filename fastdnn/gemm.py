"""The dense product C = max(A B + init, floor) on register tiles, and the transpose that goes with it.

One kernel serves the three products of a dense layer (forward, input gradient, weight gradient): A is read with any
strides, `init` is a bias row, C itself (to accumulate) or zeros. A tile keeps its part of C in registers over the whole
inner dimension, so every element of C is a sum over k = 0, 1, 2, ... in that order whatever the tile: results depend
neither on how rows are cut into tiles nor on the number of threads. References: Goto & van de Geijn 2008; Georganas et
al. 2020 (batch-reduce GEMM).
"""

from llvmlite import ir
from numba import types

from ._jit import kernel
from ._simd import INT32, INT64, Emit, Vec, caller, intrinsic_of, isa, offset, where

ALIGN = 16  # elements: every row stride and every width that kernels see is a multiple of it, whatever the processor


def tile_shape(real):
    """(rows, vectors) of the largest tile: rows x vectors accumulators + vectors of B + one of A fit the registers."""
    registers = isa().registers
    vectors = min(2, ALIGN // isa().width(real)) if registers < 32 else 2
    return (registers - 4) // 2 if registers >= 32 else 6, vectors


def padded(n):
    """Row stride for n columns: a multiple of 16, never of 256 elements.

    Rows a large power of two apart fall into the same cache sets: 1024 wide, a stride of 1024 floats reaches 77 GFLOP/s,
    one of 1040 floats 112.
    """
    stride = -(-n // ALIGN) * ALIGN
    return stride + ALIGN if stride % 256 == 0 else stride


def _tile(e, rows, vectors, a, b, c, init, ahead, k, rsa, csa, ldb, ldi, ldc, floor):
    """IR of one tile: c[rows, vectors * width] = max(a[rows, k] b[k, :] + init, floor), floor a splatted Vec."""
    builder, width = e.builder, e.width
    loop, done, before = builder.append_basic_block("k"), builder.append_basic_block("end"), builder.block
    start_rows = [builder.mul(rsa, ir.Constant(INT64, r)) for r in range(rows)]

    def cells(pointer, stride):
        return [
            [e.at(pointer, builder.add(builder.mul(stride, ir.Constant(INT64, r)), ir.Constant(INT64, v * width)))
             for v in range(vectors)] for r in range(rows)
        ]  # fmt: skip

    first = [[e.load(p) for p in row] for row in cells(init, ldi)]
    builder.branch(loop)
    builder.position_at_end(loop)
    i, pa, pb = builder.phi(INT64), builder.phi(a.type), builder.phi(b.type)
    acc = [[Vec(e, builder.phi(e.vector)) for _ in range(vectors)] for _ in range(rows)]
    bv = [e.load(e.at(pb, v * width)) for v in range(vectors)]
    for line in range(0, vectors * width, 64 // (e.bits // 8)):
        e.prefetch(e.at(e.at(pb, ahead), line))
    new = []
    for r in range(rows):
        s = Vec(e, e.splat(builder.load(e.at(pa, start_rows[r]))))
        new.append([e.call("fma", s, bv[v], acc[r][v]) if isa().fma else s * bv[v] + acc[r][v] for v in range(vectors)])
    following = builder.add(i, ir.Constant(INT64, 1))
    for phi, initial, value in [
        (i, ir.Constant(INT64, 0), following),
        (pa, a, e.at(pa, csa)),
        (pb, b, e.at(pb, ldb)),
        *((acc[r][v].v, first[r][v].v, new[r][v].v) for r in range(rows) for v in range(vectors)),
    ]:
        phi.add_incoming(initial, before)
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, k), loop, done)
    builder.position_at_end(done)
    for r, row in enumerate(cells(c, ldc)):
        for v, p in enumerate(row):
            e.store(where(new[r][v] < floor, floor, new[r][v]), p)  # NaN stays: it is not below the floor


def _tiles_typing(typingctx, rows, vectors, a, b, c, init, ahead, k, rsa, csa, ldb, ldi, ldc, floor):
    real = a.dtype

    def codegen(context, builder, signature, values):
        e = Emit(builder, real)
        rows, vectors, *rest = values
        rest[-1] = Vec(e, e.splat(rest[-1]))
        most_rows, most_vectors = tile_shape(real)
        end = builder.append_basic_block("tiles_end")
        # Widths are multiples of 16: where 16 elements make whole wide tiles, narrow tiles never occur.
        kinds = [v for v in range(1, most_vectors + 1) if v == most_vectors or ALIGN % (most_vectors * e.width)]
        code = builder.add(builder.mul(vectors, ir.Constant(INT64, 64)), rows)
        switch = builder.switch(code, end)
        for v in kinds:
            for r in range(1, most_rows + 1):
                builder.position_at_end(builder.append_basic_block(f"tile_{r}_{v}"))
                switch.add_case(ir.Constant(INT64, v * 64 + r), builder.block)
                _tile(e, r, v, *rest)
                builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    pointer = types.CPointer(real)
    return types.void(*[types.intp] * 2, *[pointer] * 4, *[types.intp] * 7, real), codegen


_tiles = intrinsic_of(14, _tiles_typing)


def _tile_limits_typing(typingctx, like):
    """(rows, columns, lanes of a vector) of the largest tile for the float type of the pointer `like`, as constants."""
    (rows, vectors), width = tile_shape(like.dtype), isa().width(like.dtype)
    kind = types.UniTuple(types.intp, 3)

    def codegen(context, builder, signature, a):
        return context.make_tuple(builder, kind, [ir.Constant(INT64, x) for x in (rows, vectors * width, width)])

    return kind(like), codegen


_tile_limits = intrinsic_of(1, _tile_limits_typing)


def epilogue_signature(real):
    """Of a function applied to each finished tile: (c, y, rows, columns, ldc, ldy), pointers to the tile's corners."""
    p = types.CPointer(real)
    return types.void(p, p, *[types.intp] * 4)


def gemm_signature(real):
    p = types.CPointer(real)
    return types.void(p, p, p, p, *[types.intp] * 8, real, types.int64, p, types.intp)


_call_epilogue = caller(epilogue_signature, 6)
call_gemm = caller(gemm_signature, 16)


@kernel(gemm_signature)
def gemm(a, b, c, init, m, n, k, rsa, csa, ldb, ldi, ldc, floor, epilogue, y, ldy):
    """C = max(A B + init, floor), then epilogue(C, Y) tile by tile while the tile is in the first cache.

    a : element (i, k) at a[i * rsa + k * csa], m x k     b : (k, n), row stride ldb     c : (m, n), row stride ldc, written
    init : (m, n), row stride ldi; 0 repeats one row (a bias); c itself accumulates
    n : a multiple of 16; all rows of b, c, init are readable and writable up to there
    floor : lower bound, -inf for none (NaN passes)     epilogue : address, 0 for none; y : (m, n), row stride ldy, its output
    Cost 2*m*n*k flops. Panels of B (k x 2 vectors) stay in the second cache while the rows of A pass by.
    """
    tallest, widest, width = _tile_limits(a)
    j = 0
    while j < n:
        columns = min(widest, n - j)
        i = 0
        while i < m:
            left = (m - i + tallest - 1) // tallest  # tiles still to come, as even as they can be
            rows = (m - i + left - 1) // left
            # The last tile of a panel asks for the next one, row by row: it comes from the third cache, or another core's.
            ahead = columns if left == 1 and j + columns < n else 0
            tile = offset(c, i * ldc + j)
            start = offset(init, i * ldi + j)
            _tiles(
                rows,
                columns // width,
                offset(a, i * rsa),
                offset(b, j),
                tile,
                start,
                ahead,
                k,
                rsa,
                csa,
                ldb,
                ldi,
                ldc,
                floor,
            )
            if epilogue:
                _call_epilogue(epilogue, tile, offset(y, i * ldy + j), rows, columns, ldc, ldy)
            i += rows
        j += columns


# ---------------------------------------------------------------- transpose


def _transpose_block_typing(typingctx, source, target, lds, ldt):
    real = source.dtype

    def codegen(context, builder, signature, values):
        e = Emit(builder, real)
        source, target, lds, ldt = values
        rows = [e.load(e.at(source, builder.mul(lds, ir.Constant(INT64, i)))).v for i in range(e.width)]
        step = e.width // 2
        while step:  # a butterfly of shuffles: after the step d, index bit d has changed places between row and lane
            mixed = list(rows)
            for i in range(e.width):
                if not i & step:
                    low = [j if not j & step else e.width + j - step for j in range(e.width)]
                    high = [j + step if not j & step else e.width + j for j in range(e.width)]
                    for place, lanes in ((i, low), (i + step, high)):
                        lanes = ir.Constant(ir.VectorType(INT32, e.width), lanes)
                        mixed[place] = builder.shuffle_vector(rows[i], rows[i + step], lanes)
            rows, step = mixed, step // 2
        for i, row in enumerate(rows):
            e.store(Vec(e, row), e.at(target, builder.mul(ldt, ir.Constant(INT64, i))))
        return context.get_dummy_value()

    return types.void(source, target, types.intp, types.intp), codegen


_transpose_block = intrinsic_of(4, _transpose_block_typing)


def transpose_signature(real):
    p = types.CPointer(real)
    return types.void(p, p, *[types.intp] * 4)


@kernel(transpose_signature)
def transpose(source, target, rows, columns, lds, ldt):
    """target[j, i] = source[i, j]; rows and columns are rounded up to multiples of 16, which both must have room for.

    In square blocks of one vector's width, in registers: 0.1-0.2 ns an element in cache, against 0.9 for a plain loop.
    """
    _, _, width = _tile_limits(source)
    for i in range(0, (rows + ALIGN - 1) // ALIGN * ALIGN, width):
        for j in range(0, (columns + ALIGN - 1) // ALIGN * ALIGN, width):
            _transpose_block(offset(source, i * lds + j), offset(target, j * ldt + i), lds, ldt)


call_transpose = caller(transpose_signature, 6)
