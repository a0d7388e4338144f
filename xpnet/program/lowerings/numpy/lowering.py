"""The lowering for NumPy: generated straight-line code that writes into memory planned ahead.

Every value gets its place when the program is lowered: views look into what they are views of, results are
written with ``out=`` into memory that others have left, gradients straight into the flat vector that they
would be copied to, elementwise work on large arrays goes by blocks of rows. What remains at run time is one
line a computation. The functions are those of the recorded program, so the numbers are the same, bit for bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.program.lowerings import blas_libraries
from xpnet.program.lowerings.calls import is_written, writes_in_place
from xpnet.program.lowerings.memory_plan import MemoryPlan, plan_of
from xpnet.program.lowerings.numpy import blocks, products
from xpnet.program.lowerings.recycling import RecycledCopies
from xpnet.program.lowerings.straight_line import StraightLine
from xpnet.program.lowerings.views import gather_axis
from xpnet.program.passes.groups import Group, group_operations, may_overwrite
from xpnet.program.passes.memory import Memory, idle_slots
from xpnet.program.program import Operation, Program, Ref

__all__ = ["NumpyLoop", "NumpyProgram", "lower", "lower_loop"]


def lower(program: Program, donated: dict[int, int] | None = None) -> NumpyProgram:
    """Return the program as a callable from inputs to outputs; see `base.Lowering`."""
    return NumpyProgram(program, donated or {})


def _plan(program: Program, donated: dict[int, int], gathering: Collection[int] = ()) -> MemoryPlan:
    """Return the plan of a program; ``gathering`` are values known to be numbers of rows that there are."""
    grouped = group_operations(program, lambda operation: blocks.can_be_cut(operation, program))
    values = grouped.values

    def writes(operation: Operation) -> bool:
        numbered = gather_axis(operation, values) is not None and type(operation.operands[1]) is Ref
        gathers = numbered and operation.operands[1].number in gathering
        return isinstance(operation, Group) or gathers or is_written(operation, values)

    def overwrites(operation: Operation, old: int, new: int, roots: Mapping[int, int]) -> bool:
        if isinstance(operation, Group):
            return may_overwrite(operation, old, new, values)
        return writes_in_place(operation)

    return plan_of(grouped, donated, writes=writes, overwrites=overwrites)


class Writer(StraightLine):
    """Writes the lines of a program with groups.

    Attributes:
        scratch: memory for blocks.
        blas: what the BLAS is told while the program runs: to take one thread, if all that would have it take
            more are products that are cut here.
    """

    def __init__(self, plan: MemoryPlan, **options: Any):
        pieces = [np.empty(max(size, 1), dtype=np.uint8) for size in plan.memory.slots]
        super().__init__(plan, pieces, **options)
        self.scratch: list[np.ndarray] = []
        idle = idle_slots(plan.program, plan.aliasing.roots, plan.memory)
        self._idle = {
            id(op): sorted((pieces[k] for k in slots), key=len)
            for op, slots in zip(plan.program.operations, idle, strict=True)
        }

    def write_operation(self, operation: Operation) -> None:
        if not isinstance(operation, Group):
            super().write_operation(operation)
            return
        for made in operation.results:
            self.allocate(made)
        self._write_blocks(operation)

    def product(self, operation: Operation) -> str:
        values = self.program.values
        small = products.small(products.work_of(operation, values))
        if small or any(len(self._shape(x)) != 2 for x in operation.operands):
            return super().product(operation)
        rows, columns = values[operation.results[0]].shape
        return self.names.called(f"product{operation.results[0]}", products.Cut(rows, columns))

    @property
    def blas(self) -> Callable[[], contextlib.AbstractContextManager[None]]:
        values = self.program.values
        calls = [op for op in self.program.operations if products.calls_the_blas(op, values)]
        ours = all(
            op.name == "matmul" and (products.small(products.work_of(op, values)) or self._is_cut(op))
            for op in calls
        )
        return blas_libraries.one_thread if calls and ours else contextlib.nullcontext

    def _is_cut(self, operation: Operation) -> bool:
        return f"product{operation.results[0]}" in self.names

    def _write_blocks(self, group: Group) -> None:
        idle = [piece for piece in self._idle[id(group)] if len(piece) >= blocks.BLOCK]
        scratch = [*idle, *self.scratch]
        loop = blocks.Blocks(group, self, scratch)
        self.scratch = scratch[len(idle) :]
        body = [f"    {line}" for line in loop.lines()]
        name = f"blocks{group.results[0]}"
        made = f"{name} = {self.names.of(loop.cut())}({', '.join(map(self.text, loop.whole.values()))})"
        if not loop.whole:
            self.names.called(name, loop.cut()())
        elif all(self.lasts(x.number) for x in loop.whole.values()):
            self.ahead.append(made)
        else:
            self.lines.append(made)
        self.lines += [f"for {', '.join(loop.names_of_blocks())}, in {name}:", *body]


class NumpyProgram:
    """A program with memory of its own; not for several threads at once.

    Attributes:
        program: as it is run, with groups.
        memory: where the values lie.
        source: the generated code.
    """

    def __init__(self, program: Program, donated: dict[int, int]):
        plan = _plan(program, donated)
        self.program = plan.program
        writer = Writer(plan)
        writer.write_all()
        arguments = ", ".join(f"v{n}" for n in program.inputs)
        lines = [*writer.lines, f"return [{', '.join(writer.results())}]"]
        self.source = "\n    ".join([f"def run({arguments}):", *lines]) + "\n"
        self.memory = _all_memory(plan.memory, writer)
        self._blas = writer.blas
        self._run: Callable[..., list[Any]] = _made("run", self.source, writer)

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        with self._blas():
            return self._run(*inputs)


def lower_loop(program: Program, carry: int, constants: int) -> NumpyLoop | None:
    """Return the program as a loop over steps (see `base.Lowering`); None if the state cannot be kept."""
    gathering = _gathering(program, program.inputs[carry + constants :])
    plan = _plan(program, {i: i for i in range(carry)}, gathering)
    placed = {*plan.aliasing.donated.values(), *plan.aliasing.copied.values()}
    for n, x in zip(program.inputs, program.outputs[:carry], strict=False):
        if n not in placed and x != Ref(n):
            return None
    if any(type(x) is not Ref for x in program.outputs[carry:]):
        return None
    return NumpyLoop(plan, carry, constants, gathering)


def _gathering(program: Program, changing: Sequence[int]) -> dict[int, int]:
    """Return the values that are only row numbers of arrays of one length, with that length."""
    lengths: dict[int, set[int]] = {n: set() for n in changing}
    for operation in program.operations:
        axis = gather_axis(operation, program.values)
        if axis is None or type(operation.operands[1]) is not Ref:
            continue
        source, rows = operation.operands
        if rows.number in lengths:
            lengths[rows.number].add(program.values[source.number].shape[axis])
    return {n: found.pop() for n, found in lengths.items() if len(found) == 1}


class NumpyLoop:
    """A program as a loop over steps, with memory of its own; not for several threads at once.

    Called with the state, the constants and the sequences, it returns the state after all steps, in arrays of
    its own or in the given ones if they are donated, and the results of each step, stacked. The numbers of
    the rows that are gathered are looked at once for all steps.

    Raises:
        IndexError: rows shall be gathered that there are not.

    Attributes:
        memory: where the values lie.
        source: the generated code.
    """

    def __init__(self, plan: MemoryPlan, carry: int, constants: int, gathering: dict[int, int]):
        program, outputs = plan.program, plan.aliasing.outputs
        first = carry + constants
        self._gathering = [(program.inputs.index(n) - first, rows) for n, rows in gathering.items()]
        self._results = [program.values[x.number] for x in program.outputs[carry:]]
        lasting, changing = program.inputs[:first], program.inputs[first:]
        writer = Writer(plan, lasting=lasting, packed=(*program.inputs[:carry], *changing))
        rows = [f"v{n}" for n in changing]
        for position, x in enumerate(program.outputs[carry:]):
            direct = x.number in outputs - writer.allocated and not program.values[x.number].order
            if direct:  # computed in its row of what is returned, unless that has its axes in another order
                writer.allocated.add(x.number)
            rows.append(f"v{x.number}" if direct else f"row{position}")
        writer.write_all()
        copyto = writer.names.called("copyto", np.copyto)
        for name, text in zip(rows[len(changing) :], writer.results()[carry:], strict=True):
            if name != text:
                writer.lines.append(f"{copyto}({name}, {text})")
        head = ["def loop(given, rows):", f"    {', '.join(f'v{n}' for n in lasting)}, = given"]
        ahead = [f"    {line}" for line in writer.ahead]
        each = [f"    for {', '.join(rows)}, in rows:", *(f"        {line}" for line in writer.lines)]
        self.source = "\n".join([*head, *ahead, *each]) + "\n"
        self.memory = _all_memory(plan.memory, writer)
        self._blas = writer.blas
        self._run: Callable[..., None] = _made("loop", self.source, writer)
        self._copies = RecycledCopies()

    def __call__(
        self, carried: Sequence[Any], fixed: Sequence[Any], sequences: Sequence[Any], donate: bool = False
    ) -> tuple[list[Any], list[Any]]:
        now = [np.asarray(x, order="C") for x in carried] if donate else self._copies(carried)
        for position, length in self._gathering:
            numbers = sequences[position]
            if numbers.size and not (numbers.min() >= -length and numbers.max() < length):
                raise IndexError(f"take: an index is out of bounds for an axis of {length}")
        steps = len(sequences[0])
        results = [np.empty((steps, *value.shape), dtype=value.dtype_object) for value in self._results]
        rows = [np.asarray(x, order="C") for x in sequences] + results
        with self._blas():
            self._run([*now, *fixed], zip(*map(_rows, rows), strict=True))
        return now, results


def _rows(x: np.ndarray) -> Iterator[np.ndarray]:
    """Return an iterator over the rows, which are arrays even if they are single numbers."""
    return map(x.__getitem__, zip(range(len(x)), itertools.repeat(...)))


def _all_memory(memory: Memory, writer: Writer) -> Memory:
    """Return the plan with the memory that the generated code needs beside it."""
    more = (x.nbytes for x in (*writer.scratch, *writer.constants))
    return dataclasses.replace(memory, slots=(*memory.slots, *more))


def _made(name: str, source: str, writer: Writer) -> Callable[..., Any]:
    """Return the function of generated code; its globals are names of functions and values only."""
    names = dict(writer.names)
    exec(compile(source, "<xpnet program>", "exec"), names)
    return names.pop(name)  # or the function and its globals would keep each other's memory
