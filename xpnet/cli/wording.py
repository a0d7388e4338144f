"""Messages in the words of the command line: settings as flags, calls as commands, quoted for a shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from xpnet.errors import Call, Use, Word, Words, XpnetError
from xpnet.text import shown

__all__ = ["command", "in_flags", "said"]

_MOST = 4000  # characters of a message
# Calls that are a command of another name, or one with a switch.
_COMMANDS = {"resume_pruning": ("prune", ["--resume"]), "resume_tuning": ("resume", [])}
_NAMES = {"start": "from"}  # of flags that are no names in Python
_WITH_VALUE = {"dayfirst"}  # no switch, as it may be unset: it takes true or false
_ARGUMENTS = {"data"}  # of `xpnet train`, which are no flags


def said(error: XpnetError) -> str:
    """Return the message of an error."""
    return in_flags(error.words)


def in_flags(text: object) -> str:
    """Return a message as one line of text, with flags and commands where it names settings and calls.

    >>> from xpnet.errors import call, use
    >>> in_flags(Words(f"leave it out with {use('drop', 'Flight Date')}"))
    "leave it out with --drop 'Flight Date'"
    >>> in_flags(Words(f"to train on: {call('resume', 'runs/my run', epochs=Word('N'))}"))
    "to train on: xpnet resume 'runs/my run' --epochs N"
    """
    worded = text.worded(_in_flags) if isinstance(text, Words) else str(text)
    return shown(worded, _MOST)


def _in_flags(thing: Use | Call) -> str:
    if isinstance(thing, Use):
        return _flag(thing.setting) if thing.value is ... else " ".join(_flags(thing.setting, thing.value))
    return command(thing.name, thing.run, *thing.arguments, **thing.settings)


def command(name: str, run: str | None = None, *arguments: Any, **settings: Any) -> str:
    """Return a command line that a shell takes.

    >>> command("prune", "runs/a", sparsity=0.9, decay=True)
    'xpnet prune runs/a --sparsity 0.9 --decay'
    """
    name, switches = _COMMANDS.get(name, (name, []))
    words = ["xpnet", name, *([] if run is None else [_quoted(run)]), *map(_quoted, arguments), *switches]
    for setting, value in settings.items():
        words += _flags(setting, value)
    return " ".join(words)


def _flag(setting: str) -> str:
    return "NAME|FILE" if setting in _ARGUMENTS else f"--{_NAMES.get(setting, setting).replace('_', '-')}"


def _flags(setting: str, value: Any) -> list[str]:
    """Return the words that give a setting a value."""
    flag = _flag(setting)
    if isinstance(value, bool) and setting in _WITH_VALUE:
        return [flag, str(value).lower()]
    if value is True:
        return [flag]
    if value is False:
        return [f"--no-{flag[2:]}"]
    if isinstance(value, (list, tuple)) and any(isinstance(item, str) for item in value):
        return [word for item in value for word in (flag, _quoted(item))]
    return [flag, _quoted(value)]


def _quoted(value: Any) -> str:
    """Return a value as a word of a command line."""
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, Mapping):
        value = ",".join(f"{name}={number}" for name, number in value.items())
    elif isinstance(value, (list, tuple)):
        value = ",".join(map(str, value))
    return shlex.quote("none" if value is None else str(value))
