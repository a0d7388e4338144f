"""Search over settings, trial by trial, and the training of the best.

Each trial is one training on the same rows, compared by the monitored column at its best epoch; the test rows
are looked at once, by the run of the best. What is known about the search are the rows of the trials that are
over: each next trial follows from them and the seed, so a search that goes on after a kill tries what it
would have tried.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet import rng
from xpnet.data.columns import Categorical
from xpnet.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    OutOfMemoryError,
    Words,
    call,
    use,
)
from xpnet.files import write_atomically
from xpnet.runs.environment import versions
from xpnet.runs.fit import progress as progress_of
from xpnet.runs.plan import plan_training
from xpnet.runs.report import render_tuning
from xpnet.runs.results import why_stopped
from xpnet.runs.resume import resume_run
from xpnet.runs.run import Run
from xpnet.runs.settings import Settings
from xpnet.runs.signals import Interrupted, Interruption
from xpnet.runs.training import train_run
from xpnet.runs.tuning_folder import OUTCOMES, Row, TuningFolder
from xpnet.tabular.dataset import Prepared, prepare
from xpnet.tabular.losses import is_code
from xpnet.tabular.settings import plain
from xpnet.tabular.spaces import ENCODING, space_of
from xpnet.tabular.trainer import build_trainer, fit_trainer
from xpnet.text import count, to_json
from xpnet.train import Callback, Trainer
from xpnet.train.deadline import Deadline, Stopwatch
from xpnet.train.monitor import Monitor

if TYPE_CHECKING:
    import polars

__all__ = ["Search", "Tuning"]

_log = logging.getLogger("xpnet.runs")
_HALF = 0.5  # of the time, at most, is kept for the training of the best settings
_SLOWER = 1.25  # so much longer than its trial that training may take
_FINISH = 2.0  # seconds for its scores and report
_UNPRUNED, _WARM_UP = 5, 0.25  # trials, and share of the epochs, before any is pruned
_MOST_WARM_UP = 50
_SEARCHED = ("out", "time_limit")  # settings of the search as a whole


@dataclasses.dataclass(frozen=True)
class Tuning:
    """A search that is finished.

    Attributes:
        path: its folder.
        trials: a row for each trial: its number, outcome, score, best epoch, epochs, seconds and settings.
        settings: the best ones found, by name; empty where the recipe as it is was the best.
        score: of these, by the monitored column of the validation rows.
        run: the training of the best settings, as `train` makes it.
        results: what ``results.json`` holds.
    """

    path: Path
    trials: polars.DataFrame
    settings: Mapping[str, Any]
    score: float
    run: Run
    results: Mapping[str, Any]

    def __repr__(self) -> str:
        by = self.results["measured_by"].replace("_", " ")
        return f"Tuning({str(self.path)!r}: {count(len(self.trials), 'trial')}, {by} {self.score:.4g})"


class _Watch(Callback):
    """Reports each epoch's value to the trial, ends one that falls behind, and obeys Ctrl-C."""

    steps_apart = 50

    def __init__(self, trial: Any, monitor: Monitor, interruption: Interruption):
        self.trial, self.monitor, self.interruption = trial, monitor, interruption
        self.values: list[float | None] = []
        self.pruned = False

    def on_step_end(self, trainer: Trainer, step: int, steps: int) -> None:
        self.interruption.obey()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> bool | None:
        self.interruption.obey()
        value = row[self.monitor.name]
        self.values.append(value if math.isfinite(value) else None)
        if self.trial is None or not math.isfinite(value):
            return None
        self.trial.report(value, row["epoch"])
        self.pruned = self.trial.should_prune()
        return self.pruned


