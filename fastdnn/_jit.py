"""How fastdnn compiles: the only file that sets Numba options.

`kernel` makes lazily compiled C functions that are called through their address (one machine-code version for each of
float32 and float64); `driver` makes the compiled loops that walk a program, each with a parallel and a serial twin.
Nothing is compiled at import. Compiled code is kept on disk under a stamp over *all* sources of the package: Numba's
own stamp covers only the file of the cached function, so a kernel that calls into an edited file would run stale code.
"""

import contextlib
import functools
import hashlib
import importlib
import os
import pathlib
import sys
import tempfile
import threading
import types as pytypes

import numba
import numpy as np
from numba import njit, types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.ccallback import CFunc

PACKAGE = pathlib.Path(__file__).resolve().parent
FLOATS = {"float32": types.float32, "float64": types.float64}
# error_model="numpy": without it every division carries a ZeroDivision branch, which stops vectorization.
# No fastmath: it deletes NaN checks. Products are contracted explicitly (llvm.fma).
OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False}

KERNELS = []  # every kernel and driver of the process, for warmup and its test
_compile_lock = threading.RLock()


# ---------------------------------------------------------------- cache


@functools.cache
def package_stamp():
    """Hash over the sources of the whole package: any edit anywhere makes every cached kernel stale."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(str(path.relative_to(PACKAGE)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _writable(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


@functools.cache
def cache_folder():
    """Where compiled kernels are kept, or None where no folder is writable (or FASTDNN_CACHE=0): nothing is kept then.

    The first of: $NUMBA_CACHE_DIR/fastdnn, `__pycache__` inside the installed package, the user's cache folder.
    """
    if os.environ.get("FASTDNN_CACHE") == "0":
        return None
    folders = []
    if numba.config.CACHE_DIR:
        folders.append(pathlib.Path(numba.config.CACHE_DIR) / "fastdnn")
    folders.append(PACKAGE / "__pycache__")
    with contextlib.suppress(RuntimeError):  # no home folder
        place = hashlib.sha256(str(PACKAGE).encode()).hexdigest()[:12]
        folders.append(pathlib.Path.home() / ".cache" / "fastdnn" / place)
    return next((folder for folder in folders if _writable(folder)), None)


class _Locator(_CacheLocator):
    def __init__(self, py_func, py_file):
        self._line = py_func.__code__.co_firstlineno
        self._stamp = package_stamp()
        for name in {py_file, getattr(py_func, "source_of_body", py_file)}:
            own = pathlib.Path(name).resolve()
            if PACKAGE not in own.parents and own.exists():  # a kernel of the user's: its own file counts too
                self._stamp += hashlib.sha256(own.read_bytes()).hexdigest()

    def get_cache_path(self):
        return str(cache_folder())

    def get_source_stamp(self):
        return self._stamp

    def get_disambiguator(self):
        return str(self._line)

    @classmethod
    def from_function(cls, py_func, py_file):
        return cls(py_func, py_file)


class _StampedImpl(CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _StampedCache(FunctionCache):
    """Numba's function cache with the package-wide stamp; an unreadable or unwritable file means: compile."""

    _impl_class = _StampedImpl

    def load_overload(self, sig, target_context):
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # truncated or foreign file: EOFError, UnpicklingError, ValueError, ... (numba#10434)
            found = None
        if found is None:
            _say_compiling()
        return found

    def save_overload(self, sig, data):
        with contextlib.suppress(OSError):
            try:
                super().save_overload(sig, data)
            except Exception:  # a damaged index, which is read before it is written: start a new one
                self.flush()
                super().save_overload(sig, data)


def _use_cache(compiled, py_func):
    if cache_folder() is None or numba.config.CACHE_LOCATOR_CLASSES:
        _say_compiling()
    else:
        compiled._cache = _StampedCache(py_func)


@functools.cache
def _say_compiling():
    """Once per process, one line, so that the seconds of a cold start are no riddle."""
    if os.environ.get("FASTDNN_QUIET", "0") == "0":
        kept = "kept for later processes" if cache_folder() else "no writable cache folder: again in every process"
        print(f"fastdnn: compiling kernels for this processor, some seconds ({kept})", file=sys.stderr)


# ---------------------------------------------------------------- kernels and drivers


class Kernel:
    """A C function, compiled on first use for a float type and called through its address.

    Parameters
    ----------
    py_func : function
        Body in Numba's nopython subset; it must have no Python objects, no allocation and write only what its
        docstring says.
    signature : callable
        `signature(real)` -> Numba signature, where `real` is `numba.types.float32` or `float64`.
    """

    def __init__(self, py_func, signature):
        self.py_func, self.signature = py_func, signature
        self.__name__, self.__doc__, self.__module__ = py_func.__name__, py_func.__doc__, py_func.__module__
        self._compiled = {}
        KERNELS.append(self)

    def compile(self, dtype):
        """The compiled C function (`numba.core.ccallback.CFunc`) for dtype "float32" or "float64"."""
        name = np.dtype(dtype).name
        if name not in self._compiled:
            with _compile_lock:
                if name not in self._compiled:
                    sig = self.signature(FLOATS[name])
                    compiled = CFunc(self.py_func, (sig.args, sig.return_type), locals={}, options=dict(OPTIONS))
                    _use_cache(compiled, self.py_func)
                    compiled.compile()
                    self._compiled[name] = compiled
        return self._compiled[name]

    def address(self, dtype):
        """Address of the machine code, an int for a program table."""
        return self.compile(dtype).address

    def warm(self):
        for name in FLOATS:
            self.compile(name)


