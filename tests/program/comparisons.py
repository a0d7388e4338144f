"""Compiled programs and loops beside the plain functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.program.cuda import CountingDevice, for_cupy, to_device
from tests.program.lowerings import assert_same
from xpnet.program.lowerings import cupy, generic
from xpnet.program.program import Program

__all__ = ["by_steps", "checked"]


def checked(
    program: Program, inputs: list[np.ndarray], device: CountingDevice, ulps: float = 64
) -> cupy.CudaProgram:
    """Compare a program on the device with its functions, called one by one on NumPy, and return it."""
    run, mine = cupy.lower(for_cupy(program), {}, device), [to_device(x) for x in inputs]
    with np.errstate(all="ignore"):
        expected = generic.lower(program)(inputs)
        for _ in range(2):  # the second time in memory that was used before
            for found, want in zip(run(mine), expected, strict=True):
                assert_same(found, want, ulps=ulps)
    for x, kept in zip(mine, inputs, strict=True):
        assert_same(x, kept)
    return run


def by_steps(
    program: Program, carried: int, now: list[Any], constants: list[Any], sequences: list[Any]
) -> tuple[list[Any], list[Any]]:
    """Return what a loop should, one step after another, on NumPy."""
    plain, seen, now = generic.lower(program), [], [np.array(x) for x in now]
    for i in range(len(sequences[0])):
        out = [np.array(x) for x in plain([*now, *constants, *(x[i, ...] for x in sequences)])]
        now = out[:carried]
        seen.append(out[carried:])
    return now, [np.stack(column) for column in zip(*seen, strict=True)]
