"""On which core a thread runs.

Linux may wake a thread up on the core of the very thread that waits for it, and leave it there for tens of
milliseconds, in which a step that takes microseconds waits for a turn at each barrier.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Callable, Iterable

__all__ = ["core", "leave"]


def core() -> int:
    """Return the core of the calling thread; -1 where that cannot be known."""
    return _getcpu()()


def leave(cores: Iterable[int]) -> None:
    """Move the calling thread off these cores, if it may move; afterwards it may run on any core."""
    with contextlib.suppress(OSError):
        allowed = os.sched_getaffinity(0)
        others = allowed.difference(cores)
        if others:
            os.sched_setaffinity(0, others)
            os.sched_setaffinity(0, allowed)


@functools.cache
def _getcpu() -> Callable[[], int]:
    if sys.platform != "linux":
        return lambda: -1
    try:
        return ctypes.PyDLL(None).sched_getcpu
    except (OSError, AttributeError):
        return lambda: -1
