"""The command run inside the test's process, in a folder of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from xpnet.cli import main
from xpnet.runs import checkpoints

FAST = ("--epochs", "2", "--hidden", "8", "--backend", "numpy")


class Outcome(NamedTuple):
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; saves are not thinned out, so that each epoch is on the disk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XPNET_BACKEND", raising=False)
    monkeypatch.setattr(checkpoints, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "_SAVE_SHARE", 1e9)
    return tmp_path


@pytest.fixture
def xpnet(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``xpnet`` with the given arguments."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the table two-gaussians, to be copied."""
    run = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", "two-gaussians", "--out", str(run), "--quiet", *FAST]) == 0
    return run


@pytest.fixture
def trained(xpnet: Command, finished_run: Path) -> Callable[..., Path]:
    """Train quickly and return the run folder; without arguments, return a copy of a finished run."""

    def train(data: object = "two-gaussians", *arguments: object, out: str = "run") -> Path:
        if data == "two-gaussians" and not arguments:
            return Path(shutil.copytree(finished_run, out))
        outcome = xpnet("train", data, "--out", out, *FAST, *arguments)
        assert outcome.code == 0, outcome.err
        return Path(out)

    return train


def flowers(rows: int = 60, *, missing: bool = False) -> str:
    """Return a CSV table of numbers, categories and both kinds of targets."""
    lines = ["length,width,colour,kind,price"]
    for i in range(rows):
        kind = "rose" if i % 2 else "tulip"
        length = "" if missing and i % 10 == 3 else f"{(3 if i % 2 else 1) + 0.01 * i:.2f}"
        colour = ("red", "blue", "white")[i % 3]
        lines.append(
            f"{length},{0.1 * (i % 7):.1f},{colour},{kind},{(2.5 if i % 2 else 1.5) + 0.1 * (i % 3):.2f}"
        )
    return "\n".join(lines) + "\n"
