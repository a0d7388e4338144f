"""Memory: how much a step takes, as it is planned and as it is; and that it stays flat over many steps."""

from __future__ import annotations

import gc
import itertools
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.program.cuda import allocated_bytes, most_allocated
from tests.program.lowerings import (
    InThreads,
    array_for,
    lowered,
    lowered_steps,
    one_of_each_library,
    planning_lowerings,
)
from tests.program.random_programs import Builder
from tests.program.steps import training_step
from xpnet import optim
from xpnet.backends import array_namespace
from xpnet.program import record
from xpnet.program.looping import Loop
from xpnet.program.lowerings import generic
from xpnet.program.lowerings.base import LOWERINGS
from xpnet.program.passes.memory import order_for_memory
from xpnet.program.program import Ref

WORKS = {"M": ((784, 512, 256, 10), 128), "L": ((1024, 2048, 2048, 10), 512)}


def _work(name: str) -> tuple[Any, list[np.ndarray], float]:
    """Return a step's program, arrays for it, and the bytes that it may take."""
    sizes, batch = WORKS[name]
    optimizer = optim.Adam()
    step, args = training_step(optimizer, sizes=sizes, activation="relu", dtype="float32", batch=batch)
    parameters, activations = args[0].nbytes, sum(4 * batch * width for width in sizes[:-1])
    return record(step)(*args), args, parameters * (2 + len(optimizer.slots)) + 1.5 * activations


@pytest.mark.full
@planning_lowerings
@pytest.mark.parametrize("work", WORKS)
def test_peak_memory_of_a_step(work: str, lower: str) -> None:
    """No more than parameters, gradient, slots, and one and a half times the inputs of all layers."""
    program, args, bound = _work(work)
    run = lowered(program, lower, {0: 0, 1: 1, 2: 2})
    mine = [array_for(x, lower) for x in args]
    assert run.memory.bytes + sum(x.nbytes for x in mine) <= bound  # type: ignore[attr-defined]
    if work == "L":  # seconds for a step
        return
    run(mine)
    # Nothing but what was planned, and a few words.
    assert most_allocated(lambda: run(mine), LOWERINGS[lower].library) < 200_000


def test_memory_is_shared_by_turns() -> None:
    step, args = training_step(optim.Adam(), sizes=(20, 30, 30, 5), batch=16)
    compiled = xpnet.compile(lambda *args: step(*args), lower="numpy", donate=(0, 1, 2))
    compiled(*[x.copy() for x in args])
    memory = compiled.lowered(*args).memory
    assert memory.bytes < memory.naive / 2
    assert str(memory) == (
        f"{memory.bytes / 1e3:.2f} kB in {len(memory.slots)} pieces; "
        f"{memory.naive / 1e3:.2f} kB without sharing"
    )


def test_what_frees_memory_comes_early() -> None:
    """In a backward pass: the weights' gradient before the cotangent that can take the input's place."""
    x = Builder(np.ones((50, 40)), np.ones((40, 30)), np.ones((50, 30)))
    hidden = x.apply("tanh", Ref(0))
    backward = x.apply("matmul", Ref(2), x.apply("matrix_transpose", Ref(1)))
    turned = x.apply("matrix_transpose", hidden)
    weights = x.apply("matmul", turned, Ref(2))
    program = x.program(x.apply("sum", x.apply("exp", backward)), weights)
    apart = {*program.inputs, *(ref.number for ref in program.outputs)}
    ordered = order_for_memory(program, {turned.number: hidden.number}, {turned.number}, apart)
    names = [operation.name for operation in ordered.operations]
    assert names == ["tanh", "matrix_transpose", "matmul", "matrix_transpose", "matmul", "exp", "sum"]
    assert ordered.operations[2].results == (weights.number,)
    given = x.arrays[:3]
    for one, other in zip(generic.lower(ordered)(given), generic.lower(program)(given), strict=True):
        np.testing.assert_array_equal(one, other)


# --- Thousands of steps -----------------------------------------------------------------------------------


