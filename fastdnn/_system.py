"""What compiled loops ask of the operating system, as addresses of its functions: the time, and to let others run.

They are called with two int64 arguments each, of which a function may take fewer: the calling conventions of x86-64 and
aarch64 allow that.
"""

import ctypes
import functools
import sys
import time

from ._records import Record

# The clock's address, its two arguments, where it writes seconds and nanoseconds (or ticks and nothing), nanoseconds of the
# first of them; the address of what gives way to another thread.
SYSTEM = Record("clock", "clock_first", "clock_second", "clock_at", "clock_unit", "give_way")


def _address(function):
    return ctypes.cast(function, ctypes.c_void_p).value


@functools.cache
def _functions():
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
    return _functions()[2] or 10**9


def system_calls(table, reading):
    """Fill the entries of SYSTEM in an int64 table; `reading`, two int64, is where the clock writes."""
    clock, number, frequency, give_way = _functions()
    arguments = (reading.ctypes.data, 0) if number is None else (number, reading.ctypes.data)
    table[: SYSTEM.size] = clock, *arguments, reading.ctypes.data, 1 if frequency else 10**9, give_way
