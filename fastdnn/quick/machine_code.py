"""Object code of the package's compiled functions, where Numba is."""

import functools

import llvmlite.binding as llvm
from numba.core.registry import cpu_target

from .linking import STAND_INS


def object_code(compiled):
    """The object file of a C function (`numba.core.ccallback.CFunc`) as the cache of kernels has it, or None."""
    cache = compiled._cache
    codegen = cpu_target.target_context.codegen()
    if not hasattr(cache, "_cache_file"):  # nothing is kept in this process
        return None
    found = cache._cache_file.load(cache._index_key(compiled._sig, codegen))
    if found is None:
        return None
    (_, kind, code), *_, to_run_first, _ = found
    return code[0] if kind == "object" and not to_run_first else None


@functools.cache
def stand_ins():
    """An object file that defines `STAND_INS`, each of which ends the process."""
    machine = cpu_target.target_context.codegen()._tm
    text = "".join(f"define void @{name}() {{\n call void @llvm.trap()\n unreachable }}\n" for name in STAND_INS)
    module = llvm.parse_assembly(f"{text}declare void @llvm.trap()")
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    return machine.emit_object(module)
