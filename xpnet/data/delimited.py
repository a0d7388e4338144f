"""CSV and TSV files, read strictly.

Python's csv module decides what the cells are (quotes, widths, line ends), so that nothing is padded, cut
or renamed in silence; polars holds the columns and decides what the cells mean.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from xpnet.data._packages import import_polars
from xpnet.errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = ["MISSING", "read_delimited"]

MISSING = ("", "NA", "N/A", "NaN", "NAN", "nan", "null", "Null", "NULL", "?")
"""Cells that count as missing, once the blanks around them are gone."""

_DECIMAL_COMMA = r"^[+-]?([0-9]+,?[0-9]*|,[0-9]+)([eE][+-]?[0-9]+)?$"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_delimited(path: Path, separators: str, text: Collection[str] = ()) -> polars.DataFrame:
    """Read a UTF-8 file of separated cells whose first line names the columns.

    Blanks around cells are dropped, and so are blank lines. A column is of whole numbers, else of decimal
    numbers, else of booleans (true/false in any case) when *all* its cells that are not `MISSING` are;
    otherwise it is text. Where semicolons separate the cells, decimal numbers may have commas, as
    spreadsheets write them in many countries.

    Args:
        path: the file.
        separators: characters that may separate cells; the first that parts the header is taken.
        text: names of columns that stay text even if all their cells are numbers.

    Raises:
        DataError: the file is binary, not UTF-8, without rows or header, has ragged rows, unbalanced
            quotes, or column names that are empty or used twice.
    """
    pl = import_polars()
    data = path.read_bytes()
    if data.startswith(_UTF16):
        raise DataError(f"'{path}' is UTF-16 text; save it with UTF-8 encoding")
    if b"\0" in data:
        raise DataError(
            f"'{path}' is binary (it holds zero bytes), not a text table; is the extension right?"
        )
    try:
        separator, names, rows = _split(path, data, separators)
    except UnicodeDecodeError:
        raise DataError(_not_utf8(path, data)) from None
    if not rows:
        raise DataError(f"'{path}' has a header of {len(names)} columns, but no rows")
    try:
        frame = pl.read_csv(rows, has_header=False, new_columns=names, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"'{path}' cannot be read as a table: {error}") from None
    comma = separator == ";"
    return frame.select(_typed(frame[name], keep_text=name in text, decimal_comma=comma) for name in names)


def _split(path: Path, data: bytes, separators: str) -> tuple[str, list[str], bytes]:
    """Return the separator, the column names, and the rows as CSV with uniform quotes and line ends."""
    separator = next((s for s in separators if _parts_header(path, data, s)), separators[0])
    records = _records(path, data, separator)
    names = _header(path, next(records, None), separator)
    out = io.BytesIO()
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    csv.writer(text, lineterminator="\n").writerows(_rows(path, records, len(names)))
    text.flush()
    return separator, names, out.getvalue()


def _records(path: Path, data: bytes, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the last line's number and the cells of each record that is no blank line."""
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    # strict: a quote in the wrong place is an error, not a guess
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = 0
    try:
        for cells in reader:
            line = reader.line_num
            if len(cells) > 1 or "".join(cells).strip():
                yield line, cells
    except csv.Error as error:
        raise DataError(
            f"'{path}' cannot be split into cells from line {line + 1} on: {error}; are its quotes balanced?"
        ) from None


def _parts_header(path: Path, data: bytes, separator: str) -> bool:
    try:
        return any(len(cells) > 1 for _, cells in itertools.islice(_records(path, data, separator), 1))
    except DataError:  # of another separator's quotes
        return False


def _rows(path: Path, records: Iterator[tuple[int, list[str]]], width: int) -> Iterator[list[str]]:
    for number, (line, cells) in enumerate(records, start=1):
        if len(cells) != width:
            raise DataError(
                f"'{path}': row {number} (line {line}) has {len(cells)} cells, "
                f"the header has {width}; add or remove cells, and quote cells that contain the separator"
            )
        yield cells


def _header(path: Path, record: tuple[int, list[str]] | None, separator: str) -> list[str]:
    if record is None:
        raise DataError(f"'{path}' is empty: a header line and at least one row are needed")
    names = [name.strip() for name in record[1]]
    if len(names) == 1 and separator == "\t":
        for other in ",;|":
            if other in names[0]:
                raise DataError(
                    f"'{path}' has the single column '{names[0]}'; cells seem to be separated by {other!r}, "
                    "but tabs are read: rename it to .csv"
                )
    for position, name in enumerate(names, start=1):
        if not name:
            raise DataError(
                f"'{path}': column {position} has no name in the header; name it, or leave it out "
                "(an index column written by mistake? pandas leaves it out with to_csv(..., index=False))"
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


def _typed(cells: polars.Series, *, keep_text: bool, decimal_comma: bool) -> polars.Series:
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
        if decimal_comma and cells.drop_nulls().str.contains(_DECIMAL_COMMA).all():
            return cells.str.replace(",", ".", literal=True).cast(pl.Float64)
    lower = cells.str.to_lowercase()
    if lower.drop_nulls().is_in(["true", "false"]).all():
        return lower == "true"
    return cells


def _all_digits(cells: polars.Series) -> bool:
    return bool(cells.drop_nulls().str.contains(r"^[+-]?[0-9]+$").all())
