"""Parts of a table: training, validation and test rows, and the encoder of the training rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xpnet.data.columns import Categorical, Reading
from xpnet.data.columns.choice import UNDECLARED
from xpnet.data.decisions import Decision
from xpnet.data.encoder import Encoder
from xpnet.data.splits import exchange, order_of, split_rows
from xpnet.data.tasks import joint_strata, strata
from xpnet.errors import ConfigError, DataError, suggest, use

if TYPE_CHECKING:
    import polars

__all__ = ["Parts", "arrangement", "divide", "told_of_groups"]

_MOST_NAMED = 5  # classes in a message


@dataclass(frozen=True)
class Parts:
    """Parts of a table.

    Attributes:
        rows: training, validation and test rows, int64, each in ascending order.
        encoder: fitted on the training rows.
        decisions: what was decided about rare categories and classes.
    """

    rows: tuple[np.ndarray, np.ndarray, np.ndarray]
    encoder: Encoder
    decisions: tuple[Decision, ...] = ()


def divide(
    frame: polars.DataFrame,
    targets: Sequence[str],
    task: str,
    fit: Callable[[np.ndarray], Encoder],
    *,
    validation: float,
    test: float,
    seed: int,
    split_by: str | None = None,
    group: str | None = None,
    reading: Reading = UNDECLARED,
) -> Parts:
    """Split the rows of a table and fit its encoder on the training rows.

    Rows are drawn at random, the classes of a target in proportion; or by the order of a column, or whole
    groups of rows: see `xpnet.data.split_rows`. The model knows only what training rows hold. So where a
    random draw has put the only rows of a category or class elsewhere, the first of these becomes a training
    row, and another row of its class is held out in its place: the parts are as large as asked for. Where no
    row is left to be held out, and where order or groups forbid it, rows stay where they are; their unknown
    categories then count as none.

    Args:
        frame: the table.
        targets: names of the columns to be predicted.
        task: "classification" or "regression".
        fit: from training rows to an encoder.
        validation, test: fractions of the rows, see `xpnet.data.split_rows`.
        seed: seed of the draw.
        split_by: the column that orders the rows: the last ones are test rows, before them validation rows.
        reading: what is declared about its text.
        group: the column whose equal cells stay in one part.

    Raises:
        ConfigError: columns that contradict each other.
        DataError: too few rows, classes or groups, or a column that is missing or has no order.
    """
    order, groups = arrangement(frame, targets, split_by=split_by, group=group, reading=reading)
    classes = None
    if task == "classification":
        columns = [frame[name] for name in targets]
        classes = strata(columns[0]) if len(columns) == 1 else joint_strata(columns)
    drawn = split_rows(
        frame.height,
        validation=validation,
        test=test,
        seed=seed,
        stratify=None if split_by is not None else classes,
        order=order,
        groups=groups,
    )
    free = split_by is None and group is None  # to exchange rows
    rows, decisions, kept = list(drawn), list[Decision](), np.empty(0, dtype=np.int64)
    alike = np.zeros(frame.height, dtype=np.int64) if classes is None else classes
    if task == "classification":
        new = _unseen_classes(frame, targets, rows[0])
        if len(new) and free:
            kept = np.union1d(kept, new)
            rows, left = exchange(rows, new, kept, alike, seed)
            new = left
        if len(new):
            raise DataError(_unknown_class(frame, targets, rows[0], int(new[0]), split_by or group))
    while True:
        encoder = fit(rows[0])
        new = _unseen(encoder, frame, rows)
        if not len(new):
            break
        kept = np.union1d(kept, new)
        left = new
        if free:
            rows, left = exchange(rows, new, kept, alike, seed)
        if len(left) == len(new):
            decisions.append(_ignored(new))
            break
    kept = np.intersect1d(kept, rows[0])
    if len(kept):
        are = "row is a training row" if len(kept) == 1 else "rows are training rows"
        why = "no other training row has their categories or classes; others are held out in their place"
        many = len(kept) > frame.height // 10
        why += ", so that these have the frequent categories more often than rows to come may" if many else ""
        decisions.append(Decision(None, f"{len(kept):,} {are}", why, warning=many))
    if task == "classification":
        held_out = "test" if test else "validation"
        decisions += _unmeasured(frame, targets, rows[2 if test else 1], held_out)
    train, validated, tested = rows
    return Parts((train, validated, tested), encoder, tuple(decisions))


def arrangement(
    frame: polars.DataFrame,
    targets: Sequence[str],
    *,
    split_by: str | None = None,
    group: str | None = None,
    reading: Reading = UNDECLARED,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the place of each row in the order of a column, or its group: (rows,) int64, or None.

    Raises:
        ConfigError: both are named, or one is a target.
        DataError: there is no such column, or it is missing in some rows or has no order.
    """
    if split_by is not None and group is not None:
        raise ConfigError(
            f"split_by: expected no group with it, found split_by='{split_by}' and group='{group}'; rows of "
            "a group may lie anywhere in the order: leave one of them out"
        )
    for setting, name in (("split_by", split_by), ("group", group)):
        if name is None:
            continue
        if name not in frame.columns:
            raise DataError(f"{setting}: the table has no column '{name}'{suggest(name, frame.columns)}")
        if name in targets:
            raise ConfigError(
                f"{setting}: expected a column that is not to be predicted, found the target '{name}'; name "
                "another column"
            )
    order = None if split_by is None else order_of(frame[split_by], reading)
    return order, None if group is None else _groups(frame[group])


