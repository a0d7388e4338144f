"""The writing of a group as nested loops of generated code.

The group's loop becomes outer loops over rows and inner loops over their entries. What needs a row's sum
waits for it: the inner loop is run once for each such *phase*. Dimensions that every access goes through in
one stride become one, so that most groups are a single long loop, which LLVM turns into vector code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.program.lowerings.numba_elements import cheap, expression, kinds
from xpnet.program.passes.groups import REDUCTIONS, Group, domain, essential, reduced
from xpnet.program.program import Operation, Ref, Value

__all__ = ["GroupWriter", "Place", "Surroundings", "indented"]

_BLOCK = 4096  # entries that are added up in their own precision; the sums of blocks are in float64


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array's entries are: a pointer's name, and what to add to it, counted in entries."""

    pointer: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def along(self, goes: tuple[int, ...]) -> tuple[int, ...]:
        """Return the strides with which a loop over ``goes``, without its ones, walks through this array."""
        missing = len(goes) - len(self.shape)
        full = (0,) * missing + tuple(
            0 if n == 1 else s for n, s in zip(self.shape, self.strides, strict=True)
        )
        return tuple(s for s, n in zip(full, goes, strict=True) if n != 1)


@dataclass(frozen=True)
class Surroundings:
    """What a group's code stands in.

    Attributes:
        values: of the program.
        place: where a value is that is made outside, or needed there; where a constant array is.
        scratch: memory for some entries of a dtype.
        constant: a name for a number of a dtype.
    """

    values: dict[int, Value]
    place: Callable[[Any], Place]
    scratch: Callable[[int, str], Place]
    constant: Callable[[Any, np.dtype[Any]], str]


def indented(lines: list[str], by: int = 1) -> list[str]:
    """Return the lines further to the right."""
    return ["    " * by + line for line in lines]


