"""The instruction set that Numba compiles for, as far as it matters to the shape of vector code."""

import functools
from dataclasses import dataclass

import llvmlite.binding as llvm
from numba.core.registry import cpu_target


@dataclass(frozen=True)
class Isa:
    """What the code generator of this process does with vectors.

    Attributes
    ----------
    bytes : int
        Width of a vector register: 64 (AVX-512), 32 (AVX2), 16 (SSE, NEON).
    registers : int
        Number of vector registers.
    fma : bool
        Whether a fused multiply-add is one instruction (otherwise it would be a library call).
    """

    bytes: int
    registers: int
    fma: bool

    def width(self, real):
        """Lanes of a vector of the Numba type `real`."""
        return self.bytes // (real.bitwidth // 8)


@functools.cache
def isa():
    """The `Isa`, read off the assembly that Numba's target machine makes of a fused multiply-add.

    NUMBA_CPU_NAME, NUMBA_CPU_FEATURES and NUMBA_ENABLE_AVX change what Numba compiles for, so the processor's own flags
    would be the wrong thing to ask.
    """
    machine = cpu_target.target_context.codegen()._tm
    v = "<16 x float>"
    text = f"""define void @f({v}* %p) {{
        %a = load {v}, {v}* %p, align 4
        %b = call {v} @llvm.fma.v16f32({v} %a, {v} %a, {v} %a)
        store {v} %b, {v}* %p, align 4
        ret void }}
        declare {v} @llvm.fma.v16f32({v}, {v}, {v})"""
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    assembly = machine.emit_assembly(module)
    fma = "vfmadd" in assembly or "fmla" in assembly
    if "zmm" in assembly:
        return Isa(64, 32, fma)
    if "ymm" in assembly:
        return Isa(32, 16, fma)
    return Isa(16, 32 if "fmla" in assembly else 16, fma)
