"""Parts of a table, encoded: rows for training, for validation and for the test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data import Decision, Encoder
from xpnet.data.columns import Reading
from xpnet.data.parts import arrangement
from xpnet.data.splits import fold_rows
from xpnet.errors import ConfigError, DataError, use
from xpnet.tabular.settings import Settings
from xpnet.text import count
from xpnet.train.targets import classes_to_targets, is_classifier, kind_of, name_of

if TYPE_CHECKING:
    import polars

__all__ = ["PARTS", "Part", "encode_part", "folded"]

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """Rows ready for the trainer.

    Attributes:
        X: features (rows, features) float64.
        y: targets as the loss asks for them, of several (rows, targets).
        truth: what the rows really are: class indices, or values on the scale of the target columns, of
            several targets (rows, targets).
        rows: which rows of the table these are.
        decisions: what was decided about their cells.
        weight: of the rows in the loss, (rows,) above 0; with folds (rows, members); None: they are equal.
    """

    X: np.ndarray
    y: np.ndarray
    truth: np.ndarray
    rows: np.ndarray
    decisions: tuple[Decision, ...] = ()
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: np.ndarray, weight: np.ndarray | None) -> Part:
        """Return some of the rows, with weights of all of them or none."""
        found = {name: getattr(self, name)[which] for name in ("X", "y", "truth", "rows")}
        return dataclasses.replace(self, **found, weight=None if weight is None else weight[which])


def encode_part(
    encoder: Encoder,
    loss: Callable[..., Any],
    frame: polars.DataFrame,
    rows: np.ndarray | None = None,
    **policies: Any,
) -> Part:
    """Return rows of a table with their targets in the form that ``loss`` asks for.

    ``policies`` are those of `Encoder.encode`: missing, unseen.

    Raises:
        ConfigError: the loss is one for classes and the target has numbers, or the other way round.
        DataError: cells that cannot be used, among them negative ones where the loss asks for counts.
    """
    X, y, kept = encoded = encoder.encode(frame, rows=rows, target=True, **policies)
    decisions = encoded.decisions
    assert y is not None  # it was asked for
    if encoder.task == "classification":
        return Part(X, classes_to_targets(loss, y, encoder.n_classes), y, kept, decisions)
    if is_classifier(loss):
        raise ConfigError(
            f"{use('loss', name_of(loss))}: expected a loss for numbers, for the target is one; choose "
            f"squared_error, absolute_error or huber, or {use('task', 'classification')}"
        )
    truth = encoder.values(frame[kept])
    if kind_of(loss) != "counts":
        return Part(X, y, truth, kept, decisions)
    _check_counts(name_of(loss), encoder, truth, kept)
    return Part(X, truth, truth, kept, decisions)  # standardized, counts would be none


def _check_counts(loss: str, encoder: Encoder, truth: np.ndarray, rows: np.ndarray) -> None:
    columns = truth.reshape(len(truth), len(encoder.targets))  # of a part there may be no rows
    for row, column in np.argwhere(columns < 0)[:1]:
        raise DataError(
            f"row {rows[row] + 1}, column '{encoder.target_names[column]}' holds {columns[row, column]:g}: "
            f"{use('loss', loss)} expected counts that are not negative; correct it, or choose squared_error"
        )


def folded(
    settings: Settings, task: str, part: Part, frame: polars.DataFrame, reading: Reading
) -> dict[str, Part]:
    """Return training and validation rows: each member is trained on all folds of the part but its own.

    So all rows are training rows, and those of the members' folds are validation rows too; of a single
    member, those of the first fold are its validation rows and no more.
    """
    members, folds = settings.members, settings.folds or 0
    for name, refused, instead in (
        ("members", members > folds, f"at most {folds}, one for each fold"),
        ("network", settings.network == "tabm", "another one, as members of tabm share weights"),
        ("split_by", settings.split_by is not None, "none, as folds are drawn at random"),
    ):
        if refused:
            found = use(name, getattr(settings, name))
            raise ConfigError(f"{use(name)}: expected {instead}, found {found} with {use('folds', folds)}")
    groups = arrangement(frame, (), group=settings.group, reading=reading)[1]
    fold = fold_rows(
        len(part),
        folds,
        seed=settings.seed,
        stratify=part.truth if task == "classification" and part.truth.ndim == 1 else None,
        groups=None if groups is None else groups[part.rows],
    )
    if members == 1:
        return {"train": part.take(fold > 0, part.weight), "validation": part.take(fold == 0, part.weight)}
    own = (fold[:, None] == np.arange(members)).astype(np.float64)
    weight = np.ones(len(part)) if part.weight is None else part.weight
    train, validation = (weight[:, None] * counting for counting in (1.0 - own, own))
    return {
        "train": dataclasses.replace(part, weight=train),
        "validation": dataclasses.replace(
            part.take(fold < members, validation), decisions=_unseen_by_members(part, task, own)
        ),
    }


def _unseen_by_members(part: Part, task: str, own: np.ndarray) -> tuple[Decision, ...]:
    """Return that some members are not trained on all classes, where it is so."""
    if task != "classification":
        return ()
    columns = part.truth.reshape(len(part), -1)
    lacking = sum(
        any(np.setdiff1d(column, column[member == 0.0]).size for column in columns.T) for member in own.T
    )
    if not lacking:
        return ()
    does = "does" if lacking == 1 else "do"
    what = f"{count(lacking, 'member')} of the ensemble {does} not know all classes"
    why = "all rows of a class are in one fold; the other members are trained on them"
    return (Decision(None, what, why, warning=True),)
