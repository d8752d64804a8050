"""Imports that wait until they are needed: one thread at a time.

Python lets threads import at the same time. Where modules need each other in a circle, as those of scikit-learn, Numba and
NumPy do, it then hands half a module to one of them, which fails ("partially initialized module").
"""

import contextlib
import os
import threading

PATIENCE = 10  # seconds that a fork waits for imports to end

_lock = threading.RLock()


def alone():
    """The lock, as a context, that a thread holds while it imports what was left for later.

    No module may ask for it while it is itself imported: another thread may hold it and wait for that module.
    """
    return _lock


def _before_fork():
    """Wait for the end of the imports: in the child Python's locks of the modules would stay taken."""
    _lock.acquire(timeout=PATIENCE)


def _after_fork():
    with contextlib.suppress(RuntimeError):  # the ten seconds were over
        _lock.release()


def _in_child():
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
