"""Threads that help the one that runs a program: as long as the process lives, for one call at a time."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Helpers"]

Helper = TypeVar("Helper")


class Helpers(Generic[Helper]):
    """Helping threads of one kind, begun when they are needed first.

    Args:
        begin: begins one.

    Attributes:
        at_work: held by the call that has them.
    """

    at_work: threading.Lock
    _known: list[Helper]

    def __init__(self, begin: Callable[[], Helper]):
        self._begin = begin
        self._forget()
        if hasattr(os, "register_at_fork"):  # a forked process does not have them
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self.at_work, self._known = threading.Lock(), []

    def first(self, count: int) -> list[Helper]:
        """Return so many of them, or fewer where the system gives no more threads."""
        with contextlib.suppress(RuntimeError):
            while len(self._known) < count:
                self._known.append(self._begin())
        return self._known[:count]
