"""What the lowering asks of a device; the few calls of CuPy and cuBLAS behind it are in `cuda.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

__all__ = ["Device"]


class Device(Protocol):
    """Memory, kernels and matrix products; work is done in the order in which it is given.

    Arrays are the library's own. Addresses are whole numbers.
    """

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array of any content, aligned for every dtype."""

    def zeros(self, size: int) -> Any:
        """Return ``size`` bytes, all zero."""

    def address(self, x: Any) -> int:
        """Return where the first entry of an array is."""

    def contiguous(self, x: Any) -> Any:
        """Return ``x`` if it is an array of this device in C order, else a copy that is."""

    def view(self, x: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> Any:
        """Return an array in the memory of ``x``, which it keeps alive; offset and strides in bytes."""

    def to_host(self, x: Any) -> np.ndarray:
        """Return a copy for NumPy; waits for the device."""

    def load(self, source: str, names: Sequence[str]) -> list[Any]:
        """Compile CUDA C++ and return the kernels of these names."""

    def launch(self, kernel: Any, grid: int, block: int, arguments: Sequence[int]) -> None:
        """Start a kernel, all of whose arguments are 64-bit whole numbers."""

    def gemm(
        self, dtype: str, turned: tuple[bool, bool], sizes: tuple[int, int, int],
        a: tuple[int, int], b: tuple[int, int], c: tuple[int, int],
    ) -> None:  # fmt: skip
        """Compute C = A B as the BLAS does, by columns.

        Args:
            dtype: ``"float32"`` or ``"float64"``.
            turned: whether A and B are stored transposed.
            sizes: m, n, k: C is m times n, and k is what is summed over.
            a: address and leading dimension of A, and likewise b and c.
        """

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """Return the kernels and products that ``run`` gives to the device, without doing them, as one."""

    def mark(self) -> Callable[[], None]:
        """Return a function that waits until the device has done all that it was given so far."""
