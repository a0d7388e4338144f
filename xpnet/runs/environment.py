"""Versions, machine and backend, for ``xpnet env`` and for the record in a run folder."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet import blas
from xpnet.errors import ConfigError
from xpnet.version import __version__

if TYPE_CHECKING:
    from xpnet.backends import Backend

__all__ = ["describe_environment", "describe_machine", "describe_run", "versions"]

_EXTRAS = ("typer", "rich", "polars", "matplotlib", "safetensors", "threadpoolctl")


def versions() -> dict[str, str | None]:
    """Return the versions of Python, xpnet and the packages it works with; None if one is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version(), "xpnet": __version__}
    return found | {name: _version(name) for name in ("numpy", "array-api-compat", *_EXTRAS)}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe_machine() -> dict[str, Any]:
    """Return the platform, the processor, host memory in bytes, and the active BLAS kernels.

    Imports NumPy, whose BLAS it describes; call it before other array libraries bring their own.
    """
    import numpy  # noqa: F401  # so that its BLAS is loaded

    from xpnet.backends.memory import host_memory

    available, total = host_memory()
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": {"total": total, "available": available},
        "blas": blas.active_kernels(),
    }


def describe_run(backend: Backend) -> dict[str, Any]:
    """Return time, command line, versions, machine and backend."""
    from xpnet.backends import probe

    return {
        "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": sys.argv,
        "versions": {**versions(), "numba": _version("numba")},
        **describe_machine(),
        "compiled_products": _compiled_products(),
        "backend": {
            "name": backend.name,
            "spec": backend.spec,
            "reason": backend.reason,
            "version": probe(backend.name).version,
        },
    }


def describe_environment() -> dict[str, Any]:
    """Return everything that ``xpnet env`` shows: versions, machine, BLAS advice, backends, and lowerings."""
    from xpnet.backends import known, probe
    from xpnet.program.lowerings.base import LOWERINGS

    machine = describe_machine()
    try:
        products = _compiled_products()
    except ConfigError as error:
        products = {"library": None, "reason": str(error)}
    backends = {}
    for name in known():
        state = probe(name)
        backends[name] = {
            "usable": state.usable,
            "reason": state.reason,
            "version": state.version,
            "devices": list(state.devices),
            "memory": _device_memory(name, state.devices) if state.usable else {},
        }
    return {
        "versions": versions(),
        **machine,
        "compiled_products": products,
        "blas_faster_kernel": blas.faster_kernel(),
        "blas_advice": blas.advice(),
        "backends": backends,
        "lowerings": {name: row.reason() for name, row in LOWERINGS.items()},
        "XPNET_BACKEND": os.environ.get("XPNET_BACKEND"),
        "CUPY_TF32": os.environ.get("CUPY_TF32"),
        "XPNET_BLAS": os.environ.get("XPNET_BLAS"),
        "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE"),
    }


def _compiled_products() -> dict[str, str | None]:
    """Return the BLAS whose products code compiled by numba calls, and why; nothing where numba cannot work.

    Raises:
        ConfigError: the library of ``XPNET_BLAS`` cannot be loaded.
    """
    from xpnet.program.lowerings import blas_libraries
    from xpnet.program.lowerings.base import LOWERINGS

    if LOWERINGS["numba"].reason():
        return {"library": None, "reason": ""}
    chosen = blas_libraries.choice()
    title = blas_libraries.LIBRARIES[chosen.name].title if chosen.name else "calls of NumPy"
    return {"library": title, "reason": chosen.reason}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _device_memory(name: str, devices: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return name, total and free memory of each CUDA device that a usable library sees."""
    found: dict[str, dict[str, Any]] = {}
    for device in devices:
        if name == "cupy":
            import cupy

            number = int(device)
            with cupy.cuda.Device(number):
                free, total = cupy.cuda.runtime.memGetInfo()
            model = cupy.cuda.runtime.getDeviceProperties(number)["name"].decode()
        elif name == "torch" and device.startswith("cuda"):
            torch = sys.modules["torch"]
            free, total = torch.cuda.mem_get_info(device)
            model = torch.cuda.get_device_name(device)
        else:
            continue
        found[device] = {"name": model, "total": total, "free": free}
    return found
