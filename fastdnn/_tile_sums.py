"""LLVM IR of the sums of a tile of a product: rows x vectors of them stand in registers over the whole inner dimension."""

from collections.abc import Callable
from typing import NamedTuple

from llvmlite import ir

from ._isa import isa
from ._simd import INT64, Vec

# Rows of A whose addresses are one pointer and a multiple of the stride, which instructions scale themselves. These pointers
# are opaque: LLVM would make all rows' addresses of one, by an addition after the other (14 cycles, as long as a tile's
# multiplications take), and needed 1.5 times as long to compile the products.
ROWS_OF_BASE = 4


def begin_loop(builder, name, count, starts):
    """Begin a loop of `count` >= 1 turns over values that are `starts` first: (turn, values, what ends a turn)."""
    loop, done, before = builder.append_basic_block(name), builder.append_basic_block(f"{name}_done"), builder.block
    builder.branch(loop)
    builder.position_at_end(loop)
    turn, phis = builder.phi(INT64), [builder.phi(start.type) for start in starts]

    def end(nexts):
        following = builder.add(turn, ir.Constant(INT64, 1))
        for phi, start, value in zip([turn, *phis], [ir.Constant(INT64, 0), *starts], [following, *nexts], strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
        builder.position_at_end(done)

    return turn, phis, end


def rows_of(e, values, rows):
    """A flat list of LLVM vectors as rows of `Vec`."""
    vectors = len(values) // rows
    return [[Vec(e, v) for v in values[r * vectors : (r + 1) * vectors]] for r in range(rows)]


def _fma(e, a, row, totals):
    """totals + a row, a number from its address times vectors."""
    x = Vec(e, e.splat(e.builder.load(a)))
    return [e.call("fma", x, b, t) if isa().fma else x * b + t for b, t in zip(row, totals, strict=True)]


def _as_they_are(e, tile):
    return tile


class Multiplier(NamedTuple):
    """What stands in the middle of a product.

    `add` makes the IR of totals + a b from the address of a, which all lanes share, and vectors of b; `finish` that of a
    tile, a list of rows of vectors, once all is summed up.
    """

    add: Callable = _fma
    finish: Callable = _as_they_are


def segment_sums(e, how, rows, vectors, a, b, sums, ahead, s):
    """IR of one segment: sums + a[rows, k] b[k, vectors * width], flat lists of LLVM vectors in registers."""
    builder, width = e.builder, e.width
    bases = [e.at(a, builder.mul(s.rsa, ir.Constant(INT64, r))) for r in range(0, rows, ROWS_OF_BASE)]
    steps = [builder.mul(s.rsa, ir.Constant(INT64, r)) for r in range(ROWS_OF_BASE)]
    _, (pb, *carried), end = begin_loop(builder, "k", s.k, [b, *bases, *sums])
    bases, acc = [e.opaque(base) for base in carried[: len(bases)]], rows_of(e, carried[len(bases) :], rows)
    bv = [e.load(e.at(pb, v * width)) for v in range(vectors)]
    for line in range(0, vectors * width, 64 // (e.bits // 8)):
        e.prefetch(e.at(e.at(pb, ahead), line))
    new = []
    for r in range(rows):
        new.append(how.add(e, e.at(bases[r // ROWS_OF_BASE], steps[r % ROWS_OF_BASE]), bv, acc[r]))
    new = [x.v for row in new for x in row]
    end([e.at(pb, s.ldb), *[e.at(base, s.csa) for base in bases], *new])
    return new


def all_sums(e, how, rows, vectors, a, b, first, ahead, s):
    """IR of `segment_sums` over all segments, in the same registers."""
    builder, one = e.builder, ir.Constant(INT64, 1)
    last = builder.sub(s.k1, one)
    _, (place, pa, pb, *sums), end = begin_loop(
        builder, "segment", builder.mul(s.k1, s.k2), [ir.Constant(INT64, 0), a, b, *first]
    )
    sums = segment_sums(e, how, rows, vectors, pa, pb, sums, ahead, s)
    # After k1 segments the next group of them begins.
    turns = builder.icmp_signed("==", place, last)
    step_a, step_b = (
        builder.select(turns, builder.sub(outer, builder.mul(last, step)), step)
        for step, outer in ((s.a1, s.a2), (s.b1, s.b2))
    )
    following = builder.select(turns, ir.Constant(INT64, 0), builder.add(place, one))
    end([following, e.at(pa, step_a), e.at(pb, step_b), *sums])
    return sums
