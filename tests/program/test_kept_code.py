"""Compiled code that is kept: in a process, between processes, and from whom."""

from __future__ import annotations

import gc
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.program.random_programs import Builder
from xpnet.program.lowerings import generic
from xpnet.program.program import Program, Ref

pytest.importorskip("numba", reason="numba (extra jit) is not installed")

from llvmlite import binding
from numba import types

from xpnet.program.lowerings import numba
from xpnet.program.lowerings.numba import cache, compiling, object_code

posix = pytest.mark.skipif(os.name != "posix", reason="owners and links are as on Unix")
_ROOT = Path(__file__).parents[2]


def program() -> tuple[Program, list[np.ndarray]]:
    """Return a small program of some of everything, and its inputs."""
    draw = np.random.default_rng(0)
    builder = Builder(draw.normal(size=(9, 9)), draw.normal(size=(9, 9)))
    product = builder.apply("matmul", Ref(0), Ref(1))
    out = builder.apply("tanh", builder.apply("add", product, 0.5))
    return builder.program(out, builder.apply("sum", out, axis=0)), builder.arrays[:2]


def computed() -> list[np.ndarray]:
    """Return what a newly lowered program computes, whose code is in no memory."""
    compiling._made.clear()
    made, inputs = program()
    return numba.lower(made)(inputs)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of compiled code, of this test alone."""
    monkeypatch.setenv("XPNET_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept" / "numba"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the functions that are compiled, and not loaded."""
    names: list[str] = []
    compiled = object_code.compiled

    def counted(name: str, *args: object) -> object_code.ObjectCode:
        names.append(name)
        return compiled(name, *args)

    monkeypatch.setattr(object_code, "compiled", counted)
    compiling._made.clear()
    yield names
    compiling._made.clear()


# --- in a process ---------------------------------------------------------------------------------------


def test_the_same_source_is_compiled_once(folder: Path, compilations: list[str]) -> None:
    (made, inputs), want = program(), computed()
    assert compilations == ["segment0"]
    for _ in range(3):
        np.testing.assert_array_equal(numba.lower(made)(inputs)[0], want[0])
    assert compilations == ["segment0"]
    computed()  # from the disk
    assert compilations == ["segment0"]
    np.testing.assert_allclose(want[0], generic.lower(made)(inputs)[0], rtol=1e-13)


def test_code_that_was_used_long_ago_is_let_go(
    folder: Path, compilations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of its compiling stays: no context of LLVM, no type of numba's for its sizes."""
    monkeypatch.setattr(compiling, "_MOST", 2)
    contexts, create = [], binding.create_context
    monkeypatch.setattr(binding, "create_context", lambda: contexts.append(create()) or contexts[-1])
    runs = []
    for size in (32003, 32004, 32005):
        builder = Builder(np.ones(size))
        runs.append(numba.lower(builder.program(builder.apply("exp", Ref(0)))))
    assert len(compiling._made) == 2
    assert len(compilations) == len(contexts) == 3
    assert all(context.closed for context in contexts)
    gc.collect()
    known = [x for x in gc.get_objects() if isinstance(x, types.IntegerLiteral)]
    assert not [x for x in known if x.literal_value in (32003, 32004, 32005)]
    for run, size in zip(runs, (32003, 32004, 32005), strict=True):  # what is in use is not let go
        assert len(run([np.zeros(size)])[0]) == size


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="what a process has is known on Linux only")
def test_memory_of_the_same_shapes_is_bounded() -> None:
    command = [sys.executable, "-m", "tests.program.hand_run", "fits", "150"]
    out = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    assert float(out.stdout.split()[-2]) < 3.0


# --- between processes ----------------------------------------------------------------------------------

_OTHER_PROCESS = """
from tests.program.test_kept_code import computed
from xpnet.program.lowerings.numba import object_code

compiled, names = object_code.compiled, []
object_code.compiled = lambda name, *args: names.append(name) or compiled(name, *args)
print([x.tobytes().hex() for x in computed()], len(names))
"""


@pytest.mark.full
def test_code_is_kept_between_processes(folder: Path, tmp_path: Path) -> None:
    """And nowhere else, whatever numba is told."""
    told = {"NUMBA_CACHE_DIR": str(tmp_path / "numbas"), "NUMBA_CACHE_LOCATOR_CLASSES": "no.such.Class"}

    def run() -> list[str]:
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), **told}
        command = [sys.executable, "-c", _OTHER_PROCESS]
        out = subprocess.run(command, env=environment, cwd=_ROOT, capture_output=True, text=True, check=True)
        return out.stdout.rsplit(maxsplit=1)

    (first, a), (second, b) = run(), run()
    assert (a, b) == ("1", "0")
    assert first == second
    assert not (tmp_path / "numbas").exists()
    assert {path.suffix for path in folder.iterdir()} == {".code", ""}


def test_old_programs_are_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_KEPT", 2)
    for i in range(5):
        cache.save(f"{i}", b"")
        os.utime(folder / f"{i}.code", (i, i))
    (folder / ".killed.tmp").touch()
    os.utime(folder / ".killed.tmp", (0, 0))
    cache.save("5", b"")
    assert sorted(p.name for p in folder.iterdir()) == ["4.code", "5.code", "key"]


@posix
def test_files_of_earlier_versions_are_removed(folder: Path) -> None:
    former = folder / "__pycache__"
    former.mkdir(parents=True, mode=0o700)
    name = f"program_{'0a' * 16}"
    for path in (folder / f"{name}.py", former / f"{name}.f-4.py311.nbi", former / f"{name}.f-4.py311.1.nbc"):
        path.touch()
    for mine in (folder / "program_of_mine.py", former / "mine.nbi"):
        mine.touch()
    cache.save("new", b"")
    assert {path.name for path in folder.rglob("*.*")} == {"program_of_mine.py", "mine.nbi", "new.code"}
    (former / "mine.nbi").unlink()
    cache.save("new", b"")
    assert not former.exists()


