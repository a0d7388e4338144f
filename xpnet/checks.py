"""Checks of settings, worded alike everywhere."""

from __future__ import annotations

import math
from typing import Any

from xpnet.errors import ConfigError

__all__ = ["check_number", "check_whole"]


def check_number(name: str, value: Any, *, low: float = 0.0, above: bool = False) -> None:
    """Refuse what is not a finite number of at least ``low`` (or, with ``above``, above it).

    >>> check_number("l2", -1)
    Traceback (most recent call last):
    ...
    xpnet.errors.ConfigError: l2: expected a finite number of at least 0, found -1
    """
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < low or (above and value == low):
        wanted = f"above {low:g}" if above else f"of at least {low:g}"
        raise ConfigError(f"{name}: expected a finite number {wanted}, found {value!r}")


def check_whole(name: str, value: Any, *, low: int = 1) -> None:
    """Refuse what is not a whole number of at least ``low``; None stands for "not set" and passes."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < low):
        raise ConfigError(f"{name}: expected a whole number of at least {low}, found {value!r}")
