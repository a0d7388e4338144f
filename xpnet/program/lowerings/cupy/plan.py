"""What a program becomes for a GPU, and in which memory, before any kernel is written."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator

import array_api_compat.numpy

from xpnet.program.lowerings.cupy.elements import can_be_grouped
from xpnet.program.lowerings.cupy.moves import is_gather, is_joining
from xpnet.program.lowerings.cupy.products import is_product
from xpnet.program.lowerings.numpy.layout import in_order, lay_out
from xpnet.program.passes.expand import expand
from xpnet.program.passes.groups import Group, domain, essential, group_operations, split_group
from xpnet.program.passes.memory import Memory, plan_memory
from xpnet.program.passes.schedule import along
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
        self.program = dataclasses.replace(grouped, operations=operations)
        self.on_host = _on_host(self.program)
        can = {n for op in operations if self.is_written(op) for n in op.results}
        roots = lay_out(self.on_host, {}, can)[1].roots
        safe = {p: s for p, s in donated.items() if _can_overwrite(self.program, roots, p, s)}
        self.on_host, layout = lay_out(self.on_host, safe, can)
        made_by = {op.results: op for op in operations}
        operations = tuple(made_by[op.results] for op in self.on_host.operations)
        self.program = dataclasses.replace(self.program, operations=operations)
        returned = {layout.roots.get(x.number, x.number) for x in program.outputs if type(x) is Ref}
        copied = {p: program.inputs[s] for p, s in donated.items() if p not in safe}
        copied = {p: n for p, n in copied.items() if n not in returned}
        self.layout = dataclasses.replace(layout, copied={**layout.copied, **copied})
        self.memory: Memory = plan_memory(self.program, layout.roots, apart=layout.apart)

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
    """True unless a thread could write an output over entries of an input that others still read."""
    x, given = program.outputs[position], program.inputs[source]
    if type(x) is not Ref:
        return True
    for operation in program.operations:
        if x.number in operation.results:
            shape = essential(program.values[x.number].shape)
            return all(
                n == given and isinstance(operation, Group) and operation.loop.split is None
                and shape == operation.loop.shape == essential(domain(member, program.values))
                for member, n in _reads(operation)
                if roots.get(n, n) == given
            )  # fmt: skip
    return True


def _reads(operation: Operation) -> Iterator[tuple[Operation, int]]:
    members = operation.members if isinstance(operation, Group) else (operation,)
    yield from ((member, n) for member in members for n in member.reads())
