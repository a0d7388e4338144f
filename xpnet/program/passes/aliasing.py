"""Aliasing: values of a program that share memory, found by running views on dummy NumPy arrays."""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import array_api_compat.numpy
import numpy as np

from xpnet.program.passes.groups import Group, strides_along
from xpnet.program.program import Operation, Program, Ref, Value

__all__ = [
    "Aliasing", "Overwrites", "View", "ViewFunction", "aliasing_of", "c_order", "in_order", "laid_out",
    "own_view", "view_on_host",
]  # fmt: skip

ViewFunction = Callable[[Operation], Callable[..., Any] | None]
# (operation, operand, result, roots): may the result be written over the operand, read for the last time?
Overwrites = Callable[[Operation, int, int, Mapping[int, int]], bool]

# These may return a look at their operand's memory; those of other libraries, too.
_VIEWS_OF_ALL = frozenset(
    {"reshape", "matrix_transpose", "permute_dims", "moveaxis", "expand_dims", "squeeze", "broadcast_to",
     "flip"}
)  # fmt: skip
_VIEWS = _VIEWS_OF_ALL | {"getitem", "real", "imag", "linalg.diagonal"}


@dataclass(frozen=True, slots=True)
class View:
    """An array as a part of a buffer.

    Attributes:
        root: whose memory: the number of a value, or a number below zero for a buffer of a lowering's own.
        offset: of the first entry, in bytes.
        dtype: of the entries, by name.
        shape: of the array.
        strides: counted in entries.
        listed: where kernels of a device read the root's address when they run: a table there, and its slot;
            None: they are given the address.
    """

    root: int
    offset: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    listed: tuple[View, int] | None = None

    def along(self, goes: tuple[int, ...]) -> tuple[int, ...]:
        """Return the strides with which a loop over ``goes``, without its ones, walks through this array."""
        return strides_along(self.shape, self.strides, goes)

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """Bytes of an entry."""
        return np.dtype(self.dtype).itemsize

    @property
    def first(self) -> int:
        """The offset, counted in entries."""
        return self.offset // self.width

    @property
    def reach(self) -> int:
        """Largest distance of an entry from the first one."""
        return sum((n - 1) * abs(s) for n, s in zip(self.shape, self.strides, strict=True) if n)

    def part(self, axis: int, start: int, size: int) -> View:
        """Return ``size`` entries along an axis."""
        shape = (*self.shape[:axis], size, *self.shape[axis + 1 :])
        offset = self.offset + start * self.strides[axis] * self.width
        return dataclasses.replace(self, shape=shape, offset=offset)

    def with_axis(self, axis: int) -> View:
        """Return the array with one more axis, of one entry."""
        shape, strides = list(self.shape), list(self.strides)
        strides.insert(axis, 1 if axis else math.prod(shape))
        shape.insert(axis, 1)
        return dataclasses.replace(self, shape=tuple(shape), strides=tuple(strides))

    def is_at(self, other: View) -> bool:
        """True if both are the same entries in the same order."""
        ones = [(n, s) for n, s in zip(self.shape, self.strides, strict=True) if n != 1]
        others = [(n, s) for n, s in zip(other.shape, other.strides, strict=True) if n != 1]
        return (self.root, self.offset, ones) == (other.root, other.offset, others)


