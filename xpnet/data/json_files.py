"""JSON files of records or columns, and JSON lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from xpnet.data.decisions import Decision
from xpnet.data.encodings import decoded
from xpnet.data.frames import frame_of_values
from xpnet.errors import DataError
from xpnet.text import shown, visible

if TYPE_CHECKING:
    import polars

__all__ = ["read_json"]

_FORMS = (
    'a list of records, [{"a": 1, "b": "x"}, ...], columns, {"a": [1, ...], "b": ["x", ...]}, '
    "or a record in each line"
)


def read_json(name: str, data: bytes, *, lines: bool) -> tuple[polars.DataFrame, list[Decision]]:
    """Read a JSON file, or one of JSON lines.

    It holds a list of records; or a record in each line; or columns, each a list, or values by the names of
    rows, which are the same in all (as pandas writes them); or ``columns`` and ``data`` (its orient "split").
    A value that a record lacks is missing.

    Args:
        name: of the file, for messages.
        data: its bytes.
        lines: whether each line is a record. A file that is no JSON as a whole is tried so as well.

    Raises:
        DataError: it is damaged, or of another form.
    """
    text, decisions = decoded(name, data)
    if not text.strip():
        raise DataError(f"'{name}' is empty; records or columns are needed: {_FORMS}")
    if text.strip()[0] not in "[{":
        begins = shown(text.strip().splitlines()[0], 40)
        raise DataError(
            f"'{name}' is no JSON: it begins '{begins}', expected [ or {{; if it is a table of separated "
            "cells, call it .csv"
        )
    content: Any
    if lines:
        content = _lines(name, text)
    else:
        try:
            content = _parsed(text)
        except _DamageError as error:
            if "\n" not in text.strip() or not error.extra:
                raise DataError(f"'{name}' is no readable JSON (damaged or cut off?): {error}") from None
            content = _lines(name, text)
    columns, lacking = _columns(name, content)
    frame, more = frame_of_values(name, columns)
    decisions += [
        Decision(column, f"has {count} missing cells", "records lack it") for column, count in lacking.items()
    ]
    return frame, decisions + more


class _DamageError(Exception):
    """Text that is no JSON; ``extra``: a whole value, and then more."""

    def __init__(self, message: str, extra: bool = False):
        super().__init__(visible(message))
        self.extra = extra


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        place = f"{error.msg} in line {error.lineno}, column {error.colno}"
        raise _DamageError(place, error.msg == "Extra data") from None
    except RecursionError:
        raise _DamageError("it is nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise _DamageError(str(error)) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _DamageError(f"the name '{twice}' is used more than once in a record; rename one")
    return found


def _lines(name: str, text: str) -> list[Any]:
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                records.append(_parsed(line))
            except _DamageError as error:
                raise DataError(f"'{name}' is no JSON in line {number} (cut off?): {error}") from None
    return records


def _columns(name: str, content: Any) -> tuple[dict[str, list[Any]], dict[str, int]]:
    """Return columns by name, and how many values each lacks in records."""
    if isinstance(content, list) and content and all(isinstance(record, dict) for record in content):
        names = list(dict.fromkeys(key for record in content for key in record))
        counts = {key: sum(key not in record for record in content) for key in names}
        columns = {key: [record.get(key) for record in content] for key in names}
        return columns, {key: count for key, count in counts.items() if count}
    if isinstance(content, dict) and {"columns", "data"} <= content.keys():
        names, rows = content["columns"], content["data"]
        whole = isinstance(names, list) and isinstance(rows, list)
        if whole and all(isinstance(row, list) and len(row) == len(names) for row in rows):
            texts = list(map(str, names))
            if len(set(texts)) < len(texts):
                raise DataError(f"'{name}': column names are used more than once; rename them")
            return {text: [row[place] for row in rows] for place, text in enumerate(texts)}, {}
    if isinstance(content, dict) and content:
        values = list(content.values())
        if all(isinstance(column, list) for column in values):
            lengths = {key: len(column) for key, column in content.items()}
            if len(set(lengths.values())) > 1:
                raise DataError(f"'{name}': columns of one table need equally many rows; found {lengths}")
            return content, {}
        if all(isinstance(column, dict) and column.keys() == values[0].keys() for column in values):
            return {key: [column[row] for row in values[0]] for key, column in content.items()}, {}
    raise DataError(f"'{name}' is JSON of another form: expected {_FORMS}")
