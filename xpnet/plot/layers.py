"""Figures of diagnostics: norms and ratios of each layer, epoch by epoch.

Up to eight layers are lines, told apart by colour and dashes; more of them are the rows of a picture in which
the first layer is at the top, so that what vanishes or explodes on its way through a network is a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.plot.figures import BLUE, GREY, ORANGE, beside, colour_bar, literal, new_axes, use_logarithm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MOST_LINES", "draw_layers", "draw_picture", "layers_figure"]

MOST_LINES = 8
_MOST_NAMES = 30
# Of the palette of Okabe and Ito, but for its yellow, which is too pale for a line on white.
_COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", BLUE, ORANGE)
_DASHES = ("-", "--", "-.", (0, (4, 1.2, 1, 1.2, 1, 1.2)), (0, (6, 2)), ":", (0, (1, 2.5)), (0, (8, 2, 2, 2)))


def layers_figure(
    epochs: Sequence[int],
    layers: Mapping[str, Sequence[float | None]],
    *,
    label: str,
    title: str,
    share: bool = False,
    guide: tuple[float, str] | None = None,
) -> Figure:
    """Return one number of each layer over the epochs.

    Args:
        epochs: where the numbers were taken.
        layers: by the name of the layer, from input to output, a finite number for each epoch, or None.
        label: what the numbers are.
        title: heads the figure.
        share: whether they are shares from 0 to 1; others are drawn on a logarithmic scale.
        guide: a value and what it says, drawn as a line beside those of the layers.
    """
    values = np.array([[math.nan if v is None else v for v in row] for row in layers.values()], dtype=float)
    if len(layers) > MOST_LINES:
        return _picture(epochs, list(layers), values, label=label, title=title, share=share)
    columns = 4 if max(map(len, layers)) < 12 else 2
    entries = -(-(len(layers) + (guide is not None)) // columns)
    below = 0.65 + 0.21 * entries
    figure, axes = new_axes(title, (5.6, 3.3 + 0.21 * entries), margins=(0.9, 0.15, below, 0.4))
    draw_layers(axes, epochs, layers, values, label=label, share=share, guide=guide)
    figure.legend(loc="lower center", ncols=columns, frameon=False, fontsize=9, handlelength=3)
    return figure


def draw_layers(
    axes: Any,
    epochs: Sequence[int],
    layers: Iterable[str],
    values: np.ndarray,
    *,
    label: str,
    share: bool = False,
    guide: tuple[float, str] | None = None,
) -> None:
    """Draw a line for each of up to eight layers; ``values`` are (layers, epochs)."""
    for name, row, colour, dashes in zip(layers, values, _COLOURS, _DASHES, strict=False):
        marker = "o" if np.isfinite(row).sum() == 1 else None
        axes.plot(
            epochs, row, color=colour, linestyle=dashes, linewidth=1.8, label=literal(name, 30), marker=marker
        )
    if guide is not None:
        axes.axhline(guide[0], color=GREY, linewidth=1.0, linestyle=":", label=literal(guide[1]))
    if share:
        top = min(1.0, max(0.1, 1.1 * float(np.nanmax(values))))
        axes.set_ylim(-0.02 * top, 1.02 * top)
        axes.yaxis.set_major_formatter(_percent)
    else:
        _scale_by_powers(axes, values)
    axes.set_xlabel("epoch")
    axes.set_ylabel(literal(label))
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _scale_by_powers(axes: Any, values: np.ndarray) -> None:
    """Take a logarithmic scale, with a place for zero where it occurs: there nothing is learned."""
    positive = values[values > 0]
    if positive.size == 0:
        return
    zeros = bool((values == 0).any())
    use_logarithm(axes, "y", float(positive.min()), float(positive.max()), from_zero=zeros)
    if zeros:
        axes.set_ylim(bottom=0)


def _picture(
    epochs: Sequence[int], names: list[str], values: np.ndarray, *, label: str, title: str, share: bool
) -> Figure:
    left = 0.4 + 0.065 * min(30, max(map(len, names)))
    height = min(2.2 + 0.16 * len(names), 7.0)
    figure, axes = new_axes(title, (5.6, height), grid=False, margins=(left, 1.0, 0.55, 0.4))
    draw_picture(axes, epochs, names, values, label=label, share=share, bar=beside(figure, axes))
    return figure


def draw_picture(
    axes: Any,
    epochs: Sequence[int],
    names: Sequence[str],
    values: np.ndarray,
    *,
    label: str,
    share: bool = False,
    bar: Any = None,
) -> None:
    """Draw a row of colours for each layer; ``values`` are (layers, epochs)."""
    from matplotlib.colors import LogNorm, Normalize

    positive = values[values > 0]
    norm: Any = Normalize(0, 1)
    if not share and positive.size:
        # zeros, which no power of ten reaches, have the colour of the smallest
        norm = LogNorm(positive.min(), max(positive.max(), 1.001 * positive.min()), clip=True)
    shown = np.ma.masked_invalid(values if share or not positive.size else np.maximum(values, positive.min()))
    edges = _edges(epochs)
    image = axes.pcolormesh(
        edges, np.arange(len(names) + 1) - 0.5, shown, norm=norm, cmap="viridis", rasterized=True
    )
    step = -(-len(names) // _MOST_NAMES)
    axes.set_yticks(range(0, len(names), step), [literal(name, 30) for name in names[::step]], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    bar = colour_bar(axes, image, bar)
    bar.set_label(literal(label))
    bar.outline.set_visible(False)
    if share:
        bar.ax.yaxis.set_major_formatter(_percent)


def _edges(epochs: Sequence[int]) -> np.ndarray:
    """Return the borders between epochs, which are half-way."""
    places = np.asarray(epochs, dtype=float)
    between = (places[1:] + places[:-1]) / 2
    if len(between) == 0:
        return places[0] + np.asarray([-0.5, 0.5])
    return np.concatenate([[2 * places[0] - between[0]], between, [2 * places[-1] - between[-1]]])


def _percent(value: float, _: Any) -> str:
    return f"{100 * value:g} %"
