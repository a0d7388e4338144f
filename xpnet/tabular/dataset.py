"""Dataset of a run: its table read, split and encoded, alike for training, resumption and evaluation."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from xpnet.data import (
    BUILTIN,
    Decision,
    Encoder,
    Summary,
    Table,
    explain_task,
    infer_tasks,
    listed,
    load,
    summarize,
)
from xpnet.data.columns import Categorical, Reading
from xpnet.data.columns.choice import reading_of
from xpnet.data.frames import told_of_words, without_words
from xpnet.data.loading import open_named, with_target
from xpnet.data.parts import Parts, divide, told_of_groups
from xpnet.data.sources import STDIN, standard_input
from xpnet.data.summary import summarize_fitted
from xpnet.errors import ConfigError, DataError, call, use
from xpnet.files import open_regular
from xpnet.optim import METHODS
from xpnet.tabular.defaults import default_batch_size
from xpnet.tabular.frames import fingerprint_of_frame
from xpnet.tabular.losses import chosen_loss, class_weights, is_code
from xpnet.tabular.parts import PARTS, Part, encode_part, folded
from xpnet.tabular.presets import with_preset
from xpnet.tabular.settings import Settings, plain
from xpnet.tabular.weights import rows_that_count
from xpnet.text import to_json

if TYPE_CHECKING:
    import polars

__all__ = [
    "Prepared",
    "fingerprint",
    "prepare",
    "table_summary",
]

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Prepared(Generic[S]):
    """A table split and encoded, with the settings in which ``auto`` has been replaced by its result.

    ``class_weight`` is as `Trainer.fit` takes it, ``encoder_sha256`` that of the encoder's file,
    ``decisions`` what was decided about the table, its rows, columns and cells, ``summary`` what its columns
    are, if it was asked for.
    """

    settings: S
    loss: Callable[..., Any]
    class_weight: dict[int, float] | str | None
    encoder: Encoder
    parts: dict[str, Part]
    columns: int
    table_rows: int
    fingerprint: str
    encoder_sha256: str
    decisions: tuple[Decision, ...] = ()
    summary: Summary | None = None

    @property
    def rows_left_out(self) -> int:
        """How many rows of the table are in no part."""
        return self.table_rows - len(np.unique(np.concatenate([part.rows for part in self.parts.values()])))

    @property
    def manifest(self) -> dict[str, Any]:
        """What checkpoints of this training are bound to, see `xpnet.runs.manifest`."""
        split, settings = hashlib.sha256(), plain(self.settings)
        for name in PARTS:
            split.update(f"{name} {len(self.parts[name])} ".encode())
            split.update(self.parts[name].rows.astype("<i8").tobytes())
        return {
            "settings": {**settings, **({"out": None} if "out" in settings else {})},
            "encoder": self.encoder_sha256,
            "table": self.fingerprint,
            "split": split.hexdigest(),
        }


def prepare(
    settings: S,
    encoder: Encoder | None = None,
    own_loss: Callable[..., Any] | None = None,
    *,
    encoder_sha256: str | None = None,
    frame: polars.DataFrame | None = None,
    declared: Sequence[str] = (),
    sample_weight: Any = None,
    summarized: bool = False,
) -> Prepared[S]:
    """Read the table of ``settings``, split it and encode it.

    Args:
        settings: what to train on what.
        encoder: the encoder of a run; None fits one on the training rows.
        own_loss: the loss, where it is code of the user's own.
        encoder_sha256: of the encoder's file; None: of that which will be written.
        frame: the table, where it is no file; ``data`` of the settings is its name then.
        declared: its columns of numbers that are declared as categories.
        sample_weight: weights of its rows, see `xpnet.tabular.TableModel.fit`; None: they are equal.
        summarized: whether there is to be a summary with advice, for which all cells are read once more.

    Raises:
        DataError: the table cannot be read or used.
        ConfigError: no table is named, a split leaves nothing, or the loss does not fit the target.
    """
    if settings.data is None:
        raise ConfigError(
            f"which table? expected a built-in name or a file, such as: {call('train', None, 'digits')}; "
            f"built-in: {', '.join(BUILTIN)}"
        )
    source, digest = settings.data, None
    if frame is None:
        table = load(source, target=settings.target, decimal=settings.decimal, thousands=settings.thousands)
    else:
        table, digest = with_target(Table(frame, None, source), settings.target), fingerprint_of_frame(frame)
    (frame, words), target = without_words(table.frame), table.target
    weight: np.ndarray | None = None
    of_weights: list[Decision] = []
    if sample_weight is not None:
        frame, weight, of_weights = rows_that_count(frame, sample_weight)
    assert target is not None  # load has asked for it
    targets = (target,) if isinstance(target, str) else target
    settings = dataclasses.replace(
        settings,
        drop=listed(settings.drop, frame.columns),
        categorical=listed(settings.categorical, frame.columns),
        use=listed(settings.use, frame.columns),
    )
    there = set(frame.columns)
    settings, of_table = _with_declared(settings, [name for name in declared if name in there], targets)
    reading = reading_of(
        frame, Reading(settings.decimal or table.decimal, settings.thousands, settings.dayfirst)
    )
    task = settings.task
    told: list[Decision | None] = []
    if task == "auto":
        task = encoder.task if encoder else infer_tasks(frame, targets, reading)
        told = [explain_task(frame[name], reading=reading) for name in targets] if encoder is None else []
    asked = encoder is not None or "batch_size" in settings.chosen
    if encoder is None:  # the settings of a run that goes on have been resolved
        settings = with_preset(settings, task, frame.height, frame.width - len(targets))
    divided = _divided(settings, frame, targets, task, reading, encoder, weight)
    encoder = divided.encoder
    settings = dataclasses.replace(settings, loss=_loss_name(settings, task, len(targets)))
    loss = chosen_loss(settings, own_loss)
    parts = {
        # categories that training does not know are told of in the decisions
        name: encode_part(encoder, loss, frame, rows, unseen="error" if name == "train" else "ignore")
        for name, rows in zip(PARTS, divided.rows, strict=True)
    }
    if weight is not None:
        parts = {name: dataclasses.replace(part, weight=weight[part.rows]) for name, part in parts.items()}
    if settings.folds is not None:
        parts |= folded(settings, task, parts["train"], frame, reading)
    for name in PARTS[1:]:
        if len(parts[name]) == 0 and getattr(settings, name) > 0:
            raise DataError(
                f"each of the {name} rows has a bad cell: none is left; correct them, or ask for a larger "
                f"share with {use(name)}"
            )
    data = source
    if digest is None and source not in (*BUILTIN, STDIN):
        data = str(Path(source).resolve())
    resolved = dataclasses.replace(
        settings,
        data=data,
        target=target,
        task=task,
        batch_size=_batch_size(settings, len(parts["train"]), asked=asked),
    )
    weights = class_weights(settings, encoder, loss)
    if encoder_sha256 is None:
        encoder_sha256 = hashlib.sha256(to_json(encoder.to_json()).encode()).hexdigest()
    of_table += _told_of_groups(settings, frame)
    of_table += told_of_words(words, (*encoder.columns, *encoder.targets))
    decisions = _decisions(table, divided, parts, [*of_weights, *of_table, *told])
    summary = None
    if summarized:
        summary = summarize_fitted(
            frame,
            encoder.columns,
            encoder.targets,
            decisions,
            name=source,
            task=task,
            drop=settings.drop,
            unsuspected=(settings.group, settings.split_by),
        )
    return Prepared(
        resolved, loss, weights, encoder, parts, frame.width, frame.height, digest or fingerprint(source),
        encoder_sha256, decisions, summary,
    )  # fmt: skip


def _with_declared(
    settings: S, declared: Sequence[str], targets: Sequence[str]
) -> tuple[S, list[Decision | None]]:
    """Return settings with the columns that a table itself declares as categories, and what is said of it."""
    if settings.task == "auto" and declared and set(targets) <= set(declared):
        settings = dataclasses.replace(settings, task="classification")
    left_out = {*targets, *settings.drop, *settings.categorical}
    more = tuple(name for name in declared if name not in left_out)
    told: list[Decision | None] = [
        Decision(
            name,
            "is taken as categories",
            f"its type in the table says so; a file does not: use {use('categorical', name)} there",
        )
        for name in more
    ]
    return dataclasses.replace(settings, categorical=(*settings.categorical, *more)), told


def table_summary(settings: Settings) -> Summary:
    """Return the summary of the table of ``settings``; without a target that of its columns alone.

    Raises:
        DataError: the table cannot be read, or has no column of one of the names.
    """
    data = settings.data
    assert data is not None
    table = open_named(data, decimal=settings.decimal, thousands=settings.thousands)
    frame, target = table.frame, settings.target or table.target
    names = [target] if isinstance(target, str) else target or ()
    return summarize(
        table,
        listed(names, frame.columns),
        task=settings.task,
        missing=settings.missing,
        categorical=listed(settings.categorical, frame.columns),
        drop=listed(settings.drop, frame.columns),
        use=listed(settings.use, frame.columns),
        decimal=settings.decimal,
        thousands=settings.thousands,
        dayfirst=settings.dayfirst,
        scaling=settings.scaling,
        one_hot=settings.one_hot,
        one_hot_up_to=settings.one_hot_up_to,
        split_by=settings.split_by,
        group=settings.group,
    )


def _decisions(
    table: Table, divided: Parts, parts: Mapping[str, Part], told: Sequence[Decision | None]
) -> tuple[Decision, ...]:
    """Return what was decided about the table, each once; of the training rows the encoder tells."""
    others = [decision for name in PARTS[1:] for decision in parts[name].decisions]
    found = (*table.decisions, *told, *divided.decisions, *divided.encoder.decisions, *others)
    return tuple({str(decision): decision for decision in found if decision is not None}.values())


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
    settings: Settings,
    frame: polars.DataFrame,
    targets: Sequence[str],
    task: str,
    reading: Reading,
    encoder: Encoder | None,
    weight: np.ndarray | None,
) -> Parts:
    """Return the rows of the parts and the encoder: the given one, of a run, or one that is fitted."""
    categorical, use = settings.categorical, settings.use
    drop = (*settings.drop, *(told.column for told in _told_of_groups(settings, frame) if told.column))
    if encoder is not None:  # of its own columns, whatever this version would choose
        use = tuple(column.name for column in encoder.columns)
        drop = tuple(name for name in frame.columns if name not in (*use, *targets))
        categorical = tuple(c.name for c in encoder.columns if isinstance(c, Categorical))

    def fit(rows: np.ndarray) -> Encoder:
        return Encoder.fit(
            frame,
            targets,
            rows=rows,
            sample_weight=weight,
            task=task,
            missing=settings.missing,
            categorical=categorical,
            drop=drop,
            use=use,
            decimal=reading.decimal,
            thousands=reading.thousands,
            dayfirst=reading.dayfirst,
            scaling=settings.scaling,
            one_hot=settings.one_hot,
            one_hot_up_to=settings.one_hot_up_to,
            clamp=settings.clamp,
        )

    # fitted anew for a known encoder as well, so that the same rows are exchanged as in the training
    made = divide(
        frame,
        targets,
        task,
        fit,
        validation=settings.validation if settings.folds is None else 0.0,
        test=settings.test,
        seed=settings.seed,
        split_by=settings.split_by,
        group=settings.group,
        reading=reading,
    )
    return made if encoder is None else dataclasses.replace(made, encoder=encoder)


def _told_of_groups(settings: Settings, frame: polars.DataFrame) -> list[Decision]:
    named = (*settings.categorical, *settings.use, *settings.drop)
    return told_of_groups(frame, settings.group, named)


def _batch_size(settings: Settings, rows: int, *, asked: bool) -> int | str:
    """Return the rows of a batch; all of them where a preset has more than there are."""
    size = settings.batch_size
    if isinstance(size, int) and size > rows and not asked:
        return "full"
    if settings.optimizer in METHODS:
        if isinstance(size, int):
            raise ConfigError(
                f"{use('batch_size')}: expected full for {settings.optimizer}, an optimizer of second order, "
                f"found {size}; leave it out, or choose {use('optimizer', 'adam')}"
            )
        return "full"
    if size is None:
        return default_batch_size(rows)
    if isinstance(size, int) and size > rows:
        raise ConfigError(
            f"{use('batch_size')}: expected at most the {rows} training rows, found {size}; lower it, or say "
            "full"
        )
    return size


def fingerprint(name_or_path: str) -> str:
    """Return the fingerprint of a table: the SHA-256 of its file, or of a built-in's columns."""
    digest = hashlib.sha256()
    if name_or_path in BUILTIN:
        frame: Any = BUILTIN[name_or_path]().frame
        for series in frame.get_columns():
            digest.update(series.name.encode())
            digest.update(np.ascontiguousarray(series.to_numpy()).tobytes())
        return digest.hexdigest()
    if name_or_path == STDIN:
        return hashlib.sha256(standard_input()).hexdigest()
    with open_regular(name_or_path, follow=True) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
