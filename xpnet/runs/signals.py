"""Signals that end a command: Ctrl-C, SIGTERM, and SIGHUP of a terminal that is closed."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, Protocol

from xpnet.errors import Words

__all__ = ["Interrupted", "Interruption", "Signals", "held"]

_log = logging.getLogger("xpnet.runs")
_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")  # the last one is unknown to some systems
_APART = 1.0  # seconds; what comes sooner was sent twice: by a shell and the terminal, or a program between


class Interrupted(KeyboardInterrupt):  # no error: it was wished
    """A signal ended the training; what was to be saved has been.

    Args:
        text: what has become of it, with places as an error's.
    """

    def __init__(self, text: str):
        self.words = Words(text)
        super().__init__(self.words)


class _Place(Protocol):
    """A part of a command that says what becomes of a signal."""

    def acts(self, name: str) -> bool:
        """Return whether the signal acts at once; it is noted otherwise."""


_places: list[_Place] = []


def _stop(name: str) -> KeyboardInterrupt:
    """Return what a signal raises, with its name if it is not Ctrl-C."""
    return KeyboardInterrupt(*(() if name == "SIGINT" else (name,)))


class Signals:
    """Inside this context each of the signals raises `KeyboardInterrupt`, unless an `Interruption` notes it.

    A signal that is ignored, as ``nohup`` has SIGHUP and a shell SIGINT of its background jobs, stays so, and
    one that another part of the process handles is its own. Threads other than the main one get no signals.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self._before: dict[int, Any] = {}
        self._raised = -_APART

    @property
    def exit_code(self) -> int:
        """What shells have: 128 and the number of the first signal; 130 if there was none."""
        return 128 + (self.first or signal.SIGINT)

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name, None) for name in _ENDING):
                if number and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.first = self.first or number
        name, now = signal.Signals(number).name, time.monotonic()
        if (not _places or _places[-1].acts(name)) and now >= self._raised + _APART:
            self._raised = now
            raise _stop(name)


class Interruption:
    """Inside this context a signal is noted, and obeyed where that is safe; a second Ctrl-C acts at once."""

    def __init__(self) -> None:
        self.requested = ""  # name of the first signal

    def __enter__(self) -> Interruption:
        _places.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _places.remove(self)
        if kind is None:
            self.obey()

    def acts(self, name: str) -> bool:
        """Return whether this is a second Ctrl-C."""
        if self.requested:
            return name == "SIGINT"
        self.requested = name
        again = " (Ctrl-C again: at once)" if name == "SIGINT" else f": {name}"
        _log.info("stopping after this step%s", again)
        return False

    def obey(self) -> None:
        """Raise `KeyboardInterrupt` if there was a signal."""
        if self.requested:
            raise _stop(self.requested)


class _Held:
    def acts(self, name: str) -> bool:
        return False


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Inside this context signals do nothing: the command is on its way out, and saves what there is."""
    place = _Held()
    _places.append(place)
    try:
        yield
    finally:
        _places.remove(place)
