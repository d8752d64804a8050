"""The dense product C = A B + init on register tiles, with what follows it, and the transpose that goes with it.

One kernel serves the three products of a dense layer (forward, input gradient, weight gradient) and those of what slides
over rows: A is read with any strides, the inner dimension may come in segments that lie anywhere, `init` is a bias, zeros or
another matrix. A tile keeps its part of C in registers over the whole inner dimension, so every element of C is a sum over
it in one order whatever the tile: results depend neither on how rows are cut into tiles nor on the number of threads.
References: Goto & van de Geijn 2008; Georganas et al. 2020 (batch-reduce GEMM).
"""

from types import SimpleNamespace

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._isa import isa
from ._jit import inner, kernel_from
from ._records import Record
from ._simd import INT64, Emit, Vec, caller, intrinsic_of, offset, where
from ._tile_sums import Multiplier, all_sums, begin_loop, rows_of, segment_sums

ALIGN = 16  # elements: every row stride is a multiple of it, whatever the processor
COLUMNS = 8  # every width of a product is a multiple of it


def tile_shape(real):
    """(rows, vectors) of the largest tile: rows x vectors accumulators + vectors of B + one of A fit the registers."""
    if isa().registers < 32:
        return 6, min(2, ALIGN // isa().width(real))
    # Of NEON's 32 registers LLVM keeps some for broadcast elements of A: 14 x 2 spills 11 of them in the inner loop.
    return (14, 2) if isa().bytes == 64 else (6, 4)


def padded(n):
    """Row stride for n columns: a multiple of 16, never of 256 elements.

    Rows a large power of two apart fall into the same cache sets: 1024 wide, a stride of 1024 floats reaches 77 GFLOP/s,
    one of 1040 floats 112.
    """
    stride = -(-n // ALIGN) * ALIGN
    return stride + ALIGN if stride % 256 == 0 else stride


# A row alone is taken so many times as wide: two sums at a time wait for each other's multiplications, and a panel of B
# read so little of each row that memory waits, too (one row of mnist's 784-512-256-10: 31 us; 22 so).
ONE_ROW = 4
# Rows of B, read once, that are asked for ahead of it (one row of mnist: 28 us with the next panel asked for, 25 so).
ROWS_AHEAD = 8

# Rows of a tile of three vectors: 27 sums, three vectors of B and one of A fill 31 of AVX-512's registers.
ROWS_OF_THREE = 9

# What a product does with a finished tile, bits of `flags`.
CLAMP, MASK = 1, 2

# What a product is told, see `gemm`.
PRODUCT = Record(
    "m", "n", "k", "k1", "k2", "rsa", "csa", "ldb", "ldc", "ldy", "ld_init", "a1", "b1", "a2", "b2", "flags", "epilogue",
    "blocks", "a_block", "c_block",
)  # fmt: skip
new_product = PRODUCT.local  # one on the stack of a kernel; `plain` fills it in


def _if(e, condition, values, change):
    """`values` (rows of Vec), or change(values) where the condition holds: a branch that goes one way for a whole product."""
    builder = e.builder
    before, yes, end = builder.block, builder.append_basic_block("yes"), builder.append_basic_block("no")
    builder.cbranch(condition, yes, end)
    builder.position_at_end(yes)
    changed, after = change(values), builder.block
    builder.branch(end)
    builder.position_at_end(end)
    merged = [[Vec(e, builder.phi(e.vector)) for _ in row] for row in values]
    for out, old, new in zip(merged, values, changed, strict=True):
        for phi, u, v in zip(out, old, new, strict=True):
            phi.v.add_incoming(u.v, before)
            phi.v.add_incoming(v.v, after)
    return merged


def _stack(segmented, how, e, rows, vectors, count, a, b, c, init, y, ahead, s):
    """IR of `count` tiles of rows x (vectors * width), one below the other; `s` has the entries of `PRODUCT`.

    Few instructions stand between the last product of a tile and the first of the next: the processor looks some 300
    ahead, and what it cannot overlap costs (170 cycles a tile when each was started from outside, 28 * k being the work).
    """
    builder, width = e.builder, e.width
    turn, (pa, pc, pi, py), end_tile = begin_loop(builder, "tile", count, [a, c, init, y])
    more = builder.icmp_signed("<", builder.add(turn, ir.Constant(INT64, 1)), count)
    # The last tile asks for the next panel of B, row by row: it comes from the third cache, or another core's.
    ahead = builder.select(more, ir.Constant(INT64, 0), ahead)

    def cells(pointer, stride):
        found = []
        for _ in range(rows):
            found.append([e.at(pointer, v * width) for v in range(vectors)])
            pointer = e.at(pointer, stride)
        return found

    def each(f, *others):
        return lambda tile: [[f(x, *z) for x, *z in zip(row, *w, strict=True)] for row, *w in zip(tile, *others, strict=True)]

    def flag(bit):
        return builder.icmp_signed("!=", builder.and_(s.flags, ir.Constant(INT64, bit)), ir.Constant(INT64, 0))

    if segmented:
        first = [e.load(p).v for row in cells(pi, s.ld_init) for p in row]
        tile = all_sums(e, how, rows, vectors, pa, b, first, ahead, s)
    else:
        first = [e.load(e.at(init, v * width)).v for v in range(vectors)] * rows
        tile = segment_sums(e, how, rows, vectors, pa, b, first, ahead, s)
    tile = how.finish(e, rows_of(e, tile, rows))
    tile = _if(e, flag(CLAMP), tile, each(lambda x: where(x < 0.0, 0.0, x)))  # NaN stays: it is not below 0
    tile = _if(
        e, flag(MASK), tile, lambda tile: each(lambda x, p: where(e.load(p).equals(0.0), 0.0, x), cells(py, s.ldy))(tile)
    )
    each(lambda x, p: e.store(x, p), cells(pc, s.ldc))(tile)
    with builder.if_then(builder.icmp_signed("!=", s.epilogue, ir.Constant(INT64, 0))):
        kinds = [c.type, y.type, *[INT64] * 4]
        f = builder.inttoptr(s.epilogue, ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        builder.call(f, [pc, py, ir.Constant(INT64, rows), ir.Constant(INT64, vectors * width), s.ldc, s.ldy])
    height = ir.Constant(INT64, rows)
    steps = (pa, s.rsa), (pc, s.ldc), (pi, s.ld_init), (py, s.ldy)
    end_tile([e.at(pointer, builder.mul(stride, height)) for pointer, stride in steps])


def _tiles_typing(segmented, how=Multiplier()):  # noqa: B008 - a tuple, never changed
    def typing(typingctx, rows, columns, count, a, b, c, init, y, ahead, product):
        real = c.dtype

        def codegen(context, builder, signature, values):
            rows, columns, *rest, product = values
            fields = (builder.load(builder.gep(product, [ir.Constant(INT64, i)])) for i in range(len(PRODUCT.names)))
            entries = SimpleNamespace(**dict(zip(PRODUCT.names, fields, strict=True)))
            most_rows, vectors = tile_shape(real)
            end, widest = builder.append_basic_block("tiles_end"), vectors * isa().width(real)
            switch = builder.switch(builder.add(builder.mul(columns, ir.Constant(INT64, 64)), rows), end)
            width = ONE_ROW * widest
            while width >= min(COLUMNS, widest):
                e = Emit(builder, real, width)
                for r in range(1, 1 + (most_rows if width <= widest else 1)):
                    builder.position_at_end(builder.append_basic_block(f"tile_{r}_{width}"))
                    switch.add_case(ir.Constant(INT64, width * 64 + r), builder.block)
                    _stack(segmented, how, e, r, width // e.width, *rest, entries)
                    builder.branch(end)
                width //= 2
            for r in range(1, 1 + ROWS_OF_THREE if segmented and isa().bytes == 64 else 1):
                e = Emit(builder, real)
                builder.position_at_end(builder.append_basic_block(f"tile_{r}_of_three"))
                switch.add_case(ir.Constant(INT64, 3 * e.width * 64 + r), builder.block)
                _stack(segmented, how, e, r, 3, *rest, entries)
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        pointer = types.CPointer(real)
        return types.void(*[types.intp] * 3, a, *[pointer] * 4, types.intp, PRODUCT.type), codegen

    typing.__name__ = "tiles_of_segments" if segmented else "tiles"
    return typing


def tiles(*args):
    """Placeholder in the template for the tiles of a kind of product."""


def three_vectors(lanes):
    """Placeholder in the template for the columns of tiles of three vectors, of `lanes` each; 0 where there are none."""


@inner
def no_three(lanes):
    return 0


@inner
def three_of(lanes):
    return 3 * lanes if _takes_32() else 0


def blocks_of(p):
    """Placeholder in the template for the number of blocks, which a product without segments has not."""


@inner
def one_block(p):
    return 1


@inner
def all_blocks(p):
    return p.blocks


def _tile_limits_typing(typingctx, like):
    """Constants of the float type of the pointer `like`: rows and columns of the largest tile, lanes of a vector."""
    (rows, vectors), width = tile_shape(like.dtype), isa().width(like.dtype)
    kind, limits = types.UniTuple(types.intp, 3), (rows, vectors * width, width)

    def codegen(context, builder, signature, a):
        return context.make_tuple(builder, kind, [ir.Constant(INT64, x) for x in limits])

    return kind(like), codegen


_tile_limits = intrinsic_of(1, _tile_limits_typing)


def _takes_32_typing(typingctx):
    def codegen(context, builder, signature, args):
        return ir.Constant(INT64, int(isa().bytes == 64))

    return types.int64(), codegen


_takes_32 = intrinsic(_takes_32_typing)


@inner
def whole_blocks(n):
    """n rounded up to the least that products take."""
    return (n + COLUMNS - 1) // COLUMNS * COLUMNS


@inner
def whole_columns(n):
    """n rounded up to what products take; a row's padding has room for it.

    With vectors of 64 bytes a tile of 32 columns takes as long as one of 8: broadcast elements of A come one a cycle. So the
    last 24 columns are computed as 32: a convolution of 24 channels at 73 % of the peak, not at 37. And the last 40 as 48, in
    tiles of three vectors, which take as long as 32 and half of the next 32.
    """
    columns = whole_blocks(n)
    rest = columns % (4 * COLUMNS)
    wider = rest == 3 * COLUMNS or (rest == COLUMNS and columns > COLUMNS)
    return columns + COLUMNS if _takes_32() and wider else columns


def epilogue_signature(real):
    """Of a function applied to each finished tile: (c, y, rows, columns, ldc, ldy), pointers to the tile's corners."""
    p = types.CPointer(real)
    return types.void(p, p, *[types.intp] * 4)


def gemm_signature(real):
    p = types.CPointer(real)
    return types.void(p, p, p, p, p, PRODUCT.type)


call_gemm = caller(gemm_signature, 6)


@inner
def plain(p, m, n, k, rsa, ldb, ldc):
    """Fill in a `PRODUCT` as m x n with an inner dimension of k in one segment, columns of A side by side."""
    p.m, p.n, p.k, p.k1, p.k2 = m, n, k, 1, 1
    p.rsa, p.csa, p.ldb, p.ldc, p.ldy, p.ld_init = rsa, 1, ldb, ldc, ldc, 0
    p.a1, p.b1, p.a2, p.b2, p.flags, p.epilogue = 0, 0, 0, 0, 0, 0
    p.blocks, p.a_block, p.c_block = 1, 0, 0


def _gemm(a, b, c, init, y, p):
    """C = A B + init, then what the flags say, then epilogue(C, Y) tile by tile while the tile is in the first cache.

    c[i, j] = init[i * ld_init + j] + sum over s2 < k2, s1 < k1, s < k of
    a[i * rsa + s * csa + s1 * a1 + s2 * a2] * b[(s * ldb + s1 * b1 + s2 * b2) + j], in that order.
    The same for each of `blocks` blocks, A being a_block and C, Y, and init where it is a matrix, c_block elements on.

    m, n : rows and columns of C, n a multiple of 8; all rows of b, c, init, y are readable and writable up to there
    k, k1, k2 : the inner dimension, in k2 groups of k1 segments of k (`gemm_of_segments`; `gemm` takes k1, k2, blocks as 1)
    rsa, csa, ldb, ldc, ldy : strides of A, and of the rows of B, C and Y     a1, b1, a2, b2 : from segment to segment and
    from group to group     ld_init : 0 adds the same row to all (a bias), ldc with init = c adds to C (`gemm` takes it as 0)
    flags : CLAMP makes what is below 0 a 0, MASK makes it 0 where Y is 0 (ReLU and its derivative)
    epilogue : address, 0 for none
    Cost 2*m*n*k*k1*k2 flops. Panels of B (k x 2 vectors) stay in the second cache while the rows of A pass by; blocks of A
    kept there instead were slower at every size, most at 2048 wide (80 % of the peak against 94).
    """
    tallest, widest, lanes = _tile_limits(c)
    m, n, three = p.m, p.n, three_vectors(lanes)
    stacks = (m + tallest - 1) // tallest
    low = m // stacks  # tiles as even as they can be: some of them a row taller, these come first
    tall = m - low * stacks
    j, columns = 0, widest * ONE_ROW if m == 1 else widest
    while j < n:
        if three and n - j == three:
            columns, stacks = three, (m + ROWS_OF_THREE - 1) // ROWS_OF_THREE
            low = m // stacks
            tall = m - low * stacks
        while columns > n - j:
            columns //= 2
        blocks = blocks_of(p)
        for block in range(blocks):
            i, at_a, at_c = 0, block * p.a_block, block * p.c_block
            at_init = at_c if p.ld_init else 0
            for rows, count in ((low + 1, tall), (low, stacks - tall)):
                if count:
                    ahead = columns if j + columns < n and i + rows * count == m and block == blocks - 1 else 0
                    if m == 1:
                        ahead = ROWS_AHEAD * p.ldb
                    tiles(
                        rows, columns, count, offset(a, at_a + i * p.rsa), offset(b, j), offset(c, at_c + i * p.ldc + j),
                        offset(init, at_init + i * p.ld_init + j), offset(y, at_c + i * p.ldy + j), ahead, p,
                    )  # fmt: skip
                    i += rows * count
        j += columns


# Most products have one segment, and one row as init: they need not look for more, which takes 6 % of a step of 16-32-32-2.
gemm = kernel_from(
    _gemm,
    "gemm",
    gemm_signature,
    _gemm,
    tiles=intrinsic_of(10, _tiles_typing(False)),
    blocks_of=one_block,
    three_vectors=no_three,
)


def product_of_segments(name, signature, how=Multiplier(), **settings):  # noqa: B008 - a tuple, never changed
    """A `Kernel` of `_gemm` in segments, with a `Multiplier` in the middle."""
    tiles = intrinsic_of(10, _tiles_typing(True, how))
    return kernel_from(_gemm, name, signature, _gemm, tiles=tiles, blocks_of=all_blocks, three_vectors=three_of, **settings)


gemm_of_segments = product_of_segments("gemm_of_segments", gemm_signature)
