"""DataFrames of columns that are arrays or sequences."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.columns import Categorical, Column
from xpnet.data.decisions import Decision
from xpnet.data.notations import MISSING
from xpnet.data.stacks import counted, counts_of, stacks
from xpnet.errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = ["array_columns", "frame_of", "frame_of_values", "told_of_words", "without_words"]


def array_columns(path: str, loaded: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns of the arrays of an NPZ or NPY file by name."""
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


def _array_columns(path: str, label: str, array: np.ndarray) -> dict[str, np.ndarray]:
    if array.dtype.names and array.ndim == 1:
        return {name: array[name] for name in array.dtype.names}
    if array.ndim != 2 or array.dtype.names:
        raise DataError(
            f"'{path}': {label} has shape {array.shape} and dtype {array.dtype}; "
            "expected two dimensions (rows, columns), or one dimension of records"
        )
    return {f"x{index}": array[:, index] for index in range(array.shape[1])}


def frame_of(path: str | None, columns: Mapping[str, Any]) -> polars.DataFrame:
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
    return pl.DataFrame({str(s.name): s for s in series})  # a list would give a name to one without


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


def without_words(frame: polars.DataFrame) -> tuple[polars.DataFrame, dict[str, dict[str, int]]]:
    """Return a table in which text such as ``NA`` (`MISSING`) is missing, as in a file, and what it was.

    Returns:
        The table; for each of its columns with such text the words, and how many cells hold each.

    >>> import polars
    >>> without_words(polars.DataFrame({"a": ["x", "NA", "nan"]}))[1]
    {'a': {'NA': 1, 'nan': 1}}
    """
    pl = import_polars()
    texts: dict[Any, list[polars.Series]] = {}
    for column in frame.get_columns():
        if isinstance(column.dtype, (pl.String, pl.Categorical, pl.Enum)):
            texts.setdefault(column.dtype, []).append(column)
    words: dict[str, dict[str, int]] = {}
    for columns in texts.values():
        for some, cells in stacks(columns):
            hollow = cells.cast(pl.String).str.strip_chars().is_in(MISSING)
            rows = len(some[0])
            for place in np.flatnonzero(counted(hollow, len(some))).tolist():
                column, mask = some[place], hollow.slice(place * rows, rows).fill_null(False)
                frame = frame.with_columns(column.set(mask, None))
                found = counts_of(column.filter(mask).cast(pl.String).str.strip_chars())
                words[column.name] = dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
    return frame, words


def told_of_words(words: Mapping[str, Mapping[str, int]], columns: Iterable[Column]) -> list[Decision]:
    """Return what is to be said of words that count as missing: they may be meant as categories.

    Args:
        words: as `without_words` gives them.
        columns: as what the columns are taken.
    """
    told = []
    for column in columns if words else ():
        name = column.name
        found = {word: count for word, count in words.get(name, {}).items() if word}
        if found and isinstance(column, Categorical):
            listed = ", ".join(f"'{word}' in {count:,} cells" for word, count in list(found.items())[:5])
            why = f"{listed}, as in a file; write it otherwise if it is a category"
            told.append(Decision(name, "has words that count as missing", why, warning=True))
    return told


def frame_of_values(
    name: str, columns: Mapping[str, Sequence[Any]]
) -> tuple[polars.DataFrame, list[Decision]]:
    """Return a DataFrame of columns of Python values, as of JSON and Excel files, and what was decided.

    Texts lose the blanks around them, and those in `MISSING` are missing cells. A column is of booleans,
    whole numbers, decimal numbers, dates, times of day or points of time if all its cells are, else of text.

    Args:
        name: of the file, for messages.
        columns: by name, equally long.

    Raises:
        DataError: a cell holds a list or the like.
    """
    pl = import_polars()
    series: dict[str, polars.Series] = {}
    decisions: list[Decision] = []
    for column, values in columns.items():
        cells = [_value(name, column, row, value) for row, value in enumerate(values, start=1)]
        kinds = {type(cell) for cell in cells} - {type(None)}
        for kind, dtypes in _KINDS:
            if kinds <= kind:
                if float in kinds:
                    cells = [None if cell is None else float(cell) for cell in cells]
                dtype = next((d for d in dtypes if _holds(cells, d)), None)
                break
        else:
            cells = [None if cell is None else _text(cell) for cell in cells]
            dtype = "String"
            words = " and ".join(sorted(_WORDS.get(kind, kind.__name__) for kind in kinds))
            decisions.append(Decision(column, "read as text", f"its cells are {words}", warning=True))
        if dtype is None:  # whole numbers beyond 128 bits
            cells, dtype = [None if cell is None else str(cell) for cell in cells], "String"
        if dtype in ("Datetime", "Duration"):
            series[column] = pl.Series(column, cells, dtype=getattr(pl, dtype)("us"))
        else:
            series[column] = pl.Series(column, cells, dtype=getattr(pl, dtype))
    return pl.DataFrame(series), decisions


_KINDS: list[tuple[set[type], tuple[str, ...]]] = [
    (set(), ("String",)),
    ({bool}, ("Boolean",)),
    ({int}, ("Int64", "Int128")),
    ({int, float}, ("Float64",)),
    ({str}, ("String",)),
    ({datetime.date}, ("Date",)),
    ({datetime.time}, ("Time",)),
    ({datetime.timedelta}, ("Duration",)),
    ({datetime.datetime}, ("Datetime",)),
]
_WORDS = {str: "text", bool: "booleans", int: "numbers", float: "decimal numbers"}
_MOST = {"Int64": 2**63, "Int128": 2**127}


def _holds(cells: Sequence[Any], dtype: str) -> bool:
    return dtype not in _MOST or all(cell is None or -_MOST[dtype] <= cell < _MOST[dtype] for cell in cells)


def _value(name: str, column: str, row: int, value: Any) -> Any:
    """Return a cell as one of the types of `_KINDS`, or None."""
    if isinstance(value, str):
        text = value.strip()
        return None if text in MISSING else text
    if value is None or type(value) in set().union(*(kind for kind, _ in _KINDS)):
        return value
    raise DataError(
        f"'{name}': row {row}, column '{column}' holds a {type(value).__name__}; expected a number, a text, "
        "true or false in each cell: spread it over columns of its own"
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
