"""Measuring: turns, fresh processes, and the command line."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scripts.benchmarks", reason="the folder scripts/ is not there: run from the sources")

from scripts.benchmarks import fresh, measuring, memory, options, timing
from scripts.benchmarks.contestants import Contestant, Training, contestants_on
from scripts.benchmarks.results import Run
from scripts.benchmarks.works import OPTIMIZERS, Work

ROOT = Path(__file__).parents[2]
TINY = Work("C", (6, 7, 5, 4), "relu", "softmax_cross_entropy", 24, 1)


def test_turns_are_long_enough_and_taken_in_turn() -> None:
    calls: list[tuple[str, int]] = []
    clock = [0.0]

    def training(name: str, seconds: float) -> Training:
        def run(epochs: int) -> None:
            calls.append((name, epochs))
            clock[0] += seconds * epochs

        return Training(run, list)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            timing, "time", type("Clock", (), {"perf_counter": lambda: clock[0], "sleep": lambda s: None})
        )
        found = timing.in_turn({"a": training("a", 0.001), "b": training("b", 0.5)}, 2, 0.02, 1.0)
    assert found == {"a": pytest.approx([0.001] * 2), "b": pytest.approx([0.5] * 2)}
    assert sum(epochs for name, epochs in calls[:1000] if name == "a" and epochs == 1) >= 1000  # warm-up
    turns = calls[-8:]
    assert [name for name, _ in turns] == ["a", "a", "b", "b", "b", "b", "a", "a"]
    assert turns[1][1] >= 20
    assert turns[3][1] == 1


@pytest.mark.full
def test_peak_memory_holds_at_least_parameters_and_slots() -> None:
    if memory.unmeasurable():
        pytest.skip(memory.unmeasurable())
    work = Work("C", (784, 512, 10), "relu", "softmax_cross_entropy", 16, 2)
    found = fresh.peak_memory("xpnet numpy", work, "momentum")
    assert found["peak"] - found["before"] > 4 * 2 * work.parameters
    assert found["peak"] - found["before"] < 100e6
    assert memory.expected_bytes(work, 1) == 4 * (work.parameters * 3 + 1.5 * 16 * (784 + 512 + 10))


def test_first_call_is_timed_in_a_process_of_its_own(tmp_path: Path) -> None:
    found = fresh.first_call("matrix products", TINY, "adam", "cpu", str(tmp_path))
    assert found["build"] > found["later"] > 0
    assert found["first"] >= found["later"] <= found["worst"]
    with pytest.raises(fresh.FreshError, match="KeyError: 'nobody'"):
        fresh.first_call("nobody", TINY, "adam", "cpu", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "keras"], "--only: 'keras' is unknown; choose from 'matrix products', 'xpnet'"),
        (["--only", "PyTorch CUDA graph"], "'PyTorch CUDA graph' runs on cuda alone"),
        (["--threads", "0"], "--threads: expected 1 to"),
        (["--rounds", "0"], "--rounds: expected 1 or more, found 0"),
        (["--work", "X"], "invalid choice: 'X'"),
        (["--optimizer", "lion"], "invalid choice: 'lion'"),
        (["--strict"], "--strict says how --check ends"),
        (["--from", "a.json", "--json", "b.json"], "--from shows results that are saved already"),
    ],
)
def test_what_cannot_be_asked_for(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        options.parse(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_what_is_asked_for_by_default() -> None:
    chosen = options.parse([])
    assert chosen.steps
    assert not chosen.memory
    assert chosen.only == contestants_on("cpu")
    assert not options.parse(["--memory"]).steps
    assert options.parse(["--all"]).gradients
    assert options.parse(["--optimizer", "all"]).optimizer == list(OPTIMIZERS)
    assert options.parse(["--only", "pytorch EAGER"]).only == ["PyTorch eager"]


def test_who_fails_is_named_and_all_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Training:
        raise RuntimeError("no compiler found\nmore")

    monkeypatch.setattr(Contestant, "training", _only(fails, "xpnet generic"))
    run = Run({})
    arguments = ["--work", "T", "--rounds", "1", "--warm-up", "0", "--shortest", "0", "--only"]
    chosen = options.parse([*arguments, "matrix products", "xpnet numpy", "xpnet generic"])
    assert list(measuring.measure(run, chosen)) == ["steps: T, adam"]
    assert run.absent == {"xpnet generic: steps of T with adam": "no compiler found"}
    assert [result.contestant for result in run.results] == ["matrix products", "xpnet numpy"]


def _only(fails: Callable[..., Training], name: str) -> Callable[..., Training]:
    works = Contestant.training
    return lambda self, *a, **o: (fails if self.name == name else works)(self, *a, **o)


def test_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    command = "--work T --epochs --steps --rounds 1 --warm-up 0 --shortest 0 --threads 1 --optimizer rmsprop"
    only = ["matrix products", "xpnet numpy", "scikit-learn"]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks", *command.split(), "--only", *only, "--json", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    saved = json.loads(path.read_text())
    measured = [(result["measure"], result["contestant"]) for result in saved["results"]]
    assert measured == [("steps", "matrix products"), ("steps", "xpnet numpy"), ("epochs", "xpnet numpy")]
    assert saved["machine"]["threads"] == 1
    assert "xpnet numpy" in done.stdout
    reason = "has no rmsprop" if importlib.util.find_spec("sklearn") else "sklearn is not installed"
    assert reason in saved["absent"].values()


def test_cuda_is_refused_where_there_is_none() -> None:
    from xpnet.backends import probe

    if probe("cupy").usable:
        pytest.skip("there is a CUDA device")
    done = subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks", "--device", "cuda"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--device cuda: expected a CUDA device that works, found none" in done.stderr
