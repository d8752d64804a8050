"""How many threads, and whether a parallel region may start at all.

Numba's workqueue layer aborts the process when two Python threads use it at once; GNU OpenMP kills a forked child at its
first region once the parent has run one. In both cases the serial twin of a driver does the work.
"""

import contextlib
import functools
import importlib
import os
import sys
import threading
import warnings
import weakref

import numba
import numpy as np


class _Setting(threading.local):
    """Of each Python thread, what its `config_context` says."""

    n = None


_busy_lock, _workqueue_lock = threading.Lock(), threading.Lock()
_tokens = weakref.WeakSet()  # one for each region that runs; dies with its frame, also where Ctrl-C strikes in between
_at_once = []  # threads of each short region that runs without a token
_setting = _Setting()
_default = [None]
_forked = [False]


def _after_fork():
    global _busy_lock, _workqueue_lock, _tokens
    _busy_lock, _workqueue_lock, _tokens = threading.Lock(), threading.Lock(), weakref.WeakSet()
    _at_once.clear()
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


def _slot_of_dask():
    """1 in a task of Dask, which counts on one core for each of the tasks that run at a time; None elsewhere."""
    module = sys.modules.get("distributed.utils")
    if module is None:  # asked for in each prediction of a row: what follows takes 0.3 us
        return None
    return None if getattr(getattr(module, "thread_state", None), "key", None) is None else 1


def get_num_threads() -> int:
    """Number of threads that fit and predict use in this Python thread; in a task of Dask 1, unless somebody has set it.

    Examples
    --------
    >>> import fastdnn
    >>> fastdnn.get_num_threads() >= 1
    True
    """
    return _setting.n or _default[0] or _slot_of_dask() or available_threads()


def set_num_threads(n: int) -> None:
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
    before = _setting.n
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


@functools.cache
def has_threads():
    """Whether Numba can start threads: a layer asked for that is not installed (NUMBA_THREADING_LAYER) leaves one thread."""
    from numba.np.ufunc import parallel

    try:
        parallel._launch_threads()
    except ValueError as error:
        warnings.warn(f"fastdnn works on one thread: {error}", RuntimeWarning, stacklevel=4)
        return False
    return True


def launch_seconds():
    """What starting and ending a parallel region costs, in seconds: measured 1.1e-6 (omp), 7e-5 to 1e-4 (workqueue)."""
    return {"omp": 1.5e-6, "tbb": 5e-6}.get(threading_layer(), 1e-4)


class _Token:
    """Threads that a region takes."""

    threads = 0


def busy_threads():
    """Threads that compute in parallel regions just now."""
    return sum(token.threads for token in _tokens) + sum(_at_once)


def _layer_is_shared():
    """Whether Python threads may run parallel regions at once on the threading layer; no before the first one ran."""
    try:
        return numba.threading_layer() in ("omp", "tbb")
    except ValueError:
        return False


def is_free(n):
    """Whether a region of n threads, all that Numba has, may start without being taken down: none is under way."""
    return (
        not (_tokens or _at_once or _forked[0])
        and n == numba.config.NUMBA_NUM_THREADS == available_threads()
        and _layer_is_shared()
    )


def short_region(n, run, *args):
    """run(*args) in a region of n threads that is over in some microseconds: to keep a token for it takes six of them."""
    _at_once.append(n)
    try:
        run(*args)
    finally:
        _at_once.pop()


@contextlib.contextmanager
def region(n):
    """Yield True where a parallel region of up to n threads may start now; Numba's thread count is set for it.

    Python threads that come while others compute get what these leave of the processors, at the least the one they are on:
    two teams of spinning threads on the same cores wait for each other (measured: 5 to 20 times slower).
    """
    if _forked[0]:
        yield False
        return
    token = _Token()
    with _busy_lock:
        _tokens.add(token)
        token.threads = max(1, min(n, numba.config.NUMBA_NUM_THREADS, available_threads() - busy_threads()))
    try:
        # workqueue aborts the process when two Python threads use it at once: whoever comes second works alone.
        shared = _layer_is_shared()
        if token.threads == 1 or not (shared or _workqueue_lock.acquire(blocking=False)):
            yield False
            return
        try:
            before = numba.get_num_threads()
            if before != token.threads:
                numba.set_num_threads(token.threads)
            try:
                yield True
            finally:
                if before != token.threads:
                    numba.set_num_threads(before)
        finally:
            if not shared:
                _workqueue_lock.release()
    finally:
        token.threads = 0
