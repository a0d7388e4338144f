"""Which steps are compiled, by what, and that evaluation is compiled as well."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from tests.train.support import class_data, flat, make
from xpnet import Trainer, nn, optim
from xpnet.errors import ConfigError, DivergedError
from xpnet.program.lowerings import base, blas_libraries
from xpnet.train import Callback, evaluation, steps
from xpnet.train.deadline import compiling_seconds

X, Y = class_data(23)
needs_numba = pytest.mark.skipif(not find_spec("numba"), reason="numba (extra jit) is not installed")


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Collects the lowering and the number of steps of each call; nothing is compiled."""
    seen: list[tuple[str, int]] = []

    class Watched(steps.Loop):
        def __init__(self, step, lower):
            super().__init__(step, "off")
            self.chosen = lower

        def __call__(self, carry, constants, sequences, **options):
            seen.append((self.chosen, len(sequences[0])))
            return super().__call__(carry, constants, sequences, **options)

    monkeypatch.setattr(steps, "Loop", Watched)
    return seen


def _worth(count: float, batch: int) -> float:
    """Return the share of the time for compiling that so many steps take."""
    model = make().model
    layout = model.init(0, X.shape[1], "numpy").params.layout
    seconds = steps.step_seconds(layout.size, batch, values=steps.widths(model, layout))
    return count * seconds / compiling_seconds(len(layout.names))


@needs_numba
def test_numba_is_for_steps_that_come_often_enough(lowered, monkeypatch) -> None:
    monkeypatch.setattr(steps, "WORTH_COMPILING", _worth(6.5, 10))
    trainer = make()
    trainer.fit(X, Y, epochs=8, batch_size=10)  # two steps and a ragged one
    whole, ragged = ["numpy"] * 2 + ["numba"] * 6, ["numpy"] * 6 + ["numba"] * 2
    assert lowered == [step for e in range(8) for step in ((whole[e], 2), (ragged[e], 1))]


