"""Text as it is shown: that of others, such as names of columns and files, visible and not too long."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

__all__ = ["count", "json_visible", "shown", "to_json", "visible"]

# What a terminal or a page obeys, or shows as nothing: controls, marks of direction and of zero width, halves
# of surrogate pairs, separators of lines; and the fillers among the letters.
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"


class _Visible(dict[int, str]):
    """A table for ``str.translate``, filled as characters come up."""

    def __init__(self, kept: str):
        super().__init__({ord(letter): letter for letter in kept})

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        no_character = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF  # which HTML forbids
        if unicodedata.category(letter) in _HIDDEN or letter in _FILLERS or no_character:
            letter = letter.encode("unicode_escape").decode()
        self[code] = letter
        return letter


_TABLES = {kept: _Visible(kept) for kept in ("", "\n", "\n\t")}


def visible(text: object, kept: str = "") -> str:
    """Return text with escape sequences for the characters that control what shows it, or that nobody sees.

    Args:
        text: anything.
        kept: controls that stay as they are: none, ``"\\n"`` or ``"\\n\\t"``.

    >>> print(visible("speed\\x1b[31m \\u202e[m/s]\\n"))
    speed\\x1b[31m \\u202e[m/s]\\n
    """
    return str(text).translate(_TABLES[kept])


def shown(text: object, most: int = 1000, kept: str = "") -> str:
    """Return visible text of at most ``most`` characters; of a longer one both ends.

    >>> shown("a name as long as a sentence", 12)
    'a name…tence'
    """
    return _cut(visible(_cut(str(text), most), kept), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - most // 2 - 1) :]}"


_RAW = re.compile(r"[^\n\x20-\x7e\xa0-\xac\xae-\u02ff\u0400-\u05ff]")


def json_visible(text: str) -> str:
    """Return JSON with escape sequences in its strings, as for `visible`: it means the same.

    >>> json_visible(json.dumps("ü\\u202e\\x7f", ensure_ascii=False))
    '"ü\\\\u202e\\\\u007f"'
    """

    def escaped(found: re.Match[str]) -> str:
        letter = found[0]
        return letter if visible(letter) == letter else json.dumps(letter)[1:-1]

    return _RAW.sub(escaped, text)


def to_json(value: Any) -> str:
    """Return ``value`` as JSON for people: indented, with a line break at its end; no NaN or infinity."""
    return json_visible(json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value


def count(number: int, thing: str, plural: str | None = None) -> str:
    """Return ``number`` and the thing counted.

    >>> count(1, "row"), count(1257, "row"), count(3, "class", "classes")
    ('1 row', '1,257 rows', '3 classes')
    """
    return f"{number:,} {thing if number == 1 else plural or thing + 's'}"
