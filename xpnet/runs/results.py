"""Results of a training: metrics of each part of the rows, ``results.json`` and the report."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any

from xpnet.files import write_atomically
from xpnet.runs.plan import Plan
from xpnet.runs.run_report import write_report
from xpnet.tabular.parts import PARTS
from xpnet.tabular.refit import refitted
from xpnet.tabular.scoring import Measured, constant_in_words, constant_of, measure
from xpnet.tabular.trainer import metric_of
from xpnet.text import count, to_json
from xpnet.train.checkpoint_callback import best_trainer
from xpnet.train.deadline import Deadline
from xpnet.train.diagnostics import first_verdicts, read_rows
from xpnet.train.diagnostics.outcome import Outcome, Score, judge_outcome
from xpnet.train.early_stopping import has_waited
from xpnet.train.random_restarts import best_of, spread_of

__all__ = ["finish", "why_stopped"]

_log = logging.getLogger("xpnet.train")


def finish(plan: Plan, seconds: float, deadline: Deadline | None = None, **told: Any) -> dict[str, Any]:
    """Refit, measure the weights on each part, write the report with its figures, and return the results.

    Args:
        plan: the training, over.
        seconds: how long it took.
        deadline: end of the time.
        told: further results, which win.
    """
    trainer, run, parts = plan.trainer, plan.run, plan.prepared.parts
    best = best_trainer(trainer)
    if trainer.best is None:
        best.save(run.checkpoint("best"))  # without validation rows the last weights are the best known
    begun, deadline = time.monotonic(), deadline or Deadline()
    final = None if "pruning" in told else refitted(trainer, plan.prepared, deadline)
    if final is not None:
        final.save(run.checkpoint("final"))
        seconds += time.monotonic() - begun
    encoder = plan.prepared.encoder
    constant = constant_of(encoder, parts["train"].truth)
    measured = {  # validation rows by weights that have not seen them
        name: measure(best if name == "validation" else final or best, encoder, parts[name], constant)
        for name in PARTS
        if len(parts[name])
    }
    why = why_stopped(plan)
    found = [] if "pruning" in told else _outcome(plan, measured)
    timed_out = why is None and trainer.settings.time_limit is not None
    described = plan.describe()
    results = {
        **described,
        "epochs_trained": trainer.epoch,
        "steps": trainer.step,
        "best_epoch": trainer.best.epoch if trainer.best is not None else None,
        "refit_epochs": 0 if final is None else described["refit_epochs"],
        "stopped": why or ("time limit" if timed_out else "ended by a callback"),
        "timed_out": timed_out or deadline.missed,
        "seconds": round(seconds, 3),
        "peak_memory": plan.backend.peak_memory(),
        "metrics": {name: part.metrics for name, part in measured.items()},
        "intervals": {name: part.intervals for name, part in measured.items()},
        "baseline": {
            "prediction": constant_in_words(encoder, constant),
            "metrics": {name: part.baseline for name, part in measured.items()},
        },
        "verdicts": [*first_verdicts(read_rows(run.diagnostics)), *found],
        "advice": [] if "pruning" in told else _advice(plan, {verdict["kind"] for verdict in found}),
        "changes": [dataclasses.asdict(change) for change in plan.changes],
        **told,
    }
    rows = run.read_restarts()
    if rows:
        monitor = trainer.setup.monitor
        chosen = best_of(rows, monitor)
        results["restarts"] = {
            "n": len(rows),
            "lost": sum(row["outcome"] == "diverged" for row in rows),
            "best": chosen["restart"],
            "seed": chosen["seed"],
            "measured_by": "loss" if chosen[monitor.name] is None else monitor.name,
            **dataclasses.asdict(spread_of(rows, monitor)),
        }
    if len(encoder.targets) > 1:
        results["target_metrics"] = {name: part.targets for name, part in measured.items()}
        results["target_intervals"] = {name: part.target_intervals for name, part in measured.items()}
    results["report"] = str(run.report)
    write_report(plan, results, measured)
    write_atomically(run.results, to_json(results))
    return results


def _outcome(plan: Plan, measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Return verdicts on the losses and scores, and tell them as warnings."""
    trainer, metric = plan.trainer, metric_of(plan.settings.task)
    scores = {
        name: Score(part.metrics[metric], part.baseline[metric], len(part.truth))
        for name, part in measured.items()
    }
    verdicts = judge_outcome(
        Outcome(trainer.history.rows, has_waited(trainer.setup, trainer.state), metric, scores)
    )
    for verdict in verdicts:
        _log.warning("%s: %s", verdict.kind, verdict.message)
    return [{"epoch": trainer.epoch, **dataclasses.asdict(verdict)} for verdict in verdicts]


def _advice(plan: Plan, verdicts: Collection[str]) -> list[dict[str, Any]]:
    """Return how to go on with a training that could have been longer: why, and settings to change."""
    trainer, most = plan.trainer, plan.settings.max_steps
    is_last = trainer.best is not None and trainer.best.epoch == trainer.epoch
    if (
        has_waited(trainer.setup, trainer.state)
        or trainer.stalled
        or not (is_last or "under-trained" in verdicts)
    ):
        return []
    why = "the best epoch is the last one" if is_last else "the loss was still falling at the end"
    steps_done = most is not None and trainer.step >= most
    changed = {"max_steps": 2 * most} if most is not None and steps_done else {}
    if plan.settings.epochs is not None if steps_done else trainer.epoch >= plan.length.epochs:
        changed["epochs"] = 2 * trainer.epoch
    return [{"why": why, "set": changed}]


def why_stopped(plan: Plan) -> str | None:
    """Return why there is nothing left to train, or None if there is something."""
    trainer, steps = plan.trainer, plan.settings.max_steps
    if trainer.epoch >= plan.length.epochs:
        return "all epochs done"
    if trainer.stalled:
        return trainer.stalled
    if steps is not None and trainer.step >= steps:
        return f"all {count(steps, 'step')} done"
    if has_waited(trainer.setup, trainer.state):
        by, epochs = trainer.settings.min_delta, count(trainer.settings.patience or 0, "epoch")
        monitor = trainer.setup.monitor
        improved = f"{monitor.words} {'higher' if monitor.higher else 'lower'} by {by:g}"
        wanted = improved if by else f"better {monitor.words}"
        return f"no {wanted} for {epochs}"
    return None
