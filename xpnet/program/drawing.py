"""Programs as pictures: a box for each operation, a frame around those that are computed in one loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from xpnet.autodiff.graphs import pictures
from xpnet.autodiff.graphs.text import literal
from xpnet.program.program import Operation, Program, Ref, Value, refs

__all__ = ["to_dot", "to_mermaid"]


def to_dot(program: Program) -> str:
    """Return the program as a picture in Graphviz's language."""
    return _drawn(program, pictures.to_dot)


def to_mermaid(program: Program) -> str:
    """Return the program as a Mermaid flowchart."""
    return _drawn(program, pictures.to_mermaid)


def _drawn(program: Program, write: Callable[[Sequence[Any], list[tuple[str, str]]], str]) -> str:
    returned = set(refs(program.outputs))
    boxes = [
        pictures.Box(f"n{n}", (f"input {i}", str(program.values[n])), "input")
        for i, n in enumerate(program.inputs)
    ]
    arrows: list[tuple[str, str]] = []
    drawn = {n: f"n{n}" for n in program.inputs}  # the box of each value
    for operation, cluster in _operations(program):
        name = f"n{operation.results[0]}" if operation.results else f"n_{len(boxes)}"
        drawn.update(dict.fromkeys(operation.results, name))
        shapes = ", ".join(str(program.values[n]) for n in operation.results)
        kind = "result" if returned.intersection(operation.results) else "operation"
        boxes.append(pictures.Box(name, (_title(operation), shapes), kind, cluster))
        for x in operation.operands:
            if hasattr(x, "shape") and not isinstance(x, type):
                constant = f"c{len(boxes)}"
                boxes.insert(0, pictures.Box(constant, ("constant", str(Value.of(x))), "constant"))
                arrows.append((constant, name))
        arrows += [(drawn[n], name) for n in operation.reads()]
    return write(boxes, arrows)


def _operations(program: Program) -> Iterator[tuple[Operation, str]]:
    """Yield the operations, those of groups one by one, each with the name of its group."""
    for i, operation in enumerate(program.operations):
        members = getattr(operation, "members", ())
        for member in members or (operation,):
            yield member, f"group{i}" if len(members) > 1 else ""


def _title(operation: Operation) -> str:
    """Return the name of an operation with the numbers, shapes and settings that it was given."""
    given = [literal(x) for x in operation.operands if type(x) is not Ref]
    given += [f"{name}={literal(x)}" for name, x in operation.options.items() if literal(x)]
    return f"{operation.name} {', '.join(x for x in given if x)}".strip()
