"""Searches in Python: tables in memory, ensembles, and the time limit by a clock that is set forward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.runs.test_runs import table
from tests.runs.test_time_limits import Clock
from xpnet import runs
from xpnet.errors import DataError
from xpnet.runs import search
from xpnet.tabular.trainer import fit_trainer

pytest.importorskip("optuna")

FAST: dict[str, Any] = {"hidden": (8,), "backend": "numpy", "epochs": 2, "validation": 0.3}


def test_a_table_in_memory_and_an_ensemble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(search, "train_run", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"xpnet.runs.resume_tuning\('.*run'\)"):
            runs.tune(table(), "kind", out, trials=2, members=3, network="realmlp", **FAST)
    with pytest.raises(DataError, match="in memory"):
        runs.resume_tuning(out)
    found = runs.resume_tuning(out, table())
    assert found.run.settings.members == 3
    assert {"learning_rate", "one_hot_up_to"} < set(found.trials.columns)
    assert found.score == found.trials["validation_loss"].min()
    assert found.run.predict(table()).height == 60
    assert "2 trials, validation loss" in repr(found)


def test_with_folds_trials_have_one_of_them_for_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def fit(trainer: Any, prepared: Any, *args: Any) -> None:
        seen.append(prepared)
        fit_trainer(trainer, prepared, *args)

    monkeypatch.setattr(search, "fit_trainer", fit)
    settings = {"hidden": (8,), "backend": "numpy", "epochs": 2, "preset": "best"}
    found = runs.tune(table(), "kind", tmp_path / "run", trials=3, **settings)
    assert (found.run.settings.members, found.run.settings.folds) == (5, 5)
    for prepared in seen:
        rows = [set(part.rows.tolist()) for part in prepared.parts.values()]
        assert [len(part) for part in rows] == [38, 10, 12]
        assert len(set.union(*rows)) == 60


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("preset", "trials", "members"), [("fast", 6, 1), ("best", 2, 5)])
def test_the_time_limit_holds(
    preset: str, trials: int, members: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds for the table, twice; five for each trial; too little is left for eight members."""
    clock = Clock(monkeypatch)
    settings = {**FAST, "epochs": 5, "preset": preset}
    found = runs.tune(table(), "kind", tmp_path / "run", time_limit=80.0, **settings)
    assert clock.now <= 1000.0 + 80.0
    assert len(found.trials) >= trials
    assert (found.run.settings.members, found.run.results["epochs_trained"]) == (members, 5)


def test_too_little_time_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Clock(monkeypatch)
    found = runs.tune(table(), "kind", tmp_path / "run", time_limit=30.0, **{**FAST, "epochs": 40})
    assert found.trials["outcome"].to_list() == ["time limit"]
    assert "time_limit: nothing but the recipe was tried" in caplog.text
