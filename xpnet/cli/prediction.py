"""Commands ``xpnet predict`` and ``xpnet evaluate``: predictions and metrics of a trained run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.cli.console import count, message
from xpnet.cli.dataset import Part, encode_part, read_rows
from xpnet.cli.evaluation import (
    constant_in_words,
    constant_of_words,
    measure,
    predict_classes,
    predict_probabilities,
    predict_values,
)
from xpnet.cli.losses import loss_of_run
from xpnet.cli.manifest import Run, read_run
from xpnet.cli.runs import RunFolder
from xpnet.data import Encoder
from xpnet.errors import ConfigError, DataError
from xpnet.train import Trainer

if TYPE_CHECKING:
    import polars

__all__ = ["evaluate_run", "predict_table"]


def _load(path: str, checkpoint: str | None, backend: str | None, loss: str | None) -> tuple[Run, Trainer]:
    folder = RunFolder.open(path)
    file = folder.find_checkpoint(checkpoint)
    run = read_run(folder, file)
    own = loss_of_run(run.settings, loss)
    trainer = Trainer.load(file, backend or "auto", loss=own, progress=False)
    if trainer.epoch == 0:
        message(f"the run '{path}' has not been trained for a whole epoch: its weights are still random")
    return run, trainer


def predict_table(
    path: str,
    file: str,
    *,
    checkpoint: str | None = None,
    backend: str | None = None,
    loss: str | None = None,
    missing: str | None = None,
    unseen: str = "error",
) -> polars.DataFrame:
    """Return predictions for the rows of a table, in their order.

    The column ``prediction`` is followed, for classes, by ``probability_<class>`` for each of them, if the
    loss gives probabilities. Of several targets there is a column ``prediction_<target>`` for each, and for
    classes ``probability_<target>=<class>`` of its second class. Rows that the policy ``--missing drop``
    leaves out have empty cells.

    Args:
        path: the run folder.
        file: the table.
        checkpoint: "best" or "last"; None takes the best one there is.
        backend: where to compute; None chooses.
        loss: the place of the run's loss, where it is code of the user's own.
        missing, unseen: what becomes of such cells, as for `Encoder.encode`.

    Raises:
        CheckpointError: no run folder, or a damaged or newer checkpoint.
        DataError: the table cannot be read, or lacks columns.
        BackendError: the device cannot work.
    """
    import polars as pl

    run, trainer = _load(path, checkpoint, backend, loss)
    encoder = run.encoder
    frame = read_rows(file, encoder)
    X, _, kept = encoder.encode(frame, target=False, missing=missing, unseen=unseen)
    if len(kept) == 0:
        raise DataError(f"each of the {frame.height} rows of '{file}' has a bad cell: nothing to predict")
    columns = _columns(trainer, encoder, X)
    # an array of Python's whole numbers, which are classes beyond 64 bits, is no column but its list is
    table = pl.DataFrame(
        [pl.Series(name, v.tolist() if v.dtype == object else v) for name, v in columns.items()]
    )
    if len(kept) < frame.height:
        left_out = frame.height - len(kept)
        message(f"{count(left_out, 'row')} with missing cells: no prediction there (--missing drop)")
        table = (
            pl.DataFrame({"row": np.arange(frame.height)})
            .join(table.with_columns(pl.Series("row", kept)), on="row", how="left", maintain_order="left")
            .drop("row")
        )
    return table


def _columns(trainer: Trainer, encoder: Encoder, X: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of a table of predictions."""
    several = len(encoder.targets) > 1
    if encoder.task == "regression":
        values = predict_values(trainer, encoder, X).reshape(len(X), -1)
        return {
            f"prediction_{name}" if several else "prediction": values[:, index]
            for index, name in enumerate(encoder.target_names)
        }
    decoded = encoder.decode_targets(predict_classes(trainer, X))
    probabilities = predict_probabilities(trainer, X)
    columns: dict[str, np.ndarray] = {}
    if not several:
        columns["prediction"] = decoded[encoder.target_names[0]]
        names = [f"probability_{name}" for name in encoder.classes]
    else:
        columns |= {f"prediction_{name}": classes for name, classes in decoded.items()}
        pairs = zip(encoder.target_names, encoder.target_classes, strict=True)
        names = [f"probability_{name}={classes[1]}" for name, classes in pairs]
    if probabilities is not None:
        columns |= {name: probabilities[:, index] for index, name in enumerate(names)}
    return columns


def evaluate_run(
    path: str,
    file: str | None = None,
    *,
    checkpoint: str | None = None,
    backend: str | None = None,
    loss: str | None = None,
    missing: str | None = None,
    unseen: str = "error",
) -> dict[str, Any]:
    """Return the loss and the metrics of a run on its test rows, or on a table with the target column.

    Args: as for `predict_table`; ``missing`` and ``unseen`` concern the table.

    Raises:
        CheckpointError: no run folder, or a damaged or newer checkpoint.
        DataError: the table cannot be read, lacks columns, has an unknown class, or has changed.
        ConfigError: the run kept no test rows.
        BackendError: the device cannot work.
    """
    run, trainer = _load(path, checkpoint, backend, loss)
    settings, encoder = run.settings, run.encoder
    if file is None:
        if settings.test == 0:
            raise ConfigError(f"the run '{path}' kept no test rows (--test 0); name a FILE to evaluate on")
        part: Part = run.prepare(loss=loss).parts["test"]
        name, source = "test", settings.data
    else:
        part = encode_part(encoder, trainer.loss, read_rows(file, encoder), missing=missing, unseen=unseen)
        name, source = "file", file
        if len(part) == 0:
            raise DataError(f"each row of '{file}' has a bad cell: nothing to evaluate on")
    constant = _constant(run)
    measured = measure(trainer, encoder, part, constant)
    told = None if constant is None else constant_in_words(encoder, constant)
    return {
        "run": str(run.folder.path),
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


def _constant(run: Run) -> np.ndarray | None:
    """Return the best constant prediction for a run's training rows; None if its results tell of none."""
    if not run.folder.results.is_file():
        return None
    told = run.folder.read_results().get("baseline")
    try:
        return constant_of_words(run.encoder, told["prediction"]) if told else None
    except (KeyError, TypeError, ValueError):  # written by hand
        return None
