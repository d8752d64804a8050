"""Who may touch a model's arrays: a lock for each model, held from the start of an epoch until the history has it.

Kernels write without the GIL, so what another thread reads meanwhile (to save it, to pickle it) belongs to no step. A lock is
no part of a model's value: it is neither copied nor pickled, and so it is kept here.
"""

import os
import threading
import weakref

_GUARDS = weakref.WeakKeyDictionary()  # model -> its Guard


class Guard:
    """Lock of a model's arrays: ``with guard: ...`` for who trains, and for who takes a snapshot.

    Attributes
    ----------
    trainer : weakref to Thread or None
        The thread that has trained last.
    """

    def __init__(self):
        self._lock, self.trainer = threading.RLock(), None

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()

    def begin(self):
        """Note that this thread trains."""
        self.trainer = weakref.ref(threading.current_thread())

    def shared(self):
        """Whether another thread, which is still there, has trained last: what is read now may change at any time."""
        thread = None if self.trainer is None else self.trainer()
        return thread is not None and thread is not threading.current_thread() and thread.is_alive()


def guard(model):
    """The `Guard` of a model."""
    return _GUARDS.setdefault(model, Guard())


if hasattr(os, "register_at_fork"):  # a child has none of the threads that may hold a lock
    os.register_at_fork(after_in_child=_GUARDS.clear)
