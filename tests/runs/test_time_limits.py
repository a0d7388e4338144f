"""Time limits of commands and of models of tables: all work counts; by a clock that the tests set forward."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runs.test_runs import table
from xpnet import runs
from xpnet.cli import main
from xpnet.runs import plan as plan_module
from xpnet.tabular import TableModel, refit
from xpnet.tabular import model as model_module
from xpnet.train import checkpoint_file
from xpnet.train import trainer as trainer_module

FAST: dict[str, Any] = {"preset": "fast", "hidden": (8,), "backend": "numpy", "epochs": 40}
OPEN: dict[str, Any] = {**FAST, "epochs": None, "patience": 2, "min_steps": 1, "min_delta": 0.05}


class Clock:
    """Preparing a table takes ten seconds, an epoch one, and one with the validation rows ``refitting``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now, self.refitting = 1000.0, 1.0
        for clock in ("monotonic", "process_time"):
            monkeypatch.setattr(time, clock, lambda: self.now)
        average_epoch, prepare = trainer_module.average_epoch, plan_module.prepare

        def averaged(setup: Any, state: Any) -> None:
            average_epoch(setup, state)
            self.now += self.refitting if setup.settings.swa_start is not None else 1.0

        def prepared(*given: Any, **options: Any) -> Any:
            self.now += 10.0
            return prepare(*given, **options)

        monkeypatch.setattr(trainer_module, "average_epoch", averaged)
        for module in (plan_module, model_module):
            monkeypatch.setattr(module, "prepare", prepared)


@pytest.fixture(autouse=True)
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.chdir(tmp_path)
    table().write_csv("table.csv")
    return Clock(monkeypatch)


def test_reading_the_table_counts_in_each_face(clock: Clock) -> None:
    """Twenty seconds: ten of them for the table, a quarter of one for the report."""
    model = TableModel(time_limit=20.0, **FAST).fit(table(), "kind")
    assert clock.now == 1019.0
    assert len(model.trainer.history) == model.trainer.epoch <= 9
    for number, train in enumerate((by_python, by_command)):
        begun = clock.now
        told = train(f"run{number}").results
        assert (told["epochs_trained"], told["stopped"], told["timed_out"]) == (9, "time limit", True)
        assert clock.now == begun + 19.0
    begun = clock.now
    again = runs.open("run0", table()).resume(time_limit=8.5).results
    assert (again["epochs_trained"], clock.now) == (9 + 8, begun + 8.0)  # where the table takes no time


def by_python(out: str) -> runs.Run:
    return runs.train(table(), "kind", out, time_limit=20.0, **FAST)


def by_command(out: str) -> runs.Run:
    given = {**FAST, "target": "kind", "time-limit": "20s", "hidden": "8"}
    flags = [f"--{name}={value}" for name, value in given.items()]
    assert main(["train", "table.csv", "--out", out, "--quiet", *flags]) == 0
    return runs.open(out)


def test_restarts_share_the_time(clock: Clock) -> None:
    run = runs.train(table(), "kind", "run", time_limit=40.0, restarts=3, **FAST)
    rows = run.folder.read_restarts()
    assert [row["epochs"] for row in rows] == [9, 10, 10]
    assert clock.now == 1000.0 + 10.0 + 29.0


def final(run: str) -> dict[str, np.ndarray]:
    return checkpoint_file.read(Path(run) / "checkpoints" / "final.safetensors")[0]


def test_a_refit_for_which_there_is_no_time_is_left_out_until_the_run_is_resumed(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = runs.train(table(), "kind", "whole", **OPEN)
    assert whole.results["refit_epochs"] == 25
    for how, expected, refitting in (("would take", 25.0, 1.0), ("took longer than expected", 0.0, 5.0)):
        monkeypatch.setattr(refit, "_expected_seconds", lambda *_, expected=expected: expected)
        clock.refitting, begun = refitting, clock.now
        limit = 10.0 + whole.results["epochs_trained"] + 20.0
        run = runs.train(table(), "kind", how, time_limit=limit, **OPEN)
        told = run.results
        assert (told["stopped"], told["timed_out"]) == (whole.results["stopped"], True)
        assert told["refit_epochs"] == 0
        assert clock.now <= begun + limit
        assert f"time_limit: the epochs with the validation rows are left out, which {how}" in caplog.text
        assert not run.folder.checkpoint("final").exists()
    again = runs.open("would take", table()).resume(time_limit=None)
    assert (again.results["refit_epochs"], again.results["timed_out"]) == (25, False)
    assert all(np.array_equal(x, final("would take")[name]) for name, x in final("whole").items())


def test_how_long_a_refit_is_expected_to_take() -> None:
    model = TableModel(**{**OPEN, "refit": False}).fit(table(), "kind")
    for row in model.trainer.history:
        row["seconds"] = 2.0
    assert refit._expected_seconds(model.trainer, 25, 0.1) == pytest.approx(25 * 2.0 * 1.1)
