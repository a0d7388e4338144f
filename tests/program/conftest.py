"""Compiled code of the tests is kept where pytest keeps its own things, not in the user's folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _compiled_code(request: pytest.FixtureRequest) -> Iterator[None]:
    cache = getattr(request.config, "cache", None)  # None under -p no:cacheprovider
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XPNET_CACHE_DIR", "" if cache is None else str(cache.mkdir("xpnet")))
        yield
