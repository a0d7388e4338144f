"""Tables: read from files of several formats, and written so that nothing half-written is left."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.delimited import read_delimited
from xpnet.data.numpy_files import load_numpy
from xpnet.errors import ConfigError, DataError, because
from xpnet.files import check_regular, write_atomically

if TYPE_CHECKING:
    import polars

__all__ = ["EXTENSIONS", "Table", "read_table", "suggest_file", "to_csv", "write_table"]

EXTENSIONS = (".csv", ".tsv", ".parquet", ".npz", ".npy")
"""Extensions that `read_table` knows, in any case."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table and the name of the column to be predicted.

    Attributes:
        frame: the columns, a polars DataFrame.
        target: name of the column to be predicted, names of several, or None.
        name: what the table is called in messages: a built-in name or a path.
    """

    frame: polars.DataFrame
    target: str | tuple[str, ...] | None
    name: str


def read_table(path: str | os.PathLike[str], *, text: Collection[str] = ()) -> polars.DataFrame:
    """Read a table from a file; its extension says the format.

    - ``.csv``: UTF-8 text with a header, separated by commas; where no comma parts the header, by semicolons
      (decimal commas are then read too), tabs or bars. Cells such as an empty one or ``NA`` count as missing
      (`xpnet.data.MISSING`); types are inferred over the whole file.
    - ``.tsv``: the same, separated by tabs.
    - ``.parquet``: as it is.
    - ``.npz``: a two-dimensional array ``X`` gives the columns x0, x1, ...; every one-dimensional array, such
      as ``y``, a column of its name.
    - ``.npy``: a two-dimensional array gives the columns x0, x1, ...; a structured one a column per field.

    Nothing that is pickled is ever read, and an NPZ file is not unpacked to more than 128 MiB or, if that is
    more, 32 times its size.

    Args:
        path: the file.
        text: names of columns of a CSV or TSV file that stay text even if all their cells are numbers
            (`Encoder.text_columns` lists those that a fitted encoder takes as text).

    Raises:
        DataError: the file is missing, empty, damaged, without rows, not of its format, or of an unknown one.
        ConfigError: polars is not installed.
    """
    path = Path(path)
    extension = path.suffix.lower()
    try:
        size = check_regular(path).st_size
    except IsADirectoryError:
        raise DataError(f"'{path}' is a folder; a table file is needed ({', '.join(EXTENSIONS)})") from None
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"there is no file '{path}'{suggest_file(path)}") from None
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {because(error)}") from error
    if extension not in EXTENSIONS:
        raise DataError(
            f"'{path}' has the unknown extension '{path.suffix}'; known: {', '.join(EXTENSIONS)}; "
            "rename it, or convert it to one of these"
        )
    try:
        if size == 0:
            raise DataError(f"'{path}' is empty (0 bytes); a table with a header and rows is needed")
        if extension in (".csv", ".tsv"):
            frame = read_delimited(path, ",;\t|" if extension == ".csv" else "\t", text)
        elif extension == ".parquet":
            frame = _read_parquet(path)
        else:
            frame = _frame(path, _read_numpy(path))
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {because(error)}") from error
    if frame.height == 0 or frame.width == 0:
        raise DataError(f"'{path}' has {frame.width} columns, but no rows")
    return frame


def suggest_file(path: Path) -> str:
    """Return the end of a message that names the file nearest to ``path`` in its folder, or nothing."""
    try:
        found = {entry.name: entry for entry in path.parent.iterdir() if entry.suffix.lower() in EXTENSIONS}
    except FileNotFoundError:
        return f"; there is no folder '{path.parent}' either"
    except NotADirectoryError:
        return f"; '{path.parent}' is no folder"
    except OSError:  # it may not be looked into
        return ""
    # only a near name is worth a word here: a folder's whole listing is not
    near = difflib.get_close_matches(path.name, found, n=1)
    return f"; did you mean '{found[near[0]]}'?" if near else ""


def _read_parquet(path: Path) -> polars.DataFrame:
    pl = import_polars()
    try:
        return pl.read_parquet(path, glob=False)
    # polars reports some damage as a Rust panic, which is no Exception
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        first = str(error).strip().split("\n")[0]
        raise DataError(f"'{path}' is no readable Parquet file (damaged or cut off?): {first}") from None


def _read_numpy(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of an NPZ or NPY file by name."""
    loaded = load_numpy(path)
    if isinstance(loaded, np.ndarray):
        return _array_columns(path, "the array", loaded)
    columns: dict[str, np.ndarray] = {}
    for name, array in loaded.items():
        label = f"array '{name}'"
        if array.ndim == 2 and name != "X":
            raise DataError(
                f"'{path}': {label} has shape {array.shape}; only 'X' may have two dimensions, "
                "every other array is one column"
            )
        new = (
            {name: array} if array.ndim == 1 and not array.dtype.names else _array_columns(path, label, array)
        )
        twice = columns.keys() & new.keys()
        if twice:
            raise DataError(
                f"'{path}': {label} gives column '{min(twice)}', which is there already; rename one"
            )
        columns |= new
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        shapes = ", ".join(f"'{name}' {array.shape}" for name, array in loaded.items())
        raise DataError(f"'{path}': arrays of one table need equally many rows; found {shapes}")
    return columns


def _array_columns(path: Path, label: str, array: np.ndarray) -> dict[str, np.ndarray]:
    if array.dtype.names and array.ndim == 1:
        return {name: array[name] for name in array.dtype.names}
    if array.ndim != 2 or array.dtype.names:
        raise DataError(
            f"'{path}': {label} has shape {array.shape} and dtype {array.dtype}; "
            "expected two dimensions (rows, columns), or one dimension of records"
        )
    return {f"x{index}": array[:, index] for index in range(array.shape[1])}


def _frame(path: Path | None, columns: Mapping[str, Any]) -> polars.DataFrame:
    """Return a polars DataFrame of one-dimensional arrays or sequences."""
    pl = import_polars()
    place = f"'{path}': " if path else ""
    series = []
    for name, values in columns.items():
        array = values if isinstance(values, pl.Series) else np.asarray(values)
        if isinstance(array, np.ndarray):
            if array.ndim != 1:
                raise DataError(f"{place}column '{name}' has shape {array.shape}; expected one dimension")
            array = _plain(f"{place}column '{name}'", array)
        series.append(pl.Series(name, array))
    lengths = {str(s.name): len(s) for s in series}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{place}columns of one table need equally many rows; found {lengths}")
    return pl.DataFrame(series)


def _plain(label: str, array: np.ndarray) -> Any:
    """Return ``array`` in a type that a table column can have."""
    kind = array.dtype.kind
    if kind == "O":
        return array.tolist()  # only from memory: whole numbers beyond 64 bits and the like
    if kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{label} holds bytes that are not UTF-8 text") from None
    if kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    if kind not in "biufUM":
        raise DataError(f"{label} has dtype {array.dtype}; expected numbers, booleans or text")
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))


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
    frame = frame_or_columns if isinstance(frame_or_columns, pl.DataFrame) else _frame(None, frame_or_columns)
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
