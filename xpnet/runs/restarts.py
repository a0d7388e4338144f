"""Restarts (``restarts=N``): several initializations in one run folder, the best of them kept.

One restart after another is trained in ``restarts/``. When it is over and the best so far, its checkpoints
and its history become those of the run; then it gets its row in ``restarts.csv``, and what it left in
``restarts/`` is removed. So at any moment the run holds the best restart that is over, and one that was
killed goes on with the restart that has no row yet, from the last state of it that was saved.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
from collections.abc import Callable
from typing import Any

from xpnet.errors import DivergedError
from xpnet.runs.checkpoints import Keeper, RunLog
from xpnet.runs.fit import fit, guarded, keeper_of, logged, progress, with_diagnostics
from xpnet.runs.folder import RunFolder
from xpnet.runs.plan import Plan
from xpnet.runs.results import finish
from xpnet.runs.settings import Settings
from xpnet.runs.trainer import load_trainer
from xpnet.tabular.trainer import build_trainer
from xpnet.train import History, Trainer
from xpnet.train.deadline import Deadline
from xpnet.train.random_restarts import (
    all_diverged,
    best_of,
    cost_of,
    restart_row,
    restart_seed,
    warn_if_alike,
)

__all__ = ["are_under_way", "run_restarts"]

_log = logging.getLogger("xpnet.runs")


def are_under_way(run: RunFolder, settings: Settings) -> bool:
    """Whether a run has restarts that are not over, or none that is left."""
    rows = run.read_restarts()
    missing = len(rows) < settings.restarts or not run.checkpoint("last").is_file()
    return settings.restarts > 1 and missing


def run_restarts(
    plan: Plan,
    log: RunLog,
    begin: Callable[[], RunFolder],
    *,
    shown: bool | None,
) -> dict[str, Any]:
    """Train the restarts that are not over, and finish with the best; return the results.

    Raises:
        Interrupted, CheckpointError: as for `guarded`.
        DivergedError: all restarts diverged.
    """
    rows, monitor = plan.run.read_restarts(), plan.trainer.setup.monitor
    shape = (plan.prepared.encoder.n_features,)

    deadline = plan.deadline()

    def is_there() -> RunFolder:
        return plan.run

    with logged(log):
        for number in range(len(rows) + 1, plan.settings.restarts + 1):
            seed = restart_seed(plan.settings.seed, number)
            one = dataclasses.replace(plan, trainer=_trainer(plan, number, seed))
            if number == 2:
                warn_if_alike(one.trainer, plan.settings.seed, shape)
            share = deadline.share(plan.settings.restarts + 1 - number)
            rows.append(_run_one(one, number, rows, log, begin, share, shown=shown))
            deadline.share_evaluation(share)
            begin = is_there
        keeper = Keeper(log, begin)
        with guarded(plan, keeper, log):
            if cost_of(best_of(rows, monitor), monitor) == math.inf:
                raise all_diverged(rows)
            best = load_trainer(plan.run, plan.prepared, plan.backend)
            seconds = sum(row["seconds"] for row in rows)
            results = finish(dataclasses.replace(plan, trainer=best), seconds, deadline)
            log.write(f"finished: {results['restarts']}; {results['metrics']}")
    return results


def _trainer(plan: Plan, number: int, seed: int) -> Trainer:
    part = plan.run.restart(number)
    if part.checkpoint("last").is_file():
        trainer = load_trainer(part, plan.prepared, plan.backend)
    else:
        trainer = build_trainer(plan.prepared, plan.backend, seed)
    trainer.state.run = {**plan.prepared.manifest, "restarts": plan.run.restarts_sha256()}
    return trainer


def _run_one(
    plan: Plan,
    number: int,
    rows: list[dict[str, Any]],
    log: RunLog,
    begin: Callable[[], RunFolder],
    deadline: Deadline,
    *,
    shown: bool | None,
) -> dict[str, Any]:
    """Train one restart and return its row, which is written behind the ``rows`` of those before."""
    trainer, settings = plan.trainer, plan.settings
    which = f"restart {number}/{settings.restarts}"

    def begin_one() -> RunFolder:
        run = begin()
        stands = f"continues after epoch {trainer.epoch}" if trainer.epoch else "begins"
        log.write(f"{which}, seed {trainer.settings.seed}, {stands}")
        part = run.restart(number)
        part.checkpoints.mkdir(parents=True, exist_ok=True)
        return part

    begin_measuring, diagnostics = with_diagnostics(plan, begin_one)
    keeper = keeper_of(plan, log, begin_measuring)
    trainer.callbacks = [*progress(shown, f"{which}  "), keeper, *diagnostics]
    with guarded(plan, keeper, log, f" of {which}"):
        try:
            fit(plan, keeper, deadline)
            outcome = "done"
        except DivergedError as error:
            outcome = "diverged"
            _log.warning("%s is lost: %s", which, error)
        keeper.save(trainer)
        run, row = plan.run, restart_row(number, trainer, outcome)
        if outcome == "done" and best_of([*rows, row], trainer.setup.monitor) is row:
            run.adopt(run.restart(number))
        History([*rows, row]).to_csv(run.restarts)
        shutil.rmtree(run.parts, ignore_errors=True)
    return row
