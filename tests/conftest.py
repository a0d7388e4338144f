"""Every backend and device at hand as the fixture ``backend``, what is run, and a summary of what ran.

A backend that cannot work on this machine is left out, and the summary says why; ``--require-gpu`` turns a
missing CUDA device into a failure, so that a run meant for a GPU cannot pass without one. ``--backends``
keeps only tests of some backends, and ``--full`` adds those that take long.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

os.environ.setdefault("JAX_ENABLE_X64", "1")  # read when JAX loads: its float64 is off by default
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compiling takes longer than what is run once
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy loads: its threads wait by spinning
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same of PyTorch
os.environ.setdefault("SCIPY_ARRAY_API", "1")  # read when SciPy loads: it then takes arrays of any library

from xpnet.backends import Backend, known, probe
from xpnet.backends import backend as open_backend

_FIRST = {"cupy": "0", "torch": "cpu", "jax": "cpu", "array_api_strict": "no_float64"}
"""Each library's device for everyday: of the strict ones, one that is not the host and lacks float64."""

_ON_JAX = (
    "autodiff/test_rules.py", "autodiff/test_nesting.py", "nn", "test_losses.py", "train/test_parity.py",
)  # fmt: skip
"""Whose tests run on JAX, which compiles each operation for each shape, unless ``--backends`` names it."""

_AS_ANOTHER = ("array_api_strict:CPU_DEVICE", "array_api_strict:device2")
"""What goes wrong on them goes wrong on ``device1``, which refuses arrays made without a device as well."""


def _specs(config: pytest.Config) -> list[Any]:
    """Return the backends under test as parameters: one device of each; with ``--full`` all, CUDA's apart.

    JAX, which compiles each operation for long, is for ``--full`` as well, unless ``--backends`` names it.
    """
    wanted, full, found = _wanted(config), config.getoption("--full"), []
    for name in wanted or filter(lambda name: probe(name).usable, known()):
        spec = name if name == "numpy" else f"{name}:{_FIRST[name]}"
        others = [f"{name}:{device}" for device in probe(name).devices if name not in ("numpy", "cupy")]
        everyday = name != "jax" or wanted
        found += [spec] if everyday else []
        if full:
            more = [other for other in others if other not in (*found, *_AS_ANOTHER)]
            found += [pytest.param(other, marks=pytest.mark.full) for other in more]
    return found


def _wanted(config: pytest.Config) -> list[str]:
    """Return the backends of ``--backends``; empty for all."""
    names = [name for name in config.getoption("--backends").split(",") if name]
    unknown = [name for name in names if name not in known()]
    if unknown:
        raise pytest.UsageError(f"--backends: expected some of {', '.join(known())}, found {unknown[0]!r}")
    return names


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a ``backend`` on each of them, unless it names its own."""
    own = any("backend" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "backend" in metafunc.fixturenames and not own:
        metafunc.parametrize("backend", _specs(metafunc.config), indirect=True)


@pytest.fixture(scope="session", autouse=True)
def _compiled_code(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Keeps what numba compiles for all tests, and those that come later."""
    cache = getattr(request.config, "cache", None)  # None under -p no:cacheprovider
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("xpnet") if cache is None else cache.mkdir("xpnet")
        patch.setenv("XPNET_CACHE_DIR", str(folder))
        yield


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each backend and device; its device is the current one while the test runs."""
    _require(request.param.partition(":")[0])
    made = open_backend(request.param)
    with made.activate():
        yield made


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """The device, with a pool of its own: small arrays that live on keep large blocks of the common one."""
    import cupy

    pool = cupy.cuda.MemoryPool()
    monkeypatch.setattr(cupy, "_default_memory_pool", pool)
    with cupy.cuda.using_allocator(pool.malloc):
        yield open_backend("cuda")


@pytest.fixture(autouse=True)
def _libraries(request: pytest.FixtureRequest) -> None:
    """Skips a test marked with ``backends(...)`` where one of these cannot work."""
    for mark in request.node.iter_markers("backends"):
        for name in mark.args:
            _require(name)


def _require(name: str) -> None:
    state = probe(name)
    if not state.usable:
        pytest.skip(f"{state.name}: {state.reason}")


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
    parser.addoption(
        "--backends", default="", metavar="NAMES", help="only tests of these backends: numpy,cupy"
    )
    parser.addoption("--full", action="store_true", help="also tests that take long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, what is of other backends than those asked for, and most cases on JAX.

    JAX takes one case of a test, or of a derivative's rule, of the files that are for it.
    """
    wanted, full = set(_wanted(config)), config.getoption("--full")
    on_jax: dict[Any, pytest.Item] = {}
    folders = [config.rootpath / "tests" / path for path in _ON_JAX]
    for item in items:
        if _is_on(item, "jax") and any(item.path.is_relative_to(folder) for folder in folders):
            on_jax.setdefault(_kind(item), item)
    left = [
        item
        for item in items
        if (not full and item.get_closest_marker("full"))
        or (wanted and not wanted & _backends_of(item))
        or (_is_on(item, "jax") and "jax" not in wanted and on_jax.get(_kind(item)) is not item)
    ]
    if left:
        config.hook.pytest_deselected(items=left)
        gone = set(left)
        items[:] = [item for item in items if item not in gone]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave the tests themselves out of garbage collections, of which each would take a second."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    _wanted(config)  # complains now


def pytest_sessionstart(session: pytest.Session) -> None:
    state = probe("cupy")
    if session.config.getoption("--require-gpu") and not state.usable:
        pytest.exit(
            f"--require-gpu: expected a CUDA device that works, found none: {state.reason}", returncode=1
        )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Note in each report which backends its test was for."""
    outcome = yield
    outcome.get_result().user_properties += [("backend", name) for name in sorted(_backends_of(item))]


def _backends_of(item: pytest.Item) -> set[str]:
    """Return the names of the backends that a test is for, by its ``backend`` and its marks."""
    marked = {name for mark in item.iter_markers("backends") for name in mark.args}
    return marked | {name for name in known() if _is_on(item, name)}


def _is_on(item: pytest.Item, name: str) -> bool:
    return str(_parameters(item).get("backend", "")).partition(":")[0] == name


def _kind(item: pytest.Item) -> Any:
    """Return what cases of a test share: the test and, for those of derivatives, the rule."""
    rules = [getattr(value, "rule", None) for value in _parameters(item).values()]
    return item.path, getattr(item, "originalname", item.name), *rules


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return getattr(getattr(item, "callspec", None), "params", {})


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say for each backend how many tests ran and how many were skipped, and why one was left out."""
    run: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for outcome, reports in terminalreporter.stats.items():
        if outcome in ("passed", "failed", "xfailed", "xpassed", "skipped"):
            for report in reports:
                names = [v for k, v in getattr(report, "user_properties", ()) if k == "backend"]
                (skipped if outcome == "skipped" else run).update(names)
    if not run and not skipped:
        return
    terminalreporter.section("backends", sep="-")
    for name in known():
        state = probe(name)
        if not state.usable:
            terminalreporter.write_line(f"{name}: {run[name]} run, all skipped ({state.reason})")
        elif run[name] or skipped[name]:
            terminalreporter.write_line(f"{name}: {run[name]} run, {skipped[name]} skipped")
