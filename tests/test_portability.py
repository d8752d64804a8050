"""Processors that the tests do not run on: the kernels as LLVM compiles them for aarch64.

AVX2 and SSE are run: NUMBA_CPU_NAME=haswell (or x86-64) NUMBA_CPU_FEATURES="" pytest.
"""

import re

import llvmlite.binding as llvm
import pytest
from llvmlite import ir
from numba import types

from fastdnn import _isa, _math, _simd, gemm

NEON = _isa.Isa(bytes=16, registers=32, fma=True)


def assembly(real, element, segmented, monkeypatch):
    """The register tiles of a product, optimized for a Neoverse N1."""
    for module in (_simd, _math, gemm):
        monkeypatch.setattr(module, "isa", lambda: NEON)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple("aarch64-linux-gnu")
    except RuntimeError:
        pytest.skip("this llvmlite has no aarch64")
    pointer = types.CPointer(real)
    _, codegen = gemm._tiles_typing(segmented)(None, *[types.intp] * 3, *[pointer] * 5, types.intp, gemm.PRODUCT.type)
    kinds = [_simd.INT64] * 3 + [element.as_pointer()] * 5 + [_simd.INT64, _simd.INT64.as_pointer()]
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "tiles")
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    class Context:
        def get_dummy_value(self):
            return None

    codegen(Context(), builder, None, function.args)
    builder.ret_void()
    compiled = llvm.parse_assembly(str(module))
    compiled.triple = "aarch64-linux-gnu"
    machine = target.create_target_machine(cpu="neoverse-n1", opt=3)
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(compiled, passes)
    return machine.emit_assembly(compiled)


@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize(
    ("real", "element", "lanes"), [(types.float32, ir.FloatType(), "4s"), (types.float64, ir.DoubleType(), "2d")]
)
def test_aarch64_products_are_neon_fma_in_registers(real, element, lanes, segmented, monkeypatch):
    text = assembly(real, element, segmented, monkeypatch)
    rows, vectors = gemm.tile_shape(real)
    loops = [block for block in re.split(r"\n\.LBB", text) if "fmla" in block]
    full = [block for block in loops if len(re.findall(rf"fmla\s+v\d+\.{lanes}", block)) == rows * vectors]
    assert full
    assert not any(re.search(r"\b(str|stp|ldr|ldp)\s+[qd]\d+.*\[sp", block) for block in full)  # nothing spilled
    assert not re.search(r"\bfmul\b|\bbl\b", "".join(loops))  # no product left unfused, no call for it
