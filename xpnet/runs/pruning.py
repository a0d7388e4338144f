"""Pruning: a trained network pruned and retrained, in a run folder of its own.

After each round the trainer is saved under the round's number, and then ``pruning.json``, which names that
file: whenever the process is killed, the two belong together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet import backends
from xpnet.errors import CheckpointError, ConfigError, DivergedError, Word, call, reason, use
from xpnet.files import write_atomically
from xpnet.prune import Pruned, Report, prune
from xpnet.prune.plan import epochs_of_round, usual_tolerance
from xpnet.prune.units import hidden_widths
from xpnet.runs.checkpoints import RunLog, best_trainer
from xpnet.runs.environment import describe_run
from xpnet.runs.fit import logged
from xpnet.runs.folder import CHECKPOINTS, RunFolder
from xpnet.runs.formats import PRUNING
from xpnet.runs.manifest import RunRecord, check_pruning, read_run
from xpnet.runs.plan import Plan
from xpnet.runs.pruning_settings import PruningSettings, read_pruning
from xpnet.runs.results import finish
from xpnet.runs.settings import Settings
from xpnet.runs.signals import Interrupted, Interruption
from xpnet.schema import read_json
from xpnet.tabular.dataset import Prepared
from xpnet.tabular.defaults import steps_of_epoch
from xpnet.tabular.trainer import build_optimizer, metric_of, open_backend
from xpnet.text import to_json
from xpnet.train import Callback, CSVLog, JSONLinesLog, Trainer
from xpnet.train.progress import describe

if TYPE_CHECKING:
    import polars

__all__ = ["prune_run", "resume_pruning"]

_log = logging.getLogger("xpnet.runs")


def prune_run(
    path: str,
    settings: PruningSettings,
    *,
    out: str | None = None,
    checkpoint: str | None = None,
    backend: str | None = None,
    loss: str | Callable[..., Any] | None = None,
    frame: polars.DataFrame | None = None,
) -> tuple[dict[str, Any], Report]:
    """Prune the network of a run, and return the results and the report.

    Args:
        path: the run folder, which is only read.
        settings: what to remove and how.
        out: the run folder to make; None takes the run's name with ``-pruned`` behind it.
        checkpoint: "best" or "last"; None takes the best one there is. Those of the end, "final", have seen
            the validation rows by which a pruning goes.
        backend: where to compute; None: where the run did.
        loss: the run's loss or its place, where it is code of the user's own.
        frame: the run's table, where that was no file.

    Raises:
        Interrupted: Ctrl-C; the state after the last whole round is saved.
        ConfigError: settings that contradict each other or the run.
        CheckpointError: no run folder, one that is damaged or has not been trained, or a full disk.
        DataError: the table has changed.
        DivergedError: retraining diverged; the state before that round is saved.
    """
    source = RunFolder.open(path)
    source.check_whole()
    if checkpoint == "final":
        raise ConfigError(
            f"{use('checkpoint')}: expected best or last, found final, whose weights were trained with the "
            "validation rows, by which a pruning goes; leave it out"
        )
    file = source.find_checkpoint(checkpoint, CHECKPOINTS[1:])
    target = RunFolder.plan(out, path)
    if out is None:
        target = RunFolder(source.path.with_name(f"{source.path.resolve().name}-pruned"))
    known = read_run(source, file)
    prepared, home = _prepared(known, backend, loss, frame)
    settings = _resolved(settings, prepared)
    trainer = _load(file, prepared, settings, home)
    if trainer.epoch == 0:
        raise CheckpointError(f"the run '{path}' has not been trained for a whole epoch; train it first")
    work = _Work(source.path, target, prepared, trainer, settings)
    with contextlib.ExitStack() as held:

        def begin() -> None:
            target.make(chosen=out is not None)
            held.enter_context(target.hold())
            work.log.path = target.log
            environment = {
                "data": known.environment["data"],
                **describe_run(home),
                "pruned_from": {"run": str(source.path.resolve()), "epoch": trainer.epoch},
            }
            write_atomically(target.environment, to_json(environment))
            write_atomically(target.encoder, source.read(source.encoder))  # whose digest is bound
            if source.columns.is_file():
                write_atomically(target.columns, source.read(source.columns))

        return work.do(None, begin)


def resume_pruning(
    path: str,
    *,
    learning_rate: float | None = None,
    backend: str | None = None,
    loss: str | Callable[..., Any] | None = None,
    frame: polars.DataFrame | None = None,
) -> tuple[dict[str, Any], Report]:
    """Go on with a pruning that was interrupted, after its last whole round.

    Args:
        path: the run folder that `prune_run` made.
        learning_rate: another one.
        backend, loss, frame, and what is raised: as for `prune_run`.
    """
    run = RunFolder.open(path)
    if not run.pruning.is_file():
        raise CheckpointError(
            f"'{path}' is no pruned run; this makes one of it: {call('prune', path, sparsity=Word('X'))}"
        )
    with run.hold():
        known = read_json(run.pruning, PRUNING)
        settings = read_pruning(run.pruning, known["settings"])
        file, progress, source = run.checkpoints / known["file"], known["progress"], Path(known["source"])
        if run.results.exists() or not file.is_file():
            raise ConfigError(
                f"the pruning '{path}' is finished; nothing is left to do. To train it further: "
                f"{call('resume', path, epochs=Word('N'))}"
            )
        settings = dataclasses.replace(settings, learning_rate=learning_rate or settings.learning_rate)
        found = read_run(run, file, changing=("hidden", "epochs"))  # those of the network that came out of it
        check_pruning(found, file)
        prepared, home = _prepared(found, backend, loss, frame)
        trainer = _load(file, prepared, settings, home)
        work = _Work(source, run, prepared, trainer, settings)
        run.sweep()
        work.log.write(f"pruning continues after round {len(progress['rounds']) - 1} on {home.spec}")
        return work.do(progress, lambda: None)


def _prepared(
    run: RunRecord,
    named: str | None,
    loss: str | Callable[..., Any] | None,
    frame: polars.DataFrame | None,
) -> tuple[Prepared[Settings], backends.Backend]:
    """Return the run's table, and the backend, with it in the settings."""
    settings = run.settings
    if named is not None:  # whose memory is another one
        settings = dataclasses.replace(settings, backend=named, device_memory=None)
    backend = open_backend(settings)
    if named is None:
        backend = dataclasses.replace(backend, reason="that of the run")
    # these were of the training before
    settings = dataclasses.replace(settings, backend=backend.spec, max_steps=None, restarts=1)
    return run.prepare(settings, loss, frame), backend


