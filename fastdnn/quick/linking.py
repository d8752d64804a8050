"""Machine code from object files, by LLVM's linker alone."""

import os
import threading

# What Numba's wrappers call where a kernel raises, which none does (and Python's own functions, which are there). Without
# Numba they are not there; object code of the same names, which ends the process, stands in for them.
STAND_INS = (
    "NRT_Free",
    "NRT_decref",
    "NRT_incref",
    "numba_do_raise",
    "numba_gil_ensure",
    "numba_gil_release",
    "numba_runtime_build_excinfo_struct",
    "numba_unpickle",
)

_lock = threading.Lock()
_engine, _addresses = None, {}  # for the life of the process: whoever has an address may call it


def _after_fork():
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def addresses(stamp, codes, stand_ins, needs):
    """{name: address} of functions.

    Parameters
    ----------
    stamp : str
        Of the sources that the code is of: under the same one a name means the same code.
    codes : dict of str -> bytes
        Name of a function that an object file defines, and the file.
    stand_ins : bytes
        The object file of `STAND_INS`.
    needs : list of str
        Symbols that the object files do not define.

    Raises
    ------
    LookupError
        If this process has not all of them: LLVM would end it.
    """
    with _lock:
        new = {name: code for name, code in codes.items() if (stamp, name) not in _addresses}
        if new:
            _link(new, stand_ins, needs)
            _addresses.update({(stamp, name): _engine.get_function_address(name) for name in new})
        return {name: _addresses[stamp, name] for name in codes}


def _link(codes, stand_ins, needs):
    global _engine
    import llvmlite.binding as llvm

    engine, objects = _engine, list(codes.values())
    if engine is None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()  # of the engine's own module, which is empty
        module, target = llvm.parse_assembly(""), llvm.Target.from_triple(llvm.get_process_triple())
        module.triple = llvm.get_process_triple()
        # A target machine that compiles nothing: of it only the kind of object file counts.
        engine = llvm.create_mcjit_compiler(module, target.create_target_machine(jit=True))
        objects.insert(0, stand_ins)
    missing = [name for name in needs if not llvm.address_of_symbol(name)]
    if missing:
        raise LookupError(f"this process has not {missing}")
    for code in objects:
        engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(bytes(code)))
    engine.finalize_object()
    _engine = engine
