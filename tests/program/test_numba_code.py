"""Generated code: what is shared, what is kept between processes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.program.random_programs import Builder
from xpnet.program.lowerings import generic
from xpnet.program.program import Program, Ref

pytest.importorskip("numba", reason="numba (extra jit) is not installed")

from xpnet.program.lowerings import numba
from xpnet.program.lowerings.numba import cache
from xpnet.program.lowerings.numba.repetition import without_repetition


def test_blocks_that_differ_in_places_and_names_only() -> None:
    def block(pointer: str, offset: int, n: int) -> list[str]:
        return [
            "for i0 in range(4):",
            f"    a{n}_1 = {pointer}[i0 + {offset}]",
            f"    x{n} = a{n}_1 + c0",
            f"    m_float32[i0] = x{n}",
        ]

    other = ["for i0 in range(5):", "    x1 = p1[i0]", "    p2[i0] = x1"]
    done, functions = without_repetition([block("p1", 8, 3), other, block("m_float32", 16, 7)])
    assert done == [
        ["shared0(moved(p1, 8), m_float32)"],
        other,
        ["shared0(moved(m_float32, 16), m_float32)"],
    ]
    assert functions == {
        "shared0": [
            "def shared0(q0, q1):",
            "    for i0 in range(4):",
            "        y0 = q0[i0]",
            "        y1 = y0 + c0",
            "        q1[i0] = y1",
        ]
    }


def _deep(layers: int = 4) -> tuple[Program, list[np.ndarray]]:
    draw = np.random.default_rng(0)
    builder = Builder(draw.normal(size=(9, 9)), *draw.normal(size=(layers, 9, 9)))
    x = Ref(0)
    for i in range(layers):
        x = builder.apply("tanh", builder.apply("add", builder.apply("matmul", x, Ref(i + 1)), 0.5))
    return builder.program(x), builder.arrays[: layers + 1]


def test_layers_of_a_deep_network_share_code() -> None:
    program, inputs = _deep()
    run = numba.lower(program)
    # The last layer writes into the result, the others over what they read.
    assert run.compiled_source.count("tanh_float64") == 2
    np.testing.assert_allclose(run(inputs)[0], generic.lower(program)(inputs)[0], rtol=1e-13)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XPNET_CACHE_DIR", str(tmp_path / "kept"))
    cache.cache_folder.cache_clear()
    yield tmp_path / "kept" / "numba"
    cache.cache_folder.cache_clear()


_OTHER_PROCESS = """
import numpy as np
from tests.program.test_numba_code import _deep
from xpnet.program.lowerings import numba
from xpnet.program.lowerings.numba import cache
program, inputs = _deep(2)
run = numba.lower(program)
hits = [f.stats.cache_hits for name, f in run._run.__globals__.items() if name.endswith("_of_numba")]
print(sum(sum(hit.values()) for hit in hits), float(run(inputs)[0].sum()).hex())
"""


@pytest.mark.full
def test_code_is_kept_between_processes(folder: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}

    def run() -> list[str]:
        command = [sys.executable, "-c", _OTHER_PROCESS]
        out = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True)
        return out.stdout.split()

    (first, a), (second, b) = run(), run()
    assert (first, second) == ("0", "1")
    assert a == b
    for path in (folder / "__pycache__").iterdir():  # a damaged file is no more than a missing one
        path.write_bytes(b"damaged")
    assert run() == ["0", a]


def test_folders_that_others_may_write_to_are_not_used(folder: Path) -> None:
    assert cache.cache_folder() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    cache.cache_folder.cache_clear()
    assert cache.cache_folder() is None
    program, inputs = _deep(1)
    np.testing.assert_allclose(numba.lower(program)(inputs)[0], generic.lower(program)(inputs)[0])
    assert not list(folder.iterdir())


def test_no_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("XPNET_CACHE_DIR", "")
    assert cache.cache_folder() is None


def test_old_programs_are_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_KEPT", 2)
    for i in range(5):
        path = cache.kept_source(f"# {i}", f"{i}")
        assert path is not None
        os.utime(path, (i, i))
    assert sorted(p.name for p in folder.glob("*.py")) == ["program_2.py", "program_3.py", "program_4.py"]
