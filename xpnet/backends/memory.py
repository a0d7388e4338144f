"""Memory of devices: sizes, limits, and out-of-memory errors."""

from __future__ import annotations

import functools
import gc
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from xpnet.backends.device import Device
from xpnet.errors import ConfigError, OutOfMemoryError, memory_in_words

__all__ = [
    "device_memory",
    "explain",
    "free",
    "host_memory",
    "is_out_of_memory",
    "limit",
    "peak",
    "tells",
]

_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50, "EiB": 2**60}
# "Out of memory allocating 4,194,304 bytes" (CuPy, JAX), "Tried to allocate 20.00 GiB" (PyTorch),
# "Unable to allocate 8.00 PiB" (NumPy), "you tried to allocate 4611686018427387904 bytes" (PyTorch)
_ASKED = re.compile(rf"allocat(?:e|ing)\s+([\d.,]*\d)\s*({'|'.join(_UNITS)})")
_STATUS = {"CUDARuntimeError": 2, "CUDADriverError": 2, "CUBLASError": 3}  # of CuPy's errors
_PEAKS: dict[int, int] = {}  # what CuPy's pool had taken at most, by device

Method = TypeVar("Method", bound=Callable[..., Any])


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error, or the one that it was raised from, is an out-of-memory error.

    So do, each in its own words, NumPy, CuPy, PyTorch, JAX, CUDA and cuBLAS.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("shapes do not fit"))
    (True, False)
    """
    while error is not None:
        kind = type(error).__name__
        if isinstance(error, (MemoryError, OutOfMemoryError)) or kind == "OutOfMemoryError":
            return True
        if kind in _STATUS and getattr(error, "status", None) == _STATUS[kind]:
            return True
        if isinstance(error, RuntimeError):
            text = str(error)
            if "RESOURCE_EXHAUSTED" in text or "DefaultCPUAllocator" in text or "out of memory" in text:
                return True
        error = error.__cause__
    return False


def device_memory(home: Device) -> tuple[int | None, int | None]:
    """Return free and total memory of a device in bytes; None if unknown.

    Where a limit is set, it is the memory that there is. What the library keeps for later arrays can be had.
    """
    if home.name == "cupy":
        with home.activate():
            pool = home.xp.get_default_memory_pool()
            free, total = home.xp.cuda.runtime.memGetInfo()
            free, most = free + pool.free_bytes(), _limit(home)
            return (free, total) if not most else (min(free, max(0, most - pool.used_bytes())), most)
    if home.ordinal is None:
        return host_memory()
    if home.name == "torch":
        cuda = sys.modules["torch"].cuda
        free, total = cuda.mem_get_info(home.device)
        return free + cuda.memory_reserved(home.device) - cuda.memory_allocated(home.device), total
    stats = home.device.memory_stats() or {}
    total, used = stats.get("bytes_limit"), stats.get("bytes_in_use")
    return None if total is None or used is None else total - used, total


def _limit(home: Device) -> int:
    """Return the limit of CuPy's pool in bytes; 0 for none."""
    with home.activate():
        return int(home.xp.get_default_memory_pool().get_limit())


def host_memory() -> tuple[int | None, int | None]:
    """Return available and total memory of the host in bytes, None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        table = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return table.get("MemAvailable"), table.get("MemTotal")
    except (OSError, ValueError, IndexError):
        pass
    try:
        return None, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None, None


def peak(home: Device) -> int | None:
    """Return the peak memory of this process on a device in bytes; None if it is not counted."""
    if home.name == "cupy":
        with home.activate():
            taken = home.xp.get_default_memory_pool().total_bytes()  # falls only where blocks are given back
        _PEAKS[home.device.id] = highest = max(taken, _PEAKS.get(home.device.id, 0))
        return highest
    if home.ordinal is None:
        return None
    if home.name == "torch":
        return int(sys.modules["torch"].cuda.max_memory_reserved(home.device))
    found = (home.device.memory_stats() or {}).get("peak_bytes_in_use")
    return None if found is None else int(found)


def free(home: Device) -> None:
    """Return unused memory of the library's pool to the device."""
    gc.collect()  # what refers to itself is in use until then
    if home.name == "cupy":
        peak(home)
        with home.activate():
            home.xp.get_default_memory_pool().free_all_blocks()
    elif home.name == "torch" and home.ordinal is not None:
        sys.modules["torch"].cuda.empty_cache()


