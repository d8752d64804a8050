"""How fastdnn compiles: the only file that sets Numba options.

`kernel` makes lazily compiled C functions that are called through their address (one machine-code version for each of
float32 and float64); `driver` makes the compiled loops that walk a program, which one thread or several call.
Nothing is compiled at import; what is compiled is kept on disk (see `_cache`).
"""

import ctypes
import functools
import os
import pathlib
import threading
import types as pytypes

import numba
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

from ._cache import PACKAGE, use_cache
from ._collector import paused
from ._threads import has_threads, is_free, region, short_region

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


def c_function(py_func, signature):
    """A function as machine code with the calling convention of C (`numba.core.ccallback.CFunc`)."""
    compiled = CFunc(py_func, (signature.args, signature.return_type), locals={}, options=dict(OPTIONS))
    use_cache(compiled, py_func)
    compiled.compile()
    return compiled


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
    dtypes : sequence of str
        Float types that it exists for.
    """

    def __init__(self, py_func, signature, fingerprint=None, dtypes=tuple(FLOATS)):
        self.py_func, self.signature, self.fingerprint, self.dtypes = py_func, signature, fingerprint, dtypes
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
                    suffix = name + (self.fingerprint(real) if self.fingerprint else "")
                    py_func = renamed(self.py_func, f"{self.py_func.__qualname__}_{suffix}")
                    self._compiled[name] = c_function(py_func, self.signature(real))
        return self._compiled[name]

    def is_compiled(self, dtype):
        """Whether there is machine code for that dtype: no program has the kernel otherwise."""
        return np.dtype(dtype).name in self._compiled

    def address(self, dtype):
        """Address of the machine code, an int for a program table."""
        try:
            return self._addresses[dtype]
        except KeyError:
            return self._addresses.setdefault(dtype, self.compile(dtype).address)

    def warm(self):
        for name in self.dtypes:
            self.compile(name)


def compiled_functions():
    """{address: C function} of what is compiled and stands in the package, but for bodies that are a user's."""
    found = {}
    for each in list(KERNELS):
        if _is_own(each.py_func) and getattr(each, "fingerprint", None) is None:
            made = each._compiled.values() if isinstance(each, Kernel) else [each._compiled]
            found |= {compiled.address: compiled for compiled in made if isinstance(compiled, CFunc)}
    return found


def renamed(py_func, name, **names):
    """A copy of a function under another name, by which Numba's cache tells it apart, with some global names replaced."""
    scope = {**py_func.__globals__, **names} if names else py_func.__globals__
    made = pytypes.FunctionType(py_func.__code__, scope, name, py_func.__defaults__, py_func.__closure__)
    made.__qualname__, made.__doc__, made.__module__ = name, py_func.__doc__, py_func.__module__
    return made


def kernel_from(template, name, signature, body, dtypes=tuple(FLOATS), **names):
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
    dtypes : sequence of str
        Float types that it exists for.
    **names
        What the placeholders stand for: intrinsics with a `fingerprint`, from `_rows.row_op`.
    """

    def fingerprint(real):
        return "".join(intrinsic.fingerprint(real) for intrinsic in names.values())

    return Kernel(renamed(template, name, **names), signature, None if _is_own(body) else fingerprint, dtypes)


def _is_own(py_func):
    """Whether a function stands in the package."""
    return _is_own_file(py_func.__code__.co_filename)


@functools.cache
def _is_own_file(path):
    return PACKAGE in pathlib.Path(path).resolve().parents


def inner(py_func):
    """Decorator: a function that kernels call directly; it is compiled into each of them."""
    return njit(**OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)(py_func)


def kernel(signature, dtypes=tuple(FLOATS)):
    """Decorator: a function becomes a `Kernel` with that signature (a function of the float type)."""
    return lambda py_func: Kernel(py_func, signature, dtypes=dtypes)


class Once:
    """Base of what is compiled once, on first use, whichever thread comes first; a subclass gives `_make()`."""

    def __init__(self, py_func):
        self.py_func, self._compiled = py_func, None
        self.__name__, self.__doc__ = py_func.__name__, py_func.__doc__
        KERNELS.append(self)

    def compile(self):
        if self._compiled is None:
            with _compile_lock, paused():
                if self._compiled is None:
                    self._compiled = self._make()
        return self._compiled

    def warm(self):
        self.compile()


class Driver(Once):
    """A compiled loop `f(job)` that walks a program; `job` is the address of an int64 table. Knows no float type.

    On several threads each of them calls it once, inside one parallel region, and what they find in `job` tells them what to
    do (see `_phases`). The region's body is that one call: as a loop of Numba's parallel transforms, which inline all that
    is called in it, it took 4.6 of the 10 s of a cold start.
    """

    def _make(self):
        compiled = c_function(self.py_func, types.void(types.int64))
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_int64)(compiled.address)
        return compiled

    def prepare(self, n_threads):
        """Compile, or load, what a call on so many threads needs: whoever looks at the clock does it before."""
        self.compile()
        if n_threads > 1 and has_threads():
            _launch.compile()

    def __call__(self, n_threads, job):
        """Run on up to `n_threads` threads; on this one alone where threads are not safe now. Lets go of the GIL."""
        address = (self._compiled or self.compile()).address
        if n_threads > 1 and has_threads():
            with region(n_threads) as granted:
                if granted:
                    return _launch(address, job, n_threads)
        return self._call(job)

    def at_once(self, n_threads, job):
        """As a call, for what is over in some microseconds: a region takes 2 of them and its book-keeping 6."""
        if is_free(n_threads):
            short_region(n_threads, _launch, (self._compiled or self.compile()).address, job, n_threads)
        else:
            self(n_threads, job)


class Routine(Once):
    """A part of a driver that is called through its address: a C function with a signature of its own.

    What is called directly is inlined and optimized again wherever it is called from, a level of that less each.
    """

    def __init__(self, py_func, signature):
        super().__init__(py_func)
        self._signature = signature

    def _make(self):
        return c_function(self.py_func, self._signature)

    @property
    def address(self):
        """Address of the machine code, an int for a table."""
        return (self._compiled or self.compile()).address


class Launch(Once):
    """`launch(address, job, n)`: call the C function at `address` n times, on as many of Numba's threads."""

    def _make(self):
        compiled = njit(parallel=True, **OPTIONS)(self.py_func)
        use_cache(compiled, self.py_func)
        compiled.compile(types.void(types.int64, types.int64, types.intp))
        compiled.disable_compile()
        return compiled

    def __call__(self, *args):
        return (self._compiled or self.compile())(*args)


@intrinsic
def _call_job(typingctx, address, job):
    def codegen(context, builder, signature, a):
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
        builder.call(builder.inttoptr(a[0], kind.as_pointer()), [a[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def _launch_all(address, job, n):
    for _ in prange(n):
        _call_job(address, job)


_launch = Launch(_launch_all)


def routine(signature):
    """Decorator: a function becomes a `Routine` with that Numba signature."""
    return lambda py_func: Routine(py_func, signature)


def driver(py_func):
    """Decorator: a function of the address of a table becomes a `Driver`."""
    return Driver(py_func)


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
