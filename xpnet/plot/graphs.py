"""Figure of a computation graph: boxes with values and cotangents, arrows from parents to children.

The places of boxes and arrows are graphlay's: layers by the longest path, few crossings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xpnet.autodiff.graphs.text import kind_of, lines
from xpnet.plot.figures import literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xpnet.autodiff import Graph, Node

__all__ = ["graph_figure"]

# Of the palette of Okabe and Ito, "Color universal design", 2008, as in the other figures.
_VALUE, _COTANGENT, _INK, _GREY = "#0072B2", "#D55E00", "#1A1A1A", "#6F6F6F"
_FILL = {"input": "#E5F1F9", "constant": "#F0F0F0", "operation": "#FFFFFF", "result": "#E4F3E7"}
_EDGE = {"input": _VALUE, "constant": "#B0B0B0", "operation": "#8A8A8A", "result": "#009E73"}
_SIZE, _LEADING, _PAD, _MARGIN = 9.0, 12.5, 7.0, 16.0  # of letters, lines, boxes and the whole, in points


@dataclass(frozen=True)
class _Line:
    text: str
    colour: str
    weight: str = "normal"
    size: float = _SIZE

    @property
    def drawn(self) -> str:
        return literal(self.text, 120)

    def width(self) -> float:
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import TextPath

        font = FontProperties(weight=self.weight)
        path = TextPath((0, 0), self.drawn, size=self.size, prop=font)
        return float(path.get_extents().width) if self.text else 0.0


def graph_figure(graph: Graph, *, title: str = "") -> Figure:
    """Return a picture of ``graph``, with the cotangents of its latest ``backward``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    boxes = [_lines_of(node) for node in graph.nodes]
    layout = _layout(graph.nodes, [_size_of(box) for box in boxes])
    heading = [_Line(title, _INK, "bold", 10.5)] if title else []
    legend = [
        _Line("value", _VALUE),
        _Line("cotangent: derivative of the result with respect to the node", _COTANGENT),
    ]
    low, high = layout.bounds["min"], layout.bounds["max"]
    top = _LEADING * (2 + len(heading))
    least = 12 + sum(line.width() for line in legend)
    width = max(high["x"] - low["x"], least, *(line.width() for line in heading)) + 2 * _MARGIN
    height = high["y"] - low["y"] + top + 2 * _MARGIN
    figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(low["x"] - _MARGIN, low["x"] - _MARGIN + width))
    axes.set(ylim=(high["y"] + _MARGIN, low["y"] - top - _MARGIN))  # down the page, as in SVG
    for edge in layout.edges:
        _draw_arrow(axes, [(p["x"], p["y"]) for p in edge["points"]])
    for node, box, place in zip(graph.nodes, boxes, layout.nodes, strict=True):
        _draw_box(axes, box, place, kind_of(node, graph.outputs))
    y = low["y"] - top
    for line in heading:
        _write(axes, low["x"], y, line)
        y += 1.2 * _LEADING
    x = low["x"]
    for line in legend:
        _write(axes, x, y, line)
        x += line.width() + 12
    return figure


def _lines_of(node: Node) -> list[_Line]:
    title, shape, value, cotangent = lines(node)
    made = [_Line(title, _INK, "normal" if node.kind == "constant" else "bold")]
    made += [_Line(shape, _GREY, size=7.5)] if shape else []
    made += [_Line(value, _VALUE)] if value else []
    return made + ([_Line(cotangent, _COTANGENT)] if cotangent else [])


def _size_of(box: Sequence[_Line]) -> tuple[float, float]:
    return max(line.width() for line in box) + 2 * _PAD + 4, _LEADING * len(box) + 1.2 * _PAD


def _layout(nodes: Sequence[Node], sizes: Sequence[tuple[float, float]]) -> Any:
    """Return graphlay's layout, from left to right or from top to bottom, whichever is nearer to a page."""
    import graphlay

    made = graphlay.Graph()
    for node, (width, height) in zip(nodes, sizes, strict=True):
        made.node(node.number, width=width, height=height)
    for node in nodes:
        for i in node.parents:
            made.edge(i, node.number)

    def extent(layout: Any) -> float:
        low, high = layout.bounds["min"], layout.bounds["max"]
        return max(high["x"] - low["x"], 1.3 * (high["y"] - low["y"]))

    options = {
        "spacing": {"layer_gap": 34.0, "node_gap": 18.0, "dummy_gap": 14.0},
        "routing": {"style": "orthogonal"},
    }
    layouts = [graphlay.layout(made, options=options | {"direction": d}) for d in ("leftright", "topbottom")]
    return min(layouts, key=extent)


def _draw_box(axes: Any, box: Sequence[_Line], place: Any, kind: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = place["center"]["x"], place["center"]["y"]
    width, height = place["size"]["width"], place["size"]["height"]
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=5",
            facecolor=_FILL[kind],
            edgecolor=_EDGE[kind],
            linewidth=1.0,
            zorder=2,
        )
    )
    for i, line in enumerate(box):
        _write(axes, x, y + _LEADING * (i - (len(box) - 1) / 2), line, align="center")


def _write(axes: Any, x: float, y: float, line: _Line, align: str = "left") -> None:
    axes.text(
        x,
        y,
        line.drawn,
        color=line.colour,
        fontsize=line.size,
        fontweight=line.weight,
        ha=align,
        va="center_baseline",
        zorder=3,
    )


def _draw_arrow(axes: Any, points: Sequence[tuple[float, float]]) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    axes.add_patch(
        FancyArrowPatch(
            path=Path(points),
            arrowstyle="-|>,head_length=4.5,head_width=2.2",
            color=_GREY,
            linewidth=1.0,
            shrinkA=0,
            shrinkB=0,
            joinstyle="round",
            zorder=1,
        )
    )
