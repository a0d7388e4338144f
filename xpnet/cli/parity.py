"""Command ``xpnet parity --run``: the training of a run folder compared on several devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet import backends
from xpnet.runs.folder import RunFolder
from xpnet.runs.manifest import read_run
from xpnet.runs.trainer import load_trainer
from xpnet.tabular.trainer import with_rate
from xpnet.train import ParityReport, parity

__all__ = ["parity_of_run"]


def parity_of_run(
    devices: Sequence[str], path: str, *, checkpoint: str | None, loss: str | None, **options: Any
) -> ParityReport:
    """Return the comparison of devices on a run: its predictions, and its next steps from a checkpoint.

    Args:
        devices: as for :func:`xpnet.train.parity`.
        path: the run folder, which stays as it is.
        checkpoint: which weights to begin with; None: the last.
        loss: the place of the run's loss, where it is code of the user's own.
        options: other arguments of :func:`xpnet.train.parity`.

    Raises:
        CheckpointError: no run folder, or no such checkpoint.
        DataError: the run's table is gone or has changed.
    """
    folder = RunFolder.open(path)
    folder.check_whole()
    run = read_run(folder, folder.find_checkpoint(checkpoint or "last"))
    prepared = run.prepare(with_rate(run.settings), loss)
    trainer = load_trainer(folder, prepared, backends.backend("numpy"), checkpoint)
    size = prepared.settings.batch_size
    train = prepared.parts["train"]
    return parity(
        devices,
        trainer=trainer,
        X=train.X,
        y=train.y,
        batch_size=size if isinstance(size, int) else None,
        class_weight=prepared.class_weight,
        **options,
    )
