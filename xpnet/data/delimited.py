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
from xpnet.data.notations import MISSING
from xpnet.errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = ["read_delimited"]

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
        frame = pl.read_csv(
            rows, has_header=False, new_columns=names, infer_schema=False, null_values=list(MISSING)
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(f"'{path}' cannot be read as a table: {str(error).splitlines()[0]}") from None
    return _typed(frame, text, decimal_comma=separator == ";")


def _split(path: Path, data: bytes, separators: str) -> tuple[str, list[str], bytes]:
    """Return the separator, the column names, and the rows as CSV with uniform quotes and line ends."""
    separator = next((s for s in separators if _parts_header(path, data, s)), separators[0])
    records = _records(path, data, separator)
    names = _header(path, next(records, None), separator)
    out = io.BytesIO()
    # with a mark of its own, as polars takes one away, which may be a part of the first cell
    text = io.TextIOWrapper(out, encoding="utf-8-sig", newline="")
    csv.writer(text, lineterminator="\n").writerows(_rows(path, records, len(names)))
    text.flush()
    return separator, names, out.getvalue()


def _records(path: Path, data: bytes, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the last line's number and the cells of each record that is no blank line."""
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    # the process's limit is 131,072 characters a cell unless somebody has changed it; it is only ever raised
    csv.field_size_limit(max(csv.field_size_limit(), len(data)))
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
        yield [cell.strip() for cell in cells]


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


def _typed(frame: polars.DataFrame, text: Collection[str], *, decimal_comma: bool) -> polars.DataFrame:
    """Return columns of text as whole numbers, decimal numbers or booleans where all cells can be read so.

    Each step is one expression over all columns that are left: a call for each of 100,000 would be slow.
    """
    pl = import_polars()
    columns = dict(zip(frame.columns, frame.get_columns(), strict=True))
    missing = {name: column.null_count() for name, column in columns.items()}

    def made(names: Collection[str], expression: polars.Expr) -> list[polars.Series]:
        if not names:
            return []
        # of columns, not of names, some of which an expression would take for patterns
        return pl.DataFrame([columns[name] for name in names]).select(expression).get_columns()

    def read(names: list[str], expression: polars.Expr) -> list[str]:
        """Take what the expression makes of columns where it reads each cell; return the other names."""
        found = dict(zip(names, made(names, expression), strict=True))
        whole = {name: column for name, column in found.items() if column.null_count() == missing[name]}
        columns.update(whole)
        return [name for name in names if name not in whole]

    def holding(names: list[str], expression: polars.Expr) -> set[str]:
        """Return the columns of which each cell that is there fulfils a condition."""
        return {name for name, all_of in zip(names, made(names, expression.all()), strict=True) if all_of[0]}

    left = [name for name in columns if name not in text and missing[name] < frame.height]
    left = read(left, pl.all().cast(pl.Int64, strict=False))
    # 128 bits keep whole numbers exact that 64 bits cannot hold; longer ones stay text: float64 changes them
    digits = holding(left, pl.all().str.contains(r"^[+-]?[0-9]+$"))
    read([name for name in left if name in digits], pl.all().cast(pl.Int128, strict=False))
    left = read([name for name in left if name not in digits], pl.all().cast(pl.Float64, strict=False))
    if decimal_comma:
        commas = holding(left, pl.all().str.contains(_DECIMAL_COMMA))
        point = pl.all().str.replace(",", ".", literal=True)
        read([name for name in left if name in commas], point.cast(pl.Float64))
        left = [name for name in left if name not in commas]
    truths = pl.all().str.to_lowercase().is_in(["true", "false"])
    booleans = holding(left, truths)
    read([name for name in left if name in booleans], pl.all().str.to_lowercase() == "true")
    return pl.DataFrame(list(columns.values()))