def limit(home: Device, size: int | None) -> None:
    """Limit the memory of this process on a device to ``size`` bytes; None for no limit.

    Raises:
        ConfigError: no number of bytes, or a device that has no such limit, or not while the process runs.
    """
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise ConfigError(
            f"device memory: expected a number of bytes, at least 1, or None for no limit, found {size!r}; "
            "pass 4 * 2**30, say, for 4 GiB"
        )
    if home.name == "cupy":
        with home.activate():
            home.xp.get_default_memory_pool().set_limit(size=size or 0)
        return
    if home.name == "torch" and home.ordinal is not None:
        cuda = sys.modules["torch"].cuda
        total = cuda.get_device_properties(home.device).total_memory
        cuda.set_per_process_memory_fraction(1.0 if size is None else min(1.0, size / total), home.device)
        return
    remedy = "leave the limit out"
    if home.ordinal is not None:
        remedy = "set XLA_PYTHON_CLIENT_MEM_FRACTION in the environment, which JAX reads when it starts"
    raise ConfigError(
        f"device memory: expected a CUDA device of CuPy or PyTorch to limit the memory of, found backend "
        f"{home.spec}; {remedy}"
    )


def explain(error: BaseException, home: Device, what: str, remedies: Sequence[str]) -> OutOfMemoryError:
    """Return the out-of-memory error of a call, with sizes and remedy."""
    if isinstance(error, OutOfMemoryError):  # known already, but not what it was for
        asked, unused, total = error.asked, error.free, error.total
    else:
        asked, (unused, total) = _asked(error), _remaining(home)
    wanted = f"{memory_in_words(asked)} of free memory" if asked is not None else "more free memory"
    found = "no more" if unused is None else memory_in_words(unused)
    of = "" if total is None else f" of {memory_in_words(total)}"
    if asked is not None and unused is not None and unused >= asked:
        of += ", in pieces"
    if home.name == "cupy" and total is not None and total == _limit(home):
        remedies = [*remedies, "raise the limit of device memory"]
    return OutOfMemoryError(
        f"backend {home.spec}: expected {wanted} for {what}, found {found}{of}; {', or '.join(remedies)}",
        asked=asked,
        free=unused,
        total=total,
    )


def _remaining(home: Device) -> tuple[int | None, int | None]:
    try:
        return device_memory(home)
    except Exception:  # a device in trouble may not answer
        return None, None


def _asked(error: BaseException | None) -> int | None:
    """Return how many bytes were asked for, as far as the messages say."""
    while error is not None:
        found = _ASKED.search(str(error))
        if found:
            return round(float(found[1].replace(",", "")) * _UNITS[found[2]])
        error = error.__cause__
    return None


def tells(
    what: str,
    remedies: Callable[..., Sequence[str]],
    let_go: Callable[[Any], None] = lambda owner: None,
    home_of: Callable[..., Device] = lambda owner, *args, **options: getattr(owner, "backend", owner),
) -> Callable[[Method], Method]:
    """Return a decorator of methods, which then raise an `OutOfMemoryError` if memory does not suffice.

    The arrays of the calls that failed are let go, and memory that nobody uses then is given back, so that
    the next call has it.

    Args:
        what: what the method does.
        remedies: what helps, of the method's own arguments.
        let_go: drops what the method's owner can do without for now.
        home_of: returns the backend whose memory it was, of the owner and the method's arguments.
    """

    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        def told(self: Any, *args: Any, **options: Any) -> Any:
            try:
                return method(self, *args, **options)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                home = home_of(self, *args, **options)
                explained = explain(error, home, what, remedies(self, *args, **options))
                explained.__cause__ = _without_arrays(error)
            let_go(self)
            free(home)
            raise explained

        return cast(Method, told)

    return decorate


def _without_arrays(error: BaseException) -> BaseException:
    """Return an error whose traceback keeps its lines, but none of the arrays in the calls that are over."""
    for one in (error, error.__cause__, error.__context__):
        if one is not None:
            traceback.clear_frames(one.__traceback__)
    return error
