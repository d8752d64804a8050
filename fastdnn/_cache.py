"""Where compiled kernels are kept, and when they are stale.

Numba's own stamp covers only the file of the cached function, so a kernel that calls into an edited file would run stale
code. Here the folder's name carries a hash of *all* sources of the package and of the processor that Numba compiles for,
and a kernel's file name its float type and, if its body is a user's, a hash of the code that the body emits: a file holds
one thing for ever, so processes that start, or upgrade, at the same moment cannot hand each other wrong code.
"""

import contextlib
import functools
import hashlib
import os
import pathlib
import sys
import tempfile

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys

from ._stamp import PACKAGE, base_folders, folder_name, package_stamp, remove_old


def numba_target():
    """What Numba compiles for, see `_stamp.host_target`."""
    return cpu_target.target_context.codegen().magic_tuple()


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

    A subfolder for this version and processor of the first writable one of: $NUMBA_CACHE_DIR/fastdnn, `__pycache__/kernels`
    inside the installed package, the user's cache folder. A folder that already has kernels is used if it is only readable:
    an image may be warmed up by another user.
    """
    for base in base_folders(numba.config.CACHE_DIR):
        folder = base / folder_name(numba_target())
        filled = _has_kernels(folder)
        if filled or _writable(folder):
            if not filled:
                with contextlib.suppress(OSError):
                    remove_old(folder)
            return folder
    return None


def _has_kernels(folder):
    try:
        return any(folder.glob("*.nbi"))
    except OSError:  # a parent folder that may not be entered
        return False


class _Locator(_CacheLocator):
    def __init__(self, py_func, py_file):
        self._line = py_func.__code__.co_firstlineno
        self._stamp = package_stamp()
        own = pathlib.Path(py_file)
        if PACKAGE not in own.resolve().parents:  # a kernel in a file of the user's
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
    """Numba's function cache in our folder; an unreadable or unwritable file means: compile."""

    _impl_class = _StampedImpl

    def load_overload(self, sig, target_context):
        found = None
        try:
            # Numba's own method first loads all that a compilation may need (0.1 s); machine code needs the runtime only.
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                found = self._load_overload(sig, target_context)
        except Exception:  # truncated or foreign file: EOFError, UnpicklingError, ValueError, ... (numba#10434)
            found = None
        if found is None:
            say_compiling()
        return found

    def save_overload(self, sig, data):
        with contextlib.suppress(OSError):
            try:
                super().save_overload(sig, data)
            except Exception:  # a damaged index, which is read before it is written: start a new one
                self.flush()
                super().save_overload(sig, data)


def use_cache(compiled, py_func):
    """Let a Numba dispatcher or C function load from, and save to, the cache; not if its source is in no file."""
    kept = cache_folder() is not None and not numba.config.CACHE_LOCATOR_CLASSES
    if kept and os.path.exists(py_func.__code__.co_filename):
        compiled._cache = _StampedCache(py_func)
    else:
        say_compiling()


@functools.cache
def say_compiling():
    """Once per process, one line, so that the seconds of a cold start are no riddle."""
    if os.environ.get("FASTDNN_QUIET", "0") == "0":
        folder = cache_folder()
        writable = folder is not None and _writable(folder)
        kept = "kept for later processes" if writable else "no writable cache folder: again in every process"
        print(f"fastdnn: compiling kernels for this processor, some seconds ({kept})", file=sys.stderr)
