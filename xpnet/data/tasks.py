"""What a target asks for: classes to be told apart, or a number to be predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xpnet.data.columns import Numeric, kind_of

if TYPE_CHECKING:
    import polars

__all__ = ["infer_task", "strata"]

_MOST_CLASSES = 20
_ROWS_PER_CLASS = 5


def infer_task(target: polars.Series) -> str:
    """Return "classification" or "regression", as the cells of the target column ask for.

    With d distinct values in n cells that are there:

    - booleans and text: classification; but text of which at least 80 % are numbers, with d > 20, is
      regression (a column of numbers into which some text has slipped);
    - whole numbers, also those stored as floats: classification if d <= 2, or if d <= 20 and n >= 5 d;
      otherwise regression;
    - other numbers: regression.

    Example:
        >>> import polars
        >>> infer_task(polars.Series("y", [0, 1, 1, 0]))
        'classification'
        >>> infer_task(polars.Series("y", [0.5, 1.0, 1.5]))
        'regression'
    """
    import polars as pl

    if target.dtype == pl.Boolean or kind_of(target) == "str":
        return "classification"
    if target.dtype == pl.String:
        return "regression" if target.drop_nulls().n_unique() > _MOST_CLASSES else "classification"
    cells = target.fill_nan(None).drop_nulls() if target.dtype.is_float() else target.drop_nulls()
    distinct = cells.unique()
    if not target.dtype.is_integer():
        numbers = Numeric.read(distinct, np.arange(len(distinct)))
        if not np.all(numbers == np.floor(numbers)):
            return "regression"
    d = len(distinct)
    few = d <= 2 or (d <= _MOST_CLASSES and len(cells) >= _ROWS_PER_CLASS * d)
    return "classification" if few else "regression"


def strata(target: polars.Series) -> np.ndarray:
    """Return a whole number for each cell, int64, equal for equal cells; 0 where the cell is missing.

    Made for ``split_rows(stratify=...)``.

    Example:
        >>> import polars
        >>> strata(polars.Series("y", ["b", "a", None, "b"])).tolist()
        [2, 1, 0, 2]
    """
    import polars as pl

    if target.dtype in (pl.Categorical, pl.Enum):
        target = target.cast(pl.String)
    if target.dtype.is_float():
        target = target.fill_nan(None)
    return target.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
