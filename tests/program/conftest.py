"""Compiled code of the tests is kept where pytest keeps its own things; a CUDA device that is the host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.program.host_device import HostDevice
from xpnet.program.lowerings.cupy import cuda


@pytest.fixture(scope="session", autouse=True)
def _compiled_code(request: pytest.FixtureRequest) -> Iterator[None]:
    cache = getattr(request.config, "cache", None)  # None under -p no:cacheprovider
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XPNET_CACHE_DIR", "" if cache is None else str(cache.mkdir("xpnet")))
        yield


@pytest.fixture
def cuda_on_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the lowering for CuPy run NumPy arrays on the host."""
    monkeypatch.setattr(cuda, "CupyDevice", HostDevice)


@pytest.fixture
def device() -> Iterator[HostDevice]:
    made = HostDevice()
    yield made
    made.check()
