"""Rounds of pruning and retraining: what they reach, how they end, and that they can be interrupted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.prune.support import fitted, give_parameters
from tests.support import host, widest
from tests.train.support import assert_same_training, class_data, flat, value_data
from xpnet import Trainer, nn, optim
from xpnet.errors import ConfigError, DataError, DivergedError
from xpnet.prune import Pruned, magnitude_mask, profile, prune, sparsity_of
from xpnet.prune.report import timed
from xpnet.train import Callback

X, Y = class_data(60)
HELD_OUT = class_data(30, seed=1)
BRIEF = {"rounds": 3, "epochs_per_round": 2, "batch_size": 10, "tolerance": None}


def brief(trainer: Trainer, sparsity: float = 0.8, **options) -> Pruned:
    return prune(trainer, X, Y, **{"sparsity": sparsity, **BRIEF, **options})


@pytest.mark.parametrize("scope", ["normalized", "global", "layer"])
@pytest.mark.parametrize("schedule", ["cubic", "geometric", "linear"])
def test_sparsity_follows_the_schedule(scope, schedule):
    trainer = fitted()
    pruned = brief(trainer, 0.75, scope=scope, schedule=schedule)
    size = 3 * 12 + 12 * 8 + 8 * 3
    share = {
        "cubic": lambda t: 0.75 - 0.75 * (1 - t) ** 3,
        "geometric": lambda t: 1 - 0.25**t,
        "linear": lambda t: 0.75 * t,
    }[schedule]
    assert [row["round"] for row in pruned.rounds] == [0, 1, 2, 3]
    assert [row["epoch"] for row in pruned.rounds] == [3, 5, 7, 9]
    for row in pruned.rounds:
        assert row["sparsity"] == pytest.approx(share(row["round"] / 3), abs=2 / size)
        assert row["nonzero"] == round(size * (1 - row["sparsity"]))
    assert sparsity_of(trainer.variables) == pruned.sparsity == pruned.rounds[-1]["sparsity"]
    assert pruned.stopped == "the target is reached"
    assert pruned.trainer is trainer
    np.testing.assert_array_equal(flat(trainer)[trainer.mask == 0], 0)


def test_rows_tell_what_pruning_broke_and_retraining_mended():
    trainer = fitted(epochs=30)
    pruned = brief(trainer, rounds=2, epochs_per_round=20, validation=HELD_OUT)
    first, last = pruned.rounds[0], pruned.rounds[-1]
    assert first["pruned"] == first["retrained"]
    assert last["pruned"]["loss"] > last["retrained"]["loss"]
    assert last["retrained"] == trainer.evaluate(*HELD_OUT)
    assert trainer.best.loss == pytest.approx(last["retrained"]["loss"])


def test_every_backend(backend):
    trainer = Trainer(
        nn.MLP([6], 3), "softmax_cross_entropy", backend=backend, dtype=widest(backend), compile="off"
    )
    trainer.variables, trainer.input_shape = trainer.model.init(0, 3, backend, trainer.dtype), (3,)
    pruned = prune(trainer, X, Y, sparsity=0.5, rounds=1, epochs_per_round=2, decay=True)
    assert pruned.rounds[-1]["nonzero"] == 18
    assert np.sum(host(trainer.variables.params.flat) == 0) >= 18


def test_the_bits_are_those_of_the_parts_by_hand():
    trainer, other = fitted(), fitted()
    prune(trainer, X, Y, sparsity=0.5, rounds=1, epochs_per_round=4, batch_size=10)
    other.set_mask(magnitude_mask(other.variables, 0.5, model=other.model))
    other.fit(X, Y, epochs=7, batch_size=10)
    assert_same_training(trainer, other)


def test_weights_decay_linearly():
    # with a learning rate of nearly 0 nothing else moves them
    trainer = fitted(optimizer=optim.SGD(0.05))
    trainer.optimizer = optim.SGD(1e-12)
    before, seen = flat(trainer), []
    mask = magnitude_mask(trainer.variables, 0.5, model=trainer.model)

    class Watch(Callback):
        def on_epoch_end(self, trainer, row):
            seen.append(flat(trainer))

    trainer.callbacks = [Watch()]
    prune(trainer, X, Y, sparsity=0.5, rounds=1, epochs_per_round=5, decay=True)
    for epoch, parameters in enumerate(seen, 1):
        want = np.where(mask == 1, before, before * (1 - epoch / 5))
        np.testing.assert_allclose(parameters, want, atol=1e-9)
    assert np.all(seen[-1][mask == 0] == 0)
    np.testing.assert_array_equal(trainer.mask, mask)


@pytest.mark.parametrize(("model", "widths"), [
    (nn.MLP([12, 8], 3), [[12, 8], [4, 3], [2, 2], [2, 2]]),
    (nn.MLP([12], 3, batch_norm=True, dropout=0.1), [[12], [4], [2], [2]]),
])  # fmt: skip
def test_units_go_in_rounds(model, widths):
    trainer = fitted(model=model)
    pruned = brief(trainer, 0.9, scope="unit")
    assert [row["widths"] for row in pruned.rounds] == widths
    assert pruned.rounds[-1]["sparsity"] == 1 - sum(widths[-1]) / sum(widths[0])
    assert pruned.report.after.bytes < pruned.report.before.bytes
    assert trainer.outputs(X).shape == (60, 3)


@pytest.mark.parametrize(("scope", "metric", "tolerance"), [
    ("global", "accuracy", 0.05), ("normalized", "accuracy", 0.02), ("unit", "loss", 0.5),
])  # fmt: skip
def test_a_round_that_the_validation_rows_suffer_from_is_taken_back(scope, metric, tolerance, caplog):
    trainer, same = fitted(epochs=40), fitted(epochs=40)
    options = {"scope": scope, "schedule": "linear", "rounds": 5, "epochs_per_round": 1}
    options |= {"sparsity": 0.97, "validation": HELD_OUT, "monitor": metric}
    pruned = brief(trainer, tolerance=tolerance, **options)
    *kept, last = pruned.rounds
    assert pruned.stopped.startswith(f"{metric} suffered by more than {tolerance} in round {last['round']} (")
    assert not pruned.reached
    assert [record.message for record in caplog.records if "before its target" in record.message] == [
        pruned.missed
    ]
    assert all(row["kept"] for row in kept)
    assert not last["kept"]
    before, after = (row["retrained"][metric] for row in (pruned.rounds[0], last))
    if metric == "accuracy":
        assert after < before - tolerance
        assert all(row["retrained"]["accuracy"] >= before - tolerance - 1e-6 for row in kept)
    else:
        assert after > before * (1 + tolerance)
    assert pruned.sparsity == kept[-1]["sparsity"]
    assert len(kept) > 1
    # it stands where a pruning of so many rounds ends
    brief(same, on_round=lambda done: len(done.rounds) == len(kept), **options)
    assert_same_training(trainer, same)
    np.testing.assert_array_equal(flat(trainer), flat(same))
    assert (trainer.mask is None) == (same.mask is None)
    assert trainer.evaluate(*HELD_OUT) == kept[-1]["retrained"]


def test_the_loss_is_monitored_where_it_is_asked_for():
    pruned = brief(fitted(epochs=40), 0.95, tolerance=0.0, monitor="loss", validation=HELD_OUT)
    assert pruned.stopped.startswith("loss suffered by more than 0 in round")
    values = fitted_on_values()
    options = {**BRIEF, "sparsity": 0.95, "tolerance": 0.01, "validation": 0.3}
    pruned = prune(values, *value_data(60), **options)
    assert pruned.stopped.startswith("r2 suffered")
    values = fitted_on_values("rmse")
    pruned = prune(values, *value_data(60), monitor="rmse", **options)
    assert pruned.stopped.startswith("rmse suffered")
    rows = [row["retrained"]["rmse"] / pruned.rounds[0]["retrained"]["rmse"] - 1 for row in pruned.rounds]
    assert rows[-1] > 0.01
    assert all(rise <= 0.01 for rise in rows[:-1])


def fitted_on_values(metric: str = "r2") -> Trainer:
    trainer = Trainer(nn.MLP([12], 1), "squared_error", optim.Adam(0.05), backend="numpy", metrics=[metric])
    trainer.fit(*value_data(60), epochs=30)
    return trainer


class Stop(Callback):
    """Raises an error in a given epoch."""

    def __init__(self, epoch: int, error: BaseException):
        self.epoch, self.error = epoch, error

    def on_epoch_end(self, trainer, row):
        if row["epoch"] == self.epoch:
            raise self.error


@pytest.mark.full
@pytest.mark.parametrize("rollback", [True, False])
@pytest.mark.parametrize("options", [{}, {"scope": "unit"}, {"decay": True}, {"restart": True}], ids=str)
def test_an_interrupted_pruning_goes_on_to_the_same_bits(options, rollback, tmp_path):
    whole = fitted(model=nn.MLP([12, 8], 3, batch_norm=True, dropout=0.1), rollback=rollback)
    part = fitted(model=nn.MLP([12, 8], 3, batch_norm=True, dropout=0.1), rollback=rollback)
    want = brief(whole, validation=HELD_OUT, **options)
    states = []

    def keep(done: Pruned) -> None:
        states.append(json.dumps(done.to_dict()))

    part.callbacks = [Stop(8, KeyboardInterrupt())]  # within the third round
    with pytest.raises(KeyboardInterrupt):
        brief(part, validation=HELD_OUT, on_round=keep, **options)
    assert len(states) == 3
    assert part.epoch == 7
    part.save(tmp_path)
    loaded = Trainer.load(tmp_path, "numpy", rollback=rollback)
    got = brief(loaded, validation=HELD_OUT, resume=json.loads(states[-1]), **options)
    assert_same_training(loaded, whole)
    assert got.rounds == want.rounds
    assert got.stopped == want.stopped


def test_a_pruning_that_has_ended_is_not_repeated():
    trainer = fitted()
    done = brief(trainer)
    before = flat(trainer)
    again = brief(trainer, resume=json.loads(json.dumps(done.to_dict())))
    assert again.rounds == done.rounds
    assert again.after == done.after
    np.testing.assert_array_equal(flat(trainer), before)


def test_resuming_with_another_trainer_is_refused():
    states = []
    brief(fitted(), on_round=lambda done: states.append(done.to_dict()))
    with pytest.raises(ConfigError, match="as it was after round 1 of 3, in epoch 5, found epoch 3"):
        brief(fitted(), resume=states[1])


@pytest.mark.parametrize("state", [{}, {"rounds": []}, [], "state.json"])
def test_resuming_from_something_else_is_refused(state):
    with pytest.raises(ConfigError, match="resume: expected what to_dict of a pruning gave"):
        brief(fitted(), resume=state)


def test_diverged_retraining_leaves_the_last_whole_round():
    trainer = fitted(optimizer=optim.SGD(0.05))

    def break_it(done: Pruned) -> None:
        if len(done.rounds) == 3:
            trainer.optimizer = optim.SGD(1e200)

    with pytest.raises(DivergedError):
        brief(trainer, on_round=break_it)
    other = fitted(optimizer=optim.SGD(0.05))
    done = brief(other, on_round=lambda done: len(done.rounds) == 3)
    assert done.stopped == "as on_round asked for"
    np.testing.assert_array_equal(flat(trainer), flat(other))
    np.testing.assert_array_equal(trainer.mask, other.mask)
    assert trainer.epoch == other.epoch == 7
    assert len(trainer.history) == 7


def test_patience_and_the_best_weights_begin_anew():
    trainer = _patient()
    assert trainer.epoch < 300  # patience was lost
    epoch, loss = trainer.epoch, trainer.best.loss
    pruned = brief(trainer, 0.95, rounds=2, epochs_per_round=2, validation=HELD_OUT)
    assert trainer.epoch == epoch + 4
    assert trainer.best.epoch > epoch
    assert trainer.best.loss > loss
    assert pruned.rounds[-1]["retrained"]["loss"] == pytest.approx(trainer.best.loss)
    assert sparsity_of(trainer.variables) == sparsity_of(trainer.best.variables) == pruned.sparsity


def _patient() -> Trainer:
    trainer = Trainer(nn.MLP([12], 3), "softmax_cross_entropy", optim.Adam(0.05), backend="numpy", patience=2)
    trainer.fit(X, Y, epochs=300, batch_size=10, validation=HELD_OUT)
    return trainer


def test_patience_counts_from_the_mask_after_loading_too(tmp_path):
    trainer = _patient()
    trainer.set_mask(magnitude_mask(trainer.variables, 0.9))
    epoch = trainer.epoch
    trainer.save(tmp_path)
    loaded = Trainer.load(tmp_path, "numpy")
    loaded.fit(X, Y, epochs=epoch + 5, batch_size=10, validation=HELD_OUT)
    assert loaded.epoch > epoch


def test_the_limit_of_steps_does_not_count_and_comes_back():
    trainer = fitted(max_steps=9)
    brief(trainer)
    assert trainer.max_steps == 9
    assert trainer.step > 9


@pytest.mark.parametrize(("rate", "restart", "fresh"), [
    (0.05, None, False), (optim.Cosine(0.05, steps=9), None, True), (0.05, True, True),
    (optim.Cosine(0.05, steps=99), False, False),
])  # fmt: skip
def test_when_the_optimizer_begins_anew(rate, restart, fresh):
    trainer = fitted(optimizer=optim.Adam(rate))
    steps = trainer.step
    brief(trainer, rounds=2, restart=restart)
    assert trainer.opt_state["step"] == (12 if fresh else steps + 24)


@pytest.mark.parametrize(
    "optimizer", ["sgd", "adamw", optim.SGD(0.05, momentum=0.9), "l-bfgs", "hessian-free"], ids=str
)
def test_every_kind_of_optimizer_retrains(optimizer):
    trainer = fitted(epochs=1, optimizer="adam")
    trainer.optimizer = optim.get(optimizer)
    pruned = brief(trainer, batch_size=None)
    assert sparsity_of(trainer.variables) == pruned.sparsity
    np.testing.assert_array_equal(flat(trainer)[trainer.mask == 0], 0)
    assert pruned.rounds[-1]["retrained"]["loss"] < pruned.rounds[-1]["pruned"]["loss"]


def test_weights_that_were_masked_before_stay_so():
    trainer = fitted()
    mask = np.ones(trainer.variables.params.layout.size)
    mask[36:48] = 0  # the first layer's biases
    trainer.set_mask(mask)
    brief(trainer)
    np.testing.assert_array_equal(trainer.variables.params["0.bias"], 0)


def test_nothing_to_do():
    trainer = fitted()
    brief(trainer, 0.5)
    before = sparsity_of(trainer.variables)
    pruned = brief(trainer, before, rounds=1)
    assert pruned.rounds[-1]["sparsity"] == before


@pytest.mark.parametrize("scope", ["normalized", "global", "layer"])
def test_no_layer_is_emptied(scope):
    trainer = fitted()
    give_parameters(trainer, w0_weight=1e-9)
    brief(trainer, 0.95, scope=scope)
    first, second, last = (trainer.variables.params[f"{number}.weight"] != 0 for number in (0, 2, 4))
    assert np.all((first.astype(int) @ second @ last).sum(axis=0) >= 2)


def test_the_report_reads_as_a_table():
    trainer = fitted(epochs=20)
    pruned = brief(trainer, 0.9, test=HELD_OUT)
    report = pruned.report
    assert report.after.metrics == trainer.evaluate(*HELD_OUT)
    lines = str(report).splitlines()
    assert lines[0].split() == ["before", "after", "change"]
    assert len({len(line) for line in lines}) == 1
    table = {line.split("  ")[0]: line for line in lines}
    size = 3 * 12 + 12 * 8 + 8 * 3
    assert f"{size}" in table["weights that are not 0"]
    assert table["weights that are not 0"].split()[-3:] == [str(size), "16", "-89.7%"]
    assert "points" in table["accuracy"]
    assert report.before.bytes == report.after.bytes == 8 * trainer.variables.params.layout.size
    assert report.after.sparse_bytes < report.after.bytes
    for found in (report.before, report.after):
        assert found.rows == 30
        assert found.milliseconds > 0
        assert found.sparse_milliseconds > 0
    assert json.loads(json.dumps(report.to_dict()))["after"]["nonzero"] == 16


def test_networks_take_turns_when_they_are_timed(monkeypatch):
    one, other = fitted(), fitted(model=nn.MLP([100], 3))
    calls = []
    for trainer in (one, other):
        monkeypatch.setattr(trainer, "outputs", lambda x, t=trainer: calls.append((t, x)))
    monkeypatch.setattr("xpnet.prune.report.find_spec", lambda name: None)
    profiles = [profile(trainer, X, Y, repeats=0) for trainer in (one, other)]
    assert [found.milliseconds for found in profiles] == [None, None]
    times = [found.milliseconds for found in timed([one, other], profiles, X, repeats=5)]
    assert [trainer for trainer, _ in calls] == [one, other] * 8  # of which three are not counted
    assert all(x is calls[0][1] for _, x in calls)
    assert all(time > 0 for time in times)


def test_a_pruning_that_goes_on_shows_no_times():
    states = []
    part = fitted()
    brief(part, on_round=lambda done: states.append(done.to_dict()) or len(states) == 2)
    report = brief(part, resume=states[1]).report
    assert report.after.milliseconds is None
    assert "milliseconds" not in str(report)


def test_the_report_without_scipy(monkeypatch):
    monkeypatch.setattr("xpnet.prune.report.find_spec", lambda name: None)
    report = brief(fitted(), rounds=1).report
    assert report.after.sparse_bytes is report.after.sparse_milliseconds is None
    line = next(line for line in str(report).splitlines() if line.startswith("bytes, sparse"))
    assert line.split()[-3:] == ["-", "-", "-"]


def test_no_report_before_the_end():
    seen = []
    brief(fitted(), on_round=lambda done: seen.append(done.after))
    assert seen == [None] * 4
    with pytest.raises(ConfigError, match="expected a pruning that has ended"):
        _ = Pruned(None, [], None).report


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, "sparsity: expected a number of at least 0 and below 1, found 1.0"),
        ({"sparsity": 90}, "sparsity: .*found 90"),
        ({"rounds": 0}, "rounds: expected a whole number of at least 1, found 0"),
        ({"epochs_per_round": 0}, "epochs_per_round: expected a whole number"),
        ({"scope": "units"}, "scope: .*did you mean 'unit'"),
        ({"schedule": "cubc"}, "schedule: .*did you mean 'cubic'"),
        ({"tolerance": -0.01}, "tolerance: expected a finite number of at least 0"),
        ({"monitor": "r2"}, "monitor: expected 'loss' or 'accuracy', found 'r2'"),
        ({"decay": True, "scope": "unit"}, "decay: expected a scope of weights, found 'unit'"),
        ({"decay": True, "epochs_per_round": 1}, "decay: expected at least 2 epochs_per_round"),
        ({"criterion": "outgoing"}, "criterion: expected scope 'unit', found 'normalized'"),
        ({"criterion": "size", "scope": "unit"}, "criterion: expected 'norm'"),
        ({"restart": 1}, "restart: expected True or False"),
        ({"batch_size": 1000}, "batch_size: expected at most the 60 training rows"),
        ({"validation": "some"}, "validation: expected a fraction or a pair"),
    ],
)
def test_contradictions(options, message):
    trainer, same = fitted(), fitted()
    with pytest.raises(ConfigError, match=message):
        brief(trainer, **options)
    assert_same_training(trainer, same)
    assert trainer.mask is None


def test_what_cannot_be_pruned():
    with pytest.raises(ConfigError, match="expected a trainer that has been trained"):
        brief(Trainer(nn.MLP([4], 3), "softmax_cross_entropy", backend="numpy"))
    with pytest.raises(ConfigError, match="expected a model with a hidden Dense layer"):
        brief(fitted(model=nn.MLP([], 3)), scope="unit")
    trainer = fitted()
    brief(trainer, 0.8)
    with pytest.raises(ConfigError, match=r"expected at least the 0\.80\d+ that is there already, found 0.5"):
        brief(trainer, 0.5)
    with pytest.raises(DataError, match=r"expected \(batch, 3\)"):
        prune(trainer, X[:, :2], Y, sparsity=0.9)
