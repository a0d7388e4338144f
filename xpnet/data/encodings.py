"""Encodings of text files: UTF-8, UTF-16 or UTF-32 with a mark, else that of Windows in Western Europe."""

from __future__ import annotations

import codecs
import re

from xpnet.data.decisions import Decision
from xpnet.errors import DataError

__all__ = ["decoded"]

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before that of UTF-16, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def decoded(name: str, data: bytes) -> tuple[str, list[Decision]]:
    """Return the text of a file.

    Bytes that are not UTF-8 are taken for cp1252, of which Latin-1 is a part, with a `Decision`.

    Args:
        name: of the file, for messages.
        data: its bytes.

    Raises:
        DataError: it is binary, or some bytes of it are UTF-8 and others of another encoding.

    >>> decoded("t.csv", "Köln".encode("latin-1"))[0]
    'Köln'
    """
    encoding = next((found for mark, found in _MARKS.items() if data.startswith(mark)), "")
    if encoding:
        try:
            return data.decode(encoding), []
        except UnicodeDecodeError:
            if encoding != "utf-8-sig":
                raise DataError(
                    f"'{name}' is no readable {encoding.upper()} text (damaged or cut off?)"
                ) from None
    if b"\0" in data:
        wide = max(data[:1000:2].count(0), data[1:1000:2].count(0)) > 0.4 * len(data[:1000:2])
        what = "seems to be UTF-16 text without a byte order mark; save it with UTF-8 encoding"
        binary = "is binary (it holds zero bytes), not a text table; is the extension right?"
        raise DataError(f"'{name}' {what if wide else binary}")
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError as error:
        place = error.start
    line = data.count(b"\n", 0, place) + 1
    if re.search("[^\0-\x7f\ufffd]", data.decode("utf-8", errors="replace").removeprefix("\ufeff")):
        raise DataError(
            f"'{name}' is UTF-8 text in part, and not in line {line} (two files joined?); "
            "save all of it with UTF-8 encoding"
        )
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        raise DataError(
            f"'{name}' is not UTF-8 text, nor of another known encoding: line {line} holds other bytes; "
            "save it with UTF-8 encoding"
        ) from None
    start = data.rfind(b"\n", 0, place) + 1
    word = re.search(r"\w*[^\0-\x7f]\w*", data[start : start + 2000].decode("cp1252", errors="replace"))
    example = f", such as '{word[0]}' in line {line}" if word else ""
    return text, [
        Decision(
            None,
            f"read as Latin-1 (cp1252){example}",
            "its bytes are not UTF-8; if letters look wrong, save it with UTF-8 encoding",
            warning=True,
        )
    ]
