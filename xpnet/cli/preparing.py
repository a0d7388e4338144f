"""A table made ready: read, split, encoded, the same way at training, resumption and evaluation."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.cli.settings import Settings
from xpnet.data import BUILTIN, Encoder, infer_task, load, read_table, split_rows, strata
from xpnet.data.columns import Categorical, Numeric
from xpnet.errors import ConfigError, DataError
from xpnet.losses import get as get_loss
from xpnet.optim import METHODS
from xpnet.train.targets import classes_to_targets, is_classifier, kind_of

if TYPE_CHECKING:
    import polars

__all__ = [
    "PARTS",
    "Part",
    "Prepared",
    "check_unchanged",
    "encode_part",
    "fingerprint",
    "prepare",
    "read_rows",
]

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """Rows ready for the trainer.

    Attributes:
        X: features (rows, features) float64.
        y: targets as the loss asks for them.
        truth: what the rows really are: class indices, or values on the scale of the target column.
        rows: which rows of the table these are.
    """

    X: np.ndarray
    y: np.ndarray
    truth: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Prepared:
    """A table split and encoded, with the settings in which ``auto`` has been replaced by what it found.

    ``moved`` rows went to training since no other training row has one of their categories.
    """

    settings: Settings
    encoder: Encoder
    parts: dict[str, Part]
    columns: int
    table_rows: int
    fingerprint: str
    moved: int


def prepare(settings: Settings, encoder: Encoder | None = None) -> Prepared:
    """Read the table of ``settings``, split it and encode it.

    Args:
        settings: what to train on what.
        encoder: the encoder of a run; None fits one on the training rows.

    Raises:
        DataError: the table cannot be read or used.
        ConfigError: no table is named, a split leaves nothing, or the loss does not fit the target.
    """
    if settings.data is None:
        raise ConfigError(
            "which table? expected a built-in name or a file, such as: xpnet train digits; "
            f"built-in: {', '.join(BUILTIN)}"
        )
    source = settings.data
    table = load(source, target=settings.target)
    frame, target = table.frame, str(table.target)
    settings = dataclasses.replace(
        settings,
        drop=_listed(settings.drop, frame.columns),
        categorical=_listed(settings.categorical, frame.columns),
    )
    task = settings.task
    if task == "auto":
        task = encoder.task if encoder else infer_task(frame[target])
    rows, encoder, moved = _split(settings, frame, target, task, encoder)
    loss = settings.loss
    if loss == "auto":
        loss = "softmax_cross_entropy" if task == "classification" else "squared_error"
    parts = {name: encode_part(encoder, loss, frame, part) for name, part in zip(PARTS, rows, strict=True)}
    for name in PARTS[1:]:
        if len(parts[name]) == 0 and getattr(settings, name) > 0:
            raise DataError(
                f"each of the {name} rows has a bad cell, or a category that no other row has: none is left; "
                f"use --missing mean, correct them, or ask for a larger share with --{name}"
            )
    data = source if source in BUILTIN else str(Path(source).resolve())
    resolved = dataclasses.replace(
        settings,
        data=data,
        target=target,
        task=task,
        loss=loss,
        batch_size=_batch_size(settings, len(parts["train"])),
    )
    return Prepared(resolved, encoder, parts, frame.width, frame.height, fingerprint(source), moved)


def _split(
    settings: Settings, frame: polars.DataFrame, target: str, task: str, encoder: Encoder | None
) -> tuple[list[np.ndarray], Encoder, int]:
    """Return the rows of the parts, the encoder, and how many rows were moved to the training rows.

    A category that only validation or test rows hold would be unknown to the model. As `split_rows` does
    for classes, training therefore keeps one row of each: the first one that was drawn for another part.
    """
    rows: list[np.ndarray] = list(
        split_rows(
            frame.height,
            validation=settings.validation,
            test=settings.test,
            seed=settings.seed,
            stratify=strata(frame[target]) if task == "classification" else None,
        )
    )
    if encoder is not None and not any(isinstance(column, Categorical) for column in encoder.columns):
        return rows, encoder, 0
    drawn = len(rows[0])
    while True:
        # fitted anew for a known encoder as well, so that the same rows are moved as in the training
        fitted = Encoder.fit(
            frame,
            target,
            rows=rows[0],
            task=task,
            missing=settings.missing,
            categorical=settings.categorical,
            drop=settings.drop,
        )
        new = fitted.unseen(frame, np.sort(np.concatenate(rows[1:])))
        if len(new) == 0:
            return rows, encoder or fitted, len(rows[0]) - drawn
        rows = [np.union1d(rows[0], new), *(np.setdiff1d(part, new) for part in rows[1:])]


def _listed(names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """Return names of columns; ``a,b`` means two of them where both are columns and ``a,b`` is none."""
    found: list[str] = []
    for name in names:
        parts = [part.strip() for part in name.split(",")]
        found += parts if name not in columns and all(part in columns for part in parts) else [name]
    return tuple(dict.fromkeys(found))


def _batch_size(settings: Settings, rows: int) -> int | str:
    size = settings.batch_size
    if settings.optimizer in METHODS:
        if isinstance(size, int):
            raise ConfigError(
                f"--batch-size: expected full for {settings.optimizer}, an optimizer of second order, found "
                f"{size}; leave it out, or choose --optimizer adam"
            )
        return "full"
    if size is None:
        return min(64, rows)
    if isinstance(size, int) and size > rows:
        raise ConfigError(
            f"--batch-size: expected at most the {rows} training rows, found {size}; lower it, or say full"
        )
    return size


def encode_part(
    encoder: Encoder, loss: str, frame: polars.DataFrame, rows: np.ndarray | None = None, **policies: Any
) -> Part:
    """Return rows of a table with their targets in the form that ``loss`` asks for.

    ``policies`` are those of `Encoder.encode`: missing, unseen.

    Raises:
        ConfigError: the loss is one for classes and the target has numbers, or the other way round.
    """
    X, y, kept = encoder.encode(frame, rows=rows, target=True, **policies)
    assert y is not None  # it was asked for
    function = get_loss(loss)
    if encoder.task == "classification":
        return Part(X, classes_to_targets(function, y, encoder.n_classes), y, kept)
    if is_classifier(function):
        raise ConfigError(
            f"--loss {loss}: expected a loss for numbers, for the target is one; choose squared_error, "
            "absolute_error or huber, or --task classification"
        )
    # read anew rather than decoded: standardizing and back would lose the last bit
    series = frame[encoder.target.name]
    truth = Numeric.read(series, np.arange(len(series)))[kept]
    # counts stand for themselves: standardized, they would be none
    return Part(X, truth if kind_of(function) == "counts" else y, truth, kept)


def read_rows(name_or_path: str, encoder: Encoder) -> polars.DataFrame:
    """Return a table for prediction or evaluation, its text columns read as in training."""
    if name_or_path in BUILTIN:
        return BUILTIN[name_or_path]().frame
    return read_table(name_or_path, text=encoder.text_columns)


def fingerprint(name_or_path: str) -> str:
    """Return what tells whether a table has changed: the SHA-256 of the file, or of a built-in's columns."""
    digest = hashlib.sha256()
    if name_or_path in BUILTIN:
        frame: Any = BUILTIN[name_or_path]().frame
        for series in frame.get_columns():
            digest.update(series.name.encode())
            digest.update(np.ascontiguousarray(series.to_numpy()).tobytes())
        return digest.hexdigest()
    with open(name_or_path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_unchanged(environment: Mapping[str, Any], settings: Settings) -> None:
    """Raise a `DataError` if the table of a run is gone or is another than that of ``environment.json``."""
    data = settings.data or ""
    try:
        found = fingerprint(data)
    except OSError as error:
        raise DataError(
            f"the run's table '{data}' cannot be read: {error.strerror or error}; put it back"
        ) from error
    if found != environment.get("data", {}).get("sha256"):
        raise DataError(
            f"the run's table '{data}' has changed since the training began (its SHA-256 is another), "
            "and with it the split into training and test rows; restore it, or train anew"
        )
