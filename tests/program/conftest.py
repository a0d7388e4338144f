"""Numba in threads, and the CUDA device of tests of kernels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.program.cuda import CountingDevice
from tests.program.lowerings import InThreads


@pytest.fixture(autouse=True)
def _in_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the lowering by numba cut whatever can be cut, where a test asks for `InThreads`."""
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    if isinstance(parameters.get("lower"), InThreads):
        cut_everything(monkeypatch)


def cut_everything(patch: pytest.MonkeyPatch) -> None:
    """Have numba's programs run in three threads, in parts as small as can be."""
    from xpnet.program.lowerings import blas_libraries
    from xpnet.program.lowerings.numba import lanes, loops, partition, products, threads

    patch.setattr(blas_libraries, "threads", lambda: 3)
    patch.setattr(partition, "_PART", 1e-6)
    patch.setattr(partition, "_BARRIER", 1e-6)
    patch.setattr(partition, "_WAKING", 0.0)
    patch.setattr(partition, "_MEETING", 0.0)
    patch.setattr(partition, "_LINE", 1)
    patch.setattr(loops, "_BLOCK", 8)
    patch.setattr(lanes, "_LANES", 2)
    patch.setattr(threads._Choice, "_left", lambda self: 0.0)  # however slow threads are
    patch.setattr(products, "_TINY", 0)
    patch.setattr(products, "_TILE", (1, 1))


@pytest.fixture
def device() -> Iterator[CountingDevice]:
    """The CUDA device, with a block of memory of its own for each array.

    Of CuPy's pool small arrays get parts of one block, where a stray access stays unseen.
    """
    import cupy

    with cupy.cuda.using_allocator(None):
        yield CountingDevice()
