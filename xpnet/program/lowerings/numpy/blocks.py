"""Elementwise operations on large arrays, in blocks of rows.

One operation after another on arrays of some megabytes waits for the memory. So a group of them works on
blocks of rows that stay in the processor's cache from its first operation to its last. Values that are
needed inside the group only exist for one block at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.program.lowerings.calls import Texts, written
from xpnet.program.lowerings.operations import ufunc_of
from xpnet.program.passes.groups import Group, domain
from xpnet.program.program import Operation, Program, Ref, Value

if TYPE_CHECKING:
    from xpnet.program.lowerings.straight_line import StraightLine

__all__ = ["BLOCK", "Blocks", "can_be_cut", "homes"]

BLOCK = 1 << 17  # bytes of an array that are worked on at a time: several such arrays fit into the cache
_RESHAPES = ("reshape", "expand_dims", "squeeze")
_NOT_IN_PLACE = ("where", "astype")


def can_be_cut(operation: Operation, program: Program) -> bool:
    """True for elementwise operations on arrays that are worth cutting, and can be."""
    if operation.many or operation.options.keys() - {"copy"}:
        return False
    if ufunc_of(operation.name) is None and operation.name not in ("keep", "astype", "where"):
        return False
    value = program.values[operation.results[0]]
    if len(value.shape) == 0 or value.shape[0] == 1 or value.size <= BLOCK // 4:
        return False  # no more than a block of float32
    return value.size // value.shape[0] <= BLOCK // 16


class Blocks(Texts):
    """Writes a loop over blocks for one group.

    Args:
        group: made of operations of which `can_be_cut` is true.
        around: writes the program's code around it.
        scratch: memory for values of one block, enlarged here if need be.

    Attributes:
        whole: names of blocks of arrays that are not known before the program runs, and their numbers; as
            the names of all blocks, complete after `lines`.
    """

    def __init__(self, group: Group, around: StraightLine, scratch: list[np.ndarray]):
        super().__init__(around.program, around.names)
        self._group, self._around, self._scratch = group, around, scratch
        self._values = around.program.values
        self._bounds = _bounds(group, self._values)
        self._homes = homes(group, self._values, around.overlap)
        while any(home < -len(scratch) for home in self._homes.values()):
            scratch.append(np.empty(BLOCK, dtype=np.uint8))
        self.whole: dict[str, Ref] = {}
        self._known: dict[str, list[np.ndarray]] = {}
        self._reshaped: dict[int, Ref] = {}
        self._kinds: list[Any] = []
        self._axes = 0

    def lines(self) -> list[str]:
        """Return the lines inside the loop."""
        body: list[str] = []
        for member in self._group.members:
            if member.name in _RESHAPES:
                self._reshaped[member.results[0]] = member.operands[0]
            else:
                self._axes = len(domain(member, self._values))
                body += written(member, self)
        return body

    def names_of_blocks(self) -> list[str]:
        """Return the names of the blocks in the loop."""
        return [*self._known, *self.whole]

    def cut(self) -> Callable[..., list[tuple[np.ndarray, ...]]]:
        """Return a function from the arrays of ``whole`` to the blocks of each turn, after `lines`."""
        known, bounds = list(self._known.values()), self._bounds

        def blocks(*arrays: np.ndarray) -> list[tuple[np.ndarray, ...]]:
            return list(zip(*known, *([x[rows] for rows in bounds] for x in arrays), strict=True))

        return blocks

    def text(self, x: Any) -> str:
        """Return the name of a value's block, or of the whole, if each block needs it whole."""
        name, blocks = self._place(x)
        if blocks is not None:
            self._known[name] = blocks
        return name

    def bits(self, x: Any, dtype: Any) -> str:
        name, blocks = self._place(x)
        if blocks is None:
            return f"{name}.view({self.names.of(dtype)})"
        name += "_bits"
        self._known[name] = [block.view(dtype) for block in blocks]
        return name

    def filled(self, number: Any, n: int) -> str:
        shape = self._bounds[0].stop, *self._values[n].shape[1:]
        full = self._around.full(number, shape)
        name = f"{self.names.of(full)}_rows"
        self._known[name] = [full[: rows.stop - rows.start] for rows in self._bounds]
        return name

    def _place(self, x: Any) -> tuple[str, list[np.ndarray] | None]:
        """Return the name of an operand, and its blocks if they are known before the program runs."""
        if type(x) is not Ref:
            array, shape = x, getattr(x, "shape", ())
        elif x.number in self._reshaped:
            return self._place_reshaped(x.number)
        elif x.number in self._homes:
            return self._place_inside(x.number)
        else:
            array, shape = self._around.known(x.number), self._values[x.number].shape
        text = self._around.text(x)
        if len(shape) != self._axes or not shape or shape[0] == 1:
            return text, None
        if array is not None:
            return f"{text}_rows", [array[rows] for rows in self._bounds]
        self.whole[f"{text}_rows"] = x
        return f"{text}_rows", None

    def _place_inside(self, n: int) -> tuple[str, list[np.ndarray] | None]:
        """Return the name and the blocks of a value that nothing outside needs."""
        home, value = self._homes[n], self._values[n]
        if home >= 0:
            return self._place(Ref(home))
        kind = home, value.dtype, value.shape[1:]
        if kind not in self._kinds:
            self._kinds.append(kind)
        memory, row = self._scratch[-home - 1], value.bytes // value.shape[0]
        return f"t{self._kinds.index(kind)}", [
            memory[: (rows.stop - rows.start) * row].view(value.dtype_object).reshape(-1, *value.shape[1:])
            for rows in self._bounds
        ]

    def _place_reshaped(self, n: int) -> tuple[str, list[np.ndarray] | None]:
        """Return the text and the blocks of a value that has dimensions of one entry more or less."""
        x, row = self._reshaped[n], self._values[n].shape[1:]
        axes, self._axes = self._axes, len(self._values[x.number].shape)
        name, blocks = self._place(x)
        self._axes = axes
        if blocks is None:
            return f"{name}.reshape({(-1, *row)!r})", None
        return f"{name}_{'_'.join(map(str, row))}", [block.reshape(-1, *row) for block in blocks]


