"""Products of several narrow numbers at once: pairs of bfloat16, quads of bytes, in each 32-bit word of a vector.

Where the processor has an instruction for it (AVX512-BF16's `vdpbf16ps`, VNNI's `vpdpbusd`, Arm's `sdot`) it is used, else
plain operations that give the same bits: a bfloat16 is the upper half of a float32, so pairs are two products of halves that
are widened by a shift (`vdpbf16ps` is the same two fused multiply-adds, the second number of a pair first; it takes denormals
as 0, which plain operations do not), and bytes are multiplied as 16-bit integers, which cannot overflow. An instruction that
Numba's target machine does not have ends the process while it is compiled, so what there is is read off what that machine
makes of generic code; the flags of the processor would be the wrong thing to ask (NUMBA_CPU_NAME).
"""

import functools
import re

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target

from ._isa import isa
from ._simd import INT32, Vec

BYTE, HALF = ir.IntType(8), ir.IntType(16)

_BFLOAT = """define void @f(<16 x float>* %p, <16 x bfloat>* %q) {
    %a = load <16 x float>, <16 x float>* %p, align 4
    %b = fptrunc <16 x float> %a to <16 x bfloat>
    store <16 x bfloat> %b, <16 x bfloat>* %q, align 2
    ret void }"""

_BYTES = """define i32 @f(<{n} x i8>* %p, <{n} x i8>* %q) {{
    %a = load <{n} x i8>, <{n} x i8>* %p, align 1
    %b = load <{n} x i8>, <{n} x i8>* %q, align 1
    %c = {extend} <{n} x i8> %a to <{n} x i32>
    %d = sext <{n} x i8> %b to <{n} x i32>
    %e = mul <{n} x i32> %c, %d
    %f = call i32 @llvm.vector.reduce.add.v{n}i32(<{n} x i32> %e)
    ret i32 %f }}
    declare i32 @llvm.vector.reduce.add.v{n}i32(<{n} x i32>)"""


def _assembly(text):
    machine = cpu_target.target_context.codegen()._tm
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    return machine.emit_assembly(module)


@functools.cache
def has_bfloat16():
    """Whether there is an instruction for pairs of bfloat16, of 32 pairs at the most: AVX512-BF16."""
    # Two conversions with {vex} are AVX-NE-CONVERT, which has no product; Arm's bfdot rounds otherwise.
    assembly = _assembly(_BFLOAT)
    return isa().bytes == 64 and "vcvtneps2bf16" in assembly and "{vex}" not in assembly


def bfloat16_product():
    """What products of bfloat16 are made with, in words."""
    return "vdpbf16ps" if has_bfloat16() else "float32, widened while loading"


@functools.cache
def byte_product():
    """The instruction for quads of bytes: "vpdpbusd" (unsigned times signed), "sdot" (signed times signed) or ""."""
    # As wide as a register: a processor may have it for 32 bytes at a time only ({vex}, AVX-VNNI).
    assembly = _assembly(_BYTES.format(extend="zext", n=isa().bytes))
    if any("vpdpbusd" in line and ("zmm" in line or isa().bytes < 64) for line in assembly.splitlines()):
        return "vpdpbusd"
    return "sdot" if re.search(r"\bsdot\b", _assembly(_BYTES.format(extend="sext", n=16))) else ""


def byte_bias():
    """What is taken from the unsigned bytes of A before they are stored: 128 where the instruction wants them signed."""
    return 128 if byte_product() == "sdot" else 0


def _word(e, pointer):
    """The 32-bit word at an address of narrower numbers, in all lanes."""
    return e.splat(e.builder.load(e.builder.bitcast(pointer, INT32.as_pointer()), align=1))


def _intrinsic(e, name, kind, *values):
    f = cgutils.get_or_insert_function(e.builder.module, ir.FunctionType(kind, [v.type for v in values]), name)
    return e.builder.call(f, values)


# ---------------------------------------------------------------- bfloat16


def _halves(e, words):
    """(second, first) numbers of the pairs in a vector of 32-bit words, as float32."""
    b = e.builder
    upper = b.and_(words, ir.Constant(words.type, [0xFFFF0000] * e.width))
    lower = b.shl(words, ir.Constant(words.type, [16] * e.width))
    return [Vec(e, b.bitcast(x, e.vector)) for x in (upper, lower)]


def add_pairs(e, a, row, totals):
    """totals + the second numbers' products, + the first ones': each rounded once."""
    b, words = e.builder, ir.VectorType(INT32, e.width)
    x = _word(e, a)
    if has_bfloat16():
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * e.width}"
        return [
            Vec(e, _intrinsic(e, name, e.vector, t.v, x, b.bitcast(y.v, words))) for y, t in zip(row, totals, strict=True)
        ]
    sums = []
    for y, total in zip(row, totals, strict=True):
        for u, v in zip(_halves(e, x), _halves(e, b.bitcast(y.v, words)), strict=True):
            total = e.call("fma", u, v, total) if isa().fma else u * v + total
        sums.append(total)
    return sums


# ---------------------------------------------------------------- bytes


def _add_plain_quads(e, x, y, total):
    """total + the products of four unsigned bytes of x with four signed ones of y, in each 32-bit word, as 16-bit numbers."""
    b, words, halves = e.builder, ir.VectorType(INT32, e.width), ir.VectorType(HALF, 2 * e.width)
    eight, low = ir.Constant(halves, [8] * 2 * e.width), ir.Constant(halves, [255] * 2 * e.width)
    x, y = b.bitcast(x, halves), b.bitcast(y, halves)
    wide = ir.VectorType(INT32, 2 * e.width)
    for u, v in ((b.and_(x, low), b.ashr(b.shl(y, eight), eight)), (b.lshr(x, eight), b.ashr(y, eight))):
        products = b.mul(b.sext(u, wide), b.sext(v, wide))
        evens, odds = (
            b.shuffle_vector(products, products, ir.Constant(words, list(range(start, 2 * e.width, 2)))) for start in (0, 1)
        )
        total = b.add(total, b.add(evens, odds))
    return total


def add_quads(e, a, row, totals):
    """totals + the products of quads of bytes, exact: all are int32, held as vectors of float32."""
    b, words, x = e.builder, ir.VectorType(INT32, e.width), _word(e, a)
    sums = []
    for y, total in zip(row, totals, strict=True):
        y, t = b.bitcast(y.v, words), b.bitcast(total.v, words)
        if byte_product() == "vpdpbusd":
            t = _intrinsic(e, f"llvm.x86.avx512.vpdpbusd.{32 * e.width}", words, t, x, y)
        elif byte_product() == "sdot":
            quads = ir.VectorType(BYTE, 4 * e.width)
            t = _intrinsic(e, "llvm.aarch64.neon.sdot.v4i32.v16i8", words, t, b.bitcast(x, quads), b.bitcast(y, quads))
        else:
            t = _add_plain_quads(e, x, y, t)
        sums.append(Vec(e, b.bitcast(t, e.vector)))
    return sums


def to_floats(e, tile):
    """Sums of `add_quads` as the float32 numbers next to them."""
    b, words = e.builder, ir.VectorType(INT32, e.width)
    return [[Vec(e, b.sitofp(b.bitcast(x.v, words), e.vector)) for x in row] for row in tile]
