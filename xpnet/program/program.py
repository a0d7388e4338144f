"""A program: the recorded operations of a function in order, for given shapes and dtypes.

Values are numbered. An operation takes values by number (:class:`Ref`) and literals (Python numbers, shapes,
constant arrays), and makes one value or several. Nothing here knows how a program is run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from xpnet.autodiff.graphs import pictures
from xpnet.autodiff.graphs.text import literal
from xpnet.backends import dtype_name

__all__ = ["Operation", "Program", "Ref", "Value", "read", "refs"]


@dataclass(frozen=True, slots=True)
class Ref:
    """The value with a number, as an operand."""

    number: int

    def __repr__(self) -> str:
        return f"%{self.number}"


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a program: shape, dtype and axis order, known before the program runs.

    Attributes:
        shape: of the array.
        dtype: by its name.
        dtype_object: the library's own.
        order: the axes as NumPy laid them out in memory, the fastest one last; empty: in their own order.
    """

    shape: tuple[int, ...]
    dtype: str
    dtype_object: Any = field(compare=False, repr=False)
    order: tuple[int, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, array: Any) -> Value:
        """Return the description of an array."""
        shape: tuple[int, ...] = tuple(array.shape)
        order: tuple[int, ...] = ()
        strides = getattr(array, "strides", None)
        if strides is not None and len(shape) > 1:
            found = tuple(sorted(range(len(shape)), key=lambda axis: -abs(strides[axis])))
            order = () if found == tuple(range(len(shape))) else found
        return cls(shape, dtype_name(array), array.dtype, order)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * _WIDTHS[self.dtype]

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


_WIDTHS = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2, "int32": 4,
    "uint32": 4, "float32": 4, "int64": 8, "uint64": 8, "float64": 8, "complex64": 8, "complex128": 16,
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One function of the array namespace, applied.

    Attributes:
        name: the rule's name, such as ``"add"``, ``"linalg.solve"`` or ``"getitem"``.
        operands: for each positional argument a :class:`Ref`, a literal, or a list or tuple with Refs in it.
        options: keyword arguments; no Refs.
        results: the numbers of the values it makes.
        function: computes it from plain arrays.
        many: the function returns a tuple.
        scope: the computation that it belongs to, such as ``"relu_forward"``; empty if that is not known.
    """

    name: str
    operands: tuple[Any, ...]
    options: dict[str, Any]
    results: tuple[int, ...]
    function: Callable[..., Any]
    many: bool = False
    scope: str = field(default="", kw_only=True)

    def reads(self) -> Iterator[int]:
        """Yield the numbers of the values that it takes."""
        return refs(self.operands)


def refs(tree: Any) -> Iterator[int]:
    """Yield the numbers of all Refs inside lists and tuples."""
    if type(tree) is Ref:
        yield tree.number
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            if type(item) is Ref:
                yield item.number
            elif isinstance(item, (list, tuple)):
                yield from refs(item)


def read(tree: Any, values: Mapping[int, Any]) -> Any:
    """Return operands with values in place of their Refs, also inside lists and tuples."""
    if type(tree) is Ref:
        return values[tree.number]
    return type(tree)(read(item, values) for item in tree) if type(tree) in (list, tuple) else tree


@dataclass(frozen=True, eq=False)
class Program:
    """A recorded function.

    Attributes:
        inputs: numbers of the values that are given.
        operations: in the order in which they run.
        outputs: for each leaf of the result a :class:`Ref`, or the constant that it is.
        values: description of each value, by number.
        xp: the namespace that computes it.
    """

    inputs: tuple[int, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[Any, ...]
    values: dict[int, Value]
    xp: Any = field(repr=False)

    def __len__(self) -> int:
        return len(self.operations)

    def __str__(self) -> str:
        """One line an operation: ``%5 float32[64,10] = add(%3, %4)  # dense_forward``; a group's below it."""
        lines = [f"%{n} {self.values[n]} = input {i}" for i, n in enumerate(self.inputs)]
        for operation in self.operations:
            lines.append(_line(operation, self.values))
            lines += [f"    {_line(member, self.values)}" for member in getattr(operation, "members", ())]
        return "\n".join([*lines, f"return {', '.join(_text(x) for x in self.outputs)}"])

    def to_dot(self) -> str:
        """Return a picture in Graphviz's language, with frames around the operations of one loop."""
        return pictures.to_dot(*_picture(self))

    def to_mermaid(self) -> str:
        """Return a picture as a Mermaid flowchart, with frames around the operations of one loop."""
        return pictures.to_mermaid(*_picture(self))

    @property
    def bytes(self) -> int:
        """Bytes of all values that operations make, if each had memory of its own."""
        return sum(self.values[n].bytes for operation in self.operations for n in operation.results)

    @property
    def flops(self) -> int:
        """Floating-point operations: 2·m·k·n for a matrix product, else one an entry made or reduced."""
        return sum(_flops(operation, self.values) for operation in self.operations)


def _line(operation: Operation, values: dict[int, Value]) -> str:
    made = ", ".join(f"%{n} {values[n]}" for n in operation.results)
    given = [_text(x) for x in operation.operands]
    given += [f"{name}={_text(x)}" for name, x in operation.options.items()]
    scope = f"  # {operation.scope}" if operation.scope else ""
    return f"{made} = {operation.name}({', '.join(given)}){scope}"


def _text(x: Any) -> str:
    if isinstance(x, type):  # a dtype of NumPy
        return x.__name__
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"constant {dtype_name(x)}[{','.join(map(str, x.shape))}]"
    if isinstance(x, (list, tuple)):
        inside = ", ".join(map(_text, x))
        return f"[{inside}]" if isinstance(x, list) else f"({inside}{',' if len(x) == 1 else ''})"
    return repr(x)


def _picture(program: Program) -> tuple[list[pictures.Box], list[tuple[str, str]]]:
    """Return a box for each operation, in a frame with those of the same loop, and the arrows."""
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
    return boxes, arrows


def _operations(program: Program) -> Iterator[tuple[Operation, str]]:
    """Yield the operations, those of groups one by one, each with the name of its group."""
    for i, operation in enumerate(program.operations):
        members = getattr(operation, "members", ())
        for member in members or (operation,):
            yield member, f"group{i}" if len(members) > 1 else ""


def _title(operation: Operation) -> str:
    """Return the name of an operation with the numbers, shapes and settings that it was given."""
    given = [literal(x) for x in operation.operands]
    given += [f"{name}={literal(x)}" for name, x in operation.options.items() if literal(x)]
    return f"{operation.name} {', '.join(x for x in given if x)}".strip()


_MOVES = frozenset(
    {"reshape", "matrix_transpose", "permute_dims", "moveaxis", "expand_dims", "squeeze", "broadcast_to",
     "getitem", "take", "take_along_axis", "concat", "stack", "unstack", "flip", "roll", "astype", "place",
     "take_transpose", "assign", "repeat", "tile", "keep", "where"}
)  # fmt: skip


def _flops(operation: Operation, values: dict[int, Value]) -> int:
    if operation.name in _MOVES:
        return 0
    members = getattr(operation, "members", ())
    if members:
        return sum(_flops(member, values) for member in members)
    made = sum(values[n].size for n in operation.results)
    if operation.name == "matmul":
        left = operation.operands[0]
        shape = values[left.number].shape if type(left) is Ref else left.shape
        return 2 * made * shape[-1]
    return max([made, *(values[n].size for n in operation.reads())])
