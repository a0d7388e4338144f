"""Tables of any kind as polars DataFrames, and results as tables of the kind that was given.

Tables are polars or pandas DataFrames, tables of pyarrow, dicts of columns, files, and built-in names.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.backends import host
from xpnet.data import BUILTIN, Decision, Encoder, open_table
from xpnet.data._packages import import_polars
from xpnet.data.frames import frame_of
from xpnet.data.headers import named
from xpnet.data.indices import without_index
from xpnet.errors import BackendError, DataError, Words

if TYPE_CHECKING:
    import polars

__all__ = [
    "MEMORY",
    "called",
    "column_like",
    "declared_categories",
    "fingerprint_of_frame",
    "is_file",
    "table_like",
    "target_names",
    "tell",
    "to_frame",
]

_log = logging.getLogger("xpnet.tabular")

MEMORY = "<table in memory>"
"""Stands for the table of a run that was no file."""


def is_file(table: Any) -> bool:
    """Whether a table is given by its name or its file."""
    return isinstance(table, (str, os.PathLike))


def called(table: Any) -> str:
    """Return what a table is called in messages."""
    return f"'{os.fspath(table)}'" if is_file(table) else "the table"


def to_frame(table: Any, encoder: Encoder | None = None, keep: Sequence[str] = ()) -> polars.DataFrame:
    """Return a table as a polars DataFrame.

    Args:
        table: a DataFrame of polars or pandas, a table of pyarrow, a dict of columns, a file or a name.
        encoder: of the model that it is for: a file is read as that of the training was.
        keep: further columns of a file, or several with commas between, whose cells stay as they are in it.

    Raises:
        DataError: another thing, a file that cannot be read, columns of different lengths or of one name.
        ConfigError: polars is not installed.

    >>> to_frame({"size": [1.0, 2.0], "colour": ["red", None]}).shape
    (2, 2)
    """
    needed = [] if encoder is None else [column.name for column in (*encoder.columns, *encoder.targets)]
    kept = {name for given in keep for name in (given, *given.split(","))}.difference(needed)
    if is_file(table):
        name = os.fspath(table)
        if name in BUILTIN:
            return BUILTIN[name]().frame
        text = () if encoder is None else (*encoder.text_columns, *kept)
        opened = open_table(name, text=text, needed=(*needed, *kept))
        tell(opened.decisions)
        return opened.frame
    frame, told = without_index(_of_memory(table), (*needed, *kept))
    tell(told)
    return frame


def _of_memory(table: Any) -> polars.DataFrame:
    """Return a table that is no file; its first column has the name "" if it has none."""
    pl = import_polars()
    if isinstance(table, pl.LazyFrame):
        table = table.collect()
    if isinstance(table, pl.DataFrame):
        return table.rename(dict(zip(table.columns, named(table.columns)[0], strict=True)))
    if isinstance(table, Mapping):
        return _of_columns(dict(zip(_names(table), table.values(), strict=True)))
    package = type(table).__module__.partition(".")[0]
    if package == "pyarrow":
        made = pl.from_arrow(table)
        return _of_memory(made if isinstance(made, pl.DataFrame) else made.to_frame())
    if package == "pandas" and hasattr(table, "columns"):
        return _of_columns({name: _of_pandas(table.iloc[:, i]) for i, name in enumerate(_names(table))})
    raise DataError(
        f"expected a table: a DataFrame of polars or pandas, a dict of columns, a file or a built-in name "
        f"({', '.join(BUILTIN)}); found {type(table).__name__}; name its columns, as in "
        "polars.DataFrame(array, schema=names)"
    )


def _names(table: Any) -> list[str]:
    """Return the names of a dict or a DataFrame of pandas as text; of the first column "" if it has none."""
    given = list(table) if isinstance(table, Mapping) else list(table.columns)
    names, _ = named(["" if name is None or name != name else str(name) for name in given])  # NaN is not NaN
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"the table has two columns called '{twice[0]}'; rename one")
    return names


def tell(decisions: Iterable[Decision]) -> None:
    """Log decisions about a table."""
    for decision in decisions:
        _log.log(logging.WARNING if decision.warning else logging.INFO, Words(decision.text))


def target_names(table: Any, target: Any) -> Any:
    """Return the name of a target, or names of several, as `to_frame` has them: columns are named by text.

    >>> target_names({0: [1.0], ("a", "b"): [2.0]}, ("a", "b"))
    "('a', 'b')"
    """
    if target is None or isinstance(target, str) or is_file(table):
        return target
    columns = list(table) if isinstance(table, Mapping) else list(getattr(table, "columns", ()))
    if target in columns or not isinstance(target, (list, tuple)):
        return str(target)
    return [str(name) for name in target]


def declared_categories(table: Any) -> list[str]:
    """Return the columns of a pandas DataFrame of numbers or booleans that are declared as categories."""
    if not _is_pandas(table):
        return []
    dtypes = dict(zip(_names(table), table.dtypes, strict=True))
    return [
        name
        for name, dtype in dtypes.items()
        if str(dtype) == "category" and getattr(dtype.categories.dtype, "kind", "O") in "biuf"
    ]


def _of_columns(columns: Mapping[str, Any]) -> polars.DataFrame:
    pl = import_polars()
    series = {}
    for name, values in columns.items():
        if not isinstance(values, pl.Series):
            array = values if isinstance(values, (list, tuple)) else _array(name, values)
            if isinstance(array, np.ndarray) and array.ndim != 1:
                raise DataError(
                    f"column '{name}' has shape {array.shape}; expected one dimension: a list or an array"
                )
            if isinstance(array, np.ndarray) and array.dtype.kind in "OU":
                array = array.tolist()
            values = pl.Series(str(name), array, strict=not isinstance(array, (list, tuple)))
        series[str(name)] = values
    return frame_of(None, series)


def _array(name: Any, values: Any) -> np.ndarray:
    """Return a column of any array library as NumPy's, and other sequences as it reads them."""
    if not hasattr(values, "__dlpack__") and not hasattr(values, "__array_namespace__"):
        return np.asarray(values)
    try:
        return host(values)
    except BackendError as error:
        raise DataError(f"column '{name}': {error.text}") from None


