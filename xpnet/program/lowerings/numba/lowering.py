"""The lowering for NumPy arrays with numba: groups as compiled loops, matrix products by a BLAS.

Memory is planned as for NumPy. Then runs of operations that compiled code can do become one function each:
groups as nested loops, matrix products as calls of a BLAS by address (`blas_libraries`; loops, if tiny),
gathers and copies. Most training steps are one such function altogether, and `lower_loop` is a loop over
it that is compiled as well. What is left are NumPy calls, as in the lowering for NumPy.

Everything runs without Python's lock; what is worth it in several threads, each its parts of every
operation, and the rest in one, but for the BLAS.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.program.lowerings import blas_libraries
from xpnet.program.lowerings.base import check_arrays, refuse
from xpnet.program.lowerings.calls import is_written, writes_in_place
from xpnet.program.lowerings.memory_plan import MemoryPlan, grouped_for_code, plan_of
from xpnet.program.lowerings.numba.code_generator import CodeGenerator, writes_itself
from xpnet.program.lowerings.numba.compiling import Function, compiled
from xpnet.program.lowerings.numba.elements import can_be_grouped
from xpnet.program.lowerings.numba.partition import Piece, parts_of_program, wakes_the_blas, with_barriers
from xpnet.program.lowerings.numba.threads import Threaded
from xpnet.program.lowerings.recycling import RecycledCopies
from xpnet.program.lowerings.straight_line import StraightLine
from xpnet.program.lowerings.views import reads_entry_by_entry
from xpnet.program.passes.aliasing import own_view
from xpnet.program.passes.groups import Group
from xpnet.program.program import Operation, Program, refs

__all__ = ["NumbaProgram", "lower", "lower_loop"]


def lower(program: Program, donated: dict[int, int] | None = None) -> NumbaProgram:
    """Return the program as a callable from inputs to outputs; see `base.Lowering`."""
    return NumbaProgram(program, donated or {})


def _plan(program: Program, donated: dict[int, int]) -> MemoryPlan:
    """Return the plan of a program."""
    grouped = grouped_for_code(program, can_be_grouped)
    values = grouped.values

    def writes(op: Operation) -> bool:
        return isinstance(op, Group) or writes_itself(op, values) or is_written(op, values)

    def overwrites(op: Operation, old: int, new: int, roots: Mapping[int, int]) -> bool:
        if not isinstance(op, Group):
            return writes_in_place(op)
        shape = values[old].shape
        return reads_entry_by_entry(op, old, values, roots, lambda m: values[m.results[0]].shape == shape)

    return plan_of(grouped, donated, writes=writes, overwrites=overwrites, view=_view)


def _view(operation: Operation) -> Callable[..., Any] | None:
    """Return the function of a view whose entries compiled code can read through its array's pointer."""
    return None if operation.name in ("real", "imag") else own_view(operation)


def _code_of(plan: MemoryPlan, *, once: bool) -> CodeGenerator:
    """Return the compiled code of a program that a call runs ``once``, or many times."""
    parts = parts_of_program(plan.program, blas_libraries.threads(), once=once)
    return CodeGenerator(plan, blas_libraries.gemm_addresses(), parts)


class NumbaProgram:
    """A program with memory of its own; not for several threads at once.

    Attributes:
        program: as it is run, with groups.
        memory: where the values lie.
        source: the generated Python code, which calls the compiled functions.
        compiled_source: the generated code of these.
    """

    def __init__(self, program: Program, donated: dict[int, int]):
        plan = _plan(program, donated)
        self.program, self.memory = plan.program, plan.memory
        writing = _Segments(plan, _code_of(plan, once=True))
        self.source, self.compiled_source, names = writing.write()
        exec(compile(self.source, "<xpnet program>", "exec"), names)  # names of functions and values only
        self._run: Callable[..., list[Any]] = names.pop("run")  # else they keep each other

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        return self._run(*inputs)


