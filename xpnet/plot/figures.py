"""Figures of a training: curves over epochs, a confusion matrix, predictions against true values.

What is drawn is written once, for matplotlib's axes and for those of `xpnet.plot.svg`. The two colours, blue
and orange, are told apart by people who see no red or no green, and lines also differ in their dashes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.files import write_atomically
from xpnet.plot import svg
from xpnet.plot.scale import round_numbers
from xpnet.text import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "confusion_figure",
    "curve_figure",
    "draw_confusion",
    "draw_curves",
    "draw_predicted",
    "fill_cells",
    "literal",
    "powers",
    "predicted_figure",
    "prepare_axes",
    "range_figure",
    "save_figure",
    "use_logarithm",
]

# Of the palette of Okabe and Ito, "Color universal design", 2008.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#6F6F6F"
_MOST_LETTERS = 56  # of a title
_MOST_CELLS = 16  # classes up to which each cell of a confusion matrix is labelled
_MOST_NAMES = 40  # classes up to which each of them is named


def curve_figure(
    rows: Sequence[dict[str, Any]], column: str, *, label: str, best: int | None = None, title: str = ""
) -> svg.Axes:
    """Return the curve of a history column over epochs, with that of the validation rows beside it.

    Args:
        rows: rows of the history.
        column: such as ``"loss"``; ``"validation_" + column`` is drawn if it is there.
        label: what the numbers are, with their unit.
        best: epoch whose weights were kept, marked by a dot.
        title: what was trained.
    """
    axes = svg.Axes(literal(title))
    draw_curves(axes, rows, column, label=label, best=best)
    return axes


def draw_curves(
    axes: Any, rows: Sequence[Mapping[str, Any]], column: str, *, label: str, best: int | None = None
) -> None:
    """Draw what `curve_figure` shows."""
    curves = [("training", column, BLUE, "--"), ("validation", f"validation_{column}", ORANGE, "-")]
    if column == "learning_rate":
        curves = [("", column, BLUE, "-")]
    largest, drawn = 0.0, 0
    for name, key, colour, style in curves:
        points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
        if not points:
            continue
        epochs, values = zip(*points, strict=True)
        marker = "o" if len(points) == 1 else None
        axes.plot(epochs, values, style, color=colour, linewidth=1.8, label=name, marker=marker)
        drawn += 1
        largest = max(largest, *values)
        if best in epochs and name == "validation":
            value = values[epochs.index(best)]
            axes.plot([best], [value], "o", color=colour, markersize=6, label=f"best: epoch {best}")
    axes.set_xlabel("epoch")
    axes.set_ylabel(literal(label))
    axes.locator_params("x", integer=True, min_n_ticks=1)
    if column == "loss" and largest > 0:
        smallest = min(row[key] for row in rows for _, key, _, _ in curves if row.get(key) is not None)
        if smallest > 0 and largest / smallest > 20:
            use_logarithm(axes, "y", smallest, largest)
        else:
            _write_out(axes.yaxis, smallest, largest)
    elif column == "learning_rate":
        axes.set_ylim(0.0, 1.08 * largest or 1.0)
        _write_out(axes.yaxis, 0.0, largest)
    elif column == "accuracy":
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    if drawn > 1:
        axes.legend(frameon=False)


def confusion_figure(
    true: np.ndarray, predicted: np.ndarray, classes: Sequence[Any], *, title: str = ""
) -> svg.Axes:
    """Return the confusion matrix as a picture: shares of each true class, with the counts in the cells.

    Args:
        true: class indices (rows,).
        predicted: class indices (rows,).
        classes: names of the classes.
        title: which rows these are.
    """
    side = min(max(300.0, 90 + 40.0 * len(classes)), 760.0)
    axes = svg.Axes(literal(title), (side, side), grid=False)
    draw_confusion(axes, true, predicted, classes)
    return axes


def draw_confusion(axes: Any, true: np.ndarray, predicted: np.ndarray, classes: Sequence[Any]) -> None:
    """Draw what `confusion_figure` shows."""
    size = len(classes)
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (true, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    borders = np.arange(size + 1) - 0.5
    percents = [(share, f"{100 * share:g} %") for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    fill_cells(axes, borders, borders, shares, "share of the true class", percents)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    if size <= _MOST_NAMES:
        names = [literal(name, 14) for name in classes]
        wide = max(map(len, names)) > 3
        turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if wide else {}
        letters = {} if size <= _MOST_CELLS else {"fontsize": 7}
        axes.set_xticks(range(size), names, **turned, **letters)
        axes.set_yticks(range(size), names, **letters)
    else:
        axes.locator_params("both", integer=True, min_n_ticks=1)
    if size <= _MOST_CELLS:
        for row, column in np.argwhere(counts):
            axes.text(
                column,
                row,
                str(counts[row, column]),
                ha="center",
                va="center",
                fontsize=9 if size > 4 else 12,
                color="white" if shares[row, column] > 0.85 else "black",
            )
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")


def fill_cells(
    axes: Any,
    x: np.ndarray,
    y: np.ndarray,
    shares: np.ndarray,
    label: str,
    ticks: Sequence[tuple[float, str]],
) -> None:
    """Fill rectangles with blue that covers more and more of the ground, whatever that is.

    Args:
        axes: the axes.
        x, y: borders (columns + 1,) and (rows + 1,).
        shares: how much of it, from 0 to 1 (rows, columns); cells that are not finite stay empty.
        label, ticks: of the bar that tells it.
    """
    if isinstance(axes, svg.Axes):
        axes.cells(x, y, shares, label, ticks)
        return
    from matplotlib.colors import LinearSegmentedColormap

    blue = LinearSegmentedColormap.from_list("", [f"{BLUE}00", BLUE])
    image = axes.pcolormesh(x, y, np.ma.masked_invalid(shares), cmap=blue, vmin=0, vmax=1, rasterized=True)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label(label)
    places, names = zip(*ticks, strict=True)
    bar.set_ticks(places, labels=names)
    bar.outline.set_visible(False)


def predicted_figure(true: np.ndarray, predicted: np.ndarray, target: str, *, title: str = "") -> svg.Axes:
    """Return predictions against true values, with the line on which both are equal.

    Args:
        true: values (rows,) on the scale of the target.
        predicted: values (rows,).
        target: name of the target column.
        title: which rows these are.
    """
    axes = svg.Axes(literal(title), (390.0, 390.0))
    draw_predicted(axes, true, predicted, target)
    return axes


def draw_predicted(axes: Any, true: np.ndarray, predicted: np.ndarray, target: str) -> None:
    """Draw what `predicted_figure` shows."""
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    margin = 0.04 * (high - low) or 1.0
    ends = (low - margin, high + margin)
    axes.plot(ends, ends, "--", color=GREY, linewidth=1.2, label="predicted = true", zorder=1)
    few = len(true) <= 500
    axes.scatter(
        true,
        predicted,
        s=18 if few else 8,
        color=BLUE,
        alpha=0.7 if few else 0.35,
        linewidths=0,
        zorder=2,
        rasterized=len(true) > 5000,  # keeps an SVG of many rows small
    )
    name = literal(target, 40)
    axes.set_aspect("equal")
    axes.set(xlim=ends, ylim=ends, xlabel=f"true {name}", ylabel=f"predicted {name}")
    axes.locator_params(nbins=6)  # long numbers of one axis meet each other
    for axis in (axes.xaxis, axes.yaxis):
        _write_out(axis, *ends)
    axes.legend(frameon=False)


def range_figure(
    rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, suggestion: float | None, *, title: str = ""
) -> Figure:
    """Return the losses of a learning-rate range test over the rates, with the suggested rate marked.

    Args:
        rates: learning rates (steps,).
        losses: loss of each step (steps,).
        smoothed: their moving average (steps,).
        suggestion: a rate, or None.
        title: what was tried.
    """
    from matplotlib.figure import Figure

    figure = Figure((5.6, 3.5), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    prepare_axes(axes, title)
    axes.plot(rates, losses, color=GREY, linewidth=0.8, alpha=0.6, label="each step")
    axes.plot(rates, smoothed, color=BLUE, linewidth=1.8, label="smoothed")
    if suggestion is not None:
        axes.axvline(
            suggestion, color=ORANGE, linestyle="--", linewidth=1.5, label=f"suggestion: {suggestion:.2g}"
        )
    use_logarithm(axes, "x", float(rates.min()), float(rates.max()))
    low, high = smoothed.min(), smoothed.max()
    margin = 0.1 * (high - low) or 1.0
    axes.set(ylim=(low - margin, high + margin), xlabel="learning rate", ylabel="loss")
    axes.legend(frameon=False)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure of matplotlib atomically, as SVG or PNG; equal figures give equal files."""
    import matplotlib

    kind = path.suffix.lstrip(".").lower()
    # no date, and names of parts drawn from a fixed salt
    with (
        matplotlib.rc_context({"svg.hashsalt": "xpnet", "svg.fonttype": "path"}),
        warnings.catch_warnings(action="ignore", category=UserWarning),  # letters that the font lacks
    ):
        if kind == "svg":
            write_atomically(path, lambda file: figure.savefig(file, format=kind, metadata={"Date": None}))
        else:
            write_atomically(path, lambda file: figure.savefig(file, format=kind, dpi=150))


