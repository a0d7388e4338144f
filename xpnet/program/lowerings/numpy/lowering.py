"""The lowering for NumPy: generated straight-line code that writes into memory planned ahead.

Every value gets its place when the program is lowered: views look into what they are views of, results are
written with ``out=`` into memory that others have left, gradients straight into the flat vector that they
would be copied to. What remains at run time is one line a computation. The functions are those of the
recorded program, in its order, so the numbers are the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpnet.program.lowerings.numpy.layout import Layout, lay_out
from xpnet.program.lowerings.numpy.writing import UFUNCS, Writer, plannable
from xpnet.program.passes.memory import Memory, plan_memory
from xpnet.program.program import Program

__all__ = ["NumpyProgram", "lower"]


def lower(program: Program, donated: dict[int, int] | None = None) -> NumpyProgram:
    """Return the program as a callable from inputs to outputs.

    Args:
        program: simplified; its values on NumPy.
        donated: for some outputs (by position) the input (by position) whose memory they take over.
    """
    return NumpyProgram(program, donated or {})


class NumpyProgram:
    """A program with memory of its own; not for several threads at once.

    Attributes:
        memory: where the values lie.
        source: the generated code.
    """

    def __init__(self, program: Program, donated: dict[int, int]):
        self.program = program
        layout: Layout = lay_out(program, donated, plannable(program))
        self.memory: Memory = plan_memory(
            program, layout.roots, in_place=frozenset(UFUNCS) | {"keep"}, apart=layout.apart
        )
        pieces = [np.empty(max(size, 1), dtype=np.uint8) for size in self.memory.slots]
        self.source, names = Writer(program, layout, self.memory, pieces).write()
        exec(compile(self.source, "<xpnet program>", "exec"), names)  # names of functions and values only
        self._run: Callable[..., list[Any]] = names["run"]

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        return self._run(*inputs)
