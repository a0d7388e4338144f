"""Names of the columns of tables: remembered by a training, and matched by name from then on."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.errors import DataError, suggest

__all__ = ["column_names", "matched", "table_to_numpy"]

_NUMBERS = (bool, int, float, np.bool_, np.number)


def column_names(X: Any) -> tuple[str, ...] | None:
    """Return the names of a table's columns; None for an array, and for columns that only have numbers."""
    names = getattr(X, "column_names", None)  # of pyarrow
    if names is None:
        names = getattr(X, "columns", None)  # of pandas and polars
    if names is None or isinstance(X, np.ndarray):
        return None
    try:
        found = tuple(names)
    except TypeError:
        return None
    return found if found and all(isinstance(name, str) for name in found) else None


def matched(X: Any, known: tuple[str, ...] | None) -> Any:
    """Return a table with its columns in the order of the training; anything else as it is.

    Args:
        X: inputs.
        known: names of the columns in training; None if it had none.

    Raises:
        DataError: other columns than those of the training; the message names them.
    """
    names = column_names(X)
    if known is None or names is None or names == known:
        return X
    missing = [name for name in known if name not in names]
    other = [name for name in names if name not in known]
    if missing or other or len(names) != len(known):
        found = []
        if missing:
            found.append(f"no {', '.join(map(repr, missing))}{suggest(missing[0], other) if other else ''}")
        if other:
            found.append(f"{', '.join(map(repr, other))}, unknown to it")
        if not found:
            found.append("a name twice")
        raise DataError(
            f"X: expected the {len(known)} columns of the training, found {' and '.join(found)}; pass the "
            "same columns, in any order"
        )
    return X.select(list(known)) if hasattr(X, "select") else X[list(known)]


def table_to_numpy(X: Any) -> Any:
    """Return a table as a NumPy array; where columns of truth values and of numbers meet, as numbers.

    >>> import polars as pl
    >>> table_to_numpy(pl.DataFrame({"on": [True, False], "size": [0.5, 2.0]})).tolist()
    [[1.0, 0.5], [0.0, 2.0]]
    """
    if not hasattr(X, "to_numpy"):  # a table of pyarrow
        return np.column_stack([column.to_numpy() for column in X.columns])
    array = X.to_numpy()
    if array.dtype.kind != "O" or not all(isinstance(x, _NUMBERS) for x in array.flat):
        return array
    return array.astype(np.float64)
