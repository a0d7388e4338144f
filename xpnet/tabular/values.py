"""Checks of the values of flags and TOML keys, beside those of `xpnet.checks`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from xpnet import checks
from xpnet.checks import Check, require

__all__ = [
    "Texts",
    "interval",
    "memory_size",
    "name_or_code",
    "names",
    "number_or_percentage",
    "numbers_or_word",
    "or_words",
    "text",
    "text_or_texts",
    "texts",
    "whole_or",
    "widths",
]


class Texts(Check):
    """A check of a list of texts, of which a flag gives one each time."""


def _read_whole(text: str) -> int | str:
    return int(text) if text.strip().isdecimal() else text


def whole_or(word: str) -> Check:
    """A whole number of at least 1, or one word."""
    return Check(
        f"{checks.count.expected} or '{word}'",
        lambda value: value if value == word else checks.count.convert(value),
        lambda text: word if text.strip().lower() == word else int(text),
        f"N|{word}",
    )


def interval() -> Check:
    """A number of epochs, or a time such as ``30s``."""

    def convert(value: Any) -> int | str:
        checks.interval("", value)  # whose error is a ValueError
        return value.strip() if isinstance(value, str) else int(value)

    expected = "a number of epochs, at least 1, or a time such as 30s, 5m or 2h"
    return Check(expected, convert, _read_whole, "N|TIME")


def memory_size() -> Check:
    """A number of bytes, or a size such as ``4GiB``."""

    def convert(value: Any) -> int | str:
        checks.memory_size("", value)  # whose error is a ValueError
        return value.strip() if isinstance(value, str) else int(value)

    expected = "a number of bytes, at least 1, or a size such as 4GiB or 512MiB"
    return Check(expected, convert, _read_whole, "SIZE")


def number_or_percentage(number: Check, example: str) -> Check:
    """A number, which text may give as a percentage: ``0.9`` or ``90%``."""

    def read(text: str) -> float:
        text = text.strip()
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)

    return dataclasses.replace(
        number, expected=f"{number.expected}, such as {example}", read=read, metavar="X|X%"
    )


def or_words(check: Check, **words: Any) -> Check:
    """What another check takes, or what a word means."""
    return dataclasses.replace(
        check,
        expected=f"{check.expected}, or {' or '.join(words)}",
        convert=lambda value: value if value in words.values() else check.convert(value),
        read=lambda text: words[text.strip().lower()] if text.strip().lower() in words else check.read(text),
        metavar="|".join([check.metavar, *words]),
    )


def numbers_or_word(one: Check, *words: str) -> Check:
    """Numbers by name, ``a=0.1,b=2`` as text and a table in TOML; or one of a few words, in any case."""
    named = checks.named_numbers(one)

    def convert(value: Any) -> str | dict[str, float]:
        if isinstance(value, str):
            return str(require(value.lower() in words, value.lower()))
        numbers: dict[str, float] = named.convert(value)
        return numbers

    return Check(
        f"{', '.join(map(repr, words))}, or {named.expected}",
        convert,
        lambda text: named.read(text) if "=" in text else text,
        "|".join([*words, named.metavar]),
    )


def name_or_code(choices: Callable[[], Iterable[str]], also: Mapping[str, str]) -> Check:
    """One of the names that ``choices()`` returns, or a place of code such as ``file.py:f``."""
    named = checks.choice(choices, "one of the known names, file.py:function or module:function", also)

    def convert(value: Any) -> str:
        if isinstance(value, str) and ":" in value:
            place, _, function = value.rpartition(":")
            return str(require(place != "" and function.isidentifier(), value))
        return str(named.convert(value))

    return dataclasses.replace(named, metavar="NAME|FILE.py:FUNCTION", convert=convert)


def names(choices: Callable[[], Iterable[str]], also: Mapping[str, str]) -> Check:
    """One of the names, or several: separated by commas in text, a list in TOML."""
    one = checks.choice(choices, also=also)

    def read(text: str) -> str | list[str]:
        parts = [part.strip() for part in text.split(",")]
        return parts[0] if len(parts) == 1 else parts

    def convert(value: Any) -> str | tuple[str, ...]:
        if isinstance(value, str):
            return str(one.convert(value))
        require(isinstance(value, (list, tuple)) and len(value) > 0, value)
        return tuple(map(one.convert, value))

    expected = "a known name, or one for each hidden layer"
    return Check(expected, convert, read, "NAME[,NAME...]", choices)


def text(metavar: str, expected: str) -> Check:
    """Some text, not empty, that a file can hold."""
    return Check(expected, _written, str, metavar)


def _written(value: Any) -> str:
    require(isinstance(value, str) and value != "", value)
    value.encode()  # raises a ValueError for what is outside Unicode
    return str(value)


def mark() -> Check:
    """One character that is no letter, digit, sign or bracket."""

    def convert(value: Any) -> str:
        one = isinstance(value, str) and len(value) == 1
        return str(require(one and not value.isalnum() and value not in "+-()%", value))

    return Check("one character, such as ',' or '.'", convert, str, "CHARACTER")


def texts(metavar: str, expected: str, *, empty: bool = False) -> Texts:
    """A list of texts, which may be empty if so said; one text is a list of one."""

    def convert(value: Any) -> tuple[str, ...]:
        values = [value] if isinstance(value, str) else value
        require(isinstance(values, (list, tuple)), values)
        return tuple("" if empty and value == "" else _written(value) for value in values)

    return Texts(expected, convert, str, metavar)


def text_or_texts(metavar: str, expected: str) -> Texts:
    """A text, or a list of several; a list of one is that text."""
    several = texts(metavar, expected)

    def convert(value: Any) -> str | tuple[str, ...]:
        found: tuple[str, ...] = require(len(several.convert(value)) > 0, several.convert(value))
        return found[0] if len(found) == 1 else found

    return Texts(expected, convert, str, metavar)


def widths() -> Check:
    """Widths of layers: ``128,64`` or ``none`` as text, a list in TOML."""

    def read(text: str) -> list[int]:
        return [] if text.strip().lower() in ("", "none") else [int(part) for part in text.split(",")]

    def convert(value: Any) -> tuple[int, ...]:
        values = value if isinstance(value, (list, tuple)) else [value]
        return tuple(map(checks.count.convert, values))

    return Check("whole numbers of at least 1, such as 128,64, or none", convert, read, "N[,N...]")
