"""Buffers of values: memory of the program, arrays that are handed over, constants."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from xpnet.program.lowerings.cupy.cuda import CupyDevice
from xpnet.program.lowerings.memory_plan import MemoryPlan
from xpnet.program.lowerings.views import BUFFER, Buffers
from xpnet.program.passes.aliasing import View, c_order

__all__ = ["SCRATCH", "TICKETS", "DeviceBuffers"]

_ALIGNED = 256  # bytes, as CUDA's own allocations
_LOOKED_THROUGH = 2**20  # entries of a constant array, up to which it may turn out to be one number
SCRATCH, TICKETS = BUFFER - 1, BUFFER - 2  # memory of the program; constants have the numbers below


class DeviceBuffers(Buffers):
    """The buffers of a program on a device.

    Args:
        plan: of the program, with groups.
        device: of the constants.
        inside: inputs and outputs that lie in the program's memory, too.

    Attributes:
        constants: arrays by the numbers of their buffers.
    """

    def __init__(self, plan: MemoryPlan, device: CupyDevice, inside: Iterable[int] = ()):
        super().__init__(plan, _ALIGNED, inside)
        self._device = device
        self._scratch_size = self._tickets = 0
        self._known: dict[int, tuple[Any, View]] = {}
        self._listed: dict[int, tuple[View, int]] = {}
        self.constants: dict[int, Any] = {}

    def list_addresses(self, table: View, slots: dict[int, int]) -> None:
        """Let kernels read the addresses of these inputs from a table; ``slots`` by the inputs' numbers."""
        self._listed = {n: (table, slot) for n, slot in slots.items()}

    def _outside(self, view: View) -> View:
        return dataclasses.replace(view, listed=self._listed.get(view.root))

    def _constant(self, x: Any) -> View:
        if id(x) not in self._known:
            number = TICKETS - 1 - len(self.constants)
            self.constants[number] = self._device.contiguous(x)
            self._known[id(x)] = x, View(number, 0, x.dtype.name, tuple(x.shape), c_order(tuple(x.shape)))
        return self._known[id(x)][1]

    def number(self, x: Any) -> Any:
        return None if math.prod(getattr(x, "shape", ())) > _LOOKED_THROUGH else super().number(x)

    def _on_host(self, x: Any) -> np.ndarray:
        return self._device.to_host(x)

    def scratch(self, sizes: list[int], dtypes: list[str]) -> list[View]:
        """Return scratch arrays of one kernel; the next kernel may reuse them."""
        made, at = [], 0
        for size, dtype in zip(sizes, dtypes, strict=True):
            made.append(View(SCRATCH, at, dtype, (size,), (1,)))
            at += -(-size * np.dtype(dtype).itemsize // _ALIGNED) * _ALIGNED
        self._scratch_size = max(self._scratch_size, at)
        return made

    def tickets(self, count: int) -> View:
        """Return counters that are zero before and after each kernel."""
        self._tickets = max(self._tickets, count)
        return View(TICKETS, 0, "uint32", (count,), (1,))

    def memory(self) -> dict[int, Any]:
        """Allocate, and return the arrays of all roots but inputs and outputs."""
        sizes = {BUFFER: self._size, SCRATCH: self._scratch_size}
        pieces = {n: self._device.empty((size,), "uint8") for n, size in sizes.items()}
        return {**pieces, TICKETS: self._device.zeros(4 * self._tickets), **self.constants}
