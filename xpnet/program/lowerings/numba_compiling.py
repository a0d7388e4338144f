"""The compiling of generated functions, and where NumPy's BLAS is."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, types

from xpnet.program.lowerings import numba_functions as functions

__all__ = ["blas", "compiled"]

_OPTIONS = {"error_model": "numpy", "nogil": True}
_POINTERS = ("float32", "float64", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool")


@functools.cache
def blas() -> tuple[int, int]:
    """Return the addresses of the 64-bit cblas_sgemm and cblas_dgemm that NumPy itself calls, or zeros.

    NumPy's wheels bring an OpenBLAS of their own, whose names end in ``64_``.
    """
    base = Path(np.__file__).parent
    for folder in (base.parent / "numpy.libs", base / ".dylibs"):
        for path in sorted(folder.glob("*openblas64_*")):
            try:
                library = ctypes.CDLL(str(path))
                found = [getattr(library, f"scipy_cblas_{kind}gemm64_") for kind in "sd"]
            except (OSError, AttributeError):
                continue
            single, double = (ctypes.cast(f, ctypes.c_void_p).value or 0 for f in found)
            return single, double
    return 0, 0


def compiled(
    sources: list[tuple[str, list[str], dict[str, tuple[str, int]]]], constants: dict[str, str]
) -> tuple[str, dict[str, Any]]:
    """Compile functions and return their source, and what to call by their names.

    Args:
        sources: for each function its name, the lines of its body, and dtype and dimensions of its arrays.
        constants: names and texts of numbers.
    """
    text = [f"{name} = {value}" for name, value in constants.items()]
    for name, code, arrays in sources:
        text += ["", "", f"def {name}(memory, gemm32, gemm64, {', '.join(arrays)}):"]
        body = "\n".join(code)
        for dtype in _POINTERS:
            if f"m_{dtype}[" in body or f"m_{dtype}," in body:
                text.append(f"    m_{dtype} = in_memory(memory, np.{'uint8' if dtype == 'bool' else dtype})")
        text += [f"    p{array[1:]} = of_array({array})" for array in arrays]
        text += [f"    {line}" for line in code]
    source = "\n".join(text) + "\n"
    names = _names()
    exec(compile(source, "<xpnet compiled program>", "exec"), names)
    made = {}
    for name, _, arrays in sources:
        given = [types.Array(getattr(types, "uint8" if d == "bool" else d), k, "C") for d, k in arrays.values()]
        signature = types.void(types.int64, types.int64, types.int64, *given)
        function = njit(signature, **_OPTIONS)(names[name])
        (result,) = function.overloads.values()
        made[name] = result.entry_point
        made[f"{name}_of_numba"] = function
    return source, made


def _names() -> dict[str, Any]:
    import math

    names: dict[str, Any] = {"np": np, "math": math}
    for name in ("of_array", "in_memory", "moved", "sum2", "largest", "smallest", "select", "gemm"):
        names[name] = getattr(functions, name)
    for name in ("exp", "log", "log1p", "expm1", "tanh"):
        for dtype, function in getattr(functions, name).items():
            names[f"{name}_{dtype}"] = function
    return names
