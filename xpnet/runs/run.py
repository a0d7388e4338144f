"""Runs in Python: trained, opened, and used like the commands do."""

from __future__ import annotations

import functools
import html
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet.data import Summary
from xpnet.errors import CheckpointError, ConfigError, call
from xpnet.extras import require
from xpnet.runs.folder import RunFolder
from xpnet.runs.plan import plan_training
from xpnet.runs.prediction import evaluate_run, load_model, load_run
from xpnet.runs.pruning import prune_run, resume_pruning
from xpnet.runs.pruning_settings import PruningSettings, pruning_fields
from xpnet.runs.resume import resume_run
from xpnet.runs.settings import Settings, setting_fields
from xpnet.runs.training import train_run
from xpnet.runs.words import number
from xpnet.tabular.frames import (
    MEMORY,
    declared_categories,
    is_file,
    table_like,
    target_names,
    tell,
    to_frame,
)
from xpnet.tabular.losses import named_loss
from xpnet.tabular.model import TableModel
from xpnet.tabular.prediction import predictions
from xpnet.tabular.settings import checked_settings, settings_from
from xpnet.text import visible
from xpnet.train import History
from xpnet.train.checkpoint_file import read_description
from xpnet.train.deadline import Stopwatch

if TYPE_CHECKING:
    import polars

__all__ = ["Run", "asked", "open_run", "train"]

Loss = str | Callable[..., Any] | None


def asked(
    table: Any, target: Any, out: str | os.PathLike[str] | None, settings: Mapping[str, Any]
) -> tuple[Settings, Callable[..., Any] | None, polars.DataFrame | None, Sequence[str]]:
    """Return the settings that arguments of Python ask for, and what `plan_training` takes beside them."""
    given, own_loss = named_loss(settings)
    given["data"] = os.fspath(table) if is_file(table) else MEMORY
    if target is not None:
        given["target"] = target_names(table, target)
    if out is not None:
        given["out"] = os.fspath(out)
    require("polars")
    frame = None if is_file(table) else to_frame(table)
    return settings_from(Settings, given), own_loss, frame, declared_categories(table)


def train(
    table: Any,
    target: Any = None,
    out: str | os.PathLike[str] | None = None,
    *,
    progress: bool | None = None,
    **settings: Any,
) -> Run:
    """Train a network on a table, and keep everything about it in a run folder.

    Args:
        table: a DataFrame of polars or pandas, a dict of columns, a file, or the name of a built-in table.
        target: name of the column to be predicted, or names of several; None: the one column called target,
            label, class or y.
        out: the run folder to make; None: ``runs/<name>-<date>-<time>``.
        progress: whether it is shown. None: a bar on a terminal and nothing elsewhere; True: lines elsewhere.
        settings: those of `xpnet.runs.settings.Settings`, which are those of the command line too, such as
            ``hidden=(64, 64)``, ``epochs=100``, ``missing="mean"``, ``restarts=5``, ``backend="cuda"``;
            ``loss`` may also be a function.

    Raises:
        ConfigError: settings that cannot be meant, or a run folder that is there already.
        DataError: the table cannot be used.
        BackendError: the device cannot work.
        DivergedError: the loss is not finite; the last good state is saved.
        CheckpointError: the disk is full, or the like.
        KeyboardInterrupt: Ctrl-C; the state is saved, and the message says how to go on.
    """
    stopwatch = Stopwatch()
    made = plan_training(*asked(table, target, out, settings), stopwatch)
    tell(made.prepared.decisions)
    results = train_run(made, progress=progress)
    return Run(results["run"], None if is_file(table) else to_frame(table))


def open_run(folder: str | os.PathLike[str], table: Any = None) -> Run:
    """Return the run in a folder, that a training has made.

    Args:
        folder: the run folder.
        table: the table of the training, where that was in memory; needed by what reads it again.

    Raises:
        CheckpointError: there is none.
    """
    return Run(folder, None if table is None else to_frame(table))


