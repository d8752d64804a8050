"""What compiled loops ask of the operating system, as addresses of its functions: the time, and to let others run.

They are called with two int64 arguments each, of which a function may take fewer: the calling conventions of x86-64 and
aarch64 allow that.
"""

import ctypes
import functools
import sys
import time


def _address(function):
    return ctypes.cast(function, ctypes.c_void_p).value


@functools.cache
def functions():
    """(clock, its number or None, ticks per second or None where it gives seconds and nanoseconds, what gives way)."""
    if sys.platform == "win32":
        frequency = ctypes.c_int64()
        ctypes.windll.kernel32.QueryPerformanceFrequency(ctypes.byref(frequency))
        clock, give_way = ctypes.windll.kernel32.QueryPerformanceCounter, ctypes.windll.kernel32.SwitchToThread
        return _address(clock), None, frequency.value, _address(give_way)
    library = ctypes.CDLL(None)
    return _address(library.clock_gettime), time.CLOCK_MONOTONIC, None, _address(library.sched_yield)


def ticks_per_second():
    """Ticks of the clock in a second."""
    return functions()[2] or 10**9


def system_calls(table, reading):
    """Fill the first six entries, those of `_phases.SYSTEM`, of an int64 table; the clock writes to `reading`, two int64."""
    clock, number, frequency, give_way = functions()
    arguments = (reading.ctypes.data, 0) if number is None else (number, reading.ctypes.data)
    table[:6] = clock, *arguments, reading.ctypes.data, 1 if frequency else 10**9, give_way
