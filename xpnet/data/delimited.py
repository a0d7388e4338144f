"""CSV and TSV files, read strictly.

Python's csv module decides what the cells are (quotes, widths, line ends), so that nothing is padded, cut
or renamed in silence; polars holds the columns and decides what the cells mean.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet.data._packages import import_polars
from xpnet.errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = ["MISSING", "read_delimited"]

MISSING = ("", "NA", "N/A", "NaN", "NAN", "nan", "null", "Null", "NULL", "?")
"""Cells that count as missing, once the blanks around them are gone."""


def read_delimited(path: Path, separator: str, text: Collection[str] = ()) -> polars.DataFrame:
    """Read a UTF-8 file of separated cells whose first line names the columns.

    Blanks around cells are dropped, and so are blank lines. A column is of whole numbers, else of decimal
    numbers, else of booleans (true/false in any case) when *all* its cells that are not `MISSING` are;
    otherwise it is text.

    Args:
        path: the file.
        separator: one character.
        text: names of columns that stay text even if all their cells are numbers.

    Raises:
        DataError: the file is binary, not UTF-8, without rows or header, has ragged rows, unbalanced
            quotes, or column names that are empty or used twice.
    """
    pl = import_polars()
    data = path.read_bytes()
    if b"\0" in data:
        raise DataError(
            f"'{path}' is binary (it holds zero bytes), not a text table; is the extension right?"
        )
    try:
        names, rows = _split(path, data, separator)
    except UnicodeDecodeError:
        raise DataError(_not_utf8(path, data)) from None
    except csv.Error as error:
        raise DataError(f"'{path}' cannot be split into cells: {error}; are its quotes balanced?") from None
    if not rows:
        raise DataError(f"'{path}' has a header of {len(names)} columns, but no rows")
    try:
        frame = pl.read_csv(
            rows, has_header=False, new_columns=names, separator=separator, infer_schema=False
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(f"'{path}' cannot be read as a table: {error}") from None
    return frame.select(_typed(frame[name], keep_text=name in text) for name in names)


def _split(path: Path, data: bytes, separator: str) -> tuple[list[str], bytes]:
    """Return the column names, and the rows written anew with uniform quotes and line ends."""
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    # strict: a quote in the wrong place is an error, not a guess
    reader = csv.reader(lines, delimiter=separator, strict=True)
    names = _header(path, reader, separator)
    out = io.BytesIO()
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(_rows(path, reader, len(names)))
    text.flush()
    return names, out.getvalue()


def _rows(path: Path, reader: Any, width: int) -> Iterator[list[str]]:
    number = 0
    for row in reader:
        if len(row) != width:
            if not "".join(row).strip() and len(row) < 2:
                continue  # a blank line
            raise DataError(
                f"'{path}': row {number + 1} (line {reader.line_num}) has {len(row)} cells, "
                f"the header has {width}; add or remove cells, and quote cells that contain the separator"
            )
        number += 1
        yield row


def _header(path: Path, reader: Any, separator: str) -> list[str]:
    row = next((row for row in reader if "".join(row).strip()), None)
    if row is None:
        raise DataError(f"'{path}' is empty: a header line and at least one row are needed")
    names = [name.strip() for name in row]
    if len(names) == 1:
        for other in ";\t|,":
            if other != separator and other in names[0]:
                raise DataError(
                    f"'{path}' has the single column '{names[0]}'; cells seem to be separated by {other!r}, "
                    f"but {separator!r} is read: write it as .csv with commas or as .tsv with tabs"
                )
    for position, name in enumerate(names, start=1):
        if not name:
            raise DataError(
                f"'{path}': column {position} has no name in the header; name it, "
                "or leave it out (an index column written by mistake?)"
            )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        listed = ", ".join(f"'{name}'" for name in twice)
        raise DataError(
            f"'{path}': column names used more than once: {listed}; rename them (is the first line a header?)"
        )
    return names


def _not_utf8(path: Path, data: bytes) -> str:
    try:
        data.decode("utf-8")
        line = 1
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    return f"'{path}' is not UTF-8 text: line {line} holds other bytes; save it with UTF-8 encoding"


def _typed(cells: polars.Series, *, keep_text: bool) -> polars.Series:
    """Return a column of text as whole numbers, decimal numbers or booleans if all of it can be read so."""
    pl = import_polars()
    cells = cells.str.strip_chars()
    cells = cells.set(cells.is_in(MISSING), None)
    missing = cells.null_count()
    if keep_text or missing == len(cells):
        return cells
    for dtype in (pl.Int64, pl.Int128):  # 128 bits keep whole numbers exact that 64 bits cannot hold
        whole = cells.cast(dtype, strict=False)
        if whole.null_count() == missing:
            return whole
    if not _all_digits(cells):  # whole numbers too long for any type stay text: float64 would change them
        decimal = cells.cast(pl.Float64, strict=False)
        if decimal.null_count() == missing:
            return decimal
    lower = cells.str.to_lowercase()
    if lower.drop_nulls().is_in(["true", "false"]).all():
        return lower == "true"
    return cells


def _all_digits(cells: polars.Series) -> bool:
    return bool(cells.drop_nulls().str.contains(r"^[+-]?[0-9]+$").all())
