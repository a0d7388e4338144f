"""Errors that are easily made in code for CUDA, planted one at a time: CuPy on the host shows each of them.

Each is planted in a copy of the package, where the test that is to see it is run in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOWERING = Path("xpnet/program/lowerings/cupy")


@dataclass(frozen=True)
class Planted:
    """An error, and how it shows.

    Attributes:
        changes: for each place the file in the lowering, the text that is there, and what is planted instead.
        test: in ``tests/program``, which passes without the error and fails with it.
        shown: what is then said, by the test or by the stand-ins for NVIDIA's libraries.
    """

    changes: tuple[tuple[str, str, str], ...]
    test: str
    shown: str


PLANTED = {
    "a wrong leading dimension": Planted(
        (("../gemm.py", "return True, max(t, rows)", "return True, rows"),),
        test="test_cupy.py::test_matrix_products_of_any_layout",
        shown="Not equal to tolerance",
    ),
    "a missing cast": Planted(
        (
            (
                "entries.py",
                'return text if dtype == kind.name else f"({TYPES[kind.name]}){text}"',
                "return text",
            ),
        ),
        test="test_cupy.py::test_casts",
        shown="Arrays are not equal",
    ),
    "an off-by-one in a grid size": Planted(
        (("cuda.py", "kernel((grid,), (block,)", "kernel((max(1, grid - 1),), (block,)"),),
        test="test_cupy.py::test_reductions[float64-4]",
        shown="Not equal to tolerance",
    ),
    "a missing barrier": Planted(
        (
            (
                "kernels.py",
                "= x;\n    __syncthreads();\n    x = shared[0];",
                "= x;\n    x = shared[0];",
            ),
        ),
        test="test_cupy.py::test_reductions[float64-4]",
        shown="Not equal to tolerance",
    ),
    "a host array passed to a kernel": Planted(
        (
            (
                "cuda.py",
                'return self._cupy.asarray(x, order="C")',
                'return x if type(x) is np.ndarray else self._cupy.asarray(x, order="C")',
            ),
            (
                "cuda.py",
                "return x.data.ptr",
                "return x.ctypes.data if type(x) is np.ndarray else x.data.ptr",
            ),
        ),
        test="test_cupy.py::test_arguments_of_any_layout",
        shown="no memory of a device",
    ),
    "a forgotten stream": Planted(
        (
            (
                "cuda.py",
                "stream = self._cupy.cuda.get_current_stream()\n        blas_of",
                "stream = self._cupy.cuda.Stream.null\n        blas_of",
            ),
        ),
        test="test_cupy_steps.py::test_a_loop_is_captured_once",
        shown="Not equal to tolerance",
    ),
    "a graph reused after its memory was freed": Planted(
        (
            (
                "loop.py",
                "if any(known() is not x for known, x in zip(self._graph_of, factors, strict=False)):",
                "if False:",
            ),
        ),
        test="test_cupy_steps.py::test_a_graph_is_not_for_factors_elsewhere",
        shown="has been freed",
    ),
    "a scalar of a wrong dtype": Planted(
        (("cuda.py", "real = _REAL[dtype]", "real = ctypes.c_double"),),
        test="test_cupy_device.py::test_products_in_parts_of_larger_matrices[turned0-float32]",
        shown="Not equal to tolerance",
    ),
    "an allocation during capture": Planted(
        (
            ("cuda.py", "with _capturing, cupy.cuda.using_allocator(_refuse_memory):", "with _capturing:"),
            (
                "lowering.py",
                "at = {**self._addresses,",
                'fresh = self._device.empty((1 << 20,), "uint8")\n'
                "        at = {**self._addresses, -2: self._device.address(fresh),",
            ),
        ),
        test="test_cupy_steps.py::test_loops_over_steps[huber-tanh-float64]",
        shown="cudaErrorStreamCaptureUnsupported",
    ),
    "a kernel that writes past the end": Planted(
        (("copies.py", "i < {walk.entries}; ", "i <= {walk.entries}; "),),
        test="test_cupy.py::test_gathers[int32]",
        shown="cudaErrorIllegalAddress",
    ),
}


def test_the_page_lists_them() -> None:
    page = (ROOT / "docs/gpu.md").read_text().partition("## Ten planted errors")[2]
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| a")]
    tests = {name: planted.test.partition("[")[0] for name, planted in PLANTED.items()}
    assert {row[0].removeprefix("| "): row[2].strip("`") for row in rows} == tests


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    for name in ("xpnet", "tests", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def _tested(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests of programs with the package in a folder."""
    nodes = [f"tests/program/{test}" for test in tests]
    command = [sys.executable, "-m", "pytest", "-q", "--capture=no", "-p", "no:cacheprovider", *nodes]
    # Of two texts of equal length that are written in the same second, Python's cache would take the first.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def on_the_host(test: Any) -> Any:
    """Mark a test of what CuPy on the host sees, which takes long."""
    here = "CUDA_ON_CPU_BUILD" in os.environ
    marked = pytest.mark.skipif(not here, reason="shows what CuPy on the host sees: scripts/gpu --host")(test)
    return pytest.mark.full(pytest.mark.backends("cupy")(marked))


@on_the_host
def test_they_pass_as_long_as_nothing_is_planted(copy: Path) -> None:
    tests = {planted.test for planted in PLANTED.values()}
    done = _tested(copy, *tests)
    assert done.returncode == 0, done.stdout
    assert f"{len(tests)} passed" in done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]


@on_the_host
@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_seen(name: str, copy: Path) -> None:
    planted, before = PLANTED[name], {}
    for file, right, wrong in planted.changes:
        path = copy / LOWERING / file
        text = path.read_text()
        before.setdefault(path, text)
        assert text.count(right) == 1, f"{LOWERING / file}: expected {right!r} once; plant {name} elsewhere"
        path.write_text(text.replace(right, wrong))
    try:
        done = _tested(copy, planted.test)
    finally:
        for path, text in before.items():
            path.write_text(text)
    said = done.stdout + done.stderr
    # A test that fails, or the end of the process: no error of pytest's own, such as of a name.
    assert done.returncode == 1 or done.returncode < 0, said
    assert planted.shown in said
