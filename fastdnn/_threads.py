"""How many threads, and whether a parallel region may start at all.

Numba's workqueue layer aborts the process when two Python threads use it at once; GNU OpenMP kills a forked child at its
first region once the parent has run one. In both cases the serial twin of a driver does the work.
"""

import contextlib
import functools
import importlib
import os
import threading

import numba
import numpy as np

_threads_lock = threading.Lock()
_setting = threading.local()
_default = [None]
_forked = [False]


def _after_fork():
    global _threads_lock
    _threads_lock = threading.Lock()
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
def region(n):
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
