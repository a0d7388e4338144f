"""Axes that write themselves as SVG, with the part of matplotlib's interface that the figures of a run use.

A small table is trained in a tenth of a second; loading matplotlib and drawing eight figures with it takes
nearly one. Places follow from estimated widths of the letters, and text stays text.
"""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.files import write_atomically
from xpnet.plot.scale import Scale

__all__ = ["Axes"]

_FONT = "DejaVu Sans, Verdana, Helvetica, sans-serif"
_SIZE, _LINE = 12.0, 18.0  # of letters and lines, in pixels
_POINT = 4 / 3  # pixels
_DASHES = {"-": (), "--": (3.7, 1.6), "-.": (6.4, 1.6, 1.0, 1.6), ":": (1.0, 1.7)}
_GRID, _INK, _FILL = "#E3E3E3", "#000000", "#0072B2"
_MOST_POINTS = 1000  # of a line; of more, those are drawn that can be told apart
_MOST_DOTS = 2000


@dataclass(frozen=True)
class _Box:
    """Where the axes are on the page, and where numbers are in them."""

    left: float
    top: float
    right: float
    bottom: float
    xaxis: Scale
    yaxis: Scale

    def x(self, values: Any) -> Any:
        return self.left + self.xaxis.share(values) * (self.right - self.left)

    def y(self, values: Any) -> Any:
        return self.bottom - self.yaxis.share(values) * (self.bottom - self.top)


