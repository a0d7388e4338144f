"""What a setting may hold: how it is read from a flag, checked, and described in messages.

A kind takes a value in the form in which TOML gives it. ``from_text`` brings a flag's text into that form;
``check`` returns the value or raises `ValueError`, and whoever asked says which setting it was.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from xpnet import checks
from xpnet.errors import suggest

__all__ = [
    "Kind",
    "flag",
    "interval",
    "memory_size",
    "name",
    "name_or_code",
    "named_numbers",
    "names",
    "number",
    "numbers_by_name",
    "one_of",
    "seed",
    "share",
    "text",
    "text_or_texts",
    "texts",
    "whole",
    "whole_or",
    "widths",
]


@dataclass(frozen=True)
class Kind:
    """One kind of value.

    Attributes:
        metavar: stands for the value in ``--help``.
        expected: the value in words, for messages.
        from_text: a flag's text as TOML would give the value; raises ValueError.
        check: the value, made uniform; raises ValueError if it cannot be meant.
        choices: the names that are known, where there are such; called when needed.
        repeated: whether the flag may be given several times, each adding to a list.
        costly: whether calling ``choices`` loads NumPy.
    """

    metavar: str
    expected: str
    from_text: Callable[[str], Any]
    check: Callable[[Any], Any]
    choices: Callable[[], Iterable[str]] | None = None
    repeated: bool = False
    costly: bool = False

    def hint(self, value: Any) -> str:
        """Return the end of a message that names the nearest choices, if there are choices."""
        if self.choices is None:
            return ""
        known = list(self.choices())
        wrong = [v for v in (value if isinstance(value, list) else [value]) if v not in known]
        return suggest(wrong[0] if wrong else value, known)


def _require(condition: bool, value: Any) -> Any:
    if not condition:
        raise ValueError
    return value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def whole(minimum: int) -> Kind:
    """A whole number of at least ``minimum``."""
    return Kind(
        "N",
        f"a whole number of at least {minimum}",
        int,
        lambda value: _require(_is_whole(value) and value >= minimum, value),
    )


def seed() -> Kind:
    """A seed of the random generator."""
    return Kind(
        "N",
        "a whole number from 0 to 2**63 - 1",
        int,
        # the bound is that of TOML's integers
        lambda value: _require(_is_whole(value) and 0 <= value < 2**63, value),
    )


def whole_or(word: str, minimum: int) -> Kind:
    """A whole number of at least ``minimum``, or one word."""
    return Kind(
        f"N|{word}",
        f"a whole number of at least {minimum} or '{word}'",
        lambda text: word if text.strip().lower() == word else int(text),
        lambda value: _require(value == word or (_is_whole(value) and value >= minimum), value),
    )


def interval() -> Kind:
    """A number of epochs, or a time such as ``30s``."""

    def check(value: Any) -> int | str:
        checks.interval("", value)  # whose error is a ValueError
        return value if isinstance(value, int) else str(value).strip()

    return Kind(
        "N|TIME",
        "a number of epochs, at least 1, or a time such as 30s, 5m or 2h",
        lambda text: int(text) if text.strip().isdecimal() else text,
        check,
    )


def memory_size() -> Kind:
    """A number of bytes, or a size such as ``4GiB``."""

    def check(value: Any) -> int | str:
        checks.memory_size("", value)  # whose error is a ValueError
        return value if isinstance(value, int) else value.strip()

    return Kind(
        "SIZE",
        "a number of bytes, at least 1, or a size such as 4GiB or 512MiB",
        lambda text: int(text) if text.strip().isdecimal() else text,
        check,
    )


def number(expected: str, allowed: Callable[[float], bool]) -> Kind:
    """A finite number for which ``allowed`` holds."""

    def check(value: Any) -> float:
        _require(isinstance(value, (int, float)) and not isinstance(value, bool), value)
        value = float(value)
        return _require(math.isfinite(value) and allowed(value), value)

    return Kind("X", expected, float, check)


def numbers_by_name(expected: str, allowed: Callable[[float], bool]) -> Kind:
    """A finite number, or numbers by name: ``a=0.1,b=2`` on the command line, a table in TOML."""
    one = number(expected, allowed)

    def from_text(text: str) -> float | dict[str, float]:
        return _named_numbers(text) if "=" in text else float(text)

    def check(value: Any) -> float | dict[str, float]:
        if isinstance(value, dict):
            return {str(name): one.check(x) for name, x in value.items()}
        return one.check(value)

    return Kind("X|NAME=X,...", f"{expected}, or several by name", from_text, check)


def share(expected: str, allowed: Callable[[float], bool]) -> Kind:
    """A number, or a percentage: ``0.9`` or ``90%`` on the command line, a number in TOML."""

    def from_text(text: str) -> float:
        text = text.strip()
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)

    return dataclasses.replace(number(expected, allowed), from_text=from_text, metavar="X|X%")


def _named_numbers(text: str) -> dict[str, float]:
    """Return numbers by name of ``a=0.1,b=2``; a name may hold commas."""
    pairs: list[str] = []
    for part in text.split(","):
        if pairs and "=" not in pairs[-1]:
            pairs[-1] += f",{part}"
        else:
            pairs.append(part)
    named = {}
    for pair in pairs:
        name, _, value = pair.rpartition("=")
        named[_require(name.strip() != "", name.strip())] = float(value)
    return _require(len(named) == len(pairs), named)


def named_numbers(expected: str, allowed: Callable[[float], bool], *words: str) -> Kind:
    """Numbers by name, ``a=0.1,b=2`` on the command line and a table in TOML; or one of a few words."""
    one = number(expected, allowed)

    def check(value: Any) -> str | dict[str, float]:
        if isinstance(value, str):
            return _require(value.lower() in words, value.lower())
        _require(isinstance(value, dict), value)
        return {str(name): one.check(x) for name, x in value.items()}

    listed = "".join(f"{word}|" for word in words)
    wanted = "".join(f"'{word}', " for word in words)
    return Kind(
        f"{listed}NAME=X,...",
        f"{wanted}{'or ' if words else ''}{expected} by name, such as a=0.5,b=2",
        lambda text: _named_numbers(text) if "=" in text else text,
        check,
    )


def name_or_code(choices: Callable[[], Iterable[str]], *, extra: str) -> Kind:
    """One of the names that ``choices()`` returns, ``extra``, or a place of code such as ``file.py:f``."""
    named = name(choices, extra=extra)

    def check(value: Any) -> str:
        if isinstance(value, str) and ":" in value:
            place, _, function = value.rpartition(":")
            return _require(place != "" and function.isidentifier(), value)
        return named.check(value)

    return dataclasses.replace(
        named,
        metavar="NAME|FILE.py:FUNCTION",
        expected="one of the known names, file.py:function or module:function",
        check=check,
    )


def flag() -> Kind:
    """True or false."""

    def from_text(text: str) -> bool:
        return {"true": True, "false": False}[text]

    return Kind("", "true or false", from_text, lambda value: _require(isinstance(value, bool), value))


def text(metavar: str, expected: str) -> Kind:
    """Some text, not empty."""
    return Kind(metavar, expected, str, lambda value: _require(isinstance(value, str) and value != "", value))


def texts(metavar: str, expected: str) -> Kind:
    """A list of texts; one text is a list of one."""

    def check(value: Any) -> tuple[str, ...]:
        values = [value] if isinstance(value, str) else value
        _require(isinstance(values, (list, tuple)) and all(isinstance(v, str) and v for v in values), value)
        return tuple(values)

    return Kind(metavar, expected, str, check, repeated=True)


def text_or_texts(metavar: str, expected: str) -> Kind:
    """A text, or a list of several; a list of one is that text."""

    def check(value: Any) -> str | tuple[str, ...]:
        found = texts(metavar, expected).check(value)
        _require(len(found) > 0, value)
        return found[0] if len(found) == 1 else found

    return Kind(metavar, expected, str, check, repeated=True)


def one_of(*choices: str) -> Kind:
    """One of a few names, in any case."""
    return dataclasses.replace(name(lambda: choices), costly=False)


def name(choices: Callable[[], Iterable[str]], *, extra: str | None = None) -> Kind:
    """One of the names that ``choices()`` returns, or ``extra``, in any case."""

    def known() -> list[str]:
        return [*([extra] if extra else []), *choices()]

    def check(value: Any) -> str:
        _require(isinstance(value, str), value)
        return _require(value.lower() in known(), value.lower())

    return Kind("NAME", "one of the known names", str, check, known, costly=True)


def names(choices: Callable[[], Iterable[str]]) -> Kind:
    """One of the names, or several: separated by commas on the command line, a list in TOML."""

    def from_text(text: str) -> str | list[str]:
        parts = [part.strip() for part in text.split(",")]
        return parts[0] if len(parts) == 1 else parts

    def check(value: Any) -> str | tuple[str, ...]:
        values = [value] if isinstance(value, str) else value
        _require(isinstance(values, (list, tuple)) and all(isinstance(v, str) for v in values), value)
        found = tuple(v.lower() for v in values)
        _require(len(found) > 0 and all(v in list(choices()) for v in found), value)
        return found[0] if isinstance(value, str) else found

    return Kind(
        "NAME[,NAME...]", "a known name, or one for each hidden layer", from_text, check, choices, costly=True
    )


def widths() -> Kind:
    """Widths of layers: ``128,64`` or ``none`` on the command line, a list in TOML."""

    def from_text(text: str) -> list[int]:
        return [] if text.strip().lower() in ("", "none") else [int(part) for part in text.split(",")]

    def check(value: Any) -> tuple[int, ...]:
        values = [value] if _is_whole(value) else value
        _require(isinstance(values, (list, tuple)) and all(_is_whole(v) and v >= 1 for v in values), value)
        return tuple(values)

    return Kind("N[,N...]", "whole numbers of at least 1, such as 128,64, or none", from_text, check)