def kernel_from(template, name, signature, body=None, **names):
    """A `Kernel` made of a template function whose global names are replaced: one loop for many bodies.

    Numba never finds a closure over a function in its disk cache again; a function with globals of its own it does.

    Parameters
    ----------
    template : function
        Its global names in `names` are placeholders.
    name : str
        Unique name of the kernel within the template's file.
    signature : callable
        As for `kernel`.
    body : function or None
        Where the body comes from: its source file counts for the cache too.
    **names
        What the placeholders stand for, intrinsics as a rule.
    """
    made = pytypes.FunctionType(template.__code__, {**template.__globals__, **names}, name)
    made.__qualname__, made.__doc__, made.__module__ = name, template.__doc__, template.__module__
    if body is not None:
        made.source_of_body = body.__code__.co_filename
    return Kernel(made, signature)


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
            with _compile_lock:
                if parallel not in self._compiled:
                    # Numba's cache tells overloads apart by name and signature only: the twins need names of their own.
                    twin = pytypes.FunctionType(self.py_func.__code__, self.py_func.__globals__)
                    twin.__name__ = twin.__qualname__ = self.__name__ + ("_parallel" if parallel else "_serial")
                    compiled = njit(parallel=parallel, **OPTIONS)(twin)
                    _use_cache(compiled, twin)
                    compiled.compile(self.signature)
                    compiled.disable_compile()
                    self._compiled[parallel] = compiled
        return self._compiled[parallel]

    def warm(self):
        for parallel in (False, True):
            self.compile(parallel)

    def __call__(self, n_threads, *args):
        """Run on up to `n_threads` threads; on this one alone where threads are not safe now."""
        if n_threads > 1:
            with _threads(n_threads) as granted:
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


# ---------------------------------------------------------------- threads

_threads_lock = threading.Lock()
_setting = threading.local()
_default = [None]
_forked = [False]


def _after_fork():
    global _threads_lock, _compile_lock
    _threads_lock, _compile_lock = threading.Lock(), threading.RLock()
    # GNU OpenMP kills a forked child at its first parallel region once the parent has run one.
    from numba.np.ufunc import parallel

    _forked[0] = _forked[0] or bool(parallel._is_initialized)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@functools.cache
def available_threads():
    """Threads this process may use: affinity, cgroup quota, and NUMBA_NUM_THREADS (which joblib sets in its workers)."""
    import joblib

    return max(1, min(joblib.cpu_count(), numba.config.NUMBA_NUM_THREADS))


def _check_threads(n):
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"n_threads must be an integer >= 1, got {n!r}; leave it out for the default")
    return int(n)


def get_num_threads():
    """Number of threads that fit and predict use in this Python thread.

    Examples
    --------
    >>> import fastdnn
    >>> fastdnn.get_num_threads() >= 1
    True
    """
    return getattr(_setting, "n", None) or _default[0] or available_threads()


def set_num_threads(n):
    """Set the number of threads for the whole process. Results do not depend on it: same seed, same bits.

    Parameters
    ----------
    n : int
        At least 1. More than the machine has is allowed and of no use.

    Raises
    ------
    ValueError
        If `n` is not an integer of at least 1.
    """
    _default[0] = _check_threads(n)


@contextlib.contextmanager
def config_context(*, n_threads=None):
    """Settings for the body of a `with` statement, in this Python thread only.

    Parameters
    ----------
    n_threads : int or None
        Number of threads, at least 1; None leaves it as it is.

    Examples
    --------
    >>> import fastdnn
    >>> with fastdnn.config_context(n_threads=1):
    ...     fastdnn.get_num_threads()
    1
    """
    before = getattr(_setting, "n", None)
    if n_threads is not None:
        _setting.n = _check_threads(n_threads)
    try:
        yield
    finally:
        _setting.n = before


@functools.cache
def threading_layer():
    """Name of Numba's threading layer, the running one or the one it is going to choose: "tbb", "omp" or "workqueue"."""
    with contextlib.suppress(ValueError):
        return numba.threading_layer()
    wanted = numba.config.THREADING_LAYER
    names = [wanted] if wanted in numba.config.THREADING_LAYER_PRIORITY else numba.config.THREADING_LAYER_PRIORITY
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(f"numba.np.ufunc.{name}pool" if name != "workqueue" else "numba.np.ufunc.workqueue")
            return name
    return "workqueue"


def launch_seconds():
    """What starting and ending a parallel region costs, in seconds: measured 1.1e-6 (omp), 7e-5 to 1e-4 (workqueue)."""
    return {"omp": 1.5e-6, "tbb": 5e-6}.get(threading_layer(), 1e-4)


@contextlib.contextmanager
def _threads(n):
    """Yield True where a parallel region may start now, with Numba's thread count set for it and restored afterwards."""
    if _forked[0]:
        yield False
        return
    try:
        shared = numba.threading_layer() in ("omp", "tbb")
    except ValueError:  # no region has run yet
        shared = False
    # workqueue aborts the process when two Python threads use it at once: whoever comes second works alone.
    if not shared and not _threads_lock.acquire(blocking=False):
        yield False
        return
    try:
        before, wanted = numba.get_num_threads(), min(n, numba.config.NUMBA_NUM_THREADS)
        if before != wanted:
            numba.set_num_threads(wanted)
        try:
            yield True
        finally:
            if before != wanted:
                numba.set_num_threads(before)
    finally:
        if not shared:
            _threads_lock.release()
