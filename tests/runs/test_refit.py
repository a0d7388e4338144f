"""The last epochs on training and validation rows: their weights, where there are none, and what goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runs.test_runs import table
from xpnet import runs
from xpnet.errors import ConfigError, DivergedError
from xpnet.tabular import TableModel, defaults, refit
from xpnet.tabular.dataset import prepare
from xpnet.tabular.settings import Settings, settings_from
from xpnet.tabular.trainer import build_trainer, fit_trainer, open_backend, with_rate
from xpnet.train import Callback, Trainer, checkpoint_file
from xpnet.train import trainer as trainer_module

SHORT: dict[str, Any] = {
    "hidden": (4,),
    "learning_rate": 0.01,
    "backend": "numpy",
    "patience": 2,
    "min_steps": 1,
    "min_delta": 0.05,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(defaults, "REFIT_EPOCHS", 3)
    return tmp_path


def trained(**settings: Any) -> tuple[Any, Trainer]:
    """Return a table and the trainer after its training."""
    given = settings_from(Settings, {"data": "flowers", "target": "kind", **SHORT, **settings})
    prepared = prepare(with_rate(given), frame=table())
    trainer = build_trainer(prepared, open_backend(given))
    fit_trainer(trainer, prepared)
    return prepared, trainer


def flat(trainer: Trainer) -> np.ndarray:
    return np.array(trainer.variables.params.flat)


def refitting(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the first epoch with the validation rows end in an error."""

    def ended(setup: Any, state: Any) -> None:
        if setup.settings.swa_start is not None:
            raise error

    patch.setattr(trainer_module, "average_epoch", ended)


class Seen(Callback):
    """Keeps the parameters after each epoch."""

    def __init__(self) -> None:
        self.flats: list[np.ndarray] = []

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        self.flats.append(flat(trainer))


def test_the_weights_are_a_mean_over_epochs_on_all_rows_but_those_of_the_test() -> None:
    prepared, trainer = trained()
    best, before = trainer.best, flat(trainer)
    found = refit.refitted(trainer, prepared)
    assert np.array_equal(flat(trainer), before)
    other = trainer.copy()
    other.variables, other.epoch, other.step = (
        best.variables,
        best.epoch,
        trainer.history.rows[best.epoch - 1]["step"],
    )
    other.setup = other.setup.changed(patience=None, min_steps=None, min_delta=0.0)
    other.callbacks = [seen := Seen()]
    parts = prepared.parts["train"], prepared.parts["validation"]
    X, y = (np.concatenate([getattr(part, name) for part in parts]) for name in ("X", "y"))
    other.fit(X, y, epochs=best.epoch + 3, batch_size=prepared.settings.batch_size)
    np.testing.assert_allclose(flat(found), np.mean(seen.flats, axis=0), rtol=1e-5, atol=1e-7)
    assert (found.epoch, len(found.history)) == (best.epoch + 3, best.epoch + 3)


@pytest.mark.parametrize(
    "settings",
    [
        {"refit": False},
        {"epochs": 4},
        {"max_steps": 9},
        {"time_limit": 1e-6},
        {"schedule": "cosine", "patience": None, "min_steps": None, "min_delta": 0.0, "max_steps": 9},
        {"validation": 0.0, "patience": None, "min_steps": None, "min_delta": 0.0},
        {"optimizer": "l-bfgs", "min_steps": None, "learning_rate": None},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_where_validation_rows_have_not_ended_a_training_there_is_none(settings: dict[str, Any]) -> None:
    assert refit.refitted(*reversed(trained(**settings))) is None


def test_a_run_and_a_model_have_the_same_weights_and_a_kill_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = TableModel(**SHORT).fit(table(), "kind")
    run = runs.train(table(), "kind", "run", **SHORT)
    assert np.array_equal(flat(run.model.trainer), flat(model.trainer))

    with monkeypatch.context() as patch:
        refitting(patch, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt, match="is saved"):
            runs.train(table(), "kind", "other", **SHORT)
    other = runs.open("other", table()).resume()
    final = "checkpoints/final.safetensors"
    one, again = (checkpoint_file.read(Path(name) / final)[0] for name in ("run", "other"))
    assert all(np.array_equal(one[name], again[name]) for name in one)
    for name in ("metrics", "refit_epochs", "stopped"):
        assert run.results[name] == other.results[name]


def test_scores_of_validation_rows_are_those_of_weights_that_have_not_seen_them() -> None:
    run = runs.train(table(), "kind", "run", **SHORT)
    told = run.results
    best = told["best_epoch"]
    assert told["refit_epochs"] == 3
    assert told["metrics"]["validation"]["loss"] == pytest.approx(
        run.history.rows[best - 1]["validation_loss"], rel=1e-5
    )
    assert told["metrics"]["test"] == run.evaluate() != run.evaluate(checkpoint="best")
    assert run.model.trainer.epoch == best + 3
    with pytest.raises(ConfigError, match="found final"):
        run.prune(0.5, checkpoint="final")
    pruned = run.prune(0.5, "pruned", rounds=1, epochs=1, tolerance=None)
    assert pruned.folder.read_environment()["pruned_from"]["epoch"] == best
    assert run.resume(epochs=told["epochs_trained"] + 1, patience=99).results["refit_epochs"] == 0
    assert not run.folder.checkpoint("final").exists()  # of the training before


def test_epochs_that_diverge_are_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refitting(monkeypatch, DivergedError("the loss is nan"))
    run = runs.train(table(), "kind", "run", **SHORT)
    assert (run.results["refit_epochs"], "are given up" in caplog.text) == (0, True)
