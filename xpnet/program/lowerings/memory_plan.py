"""Memory plan of a program: the order of its operations, and the values that share a buffer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from xpnet.program.passes.aliasing import Aliasing, Overwrites, ViewFunction, aliasing_of, in_order, own_view
from xpnet.program.passes.expand import expand
from xpnet.program.passes.groups import group_operations
from xpnet.program.passes.memory import Memory, order_for_memory, plan_memory
from xpnet.program.passes.simplify import simplify
from xpnet.program.program import Operation, Program, Value

__all__ = ["MemoryPlan", "grouped_for_code", "plan_of"]


@dataclass(frozen=True)
class MemoryPlan:
    """A program with the buffers of its values.

    Attributes:
        program: with groups, its operations in an order that takes little memory.
        aliasing: what shares memory with what.
        memory: pieces of memory for planned values.
    """

    program: Program
    aliasing: Aliasing
    memory: Memory


def plan_of(
    program: Program,
    donated: Mapping[int, int],
    *,
    writes: Callable[[Operation], bool],
    overwrites: Overwrites,
    view: ViewFunction = own_view,
) -> MemoryPlan:
    """Return the plan of a program with groups.

    Args:
        program: simplified.
        donated: for some outputs (by position) the input (by position) whose memory they take over.
        writes: whether the results of an operation can be written where we want them.
        overwrites: whether a result of an operation may be written over an operand that it reads for the last
            time: ``(operation, operand, result, roots)``.
        view: as for `aliasing_of`.
    """
    writable = {n for operation in program.operations if writes(operation) for n in operation.results}
    found = aliasing_of(program, donated, writable, overwrites, view)
    ordered = order_for_memory(program, found.roots, found.views, found.apart)
    aliasing = aliasing_of(ordered, donated, writable, overwrites, view)
    memory = plan_memory(
        ordered,
        aliasing.roots,
        in_place=lambda operation, old, new: overwrites(operation, old, new, aliasing.roots),
        apart=aliasing.apart,
    )
    return MemoryPlan(ordered, aliasing, memory)


def grouped_for_code(program: Program, can: Callable[[Operation, dict[int, Value]], bool]) -> Program:
    """Return the program with groups of the operations that ``can`` be in one, for code with its own sums."""
    program = simplify(expand(in_order(program)))
    return group_operations(program, lambda operation: can(operation, program.values))