class _Segments(StraightLine):
    """Writes the function ``run`` with calls of compiled functions in it."""

    def __init__(self, plan: MemoryPlan, code: CodeGenerator):
        self._code, self._plan = code, plan
        code.write_all()
        memory = code.buffers.memory()
        super().__init__(plan, code.buffers.slots(memory))
        self.names["contiguous"] = _contiguous
        self.names["memory"] = memory.__array_interface__["data"][0]
        self.names["keep_memory"] = memory

    def write(self) -> tuple[str, str, dict[str, Any]]:
        program, aliasing, code = self._plan.program, self._plan.aliasing, self._code
        wanted = self._wanted()
        external: dict[int, None] = {}
        functions: list[Function] = []
        run: list[Operation] = []

        def flush() -> None:
            pieces = [piece for op in run for piece in code.code[id(op)]]
            run.clear()
            self._flush(pieces, functions, external)

        for operation in program.operations:
            n = operation.results[0]
            if n in aliasing.views:
                if n in wanted:
                    if run and aliasing.roots.get(n, n) not in self._static:
                        flush()
                    self.write_view(operation)
            elif id(operation) in code.code:
                for n in operation.results:
                    self.allocate(n)
                run.append(operation)
            else:
                flush()
                self.write_operation(operation)
                for n in operation.results:
                    if n not in self._static and n not in aliasing.outputs:
                        self.lines.append(f"v{n} = contiguous(v{n})")
        pieces = [piece for op in run for piece in code.code[id(op)]]
        self._flush([*pieces, *code.copies(aliasing.copied)], functions, external)
        results = self.results()
        head = [f"def run({', '.join(f'v{n}' for n in program.inputs)}):", *self._checked(external)]
        lines = [*head, *(f"    {line}" for line in self.lines), f"    return [{', '.join(results)}]"]
        source, made = compiled(functions, code.functions, code.constants)
        self.names.update(made)
        wakes = wakes_the_blas(program)
        for function in functions:
            one, threaded = made[function.name], wakes or function.parts > 1
            self.names[function.name] = (
                Threaded(one, function.parts) if threaded else functools.partial(one, 0, 0, 1)
            )
        return "\n".join(lines) + "\n", source, dict(self.names)

    def _wanted(self) -> set[int]:
        """Return the views that are needed outside compiled code."""
        wanted = set(refs(self.program.outputs))
        for operation in reversed(self.program.operations):
            n = operation.results[0]
            if (n in self._aliasing.views and n in wanted) or (
                n not in self._aliasing.views and id(operation) not in self._code.code
            ):
                wanted.update(operation.reads())
        return wanted

    def _flush(self, pieces: list[Piece], functions: list[Function], external: dict[int, None]) -> None:
        if not any(piece.lines for piece in pieces):
            return
        parts = max(piece.parts for piece in pieces)
        code = with_barriers(pieces, parts)
        name = f"segment{len(functions)}"
        arrays = self._code.pointers(code)
        functions.append(Function(name, code, {n: self._code.array_type(n) for n in arrays}, parts=parts))
        external.update(dict.fromkeys(arrays))
        self.names["gemm32"], self.names["gemm64"] = self._code.gemm
        given = ", ".join(["memory", "gemm32", "gemm64", *(f"v{n}" for n in arrays)])
        self.lines.append(f"{name}(1, {given})")

    def _checked(self, external: dict[int, None]) -> list[str]:
        """Return lines that refuse other arrays than the program's: compiled code would not notice."""
        given = [n for n in self.program.inputs if n in external]
        lines = [f"    v{n} = contiguous(v{n})" for n in given]
        if given:
            self.names["refuse"] = refuse
            self.names["kinds"] = tuple(
                x for n in given for x in (self.program.values[n].shape, self.program.values[n].dtype_object)
            )
            found = ", ".join(f"v{n}.shape, v{n}.dtype" for n in given)
            lines.append(f"    if ({found}) != kinds: refuse(({found}), kinds)")
        return lines


def lower_loop(program: Program, carry: int, constants: int) -> CompiledLoop | None:
    """Return the program as a loop over steps (see `base.Lowering`); None if a step has calls of NumPy."""
    plan = _plan(program, {i: i for i in range(carry)})
    code = _code_of(plan, once=False)
    code.write_all()
    if code.complete() and len(program.inputs) > carry + constants:
        return CompiledLoop(plan, code, carry, constants)
    return None


class CompiledLoop:
    """A loop over the steps of a program, compiled as a whole; not for several threads at once.

    Attributes:
        compiled_source: the generated code.
    """

    def __init__(self, plan: MemoryPlan, code: CodeGenerator, carry: int, constants: int):
        program, aliasing = plan.program, plan.aliasing
        self._inputs = [program.values[n] for n in program.inputs]
        self._results = [program.values[x.number] for x in program.outputs[carry:]]
        self._carry, self._fixed = carry, carry + constants
        # Results of a step that lie in their row of what is returned from the start.
        direct: dict[int, int] = {}
        for position, x in enumerate(program.outputs[carry:]):
            if x.number in aliasing.outputs and x.number not in {*aliasing.donated, *direct.values()}:
                direct[position] = x.number
        code.buffers.keep(aliasing.outputs - {*aliasing.donated, *direct.values()})
        advancing = {n: program.values[n].size for n in program.inputs[self._fixed :]}
        arrays = {n: code.array_type(n, int(n in advancing)) for n in program.inputs}
        pieces = list(code.pieces_in_order())
        stacked = []
        for position, x in enumerate(program.outputs[carry:]):
            number = direct.get(position)
            if number is None:
                number = max(program.values) + 1 + position
                pieces.append(code.copy_to_array(number, x))
            stacked.append(number)
            arrays[number] = code.array_type(x.number, 1)
            advancing[number] = program.values[x.number].size
        pieces += code.carried(carry)
        self._parts = max((piece.parts for piece in pieces), default=1)
        function = Function("loop", with_barriers(pieces, self._parts), arrays, advancing, self._parts)
        self.compiled_source, names = compiled([function], code.functions, code.constants)
        self._memory, self._gemm = code.buffers.memory(), code.gemm
        self._address = self._memory.__array_interface__["data"][0]
        self._call = Threaded(names["loop"], self._parts)
        self._copies = RecycledCopies()

    def __call__(
        self, carried: Sequence[Any], fixed: Sequence[Any], sequences: Sequence[Any], donate: bool = False
    ) -> tuple[list[Any], list[Any]]:
        steps = len(sequences[0])
        state = carried if donate else self._copies(carried)
        given = list(map(_contiguous, (*state, *fixed, *sequences)))
        check_arrays(given, self._inputs, [() if i < self._fixed else (steps,) for i in range(len(given))])
        results = [np.empty((steps, *value.shape), dtype=value.dtype_object) for value in self._results]
        lasting, advancing = given[: self._fixed], [*given[self._fixed :], *results]

        def arguments(first: int, last: int) -> list[Any]:
            return [self._address, *self._gemm, *lasting, *(x[first:last] for x in advancing)]

        self._call.some_at_a_time(steps, arguments)
        return given[: self._carry], results


def _contiguous(x: Any) -> np.ndarray:
    return np.asarray(x, order="C")
