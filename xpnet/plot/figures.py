"""Figures of a training: curves over epochs, a confusion matrix, predictions against true values.

Drawn with matplotlib's figure object alone: no window, no global state. The two colours, blue and orange,
are told apart by people who see no red or no green, and lines also differ in their dashes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.files import write_atomically
from xpnet.text import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "beside",
    "colour_bar",
    "confusion_figure",
    "curve_figure",
    "draw_confusion",
    "draw_curves",
    "draw_predicted",
    "literal",
    "new_axes",
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
) -> Figure:
    """Return the curve of a history column over epochs, with that of the validation rows beside it.

    Args:
        rows: rows of the history.
        column: such as ``"loss"``; ``"validation_" + column`` is drawn if it is there.
        label: what the numbers are, with their unit.
        best: epoch whose weights were kept, marked by a dot.
        title: what was trained.
    """
    figure, axes = new_axes(title)
    draw_curves(axes, rows, column, label=label, best=best)
    return figure


def draw_curves(
    axes: Any, rows: Sequence[Mapping[str, Any]], column: str, *, label: str, best: int | None = None
) -> None:
    """Draw what `curve_figure` shows."""
    curves = [("training", column, BLUE, "--"), ("validation", f"validation_{column}", ORANGE, "-")]
    if column == "learning_rate":
        curves = [("", column, BLUE, "-")]
    largest = 0.0
    for name, key, colour, style in curves:
        points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
        if not points:
            continue
        epochs, values = zip(*points, strict=True)
        marker = "o" if len(points) == 1 else None
        axes.plot(epochs, values, style, color=colour, linewidth=1.8, label=name, marker=marker)
        largest = max(largest, *values)
        if best in epochs and name == "validation":
            value = values[epochs.index(best)]
            axes.plot([best], [value], "o", color=colour, markersize=6, label=f"best: epoch {best}")
    axes.set_xlabel("epoch")
    axes.set_ylabel(literal(label))
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if column == "loss" and largest > 0:
        smallest = min(row[key] for row in rows for _, key, _, _ in curves if row.get(key) is not None)
        if smallest > 0 and largest / smallest > 20:
            use_logarithm(axes, "y", smallest, largest)
        else:
            _write_out(axes.yaxis, smallest, largest)
    elif column == "learning_rate":
        axes.set_ylim(bottom=0)
        _write_out(axes.yaxis, 0.0, largest)
    elif column == "accuracy":
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    if len(axes.lines) > 1:
        axes.legend(frameon=False)


def confusion_figure(
    true: np.ndarray, predicted: np.ndarray, classes: Sequence[Any], *, title: str = ""
) -> Figure:
    """Return the confusion matrix as a picture: shares of each true class, with the counts in the cells.

    Args:
        true: class indices (rows,).
        predicted: class indices (rows,).
        classes: names of the classes.
        title: which rows these are.
    """
    size = len(classes)
    longest = max((len(literal(name, 14)) for name in classes), default=3) if size <= _MOST_NAMES else 3
    inside = min(max(3.2, 0.9 + 0.42 * size), 8.0)
    left, below = 0.6 + 0.09 * longest, 0.55 + (0.07 * longest if longest > 3 else 0.0)
    figure, axes = new_axes(
        title,
        (left + inside + 1.1, below + inside + 0.4),
        grid=False,
        margins=(left, 1.1, below, 0.4),
        ticks=below - 0.27,
    )
    draw_confusion(axes, true, predicted, classes, bar=beside(figure, axes))
    return figure


def draw_confusion(
    axes: Any, true: np.ndarray, predicted: np.ndarray, classes: Sequence[Any], *, bar: Any = None
) -> None:
    """Draw what `confusion_figure` shows, with the bar of colours in axes of its own or beside the others."""
    from matplotlib.colors import LinearSegmentedColormap

    size = len(classes)
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (true, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [literal(name, 14) for name in classes] if size <= _MOST_NAMES else []
    wide = max(map(len, names), default=3) > 3
    # blue that covers more and more of the ground, whatever that is
    image = axes.imshow(
        shares, cmap=LinearSegmentedColormap.from_list("", [f"{BLUE}00", BLUE]), vmin=0, vmax=1
    )
    if names:
        turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if wide else {}
        letters = {} if size <= _MOST_CELLS else {"fontsize": 7}
        axes.set_xticks(range(size), names, **turned, **letters)
        axes.set_yticks(range(size), names, **letters)
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
    bar = colour_bar(axes, image, bar)
    bar.set_label("share of the true class")
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    bar.outline.set_visible(False)


def predicted_figure(true: np.ndarray, predicted: np.ndarray, target: str, *, title: str = "") -> Figure:
    """Return predictions against true values, with the line on which both are equal.

    Args:
        true: values (rows,) on the scale of the target.
        predicted: values (rows,).
        target: name of the target column.
        title: which rows these are.
    """
    figure, axes = new_axes(title, (5.2, 5.0))
    draw_predicted(axes, true, predicted, target)
    return figure


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
    axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel=f"true {name}", ylabel=f"predicted {name}")
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
    figure, axes = new_axes(title)
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
    """Write a figure atomically, as SVG or PNG by the extension; equal figures give equal files."""
    import matplotlib

    kind = path.suffix.lstrip(".").lower()
    # no date, and names of parts drawn from a fixed salt
    with (
        matplotlib.rc_context({"svg.hashsalt": "xpnet", "svg.fonttype": "path"}),
        warnings.catch_warnings(action="ignore", category=UserWarning),  # letters that the font lacks
    ):
        if kind == "svg":
            write_atomically(path, lambda file: _write_svg(figure, file))
        else:
            write_atomically(path, lambda file: figure.savefig(file, format=kind, dpi=150))


def _write_svg(figure: Figure, file: Any) -> None:
    """Write a figure as SVG, drawn once: ``savefig`` draws it a first time to find out its extent."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    dpi = figure.dpi
    figure.dpi = 72.0  # SVG counts in points
    try:
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    finally:
        figure.dpi = dpi


