"""Results of a training: metrics of each part of the rows, ``results.json`` and the report."""

from __future__ import annotations

import dataclasses
from typing import Any

from xpnet.cli.console import count
from xpnet.cli.dataset import PARTS
from xpnet.cli.evaluation import measure
from xpnet.cli.plan import Plan
from xpnet.cli.run_report import write_report
from xpnet.cli.runs import to_json
from xpnet.files import write_atomically
from xpnet.train.checkpoint_callback import best_trainer
from xpnet.train.diagnostics import first_verdicts, read_rows
from xpnet.train.early_stopping import Patience
from xpnet.train.random_restarts import best_of, spread_of

__all__ = ["finish", "why_stopped"]


def finish(plan: Plan, seconds: float, **told: Any) -> dict[str, Any]:
    """Measure the best weights on each part, write the report with its figures, and return the results.

    Args:
        plan: the training, over.
        seconds: how long it took.
        told: further results, which win.
    """
    trainer, run, parts = plan.trainer, plan.run, plan.prepared.parts
    best = best_trainer(trainer)
    if trainer.best is None:
        best.save(run.checkpoint("best"))  # without validation rows the last weights are the best known
    measured = {name: measure(best, plan.prepared.encoder, parts[name]) for name in PARTS if len(parts[name])}
    why = why_stopped(plan)
    timed_out = why is None and trainer.settings.time_limit is not None
    results = {
        **plan.describe(),
        "epochs_trained": trainer.epoch,
        "steps": trainer.step,
        "best_epoch": trainer.best.epoch if trainer.best is not None else None,
        "stopped": why or ("time limit" if timed_out else "ended by a callback"),
        "timed_out": timed_out,
        "seconds": round(seconds, 3),
        "peak_memory": plan.backend.peak_memory(),
        "metrics": {name: part.metrics for name, part in measured.items()},
        "verdicts": first_verdicts(read_rows(run.diagnostics)),
        "changes": [dataclasses.asdict(change) for change in plan.changes],
        **told,
    }
    rows = run.read_restarts()
    if rows:
        chosen = best_of(rows)
        results["restarts"] = {
            "n": len(rows),
            "lost": sum(row["outcome"] == "diverged" for row in rows),
            "best": chosen["restart"],
            "seed": chosen["seed"],
            "measured_by": "loss" if chosen["validation_loss"] is None else "validation_loss",
            **dataclasses.asdict(spread_of(rows)),
        }
    if len(plan.prepared.encoder.targets) > 1:
        results["target_metrics"] = {name: part.targets for name, part in measured.items()}
    results["report"] = str(run.report)
    write_report(plan, results, measured)
    write_atomically(run.results, to_json(results))
    return results


def why_stopped(plan: Plan) -> str | None:
    """Return why there is nothing left to train, or None if there is something."""
    trainer, steps = plan.trainer, plan.settings.max_steps
    if trainer.epoch >= plan.length.epochs:
        return "all epochs done"
    if trainer.stalled:
        return trainer.stalled
    if steps is not None and trainer.step >= steps:
        return f"all {count(steps, 'step')} done"
    if Patience.of(trainer.settings).after(trainer.history, since=trainer.patience_since).lost:
        return f"no better validation loss for {count(trainer.settings.patience or 0, 'epoch')}"
    return None
