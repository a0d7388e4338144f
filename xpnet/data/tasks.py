"""Tasks: whether a target column holds classes or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xpnet.data.columns import Numeric, kind_of
from xpnet.errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = ["infer_task", "infer_tasks", "joint_strata", "strata"]

_MOST_CLASSES = 20
_ROWS_PER_CLASS = 5
_ROWS_PER_COMBINATION = 10


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


def infer_tasks(frame: polars.DataFrame, targets: Sequence[str]) -> str:
    """Return what `infer_task` says of every target column.

    Raises:
        DataError: some ask for classes, others for numbers.

    Example:
        >>> import polars
        >>> infer_tasks(polars.DataFrame({"a": [0.5, 1.0, 1.5], "b": [0.1, 0.2, 0.3]}), ["a", "b"])
        'regression'
    """
    tasks = {name: infer_task(frame[name]) for name in targets}
    if len(set(tasks.values())) == 1:
        return tasks[targets[0]]
    told = [", ".join(n for n in targets if tasks[n] == task) for task in ("classification", "regression")]
    raise DataError(
        f"the targets are of both kinds: classes in {told[0]}, numbers in {told[1]}; train a model for each "
        "kind, or say which one all of them are with --task classification or --task regression"
    )


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


def joint_strata(targets: Sequence[polars.Series]) -> np.ndarray:
    """Return a whole number for each row, int64, equal for equal combinations of cells.

    Combinations of fewer than 10 rows are one stratum: each for itself would stay out of the parts that
    rows are drawn for.
    """
    columns = np.stack([strata(target) for target in targets], axis=1)
    _, numbers, counts = np.unique(columns, axis=0, return_inverse=True, return_counts=True)
    numbers = numbers.reshape(-1)
    return np.where(counts[numbers] < _ROWS_PER_COMBINATION, -1, numbers)
