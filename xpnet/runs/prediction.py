"""A trained run opened, and its metrics."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.errors import ConfigError, DataError, use
from xpnet.runs.folder import RunFolder
from xpnet.runs.manifest import RunRecord, read_run
from xpnet.tabular.frames import called, is_file, tell, to_frame
from xpnet.tabular.losses import loss_of_run
from xpnet.tabular.model import TableModel
from xpnet.tabular.parts import Part, encode_part
from xpnet.tabular.scoring import constant_in_words, constant_of_words, measure
from xpnet.train import Trainer

if TYPE_CHECKING:
    import polars

__all__ = ["evaluate_run", "load_model", "load_run"]

_log = logging.getLogger("xpnet.runs")

Loss = str | Callable[..., Any] | None


def load_run(
    path: str, checkpoint: str | None = None, backend: str | None = None, loss: Loss = None
) -> tuple[RunRecord, Trainer]:
    """Return the record of a run and the trainer of one of its checkpoints.

    Args:
        path: the run folder.
        checkpoint: "final", "best", "last" or an epoch such as "epoch-50"; None takes the first there is.
        backend: where to compute; None chooses.
        loss: the run's loss or its place, where it is code of the user's own.

    Raises:
        CheckpointError: no run folder, or a damaged or newer checkpoint.
        BackendError: the device cannot work.
    """
    folder = RunFolder.open(path)
    file = folder.find_checkpoint(checkpoint)
    record = read_run(folder, file)
    own = loss_of_run(record.settings, loss)
    trainer = Trainer.load(file, backend or "auto", loss=own, encoded=True, progress=False)
    if trainer.epoch == 0:
        _log.warning(
            "the run '%s' has not been trained for a whole epoch: its weights are still random", path
        )
    return record, trainer


def load_model(
    path: str, checkpoint: str | None = None, backend: str | None = None, loss: Loss = None
) -> TableModel:
    """Return the model of a run with the weights of a checkpoint; the arguments are those of `load_run`."""
    record, trainer = load_run(path, checkpoint, backend, loss)
    return TableModel.of(record.settings, record.encoder, trainer, record.manifest)


def evaluate_run(
    path: str,
    table: Any = None,
    *,
    checkpoint: str | None = None,
    backend: str | None = None,
    loss: Loss = None,
    missing: str | None = None,
    unseen: str = "error",
    frame: polars.DataFrame | None = None,
) -> dict[str, Any]:
    """Return the loss and the metrics of a run on its test rows, or on a table with the target column.

    Args:
        path, checkpoint, backend, loss: as for `load_run`.
        table: a file, or another table; None for the test rows.
        missing, unseen: what becomes of such cells of the table, as for `Encoder.encode`.
        frame: the table of the training, where that was no file.

    Raises:
        CheckpointError: no run folder, or a damaged or newer checkpoint.
        DataError: the table cannot be read, lacks columns, has an unknown class, or has changed.
        ConfigError: the run kept no test rows.
        BackendError: the device cannot work.
    """
    record, trainer = load_run(path, checkpoint, backend, loss)
    settings, encoder = record.settings, record.encoder
    if table is None:
        if settings.test == 0:
            none = use("test", 0)
            raise ConfigError(f"the run '{path}' kept no test rows ({none}); name a table to evaluate on")
        part: Part = record.prepare(loss=loss, frame=frame).parts["test"]
        name, source = "test", settings.data
    else:
        rows = to_frame(table, encoder)
        part = encode_part(encoder, trainer.loss, rows, missing=missing, unseen=unseen)
        tell(part.decisions)
        name, source = "file", os.fspath(table) if is_file(table) else "the table"
        if len(part) == 0:
            raise DataError(f"each row of {called(table)} has a bad cell: nothing to evaluate on")
    constant = _constant(record)
    measured = measure(trainer, encoder, part, constant)
    told = None if constant is None else constant_in_words(encoder, constant)
    return {
        "run": str(record.folder.path),
        "data": source,
        "target": settings.target,
        "task": encoder.task,
        "checkpoint_epoch": trainer.epoch,
        "device": trainer.backend.spec,
        "rows": {name: len(part)},
        "metrics": {name: measured.metrics},
        "intervals": {name: measured.intervals},
        "baseline": None if told is None else {"prediction": told, "metrics": {name: measured.baseline}},
        **({"target_metrics": {name: measured.targets}} if measured.targets else {}),
        **({"target_intervals": {name: measured.target_intervals}} if measured.targets else {}),
    }


def _constant(record: RunRecord) -> np.ndarray | None:
    """Return the best constant prediction for the training rows; None if the run's results tell of none."""
    if not record.folder.results.is_file():
        return None
    told = record.folder.read_results().get("baseline")
    try:
        return constant_of_words(record.encoder, told["prediction"]) if told else None
    except (KeyError, TypeError, ValueError):  # written by hand
        return None