def _of_pandas(column: Any) -> Any:
    """Return a column of pandas in a form that polars takes without pyarrow; missing cells are None."""
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return column.to_numpy()
    if isinstance(dtype, np.dtype) and dtype.kind in "mM":
        return column.to_numpy().astype(f"{dtype.kind}8[us]")
    missing = column.isna().to_numpy(dtype=bool)
    cells = column.astype(object).to_numpy()
    return [None if gone else _plain(cell) for cell, gone in zip(cells, missing, strict=True)]


def _plain(cell: Any) -> Any:
    if type(cell).__name__ == "Period":
        cell = cell.to_timestamp()
    if hasattr(cell, "to_pydatetime"):
        return cell.to_pydatetime()
    if type(cell).__name__ == "Interval":
        return str(cell)
    return cell.item() if isinstance(cell, np.generic) else cell


def table_like(table: Any, frame: polars.DataFrame) -> Any:
    """Return a table in the kind of another one, which has as many rows: pandas keeps its index.

    A dict gives a dict of arrays; a file, a name, pyarrow and polars give a polars DataFrame.
    """
    if isinstance(table, Mapping):
        return {column.name: column.to_numpy() for column in frame.get_columns()}
    if _is_pandas(table):
        import pandas

        columns = {column.name: _to_pandas(column) for column in frame.get_columns()}
        return pandas.DataFrame(columns, index=table.index)
    return frame


def column_like(table: Any, column: polars.Series) -> Any:
    """Return a column in the kind of a table: a Series of pandas or polars, of a dict an array."""
    if isinstance(table, Mapping):
        return column.to_numpy()
    if _is_pandas(table):
        import pandas

        return pandas.Series(_to_pandas(column), index=table.index, name=column.name)
    return column


def _is_pandas(table: Any) -> bool:
    return type(table).__module__.partition(".")[0] == "pandas"


def _to_pandas(column: polars.Series) -> Any:
    """Return a column's values for pandas: numbers as an array, NaN where one is missing; else a list."""
    return column.to_numpy() if column.dtype.is_numeric() else column.to_list()


def fingerprint_of_frame(frame: polars.DataFrame) -> str:
    """Return the SHA-256 of a table's columns: their names, types, and cells.

    >>> import polars
    >>> fingerprint_of_frame(polars.DataFrame({"a": [1, None]}))[:8]
    '5be41c15'
    """
    pl = import_polars()
    digest = hashlib.sha256(f"{frame.height}\n".encode())
    for column in frame.get_columns():
        digest.update(f"{column.name!r} {column.dtype}\n".encode(errors="backslashreplace"))
        digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
        if column.dtype == pl.Object:  # refused later, unless the column is left out
            continue
        if column.dtype.is_nested() or column.dtype == pl.Duration or column.dtype == pl.Int128:
            column = pl.Series(column.name, map(str, column.to_list()), dtype=pl.String)
        if column.dtype.is_numeric() and not column.dtype.is_decimal():
            values = column.fill_null(0).to_numpy()
            digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
        else:
            texts = column.cast(pl.String).fill_null("")
            digest.update(texts.str.len_bytes().to_numpy().astype("<u8").tobytes())
            digest.update("".join(texts.to_list()).encode())
    return digest.hexdigest()