class Run:
    """A trained network in its run folder.

    Attributes:
        path: the run folder.
        folder: the files in it.
    """

    def __init__(self, path: str | os.PathLike[str], frame: polars.DataFrame | None = None):
        self.folder = RunFolder.open(os.fspath(path))
        self.path = self.folder.path
        self._frame = frame  # the table, where it was no file and is known

    @property
    def settings(self) -> Settings:
        """The settings, with all that was chosen."""
        return self.folder.read_settings()

    @property
    def results(self) -> dict[str, Any]:
        """What ``results.json`` holds: metrics of each part of the rows, and how the training went.

        Raises:
            CheckpointError: the training is not finished.
        """
        if not self.folder.results.is_file():
            raise CheckpointError(
                f"the run '{self.path}' is not finished; go on with: {call('resume', self.path)}"
            )
        return self.folder.read_results()

    @property
    def summary(self) -> Summary:
        """What the columns of the table are, how they were taken, and what was decided; ``str()`` is a page.

        Raises:
            CheckpointError: the run was made before there were summaries, or its file is damaged.
        """
        found = self.folder.read_summary()
        if found is None:
            raise CheckpointError(
                f"the run '{self.path}' has no summary of its columns, as {self.folder.columns.name} is not "
                "there; xpnet.data.summarize makes one of the table"
            )
        return found

    @property
    def history(self) -> History:
        """The rows of all epochs."""
        return History(read_description(self.folder.find_checkpoint("last"))["history"])

    @property
    def report(self) -> Path:
        """The report, one page that is complete in itself.

        Raises:
            CheckpointError: there is none, as the training is not finished.
        """
        if not self.folder.report.is_file():
            raise CheckpointError(f"the run '{self.path}' has no report: its training is not finished")
        return self.folder.report

    @functools.cached_property
    def model(self) -> TableModel:
        """The model with the best weights there are, on the device that is chosen by itself.

        Of a run whose loss is the user's own: ``TableModel.load(run.path, loss=...)``.
        """
        return load_model(str(self.path))

    def predict(
        self,
        table: Any,
        *,
        checkpoint: str | None = None,
        backend: str | None = None,
        loss: Loss = None,
        missing: str | None = None,
        unseen: str = "error",
        keep: Sequence[str] = (),
    ) -> Any:
        """Return predictions for the rows of a table, one for each, in a table of the kind that was given.

        The column ``prediction`` is followed, for classes, by ``probability_<class>`` for each of them; see
        `xpnet.tabular.prediction.predictions`. Values are on the scale of the target.

        Args:
            table: has the columns of the training, the target excepted.
            checkpoint: "final", "best", "last" or an epoch such as "epoch-50"; None takes the first there is.
            backend: where to compute; None chooses.
            loss: the run's loss or its place, where it is code of the user's own.
            missing: what becomes of missing cells; None: as in training.
            unseen: "error", or "ignore", which takes unknown categories for none.
            keep: columns of the table that stand before the predictions.

        Raises:
            DataError: the table cannot be read, lacks columns, or has cells that cannot be used.
        """
        record, trainer = load_run(str(self.path), checkpoint, backend, loss)
        made = predictions(trainer, record.encoder, table, missing=missing, unseen=unseen, keep=keep)
        return table_like(table, made)

    def evaluate(
        self,
        table: Any = None,
        *,
        checkpoint: str | None = None,
        backend: str | None = None,
        loss: Loss = None,
        missing: str | None = None,
        unseen: str = "error",
    ) -> dict[str, float]:
        """Return loss and metrics on a table with the target column; None: on the run's test rows."""
        found = evaluate_run(
            str(self.path),
            table,
            checkpoint=checkpoint,
            backend=backend,
            loss=loss,
            missing=missing,
            unseen=unseen,
            frame=self._frame,
        )
        (metrics,) = found["metrics"].values()
        return dict(metrics)

    def resume(
        self,
        table: Any = None,
        *,
        start: str | None = None,
        loss: Loss = None,
        progress: bool | None = None,
        **settings: Any,
    ) -> Run:
        """Go on with the training, and return the run.

        Bit-identically to a training that was not interrupted, if nothing is changed. A pruning that was
        interrupted goes on, too.

        Args:
            table: the table of the training, where that was in memory; it has to be the same.
            start: the checkpoint to go on from, such as "epoch-50"; None takes the last.
            loss: the run's loss or its place, where it is code of the user's own.
            progress: whether it is shown, as for `train`.
            settings: those that shall have other values from here on, such as ``epochs=200``.

        Raises:
            DataError: the table has changed.
            ConfigError: a setting that a run cannot change, or changes that leave nothing to train.
        """
        frame = self._frame if table is None else to_frame(table)
        if self.folder.rounds() and not self.folder.results.exists():
            fields = {name: field for name, field in pruning_fields().items() if name == "learning_rate"}
            resume_pruning(str(self.path), loss=loss, frame=frame, **checked_settings(fields, settings))
            return Run(self.path, frame)
        changed = checked_settings(setting_fields(), settings)
        resume_run(str(self.path), changed, start=start, loss=loss, frame=frame, progress=progress)
        return Run(self.path, frame)

    def prune(
        self,
        sparsity: float | None = None,
        out: str | os.PathLike[str] | None = None,
        *,
        table: Any = None,
        checkpoint: str | None = None,
        backend: str | None = None,
        loss: Loss = None,
        **settings: Any,
    ) -> Run:
        """Prune the network and retrain it, in a run folder of its own, and return that run.

        Args:
            sparsity: share of the weights, or of the hidden units, to remove.
            out: the run folder to make; None: the run's name with ``-pruned`` behind it.
            table: the table of the training, where that was in memory.
            checkpoint, backend, loss: as for `predict`.
            settings: those of `xpnet.runs.pruning_settings.PruningSettings`, such as ``scope="unit"``.
        """
        given = {**settings, **({} if sparsity is None else {"sparsity": sparsity})}
        if "sparsity" not in given:
            raise ConfigError("sparsity: expected the share to remove, such as 0.9, found none; give it")
        frame = self._frame if table is None else to_frame(table)
        made, _ = prune_run(
            str(self.path),
            settings_from(PruningSettings, given),
            out=None if out is None else os.fspath(out),
            checkpoint=checkpoint,
            backend=backend,
            loss=loss,
            frame=frame,
        )
        return Run(made["run"], frame)

    def __repr__(self) -> str:
        return visible(f"Run({str(self.path)!r}: {self._state()})")

    def _state(self) -> str:
        if not self.folder.results.is_file():
            return "not finished"
        results = self.results
        part = next((name for name in ("test", "validation", "train") if name in results["metrics"]), None)
        found = [f"{name} {number(name, value)}" for name, value in _main(results["metrics"].get(part, {}))]
        told = f"; on {part} rows {', '.join(found)}" if found else ""
        return f"{results['layers']} on {results['data']}, {results['stopped']}{told}"

    def _repr_html_(self) -> str:
        """Return a table of the metrics, as notebooks show it."""
        head = f"<p><strong>{html.escape(repr(self))}</strong></p>"
        if not self.folder.results.is_file():
            return head
        metrics = self.results["metrics"]
        names = list(dict.fromkeys(name for values in metrics.values() for name in values))
        heads = "".join(f"<th>{html.escape(name)}</th>" for name in ("rows of", *names))
        rows = "".join(
            f"<tr><th>{html.escape(part)}</th>"
            + "".join(f"<td>{html.escape(number(name, values.get(name)))}</td>" for name in names)
            + "</tr>"
            for part, values in metrics.items()
        )
        return f"{head}<table><tr>{heads}</tr>{rows}</table>"


def _main(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the metrics that a line has room for."""
    return [(name, metrics[name]) for name in ("accuracy", "r2", "rmse", "loss") if name in metrics][:2]
