"""Every backend and device, as a fixture; one that cannot work here is skipped with its reason."""

from __future__ import annotations

import pytest

from xpnet.backends import Backend, backend, known, probe


def _specs() -> list[object]:
    found: list[object] = []
    for name in known():
        state = probe(name)
        if not state.usable:
            found.append(pytest.param(name, marks=pytest.mark.skip(reason=f"{name}: {state.reason}")))
        elif name == "array_api_strict":
            found.extend(f"{name}:{device}" for device in state.devices)
        else:
            found.append(name)
    return found


@pytest.fixture(params=_specs())
def any_backend(request: pytest.FixtureRequest) -> Backend:
    return backend(request.param)