def told_of_groups(frame: polars.DataFrame, group: str | None, named: Sequence[str]) -> list[Decision]:
    """Return that a column of groups is no feature; nothing if there is none, or it is ``named`` as one."""
    if group is None or group in named or group not in frame.columns:
        return []
    column = frame[group]
    groups = column.n_unique() - (column.null_count() > 0)
    why = f"rows of each of its {groups:,} groups stay in one part; {use('use', group)} makes it a feature"
    return [Decision(group, "left out as the column of groups", why)]


def _groups(column: polars.Series) -> np.ndarray:
    found = strata(column)
    if not found.all():
        raise DataError(
            f"column '{column.name}' is empty in {np.count_nonzero(found == 0)} of {len(found)} rows, the "
            f"first of which is row {int(np.argmin(found)) + 1}: these belong to no group; fill them in, or "
            "leave the rows out"
        )
    return found


def _unseen(encoder: Encoder, frame: polars.DataFrame, rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return the first held-out row of each category that no training row has."""
    if not any(isinstance(column, Categorical) for column in encoder.columns):
        return np.empty(0, dtype=np.int64)
    return encoder.unseen(frame, np.sort(np.concatenate(rows[1:])))


def _unseen_classes(frame: polars.DataFrame, targets: Sequence[str], train: np.ndarray) -> np.ndarray:
    """Return the first row of each class that no training row has; cells that are missing have no class."""
    found: set[int] = set()
    for name in targets:
        classes = strata(frame[name])
        unseen = np.setdiff1d(classes, np.append(classes[train], 0))
        found |= {int(np.argmax(classes == number)) for number in unseen}
    return np.asarray(sorted(found), dtype=np.int64)


def _unknown_class(
    frame: polars.DataFrame, targets: Sequence[str], train: np.ndarray, row: int, by: str | None
) -> str:
    name = next(name for name in targets if row in _unseen_classes(frame, [name], train))
    cause = f"split by '{by}', " if by else ""
    return (
        f"{cause}no training row has the class '{frame[name][row]}' of '{name}' (row {row + 1}): the model "
        "would not know it; leave its rows out, hold fewer rows out (validation, test), or split at random"
    )


def _ignored(rows: np.ndarray) -> Decision:
    listed = ", ".join(str(row + 1) for row in rows[:_MOST_NAMED])
    more = ", ..." if len(rows) > _MOST_NAMED else ""
    return Decision(
        None,
        f"{len(rows):,} categories occur in validation or test rows alone",
        f"no training row has them (row {listed}{more}); there they count as none of the known categories",
        warning=True,
    )


def _unmeasured(
    frame: polars.DataFrame, targets: Sequence[str], rows: np.ndarray, part: str
) -> list[Decision]:
    """Return a decision for each target with classes that no held-out row has.

    Classes of one row are left to the encoder, which tells of them anyhow.
    """
    made = []
    for name in targets if len(rows) else ():
        classes = strata(frame[name])
        several = np.flatnonzero(np.bincount(classes) > 1)
        lacking = np.setdiff1d(several, np.append(classes[rows], 0))
        if not len(lacking):
            continue
        first = [int(np.argmax(classes == number)) for number in lacking[:_MOST_NAMED]]
        told = [f"'{frame[name][row]}' ({int(np.sum(classes == classes[row])):,})" for row in first]
        more = f" and {len(lacking) - len(told):,} more" if len(lacking) > len(told) else ""
        made.append(
            Decision(
                name,
                f"has classes of which no row is a {part} row: {', '.join(told)}{more}",
                "with so few rows (in brackets) training keeps them; how well they are predicted is not "
                "measured",
                warning=True,
            )
        )
    return made
