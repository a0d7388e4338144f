"""The BLAS libraries that compiled code calls: their products, which one is chosen, their threads."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

import xpnet
from xpnet import blas
from xpnet.errors import ConfigError
from xpnet.program.looping import Loop
from xpnet.program.lowerings import blas_libraries
from xpnet.program.lowerings.base import LOWERINGS
from xpnet.program.lowerings.blas_libraries import LIBRARIES, Loaded

needs_numba = pytest.mark.skipif(bool(LOWERINGS["numba"].reason()), reason="numba is not installed")

INTEL = "processor: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu avx2 avx512f\n"
AMD = INTEL.replace("GenuineIntel", "AuthenticAMD")


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch):
    """Return a function that sets ``XPNET_BLAS`` and forgets the choice of this process."""
    monkeypatch.setattr(blas_libraries, "_loaded_with", blas_libraries._loaded_with.__wrapped__)  # not cached

    def asked(name: str) -> None:
        monkeypatch.setenv("XPNET_BLAS", name)
        blas_libraries.choice.cache_clear()

    yield asked
    blas_libraries.choice.cache_clear()


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest, ask: Callable[[str], None]) -> str:
    """Each library of the table, chosen."""
    if blas_libraries.load(request.param) is None:
        pytest.skip(LIBRARIES[request.param].missing)
    ask(request.param)
    return request.param


# --- products -------------------------------------------------------------------------------------------


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    run = xpnet.compile(lambda a, b: a @ b + 1, lower="numba")
    found = run(a, b)
    assert not run.reason
    assert "gemm(gemm" in run.lowered(a, b).compiled_source
    return found


@needs_numba
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products(library: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    for m, k, n in [(2, 700, 3), (17, 33, 5), (64, 128, 96), (130, 257, 300)]:
        for left, right in itertools.product([False, True], repeat=2):
            a = rng.normal(size=(k, m) if left else (m, k)).astype(dtype)
            b = rng.normal(size=(n, k) if right else (k, n)).astype(dtype)
            a, b = a.T if left else a, b.T if right else b
            want = a.astype(np.longdouble) @ b.astype(np.longdouble) + 1
            bound = 4 * k**0.5 * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b) + 1)
            assert np.all(np.abs(_product(a, b) - want) <= bound), (m, k, n, left, right)


@needs_numba
def test_the_same_bits_wherever_arrays_lie(library: str) -> None:
    rng = np.random.default_rng(4)
    a, b = (rng.normal(size=shape).astype("float32") for shape in [(50, 301), (301, 77)])
    run = xpnet.compile(lambda a, b: a @ b + 1, lower="numba")
    want = run(a, b)
    room = np.empty(a.size + 16, "float32")
    for shift in range(16):
        moved = room[shift : shift + a.size].reshape(a.shape)
        moved[...] = a
        np.testing.assert_array_equal(run(moved, b), want)


def test_addresses_are_those_of_the_library_chosen(library: str) -> None:
    loaded = blas_libraries.load(library)
    assert loaded is not None
    assert blas_libraries.choice().name == library
    assert blas_libraries.gemm_addresses() == loaded.gemm
    assert all(loaded.gemm)


_IN_THREADS = """
import os, threading, time
import numpy as np
import xpnet
from xpnet.program.lowerings import blas_libraries

