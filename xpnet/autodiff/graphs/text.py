"""A computation graph as text: a table, Graphviz's language, Mermaid; and how values are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.autodiff.graphs import pictures
from xpnet.autodiff.graphs.node import Node
from xpnet.backends import backend_of, dtype_name

__all__ = ["describe", "kind_of", "lines", "literal", "settings", "to_dot", "to_mermaid", "to_table"]

_MOST_ENTRIES = 6  # of an array that is written out
_MOST_ROWS = 60  # of a table


def describe(value: Any) -> str:
    """Return a value in a few words: small arrays in full, others by their range and mean.

    >>> describe(np.asarray([1.0, 2.5])), describe(np.arange(100.0))
    ('[1, 2.5]', '0 … 99, mean 49.5')
    """
    if isinstance(value, (tuple, list)):
        return ", ".join("-" if x is None else describe(x) for x in value)
    x = backend_of(value).to_host(value) if hasattr(value, "shape") else np.asarray(value)
    if x.size <= _MOST_ENTRIES:
        return np.array2string(
            x,
            separator=", ",
            max_line_width=10_000,
            formatter={"all": _number},
        ).replace("\n", "")
    if x.dtype == bool:
        return f"{np.count_nonzero(x)} of {x.size} true"
    if np.iscomplexobj(x):
        return f"|·| {_number(np.min(np.abs(x)))} … {_number(np.max(np.abs(x)))}"
    if np.all(x == x.flat[0]):
        return f"all {_number(x.flat[0])}"
    with np.errstate(all="ignore"):  # infinities and NaN are shown as they are
        return f"{_number(np.min(x))} … {_number(np.max(x))}, mean {_number(np.mean(x, dtype=np.float64))}"


def _number(x: Any) -> str:
    if np.iscomplexobj(x):
        return f"{x:.4g}"
    return str(bool(x)) if isinstance(x, (bool, np.bool_)) else f"{x + 0:.4g}"  # + 0: no negative zero


def settings(literals: Sequence[Any], sources: Sequence[int], options: dict[str, Any]) -> str:
    """Return the arguments of an operation that are no nodes, as text: ``axis=0``."""
    given = [x for x, source in zip(literals, sources, strict=True) if source < 0]
    shown = [literal(x) for x in given] + [
        f"{name}={text}" for name, x in options.items() if x is not None and (text := literal(x))
    ]
    return ", ".join(text for text in shown if text)


def literal(x: Any) -> str:
    """Return an argument that is no array as text, "" for those left out of pictures."""
    if x is Ellipsis:
        return "..."
    if isinstance(x, slice):
        parts = ["" if part is None else str(part) for part in (x.start, x.stop, x.step)]
        return ":".join(parts[:2] if x.step is None else parts)
    if isinstance(x, (tuple, list)):
        text = ", ".join(literal(item) or "·" for item in x)
        return f"[{text}]" if any(item is Ellipsis or isinstance(item, slice) for item in x) else f"({text})"
    return str(x) if x is None or isinstance(x, (bool, int, float, complex, str)) else ""


def lines(node: Node) -> tuple[str, str, str, str]:
    """Return the lines of a node in a picture: name, shape, value and cotangent, "" for missing ones."""
    value = describe(node.value)
    if node.kind == "constant" and not hasattr(node.value, "shape"):
        return value, "", "", ""
    title = f"{node.name} {node.settings}" if node.settings else node.name
    several = isinstance(node.value, tuple)
    shape = "" if several or not node.shape else f"{dtype_name(node)} {node.shape}"
    cotangent = "" if several or node.cotangent is None else describe(node.cotangent)
    return title, shape, f"{len(node.value)} arrays" if several else value, cotangent


def to_table(nodes: Sequence[Node]) -> str:
    """Return a line for each node: number, operation, parents, shape, value, cotangent."""
    rows = [("node", "operation", "parents", "shape", "value", "cotangent")]
    for node in nodes[:_MOST_ROWS]:
        title = f"{node.name} {node.settings}".strip()
        several = isinstance(node.value, tuple)
        rows.append(
            (
                f"{node.number:4}",
                title,
                " ".join(map(str, node.parents)),
                f"{len(node.value)} arrays" if several else str(node.shape),
                "" if several else describe(node.value),
                "" if several or node.cotangent is None else describe(node.cotangent),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    text = ["  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(nodes) > _MOST_ROWS:
        text.append(f"... and {len(nodes) - _MOST_ROWS} more")
    return "\n".join(text)


def kind_of(node: Node, outputs: Sequence[int | None]) -> str:
    """Return the kind of a node in a picture, "result" for an operation whose value is a result."""
    return "result" if node.number in outputs and node.kind == "operation" else node.kind


def to_dot(nodes: Sequence[Node], outputs: Sequence[int | None]) -> str:
    """Return the graph in Graphviz's language."""
    return pictures.to_dot(_boxes(nodes, outputs), _arrows(nodes))


def to_mermaid(nodes: Sequence[Node], outputs: Sequence[int | None]) -> str:
    """Return the graph as a Mermaid flowchart."""
    return pictures.to_mermaid(_boxes(nodes, outputs), _arrows(nodes))


def _boxes(nodes: Sequence[Node], outputs: Sequence[int | None]) -> list[pictures.Box]:
    boxes = []
    for node in nodes:
        title, shape, value, cotangent = lines(node)
        said = (title, shape, value, f"cotangent {cotangent}" if cotangent else "")
        boxes.append(pictures.Box(f"n{node.number}", said, kind_of(node, outputs)))
    return boxes


def _arrows(nodes: Sequence[Node]) -> list[tuple[str, str]]:
    return [(f"n{i}", f"n{node.number}") for node in nodes for i in node.parents]
