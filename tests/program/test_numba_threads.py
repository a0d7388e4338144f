"""Compiled code in several threads: how work is cut, who waits for whom, and what is left behind."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from tests.program.conftest import cut_everything
from tests.program.steps import gathering_step, training_step, work
from xpnet import nn, optim
from xpnet.program import record
from xpnet.program.program import Program

pytest.importorskip("numba", reason="numba (extra jit) is not installed")

from xpnet.program.looping import lowered_loop
from xpnet.program.lowerings import blas_libraries, numba
from xpnet.program.lowerings.numba import cores, products, threads
from xpnet.program.lowerings.numba.barrier import barrier
from xpnet.program.lowerings.numba.elements import can_be_grouped
from xpnet.program.lowerings.numba.partition import Piece, Region, cut, parts_of_program, with_barriers
from xpnet.program.lowerings.views import BUFFER
from xpnet.program.passes.aliasing import View
from xpnet.program.passes.groups import group_operations
from xpnet.program.passes.simplify import simplify


@pytest.fixture
def everything_cut(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    cut_everything(monkeypatch)
    return monkeypatch


# --- What is cut ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 7, 16, 100])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
@pytest.mark.parametrize("unit", [1, 4, 16])
def test_cuts(size: int, parts: int, unit: int) -> None:
    each = cut(size, parts, unit)
    assert each % unit == 0
    assert each * parts >= size
    assert not size or each - unit < -(-size // parts) <= each


@pytest.mark.parametrize("shape", list(itertools.product([1, 5, 64, 100], [1, 10, 128], [1, 2, 3, 5, 8, 16])))
def test_tiles_of_a_product_cover_it(shape: tuple[int, int, int]) -> None:
    rows, columns, parts = shape
    height, width = products._tiles(rows, columns, parts)
    assert 1 <= -(-rows // height) * -(-columns // width) <= parts
    if rows * columns >= 64 * 128 and parts in (2, 8, 16):
        assert -(-rows // height) * -(-columns // width) == parts


def test_a_product_is_cut_across_its_longer_side() -> None:
    assert products._tiles(128, 512, 2) == (128, 256)
    assert products._tiles(784, 256, 2) == (392, 256)
    assert products._tiles(256, 256, 4) == (128, 128)


_TINY, _SMALL, _MIDDLE = (2, 3, 5, 3, 1), (64, 128, 10), (784, 512, 256, 10)


def _step(sizes: tuple[int, ...]) -> Program:
    step, args = training_step(optim.Adam(), sizes=sizes, dtype="float32", batch=64, loss="squared_error")
    program = simplify(record(step)(*args))
    return group_operations(program, lambda operation: can_be_grouped(operation, program.values))


@pytest.mark.parametrize(
    ("sizes", "threads", "once", "expected"),
    [
        (_TINY, 2, False, 1),  # nothing in it is worth a barrier
        (_SMALL, 2, False, 2),
        (_SMALL, 2, True, 1),  # nor is one step worth waking a thread
        (_MIDDLE, 2, False, 2),
        (_MIDDLE, 2, True, 2),
        (_MIDDLE, 1, False, 1),
    ],
)
def test_how_many_parts(sizes: tuple[int, ...], threads: int, once: bool, expected: int) -> None:
    assert parts_of_program(_step(sizes), threads, once=once) == expected


def test_more_threads_than_are_of_use() -> None:
    small, middle = (parts_of_program(_step(sizes), 64, once=False) for sizes in (_SMALL, _MIDDLE))
    assert 2 < small < 16 < middle < 64


# --- Who waits for whom -----------------------------------------------------------------------------------

_A, _B = Region("memory", 0, 8), Region("memory", 8, 16)
_MEETING = ["passed += 1", "if barrier(gate, threads, passed):", "    return"]


@pytest.mark.parametrize(
    ("one", "other", "waits"),
    [
        (Piece(("a",), 2, (), (_A,)), Piece(("b",), 2, (_A,), (_B,)), True),  # read after written
        (Piece(("a",), 2, (_A,), ()), Piece(("b",), 2, (), (_A,)), True),  # written after read
        (Piece(("a",), 2, (), (_A,)), Piece(("b",), 2, (), (_A,)), True),  # written twice
        (Piece(("a",), 2, (_A,), ()), Piece(("b",), 2, (_A,), ()), False),  # read twice
        (Piece(("a",), 2, (), (_A,)), Piece(("b",), 2, (_B,), ()), False),  # other bytes
        (Piece(("a",), 2, (), (_A,)), Piece(("b",), 2, (Region("p1", 0, 8),), ()), False),
        (Piece(("a",), 1, (), (_A,)), Piece(("b",), 1, (_A,), ()), False),  # the same thread
        (Piece(("a",), 1, (), (_A,)), Piece(("b",), 2, (_A,), ()), True),
    ],
)
def test_barriers_are_where_pieces_meet(one: Piece, other: Piece, waits: bool) -> None:
    lines = with_barriers([one, other], 2)
    begin = lines.index("    b") - 1
    assert (lines[begin - 3 : begin] == _MEETING) is waits
    assert lines[-3:] == _MEETING
    assert lines.count(_MEETING[0]) == 1 + waits


def test_a_piece_waits_for_all_since_the_last_barrier() -> None:
    first = Piece(("a",), 2, (), (_A,))
    between = Piece(("b",), 2, (), (_B,))
    lines = with_barriers([first, between, Piece(("c",), 2, (_A,), ()), Piece(("d",), 2, (_B,), ())], 2)
    assert [line.strip() for line in lines if len(line.strip()) == 1] == ["a", "b", "c", "d"]
    assert lines.count(_MEETING[0]) == 2


def test_one_part_needs_no_barrier() -> None:
    assert with_barriers([Piece(("a",)), Piece(("b",), 1, (_A,), (_A,))], 1) == ["a", "b"]


# --- The numbers ------------------------------------------------------------------------------------------


def _trained(threads: int, patch: pytest.MonkeyPatch, steps: int = 5) -> list[np.ndarray]:
    """Train a net whose program is cut into three parts, in so many threads."""
    step, args = training_step(optim.Adam(), sizes=(20, 33, 10), dtype="float32")
    program = record(step)(*args)
    loop = numba.lower_loop(program, 3, 2)
    assert "range(first, last)" in loop.compiled_source
    assert loop.compiled_source.count("if barrier(") > 5
    patch.setattr(blas_libraries, "threads", lambda: threads)
    state, results = loop(args[:3], args[3:5], [np.stack([x] * steps) for x in args[5:]])
    return [*state, *results]


@pytest.mark.full
def test_numbers_do_not_depend_on_who_does_which_part(everything_cut: pytest.MonkeyPatch) -> None:
    want = _trained(3, everything_cut)
    for count in (1, 2, 3):
        everything_cut.setattr(blas_libraries, "threads", lambda: 3)
        for one, other in zip(_trained(count, everything_cut), want, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.full
def test_threads_at_work_leave_other_calls_alone(everything_cut: pytest.MonkeyPatch) -> None:
    want = _trained(3, everything_cut)
    everything_cut.setattr(blas_libraries, "threads", lambda: 3)
    with threads._helpers.at_work:
        got = _trained(3, everything_cut)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_region_of_a_flipped_array_is_that_of_the_array() -> None:
    array = View(BUFFER, 16, "float64", (2, 5), (5, 1))
    flipped = View(BUFFER, 16 + 9 * 8, "float64", (2, 5), (-5, -1))
    assert Region.of(flipped) == Region.of(array) == Region("memory", 16, 96)
    assert Region.of(View(3, 0, "int8", (4,), (2,))) == Region("p3", 0, 7)


# --- Threads ----------------------------------------------------------------------------------------------


def _meeting(
    gate: int, thread: int, threads: int, steps: int, fails: Callable[[int], None], seen: list[int]
) -> None:
    fails(thread)
    if not barrier(gate, threads, 1):
        seen.append(thread)


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas_libraries, "threads", lambda: 3)
    monkeypatch.setattr(threads._Choice, "crowded", 0.0)


@pytest.mark.usefixtures("three_threads")
def test_all_are_called_and_meet() -> None:
    for parts, expected in ((3, [0, 1, 2]), (2, [0, 1]), (8, [0, 1, 2])):
        seen: list[int] = []
        threads.Threaded(_meeting, parts)(1, lambda thread: None, seen)
        assert _settled(seen, len(expected)) == expected


def _settled(seen: list[int], count: int) -> list[int]:
    """Return who has been seen, when all have come out of the barrier."""
    deadline = threading.Event()
    while len(seen) < count and not deadline.wait(0.001):
        pass
    return sorted(seen)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(
    ("who", "error"),
    [(0, IndexError), (1, IndexError), (2, IndexError), (0, KeyboardInterrupt)],  # which the first has only
)
def test_an_error_in_one_thread_ends_all(who: int, error: type[BaseException]) -> None:
    def fails(thread: int) -> None:
        if thread == who:
            raise error("take: an index is out of bounds")

    seen: list[int] = []
    with pytest.raises(error, match="out of bounds"):
        threads.Threaded(_meeting, 3)(1, fails, seen)
    assert seen == []
    assert not threads._helpers.at_work.locked()
    threads.Threaded(_meeting, 3)(1, lambda thread: None, seen)  # goes on
    assert _settled(seen, 3) == [0, 1, 2]


@pytest.mark.usefixtures("three_threads")
def test_one_thread_does_it_alone_where_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {1: 2.0, 3: 3.0}  # by number of threads
    seen: list[int] = []
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(threads, "time", clock)

    def work(gate: int, thread: int, threads: int, steps: int) -> None:
        if thread == 0:
            seen.append(threads)
            clock.now += seconds[threads]
        if threads > 1:
            barrier(gate, threads, 1)

    threaded = threads.Threaded(work, 3)
    for _ in range(5):
        threaded(1)
    assert seen == [3, 1, 1, 3, 3]  # twice slower
    for _ in range(2):
        seen.clear()
        for _ in range(2 * 15 + 2):
            threaded(1)
        assert seen == [*[1] * 15, 3, 3, *[1] * 15]
        clock.now += 1.0  # 30 seconds are over
        for _ in range(2):
            threaded(1)
    seconds[3] = 1.0
    seen.clear()
    clock.now += 30.0
    for _ in range(20):
        threaded(1)
    assert seen == [3] * 20


@pytest.mark.usefixtures("three_threads")
def test_threads_get_many_steps_when_they_have_shown_to_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {1: 2.0**-12, 3: 2.0**-13}  # of a step, by number of threads
    seen: list[tuple[int, int]] = []
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(threads, "time", clock)

    def work(gate: int, thread: int, threads: int, steps: int, first: int, last: int) -> None:
        if thread == 0:
            assert last - first == steps
            seen.append((threads, steps))
            clock.now += seconds[threads] * steps
        if threads > 1:
            barrier(gate, threads, 1)

    threaded, other = threads.Threaded(work, 3), threads.Threaded(work, 3)
    threaded.some_at_a_time(1000, lambda first, last: (first, last))
    assert seen[:7] == [(3, 1), (1, 1), (1, 12), (3, 12), (3, 24), (3, 49), (3, 98)]
    assert set(seen[7:-1]) == {(3, 122)}
    assert sum(steps for _, steps in seen) == 1000
    seconds[3] = 1e-2
    seen.clear()
    threaded.some_at_a_time(2000, lambda first, last: (first, last))
    assert seen[0] == (3, 122)
    assert {count for count, _ in seen[1:]} == {1}  # for ten times as long
    seen.clear()
    other.some_at_a_time(200, lambda first, last: (first, last))
    assert {count for count, _ in seen} == {1}


@pytest.mark.usefixtures("three_threads")
def test_a_system_that_gives_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads._helpers, "_known", [])
    monkeypatch.setattr(threading.Thread, "start", refused)
    seen: list[int] = []
    threads.Threaded(_meeting, 3)(1, lambda thread: None, seen)
    assert seen == [0]


@pytest.mark.full
def test_wrong_row_numbers_in_one_part(everything_cut: pytest.MonkeyPatch) -> None:
    program, inputs, kept = gathering_step(optim.Adam(), nn.MLP([7], 3), *work("softmax_cross_entropy"), 10)
    run = numba.lower(program)
    assert "range(first, last)" in run.compiled_source
    for row in (0, -1):
        given = [x.copy() for x in inputs]
        given[kept + 2][row] = len(given[kept])
        with pytest.raises(IndexError, match="out of bounds"):
            run(given)
    run(inputs)


def test_the_blas_has_one_thread_meanwhile() -> None:
    library = blas_libraries.load("openblas")
    if library is None:
        pytest.skip("NumPy does not call an OpenBLAS of its own here")
    before = library.get_threads()
    library.set_threads(2)
    try:
        during: list[int] = []

        def look(gate: int, thread: int, threads: int, steps: int) -> None:
            during.append(library.get_threads())
            barrier(gate, threads, 1)

        threads.Threaded(look, 2)(1)
        assert during == [1, 1]
        assert library.get_threads() == 2
        with pytest.raises(ZeroDivisionError):
            threads.Threaded(lambda *args: 1 // 0, 2)(1)
        assert library.get_threads() == 2
    finally:
        library.set_threads(before)


_FORKING = """
import multiprocessing
from xpnet.program.lowerings import blas_libraries
from xpnet.program.lowerings.numba import threads
from xpnet.program.lowerings.numba.barrier import barrier

