"""Dataset of a run: its table read, split and encoded, alike for training, resumption and evaluation."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.cli.defaults import default_batch_size, default_l2
from xpnet.cli.losses import chosen_loss, class_weights, is_code
from xpnet.cli.runs import to_json
from xpnet.cli.settings import Settings, plain
from xpnet.data import (
    BUILTIN,
    Decision,
    Encoder,
    infer_tasks,
    listed,
    load,
    read_table,
)
from xpnet.data.columns import Numeric
from xpnet.data.parts import Parts, divide
from xpnet.errors import ConfigError, DataError, because
from xpnet.files import open_regular
from xpnet.optim import METHODS
from xpnet.train.targets import classes_to_targets, is_classifier, kind_of, name_of

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
        y: targets as the loss asks for them, of several (rows, targets).
        truth: what the rows really are: class indices, or values on the scale of the target columns, of
            several targets (rows, targets).
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
    """A table split and encoded, with the settings in which ``auto`` has been replaced by its result.

    ``class_weight`` is as `Trainer.fit` takes it, ``encoder_sha256`` that of the encoder's file;
    ``decisions`` are what was decided about the table and its rows.
    """

    settings: Settings
    loss: Callable[..., Any]
    class_weight: dict[int, float] | str | None
    encoder: Encoder
    parts: dict[str, Part]
    columns: int
    table_rows: int
    fingerprint: str
    encoder_sha256: str
    decisions: tuple[Decision, ...] = ()

    @property
    def manifest(self) -> dict[str, Any]:
        """What checkpoints of this training are bound to, see `xpnet.cli.manifest`."""
        split = hashlib.sha256()
        for name in PARTS:
            split.update(f"{name} {len(self.parts[name])} ".encode())
            split.update(self.parts[name].rows.astype("<i8").tobytes())
        return {
            "settings": plain(dataclasses.replace(self.settings, out=None)),
            "encoder": self.encoder_sha256,
            "table": self.fingerprint,
            "split": split.hexdigest(),
        }


def prepare(
    settings: Settings,
    encoder: Encoder | None = None,
    own_loss: Callable[..., Any] | None = None,
    *,
    encoder_sha256: str | None = None,
) -> Prepared:
    """Read the table of ``settings``, split it and encode it.

    Args:
        settings: what to train on what.
        encoder: the encoder of a run; None fits one on the training rows.
        own_loss: the loss, where it is code that the command line named.
        encoder_sha256: of the encoder's file; None: of that which will be written.

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
    frame, target = table.frame, table.target
    assert target is not None  # load has asked for it
    targets = (target,) if isinstance(target, str) else target
    settings = dataclasses.replace(
        settings,
        drop=listed(settings.drop, frame.columns),
        categorical=listed(settings.categorical, frame.columns),
    )
    task = settings.task
    if task == "auto":
        task = encoder.task if encoder else infer_tasks(frame, targets)
    divided = _divided(settings, frame, targets, task, encoder)
    encoder = divided.encoder
    settings = dataclasses.replace(settings, loss=_loss_name(settings, task, len(targets)))
    loss = chosen_loss(settings, own_loss)
    parts = {
        # categories that training does not know are told of in the decisions
        name: encode_part(encoder, loss, frame, rows, unseen="error" if name == "train" else "ignore")
        for name, rows in zip(PARTS, divided.rows, strict=True)
    }
    for name in PARTS[1:]:
        if len(parts[name]) == 0 and getattr(settings, name) > 0:
            raise DataError(
                f"each of the {name} rows has a bad cell: none is left; "
                f"use --missing mean, correct them, or ask for a larger share with --{name}"
            )
    data = source if source in BUILTIN else str(Path(source).resolve())
    resolved = dataclasses.replace(
        settings,
        data=data,
        target=target,
        task=task,
        batch_size=_batch_size(settings, len(parts["train"])),
        l2=default_l2(len(parts["train"]), settings.optimizer) if settings.l2 is None else settings.l2,
    )
    weights = class_weights(settings, encoder, loss)
    if encoder_sha256 is None:
        encoder_sha256 = hashlib.sha256(to_json(encoder.to_json()).encode()).hexdigest()
    return Prepared(
        resolved, loss, weights, encoder, parts, frame.width, frame.height, fingerprint(source),
        encoder_sha256, divided.decisions,
    )  # fmt: skip


