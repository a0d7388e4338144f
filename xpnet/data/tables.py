"""Tables: read from files of several formats."""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xpnet.data._packages import import_polars
from xpnet.data.decisions import Decision
from xpnet.data.delimited import read_delimited
from xpnet.data.excel import read_excel
from xpnet.data.formats import EXTENSIONS, FORMATS, format_of, is_text, named_packing, packing_of
from xpnet.data.frames import array_columns, frame_of
from xpnet.data.indices import without_index
from xpnet.data.json_files import read_json
from xpnet.data.notations import check_marks, decimal_of
from xpnet.data.numpy_files import load_numpy
from xpnet.data.oddities import doubts_of_totals
from xpnet.data.sources import STDIN, standard_input, unpacked
from xpnet.errors import DataError, because
from xpnet.files import check_regular, open_regular

if TYPE_CHECKING:
    import polars

__all__ = ["Table", "open_table", "read_table", "suggest_file"]

_HEAD = 2**16  # bytes by which content is known


@dataclass(frozen=True, eq=False)
class Table:
    """A table and the name of the column to be predicted.

    Attributes:
        frame: the columns, a polars DataFrame.
        target: name of the column to be predicted, names of several, or None.
        name: what the table is called in messages: a built-in name or a path.
        decisions: what was decided in reading it.
        decimal: the decimal mark of its text, declared or shown by its columns: "." or ","; None: unknown.
        thousands: the mark between thousands, where it was declared.
    """

    frame: polars.DataFrame
    target: str | tuple[str, ...] | None
    name: str
    decisions: tuple[Decision, ...] = ()
    decimal: str | None = None
    thousands: str | None = None


def read_table(
    path: str | os.PathLike[str],
    *,
    text: Collection[str] = (),
    decimal: str | None = None,
    thousands: str | None = None,
    format: str | None = None,
    needed: Collection[str] = (),
) -> polars.DataFrame:
    """Return the table of a file, as `open_table` does, without the decisions that were made."""
    return open_table(
        path, text=text, decimal=decimal, thousands=thousands, format=format, needed=needed
    ).frame


def open_table(
    path: str | os.PathLike[str],
    *,
    text: Collection[str] = (),
    decimal: str | None = None,
    thousands: str | None = None,
    format: str | None = None,
    needed: Collection[str] = (),
) -> Table:
    """Read a table from a file; its extension says the format, or else its content.

    - ``.csv``, ``.txt``: text with a header, separated by commas; where no comma parts the header, by
      semicolons, tabs or bars. It is UTF-8, UTF-16 with a byte order mark, or else taken for Latin-1. Cells
      such as an empty one or ``NA`` count as missing (`xpnet.data.MISSING`); types are inferred over the
      whole file.
    - ``.tsv``, ``.tab``: the same, separated by tabs.
    - ``.parquet``, ``.pq``, ``.feather``, ``.arrow``, ``.ipc``: as it is.
    - ``.xlsx``: the first sheet of an Excel workbook (extra ``excel``).
    - ``.json``: a list of records, or columns; ``.jsonl``, ``.ndjson``: a record in each line.
    - ``.npz``: a two-dimensional array ``X`` gives the columns x0, x1, ...; every one-dimensional array, such
      as ``y``, a column of its name.
    - ``.npy``: a two-dimensional array gives the columns x0, x1, ...; a structured one a column per field.

    Each may be packed: ``.gz``, ``.zst`` (extra ``zstd`` before Python 3.14). ``-`` is the standard input.

    Columns of CSV and TSV files stay text where their cells are not plain numbers (``1,234``, ``12 %``), or
    may be meant in two ways: `notation_of` finds out what they are, as `Encoder` does. See
    `xpnet.data.column_types.typed`.

    A first column without a name is left out if it counts the rows, else called ``unnamed``.

    Nothing that is pickled is ever read, and a packed file is not unpacked to more than 128 MiB or, if that
    is more, 32 times its size.

    Args:
        path: the file.
        text: names of columns of a CSV or TSV file that stay text even if all their cells are numbers
            (`Encoder.text_columns` lists those that a fitted encoder takes as text).
        decimal: the decimal mark of numbers in text, "." or ","; None: found out.
        thousands: the mark between their thousands; None: found out.
        format: a name in `FORMATS`, such as "csv" or "parquet"; None: by extension or content.
        needed: names of columns that are not left out.

    Returns:
        The table, without a target.

    Raises:
        DataError: the file is missing, empty, damaged, without rows, not of its format, or of an unknown one.
        ConfigError: a package is not installed, or a declared mark cannot be one.
    """
    decimal, thousands = check_marks(decimal, thousands)
    name = os.fspath(path)
    source: Path | bytes = standard_input() if name == STDIN else _checked(Path(name))
    try:
        if isinstance(source, bytes):
            head = source[:_HEAD]
        else:
            with open_regular(source, follow=True) as file:
                head = file.read(_HEAD)
        named, inner = named_packing(name)
        packing = packing_of(head) or ("" if is_text(head) else named)
        if packing:
            source = unpacked(name, source if isinstance(source, bytes) else source.read_bytes(), packing)
            head = source[:_HEAD]
        if not head:
            raise DataError(f"'{name}' is empty (0 bytes); a table with a header and rows is needed")
        archive = io.BytesIO(source) if isinstance(source, bytes) else source
        key, why = format_of(name, inner, head, archive, format)
        decisions = [Decision(None, f"read as {FORMATS[key].words}", f"by its content, {why}")] if why else []
        if named and not packing:
            decisions.append(Decision(None, "read as it is", f"it is text and not packed by {named}"))
        frame, shown, more = _read(name, key, source, text, decimal)
    except OSError as error:
        raise DataError(f"'{name}' cannot be read: {because(error)}") from error
    if frame.height == 0 or frame.width == 0:
        raise DataError(f"'{name}' has {frame.width} columns, but no rows")
    frame, index = without_index(frame, needed)
    told = (*decisions, *more, *doubts_of_totals(frame), *index)
    return Table(frame, None, name, told, decimal or shown, thousands)


