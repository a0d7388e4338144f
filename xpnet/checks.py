"""Checks of settings, worded alike everywhere.

Each check takes the setting's name, its value and a remedy, and returns the value as a plain Python number or
refuses it: ``check(label, value, remedy) -> value``. Plain, because a NumPy scalar would promote float32
arrays and cannot be written as JSON.

>>> not_negative("l2", -1)
Traceback (most recent call last):
...
xpnet.errors.ConfigError: l2: expected a finite number of at least 0, found -1; correct it
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

from xpnet.errors import ConfigError, suggest

__all__ = [
    "count",
    "flag",
    "fraction",
    "interval",
    "memory_size",
    "not_negative",
    "number",
    "one_of",
    "positive",
    "unless_none",
]

_BYTES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def number(expected: str, allowed: Callable[[float], bool]) -> Callable[..., float]:
    """Return a check that takes a real number for which ``allowed`` holds, and makes it a Python float."""

    def check(label: str, value: Any, remedy: str = "correct it") -> float:
        if isinstance(value, Real) and not isinstance(value, bool):
            try:
                converted = float(value)
            except OverflowError:
                converted = math.inf
            if allowed(converted):  # false for NaN, as every comparison with it
                return converted
        raise ConfigError(f"{label}: expected {expected}, found {value!r}; {remedy}")

    return check


positive = number("a finite number above 0", lambda x: 0.0 < x < math.inf)
not_negative = number("a finite number of at least 0", lambda x: 0.0 <= x < math.inf)
fraction = number("a number of at least 0 and below 1", lambda x: 0.0 <= x < 1.0)


def count(label: str, value: Any, remedy: str = "correct it") -> int:
    """Return a whole number of at least 1 as a Python int."""
    if isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1:
        return int(value)
    raise ConfigError(f"{label}: expected a whole number of at least 1, found {value!r}; {remedy}")


def flag(label: str, value: Any, remedy: str = "correct it") -> bool:
    """Return True or False as it is."""
    if isinstance(value, bool):
        return value
    raise ConfigError(f"{label}: expected True or False, found {value!r}; {remedy}")


def one_of(label: str, value: Any, *allowed: str) -> str:
    """Return one of the allowed words as it is."""
    if isinstance(value, str) and value in allowed:
        return value
    wanted = " or ".join(repr(word) for word in allowed)
    raise ConfigError(f"{label}: expected {wanted}, found {value!r}{suggest(value, allowed)}")


def unless_none(check: Callable[..., Any], label: str, value: Any) -> Any:
    """Return None, or what ``check`` makes of the value."""
    return None if value is None else check(label, value, "correct it, or pass None")


def interval(label: str, value: Any, remedy: str = "correct it") -> tuple[int | None, float | None]:
    """Return what separates two saves: a number of epochs or else of seconds, the other one None.

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