a = np.random.default_rng(0).normal(size=(300, 300))
want, found = a @ a, []
run = [xpnet.compile(lambda a: a @ a + 0.0, lower="numba") for _ in range(3)]
workers = [threading.Thread(target=lambda f=f: found.append(f(a))) for f in run]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
for x in found:
    np.testing.assert_allclose(x, want, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(x, found[0])
ends = time.monotonic() + 5  # the system may need a moment after a join
while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < ends:
    time.sleep(0.01)
print(len(found), blas_libraries.load("mkl").get_threads(), len(os.listdir("/proc/self/task")))
print([line for line in open("/proc/self/maps") if "iomp" in line or "libgomp" in line])
"""


@needs_numba
@pytest.mark.skipif(sys.platform != "linux", reason="what a process has is known on Linux only")
@pytest.mark.parametrize("layer", [None, "INTEL", "GNU"])
def test_mkl_brings_no_threads_of_its_own(layer: str | None) -> None:
    if blas_libraries.load("mkl") is None:
        pytest.skip(LIBRARIES["mkl"].missing)
    env = {**os.environ, "XPNET_BLAS": "mkl", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "4"}
    env |= {"MKL_THREADING_LAYER": layer} if layer else {}
    done = subprocess.run(
        [sys.executable, "-c", _IN_THREADS], capture_output=True, text=True, env=env, timeout=120
    )
    assert done.stdout.splitlines() == ["3 1 1", "[]"], done.stderr


_IN_USE = """
import ctypes
from xpnet.program.lowerings import blas_libraries

mkl = ctypes.CDLL(str(blas_libraries.LIBRARIES["mkl"].files()[0]))
before = mkl.MKL_Get_Max_Threads()
print(before, blas_libraries.choice().name, blas_libraries.threads())
with blas_libraries.one_thread():
    print(mkl.MKL_Get_Max_Threads())
print(mkl.MKL_Get_Max_Threads() == before)
"""


@pytest.mark.skipif(not hasattr(os, "RTLD_NOLOAD"), reason="this system does not say what is loaded")
def test_an_mkl_in_use_by_others_stays_as_it_is() -> None:
    if blas_libraries.load("mkl") is None:
        pytest.skip(LIBRARIES["mkl"].missing)
    env = {**os.environ, "XPNET_BLAS": "mkl", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", _IN_USE],
        capture_output=True,
        text=True,
        env=env | {"MKL_DYNAMIC": "FALSE"},
        timeout=120,
    )
    assert done.stdout.split() == ["2", "mkl", "2", "1", "True"], done.stderr


# --- the choice -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpuinfo", "installed", "asked", "name", "reason"),
    [
        (AMD, "openblas", "", "openblas", "not one of Intel's"),
        (AMD, "openblas mkl", "", "openblas", "not one of Intel's"),
        ("Features : fp asimd", "openblas mkl", "", "openblas", "not one of Intel's"),
        (INTEL, "openblas", "", "openblas", "pip install mkl"),
        (INTEL, "openblas mkl", "", "mkl", "one of Intel's"),
        (INTEL, "mkl", "", "mkl", "one of Intel's"),
        (INTEL, "openblas mkl", "openblas", "openblas", "XPNET_BLAS=openblas"),
        (AMD, "openblas mkl", "mkl", "mkl", "XPNET_BLAS=mkl"),
        (AMD, "mkl", "", "", "NumPy does not bring an OpenBLAS"),
        (INTEL, "", "", "", "NumPy does not bring an OpenBLAS"),
    ],
)
def test_choice(cpuinfo, installed, asked, name, reason, ask, monkeypatch) -> None:
    found = {x: Loaded((i, i), lambda: 1, None) for i, x in enumerate(installed.split(), 1)}
    monkeypatch.setattr(blas, "_cpuinfo", lambda: cpuinfo)
    monkeypatch.setattr(blas_libraries, "load", found.get)
    ask(asked)
    assert blas_libraries.choice().name == name
    assert reason in blas_libraries.choice().reason
    assert blas_libraries.gemm_addresses() == (found[name].gemm if name else (0, 0))
    assert blas_libraries.threads() == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("mlk", "XPNET_BLAS: expected openblas or mkl, found 'mlk'; did you mean 'mkl'"),
        (
            "mkl",
            r"XPNET_BLAS=mkl: MKL of 2022 or later is .*; pip install mkl, or unset",
        ),
        ("openblas", "XPNET_BLAS=openblas: NumPy does not bring an OpenBLAS of its own"),
    ],
)
def test_a_library_that_cannot_be_had(asked, message, ask, monkeypatch) -> None:
    monkeypatch.setattr(blas_libraries, "load", lambda name: None)
    ask(asked)
    with pytest.raises(ConfigError, match=message):
        blas_libraries.choice()
    if LOWERINGS["numba"].reason():
        return
    x = np.ones((20, 20))
    with pytest.raises(ConfigError, match=message):
        xpnet.compile(lambda x: x @ x, lower="numba")(x)
    with pytest.raises(ConfigError, match=message):
        Loop(lambda carry, constants, row: ([carry[0] @ row[0]], []), "numba")([x], [], [x[None]])


def test_files_that_are_no_such_library(tmp_path, monkeypatch) -> None:
    broken = tmp_path / "libmkl_rt.so"
    broken.write_text("no library")
    row = LIBRARIES["mkl"]
    monkeypatch.setitem(LIBRARIES, "other", type(row)(**{**vars(row), "files": lambda: [broken]}))
    assert blas_libraries.load("other") is None


# --- threads --------------------------------------------------------------------------------------------


class Pool:
    """Stands in for the threads of a library."""

    def __init__(self, count: int):
        self.count = count
        self.loaded = Loaded((1, 1), lambda: self.count, lambda n: setattr(self, "count", n))


@pytest.mark.parametrize(("numpys", "mkls", "asked"), [(4, 1, "mkl"), (1, 3, "mkl"), (4, 3, "openblas")])
def test_one_thread(numpys, mkls, asked, ask, monkeypatch) -> None:
    """NumPy's threads say how many there are, also where MKL has none of its own."""
    pools = {"openblas": Pool(numpys), "mkl": Pool(mkls)}
    monkeypatch.setattr(blas_libraries, "load", lambda name: pools[name].loaded)
    ask(asked)
    called = [numpys, mkls] if asked == "mkl" else [numpys]
    assert blas_libraries.threads() == max(called)
    with contextlib.suppress(ZeroDivisionError), blas_libraries.one_thread():
        assert blas_libraries.threads() == 1
        assert pools["mkl"].count == (1 if asked == "mkl" else mkls)
        raise ZeroDivisionError
    assert [pools["openblas"].count, pools["mkl"].count] == [numpys, mkls]
