"""Compiled code of the tests is kept where pytest keeps its own things, not in the user's folder."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _compiled_code(request: pytest.FixtureRequest) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XPNET_CACHE_DIR", str(request.config.cache.mkdir("xpnet")))
        yield
