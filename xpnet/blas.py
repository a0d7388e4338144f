"""The make of the processor, and kernels of NumPy's OpenBLAS: the one that runs, and the fastest one.

On AMD processors with AVX-512, many versions of OpenBLAS pick their AVX2 kernel; the ``SkylakeX`` kernel
multiplies 1.4 to 1.75 times faster there. The choice is read once from ``OPENBLAS_CORETYPE`` when NumPy
loads: a program can set it before that, a library can only tell its user. So this file imports no NumPy.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import MutableMapping
from pathlib import Path

__all__ = ["active_kernels", "advice", "faster_kernel", "prefer_faster_kernel", "vendor"]

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
    cpuinfo = _cpuinfo() if cpuinfo is None else cpuinfo
    if vendor(cpuinfo) == "AuthenticAMD" and _AVX512.issubset(_line(cpuinfo, "flags").split()):
        return "SkylakeX"
    return None


def vendor(cpuinfo: str | None = None) -> str:
    """Return the make of the processor as it names itself; empty if it cannot be found out.

    Args:
        cpuinfo: text of ``/proc/cpuinfo``; None asks this machine.

    >>> vendor("processor: 0\\nvendor_id: GenuineIntel")
    'GenuineIntel'
    """
    named = _line(_cpuinfo() if cpuinfo is None else cpuinfo, "vendor_id")
    if named or cpuinfo is not None:
        return named
    return platform.processor().rpartition(", ")[2]  # as Windows words it


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _line(cpuinfo: str, name: str) -> str:
    """Return what stands behind a name where it comes first."""
    found = (line for line in cpuinfo.splitlines() if line.startswith(name))
    return next(found, "").partition(":")[2].strip()


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
    """Return the setting for a faster kernel, or None when the active one is the best known."""
    kernel = faster_kernel()
    active = " ".join(active_kernels()) or os.environ.get("OPENBLAS_CORETYPE", "")
    if kernel is None or kernel.lower() in active.lower():
        return None
    return f"set OPENBLAS_CORETYPE={kernel} before Python starts: matrix products run about 1.5 times faster"
