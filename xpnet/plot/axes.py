"""Pictures on matplotlib's axes: functions that take axes and return them.

Without axes (``ax=None``) pyplot makes some, so that notebooks show them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.errors import ConfigError, DataError, suggest
from xpnet.plot import figures, layers
from xpnet.plot.figures import BLUE, GREY, ORANGE, literal, prepare_axes

__all__ = [
    "calibration",
    "confusion_matrix",
    "diagnostics",
    "importance",
    "loss_curves",
    "predicted_against_true",
]

_MOST_COLUMNS = 30
# Of the measures of `xpnet.train.Diagnostics`: the axis, whether it is a share, and a guide.
_MEASURES: dict[str, tuple[str, bool, tuple[float, str] | None]] = {
    "gradient_norm": ("norm of the gradient", False, None),
    "update_ratio": ("norm of update / norm of weights", False, (1e-3, "0.001, a usual size")),
    "activation_rms": ("root mean square of activations", False, None),
    "weight_norm": ("norm of the weights", False, None),
    "dead": ("share of dead units", True, None),
    "saturated": ("share of saturated outputs", True, None),
}


def _axes(ax: Any, title: str, size: tuple[float, float], *, grid: bool = True, square: bool = False) -> Any:
    """Return axes that are ready, new ones if there are none."""
    if ax is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ConfigError(
                f"plot: expected matplotlib, found none ({error}); pip install 'xpnet[standard]'"
            ) from None
        ax = pyplot.subplots(figsize=size, layout="compressed" if square else "constrained")[1]
    prepare_axes(ax, title, grid=grid)
    return ax


def loss_curves(
    history: Iterable[Mapping[str, Any]],
    column: str = "loss",
    *,
    best: int | None = None,
    title: str = "",
    ax: Any = None,
) -> Any:
    """Draw a column of a history over the epochs, with that of the validation rows beside it.

    Args:
        history: of a trainer or a run, or its rows.
        column: such as "loss", "accuracy" or "learning_rate".
        best: epoch to be marked.
        title: above the axes.
        ax: axes to draw on; None makes some.

    Returns:
        The axes.

    Raises:
        ConfigError: no such column.
    """
    rows = list(history)
    known = {name for row in rows for name in row}
    if column not in known:
        raise ConfigError(f"loss_curves: the history has no column {column!r}{suggest(column, known)}")
    ax = _axes(ax, title, (5.6, 3.5))
    figures.draw_curves(ax, rows, column, label=column.replace("_", " "), best=best)
    return ax


def confusion_matrix(
    true: Any, predicted: Any, classes: Sequence[Any] | None = None, *, title: str = "", ax: Any = None
) -> Any:
    """Draw a confusion matrix: shares of each true class, with the counts in the cells.

    Args:
        true: classes (rows,), as names or whatever they are.
        predicted: likewise.
        classes: all classes in their order; None: those that occur, sorted.
        title, ax: as for `loss_curves`.

    Raises:
        DataError: different numbers of rows, or a class that is not among ``classes``.
    """
    truth, answers = (np.asarray(values).tolist() for values in (true, predicted))
    _check_rows(truth, answers)
    if classes is None:
        found = {*truth, *answers}
        classes = sorted(found, key=lambda one: (isinstance(one, str), one))
    numbers = {one: number for number, one in enumerate(classes)}
    for one in (*truth, *answers):
        if one not in numbers:
            raise DataError(
                f"confusion_matrix: expected one of the classes, found {one!r}{suggest(one, classes)}"
            )
    side = min(max(4.2, 1.9 + 0.42 * len(classes)), 9.0)
    ax = _axes(ax, title, (side + 1.3, side), grid=False, square=True)
    one, other = (
        np.asarray([numbers[name] for name in values], dtype=np.int64) for values in (truth, answers)
    )
    figures.draw_confusion(ax, one, other, classes)
    return ax


def predicted_against_true(
    true: Any, predicted: Any, target: str = "value", *, title: str = "", ax: Any = None
) -> Any:
    """Draw predictions against true values, with the line on which both are equal.

    Args:
        true: values (rows,).
        predicted: values (rows,).
        target: name of what is predicted.
        title, ax: as for `loss_curves`.
    """
    truth, answers = (np.asarray(values, dtype=np.float64) for values in (true, predicted))
    _check_rows(truth, answers)
    ax = _axes(ax, title, (5.2, 5.0), square=True)
    figures.draw_predicted(ax, truth, answers, target)
    return ax


def importance(found: Any, *, title: str = "", ax: Any = None) -> Any:
    """Draw the importance of columns as bars, with their spread.

    Args:
        found: what `xpnet.tabular.TableModel.importance` returns, or a dict of (mean, spread) by column.
        title, ax: as for `loss_curves`.
    """
    pairs = found if isinstance(found, Mapping) else found.to_dict()
    shown = sorted(pairs.items(), key=lambda item: -item[1][0])[:_MOST_COLUMNS]
    names = [literal(name, 30) for name, _ in shown]
    ax = _axes(ax, title, (5.6, max(2.0, 1.0 + 0.28 * len(names))))
    means, spreads = ([pair[i] for _, pair in shown] for i in (0, 1))
    ax.barh(range(len(names)), means, xerr=spreads, color=BLUE, height=0.7, ecolor=GREY, capsize=2)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)  # the first one above
    ax.axvline(0.0, color=GREY, linewidth=0.8)
    metric = getattr(found, "metric", "")
    ax.set_xlabel(f"fall of {metric or 'the metric'}\nif the column's cells change places")
    return ax


def calibration(true: Any, probabilities: Any, *, bins: int = 10, title: str = "", ax: Any = None) -> Any:
    """Draw how often predictions are right, over how sure they are; on the dashed line both are equal.

    Args:
        true: whether each row is of the second class (rows,), or class indices (rows,).
        probabilities: of the second class (rows,), or of all classes (rows, classes), of which the most
            probable one counts.
        bins: equal parts of the range of probabilities.
        title, ax: as for `loss_curves`.
    """
    truth, sure = np.asarray(true), np.asarray(probabilities, dtype=np.float64)
    _check_rows(truth, sure)
    of_all = sure.ndim == 2
    right = (truth == sure.argmax(axis=1) if of_all else truth).astype(np.float64)
    sure = sure.max(axis=1) if of_all else sure
    places = np.clip((sure * bins).astype(int), 0, bins - 1)
    filled = [place for place in range(bins) if (places == place).any()]
    ax = _axes(ax, title, (4.8, 4.6), square=True)
    ax.plot((0, 1), (0, 1), "--", color=GREY, linewidth=1.2, label="as sure as right", zorder=1)
    x = [float(sure[places == place].mean()) for place in filled]
    y = [float(right[places == place].mean()) for place in filled]
    counts = np.asarray([int((places == place).sum()) for place in filled], dtype=float)
    # half of the interval in which a share of so many rows lies two times of three
    errors = [math.sqrt(max(share * (1 - share), 1e-12) / n) for share, n in zip(y, counts, strict=True)]
    ax.errorbar(x, y, yerr=errors, color=ORANGE, linewidth=1.4, marker="o", capsize=2, label="predictions")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    ax.set_xlabel("probability of the predicted class" if of_all else "predicted probability")
    ax.set_ylabel("share that is right" if of_all else "share of the second class")
    ax.legend(frameon=False)
    return ax


def diagnostics(
    rows: Iterable[Mapping[str, Any]], measure: str = "gradient_norm", *, title: str = "", ax: Any = None
) -> Any:
    """Draw a measure of each layer over the epochs: lines, of more than eight layers rows of colours.

    Args:
        rows: ``rows`` of `xpnet.train.Diagnostics`, or those of a run's ``diagnostics.jsonl``
            (`xpnet.train.diagnostics.read_rows`).
        measure: gradient_norm, update_ratio, activation_rms, weight_norm, dead or saturated.
        title, ax: as for `loss_curves`.

    Raises:
        ConfigError: an unknown measure, or one that no layer has.
    """
    if measure not in _MEASURES:
        raise ConfigError(
            f"diagnostics: expected a known measure, found {measure!r}{suggest(measure, _MEASURES)}"
        )
    label, share, guide = _MEASURES[measure]
    rows = list(rows)
    names = list(dict.fromkeys(layer["layer"] for row in rows for layer in row["layers"]))
    at = [{layer["layer"]: layer.get(measure) for layer in row["layers"]} for row in rows]
    values = np.array(
        [[math.nan if found.get(name) is None else found[name] for found in at] for name in names],
        dtype=float,
    ).reshape(len(names), len(rows))
    kept = [i for i in range(len(names)) if np.isfinite(values[i]).any()]
    if not kept:
        raise ConfigError(
            f"diagnostics: no layer has a {measure.replace('_', ' ')}; measure some epochs first"
        )
    names, values = [names[i] for i in kept], values[kept]
    epochs = [row["epoch"] for row in rows]
    many = len(names) > layers.MOST_LINES
    ax = _axes(
        ax, title, (5.6 if many else 7.2, min(2.2 + 0.16 * len(names), 7.0) if many else 3.6), grid=not many
    )
    if many:
        layers.draw_picture(ax, epochs, names, values, label=label, share=share)
    else:
        layers.draw_layers(ax, epochs, names, values, label=label, share=share, guide=guide)
        # beside the lines, which may be anywhere
        ax.legend(frameon=False, fontsize=9, handlelength=3, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _check_rows(one: Any, other: Any) -> None:
    if len(one) != len(other) or len(one) == 0:
        raise DataError(f"expected equally many rows, at least one, found {len(one)} and {len(other)}")