def _loss_name(settings: Settings, task: str, targets: int) -> str:
    """Return the name of the loss, or the place of its code, which is found again from any folder."""
    loss = settings.loss
    if is_code(loss):
        place, _, function = loss.rpartition(":")
        return f"{Path(place).resolve()}:{function}" if place.endswith(".py") else loss
    if loss != "auto":
        return loss
    if task == "regression":
        return "squared_error"
    return "softmax_cross_entropy" if targets == 1 else "binary_cross_entropy"


def _divided(
    settings: Settings, frame: polars.DataFrame, targets: Sequence[str], task: str, encoder: Encoder | None
) -> Parts:
    """Return the rows of the parts and the encoder: the given one, of a run, or one that is fitted."""

    def fit(rows: np.ndarray) -> Encoder:
        return Encoder.fit(
            frame,
            targets,
            rows=rows,
            task=task,
            missing=settings.missing,
            categorical=settings.categorical,
            drop=(*settings.drop, *_group_dropped(settings)),
        )

    # fitted anew for a known encoder as well, so that the same rows are exchanged as in the training
    made = divide(
        frame,
        targets,
        task,
        fit,
        validation=settings.validation,
        test=settings.test,
        seed=settings.seed,
        split_by=settings.split_by,
        group=settings.group,
    )
    return made if encoder is None else dataclasses.replace(made, encoder=encoder)


def _group_dropped(settings: Settings) -> list[str]:
    """Return the column of groups, which is no feature unless it is asked for."""
    group = settings.group
    return [] if group is None or group in (*settings.categorical, *settings.drop) else [group]


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
        return default_batch_size(rows)
    if isinstance(size, int) and size > rows:
        raise ConfigError(
            f"--batch-size: expected at most the {rows} training rows, found {size}; lower it, or say full"
        )
    return size


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
    X, y, kept = encoder.encode(frame, rows=rows, target=True, **policies)
    assert y is not None  # it was asked for
    if encoder.task == "classification":
        return Part(X, classes_to_targets(loss, y, encoder.n_classes), y, kept)
    if is_classifier(loss):
        raise ConfigError(
            f"--loss {name_of(loss)}: expected a loss for numbers, for the target is one; choose "
            "squared_error, absolute_error or huber, or --task classification"
        )
    truth = _values(encoder, frame)[kept]
    if kind_of(loss) != "counts":
        return Part(X, y, truth, kept)
    _check_counts(name_of(loss), encoder, truth, kept)
    return Part(X, truth, truth, kept)  # standardized, counts would be none


def _values(encoder: Encoder, frame: polars.DataFrame) -> np.ndarray:
    """Return numeric targets as they are in the table; standardizing and back would lose the last bit."""
    columns = [Numeric.read(frame[name], np.arange(frame.height)) for name in encoder.target_names]
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


def _check_counts(loss: str, encoder: Encoder, truth: np.ndarray, rows: np.ndarray) -> None:
    columns = truth.reshape(len(truth), -1)
    for row, column in np.argwhere(columns < 0)[:1]:
        raise DataError(
            f"row {rows[row] + 1}, column '{encoder.target_names[column]}' holds {columns[row, column]:g}: "
            f"--loss {loss} expected counts that are not negative; correct it, or choose squared_error"
        )


def read_rows(name_or_path: str, encoder: Encoder) -> polars.DataFrame:
    """Return a table for prediction or evaluation, its text columns read as in training."""
    if name_or_path in BUILTIN:
        return BUILTIN[name_or_path]().frame
    return read_table(name_or_path, text=encoder.text_columns)


def fingerprint(name_or_path: str) -> str:
    """Return the fingerprint of a table: the SHA-256 of its file, or of a built-in's columns."""
    digest = hashlib.sha256()
    if name_or_path in BUILTIN:
        frame: Any = BUILTIN[name_or_path]().frame
        for series in frame.get_columns():
            digest.update(series.name.encode())
            digest.update(np.ascontiguousarray(series.to_numpy()).tobytes())
        return digest.hexdigest()
    with open_regular(name_or_path, follow=True) as file:
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
            f"the run's table '{data}' cannot be read: {because(error)}; put it back where it was"
        ) from error
    if found != environment["data"]["sha256"]:
        raise DataError(
            f"the run's table '{data}' has changed since the training began (its SHA-256 is another), "
            "and with it the split into training and test rows; restore it, or train anew"
        )
