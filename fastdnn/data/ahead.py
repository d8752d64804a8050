"""Work that a thread of its own does ahead, one piece after the other."""

import contextlib
import os
import queue
import sys
import threading

NICE = 10  # steps of priority: an epoch from a file took 1.42 times that of an array without, 1.25 with them, on 2 cores


def step_back():
    """Let threads that compute go before this one, where the system has priorities of threads.

    Who computes in step with others makes all of them wait while he waits for a processor.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE)


class Ahead:
    """A function that another thread calls while this one does something else; `with` ends the thread.

    Parameters
    ----------
    function : callable
        Called with the arguments of `begin`.
    close : callable
        Called by the thread at its end.

    Notes
    -----
    The thread is a daemon: a stream that never answers does not keep the process from ending.
    """

    def __init__(self, function, close):
        self._function, self._close, self._wanted, self._found = function, close, queue.SimpleQueue(), queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="fastdnn-ahead", daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._wanted.put(None)
        self._thread.join(timeout=1.0)

    def _work(self):
        step_back()
        for args in iter(self._wanted.get, None):
            try:
                self._found.put((self._function(*args), None))
            except BaseException as error:  # raised where the result is asked for
                self._found.put((None, error))
        self._close()
        self._function = self._close = None

    def begin(self, *args):
        """Let the thread call the function; one call at a time."""
        self._wanted.put(args)

    def result(self):
        """What the call that was begun has given, once it has; raises what it has raised."""
        while True:
            try:
                found, error = self._found.get(timeout=0.1)  # in short pieces, between which Python looks at signals
                break
            except queue.Empty:
                continue
        if error is not None:
            raise error
        return found
