"""The compiling of generated functions."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit, types

from xpnet.program.lowerings.dtypes import KNOWN
from xpnet.program.lowerings.numba import functions, intrinsics
from xpnet.program.lowerings.numba.barrier import barrier
from xpnet.program.lowerings.numba.cache import digest_of, kept_source

__all__ = ["Function", "compiled"]

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}
_GIVEN = ("gate", "thread", "threads", "steps", "memory", "gemm32", "gemm64")


@dataclass(frozen=True)
class Function:
    """A function to be compiled: ``name(gate, thread, threads, steps, memory, gemm32, gemm64, *arrays)``.

    Attributes:
        name: of the function.
        code: lines that have a pointer ``p5`` to the array ``v5``, and ``m_float32`` to floats in the memory.
        arrays: numbers of the arrays, with dtype and number of dimensions.
        advancing: of those that hold one row a step, the entries of a row; the code is a step.
        parts: that the work is cut into; the code knows a thread's ``first`` and ``last``.
    """

    name: str
    code: list[str]
    arrays: dict[int, tuple[str, int]]
    advancing: dict[int, int] = field(default_factory=dict)
    parts: int = 1

    def lines(self) -> list[str]:
        """Return the source."""
        given = ", ".join([*_GIVEN, *(f"v{n}" for n in self.arrays)])
        lines = [f"def {self.name}({given}):"]
        body = "\n".join(self.code)
        for dtype in KNOWN:
            if re.search(rf"\bm_{dtype}\b", body):
                kind = "uint8" if dtype == "bool" else dtype
                lines.append(f"    m_{dtype} = in_memory(memory, np.{kind})")
        lines += [f"    {'q' if n in self.advancing else 'p'}{n} = of_array(v{n})" for n in self.arrays]
        if self.parts > 1:
            lines.append(f"    first = thread * {self.parts} // threads")
            lines.append(f"    last = (thread + 1) * {self.parts} // threads")
            lines.append("    passed = 0")
        lines.append("    for step in range(steps):")
        lines += [f"        p{n} = moved(q{n}, step * {size})" for n, size in self.advancing.items()]
        return lines + [f"        {line}" for line in self.code]

    def signature(self) -> Any:
        """Return the types of its arguments; of arrays of bool, the bytes."""
        arrays = [
            types.Array(getattr(types, "uint8" if dtype == "bool" else dtype), k, "C")
            for dtype, k in self.arrays.values()
        ]
        return types.void(*[types.int64] * len(_GIVEN), *arrays)


def compiled(
    wanted: list[Function], called: dict[str, list[str]], constants: dict[str, str]
) -> tuple[str, dict[str, Any]]:
    """Compile functions; return their source, and the compiled functions by name.

    What is returned takes arrays of the right dtypes and dimensions, C-contiguous, on trust.

    Args:
        wanted: what to compile.
        called: lines of functions that they call.
        constants: names and texts of numbers in their code.
    """
    if not wanted:
        return "", {}
    text = [f"{name} = {value}" for name, value in constants.items()]
    for lines in (*called.values(), *(function.lines() for function in wanted)):
        text += ["", "", *lines]
    source = "\n".join(text) + "\n"
    # A name of its own in all processes, as numba finds compiled code by names.
    digest = digest_of(source)
    own = "|".join([*called, *(function.name for function in wanted)])
    source = re.sub(rf"\b({own})\(", rf"\1_{digest}(", source)
    path = kept_source(source, digest)
    names = _names()
    exec(compile(source, path or "<xpnet compiled program>", "exec"), names)
    for name in called:
        names[f"{name}_{digest}"] = njit(**_OPTIONS)(names[f"{name}_{digest}"])
    made = {}
    for function in wanted:
        dispatcher = _jitted(names[f"{function.name}_{digest}"], function.signature(), path is not None)
        (result,) = dispatcher.overloads.values()
        made[function.name] = result.entry_point
        made[f"{function.name}_of_numba"] = dispatcher  # whose code the entry point is in
    return source, made


def _jitted(function: Any, signature: Any, cached: bool) -> Any:
    if cached:
        try:
            return njit(signature, cache=True, **_OPTIONS)(function)
        except Exception:  # whatever a damaged file in the cache comes to; errors of ours come again below
            pass
    return njit(signature, **_OPTIONS)(function)


def _names() -> dict[str, Any]:
    names: dict[str, Any] = {"np": np, "math": math, "barrier": barrier, "__name__": functions.__name__}
    for name in intrinsics.__all__:
        names[name] = getattr(intrinsics, name)
    for name in functions.__all__:
        for dtype, function in getattr(functions, name).items():
            names[f"{name}_{dtype}"] = function
    return names
