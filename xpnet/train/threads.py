"""Threads that share a trainer: one of them trains it at a time, and then it alone may use it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from xpnet.errors import ConfigError

__all__ = ["Use", "alone"]

Method = TypeVar("Method", bound=Callable[..., Any])


class Use:
    """Who uses a trainer.

    Attributes:
        lock: held while it is trained; a callback may train it again.
        thread: that trains it now; None if none does.
    """

    __slots__ = ("lock", "thread")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.thread: int | None = None

    def check(self) -> None:
        """Raise a `ConfigError` while another thread trains, whose steps write over what would be read."""
        if self.thread is not None and self.thread != threading.get_ident():
            raise _in_another_thread()


def alone(method: Method) -> Method:
    """Return a method of a trainer that trains it, while no other thread may use it."""

    @functools.wraps(method)
    def trains(trainer: Any, *args: Any, **options: Any) -> Any:
        use = trainer._use
        if not use.lock.acquire(blocking=False):
            raise _in_another_thread()
        before, use.thread = use.thread, threading.get_ident()
        try:
            return method(trainer, *args, **options)
        finally:
            use.thread = before
            use.lock.release()

    return cast(Method, trains)


def _in_another_thread() -> ConfigError:
    return ConfigError(
        "trainer: expected the one thread that trains it, found another one: another thread is training it; "
        "let that end, or use trainer.clone() for each thread (trainer.copy() keeps what is trained)"
    )
