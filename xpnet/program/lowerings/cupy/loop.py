"""Many steps of a program as launches of one CUDA graph.

A graph has its addresses in it, so state and rows lie in the program's own memory. What changes from call
to call, where the constants, the sequences and the results are, is in a *table* on the device, and so is the
number of the step: kernels read it there. At the end of each step one small kernel, the *turn*, puts the
results of the step in their rows, counts up, and fetches the next row of each sequence. Steps follow each
other without the host.
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from xpnet.program.lowerings.base import check_arrays
from xpnet.program.lowerings.cupy.buffers import DeviceBuffers
from xpnet.program.lowerings.cupy.copies import copy_kernel
from xpnet.program.lowerings.cupy.cuda import CupyDevice
from xpnet.program.lowerings.cupy.elements import TYPES
from xpnet.program.lowerings.cupy.kernels import Arguments, Kernel, Walk, blocks_for, indented
from xpnet.program.lowerings.cupy.lowering import Runner, Step, default_device, steps_of
from xpnet.program.lowerings.cupy.plan import plan_for_cuda
from xpnet.program.lowerings.cupy.products import Product
from xpnet.program.lowerings.memory_plan import MemoryPlan
from xpnet.program.lowerings.views import BUFFER
from xpnet.program.passes.aliasing import View
from xpnet.program.program import Program, Ref

__all__ = ["GraphLoop", "lower_loop"]

_log = logging.getLogger("xpnet")

_THREADS = 256
_SMALL = 4096  # entries up to which one block copies a row
_ATTEMPTS = 3  # to make a graph, as what another thread does may break it


def lower_loop(program: Program, carry: int, constants: int, device: CupyDevice | None = None) -> GraphLoop:
    """Return the program as a loop over steps (see `base.Lowering`), by default for the current device."""
    return GraphLoop(program, carry, constants, device or default_device())


class GraphLoop:
    """A loop over the steps of a program; for one thread and one stream at a time.

    Its first step of all runs kernel by kernel, which loads what is loaded when it is first used; so do all
    steps if the array library has to do a part.

    Attributes:
        source: the generated code.
        calls: names of the operations that the array library does.
        captures: how often a graph was made: once, and anew for other constants that are factors of matrix
            products, as in steps on all rows.
    """

    def __init__(self, program: Program, carry: int, constants: int, device: CupyDevice):
        plan = plan_for_cuda(program, {i: i for i in range(carry)})
        self._device, self._program = device, plan.program
        self._carried, self._fixed = carry, carry + constants
        inputs, aliasing = plan.program.inputs, plan.aliasing
        inside = {*inputs[:carry], *inputs[self._fixed :], *(aliasing.outputs - aliasing.donated.keys())}
        self._buffers = buffers = DeviceBuffers(plan, device, inside)
        self._state = [buffers(Ref(n)) for n in inputs[:carry]]
        rows = [buffers(Ref(n)) for n in inputs[self._fixed :]]
        moving = len(rows) + len(plan.program.outputs) - carry
        self._table = buffers.own((2 + moving + constants,), "int64")
        slots = {n: 2 + moving + i for i, n in enumerate(inputs[carry : self._fixed])}
        buffers.list_addresses(self._table, slots)
        self._results, kept = _results(plan, buffers, carry)
        turning = _Turn(self._table, rows, self._results)
        steps: list[Step] = [*turning.fetched(), *steps_of(plan, buffers)]
        carried = [copy_kernel(target, given) for target, given in buffers.state_copies(carry)]
        steps += [*kept, *(copy.labelled("state_copy") for copy in carried), *turning.stored()]
        factors = {p.root for step in steps if isinstance(step, Product) for p in step.views if p.listed}
        self._factors = [n for n in inputs[carry : self._fixed] if n in factors]
        self._start, self._turn = turning.start(), turning.turn()
        self._runner = Runner([*steps, self._turn], buffers, device, [self._start])
        self.source, self.calls = self._runner.source, self._runner.calls
        self.captures = self._failures = 0
        self._warm = False
        self._graph: Callable[[], None] | None = None
        self._graph_of: list[weakref.ref[Any]] = []  # the factors that the graph has the addresses of
        self._ends: deque[Callable[[], None]] = deque()

    def __call__(
        self,
        carry: Sequence[Any],
        constants: Sequence[Any],
        sequences: Sequence[Any],
        donate: bool = False,
    ) -> tuple[list[Any], list[Any]]:
        device, runner = self._device, self._runner
        given = [device.contiguous(x) for x in (*carry, *constants, *sequences)]
        count = sequences[0].shape[0]
        values = [self._program.values[n] for n in self._program.inputs]
        check_arrays(given, values, [() if i < self._fixed else (count,) for i in range(len(given))])
        results = [device.empty((count, *view.shape), view.dtype) for view in self._results]
        state = [runner.array(view, {}) for view in self._state]
        for mine, x in zip(state, given, strict=False):
            mine[...] = x
        fixed = given[self._carried : self._fixed]
        arrays = dict(zip(self._program.inputs[self._carried : self._fixed], fixed, strict=True))
        listed = [device.address(x) for x in (*given[self._fixed :], *results, *fixed)]
        table = device.address(runner.array(self._table, {}))
        self._wait_for_the_call_before_the_last()
        runner.launch(self._start, [table, count, *listed])
        runner.launch(self._turn, [runner.address(view) for view in self._turn.views])
        self._take(arrays, count)
        self._ends.append(device.mark())
        ends = given[: self._carried]
        if not donate:
            ends = [device.empty(view.shape, view.dtype) for view in self._state]
        for end, mine in zip(ends, state, strict=True):
            end[...] = mine
        return ends, results

    def _wait_for_the_call_before_the_last(self) -> None:
        """Keep the host at most two calls ahead, for it reacts to Ctrl-C only when it does not wait.

        The device has the last call to do meanwhile, so it does not wait.
        """
        if len(self._ends) > 1:
            self._ends.popleft()()

    def _take(self, arrays: dict[int, Any], count: int) -> None:
        """Do ``count`` steps."""
        factors = [arrays[n] for n in self._factors]
        if any(known() is not x for known, x in zip(self._graph_of, factors, strict=False)):
            self._graph = None  # even if they lie where the others were, of which nothing is known any more
        if self._graph is None and count and not self._warm:
            self._runner.run(dict(arrays))
            self._warm, count = True, count - 1
        if self._graph is None and count and not self.calls and self._failures < _ATTEMPTS:
            self._capture(arrays)
            self._graph_of = [weakref.ref(x) for x in factors]
        for _ in range(count):
            if self._graph is None:
                self._runner.run(dict(arrays))
            else:
                self._graph()

    def _capture(self, arrays: dict[int, Any]) -> None:
        """Make the graph of a step. Where that fails there is none, and the next call tries it again."""
        try:
            self._graph = self._device.capture(lambda: self._runner.run(dict(arrays)))
            self.captures += 1
        except Exception as error:  # whatever driver and libraries come up with
            self._failures += 1
            if self._failures == 1:
                _log.warning("steps run kernel by kernel, not as a CUDA graph: %s", error)


def _results(plan: MemoryPlan, buffers: DeviceBuffers, carry: int) -> tuple[list[View], list[Kernel]]:
    """Return where the results of a step lie at its end, and copies of those that lie elsewhere before."""
    found, copies = [], []
    state = plan.program.inputs[:carry]
    for x in plan.program.outputs[carry:]:
        view = buffers(x)
        passing = type(x) is Ref and plan.aliasing.roots.get(x.number, x.number) in state
        if passing or view.root != BUFFER:
            kept = buffers.own(view.shape, view.dtype)
            copies += [copy_kernel(kept, view).labelled("result_copy")] if view.size else []
            view = kept
        found.append(view)
    return found, copies


class _Turn:
    """The kernels between steps.

    The table holds the number of the step (-1 before the first), how many there are, and the addresses of the
    sequences, of the results, and of the constants.
    """

    def __init__(self, table: View, rows: list[View], results: list[View]):
        self._table = table
        addressed = enumerate([*rows, *results], start=2)
        entries = [(slot, view) for slot, view in addressed if 0 not in view.shape]
        self._rows = [(slot, view) for slot, view in entries if slot < 2 + len(rows)]
        self._results = [(slot, view) for slot, view in entries if slot >= 2 + len(rows)]

    def start(self) -> Kernel:
        """Return the kernel that fills the table: all but the step's number are its arguments."""
        count = self._table.shape[0]
        given = ", ".join(f"long long v{i}" for i in range(1, count))
        lines = ["table[0] = -1;", *(f"table[{i}] = v{i};" for i in range(1, count))]
        text = [f'extern "C" __global__ void NAME(long long* table, {given}) {{', *indented(lines), "}"]
        return Kernel("\n".join(text) + "\n", (self._table,), 1, 1, "begin_steps")

    def turn(self) -> Kernel:
        """Return the kernel of one block that ends a step and begins the next one."""
        arguments = Arguments()
        table = arguments.name(self._table)
        stored: list[str] = []
        for slot, view in self._results:
            if view.size <= _SMALL:
                stored += self._copied(arguments, slot, view, False, "")
        fetched: list[str] = []
        for slot, view in self._rows:
            if view.size <= _SMALL:
                fetched += self._copied(arguments, slot, view, True, " + 1")
        lines = [
            f"const long long step = {table}[0];",
            "if (step >= 0) {", *indented(stored), "}",
            "__syncthreads();",
            f"if (threadIdx.x == 0) {table}[0] = step + 1;",
            f"if (step + 1 < {table}[1]) {{", *indented(fetched), "}",
        ]  # fmt: skip
        return arguments.kernel(lines, 1, _THREADS, _SMALL).labelled("next_step")

    def fetched(self) -> list[Kernel]:
        """Return kernels for rows that are too large for the turn."""
        return [self._alone(slot, view, True) for slot, view in self._rows if view.size > _SMALL]

    def stored(self) -> list[Kernel]:
        """Return kernels for results that are too large for the turn."""
        return [self._alone(slot, view, False) for slot, view in self._results if view.size > _SMALL]

    def _alone(self, slot: int, view: View, fetch: bool) -> Kernel:
        arguments = Arguments()
        head = [f"const long long step = {arguments.name(self._table)}[0];"]
        blocks = blocks_for(view.size, _THREADS)
        lines = self._copied(arguments, slot, view, fetch, "", blocks)
        kernel = arguments.kernel([*head, *lines], blocks, _THREADS, view.size)
        return kernel.labelled("fetch_row" if fetch else "store_result")

    def _copied(
        self, arguments: Arguments, slot: int, view: View, fetch: bool, later: str, blocks: int = 1
    ) -> list[str]:
        """Return the code that copies a view from, or to, its row of the array in a slot of the table."""
        walk = Walk(view.shape, [view.strides])
        here = walk.entry(arguments.name(view), view.strides)
        row = f"(({TYPES[view.dtype]}*){arguments.name(self._table)}[{slot}])"
        there = f"{row}[(step{later}) * {walk.entries} + i]"
        line = f"{here} = {there};" if fetch else f"{there} = {here};"
        first = "threadIdx.x" if blocks == 1 else f"blockIdx.x * {_THREADS} + threadIdx.x"
        return [
            f"for (index i = {first}; i < {walk.entries}; i += {blocks * _THREADS}) {{",
            *indented([*walk.indices("i", 0, len(walk.runs)), line]),
            "}",
        ]
