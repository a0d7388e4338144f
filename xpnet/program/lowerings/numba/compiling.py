"""The compiling of generated functions."""

from __future__ import annotations

import functools
import hashlib
import math
import re
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import types

from xpnet.program.lowerings.dtypes import KNOWN
from xpnet.program.lowerings.numba import barrier, cache, functions, intrinsics, object_code

__all__ = ["Function", "compiled"]

_MOST = 64  # programs whose code is kept in memory for others of the same source
_made: OrderedDict[str, dict[str, Any]] = OrderedDict()  # by the digest of the source, the last used last
_lock = threading.Lock()
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
        loop = ["for step in range(steps):"]
        loop += [f"    p{n} = moved(q{n}, step * {size})" for n, size in self.advancing.items()]
        loop += [f"    {line}" for line in self.code]
        if self.advancing:  # steps of a training, whose gradients become ever smaller
            loop = ["control = flush_subnormals()", *_restoring(loop), "restore_control(control)"]
        return lines + [f"    {line}" for line in loop]

    def signature(self) -> Any:
        """Return the types of its arguments; of arrays of bool, the bytes."""
        arrays = [
            types.Array(getattr(types, "uint8" if dtype == "bool" else dtype), k, "C")
            for dtype, k in self.arrays.values()
        ]
        return types.void(*[types.int64] * len(_GIVEN), *arrays)


def _restoring(lines: list[str]) -> list[str]:
    """Return lines with the thread's control word restored before each error and each return."""
    pattern = re.compile(r"^( *)((?:raise|return)\b.*)$")
    return [pattern.sub(r"\1restore_control(control)\n    \1\2", line) for line in lines]


def compiled(
    wanted: list[Function], called: dict[str, list[str]], constants: dict[str, str]
) -> tuple[str, dict[str, Any]]:
    """Compile functions; return their source, and the compiled functions by name.

    What is returned takes arrays of the right dtypes and dimensions, C-contiguous, on trust. The same source
    is compiled once in a process, or not at all if the code is kept from an earlier one.

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
    kinds = [(function.name, *function.arrays.values()) for function in wanted]
    digest = hashlib.sha256(repr((_depends_on(), kinds, source)).encode()).hexdigest()
    with _lock:
        made = _made.pop(digest, None)
        if made is None:
            made = _kept(digest) or _compiled(source, wanted, called, digest)
        _made[digest] = made
        if len(_made) > _MOST:
            _made.popitem(last=False)
    return source, dict(made)


def _kept(digest: str) -> dict[str, Any]:
    """Return the functions that are kept under a digest; nothing if there are none."""
    content = cache.load(digest)
    return {} if content is None else object_code.functions_of(object_code.unpacked(content))


def _compiled(source: str, wanted: list[Function], called: Iterable[str], digest: str) -> dict[str, Any]:
    names = _names()
    exec(compile(source, "<xpnet compiled program>", "exec"), names)
    with object_code.target() as target:
        for name in called:
            names[name] = object_code.without_wrapper(names[name], target)
        made = [object_code.compiled(x.name, names[x.name], x.signature(), target) for x in wanted]
    names.clear()  # or functions and their globals would keep each other
    cache.save(digest, object_code.packed(made))
    return object_code.functions_of(made)


@functools.cache
def _depends_on() -> tuple[str, ...]:
    """Return what code depends on beside its source."""
    versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
    modules: tuple[Any, ...] = (barrier, functions, intrinsics, object_code)
    sources = (Path(module.__file__).read_text(encoding="utf-8") for module in modules)
    return (*versions, *sources, object_code.made_for())


def _names() -> dict[str, Any]:
    names: dict[str, Any] = {
        "np": np,
        "math": math,
        "barrier": barrier.barrier,
        "__name__": functions.__name__,
    }
    for name in intrinsics.__all__:
        names[name] = getattr(intrinsics, name)
    for name in functions.__all__:
        for dtype, function in getattr(functions, name).items():
            names[f"{name}_{dtype}"] = function
    return names