class Search:
    """A search in progress: what is fixed, what is searched, and the trials that are over."""

    def __init__(
        self,
        folder: TuningFolder,
        given: Settings,
        trials: int | None,
        limit: float | None,
        own_loss: Callable[..., Any] | None,
        frame: polars.DataFrame | None,
        declared: Sequence[str],
        rows: list[Row],
        stopwatch: Stopwatch | None,
    ):
        stopwatch = stopwatch or Stopwatch()
        self.folder, self.given, self.trials, self.limit = folder, given, trials, limit
        self.own_loss, self.frame, self.declared, self.rows = own_loss, frame, declared, rows
        # a recipe that depends on the time has the part of it in which the best settings are trained
        whole = given.time_limit
        recipe = dataclasses.replace(given, out=None, time_limit=whole and _HALF * whole)
        self.plan = plan_training(recipe, own_loss, frame, declared, stopwatch)
        self.base, prepared = self.plan.settings, self.plan.prepared
        self._known = {self.base.members: prepared}  # with folds, parts depend on the number of members
        self.monitor = self.plan.trainer.setup.monitor
        self.copies = self.base.members * self.base.restarts
        if len(prepared.parts["validation"]) == 0:
            raise ConfigError(
                f"{use('validation')}: expected validation rows, by which trials are compared, found none; "
                f"use {use('validation', 0.1)}"
            )
        self.space = space_of(
            self.base,
            smoothed=self.base.task == "classification" and given.loss == "auto",
            categorical=any(isinstance(column, Categorical) for column in prepared.encoder.columns),
        )
        self.deadline = Deadline(limit, stopwatch)
        self.planning = stopwatch.seconds
        self.resumed = bool(rows)

    def about(self) -> dict[str, Any]:
        """Return what ``tuning.json`` holds: with it the search goes on."""
        given = plain(self.given)
        stored = {name: given[name] for name in self.given.chosen if name not in _SEARCHED}
        stored["data"] = self.base.data
        if is_code(self.base.loss):
            stored["loss"] = self.base.loss
        return {
            "settings": stored,
            "trials": self.trials,
            "time_limit": self.given.time_limit,
            "data": {"name": self.base.data, "sha256": self.plan.prepared.fingerprint},
            "versions": {**versions(), "optuna": _optuna().__version__},
        }

    def do(self, shown: bool | None) -> Tuning:
        """Try, train the best, and finish; whatever happens, the trials that are over are on the disk."""
        bar = None if shown is not False else False
        try:
            if not self.folder.best.config.exists():
                with _hushed():
                    while not self._is_over():
                        self._try(bar)
            best = self._best()
            if len(self.rows) == 1 != self.trials:
                _log.warning("%s", Words(f"{use('time_limit')}: nothing but the recipe was tried; raise it"))
            trained = self._train(best, shown)
        except KeyboardInterrupt:
            raise Interrupted(self._interrupted()) from None
        except BaseException:
            if not self.rows:
                self.folder.discard()
            raise
        return self._finish(best, trained)

    def _is_over(self) -> bool:
        """Whether there are trials enough, or too little time for a usual one beside the last training."""
        if self.trials is not None and len(self.rows) >= self.trials:
            return True
        self.deadline.reserved = self._reserve()
        whole = [row["seconds"] for row in self._compared()]
        usual = statistics.median(whole) if whole else 0.0
        return bool(self.rows) and self.deadline.is_over(usual)

    def _reserve(self) -> float:
        """Return the seconds that are kept for the training of the best settings."""
        if self.deadline.seconds == math.inf:
            return 0.0
        return min(self._needed(), _HALF * self.deadline.seconds)

    def _needed(self) -> float:
        """Return seconds in which the best settings can be trained; infinity before any have been."""
        whole = [row["seconds"] for row in self._compared()]
        return _SLOWER * self.copies * max(whole) + self.planning + _FINISH if whole else math.inf

    def _settings(self, found: Mapping[str, Any], **others: Any) -> Settings:
        """Return the settings of a training, of which a preset chooses no more."""
        made = dataclasses.replace(self.base, **{"time_limit": self.given.time_limit, **found, **others})
        return dataclasses.replace(made, chosen=tuple(plain(made)))

    def _found(self, row: Row) -> dict[str, Any]:
        """Return the settings of a trial that is over; none of the first, which is the recipe as it is."""
        if row["trial"] == 1:
            return {}
        fixed = _optuna().trial.FixedTrial(row["parameters"])
        return {name: draw(fixed) for name, draw in self.space.items()}

    def _study(self, number: int) -> Any:
        """Return the study before a trial: it follows from the seed and the trials that are over."""
        optuna = _optuna()
        warm_up = min(_MOST_WARM_UP, int(_WARM_UP * self.plan.length.epochs))
        study = optuna.create_study(
            direction="maximize" if self.monitor.higher else "minimize",
            sampler=optuna.samplers.TPESampler(
                seed=int(rng.key(self.base.seed).fold("trial", number).words[0])
            ),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED, n_warmup_steps=warm_up),
        )
        for row in self.rows:
            study.add_trial(self._stored(row))
        return study

    def _stored(self, row: Row) -> Any:
        """Return a trial that is over as Optuna knows it."""
        optuna, state = _optuna(), _optuna().trial.TrialState
        states = {"done": state.COMPLETE, "time limit": state.COMPLETE, "pruned": state.PRUNED}
        try:
            fixed = optuna.trial.FixedTrial(row["parameters"])
            if row["trial"] > 1:
                for draw in self.space.values():
                    draw(fixed)
            return optuna.trial.create_trial(
                state=state.FAIL if row["score"] is None else states[row["outcome"]],
                value=None if row["outcome"] == "pruned" else row["score"],
                params=fixed.params,
                distributions=fixed.distributions,
                intermediate_values={
                    e: value for e, value in enumerate(row["values"], 1) if value is not None
                },
            )
        except ValueError as error:
            raise CheckpointError(
                f"'{self.folder.trials}': expected trials of the space that is searched, found another one "
                f"in trial {row['trial']} ({error}); go on with the xpnet that began it, or search anew"
            ) from error

    def _try(self, bar: bool | None) -> None:
        """Train the next trial, and keep its row."""
        stopwatch, number = Stopwatch(), len(self.rows) + 1
        trial = self._study(number).ask() if number > 1 else None
        found = {name: draw(trial) for name, draw in self.space.items()} if trial is not None else {}
        left = self.deadline.left
        limit = self.given.time_limit if left == math.inf else max(left, 0.1)
        prepared = self._prepared(self._settings(found, members=1, restarts=1, time_limit=limit))
        trainer = build_trainer(prepared, self.plan.backend)
        with Interruption() as interruption:
            watch = _Watch(trial, self.monitor, interruption)
            trainer.callbacks = [*progress_of(bar, f"trial {number}  "), watch]
            try:
                fit_trainer(trainer, prepared, Deadline(trainer.settings.time_limit, stopwatch))
                outcome = self._outcome(trainer, prepared, watch)
            except (DivergedError, OutOfMemoryError) as error:
                outcome = "diverged" if isinstance(error, DivergedError) else "out of memory"
        best = trainer.best if outcome in OUTCOMES[:3] else None
        score = None if best is None else trainer.history.row_of(best.epoch)[self.monitor.name]
        if score is None and outcome in ("done", "pruned"):
            outcome = "diverged"  # no epoch has a finite value
        seconds = round(stopwatch.seconds, 3)
        self.rows.append(
            {
                "trial": number,
                "outcome": outcome,
                "score": score,
                "best_epoch": None if best is None else best.epoch,
                "epochs": trainer.epoch,
                "seconds": seconds,
                "parameters": {} if trial is None else dict(trial.params),
                "values": watch.values,
            }
        )
        self.folder.write_rows(self.rows, self.table())
        _log.info("%s", self._described(self.rows[-1]))

    def _prepared(self, settings: Settings) -> Prepared[Settings]:
        """Return the table as these settings encode it; it is read again only where they differ in that."""
        members = self.base.members if settings.folds is None else settings.members
        alike = all(getattr(settings, name) == getattr(self.base, name) for name in ENCODING)
        if alike and members in self._known:
            return dataclasses.replace(self._known[members], settings=settings)
        made = prepare(settings, own_loss=self.own_loss, frame=self.frame, declared=self.declared)
        if made.fingerprint != self.plan.prepared.fingerprint:
            raise DataError(f"the table '{self.base.data}' has changed since the search began; search anew")
        if alike:
            self._known[members] = made
        return made

    def _outcome(self, trainer: Trainer, prepared: Prepared[Settings], watch: _Watch) -> str:
        if watch.pruned:
            return "pruned"
        plan = dataclasses.replace(self.plan, prepared=prepared, trainer=trainer)
        return "time limit" if why_stopped(plan) is None else "done"

    def _best(self) -> Row:
        """Return the row of the best trial, of equal ones the first.

        Raises:
            DivergedError: there is none.
        """
        compared = self._compared()
        if compared:
            return min(compared, key=lambda row: self.monitor.cost({self.monitor.name: row["score"]}) or 0.0)
        first = self.rows[0]
        if first["outcome"] == "time limit":
            raise ConfigError(
                f"{use('time_limit')}: expected time for an epoch, found {self.limit:g} seconds for "
                "the whole search; raise it"
            )
        raise DivergedError(
            f"all {count(len(self.rows), 'trial')} failed, the first in epoch {first['epochs'] + 1} "
            f"({first['outcome']}); set clip_norm, or check the data's scale",
            epoch=first["epochs"] + 1,
            step=0,
        )

    def _compared(self) -> list[Row]:
        return [row for row in self.rows if row["outcome"] in OUTCOMES[:2] and row["score"] is not None]

    def _described(self, row: Row) -> str:
        line = f"trial {row['trial']}: {row['outcome']}"
        if row["score"] is not None:
            line += f", {self.monitor.words} {row['score']:.4g}"
        if self._compared():
            best = self._best()
            line += f" (best {best['score']:.4g}, trial {best['trial']})"
        return line

    def _train(self, best: Row, shown: bool | None) -> dict[str, Any]:
        """Train the best settings in a run of their own, or on, and return its results."""
        run = self.folder.best
        if run.results.exists():
            return run.read_results()
        if run.config.exists():
            return resume_run(str(run.path), loss=self._loss(), frame=self.frame, progress=shown)
        self.deadline.reserved = 0.0
        least = self._needed() if self.resumed else 0.1  # the time may have been over already
        limit = None if self.deadline.seconds == math.inf else round(max(self.deadline.left, least), 3)
        members = self.base.members if limit is None else self._members(best, limit)
        settings = self._settings(self._found(best), members=members, time_limit=limit, out=str(run.path))
        _log.info("training the settings of trial %d", best["trial"])
        plan = plan_training(settings, self.own_loss, self.frame, self.declared)
        return train_run(plan, progress=shown)

    def _members(self, best: Row, limit: float) -> int:
        """Return for how many members there is time, where their number was not given."""
        usual = self.base.members
        each = _SLOWER * self.base.restarts * best["seconds"]
        fitting = max(1, int((limit - self.planning - _FINISH) / each))
        if "members" in self.given.chosen or fitting >= usual:
            return usual
        _log.warning("%s", Words(f"{use('time_limit')}: there is time for {fitting} of {usual} members"))
        return fitting

    def _loss(self) -> Callable[..., Any] | None:
        return self.own_loss if is_code(self.base.loss) else None

    def table(self) -> polars.DataFrame:
        """Return a row for each trial, with its settings."""
        import polars as pl

        heads = ("trial", "outcome", "best_epoch", "epochs", "seconds")
        rows = []
        for row in self.rows:
            settings = self._settings(self._found(row))
            rows.append(
                {
                    **{name: row[name] for name in heads[:2]},
                    self.monitor.name: row["score"],
                    **{name: row[name] for name in heads[2:]},
                    **{name: _cell(getattr(settings, name)) for name in self.space},
                }
            )
        return pl.DataFrame(rows, infer_schema_length=None)

    def _finish(self, best: Row, trained: Mapping[str, Any]) -> Tuning:
        """Write results and report."""
        outcomes = [row["outcome"] for row in self.rows]
        table, found = self.table(), self._found(best)
        results = {
            "data": self.base.data,
            "trials": len(self.rows),
            "outcomes": {name: outcomes.count(name) for name in OUTCOMES if name in outcomes},
            "searched": list(self.space),
            "best_trial": best["trial"],
            "measured_by": self.monitor.name,
            "score": best["score"],
            "settings": {name: getattr(self._settings(found), name) for name in self.space},
            "seconds": round(sum(row["seconds"] for row in self.rows), 3),
            "best": str(self.folder.best.path),
            "report": str(self.folder.report),
            "metrics": trained["metrics"],
        }
        write_atomically(
            self.folder.report, render_tuning(self.plan.title, results, table.columns, table.rows())
        )
        write_atomically(self.folder.results, to_json(results))
        run = Run(self.folder.best.path, self.frame)
        return Tuning(self.folder.path, table, found, best["score"], run, results)

    def _interrupted(self) -> str:
        if not self.rows:
            self.folder.discard()
            return "interrupted before the first trial was over; nothing was saved"
        done = count(len(self.rows), "trial")
        return (
            f"interrupted; {done} saved. Continue with: {call('resume_tuning', None, str(self.folder.path))}"
        )


def _cell(value: Any) -> Any:
    """Return a setting as the cell of a table.

    >>> _cell((256, 256)), _cell(0.5)
    ('256,256', 0.5)
    """
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def _optuna() -> Any:
    import optuna

    return optuna


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Inside this context Optuna tells warnings alone: what a trial has come to, is told here."""
    logging_of, before = _optuna().logging, _optuna().logging.get_verbosity()
    logging_of.set_verbosity(logging_of.WARNING)
    try:
        yield
    finally:
        logging_of.set_verbosity(before)
