"""Tasks: whether a target column holds classes or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xpnet.data.columns.cells import PLAIN, is_text
from xpnet.data.columns.choice import UNDECLARED, Reading, number_notation, reading_of
from xpnet.data.columns.date_text import form_of
from xpnet.data.columns.dates import is_temporal
from xpnet.data.decisions import Decision
from xpnet.errors import DataError, use

if TYPE_CHECKING:
    import polars

__all__ = ["explain_task", "infer_task", "infer_tasks", "joint_strata", "refuse_dates", "strata"]

_MOST_CLASSES = 20
_ROWS_PER_CLASS = 5
_ROWS_PER_COMBINATION = 10
_OTHER = {"classification": "regression", "regression": "classification"}


def infer_task(target: polars.Series, reading: Reading = UNDECLARED) -> str:
    """Return "classification" or "regression", as the cells of the target column ask for.

    With d distinct values in n cells that are there:

    - booleans and text: classification; but text of which at least 80 % are numbers is regression if d > 20,
      or one of them is no whole number (a column of numbers into which some text has slipped);
    - whole numbers, also those stored as floats or written with marks such as ``1,234`` or ``5 %``:
      classification if d <= 2, or if d <= 20 and n >= 5 d; otherwise regression;
    - other numbers: regression.

    `explain_task` also gives the reason.

    Args:
        target: the column.
        reading: what is declared about its text.

    Raises:
        DataError: its text can be read in two ways.

    Example:
        >>> import polars
        >>> infer_task(polars.Series("y", [0, 1, 1, 0]))
        'classification'
        >>> infer_task(polars.Series("y", ["0.5 %", "1.0 %", "1.5 %"]))
        'regression'
    """
    return _task_and_doubt(target, reading)[0]


def explain_task(target: polars.Series, task: str = "auto", reading: Reading = UNDECLARED) -> Decision | None:
    """Return why a target is taken as classes or as numbers, and how to change it; None where that is plain.

    Args:
        target: the column.
        task: the task that was taken; "auto" is that of `infer_task`.
        reading: what is declared about its text.

    Example:
        >>> import polars
        >>> print(explain_task(polars.Series("stars", [1, 2, 3, 4, 5] * 8)))
        column 'stars' is taken as 5 classes: whole numbers with 5 values in 40 rows; task='regression'
        predicts them as numbers
    """
    inferred, doubt = _task_and_doubt(target, reading)
    if not doubt or task not in ("auto", inferred):
        return None
    if inferred == "classification":
        what = f"is taken as {doubt[0]:,} classes"
        otherwise = "predicts them as numbers"
    else:
        what, otherwise = "is taken as numbers", "predicts them as classes"
    why = f"{doubt[1]}; {use('task', _OTHER[inferred])} {otherwise}"
    return Decision(target.name, what, why)


def _task_and_doubt(target: polars.Series, reading: Reading) -> tuple[str, tuple[int, str] | None]:
    """Return the task, and where another reader could have taken the other one: values, and the reason."""
    import polars as pl

    if target.dtype == pl.Boolean:
        return "classification", None
    if is_temporal(target):  # refused later, with advice
        return "regression", None
    if target.dtype == pl.Duration:
        return "regression", None
    notation = number_notation(target, reading)
    if notation is None:
        return "classification", None
    cells = target.fill_nan(None).drop_nulls() if target.dtype.is_float() else target.drop_nulls()
    distinct = cells.unique()
    text = is_text(target)
    if target.dtype.is_integer():
        d = len(distinct)
    else:
        numbers = notation.read(distinct)
        numbers = numbers[~np.isnan(numbers)]
        if not np.all(numbers == np.floor(numbers)):
            return "regression", None
        # whole numbers in plain text are meant as classes, unless there are many
        d = len(distinct) if text and notation == PLAIN else len(np.unique(numbers))
    n = len(cells)
    if text and notation == PLAIN:
        few = d <= _MOST_CLASSES
    else:
        few = d <= 2 or (d <= _MOST_CLASSES and n >= _ROWS_PER_CLASS * d)
    told = f"whole numbers with {d:,} values in {n:,} rows"
    if few:
        return "classification", None if d <= 2 else (d, told)
    return "regression", (d, told) if d <= 2 * _MOST_CLASSES and n >= 2 * d else None


def infer_tasks(frame: polars.DataFrame, targets: Sequence[str], reading: Reading = UNDECLARED) -> str:
    """Return what `infer_task` says of every target column.

    Raises:
        DataError: some ask for classes, others for numbers; or one holds dates.

    Example:
        >>> import polars
        >>> infer_tasks(polars.DataFrame({"a": [0.5, 1.0, 1.5], "b": [0.1, 0.2, 0.3]}), ["a", "b"])
        'regression'
    """
    if any(is_text(frame[name]) for name in targets):
        reading = reading_of(frame, reading)
    for name in targets:
        refuse_dates(frame[name], "auto", reading)
    tasks = {name: infer_task(frame[name], reading) for name in targets}
    if len(set(tasks.values())) == 1:
        return tasks[targets[0]]
    told = [", ".join(n for n in targets if tasks[n] == task) for task in ("classification", "regression")]
    raise DataError(
        f"the targets are of both kinds: classes in {told[0]}, numbers in {told[1]}; train a model for each "
        f"kind, or say which one all of them are with {use('task', 'classification')} or "
        f"{use('task', 'regression')}"
    )


def refuse_dates(target: polars.Series, task: str, reading: Reading = UNDECLARED) -> None:
    """Raise a `DataError` if a target holds dates or times, unless their text is declared to be classes."""
    if task == "classification" and is_text(target):
        return
    text = not is_temporal(target)
    if text and (not is_text(target) or number_notation(target, reading) is not None):
        return
    # the order of days and months does not matter here
    if text and (form_of(target, dayfirst=True) or form_of(target, dayfirst=False)) is None:
        return
    raise DataError(
        f"target '{target.name}' holds dates or times, which are not predicted as such: make numbers of "
        "them, such as the days from a fixed date, or classes, such as the month; or choose another target"
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
