"""Schemas of files: tables of what each field holds, and the one reader of JSON that checks by them.

A schema is one of

- a `Check` of `xpnet.checks`, such as ``checks.whole(0)``, for a single value;
- a dict for an object of exactly these fields, of which those with a question mark may be missing;
  ``...: schema`` stands for all fields that are not named;
- a list of one schema, for a list of such values; of several, for a list of exactly these;
- a tuple of schemas, for a value that one of them takes; None for null.

>>> from xpnet import checks
>>> check({"epoch": 3, "kept": None}, {"epoch": checks.whole(0), "kept": (None, checks.flag), "why?": TEXT})
>>> check({"epoch": -1, "kept": None}, {"epoch": checks.whole(0), "kept": (None, checks.flag)})
Traceback (most recent call last):
...
ValueError: epoch: expected a whole number of at least 0, found -1
"""

from __future__ import annotations

import difflib
import json
import math
import os
from typing import Any

from xpnet.checks import Check, require, short_repr
from xpnet.errors import CheckpointError, because
from xpnet.files import MOST_TEXT, read_regular
from xpnet.text import visible

__all__ = ["ANY", "DAMAGE", "NUMBER", "SHA256", "TEXT", "Schema", "check", "parse", "read_json"]

Schema = Any

DAMAGE = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a value of the wrong kind may raise where it is used."""

_DEPTH = 64  # of lists and objects in each other
_DIGITS = 400  # of a whole number: those of the largest float have 309

ANY = Check("anything", lambda value: value)
TEXT = Check("text", lambda value: require(isinstance(value, str), value))
NUMBER = Check(
    "a number", lambda v: float(require(isinstance(v, (int, float)) and not isinstance(v, bool), v))
)
SHA256 = Check(
    "a SHA-256 in hexadecimal digits",
    lambda value: require(isinstance(value, str) and len(value) == 64 and int(value, 16) >= 0, value),
)


def read_json(path: str | os.PathLike[str], schema: Schema, most: int = MOST_TEXT) -> Any:
    """Return what a JSON file holds, if it is what ``schema`` says; nothing of it is run.

    Args:
        path: a regular file, no link.
        schema: as the module describes.
        most: bytes that it may have.

    Raises:
        CheckpointError: it cannot be read, is damaged, or was written by a newer version.
    """
    try:
        value = parse(read_regular(path, most))
        check(value, schema)
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read: {because(error)}") from error
    except ValueError as error:
        raise CheckpointError(f"'{path}' is damaged: {error}; restore it, or train anew") from error
    return value


def parse(content: bytes, *, finite: bool = True) -> Any:
    """Return what JSON means: text of Unicode, finite numbers that a float can hold, not nested without end.

    Args:
        content: UTF-8.
        finite: whether NaN and infinity are refused.

    Raises:
        ValueError: it is none, or holds something else.
    """
    try:
        value = json.loads(content.decode())
    except RecursionError:
        raise ValueError(f"expected at most {_DEPTH} lists and objects in each other") from None
    _check_plain(value, finite, 0)
    return value


def _check_plain(value: Any, finite: bool, depth: int) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"expected text of Unicode, found {short_repr(value)}") from None
    elif isinstance(value, float):
        if finite and not math.isfinite(value):
            raise ValueError(f"expected finite numbers, found {value}")
    elif isinstance(value, int):
        if abs(value) >= 10**_DIGITS:
            raise ValueError(f"expected numbers of at most {_DIGITS} digits, found {short_repr(value)}")
    elif isinstance(value, (dict, list)):
        if depth == _DEPTH:
            raise ValueError(f"expected at most {_DEPTH} lists and objects in each other")
        for item in value if isinstance(value, list) else (*value, *value.values()):
            _check_plain(item, finite, depth + 1)


def check(value: Any, schema: Schema, place: str = "") -> None:
    """Raise a ValueError that names the place unless ``value`` is what ``schema`` says."""
    if isinstance(schema, Check):
        try:
            schema.convert(value)
        except DAMAGE:
            raise _other(place, schema.expected, value) from None
    elif schema is None:
        if value is not None:
            raise _other(place, "null", value)
    elif isinstance(schema, tuple):
        _check_one_of(value, schema, place)
    elif isinstance(schema, list):
        if not isinstance(value, list):
            raise _other(place, "a list", value)
        if len(schema) > 1 and len(value) != len(schema):
            raise _other(place, f"a list of {len(schema)}", value)
        for number, item in enumerate(value):
            check(item, schema[number] if len(schema) > 1 else schema[0], f"{place}[{number}]")
    else:
        _check_fields(value, schema, place)


def _check_one_of(value: Any, schemas: tuple[Schema, ...], place: str) -> None:
    wrong: ValueError | None = None
    for one in schemas:
        try:
            return check(value, one, place)
        except ValueError as error:
            wrong = error
    raise wrong or _other(place, "nothing", value)


def _check_fields(value: Any, schema: dict[Any, Schema], place: str) -> None:
    if not isinstance(value, dict):
        raise _other(place, "an object", value)
    inside = f"{place}." if place else ""
    named = {name.removesuffix("?"): one for name, one in schema.items() if name is not ...}
    for name, item in value.items():
        if name not in named and ... not in schema:
            near = difflib.get_close_matches(name, named, 1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            raise ValueError(
                f"{inside}{visible(name)} is unknown to this version{hint}; if a newer xpnet wrote it, "
                "update this one"
            )
        check(item, named.get(name, schema.get(...)), f"{inside}{visible(name)}")
    for name in schema:
        if name is not ... and not name.endswith("?") and name not in value:
            raise ValueError(f"{inside}{name} is missing")


def _other(place: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{place + ': ' if place else ''}expected {expected}, found {short_repr(value)}")
