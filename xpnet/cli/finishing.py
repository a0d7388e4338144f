"""The end of a training: measured, drawn, reported, and written down."""

from __future__ import annotations

import dataclasses
from typing import Any

from xpnet.cli import figures
from xpnet.cli.building import metric_of, with_rate
from xpnet.cli.console import count
from xpnet.cli.keeping import best_trainer
from xpnet.cli.measuring import Measured, measure
from xpnet.cli.planning import Plan
from xpnet.cli.preparing import PARTS
from xpnet.cli.reporting import (
    Contents,
    Picture,
    Prediction,
    describe_confusion,
    describe_curve,
    describe_predicted,
    draw_diagnostics,
    read_diagnostics,
    render,
)
from xpnet.cli.runs import to_json
from xpnet.cli.settings import Settings
from xpnet.files import write_atomically

__all__ = ["finish"]

_LABELS = {"accuracy": "accuracy", "r2": "R²"}


def finish(plan: Plan, seconds: float) -> dict[str, Any]:
    """Measure the best weights on each part, write the report with its figures, and return the results.

    Args:
        plan: the training, over.
        seconds: how long it took.
    """
    trainer, run, parts = plan.trainer, plan.run, plan.prepared.parts
    best = best_trainer(trainer)
    if trainer.best is None:
        best.save(run.checkpoint("best"))  # without validation rows the last weights are the best known
    measured = {name: measure(best, plan.prepared.encoder, parts[name]) for name in PARTS if len(parts[name])}
    results = {
        **plan.describe(),
        "epochs_trained": trainer.epoch,
        "steps": trainer.step,
        "best_epoch": trainer.best.epoch if trainer.best is not None else None,
        "stopped": _why_stopped(plan),
        "seconds": round(seconds, 3),
        "metrics": {name: part.metrics for name, part in measured.items()},
        "report": str(run.report),
    }
    _report(plan, results, measured)
    write_atomically(run.results, to_json(results))
    return results


def _why_stopped(plan: Plan) -> str:
    if plan.trainer.epoch >= plan.settings.epochs:
        return "all epochs done"
    if plan.trainer.stuck:
        return plan.trainer.stuck
    steps = plan.settings.max_steps
    if steps is not None and plan.trainer.step >= steps:
        return f"all {count(steps, 'step')} done"
    return f"no better validation loss for {count(plan.settings.patience or 0, 'epoch')}"


def _draw(plan: Plan) -> list[Picture]:
    """Draw the curves."""
    settings, run = plan.settings, plan.run
    rows, best = plan.trainer.history.rows, plan.trainer.best
    epoch = best.epoch if best else None
    metric = metric_of(settings.task)
    loss = f"loss ({settings.loss.replace('_', ' ')})"
    pictures = []
    for column, title, axis in (
        ("loss", "loss", loss),
        (metric, _LABELS[metric], _LABELS[metric]),
        ("learning_rate", "learning rate", "learning rate"),
    ):
        figure = figures.curve_figure(rows, column, label=axis, best=epoch, title=f"{plan.title}: {title}")
        pictures.append(Picture(run.figures / f"{column}.svg", describe_curve(rows, column, title, epoch)))
        figures.save_figure(figure, pictures[-1].path)
    return pictures


def _draw_predictions(plan: Plan, name: str, part: Measured) -> list[Prediction]:
    """Draw what was predicted for the rows of a part."""
    encoder, folder = plan.prepared.encoder, plan.run.figures
    title = f"{plan.title}: {count(len(part.truth), f'{name} row')}"
    if plan.settings.task == "classification":
        title += f", accuracy {100 * part.metrics['accuracy']:.1f} %"
        figure = figures.confusion_figure(part.truth, part.predicted, encoder.classes, title=title)
        description = describe_confusion(part.truth, part.predicted, encoder.classes, name)
        path = folder / "confusion_matrix.svg"
    else:
        title += f", R² {part.metrics['r2']:.3f}"
        figure = figures.predicted_figure(part.truth, part.predicted, encoder.target.name, title=title)
        description = describe_predicted(part.truth, part.predicted, encoder.target.name, name)
        path = folder / "predicted_vs_true.svg"
    figures.save_figure(figure, path)
    picture = Picture(path, description)
    return [Prediction(encoder.target.name, encoder.classes, part.truth, part.predicted, picture)]


def _report(plan: Plan, results: dict[str, Any], measured: dict[str, Measured]) -> None:
    """Draw the figures and write ``report.html``."""
    run = plan.run
    shown = next(name for name in reversed(PARTS) if name in measured)  # training has seen least of it
    found = read_diagnostics(run.diagnostics)
    contents = Contents(
        title=plan.title,
        results=results,
        settings=plan.settings,
        defaults=_defaults(plan),
        environment=run.read_json(run.environment),
        columns=[column.name for column in plan.prepared.encoder.columns],
        rows=plan.trainer.history.rows,
        shown=shown,
        predictions=_draw_predictions(plan, shown, measured[shown]),
        curves=_draw(plan),
        diagnostics=found,
        diagnostic_pictures=draw_diagnostics(found, run.figures, plan.title) if found else (),
        log=run.log.read_text(encoding="utf-8", errors="replace").splitlines() if run.log.exists() else (),
    )
    write_atomically(run.report, render(contents))


def _defaults(plan: Plan) -> Settings:
    """Return the settings that this table would be trained with if no others were given."""
    settings = Settings(data=plan.settings.data, target=plan.settings.target, task=plan.settings.task)
    loss = "softmax_cross_entropy" if settings.task == "classification" else "squared_error"
    size = min(64, len(plan.prepared.parts["train"]))
    own = with_rate(dataclasses.replace(plan.settings, lr=None)).lr
    return dataclasses.replace(settings, loss=loss, batch_size=size, lr=own)
