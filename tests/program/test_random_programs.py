"""Random programs by every lowering: shapes and dtypes of all kinds, views, donated inputs, NaN, loops.

``python -m tests.program.test_random_programs 100000`` runs so many on NumPy, and says which fail.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.program.comparisons import by_steps
from tests.program.cuda import from_device
from tests.program.lowerings import (
    TABLE,
    array_for,
    assert_as_uncompiled,
    assert_same,
    lowered_steps,
    slow_lowerings,
)
from tests.program.random_programs import random_donations, random_program, random_step
from xpnet.backends import array_namespace
from xpnet.program.looping import Loop


def _seeds(count: int) -> Callable[..., Any]:
    """Give a test so many seeds; always the same ones, so that a test that fails fails again."""
    always = settings(max_examples=count, deadline=None, derandomize=True, database=None)
    return lambda test: always(given(seed=st.integers(0, 2**32))(test))


def _check(seed: int, lower: str, whole: bool, length: int = 25) -> None:
    program, inputs = random_program(seed, length, whole=whole)
    assert_as_uncompiled(program, inputs, lower, random_donations(program, seed), ulps=0)


def _check_loop(seed: int, lower: str, whole: bool) -> None:
    """The last two arrays are rows of sequences: three steps, with the same results as one by one."""
    program, inputs, carried = random_step(seed, whole=whole)
    state, constants, rows = inputs[:carried], inputs[carried:-2], inputs[-2:]
    sequences = [np.stack([np.roll(x, i) for i in range(3)]) for x in rows]
    with np.errstate(all="ignore"):
        now, results = by_steps(program, carried, state, constants, sequences)
        loop = lowered_steps(program, lower, carried, len(constants))
        mine = [[array_for(x, lower) for x in group] for group in (state, constants, sequences)]
        kept = [from_device(x).copy() for group in mine for x in group]
        for donate in (False, True):
            begun = [array_for(x, lower) for x in state] if donate else mine[0]
            end, found = loop(begun, *mine[1:], donate)
            for one, other in zip([*end, *found], [*now, *results], strict=True):
                assert_same(one, other, signs=TABLE[lower].same_bits)
    for one, other in zip((x for group in mine for x in group), kept, strict=True):
        assert_same(one, other)


@_seeds(60)
def test_any_values(seed: int) -> None:
    _check(seed, "numpy", whole=False)


@_seeds(60)
def test_loops_on_any_values(seed: int) -> None:
    _check_loop(seed, "numpy", whole=False)


@slow_lowerings
@_seeds(2)
def test_whole_numbers(lower: str, seed: int) -> None:
    """In twice the length, since compiling a program costs more than what is in it."""
    _check(seed, lower, whole=True, length=50)


@slow_lowerings
@_seeds(2)
def test_loops_on_whole_numbers(lower: str, seed: int) -> None:
    _check_loop(seed, lower, whole=True)


def test_results_of_loops_with_their_axes_in_another_order() -> None:
    """Sums go through memory: a result in its row, in the standard's order, would be summed otherwise."""

    def step(carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
        turned = array_namespace(*carry).matrix_transpose(carry[0] + row[0])
        joined = array_namespace(*carry).concat([turned, turned], axis=-1)
        return [carry[0] * 0.9], [joined, array_namespace(*carry).var(joined)]

    draw = np.random.default_rng(0)
    given = [draw.normal(size=(30, 7))], [], [draw.normal(size=(20, 1, 1))]
    wanted, found = (Loop(step, lower)(*given)[1] for lower in ("off", "numpy"))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


# --- More of them -----------------------------------------------------------------------------------------


@pytest.mark.full
@_seeds(400)
def test_any_values_of_many(seed: int) -> None:
    _check(seed, "numpy", whole=False)
    _check_loop(seed, "numpy", whole=False)


@pytest.mark.full
@slow_lowerings
@_seeds(2)
def test_whole_numbers_of_many(lower: str, seed: int) -> None:
    _check(seed, lower, whole=True, length=50)
    _check_loop(seed, lower, whole=True)


def _run(count: int, first: int = 0) -> int:
    """Check so many programs and as many loops on NumPy; return how many fail."""
    failed = 0
    for seed in range(first, first + count):
        for check in (_check, _check_loop):
            try:
                check(seed, "numpy", whole=bool(seed % 2))
            except Exception as error:
                failed += 1
                print(f"{check.__name__} {seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)
        if (seed + 1 - first) % 10_000 == 0:
            print(f"{seed + 1 - first:,} programs and loops, {failed} failed", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(bool(_run(*map(int, sys.argv[1:]))))
