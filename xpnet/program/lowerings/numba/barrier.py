"""Barriers for threads, within compiled code.

A gate is an array of whole numbers: how many arrivals there have been, whether the work has been abandoned,
and the address of a function that gives another thread a turn; each on a cache line of its own.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import numpy as np
from numba import njit

from xpnet.program.lowerings.numba import intrinsics

__all__ = ["ABANDONED", "barrier", "gate"]

_ARRIVALS, ABANDONED, _GIVE_WAY, _SIZE = 0, 8, 16, 24
_SPINS = 4096  # about 50 microseconds; a thread that waits longer may be waiting for the core it has

_compiled: Any = njit(error_model="numpy", nogil=True)
arrive: Any = intrinsics.arrive
number_at: Any = intrinsics.number_at
call_at: Any = intrinsics.call_at
pause: Any = intrinsics.pause


@_compiled
def barrier(gate, threads, passed):  # type: ignore[no-untyped-def]
    """Wait until all threads are here, for the ``passed``-th time; True if the work has been abandoned."""
    if threads == 1:
        return False
    arrive(gate)
    spins = 0
    while number_at(gate + 8 * _ARRIVALS) < passed * threads:
        if number_at(gate + 8 * ABANDONED):
            return True
        spins += 1
        if spins < _SPINS:
            pause()
        else:
            call_at(number_at(gate + 8 * _GIVE_WAY))
    return False


def gate() -> np.ndarray:
    """Return a new gate."""
    made = np.zeros(_SIZE, dtype=np.int64)
    made[_GIVE_WAY] = _give_way()
    return made


@functools.cache
def _give_way() -> int:
    """Return the address of the system's function that lets another thread run."""
    if sys.platform == "win32":
        function = ctypes.windll.kernel32.SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0
