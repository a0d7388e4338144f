"""The table of lowerings under test, and how what they give is compared with the functions themselves.

A lowering is tested by everything that is parametrized with ``every_lowering``; one that is registered and
not in the table fails the suite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from tests.program.host_device import COMPILER
from xpnet.program.compiling import lowered_program
from xpnet.program.lowerings import generic
from xpnet.program.program import Program, Ref

__all__ = [
    "TABLE",
    "InThreads",
    "Lowering",
    "assert_as_uncompiled",
    "assert_same",
    "every_lowering",
    "longest_sum",
    "quick_lowerings",
    "slow_lowerings",
]


@dataclass(frozen=True)
class Lowering:
    """A lowering under test, on NumPy arrays.

    Attributes:
        same_bits: it calls the functions of the program in their order; others add up in another order.
        missing: why it cannot be tested here; empty if it can.
        compiles: it takes a while to compile, so that fewer programs are tried.
    """

    same_bits: bool
    missing: str = ""
    compiles: bool = False


TABLE = {
    "generic": Lowering(same_bits=True),
    "numpy": Lowering(same_bits=True),
    "numba": Lowering(
        same_bits=False,
        missing="" if find_spec("numba") else "numba (extra jit) is not installed",
        compiles=True,
    ),
    # Its kernels are run on the host.
    "cupy": Lowering(same_bits=False, missing="" if COMPILER else "g++ is not installed", compiles=True),
}


class InThreads(str):
    """The name of a lowering that is to run in three threads, however small the arrays; see conftest.py."""


def _those(wanted: Callable[[Lowering], bool]) -> pytest.MarkDecorator:
    names = [*TABLE, InThreads("numba")]
    found = [
        pytest.param(
            name,
            marks=pytest.mark.skipif(bool(TABLE[name].missing), reason=TABLE[name].missing),
            id=f"{name}{' in threads' * isinstance(name, InThreads)}",
        )
        for name in names
        if wanted(TABLE[name])
    ]
    return pytest.mark.parametrize("lower", found)


every_lowering = _those(lambda row: True)
quick_lowerings = _those(lambda row: not row.compiles)
slow_lowerings = _those(lambda row: row.compiles)


def assert_same(got: Any, want: Any, *, ulps: float = 0, signs: bool = True) -> None:
    """Check dtype, shape, values and NaN.

    Args:
        got: array to check.
        want: what it should be.
        ulps: units in the last place of the largest number (of 1, if all are smaller) that may lie between
            them; 0 for the same bits.
        signs: zeros must have the same signs. (Of two zeros in ``max``, NumPy itself returns either.)
    """
    got, want = np.asarray(got), np.asarray(want)
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
    """Check that a program gives what its functions give, in memory that was used before, and nothing else.

    Arguments that are not donated stay as they were, and so do earlier results.

    Args:
        program: not simplified.
        inputs: arrays for it.
        lower: name of the lowering.
        donated: outputs (by position) that take over inputs (by position).
        ulps: as for `assert_same`; None: what the lowering promises.
        names: of the outputs, for messages.
    """
    donated = donated or {}
    if ulps is None:
        ulps = 0 if TABLE[lower].same_bits else 4.0 * longest_sum(program)
    with np.errstate(all="ignore"):
        # Copies: outputs may be looks at inputs.
        want = [np.array(x) for x in generic.lower(program)([x.copy() for x in inputs])]
        run = lowered_program(program, lower, donated)
        run([np.array(np.flip(x)) for x in inputs])
        given = [x.copy() for x in inputs]
        got = run(given)
        failed = []
        for i, (one, other) in enumerate(zip(got, want, strict=True)):
            try:
                assert_same(one, other, ulps=ulps, signs=TABLE[lower].same_bits)
            except AssertionError as error:
                failed.append(f"{names[i] if names else program.outputs[i]}: {error}")
        assert not failed, "\n\n".join(failed)
        for i, (one, other) in enumerate(zip(given, inputs, strict=True)):
            if i not in donated.values():
                assert_same(one, other)
        kept = {i: np.array(x) for i, x in enumerate(got) if i not in donated}
        run([np.array(np.flip(x)) for x in inputs])
        for i, x in kept.items():
            assert type(program.outputs[i]) is not Ref or np.array_equal(
                got[i], x, equal_nan=x.dtype.kind == "f"
            )
