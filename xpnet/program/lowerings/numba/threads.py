"""Threads that run the same compiled code, each its parts of the operations.

The BLAS has one thread meanwhile: a second pool of threads beside these would fight with them for the cores.
One call has the threads at a time; whoever comes meanwhile does all parts alone. How many threads there are
only says who does which part, so that the numbers do not depend on it.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from xpnet.program.lowerings import blas_libraries
from xpnet.program.lowerings.helpers import Helpers
from xpnet.program.lowerings.numba import barrier, cores
from xpnet.program.lowerings.numba.compiling import Function, compiled

__all__ = ["Threaded"]

_SHORT, _LONG = 0.003, 0.03  # seconds of steps after which threads and one alone are compared
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 30.0  # seconds in which one works alone, after threads were slower
_LOST = 10  # times the time that threads were slower in, at the least
_CROWDED = 3  # times as long as alone: then others use the cores

_MOMENT = 16384  # turns of waiting, about 200 microseconds


class Threaded:
    """A function that is run by as many threads as the BLAS has, as long as that is faster than alone.

    Threads that meet at every barrier are as slow as the slowest of them: where other programs use the same
    cores, one thread may be faster.

    Args:
        function: compiled: ``(gate, thread, threads, steps, *arguments)``; does not hold Python's lock; its
            threads meet at a barrier at the end of each step.
        parts: that its work is cut into, so the most threads there can be.
    """

    def __init__(self, function: Callable[..., None], parts: int):
        self._function, self._parts = function, parts
        self._choice = _Choice()

    def __call__(self, steps: int, *arguments: Any) -> None:
        """Call the function.

        Raises:
            Exception: what one of the threads raises, when all of them have returned.
        """
        if not _helpers.at_work.acquire(blocking=False):
            self._function(0, 0, 1, steps, *arguments)
            return
        try:
            threads = 1 if self._parts == 1 else min(self._parts, blas_libraries.threads())
            with blas_libraries.one_thread():
                if threads == 1:
                    self._function(0, 0, 1, steps, *arguments)
                else:
                    self._timed(threads, steps, arguments)
        finally:
            _helpers.at_work.release()

    def some_at_a_time(self, steps: int, arguments: Callable[[int, int], Sequence[Any]]) -> None:
        """Call the function for as many steps at a time as are well compared.

        Args:
            steps: how many there are in all.
            arguments: for the steps from one up to another.
        """
        done = 0
        while done < steps:
            stop = min(steps, done + self._choice.steps()) if self._parts > 1 else steps
            self(stop - done, *arguments(done, stop))
            done = stop

    def _timed(self, threads: int, steps: int, arguments: tuple[Any, ...]) -> None:
        alone = self._choice.alone()
        begun = time.perf_counter()
        if alone:
            self._function(0, 0, 1, steps, *arguments)
        else:
            _run(self._function, threads, (steps, *arguments))
        self._choice.note(alone, max(steps, 1), time.perf_counter() - begun)


class _Choice:
    """The choice between threads and one alone, by what steps have taken.

    Where others use the cores, a step by threads may take a hundred times as long. So threads show in a few
    steps that they are faster before they get many, and when they were slower, one works alone for a while:
    for longer each time, and so long that what was lost is a tenth of it.

    Attributes:
        crowded: until when all functions of this process work alone, as others were seen to use the cores.
    """

    crowded = 0.0

    def __init__(self) -> None:
        self._calls = 0
        self._alone = float("inf")  # seconds of a step
        self._until = 0.0  # when one has worked alone for long enough
        self._pause = _FIRST_PAUSE
        self._at_once = _SHORT  # seconds of steps that threads get
        self._slow = False  # threads were slower the last time

    def alone(self) -> bool:
        """True if the next steps are done alone: the second and third ones, to have something to compare."""
        return self._calls in (1, 2) or self._left() > 0

    def _left(self) -> float:
        return max(self._until, _Choice.crowded) - time.perf_counter()

    def steps(self) -> int:
        """Return how many steps are worth taking at once."""
        if self._calls < 2:
            return 1
        seconds = min(max(self._left(), _SHORT), _LONG) if self.alone() else self._at_once
        return max(1, int(seconds / max(self._alone, 1e-9)))

    def note(self, alone: bool, steps: int, seconds: float) -> None:
        """Learn how long steps took."""
        self._calls += 1
        times = seconds / steps / max(self._alone, 1e-9)
        if alone:
            self._alone = seconds / steps
        elif self._calls == 1:  # that touched the memory and began the threads
            return
        elif times <= 1:
            self._slow = False
            self._at_once = min(2 * self._at_once, _LONG)
            if self._at_once == _LONG:
                self._pause = _FIRST_PAUSE
        else:
            if self._slow or times > _CROWDED:
                now = time.perf_counter()
                self._until = now + max(self._pause, _LOST * seconds)
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                if times > _CROWDED:
                    _Choice.crowded = self._until
            self._slow = not self._slow
            self._at_once = _SHORT


def _run(function: Callable[..., None], threads: int, arguments: tuple[Any, ...]) -> None:
    helpers = _helpers.first(threads - 1)
    threads = 1 + len(helpers)
    gate = barrier.gate()
    taken = [cores.core()]
    calls = [_Call(function, gate, taken, (thread, threads, *arguments)) for thread in range(threads)]
    begun: list[_Call] = []
    try:
        for helper, call in zip(helpers, calls[1:], strict=True):
            helper.take(call)
            begun.append(call)
        calls[0].run()
    except BaseException:  # Ctrl-C among them
        gate[barrier.ABANDONED] = 1
        raise
    finally:
        if gate[barrier.ABANDONED]:
            while not all(call.done for call in begun):
                time.sleep(1e-4)
    for call in calls:
        if call.error is not None:
            raise call.error


class _Call:
    """A call of a function by one of the threads.

    Attributes:
        cores: that the threads were on when they began.
        done: the call is over; without an error its work is over before, at the last barrier.
        error: what it raised.
    """

    def __init__(
        self, function: Callable[..., None], gate: Any, taken: list[int], arguments: tuple[Any, ...]
    ):
        self._function, self._gate, self.cores = function, gate, taken
        self._arguments = (gate.__array_interface__["data"][0], *arguments)
        self.done = False
        self.error: BaseException | None = None

    def run(self) -> None:
        """Call it."""
        try:
            self._function(*self._arguments)
        except Exception as error:
            self.error = error
            self._gate[barrier.ABANDONED] = 1  # the others would wait for this one
        finally:
            self.done = True


class _Helper:
    """A thread that waits for calls: for a moment awake, then asleep."""

    def __init__(self) -> None:
        self._await = _awaiting()
        self._calls = barrier.gate()
        self._queue: SimpleQueue[_Call] = SimpleQueue()
        threading.Thread(target=self._serve, name="xpnet", daemon=True).start()

    def take(self, call: _Call) -> None:
        """Have the call run."""
        self._calls[0] += 1
        self._queue.put(call)

    def _serve(self) -> None:
        served, address = 0, self._calls.__array_interface__["data"][0]
        while True:
            self._await["awaited"](address, served, 1, _MOMENT, 0, 0, 0)
            call = self._queue.get()
            served += 1
            if cores.core() in call.cores:
                cores.leave(call.cores)
            call.cores.append(cores.core())
            call.run()
            del call  # and with it all arrays


_helpers = Helpers(_Helper)


@functools.cache
def _awaiting() -> dict[str, Any]:
    """Return compiled code that waits, for so many turns at the most, for the number at ``gate`` to grow."""
    code = ["if number_at(gate) > thread:", "    return", "pause()"]
    return compiled([Function("awaited", code, {})], {}, {})[1]