class Axes:
    """Axes of a picture.

    Args:
        title: heads the picture.
        inside: width and height of the axes in pixels; no width takes what is left of ``width``.
        width: of the whole picture.
        grid: whether lines are drawn at the ticks.
    """

    def __init__(
        self,
        title: str = "",
        inside: tuple[float | None, float] = (None, 245.0),
        *,
        width: float = 540.0,
        grid: bool = True,
    ):
        self.title, self.inside, self.width, self.grid = title, inside, width, grid
        self.xaxis, self.yaxis = Scale(8), Scale(6)
        self._drawn: list[tuple[int, Callable[[_Box], str]]] = []
        self._entries: list[tuple[str, str]] = []  # of the legend: text and sample
        self._bar: tuple[str, Sequence[tuple[float, str]]] | None = None

    # --- what matplotlib's have, too ------------------------------------------------------------------

    def plot(
        self,
        x: Any,
        y: Any,
        style: str = "-",
        *,
        color: str,
        linestyle: Any = None,
        linewidth: float = 1.5,
        label: str = "",
        marker: str | None = None,
        markersize: float = 6.0,
        zorder: int = 2,
    ) -> None:
        """Draw a line, or dots for ``style`` "o"; numbers that are not finite leave gaps."""
        across, up = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        self.xaxis.see(across)
        self.yaxis.see(up)
        dashes = linestyle or style
        parts = _DASHES.get(dashes, ()) if isinstance(dashes, str) else dashes[1]
        pen = "" if style == "o" else _pen(color, linewidth, parts)
        dots = _pen(color, markersize, round=True) if style == "o" or marker else ""

        def draw(box: _Box) -> str:
            places = box.x(across), box.y(up)
            line = f'<path d="{_path(*places)}" {pen}/>' if pen else ""
            return line + (f'<path d="{"".join(_dots(*places))}" {dots}/>' if dots else "")

        self._drawn.append((zorder, draw))
        if label:
            sample = f'<path d="M14 0h0" {dots}/>' if dots else ""
            self._entries.append((label, f'<path d="M0 0H28" {pen}/>{sample}' if pen else sample))

    def scatter(
        self, x: Any, y: Any, s: float, *, color: str, alpha: float, zorder: int = 2, **_: Any
    ) -> None:
        """Draw dots of ``s`` square points; of many, one where several would lie on each other."""
        across, up = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        self.xaxis.see(across)
        self.yaxis.see(up)
        pen = _pen(color, math.sqrt(s), round=True)

        def draw(box: _Box) -> str:
            places = box.x(across), box.y(up)
            if len(across) <= _MOST_DOTS:  # each covers those below it
                dots = "".join(f'<path d="{dot}"/>' for dot in _dots(*places))
                return f'<g {pen} stroke-opacity="{alpha}">{dots}</g>'
            dots = "".join(_dots(*np.unique(np.round(places), axis=1)))
            return f'<path d="{dots}" {pen} stroke-opacity="0.7"/>'

        self._drawn.append((zorder, draw))

    def axhline(self, y: float, *, color: str, linewidth: float, linestyle: str, label: str = "") -> None:
        """Draw a line across the axes."""
        self.yaxis.see(y)
        pen = _pen(color, linewidth, _DASHES[linestyle])
        self._drawn.append(
            (2, lambda box: f'<path d="M{box.left:.1f} {box.y(y):.1f}H{box.right:.1f}" {pen}/>')
        )
        self._entries.append((label, f'<path d="M0 0H28" {pen}/>'))

    def text(self, x: float, y: float, text: str, *, fontsize: float, color: str, **_: Any) -> None:
        """Write text around a place."""
        size = fontsize * _POINT
        ink = "" if color == "black" else color
        self._drawn.append((3, lambda box: _text(box.x(x), box.y(y), text, "middle", size=size, ink=ink)))

    def legend(self, **_: Any) -> None:
        """Name what has a label; above the axes, it is so by itself."""

    def set(self, **values: Any) -> None:
        """Set ``xlim``, ``ylim``, ``xlabel`` and ``ylabel``."""
        for name, value in values.items():
            axis = self.xaxis if name[0] == "x" else self.yaxis
            setattr(axis, {"lim": "limits", "label": "label"}[name[1:]], value)

    def set_xlabel(self, label: str) -> None:
        """Name the axis across."""
        self.xaxis.label = label

    def set_ylabel(self, label: str) -> None:
        """Name the axis upwards."""
        self.yaxis.label = label

    def set_xlim(self, low: float, high: float) -> None:
        """Set the limits across."""
        self.xaxis.limits = low, high

    def set_ylim(self, low: float, high: float) -> None:
        """Set the limits upwards."""
        self.yaxis.limits = low, high

    def set_xscale(self, kind: str, linthresh: float = 1.0) -> None:
        """Take a scale: "linear", "log" or "symlog", in which all below ``linthresh`` is a power of ten."""
        self.xaxis.kind, self.xaxis.threshold = kind, linthresh

    def set_yscale(self, kind: str, linthresh: float = 1.0) -> None:
        """As `set_xscale`."""
        self.yaxis.kind, self.yaxis.threshold = kind, linthresh

    def set_xticks(
        self,
        places: Sequence[float],
        names: Sequence[str] | None = None,
        *,
        rotation: int = 0,
        fontsize: float = 9.0,
        **_: Any,
    ) -> None:
        """Set the ticks across; any ``rotation`` is one of 45°."""
        self.xaxis.set_ticks(places, names)
        self.xaxis.turned, self.xaxis.size = bool(rotation), fontsize * _POINT

    def set_yticks(
        self, places: Sequence[float], names: Sequence[str] | None = None, *, fontsize: float = 9.0
    ) -> None:
        """Set the ticks upwards."""
        self.yaxis.set_ticks(places, names)
        self.yaxis.size = fontsize * _POINT

    def locator_params(
        self, axis: str = "both", *, nbins: int | None = None, integer: bool = False, **_: Any
    ) -> None:
        """Say how many ticks there may be, and whether at whole numbers only."""
        for name, scale in (("x", self.xaxis), ("y", self.yaxis)):
            if axis in (name, "both"):
                scale.most, scale.integer = nbins or scale.most, integer

    def minorticks_off(self) -> None:
        """There are none."""

    def set_aspect(self, aspect: str) -> None:
        """It follows from ``inside``."""

    def invert_yaxis(self) -> None:
        """Let numbers rise downwards."""
        self.yaxis.inverted = True

    # --- what they do not have ------------------------------------------------------------------------

    def cells(
        self, x: np.ndarray, y: np.ndarray, shares: np.ndarray, label: str, ticks: Sequence[tuple[float, str]]
    ) -> None:
        """Fill rectangles with more colour the larger their share is, beside a bar that tells it.

        Args:
            x, y: borders (columns + 1,) and (rows + 1,).
            shares: from 0 to 1 (rows, columns); those that are not finite stay empty.
            label: what the bar shows.
            ticks: of the bar: shares and their text.
        """
        self.xaxis.limits, self.yaxis.limits = (x[0], x[-1]), (y[0], y[-1])
        self._bar = label, ticks

        def draw(box: _Box) -> str:
            across, down = box.x(x), box.y(y)
            return _rectangles(
                (across[j], down[i], across[j + 1], down[i + 1], shares[i, j])
                for i, j in np.argwhere(shares > 0)
            )

        self._drawn.append((1, draw))

    # --- page -----------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write the picture atomically as a file."""
        write_atomically(path, f'<?xml version="1.0" encoding="utf-8"?>\n{self.svg()}\n')

    def svg(self, **attributes: str) -> str:
        """Return the picture as an element; ``attributes`` are further ones of it, such as ``role``."""
        left = 26 + max((_wide(name, self.yaxis.size) for _, name in self.yaxis.marks()), default=0.0) + 8
        bar = 0.0 if self._bar is None else 36 + max(_wide(name, _SIZE) for _, name in self._bar[1]) + _LINE
        given_width, high = self.inside
        inside = self.width - left - bar - 16 if given_width is None else given_width
        entries = list(self._rows_of_legend(left + inside))
        top = 14 + (_LINE if self.title else 0) + _LINE * len(entries)
        box = _Box(left, top, left + inside, top + high, self.xaxis, self.yaxis)
        names = max((_wide(name, self.xaxis.size) for _, name in self.xaxis.marks()), default=0.0)
        foot = box.bottom + (14 + 0.72 * names if self.xaxis.turned else _LINE) + 4
        width, height = box.right + bar + 16, foot + _LINE + 4
        parts = [f'<rect class="ground" width="{width:.0f}" height="{height:.0f}" fill="#FFFFFF"/>']
        parts.append(_text(left, 17, self.title, size=14.0, room=width - left - 8))
        for row, line in enumerate(entries):
            y = top + _LINE * (row - len(entries)) + 2
            for x, text, sample in line:
                named = sample + _text(36, 0, text, room=width - left - x - 44)
                parts.append(f'<g transform="translate({left + x:.1f} {y:.1f})">{named}</g>')
        parts += self._frame(box)
        parts += (draw(box) for _, draw in sorted(self._drawn, key=lambda mark: mark[0]))
        parts.append(_text(left + inside / 2, foot + 8, self.xaxis.label, "middle", room=width - 16))
        parts.append(_text(14, top + high / 2, self.yaxis.label, "middle", room=foot, turn=-90))
        parts += self._colours(box) if self._bar else ()
        given = {
            "width": f"{width:.0f}",
            "height": f"{height:.0f}",
            "viewBox": f"0 0 {width:.0f} {height:.0f}",
            "font-family": _FONT,
            "font-size": f"{_SIZE:g}",
            **attributes,
        }
        told = "".join(f' {name}="{html.escape(value)}"' for name, value in given.items())
        return f'<svg xmlns="http://www.w3.org/2000/svg"{told}>{"".join(parts)}</svg>'

    def _rows_of_legend(self, most: float) -> Iterator[list[tuple[float, str, str]]]:
        """Return the lines of the legend: where each entry begins, its text and its sample."""
        row: list[tuple[float, str, str]] = []
        x = 0.0
        for text, sample in self._entries:
            wide = 36 + _wide(text, _SIZE) + 16
            if row and x + wide > most - 40:
                yield row
                row, x = [], 0.0
            row.append((x, text, sample))
            x += wide
        if row:
            yield row

    def _frame(self, box: _Box) -> Iterator[str]:
        """Return grid, axes and ticks."""
        marks = [(float(box.x(at)), name) for at, name in self.xaxis.marks()]
        levels = [(float(box.y(at)), name) for at, name in self.yaxis.marks()]
        if self.grid:
            lines = "".join(f"M{x:.1f} {box.top:.1f}V{box.bottom:.1f}" for x, _ in marks)
            lines += "".join(f"M{box.left:.1f} {y:.1f}H{box.right:.1f}" for y, _ in levels)
            yield f'<path d="{lines}" {_pen(_GRID, 0.8)}/>'
        ticks = "".join(f"M{x:.1f} {box.bottom:.1f}v4" for x, _ in marks)
        ticks += "".join(f"M{box.left:.1f} {y:.1f}h-4" for y, _ in levels)
        close = "" if self.grid else f"H{box.right:.1f}V{box.bottom:.1f}"
        frame = f"M{box.right:.1f} {box.bottom:.1f}H{box.left:.1f}V{box.top:.1f}{close}"
        yield f'<path d="{frame}{ticks}" {_pen(_INK, 0.75)}/>'
        for x, name in marks:
            size = self.xaxis.size
            if self.xaxis.turned:
                yield _text(x + 3, box.bottom + 12, name, "end", size=size, turn=-45)
            else:
                yield _text(x, box.bottom + 14, name, "middle", size=size)
        for y, name in levels:
            yield _text(box.left - 8, y, name, "end", size=self.yaxis.size)

    def _colours(self, box: _Box) -> Iterator[str]:
        """Return the bar of colours."""
        assert self._bar is not None
        label, ticks = self._bar
        x, height, steps = box.right + 12, box.bottom - box.top, 32
        yield _rectangles(
            (
                x,
                box.bottom - height * step / steps,
                x + 14,
                box.bottom - height * (step + 1) / steps,
                (step + 0.5) / steps,
            )
            for step in range(steps)
        )
        for share, name in ticks:
            yield _text(x + 19, box.bottom - share * height, name)
        right = x + 19 + max(_wide(name, _SIZE) for _, name in ticks) + 14
        yield _text(right, (box.top + box.bottom) / 2, label, "middle", room=box.bottom, turn=-90)


