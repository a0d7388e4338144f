"""Aliasing: which values of a program share memory, found out on arrays of NumPy that nobody reads."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.program.passes.groups import Group, may_overwrite
from xpnet.program.passes.memory import order_for_memory
from xpnet.program.program import Operation, Program, Ref, Value

__all__ = ["Layout", "in_order", "laid_out", "lay_out", "looks"]

# These may return a look at their operand's memory.
_VIEWS = frozenset(
    {"getitem", "reshape", "matrix_transpose", "permute_dims", "moveaxis", "expand_dims", "squeeze",
     "broadcast_to", "flip", "real", "imag", "linalg.diagonal"}
)  # fmt: skip

_NOT_ENTRY_BY_ENTRY = frozenset({"matmul", "where", "concat", "stack", "take", "sum", "max", "min"})


@dataclass(frozen=True)
class Layout:
    """What shares memory with what.

    Attributes:
        views: the values that are views, which cost nothing where their root's place is known.
        pieces: for values that are computed straight into a vector which joins them: that vector, and from
            where to where.
        roots: for each view and each piece the value that owns the memory.
        outputs: roots of outputs, for which each call allocates.
        donated: for roots of outputs that are written over an input: that input's number.
        copied: for output positions that are computed apart and copied over a donated input: its number.
        apart: roots that are not planned.
        packed: values whose entries lie side by side, row by row or column by column, if those of the inputs
            do.
    """

    views: frozenset[int]
    pieces: dict[int, tuple[int, int, int]]
    roots: dict[int, int]
    outputs: frozenset[int]
    donated: dict[int, int]
    copied: dict[int, int]
    apart: frozenset[int]
    packed: frozenset[int]


def lay_out(
    program: Program, donations: dict[int, int], plannable: Collection[int]
) -> tuple[Program, Layout]:
    """Return the program in an order that takes little memory, and its layout.

    Args:
        program: simplified.
        donations: for some outputs (by position) the input (by position) whose memory they take over.
        plannable: results that can be written where we want them.
    """
    layout = _layout(program, donations, plannable)
    ordered = order_for_memory(program, layout.roots, layout.views, layout.apart)
    return ordered, _layout(ordered, donations, plannable)


def _layout(program: Program, donations: dict[int, int], plannable: Collection[int]) -> Layout:
    dummies, roots = _look(program)
    views = frozenset(roots)
    outputs = {roots.get(x.number, x.number) for x in program.outputs if type(x) is Ref}
    pieces = _find_pieces(program, dummies, roots, outputs, plannable)
    for n, (joined, _, _) in pieces.items():
        roots[n] = joined
    for n, root in list(roots.items()):
        roots[n] = roots.get(root, root)
    inputs = set(program.inputs)
    donated, copied = _place_donations(program, donations, roots, plannable)
    fresh = {n for op in program.operations for n in op.results if n not in plannable and n not in roots}
    packed = frozenset(n for n, x in dummies.items() if x.flags.forc)
    return Layout(
        views, pieces, roots, frozenset(outputs - inputs - fresh), donated, copied,
        frozenset(inputs | outputs | fresh), packed,
    )  # fmt: skip


def _look(program: Program) -> tuple[dict[int, np.ndarray], dict[int, int]]:
    """Apply the functions that may return views to empty arrays, and see."""
    dummies = {n: laid_out(np.empty(v.size, v.dtype_object), v) for n, v in program.values.items()}
    roots: dict[int, int] = {}
    for operation in program.operations:
        source = operation.operands[0] if operation.operands else None
        if operation.name not in _VIEWS or type(source) is not Ref or len(list(operation.reads())) > 1:
            continue
        out = operation.function(dummies[source.number], *operation.operands[1:], **operation.options)
        owner = dummies[source.number]
        if isinstance(out, np.ndarray) and out.size and np.may_share_memory(out, owner):
            n = operation.results[0]
            dummies[n] = out
            roots[n] = roots.get(source.number, source.number)
    return dummies, roots


def looks(program: Program, layout: Layout) -> dict[int, np.ndarray]:
    """Return arrays that lie in each other as the program's values do; nobody reads their entries."""
    arrays: dict[int, np.ndarray] = {}

    def root(n: int) -> np.ndarray:
        if n not in arrays:
            arrays[n] = np.empty(program.values[n].shape, dtype=program.values[n].dtype_object)
        return arrays[n]

    for n, (joined, start, stop) in layout.pieces.items():
        arrays[n] = root(joined)[start:stop].reshape(program.values[n].shape)
    for n in program.inputs:
        root(n)
    for operation in program.operations:
        for n in operation.results:
            if n in layout.views:
                source = root(operation.operands[0].number)
                arrays[n] = operation.function(source, *operation.operands[1:], **operation.options)
            else:
                root(n)
    return arrays


