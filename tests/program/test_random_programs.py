"""Random programs by every lowering: shapes and dtypes of all kinds, views, donated inputs, NaN, loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.program.lowerings import TABLE, assert_as_uncompiled, assert_same, quick_lowerings, slow_lowerings
from tests.program.random_programs import random_donations, random_program, random_step
from xpnet.program.looping import lowered_loop
from xpnet.program.lowerings import generic

# Always the same programs, so that a test that fails fails again.
pytestmark = pytest.mark.usefixtures("cuda_on_host")

_some = settings(max_examples=300, deadline=None, derandomize=True, database=None)
_few = settings(max_examples=12, deadline=None, derandomize=True, database=None)
_seeds = given(st.integers(0, 2**32))


def _check(seed: int, lower: str, whole: bool, length: int = 25) -> None:
    program, inputs = random_program(seed, length, whole=whole)
    assert_as_uncompiled(program, inputs, lower, random_donations(program, seed), ulps=0)


def _check_loop(seed: int, lower: str, whole: bool) -> None:
    """The last two arrays are rows of sequences: three steps, with the same results as one by one."""
    program, inputs, carried = random_step(seed, whole=whole)
    state, constants, rows = inputs[:carried], inputs[carried:-2], inputs[-2:]
    sequences = [np.stack([np.roll(x, i) for i in range(3)]) for x in rows]
    kept = [x.copy() for x in inputs]
    plain, now, seen = generic.lower(program), [x.copy() for x in state], []
    with np.errstate(all="ignore"):
        for i in range(3):
            out = [np.array(x) for x in plain([*now, *constants, *(x[i, ...] for x in sequences)])]
            now, seen = out[:carried], [*seen, out[carried:]]
        loop = lowered_loop(program, lower, carried, len(constants))
        for donate in (False, True):
            mine = [x.copy() for x in state] if donate else state
            end, results = loop(mine, constants, sequences, donate)
            expected = [*now, *map(np.stack, zip(*seen, strict=True))]
            for one, other in zip([*end, *results], expected, strict=True):
                assert_same(one, other, signs=TABLE[lower].same_bits)
    for one, other in zip(inputs, kept, strict=True):
        assert_same(one, other)


@quick_lowerings
@_some
@_seeds
def test_any_values(lower: str, seed: int) -> None:
    _check(seed, lower, whole=False)


@quick_lowerings
@_some
@_seeds
def test_loops_on_any_values(lower: str, seed: int) -> None:
    _check_loop(seed, lower, whole=False)


@slow_lowerings
@_few
@_seeds
def test_whole_numbers(lower: str, seed: int) -> None:
    """In twice the length, since compiling a program costs more than what is in it."""
    _check(seed, lower, whole=True, length=50)


@slow_lowerings
@settings(_few, max_examples=8)
@_seeds
def test_loops_on_whole_numbers(lower: str, seed: int) -> None:
    _check_loop(seed, lower, whole=True)
