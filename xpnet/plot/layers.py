"""Figures of diagnostics: norms and ratios of each layer, epoch by epoch.

Up to eight layers are lines, told apart by colour and dashes; more of them are the rows of a picture in which
the first layer is at the top, so that what vanishes or explodes on its way through a network is a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.plot import svg
from xpnet.plot.figures import BLUE, GREY, ORANGE, fill_cells, literal, powers, use_logarithm

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
) -> svg.Axes:
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
        axes = svg.Axes(literal(title), (None, min(115 + 15.0 * len(layers), 580)), grid=False)
        draw_picture(axes, epochs, list(layers), values, label=label, share=share)
    else:
        axes = svg.Axes(literal(title))
        draw_layers(axes, epochs, layers, values, label=label, share=share, guide=guide)
    return axes


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
    axes.locator_params("x", integer=True, min_n_ticks=1)


def _scale_by_powers(axes: Any, values: np.ndarray) -> None:
    """Take a logarithmic scale, with a place for zero where it occurs: there nothing is learned."""
    positive = values[values > 0]
    if positive.size == 0:
        return
    zeros = bool((values == 0).any())
    low, high = float(positive.min()), float(positive.max())
    use_logarithm(axes, "y", low, high, from_zero=zeros)
    if zeros:
        axes.set_ylim(0.0, 2 * high)


def draw_picture(
    axes: Any,
    epochs: Sequence[int],
    names: Sequence[str],
    values: np.ndarray,
    *,
    label: str,
    share: bool = False,
) -> None:
    """Draw a row of colours for each layer; ``values`` are (layers, epochs)."""
    positive = values[values > 0]
    ticks = [(part / 5, _percent(part / 5, None)) for part in range(6)]
    if not share and positive.size:
        low = float(positive.min())
        high = max(float(positive.max()), 1.001 * low)
        ticks = [(math.log(tick / low, high / low), f"{tick:g}") for tick in powers(low, high)]
        # zeros, which no power of ten reaches, have the colour of the smallest
        values = 0.06 + 0.94 * np.log(np.maximum(values, low) / low) / math.log(high / low)
    fill_cells(axes, _edges(epochs), np.arange(len(names) + 1) - 0.5, values, literal(label), ticks)
    step = -(-len(names) // _MOST_NAMES)
    axes.set_yticks(range(0, len(names), step), [literal(name, 30) for name in names[::step]], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("epoch")
    axes.locator_params("x", integer=True, min_n_ticks=1)


def _edges(epochs: Sequence[int]) -> np.ndarray:
    """Return the borders between epochs, which are half-way."""
    places = np.asarray(epochs, dtype=float)
    between = (places[1:] + places[:-1]) / 2
    if len(between) == 0:
        return places[0] + np.asarray([-0.5, 0.5])
    return np.concatenate([[2 * places[0] - between[0]], between, [2 * places[-1] - between[-1]]])


def _percent(value: float, _: Any) -> str:
    return f"{100 * value:g} %"
