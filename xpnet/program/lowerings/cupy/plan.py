"""Plan of a program for a GPU: groups, products and memory, before any kernel is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from xpnet.program.lowerings.cupy.copies import is_joining
from xpnet.program.lowerings.cupy.elements import can_be_grouped
from xpnet.program.lowerings.gemm import is_product, is_stack
from xpnet.program.lowerings.memory_plan import MemoryPlan, grouped_for_code, plan_of
from xpnet.program.lowerings.views import (
    can_gather,
    can_look_up,
    placed,
    reads_entry_by_entry,
    summed_axis,
)
from xpnet.program.passes.aliasing import view_on_host
from xpnet.program.passes.groups import Group, domain, essential, split_group
from xpnet.program.passes.schedule import along
from xpnet.program.program import Operation, Program, Value

__all__ = ["is_written", "plan_for_cuda"]


def plan_for_cuda(program: Program, donated: dict[int, int]) -> MemoryPlan:
    """Return the plan of a program of one call or step; ``donated`` as for `plan_of`."""
    grouped = grouped_for_code(program, can_be_grouped)
    values = grouped.values
    operations = tuple(part for op in grouped.operations for part in _parts(op, values))

    def overwrites(op: Operation, old: int, new: int, roots: Mapping[int, int]) -> bool:
        """Only if who stores an entry is the only thread that reads it."""
        if not isinstance(op, Group) or essential(values[new].shape) != op.loop.shape:
            return False
        shape = op.loop.shape
        return reads_entry_by_entry(op, old, values, roots, lambda m: essential(domain(m, values)) == shape)

    return plan_of(
        dataclasses.replace(grouped, operations=operations),
        donated,
        writes=lambda op: is_written(op, values),
        overwrites=overwrites,
        view=view_on_host,
    )


_WRITTEN = is_product, is_stack, can_gather, can_look_up, is_joining


def is_written(operation: Operation, values: dict[int, Value]) -> bool:
    """True for an operation of kernels or the BLAS, which write into given memory."""
    return (
        isinstance(operation, Group)
        or any(is_one(operation, values) for is_one in _WRITTEN)
        or summed_axis(operation, values) is not None
        or placed(operation, values) is not None
        or not any(values[n].size for n in operation.results)
    )


def _parts(operation: Operation, values: dict[int, Value]) -> list[Group] | list[Operation]:
    """Return a group with both sums of rows and sums of columns as two: they go different ways."""
    if not isinstance(operation, Group) or not any(along(op, values) == "row" for op in operation.members):
        return [operation]
    return split_group(operation, lambda op: along(op, values) == "column")
