"""Figures and report of a finished run."""

from __future__ import annotations

import dataclasses
import logging
import re
from typing import Any

from xpnet.data import Summary
from xpnet.errors import CheckpointError
from xpnet.files import write_atomically
from xpnet.plot import figures
from xpnet.runs.folder import RunFolder
from xpnet.runs.plan import Plan
from xpnet.runs.report import (
    Contents,
    Picture,
    Prediction,
    describe_confusion,
    describe_curve,
    describe_predicted,
    draw_diagnostics,
    read_diagnostics,
    render,
    with_outcome,
)
from xpnet.runs.settings import Settings
from xpnet.tabular.defaults import default_batch_size
from xpnet.tabular.parts import PARTS
from xpnet.tabular.scoring import Measured
from xpnet.tabular.trainer import metric_of, with_rate
from xpnet.text import count
from xpnet.train.targets import kind_of

__all__ = ["write_report"]

_MANY = 100  # rows: a score of fewer does not stand in a title, without its interval
_log = logging.getLogger("xpnet.runs")
_LABELS = {"accuracy": "accuracy", "r2": "R²"}


def write_report(plan: Plan, results: dict[str, Any], measured: dict[str, Measured]) -> None:
    """Draw the figures and write ``report.html``."""
    run = plan.run
    shown = next(name for name in reversed(PARTS) if name in measured)  # training has seen least of it
    found = with_outcome(read_diagnostics(run.diagnostics), results["verdicts"])
    contents = Contents(
        title=plan.title,
        results=results,
        target_kind=kind_of(plan.prepared.loss),
        settings=plan.settings,
        defaults=_defaults(plan),
        environment=run.read_environment(),
        columns=[column.name for column in plan.prepared.encoder.columns],
        summary=_summary(run),
        rows=plan.trainer.history.rows,
        shown=shown,
        predictions=_draw_predictions(plan, shown, measured[shown]),
        curves=_draw(plan),
        diagnostics=found,
        diagnostic_pictures=draw_diagnostics(found, run.figures, plan.title) if found else (),
        log=run.read(run.log).decode(errors="replace").splitlines() if run.log.exists() else (),
    )
    write_atomically(run.report, render(contents))


def _summary(run: RunFolder) -> Summary | None:
    """Return the summary of the columns; a damaged one costs no more than its table in the report."""
    try:
        return run.read_summary()
    except CheckpointError as error:
        _log.warning("the report shows no columns: %s", error)
        return None


def _defaults(plan: Plan) -> Settings:
    """Return the settings that this table would be trained with if no others were given."""
    settings = Settings(data=plan.settings.data, target=plan.settings.target, task=plan.settings.task)
    loss = "softmax_cross_entropy" if settings.task == "classification" else "squared_error"
    rows = len(plan.prepared.parts["train"])
    own = with_rate(dataclasses.replace(plan.settings, learning_rate=None)).learning_rate
    return dataclasses.replace(settings, loss=loss, batch_size=default_batch_size(rows), learning_rate=own)


def _draw(plan: Plan) -> list[Picture]:
    """Draw the curves."""
    settings, run = plan.settings, plan.run
    rows, best = plan.trainer.history.rows, plan.trainer.best
    epoch = best.epoch if best else None
    metric = metric_of(settings.task)
    columns = [
        ("loss", "loss", f"loss ({settings.loss.replace('_', ' ')})"),
        (metric, *2 * (_LABELS[metric],)),
    ]
    if any("learning_rate" in row for row in rows):
        columns.append(("learning_rate", "learning rate", "learning rate"))
    pictures = []
    for column, title, axis in columns:
        figure = figures.curve_figure(rows, column, label=axis, best=epoch, title=f"{plan.title}: {title}")
        described = describe_curve(rows, column, title, epoch)
        pictures.append(Picture.saved(run.figures / f"{column}.svg", figure, described))
    return pictures


def _draw_predictions(plan: Plan, name: str, part: Measured) -> list[Prediction]:
    """Draw what was predicted for each target of the rows of a part."""
    encoder, rows = plan.prepared.encoder, count(len(part.truth), f"{name} row")
    truth, predicted = (values.reshape(len(values), -1) for values in (part.truth, part.predicted))
    several, many = len(encoder.targets) > 1, len(part.truth) >= _MANY
    made = []
    for index, (target, classes) in enumerate(zip(encoder.target_names, encoder.target_classes, strict=True)):
        found = part.targets[target] if several else part.metrics
        title = f"{plan.title}, {target}: {rows}" if several else f"{plan.title}: {rows}"
        # numbered, as two targets may have the same name when only what a file's may hold is left of it
        plain = re.sub(r"[^\w.-]+", "-", target)[:40]
        ending = f"_{index + 1}_{plain}.svg" if several else ".svg"
        pair = truth[:, index], predicted[:, index]
        if classes:
            title += f", accuracy {100 * found['accuracy']:.1f} %" if many else ""
            figure = figures.confusion_figure(*pair, classes, title=title)
            path, description = f"confusion_matrix{ending}", describe_confusion(*pair, classes, name)
        else:
            title += f", R² {found['r2']:.3f}" if many else ""
            figure = figures.predicted_figure(*pair, target, title=title)
            path, description = f"predicted_vs_true{ending}", describe_predicted(*pair, target, name)
        picture = Picture.saved(plan.run.figures / path, figure, description)
        made.append(Prediction(target, classes, *pair, picture))
    return made