def new_axes(
    title: str,
    size: tuple[float, float] = (5.6, 3.5),
    *,
    grid: bool = True,
    margins: tuple[float, float, float, float] = (0.9, 0.15, 0.55, 0.4),
    ticks: float = 0.28,
) -> tuple[Figure, Any]:
    """Return a figure with a title, and the axes in it.

    Args:
        title: heads the figure.
        size: width and height in inches.
        grid: whether lines are drawn behind the axes.
        margins: around the axes, in inches: left, right, below, above. They and the places of the labels are
            given: finding them from the widths of the tick labels takes longer than all else.
        ticks: height of the tick labels below the axes, in inches; the label of the axis is below them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.transforms import blended_transform_factory

    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)
    (width, height), (left, right, below, above) = size, margins
    sides = (left / width, below / height, 1 - (left + right) / width, 1 - (below + above) / height)
    axes = figure.add_axes(sides)
    inches, of_axes = figure.dpi_scale_trans, axes.transAxes
    axes.xaxis.set_label_coords(0.5, below - ticks, transform=blended_transform_factory(of_axes, inches))
    axes.yaxis.set_label_coords(0.17, 0.5, transform=blended_transform_factory(inches, of_axes))
    prepare_axes(axes, title, grid=grid)
    return figure, axes


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
    from matplotlib.ticker import LogLocator, NullLocator

    options: dict[str, Any] = {"linthresh": low} if from_zero else {}
    if low == high:
        getattr(axes, f"set_{name}lim")(0.0 if from_zero else low / 10, 10 * high)
    getattr(axes, f"set_{name}scale")("symlog" if from_zero else "log", **options)
    axis = getattr(axes, f"{name}axis")
    if not from_zero:
        axis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0), numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")


def colour_bar(axes: Any, image: Any, place: Any = None) -> Any:
    """Return the bar of an image's colours, in the axes ``place``, or in room taken from ``axes``."""
    if place is None:
        return axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    return axes.figure.colorbar(image, cax=place)


def beside(figure: Figure, axes: Any, gap: float = 0.1, width: float = 0.16) -> Any:
    """Return narrow axes to the right of others, for a bar of colours; lengths in inches."""
    place, across = axes.get_position(), figure.get_size_inches()[0]
    return figure.add_axes((place.x1 + gap / across, place.y0, width / across, place.height))


def literal(text: object, most: int = _MOST_LETTERS) -> str:
    """Return text for a figure as it is to be read: no formula between dollars, nothing that cannot be drawn.

    >>> print(literal("$x$"))
    \\$x\\$
    """
    made = shown(text, most).replace("$", r"\$")
    return f" {made}" if made.startswith("_") else made  # which a legend would leave out