@needs_numba
def test_a_resumed_run_goes_over_at_the_same_epoch(lowered, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(steps, "WORTH_COMPILING", _worth(6.5, 10))
    make().fit(X, Y, epochs=8, batch_size=10)
    straight = lowered.copy()
    lowered.clear()
    trainer = make()
    for epochs in (1, 4, 8):
        trainer.fit(X, Y, epochs=epochs, batch_size=10)
        trainer.save(tmp_path)
        trainer = Trainer.load(tmp_path, backend="numpy", progress=False)
    assert lowered == straight


@needs_numba
@pytest.mark.parametrize(("share", "expected"), [(0.9, "numba"), (1.1, "numpy")])
def test_a_training_that_its_schedule_spans_is_compiled_from_the_start(
    lowered, monkeypatch, share, expected
) -> None:
    monkeypatch.setattr(steps, "PLANNED_WORTH", share * _worth(24, 10))
    trainer = make(optimizer=optim.Adam(optim.Cosine(0.01, steps=24)), drop_last=True)
    for epochs in (1, 12):
        trainer.fit(X, Y, epochs=epochs, batch_size=10)
    assert lowered == [(expected, 2)] * 12


@pytest.mark.parametrize("name", ["generic", "numpy", "numba"])
def test_a_named_lowering_is_used_from_the_start(name, lowered) -> None:
    if name == "numba":
        pytest.importorskip("numba", reason="numba (extra jit) is not installed")
    make(compile=name).fit(X, Y, epochs=1, batch_size=10)
    assert {lower for lower, _ in lowered} == {name}


# What takes long to compile, and is compiled once for two tests.
COMPILED: dict[str, Any] = {"model": nn.MLP([5], 3, dropout=0.2), "dtype": "float64"}


@pytest.mark.full
@needs_numba
def test_numba_trains_as_the_functions_do() -> None:
    def trained(compile: str) -> Trainer:
        trainer = make(compile=compile, **COMPILED)
        trainer.fit(X, Y, epochs=6, batch_size=10, validation=(X, Y))
        return trainer

    one, other = trained("off"), trained("numba")
    np.testing.assert_allclose(flat(other), flat(one), rtol=1e-12)
    np.testing.assert_allclose(other.outputs(X), one.outputs(X), rtol=1e-10)


def test_a_lowering_that_is_not_there_does_not_keep_from_loading(monkeypatch, tmp_path) -> None:
    trainer = make(compile="numpy")
    trainer.fit(X, Y, epochs=1)
    trainer.save(tmp_path)
    assert Trainer.load(tmp_path, backend="numpy").compile == "numpy"
    assert Trainer.load(tmp_path, backend="array_api_strict").compile == "auto"


def test_numba_that_is_not_installed_is_named(monkeypatch) -> None:
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install numba"):
        make(compile="numba")


def test_evaluation_is_compiled_for_numbers_of_rows_that_come_again(monkeypatch) -> None:
    monkeypatch.setattr(evaluation, "_ROWS", 10)
    trainer = make(metrics=["accuracy"])
    trainer.fit(X, Y, epochs=1)
    plain = trainer.model.apply(trainer.variables, X)
    programs = trainer._evaluation._programs
    counts = []
    for _ in range(4):
        np.testing.assert_allclose(trainer.outputs(X), plain, rtol=1e-12)
        counts.append(programs["outputs", "auto"].recordings)
    assert counts == [2, 2, 2, 2]  # 10 rows and 3, both seen in the metrics of the epoch
    losses = [trainer.evaluate(X, Y)["loss"] for _ in range(4)]
    assert len(set(losses)) == 1
    assert programs["loss", "auto"].recordings == 1


def test_what_others_may_have_seen_is_not_overwritten(monkeypatch) -> None:
    donated = []

    class Watched(steps.Loop):
        def __call__(self, *args, donate, **options):
            donated.append(donate)
            return super().__call__(*args, donate=donate, **options)

    class Keeper(Callback):
        steps_apart = 2

        def on_step_end(self, trainer, step, steps):
            self.kept = trainer.variables.params.flat, flat(trainer)

    monkeypatch.setattr(steps, "Loop", Watched)
    monkeypatch.setattr(steps.CompiledSteps, "at_a_time", lambda self, plan: 3)
    for callbacks, expected in ((), [False, True, True, True] * 2), ([Keeper()], [False] * 10):
        donated.clear()
        trainer = make(callbacks=callbacks)
        trainer.fit(X, Y, epochs=1, batch_size=3)
        first, copied = trainer.variables.params.flat, flat(trainer)
        trainer.fit(X, Y, epochs=2, batch_size=3)  # seven steps and a ragged one
        np.testing.assert_array_equal(first, copied)
        assert donated == expected
    np.testing.assert_array_equal(*callbacks[0].kept)


@pytest.mark.parametrize("compile", ["off", "auto"])
def test_without_rollback_the_same_is_learnt(compile) -> None:
    def trained(**options) -> Trainer:
        trainer = make(compile=compile, restore_best=True, **options)
        for epochs in (2, 5):
            trainer.fit(X, Y, epochs=epochs, batch_size=10, validation=(X, (Y + 1) % 3))
        return trainer

    one, other = trained(), trained(rollback=False)
    assert one.best.epoch < 5  # its copy outlives what the epochs after it write over
    np.testing.assert_array_equal(flat(other), flat(one))
    np.testing.assert_array_equal(other.last.params.flat, one.last.params.flat)


def test_without_rollback_nothing_is_copied_and_interruptions_leave_things_as_they_are() -> None:
    class Interrupt(Callback):
        steps_apart = 1

        def on_step_end(self, trainer, step, steps):
            if trainer.epoch == 1 and step == 2:
                raise KeyboardInterrupt

    trainer = make(rollback=False)
    trainer.fit(X, Y, epochs=1, batch_size=10)
    first, before = trainer.variables.params.flat, flat(trainer)
    trainer.fit(X, Y, epochs=2, batch_size=10)
    assert trainer.variables.params.flat is first
    assert not np.array_equal(first, before)
    trainer = make(rollback=False, callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=3, batch_size=10)
    assert (trainer.epoch, trainer.step, len(trainer.history)) == (1, 5, 1)
    trainer.callbacks = []
    assert len(trainer.fit(X, Y, epochs=3, batch_size=10)) == 3


def test_divergence_without_rollback_names_step_and_layer() -> None:
    trainer = make(rollback=False, model=nn.MLP([5], 3), optimizer=optim.SGD(1e200))
    with pytest.raises(DivergedError, match=r"epoch 1, step \d: .* first not finite in .*No earlier state"):
        trainer.fit(X, Y, epochs=3, batch_size=10)


@pytest.mark.full
@pytest.mark.parametrize("name", ["generic", "numpy", pytest.param("numba", marks=needs_numba)])
def test_a_resumed_run_has_the_same_numbers(name, tmp_path) -> None:
    runs = []
    for stops in ((6,), (2, 6)):
        trainer = make(compile=name, metrics=["accuracy"])
        for epochs in stops:
            trainer.fit(X, Y, epochs=epochs, batch_size=10, validation=(X[:7], Y[:7]))
            trainer.save(tmp_path)
            last, trainer = trainer, Trainer.load(tmp_path, backend="numpy", progress=False)
        runs.append(last)
    straight, resumed = runs
    np.testing.assert_array_equal(flat(resumed), flat(straight))
    for column in ("loss", "validation_loss", "accuracy", "validation_accuracy"):
        assert resumed.history[column] == straight.history[column]


class BlasThreads(Callback):
    """Notes how many threads the BLAS has while a metric is computed, and at the end of epochs."""

    def __init__(self) -> None:
        self.measuring: list[int] = []
        self.after: list[int] = []

    def metric(self, outputs, targets):
        self.measuring.append(blas_libraries.threads())
        return np.asarray(0.0)

    def on_epoch_end(self, trainer, row):
        self.after.append(blas_libraries.threads())


@needs_numba
@pytest.mark.parametrize(
    ("name", "awake", "expected"), [("numba", 9.0, 1), ("numba", 0.0, 2), ("numpy", 9.0, 2)]
)
def test_the_blas_is_kept_quiet_between_epochs(name, awake, expected, monkeypatch) -> None:
    """During what is over sooner than its threads would be asleep again."""
    library = blas_libraries.load("openblas")
    if library is None:
        pytest.skip("NumPy does not call an OpenBLAS of its own here")
    monkeypatch.setattr(steps, "_BLAS_AWAKE", awake)
    before, watcher = library.get_threads(), BlasThreads()
    library.set_threads(2)
    try:
        trainer = make(compile=name, metrics=[watcher.metric], callbacks=[watcher], **COMPILED)
        trainer.fit(X, Y, epochs=3, batch_size=10, validation=(X, Y))
    finally:
        library.set_threads(before)
    assert set(watcher.measuring) == {expected}
    assert watcher.after == [2, 2, 2]
