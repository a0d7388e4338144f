"""Boxes and arrows as text: in Graphviz's language, and in Mermaid's."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xpnet.text import shown

__all__ = ["Box", "to_dot", "to_mermaid"]

# Inputs blue, constants grey, operations white, results green: light, so that text can be read on them.
_FILL = {"input": "#DCEBF7", "constant": "#EEEEEE", "operation": "#FFFFFF", "result": "#DFF2E1"}


@dataclass(frozen=True)
class Box:
    """A box of a picture.

    Attributes:
        name: by which arrows know it, such as ``"n3"``.
        lines: what it says; empty ones are left out.
        kind: "input", "constant", "operation" or "result".
        cluster: name of the frame that it is in with its neighbours; empty for none.
    """

    name: str
    lines: Sequence[str]
    kind: str
    cluster: str = ""


def to_dot(boxes: Sequence[Box], arrows: Iterable[tuple[str, str]]) -> str:
    """Return a picture in Graphviz's language.

    Args:
        boxes: those of a cluster side by side.
        arrows: names of boxes, from and to.
    """
    text = [
        "digraph {",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        '  edge [color="#6F6F6F"];',
    ]
    for cluster, inside in itertools.groupby(boxes, key=lambda box: box.cluster):
        lines = []
        for box in inside:
            label = "\\n".join(_quoted(line) for line in box.lines if line)
            lines.append(f'  {box.name} [label="{label}", fillcolor="{_FILL[box.kind]}"];')
        if cluster:
            head = [f"  subgraph cluster_{cluster} {{", '    style=rounded; color="#B0B0B0"; label="";']
            lines = [*head, *(f"  {line}" for line in lines), "  }"]
        text += lines
    return "\n".join([*text, *(f"  {a} -> {b};" for a, b in arrows), "}\n"])


def _quoted(text: str) -> str:
    return shown(text).replace("\\", "\\\\").replace('"', '\\"')


def to_mermaid(boxes: Sequence[Box], arrows: Iterable[tuple[str, str]]) -> str:
    """Return a picture as a Mermaid flowchart; arguments as for `to_dot`."""
    text = ["flowchart LR"]
    for cluster, inside in itertools.groupby(boxes, key=lambda box: box.cluster):
        lines = []
        for box in inside:
            label = "<br/>".join(_entities(line) for line in box.lines if line)
            lines.append(f'  {box.name}["{label}"]:::{box.kind}')
        if cluster:
            lines = [f'  subgraph {cluster}[" "]', *(f"  {line}" for line in lines), "  end"]
        text += lines
    text += [f"  {a} --> {b}" for a, b in arrows]
    text += [f"  classDef {kind} fill:{fill},stroke:#6F6F6F,color:#000" for kind, fill in _FILL.items()]
    return "\n".join(text) + "\n"


def _entities(text: str) -> str:
    """Write what Mermaid or HTML would take for its own as character codes, ``#34;`` for a quotation mark."""
    return "".join(f"#{ord(c)};" if c in '"#$&;<>`\\*_~|{}' else c for c in shown(text))