def _checked(path: Path) -> Path:
    """Return the path of a file that can be read."""
    try:
        check_regular(path)
    except IsADirectoryError:
        raise DataError(f"'{path}' is a folder; a table file is needed ({', '.join(EXTENSIONS)})") from None
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"there is no file '{path}'{suggest_file(path)}") from None
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {because(error)}") from error
    return path


def _read(
    name: str, format: str, source: Path | bytes, text: Collection[str], decimal: str | None
) -> tuple[polars.DataFrame, str | None, list[Decision]]:
    """Return the table of a file of a known format, the decimal mark that it shows, and what was decided."""
    decisions: list[Decision] = []
    if format in ("npz", "npy"):
        frame = frame_of(name, array_columns(name, load_numpy(name, source)))
    elif format in ("parquet", "feather"):
        frame = _read_columns(name, format, source)
    elif format == "xlsx":
        frame, decisions = read_excel(name, source)
    else:
        data = source if isinstance(source, bytes) else source.read_bytes()
        if format in ("csv", "tsv"):
            return read_delimited(name, data, "\t" if format == "tsv" else ",;\t|", text, decimal)
        frame, decisions = read_json(name, data, lines=format == "jsonl")
    return frame, decimal_of(frame), decisions


def suggest_file(path: Path) -> str:
    """Return the end of a message that names the file nearest to ``path`` in its folder, or nothing."""
    try:
        found = {
            entry.name: entry
            for entry in path.parent.iterdir()
            if named_packing(entry.name)[1].lower().endswith(EXTENSIONS)
        }
    except FileNotFoundError:
        return f"; there is no folder '{path.parent}' either"
    except NotADirectoryError:
        return f"; '{path.parent}' is no folder"
    except OSError:  # it may not be looked into
        return ""
    # only a near name is worth a word here: a folder's whole listing is not
    near = difflib.get_close_matches(path.name, found, n=1)
    return f"; did you mean '{found[near[0]]}'?" if near else ""


def _read_columns(name: str, format: str, source: Path | bytes) -> polars.DataFrame:
    """Return the table of a Parquet file, or of one of Arrow's IPC."""
    pl = import_polars()
    if format == "feather" and not isinstance(source, bytes):
        source = source.read_bytes()
    try:
        if isinstance(source, bytes):
            read = pl.read_parquet if format == "parquet" else pl.read_ipc_stream
            return (pl.read_ipc if source.startswith(b"ARROW1") else read)(io.BytesIO(source))
        return pl.read_parquet(source, glob=False)
    # polars reports some damage as a Rust panic, which is no Exception, and some as a failure of the system
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if isinstance(error, OSError) and isinstance(source, Path):
            raise
        first = str(error).strip().split("\n")[0]
        words = "Parquet" if format == "parquet" else "Feather (Arrow IPC)"
        raise DataError(f"'{name}' is no readable {words} file (damaged or cut off?): {first}") from None