def _resolved(settings: PruningSettings, prepared: Prepared[Settings]) -> PruningSettings:
    """Return the settings with numbers where they depend on the rows."""
    parts, found = prepared.parts, settings
    if found.epochs is None:
        steps = steps_of_epoch(prepared.settings, len(parts["train"]))
        found = dataclasses.replace(found, epochs=epochs_of_round(steps))
    if found.tolerance == "auto":
        rows = len(parts["validation"]) or len(parts["train"])
        found = dataclasses.replace(found, tolerance=usual_tolerance(rows))
    return found


def _load(
    file: Path, prepared: Prepared[Settings], settings: PruningSettings, backend: backends.Backend
) -> Trainer:
    """Return the trainer with an optimizer whose schedule spans a round."""
    own = prepared.settings
    own = dataclasses.replace(
        own,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate or own.learning_rate,
    )
    optimizer = build_optimizer(own, len(prepared.parts["train"]))
    has_validation = len(prepared.parts["validation"]) > 0
    return Trainer.load(
        file,
        backend,
        loss=prepared.loss,
        optimizer=optimizer,
        max_steps=None,
        time_limit=None,
        restore_best=has_validation,
        encoded=True,
        progress=False,
    )


class _Watch(Callback):
    """Logs each epoch, and obeys Ctrl-C at the end of a step."""

    steps_apart = 50

    def __init__(self, log: RunLog, interruption: Interruption):
        self.log, self.interruption = log, interruption

    def on_step_end(self, trainer: Trainer, step: int, steps: int) -> None:
        self.interruption.obey()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        self.log.write(f"epoch {row['epoch']}  {describe(row)}")
        self.interruption.obey()


