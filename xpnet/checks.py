"""Checks of settings, worded alike everywhere.

Each check takes the setting's name, its value and a remedy, and returns the value as a plain Python number or
refuses it: ``check(label, value, remedy) -> value``. Plain, because a NumPy scalar would promote float32
arrays and cannot be written as JSON. A `Check` also takes text, as flags give it.

>>> not_negative("l2", -1)
Traceback (most recent call last):
...
xpnet.errors.ConfigError: l2: expected a finite number of at least 0, found -1; correct it
>>> not_negative.of_text("l2", "1e-3")
0.001
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from xpnet.errors import ConfigError, suggest

__all__ = [
    "Check",
    "choice",
    "count",
    "flag",
    "fraction",
    "interval",
    "meant",
    "memory_size",
    "named_numbers",
    "not_negative",
    "number",
    "one_of",
    "positive",
    "require",
    "seconds",
    "seed",
    "short_repr",
    "unless_none",
    "whole",
]

_BYTES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclasses.dataclass(frozen=True)
class Check:
    """A check of one kind of value, called as ``check(label, value, remedy) -> value``.

    Attributes:
        expected: the valid values, in words.
        convert: returns a value in its one form; raises ValueError for one that it does not take.
        read: returns the value that a text means, to be converted; raises ValueError if it means none.
        metavar: stands for a text in the help.
        choices: the names that it takes, if it takes names; called when needed, as it may import much.
    """

    expected: str
    convert: Callable[[Any], Any]
    read: Callable[[str], Any] = str
    metavar: str = "TEXT"
    choices: Callable[[], Iterable[str]] | None = None

    def __call__(self, label: str, value: Any, remedy: str = "correct it") -> Any:
        """Return ``value`` in its one form, or raise a `ConfigError` that begins with ``label``."""
        try:
            return self.convert(value)
        except (ValueError, OverflowError):
            advice = f"; {remedy}"
            if self.choices is not None:
                known = list(self.choices())
                wrong = [v for v in value if v not in known] if isinstance(value, (list, tuple)) else []
                advice = suggest(wrong[0] if wrong else value, known)
            raise ConfigError(
                f"{label}: expected {self.expected}, found {short_repr(value)}{advice}"
            ) from None

    def of_text(self, label: str, text: str | list[str]) -> Any:
        """Return the value that a text means; several texts where a flag may be repeated."""
        try:
            value = [self.read(part) for part in text] if isinstance(text, list) else self.read(text)
        except ValueError:
            value = text  # which is refused
        return self(label, value)


def short_repr(value: Any, most: int = 500) -> str:
    """Return the repr of a value, cut where it is long; numbers of many digits as their size.

    >>> short_repr("abc"), short_repr("x" * 300, 8), short_repr(10**5000)
    ("'abc'", "'xxxxxxx...", 'a whole number of 16610 bits')
    """
    if isinstance(value, int) and value.bit_length() > 4 * most:
        return f"a whole number of {value.bit_length()} bits"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # with such a number in it
        return f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[:most]}..."


def require(condition: bool, value: Any) -> Any:
    """Return ``value``, or raise the ValueError of a `Check.convert` if the condition does not hold."""
    if not condition:
        raise ValueError
    return value


def number(expected: str, allowed: Callable[[float], bool]) -> Check:
    """Return a check that takes a finite real number for which ``allowed`` holds, as a Python float."""

    def convert(value: Any) -> float:
        require(isinstance(value, Real) and not isinstance(value, bool), value)
        try:
            converted = float(value)
        except OverflowError:
            converted = math.inf
        return require(math.isfinite(converted) and allowed(converted), converted)

    return Check(expected, convert, float, "X")


positive = number("a finite number above 0", lambda x: x > 0.0)
not_negative = number("a finite number of at least 0", lambda x: x >= 0.0)
fraction = number("a number of at least 0 and below 1", lambda x: 0.0 <= x < 1.0)


def whole(minimum: int, maximum: int = 10**300) -> Check:
    """Return a check that takes a whole number from ``minimum`` to ``maximum``, as a Python int."""

    def convert(value: Any) -> int:
        require(isinstance(value, Integral) and not isinstance(value, bool), value)
        return require(minimum <= int(value) <= maximum, int(value))

    return Check(f"a whole number of at least {minimum}", convert, int, "N")


count = whole(1)
seed = dataclasses.replace(whole(0, 2**64 - 1), expected="a whole number from 0 to 2**64 - 1")
flag = Check(
    "True or False",
    lambda value: require(isinstance(value, bool), value),
    lambda text: {"true": True, "false": False}.get(text.strip().lower(), text),
)


def meant(name: object, known: Iterable[str], also: Mapping[str, str] | None = None) -> str | None:
    """Return the known name that a name means; None if it means none.

    Hyphens, underscores, blanks and capitals make no difference, unless a known name is spelled so.

    Args:
        name: as it was given.
        known: the names.
        also: other names, and the known ones that they mean.

    >>> meant("L_BFGS", ["adam", "l-bfgs"]), meant("MSE", ["squared_error"], {"mse": "squared_error"})
    ('l-bfgs', 'squared_error')
    """
    names = list(known)
    if not isinstance(name, str) or name in names:
        return name if isinstance(name, str) else None
    plain = {_plain(other): other for other in names}
    others = {_plain(other): known_name for other, known_name in (also or {}).items()}
    found = plain.get(_plain(name), others.get(_plain(name)))
    return found if found in names else None


def _plain(name: str) -> str:
    return re.sub("[-_ ]", "", name.lower())


def choice(
    choices: Callable[[], Iterable[str]],
    expected: str = "one of the known names",
    also: Mapping[str, str] | None = None,
) -> Check:
    """Return a check that takes one of the names that ``choices()`` returns, in any spelling.

    Args:
        choices: called when needed, as it may import much.
        expected: the valid values, in words.
        also: other names, and the ones that they mean.
    """

    def convert(value: Any) -> str:
        known = meant(value, choices(), also)
        return str(require(known is not None, known))

    return Check(expected, convert, metavar="NAME", choices=choices)


def one_of(*allowed: str) -> Check:
    """Return a check that takes one of the words, in any spelling."""
    return choice(lambda: allowed, " or ".join(map(repr, allowed)))


def named_numbers(one: Check) -> Check:
    """Return a check that takes numbers by name, each as ``one`` takes it: a dict, or text as ``a=1,b=2``."""

    def convert(value: Any) -> dict[str, float]:
        require(hasattr(value, "items"), value)
        return {str(name): one.convert(x) for name, x in value.items()}

    return Check(f"{one.expected} by name, such as a=0.5,b=2", convert, _read_named_numbers, "NAME=X,...")


def _read_named_numbers(text: str) -> dict[str, float]:
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
        named[require(name.strip() != "", name.strip())] = float(value)
    return require(len(named) == len(pairs), named)


def unless_none(check: Callable[..., Any], label: str, value: Any) -> Any:
    """Return the checked value; None is allowed."""
    return None if value is None else check(label, value, "correct it, or pass None")


def interval(label: str, value: Any, remedy: str = "correct it") -> tuple[int | None, float | None]:
    """Return the interval between two saves in epochs and in seconds, one of which is None.

    >>> interval("every", 5), interval("every", "1.5m")
    ((5, None), (None, 90.0))
    """
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+|\d*\.\d+)([smh])", value.strip())
        if match and float(match[1]) > 0:
            return None, float(match[1]) * _SECONDS[match[2]]
    elif isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1:
        return int(value), None
    raise ConfigError(
        f"{label}: expected a number of epochs, at least 1, or a time such as '30s', '5m' or '2h', found "
        f"{value!r}; {remedy}"
    )


def _seconds(value: Any) -> float:
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+|\d*\.\d+)([smh])", value.strip())
        value = float(match[1]) * _SECONDS[match[2]] if match else value
    return float(positive.convert(value))


def _read_seconds(text: str) -> float | str:
    return text if text.strip()[-1:] in _SECONDS else float(text)


seconds = Check(
    "a number of seconds above 0, or a time such as '30s', '5m' or '2h'", _seconds, _read_seconds, "TIME"
)


def memory_size(label: str, value: Any, remedy: str = "correct it") -> int:
    """Return a size of memory in bytes, given as a number of them or as a text such as ``"4GiB"``.

    >>> memory_size("limit", "1.5 GiB"), memory_size("limit", 2**20)
    (1610612736, 1048576)
    """
    size = value
    if isinstance(value, str):
        match = re.fullmatch(rf"(\d+|\d*\.\d+) ?({'|'.join(_BYTES)})", value.strip())
        size = int(float(match[1]) * _BYTES[match[2]]) if match else None
    if isinstance(size, Integral) and not isinstance(size, bool) and int(size) >= 1:
        return int(size)
    raise ConfigError(
        f"{label}: expected a number of bytes, at least 1, or a size such as '4GiB' or '512MiB', found "
        f"{value!r}; {remedy}"
    )
