"""The pictures of `docs/homework.md` and `docs/stochastic.md`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpnet.files import write_atomically

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "SKY", "Curve", "Panel", "draw"]

# Of the palette of Okabe and Ito, which people with any kind of colour vision tell apart.
BLUE, ORANGE, GREEN, PURPLE, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#6F6F6F"
_MOST_POINTS = 150  # of a curve, so that files stay small


class Curve(NamedTuple):
    """A line of a panel."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    style: str = "-"


class Panel(NamedTuple):
    """Axes with their curves; ``scale`` says which axes are logarithmic: "", "x", "y" or "xy".

    An axis whose ``ends`` are given in falling order runs backwards.
    """

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    scale: str = ""
    percent: bool = False
    limits: tuple[float, float] | None = None
    ends: tuple[float, float] | None = None


def draw(path: Path, panels: Sequence[Panel], columns: int = 2) -> None:
    """Write panels side by side as an SVG file; equal numbers give equal bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = -(-len(panels) // columns)
    # No date, and names of parts drawn from a fixed salt; text as text, which keeps files small.
    with matplotlib.rc_context({"svg.hashsalt": "xpnet", "svg.fonttype": "none"}):
        figure = Figure(figsize=(4.6 * columns, 3.3 * rows), layout="constrained", facecolor="white")
        for panel, axes in zip(panels, np.ravel(figure.subplots(rows, columns, squeeze=False)), strict=True):
            _draw_panel(axes, panel)
        write_atomically(path, lambda file: figure.savefig(file, format="svg", metadata={"Date": None}))


def _draw_panel(axes: Any, panel: Panel) -> None:
    for curve in panel.curves:
        chosen = _thinned(len(curve.x), "x" in panel.scale)
        axes.plot(
            np.asarray(curve.x)[chosen], np.asarray(curve.y)[chosen], curve.style,
            color=curve.colour, linewidth=1.6, markersize=4, label=curve.label,
        )  # fmt: skip
    axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
    axes.title.set_fontsize(10)
    if "x" in panel.scale:
        axes.set_xscale("log")
    if "y" in panel.scale:
        axes.set_yscale("log")
    if panel.scale:
        axes.minorticks_off()
    axes.set(ylim=panel.limits, xlim=panel.ends)
    if panel.percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.grid(color="#E3E3E3", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8)


def _thinned(length: int, logarithmic: bool) -> np.ndarray:
    """Return the numbers of the points that are drawn, evenly along the axis, with both ends."""
    if length <= _MOST_POINTS:
        return np.arange(length)
    spread = np.geomspace(1, length, _MOST_POINTS) if logarithmic else np.linspace(1, length, _MOST_POINTS)
    return np.unique(np.rint(spread).astype(int)) - 1