def _assert_flat(run: Callable[[], Any], times: int) -> None:
    """Check that memory does not grow from the first half of ``times`` runs to the second."""
    seen = []
    tracemalloc.start()
    try:
        for _ in range(2):
            for _ in range(times // 2):
                run()
            gc.collect()
            seen.append(tracemalloc.get_traced_memory()[0] + allocated_bytes())
    finally:
        tracemalloc.stop()
    assert seen[1] - seen[0] < 20_000  # less than an object for each step


@pytest.mark.full
@one_of_each_library
def test_steps_leak_nothing(lower: str) -> None:
    step, args = training_step(optim.Adam())
    compiled = xpnet.compile(lambda *args: step(*args), lower=lower, donate=(0, 1, 2))
    state = [array_for(x, lower) for x in args]

    def run() -> None:
        state[:3] = compiled(*state)[:3]

    _assert_flat(run, 400 if isinstance(lower, InThreads) else 1_000)
    assert compiled.recordings == 1


@pytest.mark.full
@one_of_each_library
def test_loops_leak_nothing(lower: str) -> None:
    step, args = training_step(optim.Adam())

    def one(carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
        *carry, loss = step(*carry, *constants, *row)
        return carry, [loss]

    loop, (*state, X, y) = Loop(one, lower), (array_for(x, lower) for x in args[:5])
    sequences = [array_for(np.stack([x] * 100), lower) for x in args[5:]]

    def run() -> None:
        state[:] = loop(state, [X, y], sequences)[0]

    _assert_flat(run, 4 if isinstance(lower, InThreads) else 10)  # of 100 steps
    assert loop.recordings == 1


@planning_lowerings
@pytest.mark.parametrize("loop", [pytest.param(False, marks=pytest.mark.full), True])
def test_what_is_not_used_any_more_is_given_back_at_once(lower: str, loop: bool) -> None:
    step, args = training_step(optim.Adam(), sizes=(300, 400, 10), dtype="float32")  # large enough for blocks
    program = record(step)(*args)

    def make() -> None:
        if loop:
            lowered_steps(program, lower, 3, 2)
        else:
            lowered(program, lower, {0: 0, 1: 1, 2: 2})

    make()
    gc.collect()
    gc.disable()
    before = allocated_bytes()
    tracemalloc.start()
    try:
        make()
        assert tracemalloc.get_traced_memory()[0] < 400_000 < args[0].nbytes
        assert allocated_bytes() == before
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("lower", ["numpy", "numba"])
def test_memory_of_a_large_state_is_used_again(lower: str) -> None:
    """Only once nobody holds an array in it: a part of a result keeps its numbers."""
    loop = Loop(lambda carry, constants, row: ([carry[0] + row[0], carry[1] * 2.0], []), lower)
    start, one = np.ones(2**18, dtype="float32"), np.ones((1, 1), dtype="float32")

    def after(steps: int) -> list[np.ndarray]:
        return loop([start, start], [], [np.repeat(one, steps, axis=0)])[0]

    added, doubled = after(1)
    address, part = added.__array_interface__["data"][0], doubled[::1000]
    del added, doubled
    time.sleep(0.05)  # numba's other threads let go of their arguments
    again, others = after(2)
    assert again.__array_interface__["data"][0] == address
    assert not np.shares_memory(part, others)
    assert (part.tolist(), set(again.tolist()), set(others.tolist())) == ([2.0] * part.size, {3.0}, {4.0})


@pytest.mark.parametrize("lower", ["generic", "numpy"])
def test_results_are_not_kept(lower: str) -> None:
    compiled = xpnet.compile(lambda x: {"twice": x * 2.0, "more": [x + 1.0]}, lower=lower)
    tracemalloc.start()
    try:
        for _ in range(2):
            assert compiled(np.ones(100_000))["more"][0][0] == 2.0
        assert tracemalloc.get_traced_memory()[0] < 300_000
    finally:
        tracemalloc.stop()


@pytest.mark.full
def test_changing_shapes_leak_nothing() -> None:
    """Sixteen programs are kept; with these shapes one is made at every tenth call, and one forgotten."""
    compiled = xpnet.compile(lambda x: array_namespace(x).sum(x * 2.0 + x), lower="numpy")
    shapes = itertools.chain.from_iterable([n % 17 + 1] * 10 for n in itertools.count())
    arrays = {n: np.ones(n) for n in range(1, 18)}
    _assert_flat(lambda: compiled(arrays[next(shapes)]), 4_000)
    assert compiled.recordings == 400
