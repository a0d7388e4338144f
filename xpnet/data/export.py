"""Tables written as CSV or Parquet, so that nothing half-written is left."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from xpnet.data._packages import import_polars
from xpnet.data.frames import frame_of
from xpnet.errors import ConfigError, DataError, because
from xpnet.files import write_atomically

if TYPE_CHECKING:
    import polars

__all__ = ["to_csv", "write_table"]


def write_table(frame_or_columns: Any, path: str | os.PathLike[str], *, formulas: str = "escape") -> None:
    """Write a table as CSV (``.csv``, ``.tsv``) or Parquet (``.parquet``), all of it or nothing.

    The table is written under a temporary name in the same folder, flushed to the disk and renamed: a file
    that was there before stays whole until then, and nothing is left behind when writing fails.

    Args:
        frame_or_columns: a polars DataFrame, or a mapping from column names to one-dimensional arrays.
        path: the file to write; one that exists is replaced.
        formulas: of CSV files, as for `to_csv`.

    Raises:
        DataError: the extension is not one of these, columns are not equally long, the folder does not
            exist, or the disk is full or refuses.
        ConfigError: polars is not installed.
    """
    pl = import_polars()
    path = Path(path)
    extension = path.suffix.lower()
    _check_formulas(formulas)
    if extension not in (".csv", ".tsv", ".parquet"):
        raise DataError(f"'{path}' cannot be written: its extension must be .csv, .tsv or .parquet")
    if path.is_dir():
        raise DataError(f"'{path}' cannot be written: it is a folder")
    frame = (
        frame_or_columns if isinstance(frame_or_columns, pl.DataFrame) else frame_of(None, frame_or_columns)
    )
    try:
        write_atomically(path, lambda file: _write(frame, file, extension, formulas))
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = because(error) if isinstance(error, OSError) else str(error)
        raise DataError(f"'{path}' cannot be written, and nothing was left behind: {reason}") from error


def _write(frame: polars.DataFrame, file: IO[bytes], extension: str, formulas: str) -> None:
    if extension == ".parquet":
        frame.write_parquet(file)
    else:
        file.write(to_csv(frame, "," if extension == ".csv" else "\t", formulas=formulas).encode())


def to_csv(frame: polars.DataFrame, separator: str = ",", *, formulas: str = "escape") -> str:
    """Return a table as CSV.

    Args:
        frame: the table.
        separator: of the cells.
        formulas: what becomes of text that spreadsheets take for a formula and run, be it a cell or a name:
            "escape" writes an apostrophe before it, "keep" writes it as it is. That is text which begins with
            one of ``= + - @``, a tab or a line's end, and is no number. A text that begins so behind
            apostrophes gets one more, so that taking away the first one gives back what was there.

    >>> import polars as pl
    >>> print(to_csv(pl.DataFrame({"=name": ["=1+1", "-2", "a=b"], "x": [-1, 2, 3]})), end="")
    '=name,x
    '=1+1,-1
    -2,2
    a=b,3
    """
    pl = import_polars()
    _check_formulas(formulas)
    if formulas == "escape":
        columns = []
        for column in frame.get_columns():
            if column.dtype in (pl.String, pl.Categorical, pl.Enum):
                texts = column.cast(pl.String)
                risky = texts.str.contains(_FORMULA) & ~texts.str.contains(_NUMBER)
                column = texts.set(risky.fill_null(False), None).fill_null("'" + texts)
            risky_name = re.search(_FORMULA, column.name) is not None
            columns.append(column.rename(f"'{column.name}" if risky_name else column.name))
        frame = pl.DataFrame(columns)
    return frame.write_csv(separator=separator)


# Also of full width, as Japanese spreadsheets take them. Numbers are no formulas.
_FORMULA = "^'*[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]"
_NUMBER = r"^[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][+-]?[0-9]+)?$"


def _check_formulas(formulas: str) -> None:
    if formulas not in ("escape", "keep"):
        raise ConfigError(f"formulas: expected 'escape' or 'keep', found {formulas!r}; choose one")
