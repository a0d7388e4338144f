"""Errors that xpnet raises on purpose, and helpers for their messages.

Each message names the object, what was expected, what was found, and what to do about it.
Each class knows the exit code with which the ``xpnet`` command ends when it is raised.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

from xpnet.text import shown

__all__ = [
    "BackendError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "OutOfMemoryError",
    "RecordError",
    "XpnetError",
    "because",
    "memory_in_words",
    "reason",
    "remedy",
    "suggest",
]


class XpnetError(Exception):
    """Base class of every error that xpnet raises on purpose."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message as text: names of columns and files in it cannot control a terminal."""
        return shown(super().__str__(), 4000)


class ConfigError(XpnetError, ValueError):
    """An invalid setting, name or shape."""

    exit_code = 2


class BackendError(XpnetError, RuntimeError):
    """A backend, device or dtype that this machine cannot provide."""

    exit_code = 3


class OutOfMemoryError(BackendError):
    """The memory of a device, or of the host, does not suffice.

    Attributes:
        asked: bytes that were asked for at last; None if the library does not say.
        free: bytes that were free then; None if unknown.
        total: bytes of the device, or of the limit that was set; None if unknown.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, asked: int | None = None, free: int | None = None, total: int | None = None
    ):
        super().__init__(message)
        self.asked, self.free, self.total = asked, free, total


class DivergedError(XpnetError, ArithmeticError):
    """The loss became NaN or infinite.

    Attributes:
        epoch: epoch (counted from 1) of the step at which the loss stopped being finite.
        step: that step, counted from 1 over the whole training.
        layer: name of the first layer whose output was not finite, or ``"loss"``.
    """

    exit_code = 4

    def __init__(self, message: str, *, epoch: int = 0, step: int = 0, layer: str = "loss"):
        super().__init__(message)
        self.epoch, self.step, self.layer = epoch, step, layer


class DataError(XpnetError, ValueError):
    """A table, column or array that cannot be used as it is."""

    exit_code = 5


class CheckpointError(XpnetError, RuntimeError):
    """A checkpoint or run folder that cannot be written or read."""


class RecordError(XpnetError, TypeError):
    """A traced array was used in a way that cannot be recorded or differentiated."""


def suggest(name: object, known: Iterable[object]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``name``, else the choices.

    >>> suggest("adm", ["sgd", "adam"])
    "; did you mean 'adam'?"
    >>> suggest("zzz", ["sgd", "adam"])
    '; known: adam, sgd'
    """
    names = sorted({str(k) for k in known})
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known: {', '.join(names)}" if names else ""


def memory_in_words(size: float | None) -> str:
    """Return a size in bytes in words.

    >>> memory_in_words(512), memory_in_words(48 * 2**20), memory_in_words(1.5 * 2**30)
    ('512 bytes', '48.00 MiB', '1.50 GiB')
    """
    if size is None:
        return "unknown"
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 2**power:
            return f"{size / 2**power:.2f} {unit}"
    return f"{size:.0f} bytes"


# What helps against a failure of the system, by the names of its numbers, which differ between systems.
_REMEDIES = {
    "make room": ("ENOSPC",),
    "make room within your quota": ("EDQUOT",),
    "change its permissions, or choose another place": ("EACCES", "EPERM"),
    "choose a place that can be written": ("EROFS",),
    "look whether it, or a folder of its path, was moved or removed": ("ENOENT",),
    "a part of its path is a file: correct the path": ("ENOTDIR",),
    "expected a file: correct the path": ("EISDIR",),
    "choose a shorter name": ("ENAMETOOLONG",),
    "a part of its path is a link that leads back to itself: correct it": ("ELOOP",),
    "raise the limit (ulimit -n), or keep fewer files open": ("EMFILE",),
    "close other programs": ("ENFILE",),
    "let the program that uses it end": ("EBUSY", "ETXTBSY"),
    "the file system takes no file of this size: choose another one": ("EFBIG",),
    "look after the disk, or the network that it is on": ("EIO", "ESTALE", "ENXIO", "ENODEV", "ETIMEDOUT"),
    "the file system takes no such name: choose another one": ("EILSEQ", "EINVAL"),
}  # fmt: skip
_BY_NUMBER = {getattr(errno, name, None): text for text, names in _REMEDIES.items() for name in names}


def remedy(error: OSError) -> str:
    """Return what helps against a failure of the system; empty if that is not known.

    >>> remedy(OSError(errno.ENOSPC, "No space left on device"))
    'make room'
    """
    return "" if error.errno is None else _BY_NUMBER.get(error.errno, "")


def because(error: OSError) -> str:
    """Return the system's reason for a failure, and what helps.

    >>> because(PermissionError(errno.EACCES, "Permission denied", "table.csv"))
    'Permission denied; change its permissions, or choose another place'
    """
    helps = remedy(error)
    return f"{error.strerror or error}{'; ' if helps else ''}{helps}"


def reason(error: Exception) -> str:
    """Return what an error says; of one of the system's the place, the reason, and what helps.

    >>> reason(OSError(errno.ENOSPC, "No space left on device", "run/loss.svg"))
    "'run/loss.svg': No space left on device; make room"
    """
    if not isinstance(error, OSError):
        return str(error)
    return f"'{error.filename}': {because(error)}" if error.filename else because(error)
