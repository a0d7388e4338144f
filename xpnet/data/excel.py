"""Excel workbooks (``.xlsx``): their first sheet."""

from __future__ import annotations

import io
import itertools
import re
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet.data.decisions import Decision
from xpnet.data.frames import frame_of_values
from xpnet.data.headers import named, told_of_repeats, twice, without_hollow
from xpnet.data.oddities import doubts_of_header
from xpnet.data.sources import check_unpacked
from xpnet.errors import ConfigError, DataError
from xpnet.text import visible

if TYPE_CHECKING:
    import polars

__all__ = ["read_excel"]

_ERRORS = {"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A"}
_MOST_CELLS = 2**25  # a lone cell in the last column makes 16,384 of its row


def read_excel(name: str, source: Path | bytes) -> tuple[polars.DataFrame, list[Decision]]:
    """Read the first sheet of a workbook; its first row that is not empty names the columns.

    Cells have the types that they have there; formulas count by the values that were saved with them, and
    their errors (``#DIV/0!``) as missing. Empty rows are left out, and so are empty columns without a name.

    Raises:
        DataError: it is damaged, unpacks to more than 128 MiB and 32 times its size, has no rows, or names of
            columns that are used twice.
        ConfigError: openpyxl is not installed.
    """
    try:
        import openpyxl
    except ImportError:
        raise ConfigError(
            f"reading '{name}' needs openpyxl: pip install 'xpnet[excel]'; or save it as CSV"
        ) from None
    data = source if isinstance(source, bytes) else source.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        check_unpacked(name, len(data), size, "save the sheet as CSV or Parquet")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what only a spreadsheet shows
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
            records = [_records(name, sheet) for sheet in (sheets or book.worksheets)[:1]]
            names = [sheet.title for sheet in book.worksheets]
            book.close()
    except DataError:
        raise
    except Exception as error:  # damaged files raise whatever zipfile and parsers of XML do
        raise DataError(f"'{name}' is no readable Excel file (damaged?): {visible(str(error))}") from None
    if not records or not records[0]:
        raise DataError(f"'{name}' has no cells in its first sheet; a row of names and rows are needed")
    decisions = []
    if len(names) > 1:
        title = (sheets or book.worksheets)[0].title
        others = ", ".join(f"'{other}'" for other in names if other != title)
        what = f"read from the sheet '{title}' alone"
        decisions.append(Decision(None, what, f"other sheets are {others}; save them as files", warning=True))
    frame, more = _frame(name, records[0])
    empty = [title for title in frame.columns if frame[title].null_count() == frame.height]
    if empty and re.search(rb"<f[> ]", _first_sheet(data)):
        why = "the file has formulas without values: open it in a spreadsheet program, and save it"
        decisions += [Decision(title, "is empty", why, warning=True) for title in empty]
    return frame, decisions + more


def _first_sheet(data: bytes) -> bytes:
    """Return the XML of a sheet, which may be the first one; empty if there is none of its usual name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        usual = "xl/worksheets/sheet1.xml"
        return archive.read(usual) if usual in archive.namelist() else b""


def _records(name: str, sheet: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a sheet that are not empty."""
    sheet.reset_dimensions()  # which may be anything
    records, cells = [], 0
    for row in sheet.iter_rows(values_only=True):
        cells += max(1, len(row))
        if cells > _MOST_CELLS:
            raise DataError(
                f"'{name}': its first sheet has more than {_MOST_CELLS:,} cells; save it as CSV or Parquet"
            )
        if any(value is not None and value != "" for value in row):
            records.append(row)
    return records


def _frame(name: str, records: list[tuple[Any, ...]]) -> tuple[polars.DataFrame, list[Decision]]:
    header = records[0]
    several = sum(value not in (None, "") for value in header) > 1
    again = [row for row, record in enumerate(records[1:], start=1) if several and record == header]
    records = [header, *(record for record in records[1:] if not several or record != header)]
    width = max(map(len, records))
    columns = list(itertools.zip_longest(*(row + (None,) * (width - len(row)) for row in records)))
    given = ["" if column[0] is None else str(column[0]).strip() for column in columns]
    names, decisions = named(given)
    if problem := twice(names):
        raise DataError(f"'{name}': {problem}")
    if len(records) == 1:
        raise DataError(f"'{name}' has a header of {width} columns, but no rows")
    errors: dict[str, int] = {}
    values: dict[str, list[Any]] = {}
    for title, column in zip(names, columns, strict=True):
        values[title] = [None if value in _ERRORS else value for value in column[1:]]
        count = sum(value in _ERRORS for value in column[1:])
        if count:
            errors[title] = count
    frame, more = frame_of_values(name, values)
    for title, count in errors.items():
        what = f"has {count} cells with errors of formulas (such as #DIV/0!)"
        decisions.append(Decision(title, what, "they count as missing", warning=True))
    frame, decisions = without_hollow(frame, decisions)
    return frame, [*told_of_repeats(again, "row"), *doubts_of_header(given, frame), *decisions, *more]