def _pen(colour: str, width: float, dashes: Sequence[float] = (), *, round: bool = False) -> str:
    """Return the attributes of a line; its width and dashes are in points."""
    pen = f'fill="none" stroke="{colour}" stroke-width="{width * _POINT:.3g}"'
    pen += ' stroke-linecap="round"' if round else ""
    parts = " ".join(f"{width * _POINT * part:.3g}" for part in dashes)
    return f'{pen} stroke-dasharray="{parts}"' if dashes else pen


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """Return the line through places; of very many, through the lowest and highest of each neighbourhood."""
    if len(x) > _MOST_POINTS:
        parts = np.array_split(np.arange(len(x)), _MOST_POINTS // 2)
        y_or = np.where(np.isfinite(y), y, np.nanmax(y, initial=0.0))
        kept = sorted({int(part[i]) for part in parts for i in (y_or[part].argmin(), y_or[part].argmax())})
        x, y = x[kept], y[kept]
    made, pen = [], "M"
    for a, b in zip(x, y, strict=True):
        if not (math.isfinite(a) and math.isfinite(b)):
            pen = "M"
            continue
        made.append(f"{pen}{a:.1f} {b:.1f}")
        pen = "L"
    return "".join(made)


def _dots(x: np.ndarray, y: np.ndarray) -> list[str]:
    """Return dots as lines without length, to be drawn with round ends."""
    places = ((a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b))
    return [f"M{a:.4g} {b:.4g}h0" for a, b in places]


def _rectangles(found: Iterable[tuple[float, float, float, float, float]]) -> str:
    """Return rectangles from corner to corner, each with the share of the colour that covers it."""
    made = [
        f'<rect x="{min(x, right):.1f}" y="{min(y, low):.1f}" width="{abs(right - x):.1f}" '
        f'height="{abs(low - y):.1f}" fill-opacity="{share:.3g}"/>'
        for x, y, right, low, share in found
    ]
    return f'<g fill="{_FILL}" shape-rendering="crispEdges">{"".join(made)}</g>'


def _text(
    x: float,
    y: float,
    text: str,
    anchor: str = "start",
    *,
    size: float = _SIZE,
    room: float | None = None,
    turn: int = 0,
    ink: str = "",
) -> str:
    """Return text around the height ``y``, narrower letters if it would not fit into ``room``."""
    text = text.replace(r"\$", "$")  # which is no formula here
    if not text:
        return ""
    made = f'<text x="{x:.1f}" y="{y + 0.36 * size:.1f}"'
    made += f' text-anchor="{anchor}"' if anchor != "start" else ""
    made += f' font-size="{size:.3g}"' if size != _SIZE else ""
    made += f' fill="{ink}"' if ink else ""
    made += f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
    if room is not None and _wide(text, size) > room:
        made += f' textLength="{room:.0f}" lengthAdjust="spacingAndGlyphs"'
    return f"{made}>{html.escape(text)}</text>"


def _wide(text: str, size: float) -> float:
    """Return about how wide text is."""
    return size * sum(1.05 if unicodedata.east_asian_width(letter) in "WF" else 0.62 for letter in text)
