"""Compiled code of the tests is kept where pytest keeps its own things; a CUDA device that is the host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.program.host_device import HostDevice
from xpnet.program import compiling, looping
from xpnet.program.lowerings.cupy import cuda
from xpnet.train import trainer


@pytest.fixture(scope="session", autouse=True)
def _compiled_code(request: pytest.FixtureRequest) -> Iterator[None]:
    cache = getattr(request.config, "cache", None)  # None under -p no:cacheprovider
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XPNET_CACHE_DIR", "" if cache is None else str(cache.mkdir("xpnet")))
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


@pytest.fixture
def device() -> Iterator[HostDevice]:
    made = HostDevice()
    yield made
    made.check()
