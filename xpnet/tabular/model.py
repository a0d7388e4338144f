"""Model of a table: encoder and trainer as one thing."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xpnet import checks
from xpnet.data import Encoder
from xpnet.errors import CheckpointError, ConfigError, DataError, because, suggest
from xpnet.files import read_regular, write_atomically
from xpnet.schema import parse
from xpnet.tabular.dataset import prepare
from xpnet.tabular.frames import (
    MEMORY,
    column_like,
    declared_categories,
    is_file,
    table_like,
    target_names,
    tell,
    to_frame,
)
from xpnet.tabular.importance import Importance, permutation_importance
from xpnet.tabular.losses import loss_of_run, named_loss, try_loss
from xpnet.tabular.manifest import check_manifest, check_same
from xpnet.tabular.parts import encode_part
from xpnet.tabular.prediction import predictions
from xpnet.tabular.presets import PRESETS
from xpnet.tabular.refit import refitted
from xpnet.tabular.scoring import measure
from xpnet.tabular.settings import Settings, fields_of, settings_from
from xpnet.tabular.trainer import build_trainer, fit_trainer, metric_of, open_backend, with_rate
from xpnet.text import count, to_json, visible
from xpnet.train import Trainer
from xpnet.train.checkpoint_callback import best_trainer
from xpnet.train.checkpoint_file import read_description
from xpnet.train.deadline import Deadline, Stopwatch

__all__ = ["PRESETS", "TableModel"]

_ENCODER, _WEIGHTS = "encoder.json", "model.safetensors"


class TableModel:
    """A network that predicts a column of a table from the others: encoder and trainer as one thing.

    Tables are DataFrames of polars or pandas, dicts of columns, files or names of built-in tables; columns go
    by name, in any order, with others among them.

    Args:
        preset: settings where none are given: "fast", a small network, until the validation loss has stopped
            falling; "best", an ensemble of RealMLP, which takes longer; "auto", "best" as far as there is
            time, with a time limit, else "fast".
        time_limit: seconds within which `fit` ends, with the best weights so far; None: no limit.
        settings: those of `xpnet.tabular.settings.Settings`, such as ``hidden=(64, 64)``, ``epochs=100``,
            ``learning_rate=0.01``, ``missing="mean"``, ``seed=1``, ``backend="cuda"``; ``loss`` may also be a
            function.

    Attributes:
        settings: after `fit`, with all that was chosen; before, as given.
        encoder: how tables become arrays, fitted on the training rows; its ``decisions`` are those about the
            table, which are also logged ("xpnet.tabular").
        trainer: the network, and its history. Its weights are those of the lowest validation loss, trained on
            with the validation rows unless a length of the training was given (``refit``).

    Raises:
        ConfigError: an unknown preset or setting, or a value that cannot be meant.

    Example:
        >>> model = TableModel(epochs=3, backend="numpy").fit("two-gaussians")
        >>> model.predict({"x0": [0.0], "x1": [0.0]}).shape
        (1,)
    """

    settings: Settings
    encoder: Encoder
    trainer: Trainer

    def __init__(self, preset: str = "auto", time_limit: float | None = None, **settings: Any):
        if preset not in PRESETS:
            raise ConfigError(
                f"preset: expected one of the known names, found {preset!r}{suggest(preset, PRESETS)}"
            )
        self.preset = preset
        self.time_limit = checks.unless_none(checks.positive, "time_limit", time_limit)
        given, self._own_loss = named_loss({"preset": preset, **settings})
        if time_limit is not None:
            given["time_limit"] = time_limit
        self._given = settings_from(Settings, given)
        self.settings = self._given
        self._manifest: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls, settings: Settings, encoder: Encoder, trainer: Trainer, manifest: Mapping[str, Any] | None
    ) -> TableModel:
        """Return the model of parts that were trained together."""
        model = cls()
        model.settings = model._given = settings
        model.encoder, model.trainer, model._manifest = encoder, trainer, manifest
        return model

    def fit(
        self, table: Any, target: Any = None, *, sample_weight: Any = None, progress: bool | None = None
    ) -> TableModel:
        """Train anew on a table, and return the model.

        Args:
            table: the table; rows for validation and test are split off as the settings say, and are not
                trained on.
            target: name of the column to be predicted, or names of several; None: that of the settings, or
                the one column called target, label, class or y.
            sample_weight: weights of the rows (rows,) that are not negative: in the loss, of validation rows
                too, and in the means and deviations by which columns are standardized. A row of weight 0 is
                left out before all else.
            progress: whether it is shown, as for `xpnet.Trainer`.

        Raises:
            DataError: the table cannot be used.
            ConfigError: settings that contradict each other or the table.
            BackendError: the device cannot work.
            DivergedError: the loss is not finite.
        """
        stopwatch = Stopwatch()
        given = {"data": os.fspath(table) if is_file(table) else MEMORY}
        if target is not None:
            given["target"] = target_names(table, target)
        named = settings_from(Settings, given)
        settings = dataclasses.replace(
            self._given, data=named.data, target=named.target if target is not None else self._given.target
        )
        frame = None if is_file(table) else to_frame(table)
        backend = open_backend(settings)
        declared = declared_categories(table)
        prepared = prepare(
            with_rate(settings),
            own_loss=self._own_loss,
            frame=frame,
            declared=declared,
            sample_weight=sample_weight,
        )
        tell(prepared.decisions)
        prepared = dataclasses.replace(
            prepared, settings=dataclasses.replace(prepared.settings, backend=backend.spec)
        )
        trainer = build_trainer(prepared, backend)
        resolved = prepared.settings
        if self._own_loss is not None:
            train = prepared.parts["train"]
            try_loss(resolved.loss, trainer, train.X, train.y)
        trainer.setup = trainer.setup.changed(progress=progress)
        deadline = Deadline(trainer.settings.time_limit, stopwatch)
        fit_trainer(trainer, prepared, deadline)
        self.settings = resolved
        self.encoder = dataclasses.replace(prepared.encoder, decisions=prepared.decisions)
        self.trainer = refitted(trainer, prepared, deadline) or best_trainer(trainer)
        self._manifest = prepared.manifest
        return self

    def _check(self) -> None:
        if not hasattr(self, "trainer"):
            raise ConfigError("the model has not been trained: call fit, or load one")

    def predict(self, table: Any, *, missing: str | None = None, unseen: str = "error") -> Any:
        """Return predictions in the target's own units and labels, one for each row.

        Args:
            table: has the columns of the training, the target excepted.
            missing, unseen: what becomes of cells that are missing or of no known category, as for
                `xpnet.data.Encoder.encode`.

        Returns:
            Of one target: a Series named after it (of pandas with the table's index; of a dict an array). Of
            several: a table with a column for each, of the kind that was given; of a file, polars'.
        """
        self._check()
        made = predictions(self.trainer, self.encoder, table, missing=missing, unseen=unseen)
        names = self.encoder.target_names
        if len(names) == 1:
            return column_like(table, made["prediction"].alias(names[0]))
        return table_like(table, made.select([made[f"prediction_{name}"].alias(name) for name in names]))

    def predict_proba(self, table: Any, *, missing: str | None = None, unseen: str = "error") -> Any:
        """Return the probabilities of the classes, one row for each row, in a table of the kind given.

        Its columns are named after the classes; of several targets ``target=class``, for the second class.

        Raises:
            ConfigError: the target has numbers, or the loss gives no probabilities.
        """
        self._check()
        made = predictions(self.trainer, self.encoder, table, missing=missing, unseen=unseen)
        head = "probability_"
        found = [made[name].alias(name.removeprefix(head)) for name in made.columns if name.startswith(head)]
        if not found or self.encoder.task == "regression":
            what = "numbers" if self.encoder.task == "regression" else f"the loss {self.settings.loss}"
            raise ConfigError(f"predict_proba: expected classes and a loss of probabilities, found {what}")
        return table_like(table, made.select(found))

    def evaluate(self, table: Any, *, missing: str | None = None, unseen: str = "error") -> dict[str, Any]:
        """Return the loss and the metrics on a table with the target column, on the scale of the target.

        The loss of a regression is that of the standardized target. Of several targets there are those of
        each, by its name, under "targets".
        """
        self._check()
        frame = to_frame(table, self.encoder)
        part = encode_part(self.encoder, self.trainer.loss, frame, missing=missing, unseen=unseen)
        if len(part) == 0:
            raise DataError("each row of the table has a bad cell: nothing to evaluate on")
        found = measure(self.trainer, self.encoder, part)
        return {**found.metrics, **({"targets": found.targets} if found.targets else {})}

    def importance(self, table: Any, *, repeats: int = 5, seed: int = 0) -> Importance:
        """Return the permutation importance of the columns, measured on a table with the target column.

        Args:
            table: rows that the model was not trained on tell most.
            repeats: permutations of each column.
            seed: of the permutations.
        """
        self._check()
        frame = to_frame(table, self.encoder)
        part = encode_part(self.encoder, self.trainer.loss, frame)
        metric = metric_of(self.encoder.task)

        def score(X: Any) -> float:
            return measure(self.trainer, self.encoder, dataclasses.replace(part, X=X)).metrics[metric]

        repeats = checks.count("repeats", repeats)
        return permutation_importance(self.encoder, part.X, score, metric=metric, repeats=repeats, seed=seed)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model into a folder: ``encoder.json`` and ``model.safetensors``, bound to each other.

        Raises:
            CheckpointError: a file cannot be written.
        """
        self._check()
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
            text = to_json(self.encoder.to_json())
            write_atomically(path / _ENCODER, text)
        except OSError as error:
            raise CheckpointError(f"'{path}' cannot be written: {because(error)}") from error
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.trainer.state.run = {**(self._manifest or {}), "encoder": digest}
        self.trainer.save(path / _WEIGHTS)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        backend: str = "auto",
        *,
        checkpoint: str | None = None,
        loss: str | Callable[..., Any] | None = None,
    ) -> TableModel:
        """Return the model that `save` wrote, or that of a run folder.

        Args:
            folder: what was given to `save`, or a run folder.
            backend: where to compute.
            checkpoint: of a run folder: the name of the file in its ``checkpoints``; None: the best there is.
            loss: the model's loss or its place, where it is code of the user's own.

        Raises:
            CheckpointError: there is none, it is damaged, or its files do not belong to each other.
            ConfigError: the loss is the user's own and was not given.
            BackendError: the device cannot work.
        """
        path = Path(folder)
        file = path / _WEIGHTS
        if not file.is_file() and (path / "checkpoints").is_dir():
            names = (checkpoint,) if checkpoint else ("final", "best")
            files = [path / "checkpoints" / f"{name}.safetensors" for name in names]
            file = next((file for file in files if file.is_file()), files[-1])
        manifest = read_description(file).get("run")
        if not manifest:
            raise CheckpointError(
                f"'{file}' does not say which encoder it belongs to; open it with xpnet.Trainer.load, on "
                "arrays"
            )
        try:
            content = read_regular(path / _ENCODER)
        except OSError as error:
            raise CheckpointError(f"'{path / _ENCODER}' cannot be read: {because(error)}") from error
        check_same(path / _ENCODER, file, "SHA-256", manifest["encoder"], hashlib.sha256(content).hexdigest())
        fields = fields_of(Settings)
        stored = {name: value for name, value in manifest["settings"].items() if name in fields}
        check_manifest(file, {**manifest, "settings": stored}, fields)
        try:
            encoder = Encoder.from_json(parse(content))
        except (CheckpointError, ValueError) as error:
            raise CheckpointError(f"'{path / _ENCODER}' is damaged or too new: {error}") from error
        settings = settings_from(Settings, stored)
        own = loss_of_run(settings, loss)
        trainer = Trainer.load(file, backend, loss=own, encoded=True, progress=False)
        return cls.of(settings, encoder, trainer, manifest)

    def __repr__(self) -> str:
        if not hasattr(self, "trainer"):
            return f"TableModel(preset={self.preset!r}, not trained)"
        encoder = self.encoder
        classes = encoder.target_classes[0]
        what = count(len(classes), "class", "classes") if classes else "numbers"
        return visible(
            f"TableModel({', '.join(encoder.target_names)}: {what} from "
            f"{count(len(encoder.columns), 'column')}, {self.settings.loss}, weights of epoch "
            f"{self.trainer.epoch})"
        )

    def _repr_html_(self) -> str:
        """Return a description, as notebooks show it."""
        if not hasattr(self, "trainer"):
            return f"<p>{html.escape(repr(self))}</p>"
        columns = ", ".join(column.name for column in self.encoder.columns)
        return (
            f"<p><strong>{html.escape(repr(self))}</strong></p>"
            f"<p>columns: {html.escape(visible(columns))}</p>"
            f"{self.trainer.history._repr_html_()}"
        )