def _bounds(group: Group, values: dict[int, Value]) -> list[slice]:
    """Cut the rows of a group's loop."""
    rows = group.loop.shape[0]
    widest = max(values[n].bytes // rows for member in group.members for n in member.results)
    count = -(-rows // (BLOCK // widest))
    length = -(-rows // count)
    return [slice(i, min(i + length, rows)) for i in range(0, rows, length)]


def homes(group: Group, values: dict[int, Value], overlap: Callable[[int, int], bool]) -> dict[int, int]:
    """Return the buffers for blocks of values that nothing outside the group needs.

    Args:
        group: what is computed, in order.
        values: what is known of the values.
        overlap: whether two values from outside (operands and results of the group) lie in the same memory.

    Returns:
        For each such value a result of the group in whose memory it lies before that is made, or a piece of
        scratch memory: -1, -2 and so on. What is reshaped stays where it was.
    """
    return _Homes(group, values, overlap).found


class _Homes:
    def __init__(self, group: Group, values: dict[int, Value], overlap: Callable[[int, int], bool]):
        self._members, self._values = group.members, values
        same = {m.results[0]: m.operands[0].number for m in group.members if m.name in _RESHAPES}
        self._made = {member.results[0]: i for i, member in enumerate(group.members)}
        self._last: dict[int, int] = {}
        for i, member in enumerate(group.members):
            for n in member.reads():
                while n in same:
                    n = same[n]
                self._last[n] = i
        # For each home what lies there, and which member reads it last.
        self._holds = {r: [n for n in group.reads() if overlap(n, r)] for r in group.results}
        self._ends = {r: max((self._last[n] for n in self._holds[r]), default=-1) for r in group.results}
        self.found: dict[int, int] = {}
        for i, member in enumerate(group.members):
            n = member.results[0]
            if n not in group.results and n not in same:
                free = (home for home in self._ends if self._is_free(home, i) and self._is_good(home, n))
                home = next(free, min(0, *self._ends) - 1)
                self.found[n], self._holds[home], self._ends[home] = home, [n], self._last[n]

    def _is_free(self, home: int, i: int) -> bool:
        """True if what lies in a home is not needed when a member has run, which may write over it."""
        if self._ends[home] < i:
            return True
        made = self._values[self._members[i].results[0]]
        same = all(self._values[n] == made for n in self._holds[home])
        return self._ends[home] == i and same and self._in_place(i)

    def _is_good(self, home: int, n: int) -> bool:
        """True if a value can lie in a home until it is read for the last time."""
        if home < 0:
            return True
        made, last = self._made[home], self._last[n]
        same = self._values[home] == self._values[n]
        return same and (last < made or (last == made and self._in_place(made)))

    def _in_place(self, i: int) -> bool:
        return self._members[i].name not in _NOT_IN_PLACE