def work(gate, thread, threads, steps):
    assert threads == 2 and not barrier(gate, threads, 1)

blas_libraries.threads = lambda: 2
threads.Threaded(work, 2)(1)
child = multiprocessing.get_context("fork").Process(target=threads.Threaded(work, 2), args=(1,))
child.start()
child.join(60)
print(child.exitcode)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork processes")
def test_a_forked_process_has_threads_of_its_own() -> None:
    run = subprocess.run([sys.executable, "-c", _FORKING], capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "0", run.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="cores are known on Linux only")
def test_a_thread_can_leave_its_core() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        for core in allowed:
            cores.leave([core])
            assert os.sched_getaffinity(0) == allowed
            assert cores.core() in allowed
        cores.leave(allowed)  # there is no other
        assert os.sched_getaffinity(0) == allowed
    finally:
        os.sched_setaffinity(0, allowed)


def test_an_error_in_any_part_leaves_no_thread_with_subnormal_numbers_as_zero(
    everything_cut: pytest.MonkeyPatch,
) -> None:
    """The calling thread learns of another one's error at a barrier."""
    program, inputs, kept = gathering_step(optim.Adam(), nn.MLP([7], 3), *work("softmax_cross_entropy"), 10)
    loop = lowered_loop(program, "numba", kept, 2)
    small = np.full(3, np.finfo("float32").tiny)
    for row in (0, 5, -1):
        rows = inputs[kept + 2].copy()
        rows[row] = len(inputs[kept])
        sequences = [np.stack([x] * 4) for x in (rows, *inputs[kept + 3 :])]
        for _ in range(3):
            with pytest.raises(IndexError, match="out of bounds"):
                loop(inputs[:kept], inputs[kept : kept + 2], sequences, False)
            assert np.all(small * np.float32(0.5) > 0), row
