"""What a program becomes for a GPU, and in which memory, before any kernel is written."""

from __future__ import annotations

import dataclasses
import operator

import array_api_compat.numpy

from xpnet.program.lowerings.cupy.elements import can_be_grouped
from xpnet.program.lowerings.cupy.moves import is_gather, is_joining
from xpnet.program.lowerings.cupy.products import is_product
from xpnet.program.passes.aliasing import Layout, in_order, lay_out
from xpnet.program.passes.expand import expand
from xpnet.program.passes.groups import Group, domain, essential, group_operations, split_group
from xpnet.program.passes.memory import Memory, plan_memory
from xpnet.program.passes.schedule import Schedule, along
from xpnet.program.passes.simplify import simplify
from xpnet.program.program import Operation, Program, Ref, Value

__all__ = ["Plan"]


class Plan:
    """A program with its groups, and what shares memory.

    Args:
        program: of one call or step.
        donated: for some outputs (by position) the input (by position) whose memory they take over.

    Attributes:
        program: with groups.
        on_host: the same with NumPy's views, which is enough to find out where values lie.
        layout: what shares memory with what.
        memory: planned places.
    """

    def __init__(self, program: Program, donated: dict[int, int]):
        program = simplify(expand(in_order(program)))
        grouped = group_operations(program, lambda op: can_be_grouped(op, program.values))
        operations = tuple(part for op in grouped.operations for part in _parts(op, grouped.values))
        self.program = program = dataclasses.replace(grouped, operations=operations)
        can = {n for op in operations if self.is_written(op) for n in op.results}
        roots = lay_out(_on_host(program), {}, can)[1].roots
        safe = {p: s for p, s in donated.items() if _can_overwrite(program, roots, p, s)}
        layout: Layout
        self.on_host, layout = lay_out(_on_host(program), safe, can)
        own = {op.results: op for op in operations}
        ordered = tuple(own[op.results] for op in self.on_host.operations)
        self.program = program = dataclasses.replace(program, operations=ordered)
        returned = {layout.roots.get(x.number, x.number) for x in program.outputs if type(x) is Ref}
        copied = {p: program.inputs[s] for p, s in donated.items() if p not in safe}
        copied = {p: n for p, n in copied.items() if n not in returned}
        self.layout = dataclasses.replace(layout, copied={**layout.copied, **copied})
        self.memory: Memory = plan_memory(
            program,
            layout.roots,
            in_place=lambda op, old, new: _entry_by_entry(op, old, new, program.values, layout.roots),
            apart=layout.apart,
        )

    def is_written(self, operation: Operation) -> bool:
        """True for an operation that kernels or the BLAS do, writing where they are told to."""
        values = self.program.values
        return (
            isinstance(operation, Group)
            or any(is_one(operation, values) for is_one in (is_product, is_gather, is_joining))
            or not any(values[n].size for n in operation.results)
        )


def _parts(operation: Operation, values: dict[int, Value]) -> list[Group] | list[Operation]:
    """Return a group with both sums of rows and sums of columns as two: they go different ways."""
    if not isinstance(operation, Group) or not any(along(op, values) == "row" for op in operation.members):
        return [operation]
    return split_group(operation, lambda op: along(op, values) == "column")


_VIEWS = ("reshape", "matrix_transpose", "permute_dims", "moveaxis", "expand_dims", "squeeze", "broadcast_to",
          "flip")  # fmt: skip
_WRITTEN = ("group", "matmul", "take", "concat", "stack")


def _on_host(program: Program) -> Program:
    """Return the program with NumPy's functions for views."""
    return dataclasses.replace(program, operations=tuple(map(_view_on_host, program.operations)))


def _view_on_host(operation: Operation) -> Operation:
    if operation.name in _VIEWS:
        return dataclasses.replace(operation, function=getattr(array_api_compat.numpy, operation.name))
    if operation.name == "getitem":
        index = operation.operands[1]
        parts = index if isinstance(index, tuple) else (index,)
        if all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts):
            return dataclasses.replace(operation, function=operator.getitem)
    if operation.name in _WRITTEN:
        return operation
    return dataclasses.replace(operation, name=f"{operation.name} by the library")  # and so no view


def _can_overwrite(program: Program, roots: dict[int, int], position: int, source: int) -> bool:
    """True unless an output would be written over an input of which entries are still to be read."""
    x, given = program.outputs[position], program.inputs[source]
    made = next((op for op in program.operations if type(x) is Ref and x.number in op.results), None)
    if made is None or given not in {roots.get(n, n) for n in made.reads()}:
        return True
    return type(x) is Ref and _entry_by_entry(made, given, x.number, program.values, roots)


def _entry_by_entry(
    operation: Operation, old: int, new: int, values: dict[int, Value], roots: dict[int, int]
) -> bool:
    """True for a group where only the thread that stores an entry of ``new`` reads that of ``old``, before.

    Not if rows are gone through several times, nor for a single number that many threads read.
    """
    if not isinstance(operation, Group):
        return False
    shape = operation.loop.shape
    once = operation.loop.split is None or not Schedule(operation, values, lambda op: True).last
    return (
        once and essential(values[new].shape) == shape
        and all(
            n == old and essential(domain(member, values)) == shape
            for member in operation.members
            for n in member.reads()
            if roots.get(n, n) == old
        )
    )  # fmt: skip