def prepare_axes(axes: Any, title: str, *, grid: bool = True) -> None:
    """Give axes their title and the look of all figures here."""
    if title:
        axes.set_title(literal(title), fontsize=11, loc="left", y=1.0)
    if grid:
        axes.grid(color="#E3E3E3", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def _write_out(axis: Any, low: float, high: float) -> None:
    """Label an axis with numbers such as 1.5e+07: a power above the axis would lie in the title."""
    size = max(abs(low), abs(high))
    if (size >= 1e6 or 0 < size < 1e-3) and high - low > 1e-4 * size:  # others need more digits
        axis.set_major_formatter(lambda value, _: f"{value:g}")


def use_logarithm(axes: Any, name: str, low: float, high: float, *, from_zero: bool = False) -> None:
    """Give an axis a logarithmic scale, whose labels are plain numbers: powers take long to typeset.

    Args:
        axes: the axes.
        name: "x" or "y".
        low, high: the values, above zero, between which the lines are.
        from_zero: whether there is a place for zero below ``low``.
    """
    options: dict[str, Any] = {"linthresh": low} if from_zero else {}
    getattr(axes, f"set_{name}scale")("symlog" if from_zero else "log", **options)
    if low == high:
        low, high = low / 10, 10 * high
        getattr(axes, f"set_{name}lim")(0.0 if from_zero else low, high)
    ticks = [0.0] * from_zero + powers(low, high)
    getattr(axes, f"set_{name}ticks")(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def powers(low: float, high: float) -> list[float]:
    """Return ticks between two numbers on a logarithmic scale.

    >>> powers(0.03, 0.4), powers(0.0002, 3.0)
    ([0.05, 0.1, 0.2], [0.001, 0.01, 0.1, 1.0])
    """
    if high <= 10 * low:
        return round_numbers(low, high, 5)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if high <= 100 * low else (1,)
    every = -(-(last - first) // 8)
    found = [float(f"{factor}e{power}") for power in range(first, last + 1, every) for factor in factors]
    return [number for number in found if low <= number <= high]


def literal(text: object, most: int = _MOST_LETTERS) -> str:
    """Return text for a figure as it is to be read: no formula between dollars, nothing that cannot be drawn.

    >>> print(literal("$x$"))
    \\$x\\$
    """
    made = shown(text, most).replace("$", r"\$")
    return f" {made}" if made.startswith("_") else made  # which a legend would leave out