def c_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of an array of its own, counted in entries."""
    return tuple(math.prod(shape[k + 1 :]) for k in range(len(shape)))


@dataclass(frozen=True)
class Aliasing:
    """Values that share memory.

    Attributes:
        views: the values that are views, which cost nothing where their root's place is known.
        pieces: for values that are computed straight into a vector which joins them: that vector, and from
            where to where.
        roots: for each view and each piece the value that owns the memory.
        outputs: roots of outputs, for which each call allocates.
        donated: for roots of outputs that are written over an input: that input's number.
        copied: for output positions that are computed apart and copied over a donated input: its number.
        apart: roots that are not planned.
        packed: values whose entries lie side by side, row by row or column by column, if those of the inputs
            do.
        parts: for each input and result which part of its root it is.
    """

    views: frozenset[int]
    pieces: dict[int, tuple[int, int, int]]
    roots: dict[int, int]
    outputs: frozenset[int]
    donated: dict[int, int]
    copied: dict[int, int]
    apart: frozenset[int]
    packed: frozenset[int]
    parts: dict[int, View]

    def home(self, n: int) -> int:
        """Return the value whose memory a value is in: its root, or the input over which that is written."""
        root = self.roots.get(n, n)
        return self.donated.get(root, root)


def aliasing_of(
    program: Program,
    donations: Mapping[int, int],
    writable: Collection[int],
    overwrites: Overwrites,
    view: ViewFunction,
) -> Aliasing:
    """Return the aliasing of a program.

    Args:
        program: simplified.
        donations: for some outputs (by position) the input (by position) whose memory they take over.
        writable: results that can be written where we want them.
        overwrites: whether a result may be written over an operand that is read for the last time.
        view: `own_view`, or `view_on_host` for another library's program.
    """
    dummies, roots = _look(program, view)
    owners, views = dict(roots), frozenset(roots)
    outputs = {roots.get(x.number, x.number) for x in program.outputs if type(x) is Ref}
    pieces = _find_pieces(program, dummies, roots, outputs, writable)
    for n, (joined, _, _) in pieces.items():
        roots[n] = joined
    for n, root in list(roots.items()):
        roots[n] = roots.get(root, root)
    inputs = set(program.inputs)
    donated, copied = _place_donations(program, donations, roots, writable, overwrites)
    made = [n for op in program.operations for n in op.results]
    fresh = {n for n in made if n not in writable and n not in roots}
    packed = frozenset(n for n, x in dummies.items() if x.flags.forc)
    parts = {n: _part(n, program, owners, dummies, pieces) for n in (*program.inputs, *made)}
    return Aliasing(
        views, pieces, roots, frozenset(outputs - inputs - fresh), donated, copied,
        frozenset(inputs | outputs | fresh), packed, parts,
    )  # fmt: skip


def own_view(operation: Operation) -> Callable[..., Any] | None:
    """Return an operation's function if it may return a view of its operand."""
    return operation.function if operation.name in _VIEWS else None


def view_on_host(operation: Operation) -> Callable[..., Any] | None:
    """Return NumPy's function for a view that has the same layout in another library."""
    if operation.name in _VIEWS_OF_ALL:
        return getattr(array_api_compat.numpy, operation.name)
    if operation.name == "getitem":
        index = operation.operands[1]
        parts = index if isinstance(index, tuple) else (index,)
        if all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts):
            return operator.getitem
    return None


def _look(program: Program, view: ViewFunction) -> tuple[dict[int, np.ndarray], dict[int, int]]:
    """Apply the functions that may return views to empty arrays, to find shared memory."""
    dummies = {n: laid_out(np.empty(v.size, v.dtype_object), v) for n, v in program.values.items()}
    roots: dict[int, int] = {}
    for operation in program.operations:
        function, source = view(operation), operation.operands[0] if operation.operands else None
        if function is None or type(source) is not Ref or len(list(operation.reads())) > 1:
            continue
        owner = dummies[source.number]
        out = function(owner, *operation.operands[1:], **operation.options)
        if isinstance(out, np.ndarray) and out.size and np.may_share_memory(out, owner):
            n = operation.results[0]
            dummies[n] = out
            roots[n] = roots.get(source.number, source.number)
    return dummies, roots


