"""How fastdnn compiles: the only file that sets Numba options.

`kernel` makes lazily compiled C functions that are called through their address (one machine-code version for each of
float32 and float64); `driver` makes the compiled loops that walk a program, each with a parallel and a serial twin.
Nothing is compiled at import; what is compiled is kept on disk (see `_cache`).
"""

import os
import pathlib
import threading
import types as pytypes

import numba
import numpy as np
from numba import njit, types
from numba.core.ccallback import CFunc

from ._cache import PACKAGE, use_cache
from ._collector import paused
from ._threads import has_threads, region

FLOATS = {"float32": types.float32, "float64": types.float64}
# error_model="numpy": without it every division carries a ZeroDivision branch, which stops vectorization.
# No fastmath: it deletes NaN checks. Products are contracted explicitly (llvm.fma).
OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False}

KERNELS = []  # every kernel and driver of the process, for warmup and its test
_compile_lock = threading.RLock()

if numba.config.DISABLE_JIT:
    raise ImportError("fastdnn's kernels exist as compiled code only: unset NUMBA_DISABLE_JIT")


def _after_fork():
    global _compile_lock
    _compile_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    # A fork waits for the kernel that another thread compiles: in the child LLVM's and Numba's locks would stay taken.
    os.register_at_fork(
        before=lambda: _compile_lock.acquire(),
        after_in_parent=lambda: _compile_lock.release(),
        after_in_child=_after_fork,
    )


class Kernel:
    """A C function, compiled on first use for a float type and called through its address.

    Parameters
    ----------
    py_func : function
        Body in Numba's nopython subset; it must have no Python objects, no allocation and write only what its
        docstring says.
    signature : callable
        `signature(real)` -> Numba signature, where `real` is `numba.types.float32` or `float64`.
    fingerprint : callable or None
        `fingerprint(real)` -> str that changes with the code, if that depends on more than the sources of the package.
    """

    def __init__(self, py_func, signature, fingerprint=None):
        self.py_func, self.signature, self.fingerprint = py_func, signature, fingerprint
        self.__name__, self.__doc__, self.__module__ = py_func.__name__, py_func.__doc__, py_func.__module__
        self._compiled, self._addresses = {}, {}
        KERNELS.append(self)

    def compile(self, dtype):
        """The compiled C function (`numba.core.ccallback.CFunc`) for dtype "float32" or "float64"."""
        name = np.dtype(dtype).name
        if name not in self._compiled:
            with _compile_lock, paused():
                if name not in self._compiled:
                    real = FLOATS[name]
                    sig, suffix = self.signature(real), name + (self.fingerprint(real) if self.fingerprint else "")
                    py_func = renamed(self.py_func, f"{self.py_func.__qualname__}_{suffix}")
                    compiled = CFunc(py_func, (sig.args, sig.return_type), locals={}, options=dict(OPTIONS))
                    use_cache(compiled, py_func)
                    compiled.compile()
                    self._compiled[name] = compiled
        return self._compiled[name]

    def address(self, dtype):
        """Address of the machine code, an int for a program table."""
        try:
            return self._addresses[dtype]
        except KeyError:
            return self._addresses.setdefault(dtype, self.compile(dtype).address)

    def warm(self):
        for name in FLOATS:
            self.compile(name)


def renamed(py_func, name, **names):
    """A copy of a function under another name, by which Numba's cache tells it apart, with some global names replaced."""
    scope = {**py_func.__globals__, **names} if names else py_func.__globals__
    made = pytypes.FunctionType(py_func.__code__, scope, name, py_func.__defaults__, py_func.__closure__)
    made.__qualname__, made.__doc__, made.__module__ = name, py_func.__doc__, py_func.__module__
    return made


def kernel_from(template, name, signature, body, **names):
    """A `Kernel` made of a template function whose global names are replaced: one loop for many bodies.

    Numba never finds a closure over a function in its disk cache again; a function with globals of its own it does.

    Parameters
    ----------
    template : function
        Its global names in `names` are placeholders.
    name : str
        Name of the kernel, unique within the template's file.
    signature : callable
        As for `kernel`.
    body : function
        What the placeholders were made from. If it does not stand in the package, the code that they emit goes into the
        cached file's name: constants, closures and notebooks are told apart, which the template's own code cannot do.
    **names
        What the placeholders stand for: intrinsics with a `fingerprint`, from `_simd.row_op`.
    """

    def fingerprint(real):
        return "".join(intrinsic.fingerprint(real) for intrinsic in names.values())

    own = PACKAGE in pathlib.Path(body.__code__.co_filename).resolve().parents
    return Kernel(renamed(template, name, **names), signature, None if own else fingerprint)


def inner(py_func):
    """Decorator: a function that kernels call directly; it is compiled into each of them."""
    return njit(**OPTIONS)(py_func)


def kernel(signature):
    """Decorator: a function becomes a `Kernel` with that signature (a function of the float type)."""
    return lambda py_func: Kernel(py_func, signature)


class Driver:
    """A compiled loop with two twins: `parallel` (prange over Numba's threads) and `serial` (the same code, no threads)."""

    def __init__(self, py_func, signature):
        self.py_func, self.signature = py_func, signature
        self.__name__, self.__doc__ = py_func.__name__, py_func.__doc__
        self._compiled = {}
        KERNELS.append(self)

    def compile(self, parallel):
        if parallel not in self._compiled:
            with _compile_lock, paused():
                if parallel not in self._compiled:
                    # Numba's cache tells overloads apart by name and signature only: the twins need names of their own.
                    twin = renamed(self.py_func, self.__name__ + ("_parallel" if parallel else "_serial"))
                    compiled = njit(parallel=parallel, **OPTIONS)(twin)
                    use_cache(compiled, twin)
                    compiled.compile(self.signature)
                    compiled.disable_compile()
                    self._compiled[parallel] = compiled
        return self._compiled[parallel]

    def warm(self):
        for parallel in (False, True):
            self.compile(parallel)

    def __call__(self, n_threads, *args):
        """Run on up to `n_threads` threads; on this one alone where threads are not safe now."""
        if n_threads > 1 and has_threads():
            with region(n_threads) as granted:
                if granted:
                    return self.compile(True)(*args, n_threads)
        return self.compile(False)(*args, n_threads)


def driver(signature):
    """Decorator: a function becomes a `Driver`. Its last argument is the number of shares the work is cut into."""
    return lambda py_func: Driver(py_func, signature)


def warmup():
    """Compile every kernel for float32 and float64 now and keep it on disk; returns how many functions there are.

    Examples
    --------
    >>> import fastdnn
    >>> fastdnn.warmup() > 0
    True
    """
    for each in list(KERNELS):
        each.warm()
    return len(KERNELS)
