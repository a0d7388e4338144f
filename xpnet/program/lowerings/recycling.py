"""Copies of large arrays in the memory of earlier copies that nobody holds any more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["RecycledCopies"]

_LARGE = 2**20  # bytes; smaller blocks are kept by the C library itself


class RecycledCopies:
    """Copies the arrays of a state; the memory of a copy serves a later one once no array lies in it.

    The system hands out fresh memory page by page, each set to zero at its first touch, and takes longer for
    that than the copying takes. At most one spare block is kept for each array.
    """

    def __init__(self) -> None:
        self._spare: dict[int, np.ndarray] = {}

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return C-contiguous copies of the arrays, which have the same sizes in each call."""
        return [self._copy(position, x) for position, x in enumerate(arrays)]

    def _copy(self, position: int, x: np.ndarray) -> np.ndarray:
        if x.nbytes < _LARGE:
            return np.array(x, order="C")
        block = self._spare.pop(position, None)
        if block is None or block.nbytes != x.nbytes:
            block = np.empty(x.nbytes, dtype=np.uint8)
        made = np.asarray(_Lent(block, self._spare, position)).view(x.dtype).reshape(x.shape)
        np.copyto(made, x)
        return made


class _Lent:
    """A block that comes back to the spare ones when the last array in it, whose base this is, is gone."""

    def __init__(self, block: np.ndarray, spare: dict[int, np.ndarray], position: int):
        self._block, self._spare, self._position = block, spare, position
        self.__array_interface__ = block.__array_interface__

    def __del__(self) -> None:
        self._spare[self._position] = self._block
