"""Compiled programs and loops beside the plain functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.program.host_device import HostDevice
from xpnet.program.lowerings import cupy, generic
from xpnet.program.program import Program

__all__ = ["assert_same", "by_steps", "checked"]


def checked(program: Program, inputs: list[Any], device: HostDevice, ulps: float = 64) -> cupy.CudaProgram:
    """Compare a program with its functions, called one by one, and return it."""
    before = [np.array(x) for x in inputs]
    run = cupy.lower(program, {}, device)
    with np.errstate(all="ignore"):
        expected = generic.lower(program)(inputs)
        for _ in range(2):  # the second time in memory that was used before
            for a, b in zip(expected, run(inputs), strict=True):
                assert_same(a, b, ulps)
    for x, kept in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, kept)
    return run


def assert_same(a: Any, b: Any, ulps: float) -> None:
    """Check dtype, shape and values, which may lie some units in the last place of the largest apart."""
    a, b = np.asarray(a), np.asarray(b)
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    if ulps and a.dtype.kind in "fc":
        size = ulps * np.finfo(a.dtype).eps
        scale = np.max(np.abs(a), initial=1, where=np.isfinite(a))
        np.testing.assert_allclose(b, a, rtol=size, atol=size * scale)
    else:
        np.testing.assert_array_equal(a, b)


def by_steps(
    program: Program, carried: int, now: list[Any], constants: list[Any], sequences: list[Any]
) -> tuple[list[Any], list[Any]]:
    """Return what a loop should, one step after another."""
    plain, seen = generic.lower(program), []
    for i in range(len(sequences[0])):
        out = [np.array(x) for x in plain([*now, *constants, *(x[i, ...] for x in sequences)])]
        now = out[:carried]
        seen.append(out[carried:])
    return now, [np.stack(column) for column in zip(*seen, strict=True)]
