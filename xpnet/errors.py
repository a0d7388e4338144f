"""Errors that xpnet raises on purpose, and helpers for their messages.

Each message names the object, what was expected, what was found, and what to do about it.
Each class knows the exit code with which the ``xpnet`` command ends when it is raised.

Where a message names a setting or a call, it has a place for it (`use`, `call`), which each face words in its
own way: Python as ``missing='drop'``, the command line as a flag.

>>> error = DataError(f"column 'age' has missing cells; use {use('missing', 'drop')}")
>>> print(error)
column 'age' has missing cells; use missing='drop'
>>> error.uses
[Use(setting='missing', value='drop')]
"""

from __future__ import annotations

import dataclasses
import difflib
import errno
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from xpnet.text import shown

__all__ = [
    "BackendError",
    "Call",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "OutOfMemoryError",
    "RecordError",
    "Use",
    "Word",
    "Words",
    "XpnetError",
    "because",
    "call",
    "memory_in_words",
    "reason",
    "remedy",
    "suggest",
    "use",
]

_MOST = 4000  # characters of a message
# Around a place in a text: no characters of any language, which are shown as escape sequences elsewhere.
_BEGIN, _END = "\ufdd0", "\ufdd1"
_PLACE = re.compile(f"{_BEGIN}([^{_BEGIN}{_END}]*){_END}")


_METHODS = {"resume_pruning": "resume"}  # which a command tells apart


class Word(str):
    """A value for the reader to choose, such as ``N``: never quoted."""


@dataclasses.dataclass(frozen=True)
class Use:
    """A setting that a message names, with the value that helps; a value of Ellipsis: none in particular."""

    setting: str
    value: Any = ...

    def __str__(self) -> str:
        """Return it as an argument in Python."""
        return self.setting if self.value is ... else f"{self.setting}={_python(self.value)}"


@dataclasses.dataclass(frozen=True)
class Call:
    """A call that helps, of a method of a run (``run`` is its folder) or of a function of `xpnet.runs`."""

    name: str
    run: str | None
    arguments: tuple[Any, ...]
    settings: dict[str, Any]

    def __str__(self) -> str:
        """Return it in Python."""
        options = (str(Use(name, value)) for name, value in self.settings.items())
        inside = ", ".join([*map(_python, self.arguments), *options])
        owner = "xpnet.runs" if self.run is None else f"xpnet.runs.open({self.run!r})"
        return f"{owner}.{_METHODS.get(self.name, self.name)}({inside})"


def _python(value: Any) -> str:
    return str(value) if isinstance(value, Word) else repr(value)


def use(setting: str, value: Any = ...) -> str:
    """Return a place for a setting in a message.

    Args:
        setting: its name in Python.
        value: the value that helps, a `Word` for one to be chosen; left out: the setting as such.
    """
    return _place({"use": setting, **({} if value is ... else {"value": _packed(value)})})


def call(name: str, run: Any = None, *arguments: Any, **settings: Any) -> str:
    """Return a place for a call in a message.

    Args:
        name: of the method of a run, or of the function of `xpnet.runs`.
        run: the run folder; None for a function.
        arguments: what is passed.
        settings: what is passed by name.
    """
    packed = {key: _packed(value) for key, value in settings.items()}
    where = None if run is None else str(run)
    return _place(
        {"call": name, "run": where, "arguments": list(map(_packed, arguments)), "settings": packed}
    )


def _place(content: dict[str, Any]) -> str:
    return f"{_BEGIN}{json.dumps(content)}{_END}"  # whose text is ASCII


def _packed(value: Any) -> Any:
    if isinstance(value, Word):
        return {"word": str(value)}
    return list(value) if isinstance(value, tuple) else value


def _unpacked(value: Any) -> Any:
    return Word(value["word"]) if isinstance(value, dict) and value.keys() == {"word"} else value


def _thing(match: re.Match[str]) -> Use | Call | str:
    """Return what a place is for; a text that is none, of a stranger, as it is."""
    try:
        known = json.loads(match[1])
        if "use" in known:
            return Use(str(known["use"]), _unpacked(known["value"]) if "value" in known else ...)
        settings = {str(name): _unpacked(value) for name, value in known["settings"].items()}
        arguments = tuple(map(_unpacked, known["arguments"]))
        return Call(str(known["call"]), known["run"], arguments, settings)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return match[0]


class Words(str):
    """A message in Python's words, which knows its places for settings and calls.

    Attributes:
        text: the message with the places that `use` and `call` have made.
    """

    text: str

    def __new__(cls, text: str) -> Words:
        made = super().__new__(cls, _PLACE.sub(lambda match: str(_thing(match)), text))
        made.text = text
        return made

    @property
    def things(self) -> list[Use | Call]:
        """What the places are for, in their order."""
        found = map(_thing, _PLACE.finditer(self.text))
        return [thing for thing in found if not isinstance(thing, str)]

    def worded(self, word: Callable[[Use | Call], str]) -> str:
        """Return the message with other words for its places."""

        def worded(match: re.Match[str]) -> str:
            thing = _thing(match)
            return thing if isinstance(thing, str) else word(thing)

        return _PLACE.sub(worded, self.text)


class XpnetError(Exception):
    """Base class of every error that xpnet raises on purpose.

    Args:
        message: text with places for settings (`use`) and calls (`call`).
    """

    exit_code = 1

    def __init__(self, message: str = "", *others: Any):
        super().__init__(message if isinstance(message, Words) else Words(str(message)), *others)

    def __str__(self) -> str:
        """Return the message as text: names of columns and files in it cannot control a terminal."""
        return shown(self.words, _MOST)

    @property
    def words(self) -> Words:
        """The message."""
        words: Words = self.args[0]
        return words

    @property
    def text(self) -> str:
        """The message with its places, to be part of another one."""
        return self.words.text

    @property
    def uses(self) -> list[Use]:
        """The settings that the message names, with the values that help."""
        return [thing for thing in self.words.things if isinstance(thing, Use)]

    def change(self, text: str) -> None:
        """Take another message, such as a longer one."""
        self.args = (Words(text), *self.args[1:])


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
    """Return what an error says, with its places; of one of the system's where, why, and what helps.

    >>> reason(OSError(errno.ENOSPC, "No space left on device", "run/loss.svg"))
    "'run/loss.svg': No space left on device; make room"
    """
    if isinstance(error, XpnetError):
        return error.text
    if not isinstance(error, OSError):
        return str(error)
    return f"'{error.filename}': {because(error)}" if error.filename else because(error)