class GroupWriter:
    """Writes one group; see the module."""

    def __init__(self, group: Group, around: Surroundings):
        self._group, self._around, self._values = group, around, around.values
        self._shape, split = group.loop.shape, group.loop.split
        self._made = {op.results[0]: op for op in group.members}
        self._split = len(self._shape) if split is None else split
        self._rows = split is not None
        self._same = self._find_same()
        self._time: dict[int, int] = {}
        self._late: set[int] = set()
        self._find_times()
        self._collapse()
        self._stored: dict[int, Place] = {}
        # Names of what is loaded, by the text of the entry: in this phase, for each row, before the loops.
        self._loaded: dict[str, str] = {}
        self._loaded_rows: dict[str, str] = {}
        self._loaded_once: dict[str, str] = {}
        self._once: list[str] = []
        self._of_rows: list[str] = []
        self._count = 0

    # --- what is where --------------------------------------------------------------------------------

    def _find_same(self) -> dict[int, int]:
        """Return for results of reshapes and of sums over nothing the value that they are."""
        same: dict[int, int] = {}
        for op in self._group.members:
            x = op.operands[0]
            if type(x) is not Ref or x.number not in self._made:
                continue
            if op.name in ("reshape", "expand_dims", "squeeze"):
                same[op.results[0]] = same.get(x.number, x.number)
        return same

    def _level(self, n: int) -> str:
        """Return whether a value is one number, a number for each row, or one for each entry."""
        shape = essential(self._values[n].shape)
        if not shape:
            return "one"
        return "row" if self._rows and len(shape) < len(self._shape) else "entry"

    def _reduces(self, op: Operation) -> str:
        """Return what a reduction leaves: a number a ``"row"``, ``"all"``, ``"column"``; ``""`` if it is none."""
        if op.name not in REDUCTIONS:
            return ""
        shape = self._values[op.operands[0].number].shape
        flags = [flag for flag, n in zip(reduced(op, self._values), shape, strict=True) if n != 1]
        if not any(flags):
            return ""
        return "all" if all(flags) else "column" if flags[0] else "row"

    def _inputs(self, op: Operation) -> Iterator[int]:
        """Yield the numbers of the members' values that an operation reads."""
        for n in op.reads():
            n = self._same.get(n, n)
            if n in self._made:
                yield n

    def _find_times(self) -> None:
        """Find for each value of rows and entries the phase in which it can be had; later is ``_late``."""
        for op in self._group.members:
            n = op.results[0]
            if n in self._same:
                continue
            kind = self._reduces(op)
            given = list(self._inputs(op))
            time = max([self._time[x] for x in given if x in self._time], default=0)
            if kind in ("all", "column") or any(x in self._late for x in given):
                self._late.add(n)
            elif self._level(n) != "one" or kind == "row":
                self._time[n] = time + (kind == "row")
        self._last = 0
        self._spilled: set[int] = set()
        for op in self._group.members:
            n = op.results[0]
            if n in self._same:
                continue
            if self._reduces(op):
                n = self._same.get(op.operands[0].number, op.operands[0].number)
            elif n not in self._group.results:
                continue
            if n in self._made and self._level(n) == "entry":
                self._last = max(self._last, self._time[n])
                self._walk(n, self._time[n], set())

    def _walk(self, n: int, time: int, seen: set[tuple[int, int]]) -> None:
        """Find the values to spill, given that ``n`` is wanted in a phase.

        A value of an earlier phase is computed again if that is cheap, else stored and loaded.
        """
        if (n, time) in seen or self._level(n) != "entry":
            return
        seen.add((n, time))
        if self._time[n] < time and (n in self._group.results or not cheap(self._made[n])):
            if n not in self._group.results:
                self._spilled.add(n)
            time = self._time[n]
        for x in self._inputs(self._made[n]):
            self._walk(x, time, seen)

    def _accesses(self) -> Iterator[tuple[Place, tuple[int, ...]]]:
        """Yield what is loaded and stored in the loops, with strides along the loop's shape."""
        for op in self._group.members:
            goes = domain(op, self._values)
            if not essential(goes):
                continue
            for x in op.operands:
                outside = type(x) is Ref and self._same.get(x.number, x.number) not in self._made
                if outside or (getattr(x, "shape", None) and _single_entry(x) is None):
                    place = self._around.place(x)
                    yield place, self._full(place.along(goes))
        for n in self._group.results:
            place = self._around.place(Ref(n))
            yield place, self._full_of_result(n, place)

    def _full(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        return strides + (0,) * (len(self._shape) - len(strides))

    def _full_of_result(self, n: int, place: Place) -> tuple[int, ...]:
        own = place.along(self._values[n].shape)
        if self._reduces(self._made[n]) == "column":
            return (0,) * (len(self._shape) - len(own)) + own
        return self._full(own)

    def _collapse(self) -> None:
        """Join dimensions that all accesses go through in one stride."""
        accesses = [strides for _, strides in self._accesses()]
        kept: list[list[int]] = []  # runs of the loop's dimensions
        for i in range(len(self._shape)):
            joinable = kept and i != self._split
            if joinable and all(s[i - 1] == s[i] * self._shape[i] for s in accesses):
                kept[-1].append(i)
            else:
                kept.append([i])
        self._runs = kept
        self._sizes = [int(np.prod([self._shape[i] for i in run])) for run in kept]
        if self._rows:
            self._outer = sum(run[0] < self._split for run in kept)
        else:
            self._outer = max(len(kept) - 1, 0)

    def _at(self, place: Place, strides: tuple[int, ...]) -> str:
        """Return the text of an entry."""
        terms = []
        for k, run in enumerate(self._runs):
            stride = strides[run[-1]]
            if stride:
                name = f"i{k}"
                terms.append(name if stride == 1 else f"{name} * {stride}")
        if place.offset or not terms:
            terms.append(str(place.offset))
        return f"{place.pointer}[{' + '.join(terms)}]"

    def _written(self, n: int) -> str:
        """Return the text of a value to be stored; bytes hold 0 and 1 for False and True."""
        return f"np.uint8(x{n})" if self._values[n].dtype == "bool" else f"x{n}"

    # --- code -----------------------------------------------------------------------------------------

    def lines(self) -> list[str]:
        """Return the code of the group."""
        before, after = self._alone()
        if not self._shape:
            return [*self._once, *before]
        totals = [op for op in self._group.members if self._reduces(op) == "all"]
        columns = [op for op in self._group.members if self._reduces(op) == "column"]
        start = [f"t{op.results[0]} = {self._start(op, total=True)}" for op in totals]
        for op in columns:
            start += self._cleared(op)
        done = [self._as_result(op) for op in totals]
        loops = self._outer_loops()
        return [*self._once, *before, *start, *loops, *done, *after]

    def _alone(self) -> tuple[list[str], list[str]]:
        """Return the code of single numbers: before the loops, and after them."""
        before: list[str] = []
        after: list[str] = []
        for op in self._group.members:
            n = op.results[0]
            if n in self._same or self._level(n) != "one":
                continue
            lines = after if n in self._late else before
            if not (self._reduces(op) and n in self._late):
                lines.append(f"x{n} = {self._computed(op, self._single, lines)}")
            if n in self._group.results:
                at = self._at(self._around.place(Ref(n)), (0,) * len(self._shape))
                lines.append(f"{at} = {self._written(n)}")
        return before, after

    def _single(self, x: Any, goes: tuple[int, ...], lines: list[str]) -> str:
        n = self._same.get(x.number, x.number) if type(x) is Ref else -1
        if n in self._made:
            return f"x{n}"
        return self._load(x, goes, lines)

    def _load(self, x: Any, goes: tuple[int, ...], lines: list[str]) -> str:
        """Return the name of an entry of what is made elsewhere, loaded once, and before the loops if it can be."""
        place = self._around.place(x)
        strides = self._full(place.along(goes)) if self._shape else ()
        text = self._at(place, strides)
        if text not in self._loaded:
            self._count += 1
            name = f"a{self._group.results[0]}_{self._count}"
            inner = [run for run in self._runs[self._outer :] if strides[run[-1]]]
            outer = [run for run in self._runs[: self._outer] if strides[run[-1]]]
            known = self._loaded if inner else self._loaded_rows if outer else self._loaded_once
            known[text] = name
            self._loaded[text] = name
            (lines if inner else self._of_rows if outer else self._once).append(
                f"{name} = {_read(text, self._values[x.number].dtype if type(x) is Ref else x.dtype.name)}"
            )
        return self._loaded[text]

    def _computed(self, op: Operation, name: Callable[..., str], lines: list[str]) -> str:
        """Return the expression of an elementwise member."""
        goes = domain(op, self._values)
        found = kinds(op, self._values)
        assert found is not None
        operands = op.operands if op.name not in ("astype", *REDUCTIONS) else op.operands[:1]
        names = []
        for x, kind in zip(operands, found[:-1], strict=True):
            if type(x) in (bool, int, float):
                names.append(self._around.constant(x, kind))
                continue
            single = _single_entry(x)
            if single is not None:
                names.append(self._around.constant(single.astype(kind), kind))
                continue
            text = name(x, goes, lines)
            dtype = self._values[x.number].dtype if type(x) is Ref else x.dtype.name
            names.append(text if dtype == kind.name else f"np.{kind.name.replace('bool', 'bool_')}({text})")
        if op.name in REDUCTIONS:  # over nothing
            return names[0]
        text = expression(op, self._values, names, self._around.constant)
        assert text is not None
        return text

    def _outer_loops(self) -> list[str]:
        totals = [op for op in self._group.members if self._reduces(op) == "all"]
        inner = self._sizes[self._outer :]
        blocked = not self._outer and totals and len(inner) == 1 and inner[0] > _BLOCK
        body = self._row_code("start", "stop") if blocked else self._row_code()
        if blocked:
            head = [
                f"for block in range({-(-inner[0] // _BLOCK)}):",
                f"    start = block * {_BLOCK}",
                f"    stop = min(start + {_BLOCK}, {inner[0]})",
            ]
            return [*head, *indented(body)]
        for k in range(self._outer - 1, -1, -1):
            body = [f"for i{k} in range({self._sizes[k]}):", *indented(body)]
        return body

    def _row_code(self, *bounds: str) -> list[str]:
        """Return the code of one row: its numbers and its phases by turns."""
        lines: list[str] = []
        for time in range(self._last + 2):
            self._row_numbers(time, lines)
            if time <= self._last:
                lines += self._phase(time, bounds)
        return [*self._of_rows, *lines]

    def _row_numbers(self, time: int, lines: list[str]) -> None:
        for op in self._group.members:
            n = op.results[0]
            if n in self._same:
                continue
            kind = self._reduces(op)
            if kind == "row":
                if self._time[n] != time:
                    continue
            elif kind:
                source = self._same.get(op.operands[0].number, op.operands[0].number)
                level = self._level(source)
                if level != "row" or self._time.get(source, 0) != time:
                    continue
                text = self._computed_operand(op, self._row_name, lines)
                if kind == "all":
                    lines.append(f"t{n} = {self._combined(op, f't{n}', text, total=True)}")
                else:
                    lines += self._into_column(op, text)
                continue
            elif self._level(n) != "row" or self._time[n] != time:
                continue
            else:
                lines.append(f"x{n} = {self._computed(op, self._row_name, lines)}")
            if n in self._group.results:
                place = self._around.place(Ref(n))
                lines.append(f"{self._at(place, self._full_of_result(n, place))} = {self._written(n)}")

    def _row_name(self, x: Any, goes: tuple[int, ...], lines: list[str]) -> str:
        return self._single(x, goes, lines)

    def _phase(self, time: int, bounds: tuple[str, ...]) -> list[str]:
        """Return the inner loop of a phase, and what its sums come to."""
        start: list[str] = []
        body: list[str] = []
        done: list[str] = []
        computed: set[int] = set()

        def name(x: Any, goes: tuple[int, ...], lines: list[str]) -> str:
            n = self._same.get(x.number, x.number) if type(x) is Ref else -1
            if n not in self._made:
                return self._load(x, goes, lines)
            if self._level(n) == "entry":
                self._need(n, time, computed, name, lines)
            return f"x{n}"

        for op in self._group.members:
            n = op.results[0]
            kind = self._reduces(op)
            source = self._same.get(op.operands[0].number, op.operands[0].number) if kind else n
            if n in self._same or (kind and self._level(source) != "entry"):
                continue
            if kind:
                if self._time.get(source, 0) != time:
                    continue
                text = self._computed_operand(op, name, body)
                if kind == "column":
                    body += self._into_column(op, text)
                    continue
                start.append(f"x{n} = {self._start(op)}")
                body.append(f"x{n} = {self._combined(op, f'x{n}', text)}")
                if kind == "all":
                    done.append(f"t{n} = {self._combined(op, f't{n}', f'x{n}', total=True)}")
            elif self._level(n) == "entry" and self._time[n] == time and n in self._group.results:
                name(Ref(n), domain(op, self._values), body)
        for op in self._group.members:
            n = op.results[0]
            if n in self._spilled and self._time[n] == time:
                name(Ref(n), domain(op, self._values), body)
        if not body:
            return done
        self._loaded = {**self._loaded_once, **self._loaded_rows}
        loops = body
        for k in range(len(self._sizes) - 1, self._outer - 1, -1):
            limits = ", ".join(bounds) or str(self._sizes[k])
            loops = [f"for i{k} in range({limits}):", *indented(loops)]
        return [*start, *loops, *done]

    def _need(
        self, n: int, time: int, computed: set[int], name: Callable[..., str], lines: list[str]
    ) -> None:
        """Have an entry of a member's value at hand: load it, or compute it (again, if that is cheap)."""
        if n in computed:
            return
        computed.add(n)
        op = self._made[n]
        if n in self._stored and self._time[n] < time:
            place = self._stored[n]
            lines.append(f"x{n} = {_read(self._at_stored(place, n), self._values[n].dtype)}")
            return
        lines.append(f"x{n} = {self._computed(op, name, lines)}")
        if self._time[n] != time:
            return
        if n in self._group.results:
            place = self._stored[n] = self._around.place(Ref(n))
            lines.append(f"{self._at(place, self._full_of_result(n, place))} = {self._written(n)}")
        elif n in self._spilled:
            size = int(np.prod(self._sizes[self._outer :]))
            place = self._stored[n] = self._around.scratch(size, self._values[n].dtype)
            lines.append(f"{self._at_stored(place, n)} = {self._written(n)}")

    def _at_stored(self, place: Place, n: int) -> str:
        if n in self._group.results:
            return self._at(place, self._full_of_result(n, place))
        strides = [0] * len(self._shape)
        step = 1
        for k in range(len(self._runs) - 1, self._outer - 1, -1):
            strides[self._runs[k][-1]] = step
            step *= self._sizes[k]
        return self._at(place, tuple(strides))

    # --- reductions -----------------------------------------------------------------------------------

    def _dtype(self, op: Operation) -> np.dtype[Any]:
        return np.dtype(self._values[op.results[0]].dtype)

    def _start(self, op: Operation, total: bool = False) -> str:
        dtype = self._dtype(op)
        if op.name == "sum":
            return self._around.constant(0, np.dtype("float64") if total and dtype.kind == "f" else dtype)
        if dtype.kind == "f":
            return self._around.constant(-np.inf if op.name == "max" else np.inf, dtype)
        info = np.iinfo(dtype)
        return self._around.constant(info.min if op.name == "max" else info.max, dtype)

    def _combined(self, op: Operation, so_far: str, term: str, total: bool = False) -> str:
        dtype = self._dtype(op)
        if op.name != "sum":
            if dtype.kind == "f":
                return f"{'largest' if op.name == 'max' else 'smallest'}({so_far}, {term})"
            return f"select({so_far} {'>' if op.name == 'max' else '<'} {term}, {so_far}, {term})"
        if dtype.kind != "f":
            return f"np.{dtype.name}({so_far} + {term})"
        return f"{so_far} + np.float64({term})" if total else f"sum2({so_far}, {term})"

    def _as_result(self, op: Operation) -> str:
        n, dtype = op.results[0], self._dtype(op)
        return f"x{n} = np.{dtype.name}(t{n})"

    def _computed_operand(self, op: Operation, name: Callable[..., str], lines: list[str]) -> str:
        x = op.operands[0]
        text = name(x, domain(op, self._values), lines)
        dtype = self._dtype(op)
        return text if self._values[x.number].dtype == dtype.name else f"np.{dtype.name}({text})"

    def _into_column(self, op: Operation, term: str) -> list[str]:
        n = op.results[0]
        place = self._around.place(Ref(n))
        entry = self._at(place, self._full_of_result(n, place))
        if op.name == "sum" and self._dtype(op).kind == "f":
            return [f"{entry} = {entry} + {term}"]
        return [f"{entry} = {self._combined(op, entry, term)}"]

    def _cleared(self, op: Operation) -> list[str]:
        n = op.results[0]
        place = self._around.place(Ref(n))
        lines = [f"{self._at(place, self._full_of_result(n, place))} = {self._start(op)}"]
        for k in range(len(self._sizes) - 1, self._outer - 1, -1):
            lines = [f"for i{k} in range({self._sizes[k]}):", *indented(lines)]
        return lines


def _read(entry: str, dtype: str) -> str:
    return f"{entry} != 0" if dtype == "bool" else entry


def _single_entry(x: Any) -> Any:
    """Return the number that all entries of a constant array are, bit for bit; None if they differ."""
    if type(x) is Ref or not hasattr(x, "shape"):
        return None
    x = np.asarray(x)
    first = x.reshape(-1)[:1]
    if x.size and first.tobytes() * x.size == np.ascontiguousarray(x).tobytes():
        return first[0]
    return None
