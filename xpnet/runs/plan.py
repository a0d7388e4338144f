"""Plan of a training: settings, table, backend, model and run folder, checked before anything is written."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet import backends
from xpnet.data import BUILTIN
from xpnet.errors import ConfigError, Word, use
from xpnet.extras import require
from xpnet.runs.environment import describe_run
from xpnet.runs.folder import RunFolder
from xpnet.runs.settings import Settings
from xpnet.tabular.dataset import Prepared, prepare
from xpnet.tabular.defaults import Length, length_of, refit_epochs_of
from xpnet.tabular.losses import try_loss
from xpnet.tabular.parts import PARTS
from xpnet.tabular.trainer import build_trainer, layer_widths, open_backend, with_rate
from xpnet.train import Trainer
from xpnet.train.changes import Change
from xpnet.train.deadline import Deadline, Stopwatch
from xpnet.train.monitor import NO_STOPPING

if TYPE_CHECKING:
    import polars

__all__ = ["Plan", "check_contradictions", "check_packages", "plan_training"]

_REPORT, _SCORE = 0.25, 2e-6  # seconds for the report and the end of the process, and for the scores of a row
_IF_SET = ("ema_decay", "swa_start", "folds")


@dataclasses.dataclass(frozen=True)
class Plan:
    """A training that is ready to begin or to continue.

    Attributes:
        prepared: the table and the settings.
        backend: where to compute.
        trainer: to be trained.
        run: the run folder.
        changes: of settings, in the course of the training.
        stopwatch: runs since the command began.
    """

    prepared: Prepared[Settings]
    backend: backends.Backend
    trainer: Trainer
    run: RunFolder
    changes: Sequence[Change] = ()
    stopwatch: Stopwatch = dataclasses.field(default_factory=Stopwatch)

    @property
    def settings(self) -> Settings:
        """The settings, with ``auto`` resolved."""
        return self.prepared.settings

    @property
    def title(self) -> str:
        """Name of the table in figures."""
        data = self.settings.data or ""
        return data if data in BUILTIN else Path(data).name

    @property
    def length(self) -> Length:
        """How long the training goes on."""
        return length_of(self.settings, len(self.prepared.parts["train"]))

    def deadline(self) -> Deadline:
        """Return the end of the command's time; what comes after the training has its share of it."""
        rows = sum(map(len, self.prepared.parts.values()))
        limit, reserved = self.length.time_limit, _REPORT + _SCORE * rows
        return Deadline(limit, self.stopwatch, reserved=reserved, rows=rows)

    @functools.cached_property
    def parameters(self) -> int:
        """The number of the model's parameters; cached, since counting them before training draws them."""
        drawn = self.trainer.model.parameters(self.trainer.setup.key, (self.prepared.encoder.n_features,))
        return sum(array.size for array in drawn.values())

    def describe(self) -> dict[str, Any]:
        """Return the plan as plain data, for those who want to know it before, and for the results."""
        prepared, settings = self.prepared, self.settings
        return {
            "data": settings.data,
            "target": settings.target,
            "task": settings.task,
            "rows": {name: len(prepared.parts[name]) for name in PARTS},
            "rows_left_out": prepared.rows_left_out,
            "features": prepared.encoder.n_features,
            "classes": _classes(prepared),
            "layers": layer_widths(prepared),
            "parameters": self.parameters,
            "loss": settings.loss,
            **({"loss_option": settings.loss_option} if settings.loss_option else {}),
            **({} if settings.class_weight == "none" else {"class_weight": settings.class_weight}),
            "optimizer": settings.optimizer,
            "epochs": self.length.epochs,
            "patience": self.length.patience,
            "best_by": self.trainer.setup.monitor.best,
            "min_steps": self.length.min_steps,
            "time_limit": self.length.time_limit,
            "epochs_open": self.length.open,
            "refit_epochs": refit_epochs_of(settings, len(prepared.parts["train"])),
            "batch_size": settings.batch_size,
            **{name: getattr(settings, name) for name in _IF_SET if getattr(settings, name) is not None},
            "device": self.backend.spec,
            "device_reason": self.backend.reason,
            "dtype": settings.dtype,
            "precision": self.trainer.settings.precision,
            "seed": settings.seed,
            "decisions": [decision.to_json() for decision in prepared.decisions],
            "run": str(self.run.path),
        }

    def environment(self) -> dict[str, Any]:
        """Return the contents of ``environment.json``: table, versions, machine, backend."""
        prepared, data = self.prepared, self.settings.data
        table = {
            "name": data,
            "built_in": data in BUILTIN,
            "rows": prepared.table_rows,
            "columns": prepared.columns,
            "sha256": prepared.fingerprint,
        }
        return {"data": table, **describe_run(self.backend)}


def _classes(prepared: Prepared[Settings]) -> list[Any] | dict[str, list[Any]]:
    """Return the classes of the target, or of each of several; none for numbers."""
    encoder = prepared.encoder
    if len(encoder.targets) == 1 or encoder.task == "regression":
        return list(encoder.target_classes[0])
    pairs = zip(encoder.target_names, encoder.target_classes, strict=True)
    return {name: list(classes) for name, classes in pairs}


def plan_training(
    settings: Settings,
    own_loss: Callable[..., Any] | None = None,
    frame: polars.DataFrame | None = None,
    declared: Sequence[str] = (),
    stopwatch: Stopwatch | None = None,
) -> Plan:
    """Check the settings against the data, the device and the disk, and build the model.

    Args:
        settings: what to train on what.
        own_loss: the loss, where it is code of the user's own.
        frame: the table, where it is no file.
        declared: its columns of numbers that are declared as categories.
        stopwatch: runs since the command began; None: from now on.

    Raises:
        ConfigError: settings that cannot be meant, or a run folder that is there already.
        DataError: a table that cannot be used.
        BackendError: a device that cannot work.
    """
    stopwatch = stopwatch or Stopwatch()
    check_packages(settings)
    run = RunFolder.plan(settings.out, settings.data or "run")
    backend = open_backend(settings)
    prepared = prepare(
        with_rate(settings), own_loss=own_loss, frame=frame, declared=declared, summarized=True
    )
    check_contradictions(prepared)
    resolved = dataclasses.replace(prepared.settings, backend=backend.spec)
    prepared = dataclasses.replace(prepared, settings=resolved)
    trainer = build_trainer(prepared, backend)
    if own_loss is not None:
        part = prepared.parts["train"]
        try_loss(resolved.loss, trainer, part.X, part.y)
    return Plan(prepared, backend, trainer, run, stopwatch=stopwatch)


def check_contradictions(prepared: Prepared[Settings]) -> None:
    """Raise a `ConfigError` if two settings contradict each other."""
    settings = prepared.settings
    for name, without in NO_STOPPING.items():
        if getattr(settings, name) not in (without, None) and len(prepared.parts["validation"]) == 0:
            raise ConfigError(
                f"{use(name)}: expected validation rows to stop by, found none; use {use('validation', 0.1)}"
            )
    if settings.keep_last is not None and settings.save_every is None:
        every = use("save_every", Word("N"))
        raise ConfigError(f"{use('keep_last')}: expected {every} with it, which numbers checkpoints; add it")


def check_packages(settings: Settings) -> None:
    """Raise a `MissingExtraError` if a setting needs a package that is not installed."""
    if settings.tensorboard:
        require("tensorboard", extra="tensorboard")
