"""A CUDA device that is the host: generated kernels are compiled as C++ and run on NumPy arrays."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["COMPILER", "HostDevice"]

COMPILER = shutil.which("g++")
_HEADER = Path(__file__).with_name("host_cuda.h")
_OPTIONS = ["-std=c++17", "-O1", "-fPIC", "-ffp-contract=off", "-w"]
_KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(\d+\) )?(\w+)\(([^)]*)\)')
_CANARY = 64  # bytes around each piece of memory that nothing may write to


class HostDevice:
    """Runs kernels on the host; matrix products by NumPy.

    Attributes:
        launches: number of kernels and products so far, those of captured work included.
    """

    def __init__(self) -> None:
        self.launches = 0
        self._recording: list[Callable[[], None]] | None = None
        self._guarded: list[tuple[np.ndarray, int]] = []

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        dtype = np.dtype(dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        whole = np.full(size + 2 * _CANARY, 0xFF, dtype=np.uint8)  # NaN, to be seen if it is read
        if len(self._guarded) > 20:  # no more, for the sake of tests of memory
            self.check()
        self._guarded.append((whole, size))
        return whole[_CANARY : _CANARY + size].view(dtype).reshape(shape)

    def zeros(self, size: int) -> np.ndarray:
        made = self.empty((size,), np.uint8)
        made[...] = 0
        return made

    def address(self, x: np.ndarray) -> int:
        return x.__array_interface__["data"][0]

    def contiguous(self, x: Any) -> np.ndarray:
        return np.asarray(x, order="C")

    def view(
        self, x: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str
    ) -> np.ndarray:
        return np.ndarray(shape, dtype, buffer=x.reshape(-1).view(np.uint8), offset=offset, strides=strides)

    def to_host(self, x: Any) -> np.ndarray:
        return np.asarray(x)

    def load(self, source: str, names: Sequence[str]) -> list[Any]:
        library = ctypes.CDLL(str(_built(source)))
        return [getattr(library, f"run_{name}") for name in names]

    def launch(self, kernel: Any, grid: int, block: int, arguments: Sequence[int]) -> None:
        assert block <= 1024
        given = (ctypes.c_longlong * len(arguments))(*arguments)

        def run() -> None:
            self.launches += 1
            assert kernel(grid, block, given), "threads of a block wait for each other in vain"

        self._do(run)

    def gemm(self, dtype: str, turned: Any, sizes: Any, a: Any, b: Any, c: Any) -> None:
        (m, n, k), (turn_a, turn_b) = sizes, turned

        def run() -> None:
            self.launches += 1
            left = _by_columns(a, *((k, m) if turn_a else (m, k)), dtype)
            right = _by_columns(b, *((n, k) if turn_b else (k, n)), dtype)
            first, second = (right if turn_b else right.T), (left if turn_a else left.T)
            np.matmul(first, second, out=_by_columns(c, m, n, dtype).T)

        self._do(run)

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        assert self._recording is None
        self._recording = recording = []
        run()
        self._recording = None

        def replay() -> None:
            for work in recording:
                work()

        return replay

    def mark(self) -> Callable[[], None]:
        return lambda: None

    def _do(self, work: Callable[[], None]) -> None:
        if self._recording is None:
            work()
        else:
            self._recording.append(work)

    def check(self) -> None:
        """Check that nothing was written beside the memory that was handed out."""
        for whole, size in self._guarded:
            assert (whole[:_CANARY] == 0xFF).all()
            assert (whole[_CANARY + size :] == 0xFF).all()
        self._guarded.clear()


def _by_columns(at: tuple[int, int], rows: int, columns: int, dtype: str) -> np.ndarray:
    """Return the matrix at an address whose columns lie one after another at a distance."""
    address, lead = at
    assert lead >= rows
    size = np.dtype(dtype).itemsize
    raw = (ctypes.c_byte * ((lead * (columns - 1) + rows) * size)).from_address(address)
    return np.ndarray((rows, columns), dtype, buffer=raw, strides=(size, lead * size))


_folder = tempfile.TemporaryDirectory(prefix="xpnet-kernels-")


@functools.cache
def _header() -> Path:
    """Return the header, which is compiled once for all kernels."""
    path = Path(_folder.name, _HEADER.name)
    shutil.copy(_HEADER, path)
    _compile([*_OPTIONS, "-x", "c++-header", str(path)])
    return path


def _compile(options: list[str]) -> None:
    assert COMPILER is not None
    done = subprocess.run([COMPILER, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]


def _built(source: str) -> Path:
    digest = hashlib.sha256(source.encode()).hexdigest()[:20]
    path = Path(_folder.name, f"{digest}.so")
    if path.exists():
        return path
    text = [f'#include "{_header()}"', source]
    for match in _KERNEL.finditer(source):
        name, parameters = match.groups()
        types = [p.rpartition(" ")[0] for p in parameters.split(", ") if p]
        given = ", ".join(f"({t})a[{i}]" for i, t in enumerate(types))
        end = source.find('extern "C"', match.end())
        code = source[match.end() : end if end >= 0 else len(source)]
        waits = bool(re.search(r"of_lanes|of_block|of_column|is_last|__sync", code))
        text.append(
            f'extern "C" bool run_{name}(long long grid, long long block, long long* a) '
            f"{{ return launch(grid, block, {str(waits).lower()}, [=] {{ {name}({given}); }}); }}"
        )
    written = path.with_suffix(".cpp")
    written.write_text("\n".join(text))
    _compile([*_OPTIONS, "-shared", str(written), "-o", str(path)])
    return path
