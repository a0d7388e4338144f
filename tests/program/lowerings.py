"""The table of lowerings under test, and how what they give is compared with the functions themselves.

A lowering is tested by everything that is parametrized with ``every_lowering``; one that is registered and
not in the table fails the suite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.program.cuda import for_cupy, from_device, to_device
from xpnet.program.compiling import lowered_program
from xpnet.program.looping import lowered_loop
from xpnet.program.lowerings import generic
from xpnet.program.lowerings.base import LOWERINGS, LoweredLoop, LoweredProgram
from xpnet.program.program import Program, Ref

__all__ = [
    "TABLE",
    "InThreads",
    "Lowering",
    "array_for",
    "assert_as_uncompiled",
    "assert_same",
    "compared_lowerings",
    "every_lowering",
    "longest_sum",
    "lowered",
    "lowered_steps",
    "one_of_each_library",
    "planning_lowerings",
    "slow_lowerings",
]


@dataclass(frozen=True)
class Lowering:
    """A lowering under test.

    Attributes:
        same_bits: it calls the functions of the program in their order; others add up in another order.
        compiles: it takes a while to compile, so that fewer programs are tried.
        every: only every so many-th case of a kind is tried.
        ulps: how far its results may lie apart from NumPy's where the longest sum has so many terms, in units
            in the last place of the largest number; CUDA's own ``exp``, ``tanh`` and the like add to that.
    """

    same_bits: bool
    compiles: bool = False
    every: int = 1
    ulps: Callable[[int], float] = lambda terms: 4.0 * terms


TABLE = {
    "generic": Lowering(same_bits=True),
    "numpy": Lowering(same_bits=True),
    "numba": Lowering(
        same_bits=False,
        compiles=True,
        every=4,  # in one of the dtypes, by one or three threads
    ),
    "cupy": Lowering(
        same_bits=False,
        compiles=True,
        ulps=lambda terms: 64.0 * max(4.0, math.sqrt(terms)),
    ),
}


class InThreads(str):
    """The name of a lowering that is to run in three threads, however small the arrays; see conftest.py."""


def _those(wanted: Callable[[str], bool], *, many: bool = False) -> pytest.MarkDecorator:
    """Have a test try lowerings; where it has many programs or steps, numba with --full only."""
    found = []
    for name in filter(wanted, [*TABLE, InThreads("numba")]):
        library, reason = LOWERINGS[name].library or "numpy", LOWERINGS[name].reason()
        marks = [pytest.mark.backends(library)] if library != "numpy" else []
        marks += [pytest.mark.skipif(bool(reason), reason=reason)] if library == "numpy" else []
        ending = " in threads" * isinstance(name, InThreads)
        marks += [pytest.mark.full] if many and name == "numba" else []
        found.append(pytest.param(name, marks=marks, id=f"{name}{ending}"))
    return pytest.mark.parametrize("lower", found)


every_lowering = _those(lambda name: True)
compared_lowerings = _those(lambda name: name != "generic", many=True)  # which they are compared with
slow_lowerings = _those(lambda name: TABLE[name].compiles, many=True)
host_lowerings = _those(lambda name: name != "cupy" and not isinstance(name, InThreads))
one_of_each_library = _those(lambda name: name != "numba" or isinstance(name, InThreads))
"""In threads, numba's loops have all that the others have."""
planning_lowerings = _those(lambda name: name != "generic" and not isinstance(name, InThreads))
"""Those that plan memory: the other one gives values back to NumPy as soon as they are not needed."""


def lowered(program: Program, lower: str, donated: dict[int, int] | None = None) -> LoweredProgram:
    """Return a program that was recorded on NumPy by a lowering, for arrays of `array_for`."""
    program = for_cupy(program) if LOWERINGS[lower].library == "cupy" else program
    return lowered_program(program, lower, donated)


def lowered_steps(program: Program, lower: str, carried: int, constants: int) -> LoweredLoop:
    """Return the program of a step that was recorded on NumPy as a loop, for arrays of `array_for`."""
    program = for_cupy(program) if LOWERINGS[lower].library == "cupy" else program
    return lowered_loop(program, lower, carried, constants)