class _Work:
    """A pruning in progress, and its files."""

    def __init__(
        self,
        source: Path,
        run: RunFolder,
        prepared: Prepared[Settings],
        trainer: Trainer,
        settings: PruningSettings,
    ):
        self.source, self.run, self.prepared, self.trainer = source, run, prepared, trainer
        self.settings = settings
        self.log = RunLog(run.log)

    def do(self, progress: dict[str, Any] | None, begin: Callable[[], None]) -> tuple[dict[str, Any], Report]:
        """Prune to the end and finish; whatever happens, the last whole round is on the disk.

        Args:
            progress: of a pruning that goes on.
            begin: makes the run folder, once everything is known to fit.
        """
        begun = time.monotonic()
        self._begin = begin
        try:
            with logged(self.log):
                done = self._prune(progress)
            results = self._finish(done, time.monotonic() - begun)
        except KeyboardInterrupt:
            raise Interrupted(self._interrupted()) from None
        except (OSError, CheckpointError) as error:
            if not self.run.config.exists():
                self.run.discard()
                raise
            raise CheckpointError(f"{reason(error)}. When that is fixed, {self._continue()}") from error
        except DivergedError as error:
            again = self._continue(learning_rate=Word("X"))
            error.change(f"{error.text}; {again}")
            raise
        self.log.write(f"finished: {results['stopped']}; {results['metrics']}")
        return results, done.report

    def _prune(self, progress: dict[str, Any] | None) -> Pruned:
        settings, parts, own = self.settings, self.prepared.parts, self.prepared.settings
        held_out, test = parts["validation"], parts["test"]
        with Interruption() as interruption:
            self.trainer.callbacks = [_Watch(self.log, interruption)]
            return prune(
                self.trainer,
                parts["train"].X,
                parts["train"].y,
                sample_weight=parts["train"].weight,
                sparsity=settings.sparsity,  # type: ignore[arg-type]
                rounds=settings.rounds,
                epochs_per_round=settings.epochs,
                scope=settings.scope,
                schedule=settings.schedule,
                decay=settings.decay,
                tolerance=settings.tolerance,
                batch_size=own.batch_size if isinstance(own.batch_size, int) else None,
                validation=(held_out.X, held_out.y, held_out.weight) if len(held_out) else None,
                class_weight=self.prepared.class_weight,
                test=(test.X, test.y) if len(test) else None,
                on_round=self._keep,
                resume=progress,
            )

    def _keep(self, done: Pruned) -> None:
        """Save the state after a round; before the first one, make the folder."""
        row = done.rounds[-1]
        first = row["round"] == 0
        if first:
            self._begin()
            self._resolve_settings()
        self.run.check_same()
        file = f"round-{row['round']}.safetensors"
        progress = self._progress(done, file)
        digest = hashlib.sha256(progress.encode()).hexdigest()
        self.trainer.state.run = {**self.prepared.manifest, "pruning": digest}
        self.trainer.save(self.run.checkpoints / file)
        write_atomically(self.run.pruning, progress)
        if first:  # last, for a folder with a configuration is a run
            self.run.write_settings(self.prepared.settings)
        for other in self.run.rounds():
            if other.name != file:
                other.unlink(missing_ok=True)
        line = self._described(row)
        self.log.write(line)
        _log.info("%s", line)

    def _progress(self, done: Pruned, file: str) -> str:
        known = {
            "source": str(self.source.resolve()),
            "settings": dataclasses.asdict(self.settings),
            "file": file,
            "progress": done.to_dict(),
        }
        return to_json(known)

    def _described(self, row: dict[str, Any]) -> str:
        things = "hidden units" if self.settings.scope == "unit" else "weights"
        metric = metric_of(self.prepared.settings.task)
        name = metric if metric in row["retrained"] else "loss"
        after, before = row["retrained"][name], row["pruned"][name]
        if row["round"] == 0:
            return f"pruning to {self.settings.sparsity:.1%} of the {things}: {name} {after:.4f} before"
        return (
            f"round {row['round']}/{self.settings.rounds}: {row['sparsity']:.1%} of the {things} removed, "
            f"{name} {before:.4f}, after retraining {after:.4f}"
        )

    def _finish(self, done: Pruned, seconds: float) -> dict[str, Any]:
        """Write the checkpoints under their usual names, the settings and the results."""
        trainer, run, parts = self.trainer, self.run, self.prepared.parts
        run.check_same()
        self._resolve_settings()
        run.write_settings(self.prepared.settings)
        trainer.state.run = self.prepared.manifest
        if trainer.best is not None:
            best_trainer(trainer).save(run.checkpoint("best"))
        trainer.state.go_on()  # as in training: the best weights have a checkpoint of their own
        trainer.state.predict_with_average()
        trainer.setup = trainer.setup.changed(restore_best=False)
        trainer.save(run.checkpoint("last"))
        for log in (CSVLog(run.history), JSONLinesLog(run.history_lines)):
            log.write(trainer.history)
        shown = next(name for name in ("test", "validation", "train") if len(parts[name]))
        told = {
            "source": str(self.source),
            **dataclasses.asdict(self.settings),
            "reached": done.sparsity,
            "missed": done.missed,
            "rounds_kept": sum(row["kept"] for row in done.rounds) - 1,
            "history": done.rounds,
            "measured_on": f"{len(parts[shown]):,} {shown} rows",
            "report": done.report.to_dict(),
        }
        plan = Plan(self.prepared, trainer.backend, trainer, run)
        results = finish(plan, seconds, stopped=done.stopped, pruning=told)
        run.sweep()
        return results

    def _resolve_settings(self) -> None:
        """Make the settings those of the network that there is now."""
        own = dataclasses.replace(self.prepared.settings, epochs=self.trainer.epoch, out=None)
        if self.settings.scope == "unit":
            own = dataclasses.replace(own, hidden=hidden_widths(self.trainer.model))
        self.prepared = dataclasses.replace(self.prepared, settings=own)

    def _continue(self, **settings: Any) -> str:
        return f"continue with: {call('resume_pruning', self.run.path, **settings)}"

    def _interrupted(self) -> str:
        if not self.run.config.exists():
            self.run.discard()
            return "interrupted before the first round; nothing was saved"
        line = f"interrupted after epoch {self.trainer.epoch}; the state after the last whole round is saved"
        self.log.write(line)
        return f"{line}. C{self._continue()[1:]}"
