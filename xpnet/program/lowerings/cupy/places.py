"""Where values lie: in memory of the program, in arrays that are handed over, in constants."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.program.lowerings.cupy.cuda import CupyDevice
from xpnet.program.passes.aliasing import Layout, looks
from xpnet.program.passes.groups import strides_along
from xpnet.program.passes.memory import Memory
from xpnet.program.program import Program, Ref

__all__ = ["ARENA", "SCRATCH", "TICKETS", "Place", "Places", "c_order"]

_ALIGNED = 256  # bytes, as CUDA's own allocations
_LOOKED_THROUGH = 2**20  # entries of a constant array, up to which it may turn out to be one number
ARENA, SCRATCH, TICKETS = -1, -2, -3  # memory of the program; constants have the numbers below


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array's entries are.

    Attributes:
        root: whose memory: the number of a value, or one of the program's own pieces.
        offset: of the first entry, in bytes.
        dtype: of the entries.
        shape: of the array.
        strides: counted in entries.
        listed: where kernels read the root's address when they run: a table on the device, and its slot;
            None: they are given the address.
    """

    root: int
    offset: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    listed: tuple[Place, int] | None = None

    def along(self, goes: tuple[int, ...]) -> tuple[int, ...]:
        """Return the strides with which a loop over ``goes``, without its ones, walks through this array."""
        return strides_along(self.shape, self.strides, goes)

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def reach(self) -> int:
        """How far entries lie from the first one, at most."""
        return sum((n - 1) * abs(s) for n, s in zip(self.shape, self.strides, strict=True) if n)

    def part(self, axis: int, start: int, size: int) -> Place:
        """Return the place of ``size`` entries along an axis."""
        shape = (*self.shape[:axis], size, *self.shape[axis + 1 :])
        offset = self.offset + start * self.strides[axis] * np.dtype(self.dtype).itemsize
        return dataclasses.replace(self, shape=shape, offset=offset)

    def is_at(self, other: Place) -> bool:
        """True if both are the same entries in the same order."""
        ones = [(n, s) for n, s in zip(self.shape, self.strides, strict=True) if n != 1]
        others = [(n, s) for n, s in zip(other.shape, other.strides, strict=True) if n != 1]
        return (self.root, self.offset, ones) == (other.root, other.offset, others)


def c_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of an array of its own, counted in entries."""
    return tuple(math.prod(shape[k + 1 :]) for k in range(len(shape)))


class Places:
    """The places of a program's values.

    Args:
        program: with groups.
        layout: what shares memory.
        memory: planned places.
        device: of the constants.
        inside: inputs and outputs that lie in the program's memory, too.

    Attributes:
        constants: arrays by the numbers of their places.
    """

    def __init__(
        self,
        program: Program,
        layout: Layout,
        memory: Memory,
        device: CupyDevice,
        inside: Collection[int] = (),
    ):
        self._program, self._layout, self._planned, self._device = program, layout, memory, device
        self._size = self._scratch_size = self._tickets = 0
        self._offsets = [self._reserved(size) for size in memory.slots]
        self._own = {n: self._reserved(program.values[n].bytes) for n in inside}
        self._arrays = looks(program, layout)
        self._known: dict[int, tuple[Any, Place]] = {}
        self._numbers: dict[int, tuple[Any, Any]] = {}
        self._listed: dict[int, tuple[Place, int]] = {}
        self.constants: dict[int, Any] = {}

    def _reserved(self, size: int) -> int:
        at = self._size
        self._size += -(-max(size, 1) // _ALIGNED) * _ALIGNED
        return at

    def __call__(self, x: Any) -> Place:
        """Return where a value or a constant array is."""
        if type(x) is not Ref:
            return self._constant(x)
        n = x.number
        root = self._layout.roots.get(n, n)
        array, whole = self._arrays[n], self._arrays[root]
        offset = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        strides = tuple(s // array.itemsize for s in array.strides)
        root = self._layout.donated.get(root, root)
        if root in self._own:
            root, offset = ARENA, offset + self._own[root]
        elif root in self._planned.slot_of:
            root, offset = ARENA, offset + self._offsets[self._planned.slot_of[root]]
        return Place(root, offset, array.dtype.name, array.shape, strides, self._listed.get(root))

    def list_addresses(self, table: Place, slots: dict[int, int]) -> None:
        """Have the addresses of these inputs be read from a table: from its slots, by the inputs' numbers."""
        self._listed = {n: (table, slot) for n, slot in slots.items()}

    def _constant(self, x: Any) -> Place:
        if id(x) not in self._known:
            number = TICKETS - 1 - len(self.constants)
            self.constants[number] = self._device.contiguous(x)
            place = Place(number, 0, x.dtype.name, tuple(x.shape), c_order(x.shape))
            self._known[id(x)] = x, place
        return self._known[id(x)][1]

    def number(self, x: Any) -> Any:
        """Return the number that all entries of a constant array are, bit for bit; None if they differ."""
        if type(x) is Ref or not hasattr(x, "shape") or math.prod(x.shape) > _LOOKED_THROUGH:
            return None
        if id(x) not in self._numbers:
            host = np.ascontiguousarray(self._device.to_host(x)).reshape(-1)
            same = host.size and host[:1].tobytes() * host.size == host.tobytes()
            self._numbers[id(x)] = x, host[0] if same else None
        return self._numbers[id(x)][1]

    def own(self, shape: tuple[int, ...], dtype: str) -> Place:
        """Return a new place in the program's memory."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return Place(ARENA, self._reserved(size), dtype, shape, c_order(shape))

    def scratch(self, sizes: list[int], dtypes: list[str]) -> list[Place]:
        """Return places that one kernel writes and reads; the next one may have them, too."""
        places, at = [], 0
        for size, dtype in zip(sizes, dtypes, strict=True):
            places.append(Place(SCRATCH, at, dtype, (size,), (1,)))
            at += -(-size * np.dtype(dtype).itemsize // _ALIGNED) * _ALIGNED
        self._scratch_size = max(self._scratch_size, at)
        return places

    def tickets(self, count: int) -> Place:
        """Return the place of counters that are zero before and after each kernel."""
        self._tickets = max(self._tickets, count)
        return Place(TICKETS, 0, "uint32", (count,), (1,))

    @property
    def bytes(self) -> int:
        """Bytes of the program's memory so far, without constants."""
        return self._size + self._scratch_size + 4 * self._tickets

    def memory(self) -> dict[int, Any]:
        """Allocate, and return the arrays of all roots but inputs and outputs."""
        sizes = {ARENA: self._size, SCRATCH: self._scratch_size}
        pieces = {n: self._device.empty((size,), "uint8") for n, size in sizes.items()}
        return {**pieces, TICKETS: self._device.zeros(4 * self._tickets), **self.constants}