def in_order(program: Program) -> Program:
    """Return the program with the axes of all values in their own order: for code that has its own sums."""
    values = {n: dataclasses.replace(value, order=()) for n, value in program.values.items()}
    return dataclasses.replace(program, values=values)


def laid_out(entries: np.ndarray, value: Value) -> np.ndarray:
    """Return a vector of entries as the array ``value``, with its axes in memory as NumPy has them there.

    Sums go through memory, so that another order would not give the same bits.
    """
    if not value.order:
        return entries.reshape(value.shape)
    turned = entries.reshape([value.shape[axis] for axis in value.order])
    return turned.transpose(np.argsort(value.order))


def _find_pieces(
    program: Program,
    dummies: dict[int, np.ndarray],
    roots: dict[int, int],
    outputs: set[int],
    plannable: Collection[int],
) -> dict[int, tuple[int, int, int]]:
    """Find values that are joined by ``concat`` in full, and can be computed in their place there."""
    pieces: dict[int, tuple[int, int, int]] = {}
    made_by = {n: operation for operation in program.operations for n in operation.results}
    for operation in program.operations:
        joined = operation.results[0]
        if not _joins_vectors(operation, program) or joined in outputs or joined not in plannable:
            continue
        sizes = [math.prod(_shape(x, program)) for x in operation.operands]
        for x, stop, size in zip(operation.operands, itertools.accumulate(sizes), sizes, strict=True):
            if type(x) is not Ref or not size:
                continue
            n = roots.get(x.number, x.number)
            whole = _is_whole(dummies[x.number], dummies[n])
            own = n in made_by and n in plannable and n not in outputs and n not in pieces
            same = program.values[n].dtype == program.values[joined].dtype
            if whole and own and same and made_by[n].name != "concat":
                pieces[n] = (joined, stop - size, stop)
    return pieces


def _is_whole(look: np.ndarray, array: np.ndarray) -> bool:
    """True for a look at all entries of an array, in their order in memory."""
    places = [x.__array_interface__["data"][0] for x in (look, array)]
    orderly = look.flags.c_contiguous and array.flags.c_contiguous
    return orderly and look.size == array.size and places[0] == places[1]


def _joins_vectors(operation: Operation, program: Program) -> bool:
    return (
        operation.name == "concat"
        and operation.options.get("axis", 0) == 0
        and all(len(_shape(x, program)) == 1 for x in operation.operands)
    )


def _shape(x: Any, program: Program) -> tuple[int, ...]:
    return program.values[x.number].shape if type(x) is Ref else tuple(x.shape)


def _place_donations(
    program: Program, donations: dict[int, int], roots: dict[int, int], plannable: Collection[int]
) -> tuple[dict[int, int], dict[int, int]]:
    """Say which outputs can be written over their input at once, and which are copied there at the end."""
    made_at = {n: i for i, operation in enumerate(program.operations) for n in operation.results}
    last_read: dict[int, int] = {}
    for i, operation in enumerate(program.operations):
        for n in operation.reads():
            last_read[roots.get(n, n)] = i
    returned = {roots.get(x.number, x.number) for x in program.outputs if type(x) is Ref}
    donated: dict[int, int] = {}
    copied: dict[int, int] = {}
    for position, source in donations.items():
        output, given = program.outputs[position], program.inputs[source]
        if given in returned:  # it is a result itself, as it was
            continue
        if type(output) is not Ref:
            copied[position] = given
            continue
        n = output.number
        can = n in plannable and n not in roots and n in made_at and n not in donated
        if (
            can
            and last_read.get(given, -1) <= made_at[n]
            and _may_overwrite(program, made_at[n], given, n, roots)
        ):
            donated[n] = given
        elif roots.get(n, n) != given:
            copied[position] = given
    return donated, copied


def _may_overwrite(program: Program, at: int, given: int, made: int, roots: dict[int, int]) -> bool:
    """True unless the operation could overwrite entries of the input that it still has to read."""
    operation = program.operations[at]
    reads = list(operation.reads())
    through_view = any(n != given and roots.get(n) == given for n in reads)
    if isinstance(operation, Group) and not may_overwrite(operation, given, made, program.values):
        return False
    return not through_view and (given not in reads or operation.name not in _NOT_ENTRY_BY_ENTRY)