def test_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, compilations: list[str]) -> None:
    monkeypatch.setenv("XPNET_CACHE_DIR", "")
    assert cache.cache_folder() is None
    computed()
    computed()
    assert len(compilations) == 2
    assert not folder.exists()


# --- damage ---------------------------------------------------------------------------------------------


def flipped(path: Path, bit: int) -> bytes:
    """Change a bit of a file, and return what was there."""
    content = path.read_bytes()
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)
    return content


def test_a_flipped_bit_is_noticed(
    folder: Path, compilations: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="xpnet")
    want, draw = computed(), np.random.default_rng(0)
    for path in (next(folder.glob("*.code")), folder / "key"):
        name = next(folder.glob("*.code")).stem
        for bit in draw.integers(0, 8 * path.stat().st_size, size=100):
            kept = flipped(path, int(bit))
            assert cache.load(name) is None
            path.write_bytes(kept)
            assert cache.load(name) is not None
        flipped(path, 7)
        compilations.clear()
        np.testing.assert_array_equal(computed()[0], want[0])
        assert compilations == ["segment0"]
    assert "compiled anew" in caplog.text


@pytest.mark.parametrize("size", [0, 1, 30, 54, 1000])
def test_a_cut_file_is_noticed(folder: Path, size: int) -> None:
    cache.save("a", bytes(2000))
    os.truncate(folder / "a.code", size)
    assert cache.load("a") is None


@posix
def test_a_full_disk_leaves_no_remains(folder: Path) -> None:
    import resource

    cache.save("a", b"1")
    before = sorted(folder.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        cache.save("b", bytes(1_000_000))
        cache.save("a", bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(folder.iterdir()) == before
    assert cache.load("a") == b"1"
    assert cache.load("b") is None


@pytest.mark.parametrize("fails", ["open", "replace", "fdopen", "listdir"])
def test_whatever_fails_costs_the_keeping_only(
    folder: Path, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    cache.save("a", b"1")
    before = sorted(folder.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, fails, failing)
        want = computed()
    assert sorted(folder.iterdir()) == before
    np.testing.assert_array_equal(computed()[0], want[0])


# --- others ---------------------------------------------------------------------------------------------


def _swapped_for_a_link(folder: Path) -> None:
    other = folder.with_name("others")
    folder.rename(other)
    folder.symlink_to(other)
    folder.parent.chmod(0o777)


def _linked_file(folder: Path) -> None:
    (folder / "a.code").rename(folder / "elsewhere")
    (folder / "a.code").symlink_to("elsewhere")


def _another_name(folder: Path) -> None:
    cache.save("b", b"2")
    (folder / "b.code").rename(folder / "a.code")


def _pipe(folder: Path) -> None:
    (folder / "a.code").unlink()
    os.mkfifo(folder / "a.code")


def _folder(folder: Path) -> None:
    (folder / "a.code").unlink()
    (folder / "a.code").mkdir()


def _of_another(*parts: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        if os.getuid():
            pytest.skip("only root can give files away")
        os.chown(folder.joinpath(*parts), 65534, 65534)

    return change


def _with_another_key(folder: Path) -> None:
    """Somebody's code, well-formed, brought here by the user, as from an archive."""
    mine = folder.with_name("mine")
    folder.rename(mine)
    cache.save("a", b"theirs")
    shutil.copy(folder / "a.code", mine)
    shutil.rmtree(folder)
    mine.rename(folder)


@posix
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: folder.chmod(0o777), "others may write to 'numba'"),
        (lambda folder: folder.chmod(0o770), "others may write to 'numba'"),
        (lambda folder: folder.chmod(0o1777), "others may write to 'numba'"),
        (lambda folder: folder.parent.chmod(0o777), "others may write to 'kept'"),
        (lambda folder: folder.parent.parent.chmod(0o775), "others may write to"),
        (lambda folder: (folder / "a.code").chmod(0o622), ""),
        (lambda folder: (folder / "key").chmod(0o620), ""),
        (lambda folder: (folder / "key").unlink(), ""),
        (_of_another(), "'numba' in it belongs to another user"),
        (_of_another(".."), "'kept' in it belongs to another user"),
        (_of_another("a.code"), ""),
        (_of_another("key"), ""),
        (_swapped_for_a_link, "others may write to 'kept'"),
        (_linked_file, ""),
        (_another_name, ""),
        (_pipe, ""),
        (_folder, ""),
        (_with_another_key, ""),
    ],
)
def test_what_others_may_have_written_is_not_read(
    change: Callable[[Path], None], said: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache._warn.cache_clear()
    cache.save("a", b"1")
    assert cache.load("a") == b"1"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    change(folder)  # in the same process, after the folder was found to be in order
    for _ in range(2):
        assert cache.load("a") is None
    assert len(caplog.records) == bool(said)  # once
    assert said in caplog.text
    if said:
        before = sorted(folder.iterdir())
        cache.save("b", b"2")
        assert sorted(folder.iterdir()) == before


@posix
def test_links_of_the_users_own_are_followed(folder: Path) -> None:
    place = folder.parents[1] / "scratch"
    place.mkdir()
    folder.parent.symlink_to("scratch/../scratch")
    cache.save("a", b"1")
    assert cache.load("a") == b"1"
    assert (place / "numba" / "a.code").exists()
    folder.parent.unlink()
    folder.parent.symlink_to(folder.parent)  # without end
    assert cache.load("a") is None
