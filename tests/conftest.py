"""Every backend and device at hand as the fixture ``backend``, and a summary of which of them ran.

A backend that cannot work on this machine is skipped with the reason; ``--require-gpu`` turns a missing
CUDA device into a failure, so that a run meant for a GPU cannot pass without one.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

os.environ.setdefault("JAX_ENABLE_X64", "1")  # read when JAX loads: its float64 is off by default
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compiling takes longer than what is run once
os.environ.setdefault("SCIPY_ARRAY_API", "1")  # read when SciPy loads: it then takes arrays of any library

from xpnet.backends import Backend, known, probe
from xpnet.backends import backend as open_backend


def _specs() -> list[str]:
    specs = []
    for name in known():
        devices = probe(name).devices
        if name == "numpy" or not devices:
            specs.append(name if name == "numpy" else f"{name}:{_FIRST[name]}")
        else:
            specs.extend(f"{name}:{device}" for device in (devices[:1] if name == "cupy" else devices))
    return specs


_FIRST = {"cupy": "0", "torch": "cpu", "jax": "cpu", "array_api_strict": "CPU_DEVICE"}
SPECS = _specs()


@pytest.fixture(params=SPECS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each backend and device; its device is the current one while the test runs."""
    state = probe(request.param.partition(":")[0])
    if not state.usable:
        pytest.skip(f"{state.name}: {state.reason}")
    made = open_backend(request.param)
    with made.activate():
        yield made


@pytest.fixture(scope="module", autouse=True)
def _forgotten() -> Iterator[None]:
    """Lets go of what JAX compiled for the tests of a file: it adds up to gigabytes."""
    yield
    jax = sys.modules.get("jax")
    if jax is not None:
        jax.clear_caches()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-gpu", action="store_true", help="fail when CuPy finds no CUDA device that works"
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    state = probe("cupy")
    if session.config.getoption("--require-gpu") and not state.usable:
        pytest.exit(
            f"--require-gpu: expected a CUDA device that works, found none: {state.reason}", returncode=1
        )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Note in each report which backend its test was for."""
    outcome = yield
    name = _backend_name(item)
    if name:
        outcome.get_result().user_properties.append(("backend", name))


def _backend_name(item: pytest.Item) -> str:
    values = getattr(getattr(item, "callspec", None), "params", {})
    name = str(values.get("backend", "")).partition(":")[0]
    return name if name in known() else ""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say for each backend how many tests ran and how many were skipped, and why."""
    run: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for outcome, reports in terminalreporter.stats.items():
        if outcome in ("passed", "failed", "xfailed", "xpassed", "skipped"):
            for report in reports:
                names = [v for k, v in getattr(report, "user_properties", ()) if k == "backend"]
                if names:
                    (skipped if outcome == "skipped" else run)[names[0]] += 1
    if not run and not skipped:
        return
    terminalreporter.section("backends", sep="-")
    for name in known():
        if run[name] or skipped[name]:
            state = probe(name)
            why = f" ({state.reason})" if not state.usable else ""
            terminalreporter.write_line(f"{name}: {run[name]} run, {skipped[name]} skipped{why}")
