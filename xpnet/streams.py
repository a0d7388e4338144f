"""Standard streams that may be closed, full, or of a terminal that is gone: none of that ends a training."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["Patient", "say", "standard_streams"]


class Patient:
    """A text stream that drops what cannot be written, and remembers why.

    Characters that its encoding lacks are written as escape sequences.

    Args:
        stream: where to write; None, as Python has it for a stream that was closed when it began.

    Attributes:
        failure: the first one; None if everything was written.
    """

    def __init__(self, stream: Any):
        self._stream = stream
        self.failure: Exception | None = None

    def write(self, text: str) -> int:
        """Write, if that is possible."""
        if self._stream is None:
            self.failure = self.failure or OSError(errno.EBADF, os.strerror(errno.EBADF))
            return len(text)
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            self.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: by a signal amid another writing
            self.failure = self.failure or error
        return len(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except (OSError, ValueError, RuntimeError) as error:
            self.failure = self.failure or error

    def isatty(self) -> bool:
        """Whether this is a terminal that is there."""
        try:
            return self._stream is not None and bool(self._stream.isatty())
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """Return the descriptor, or raise OSError."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return int(self._stream.fileno())

    @property
    def encoding(self) -> str:
        """Name of the encoding."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def give_up(self) -> None:
        """Flush; where that fails the descriptor leads nowhere from then on, as Python flushes at its end."""
        known, self.failure = self.failure, None
        self.flush()
        if self.failure is not None:
            with contextlib.suppress(OSError, ValueError):
                number, nowhere = self.fileno(), os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)
        self.failure = known or self.failure


def say(line: str, stream: Any = None) -> None:
    """Write a line to a stream, by default stderr, if that is possible."""
    Patient(sys.stderr if stream is None else stream).write(f"{line}\n")


@contextlib.contextmanager
def standard_streams() -> Iterator[Patient]:
    """Inside this context writing to stdout and stderr never raises; yields stdout."""
    _occupy()
    before = sys.stdout, sys.stderr
    out, err = Patient(sys.stdout), Patient(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before
        for stream in (out, err):
            stream.give_up()


def _occupy() -> None:
    """Open the null device for each standard stream that is closed.

    Otherwise the next file to be opened, a checkpoint perhaps, has its number, and all that is printed.
    """
    number = os.open(os.devnull, os.O_RDWR)
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