def array_for(x: Any, lower: str) -> Any:
    """Return a copy of one of NumPy's arrays for a lowering."""
    return to_device(x) if LOWERINGS[lower].library == "cupy" else np.array(x)


def assert_same(got: Any, want: Any, *, ulps: float = 0, signs: bool = True) -> None:
    """Check dtype, shape, values and NaN.

    Args:
        got: array to check.
        want: what it should be.
        ulps: units in the last place of the largest number (of 1, if all are smaller) that may lie between
            them; 0 for the same bits.
        signs: zeros must have the same signs. (Of two zeros in ``max``, NumPy itself returns either.)
    """
    got, want = from_device(got), from_device(want)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if got.dtype.kind != "f" or not ulps:
        np.testing.assert_array_equal(got, want)
        if got.dtype.kind == "f" and signs:
            np.testing.assert_array_equal(
                np.signbit(got) & ~np.isnan(got), np.signbit(want) & ~np.isnan(want)
            )
        return
    size = np.max(np.abs(want), where=np.isfinite(want), initial=1.0)
    near = ulps * float(np.finfo(want.dtype).eps) * float(size)
    np.testing.assert_allclose(got, want, rtol=0, atol=near)


def longest_sum(program: Program) -> int:
    """Return the number of terms of the longest sum or product in a program."""
    longest = 1
    for operation in program.operations:
        sizes = [program.values[n].size for n in operation.reads()]
        made = max(1, *(program.values[n].size for n in operation.results), 1)
        if operation.name == "matmul":
            inner = math.isqrt(max(1, math.prod(sizes) // made))  # |a| |b| = |out| · inner²
            longest = max(longest, inner)
        elif sizes:
            longest = max(longest, max(sizes) // made)
    return longest


def assert_as_uncompiled(
    program: Program,
    inputs: Sequence[np.ndarray],
    lower: str,
    donated: dict[int, int] | None = None,
    *,
    ulps: float | None = None,
    names: Sequence[str] = (),
) -> None:
    """Check that a program gives what its functions give on NumPy, in memory that was used before.

    Arguments that are not donated stay as they were, and so do earlier results.

    Args:
        program: recorded on NumPy, not simplified.
        inputs: arrays for it.
        lower: name of the lowering.
        donated: outputs (by position) that take over inputs (by position).
        ulps: as for `assert_same`; None: what the lowering promises.
        names: of the outputs, for messages.
    """
    donated = donated or {}
    if ulps is None:
        ulps = 0 if TABLE[lower].same_bits else TABLE[lower].ulps(longest_sum(program))
    with np.errstate(all="ignore"):
        # Copies: outputs may be looks at inputs.
        want = [np.array(x) for x in generic.lower(program)([x.copy() for x in inputs])]
        run = lowered(program, lower, donated)
        run([array_for(np.flip(x), lower) for x in inputs])
        mine = [array_for(x, lower) for x in inputs]
        sent = [np.array(from_device(x)) for x in mine]  # CuPy makes 0 of a 0-d -0
        got = run(mine)
        failed = []
        for i, (one, other) in enumerate(zip(got, want, strict=True)):
            try:
                assert_same(one, other, ulps=ulps, signs=TABLE[lower].same_bits)
            except AssertionError as error:
                failed.append(f"{names[i] if names else program.outputs[i]}: {error}")
        assert not failed, "\n\n".join(failed)
        for i, (one, other) in enumerate(zip(mine, sent, strict=True)):
            if i not in donated.values():
                assert_same(one, other)
        kept = {i: np.array(from_device(x)) for i, x in enumerate(got) if i not in donated}
        run([array_for(np.flip(x), lower) for x in inputs])
        for i, x in kept.items():
            assert type(program.outputs[i]) is not Ref or np.array_equal(
                from_device(got[i]), x, equal_nan=x.dtype.kind in "fc"
            )
