"""The end of a training: measured, drawn, and written down."""

from __future__ import annotations

from typing import Any

from xpnet.cli import figures
from xpnet.cli.building import metric_of
from xpnet.cli.console import count
from xpnet.cli.keeping import best_trainer
from xpnet.cli.measuring import Measured, measure
from xpnet.cli.planning import Plan
from xpnet.cli.preparing import PARTS
from xpnet.cli.runs import to_json
from xpnet.files import write_atomically
from xpnet.train import Diagnostics

__all__ = ["finish"]

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
        "stopped": _why_stopped(plan),
        "seconds": round(seconds, 3),
        "metrics": {name: part.metrics for name, part in measured.items()},
        "verdicts": [
            verdict for c in trainer.callbacks if isinstance(c, Diagnostics) for verdict in c.verdicts
        ],
    }
    write_atomically(run.results, to_json(results))
    return results


def _why_stopped(plan: Plan) -> str:
    if plan.trainer.epoch >= plan.settings.epochs:
        return "all epochs done"
    steps = plan.settings.max_steps
    if steps is not None and plan.trainer.step >= steps:
        return f"all {count(steps, 'step')} done"
    return f"no better validation loss for {count(plan.settings.patience or 0, 'epoch')}"


def _draw(plan: Plan, measured: dict[str, Measured]) -> None:
    """Draw the curves, and what was predicted for the rows that training has seen least of."""
    settings, encoder, run = plan.settings, plan.prepared.encoder, plan.run
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
    title = f"{plan.title}: {count(len(part.truth), f'{name} row')}"
    if settings.task == "classification":
        title += f", accuracy {100 * part.metrics['accuracy']:.1f} %"
        figure = figures.confusion_figure(part.truth, part.predicted, encoder.classes, title=title)
        figures.save_figure(figure, run.figures / "confusion_matrix.svg")
    else:
        title += f", R² {part.metrics['r2']:.3f}"
        figure = figures.predicted_figure(part.truth, part.predicted, encoder.target.name, title=title)
        figures.save_figure(figure, run.figures / "predicted_vs_true.svg")
