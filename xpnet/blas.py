"""Kernels of NumPy's OpenBLAS: the one that runs, and the fastest one for this processor.

On AMD processors with AVX-512, many versions of OpenBLAS pick their AVX2 kernel; the ``SkylakeX`` kernel
multiplies 1.4 to 1.75 times faster there. The choice is read once from ``OPENBLAS_CORETYPE`` when NumPy
loads: a program can set it before that, a library can only tell its user. So this file imports no NumPy.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

__all__ = ["active_kernels", "advice", "faster_kernel", "prefer_faster_kernel"]

_AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def faster_kernel(cpuinfo: str | None = None) -> str | None:
    """Return the name of a kernel faster than the one OpenBLAS picks by itself, or None.

    Args:
        cpuinfo: text of ``/proc/cpuinfo``; None reads this machine's.

    >>> faster_kernel("vendor_id: AuthenticAMD\\nflags: avx512f avx512bw avx512cd avx512dq avx512vl")
    'SkylakeX'
    >>> faster_kernel("vendor_id: GenuineIntel\\nflags: avx512f") is None
    True
    """
    if cpuinfo is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
    lines = cpuinfo.splitlines()
    vendor = next((line for line in lines if line.startswith("vendor_id")), "")
    flags = next((line for line in lines if line.startswith("flags")), "")
    if "AuthenticAMD" in vendor and set(flags.replace(":", " ").split()) >= _AVX512:
        return "SkylakeX"
    return None


def prefer_faster_kernel(environ: MutableMapping[str, str] = os.environ) -> str | None:
    """Choose the faster kernel for this process, unless the user chose one or NumPy is loaded.

    Returns:
        The kernel that was set, or None if nothing was changed.
    """
    kernel = faster_kernel()
    if kernel is None or environ.get("OPENBLAS_CORETYPE") or "numpy" in sys.modules:
        return None
    environ["OPENBLAS_CORETYPE"] = kernel
    return kernel


def active_kernels() -> list[str]:
    """Return one line for each BLAS that is loaded, such as ``"openblas 0.3.30 SkylakeX, 2 threads"``."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return []
    import threadpoolctl

    return [
        f"{pool['internal_api']} {pool.get('version')} {pool.get('architecture', '')}, "
        f"{pool['num_threads']} threads"
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    ]


def advice() -> str | None:
    """Return what to set for a faster kernel, or None when the active one is the best known."""
    kernel = faster_kernel()
    active = " ".join(active_kernels()) or os.environ.get("OPENBLAS_CORETYPE", "")
    if kernel is None or kernel.lower() in active.lower():
        return None
    return f"set OPENBLAS_CORETYPE={kernel} before Python starts: matrix products run about 1.5 times faster"
