"""Compiled code of the tests is kept where pytest keeps its own things; a CUDA device that is the host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.program.host_device import HostDevice
from tests.program.lowerings import InThreads
from xpnet.program import compiling, looping
from xpnet.program.lowerings.cupy import cuda
from xpnet.train import trainer


@pytest.fixture(scope="session", autouse=True)
def _compiled_code(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    cache = getattr(request.config, "cache", None)  # None under -p no:cacheprovider
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("xpnet") if cache is None else cache.mkdir("xpnet")
        patch.setenv("XPNET_CACHE_DIR", str(folder))
        yield


@pytest.fixture(scope="module")
def cuda_on_host() -> Iterator[None]:
    """Have the lowering for CuPy run NumPy arrays on the host."""
    choose = compiling.choose
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "CupyDevice", HostDevice)
        for module in (compiling, looping, trainer):
            patch.setattr(module, "choose", lambda lower, xp: lower if lower == "cupy" else choose(lower, xp))
        yield


@pytest.fixture(autouse=True)
def _in_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the lowering by numba cut whatever can be cut, where a test asks for `InThreads`."""
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    if isinstance(parameters.get("lower"), InThreads):
        cut_everything(monkeypatch)


def cut_everything(patch: pytest.MonkeyPatch) -> None:
    """Have numba's programs run in three threads, in parts as small as can be."""
    from xpnet.program.lowerings import openblas
    from xpnet.program.lowerings.numba import lanes, loops, products, shares

    patch.setattr(openblas, "threads", lambda: 3)
    patch.setattr(shares, "_PART", 1e-6)
    patch.setattr(shares, "_BARRIER", 1e-6)
    patch.setattr(shares, "_WAKING", 0.0)
    patch.setattr(shares, "_LINE", 1)
    patch.setattr(loops, "_BLOCK", 8)
    patch.setattr(lanes, "_LANES", 2)
    patch.setattr(products, "_TINY", 0)
    patch.setattr(products, "_TILE", (1, 1))


@pytest.fixture
def device() -> Iterator[HostDevice]:
    made = HostDevice()
    yield made
    made.check()
