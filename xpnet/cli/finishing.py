"""The end of a training: measured, drawn, and written down."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from xpnet.cli import figures
from xpnet.cli.building import metric_of
from xpnet.cli.console import count
from xpnet.cli.measuring import Measured, measure
from xpnet.cli.planning import Plan
from xpnet.cli.preparing import PARTS
from xpnet.cli.runs import to_json
from xpnet.cli.settings import Settings
from xpnet.files import write_atomically
from xpnet.train import Trainer
from xpnet.train.checkpoints import best_trainer
from xpnet.train.diagnostics import first_verdicts, read_rows
from xpnet.train.restarting import best_of, spread_of
from xpnet.train.stopping import Patience

__all__ = ["finish", "why_stopped"]

_LABELS = {"accuracy": "accuracy", "r2": "R²"}


def finish(plan: Plan, seconds: float) -> dict[str, Any]:
    """Measure the best weights on each part, draw the figures, and write and return the results.

    Args:
        plan: the training, over.
        seconds: how long it took.
    """
    trainer, run, parts = plan.trainer, plan.run, plan.prepared.parts
    best = best_trainer(trainer)
    if trainer.best is None:
        best.save(run.checkpoint("best"))  # without validation rows the last weights are the best known
    measured = {name: measure(best, plan.prepared.encoder, parts[name]) for name in PARTS if len(parts[name])}
    _draw(plan, measured)
    results = {
        **plan.describe(),
        "epochs_trained": trainer.epoch,
        "steps": trainer.step,
        "best_epoch": trainer.best.epoch if trainer.best is not None else None,
        "stopped": why_stopped(trainer, plan.settings) or "ended by a callback",
        "seconds": round(seconds, 3),
        "metrics": {name: part.metrics for name, part in measured.items()},
        "verdicts": first_verdicts(read_rows(run.diagnostics)),
        "changes": [dataclasses.asdict(change) for change in plan.changes],
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
    write_atomically(run.results, to_json(results))
    return results


def why_stopped(trainer: Trainer, settings: Settings) -> str | None:
    """Return why there is nothing left to train, or None if there is something."""
    if trainer.epoch >= settings.epochs:
        return "all epochs done"
    if trainer.stuck:
        return trainer.stuck
    steps, patience = settings.max_steps, settings.patience
    if steps is not None and trainer.step >= steps:
        return f"all {count(steps, 'step')} done"
    if Patience(patience, trainer.min_delta).after(trainer.history).lost:
        return f"no better validation loss for {count(patience or 0, 'epoch')}"
    return None


def _draw(plan: Plan, measured: dict[str, Measured]) -> None:
    """Draw the curves, and what was predicted for the rows that training has seen least of."""
    settings, run = plan.settings, plan.run
    rows, best = plan.trainer.history.rows, plan.trainer.best
    metric = metric_of(settings.task)
    label = f"loss ({settings.loss.replace('_', ' ')})"
    for column, title, axis in (("loss", "loss", label), (metric, _LABELS[metric], _LABELS[metric])):
        figure = figures.curve_figure(
            rows, column, label=axis, best=best.epoch if best else None, title=f"{plan.title}: {title}"
        )
        figures.save_figure(figure, run.figures / f"{column}.svg")
    name = next(name for name in reversed(PARTS) if name in measured)
    part = measured[name]
    for figure, path in _pictures(plan, name, part):
        figures.save_figure(figure, run.figures / path)


def _pictures(plan: Plan, name: str, part: Measured) -> Iterator[tuple[Any, str]]:
    """Yield for each target a picture of what was predicted for it, and its file's name."""
    encoder, rows = plan.prepared.encoder, count(len(part.truth), f"{name} row")
    truth, predicted = (values.reshape(len(values), -1) for values in (part.truth, part.predicted))
    several = len(encoder.targets) > 1
    for index, (target, classes) in enumerate(zip(encoder.target_names, encoder.target_classes, strict=True)):
        found = part.targets[target] if several else part.metrics
        title = f"{plan.title}: {rows}" if not several else f"{plan.title}, {target}: {rows}"
        # numbered, as two targets may have the same name when only what a file's may hold is left of it
        plain = re.sub(r"[^\w.-]+", "-", target)
        ending = f"_{index + 1}_{plain}.svg" if several else ".svg"
        pair = truth[:, index], predicted[:, index]
        if classes:
            title += f", accuracy {100 * found['accuracy']:.1f} %"
            yield figures.confusion_figure(*pair, classes, title=title), f"confusion_matrix{ending}"
        else:
            title += f", R² {found['r2']:.3f}"
            yield figures.predicted_figure(*pair, target, title=title), f"predicted_vs_true{ending}"