def _part(
    n: int,
    program: Program,
    owners: dict[int, int],
    dummies: dict[int, np.ndarray],
    pieces: dict[int, tuple[int, int, int]],
) -> View:
    """Return which part of the value that has the memory a value is."""
    x, owner = dummies[n], owners.get(n, n)
    offset = _address(x) - _address(dummies[owner]) if owner != n else 0
    if owner in pieces:
        owner, start, _ = pieces[owner]
        offset += start * x.itemsize
    strides = tuple(s // x.itemsize if x.size else 0 for s in x.strides)
    return View(owner, offset, program.values[n].dtype, x.shape, strides)


def _address(x: np.ndarray) -> int:
    return x.__array_interface__["data"][0]


def in_order(program: Program) -> Program:
    """Return the program with the axes of all values in their own order: for code that has its own sums."""
    values = {n: dataclasses.replace(value, order=()) for n, value in program.values.items()}
    return dataclasses.replace(program, values=values)


def laid_out(entries: np.ndarray, value: Value) -> np.ndarray:
    """Return a vector of entries as the array ``value``, with its axes in memory as NumPy has them there.

    Sums go through memory, so that another order would not give the same bits.
    """
    if not value.order:
        return entries.reshape(value.shape)
    turned = entries.reshape([value.shape[axis] for axis in value.order])
    return turned.transpose(np.argsort(value.order))


def _find_pieces(
    program: Program,
    dummies: dict[int, np.ndarray],
    roots: dict[int, int],
    outputs: set[int],
    writable: Collection[int],
) -> dict[int, tuple[int, int, int]]:
    """Find values that are joined by ``concat`` in full, and can be computed in their place there."""
    pieces: dict[int, tuple[int, int, int]] = {}
    made_by = {n: operation for operation in program.operations for n in operation.results}
    for operation in program.operations:
        joined = operation.results[0]
        if not _joins_vectors(operation, program) or joined in outputs or joined not in writable:
            continue
        sizes = [math.prod(_shape(x, program)) for x in operation.operands]
        for x, stop, size in zip(operation.operands, itertools.accumulate(sizes), sizes, strict=True):
            if type(x) is not Ref or not size:
                continue
            n = roots.get(x.number, x.number)
            whole = _is_whole(dummies[x.number], dummies[n])
            own = n in made_by and n in writable and n not in outputs and n not in pieces
            same = program.values[n].dtype == program.values[joined].dtype
            if whole and own and same and made_by[n].name != "concat":
                pieces[n] = (joined, stop - size, stop)
    return pieces


def _is_whole(look: np.ndarray, array: np.ndarray) -> bool:
    """True for a view of all entries of an array, in their order in memory."""
    orderly = look.flags.c_contiguous and array.flags.c_contiguous
    return orderly and look.size == array.size and _address(look) == _address(array)


def _joins_vectors(operation: Operation, program: Program) -> bool:
    return (
        operation.name == "concat"
        and operation.options.get("axis", 0) == 0
        and all(len(_shape(x, program)) == 1 for x in operation.operands)
    )


def _shape(x: Any, program: Program) -> tuple[int, ...]:
    return program.values[x.number].shape if type(x) is Ref else tuple(x.shape)


def _place_donations(
    program: Program,
    donations: Mapping[int, int],
    roots: dict[int, int],
    writable: Collection[int],
    overwrites: Overwrites,
) -> tuple[dict[int, int], dict[int, int]]:
    """Find the outputs that can be written over their input at once, and those copied there at the end."""
    made_at = {n: i for i, operation in enumerate(program.operations) for n in operation.results}
    last_read: dict[int, int] = {}
    for i, operation in enumerate(program.operations):
        for n in operation.reads():
            last_read[roots.get(n, n)] = i
    returned = {roots.get(x.number, x.number) for x in program.outputs if type(x) is Ref}
    donated: dict[int, int] = {}
    copied: dict[int, int] = {}

    def may(operation: Operation, given: int, made: int) -> bool:
        reads = {n for n in operation.reads() if roots.get(n, n) == given}
        if not reads:
            return not isinstance(operation, Group) or program.values[given] == program.values[made]
        return reads == {given} and overwrites(operation, given, made, roots)

    for position, source in donations.items():
        output, given = program.outputs[position], program.inputs[source]
        if given in returned:  # it is a result itself, as it was
            continue
        if type(output) is not Ref:
            copied[position] = given
            continue
        n = output.number
        can = n in writable and n not in roots and n in made_at and n not in donated
        if can and last_read.get(given, -1) <= made_at[n] and may(program.operations[made_at[n]], given, n):
            donated[n] = given
        elif roots.get(n, n) != given:
            copied[position] = given
    return donated, copied
