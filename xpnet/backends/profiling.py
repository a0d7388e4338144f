"""Ranges of a profiler's time line: epochs, steps, evaluations, by the names of NVTX."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from xpnet.backends._backend import Backend

__all__ = ["profiled"]


@contextlib.contextmanager
def profiled(backend: Backend, text: str) -> Iterator[None]:
    """Context manager: Nsight Systems shows it as ``xpnet: text`` above the kernels started in it.

    On CUDA only. Where no profiler is at work, NVTX does nothing, in well under a microsecond.
    """
    nvtx = backend.xp.cuda.nvtx if backend.name == "cupy" else None
    if nvtx is None or not nvtx.available:
        yield
        return
    nvtx.RangePush(f"xpnet: {text}")
    try:
        yield
    finally:
        nvtx.RangePop()
