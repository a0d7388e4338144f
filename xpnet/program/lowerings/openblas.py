"""NumPy's own OpenBLAS: where its matrix products are, and how many threads it has."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["gemm_addresses", "one_thread", "threads"]


@dataclass(frozen=True)
class _OpenBlas:
    """Addresses of the 64-bit cblas_sgemm and cblas_dgemm, and functions that ask for and set the threads."""

    gemm: tuple[int, int]
    get_threads: Any
    set_threads: Any


@functools.cache
def _openblas() -> _OpenBlas | None:
    """Return the library that NumPy itself calls: its wheels bring one, whose names end in ``64_``."""
    base = Path(np.__file__).parent
    for folder in (base.parent / "numpy.libs", base / ".dylibs"):
        for path in sorted(folder.glob("*openblas64_*")):
            try:
                library = ctypes.CDLL(str(path))
                found = [getattr(library, f"scipy_cblas_{kind}gemm64_") for kind in "sd"]
                get, change = (
                    getattr(library, f"scipy_openblas_{do}_num_threads64_") for do in ("get", "set")
                )
            except (OSError, AttributeError):
                continue
            single, double = (ctypes.cast(f, ctypes.c_void_p).value or 0 for f in found)
            return _OpenBlas((single, double), get, change)
    return None


def gemm_addresses() -> tuple[int, int]:
    """Return the addresses of the 64-bit cblas_sgemm and cblas_dgemm, or zeros."""
    library = _openblas()
    return library.gemm if library is not None else (0, 0)


def threads() -> int:
    """Return how many threads the BLAS has; 1 if it cannot be asked."""
    library = _openblas()
    return max(1, library.get_threads()) if library is not None else 1


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep the BLAS to one thread."""
    library = _openblas()
    before = 1 if library is None else library.get_threads()
    if library is None or before == 1:
        yield
        return
    library.set_threads(1)
    try:
        yield
    finally:
        library.set_threads(before)
