"""Schedules: formulas, torch.optim.lr_scheduler, the notes' convergence bound, bad values, JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields

import numpy as np
import pytest

from xpnet import optim
from xpnet.errors import ConfigError


def _flat_cos(t):
    return np.where(t <= 0.5, 1.0, 0.5 * (1 + np.cos(np.pi * (2 * t - 1))))


def _coslog(t, cycles):
    return 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + (2**cycles - 1) * t)))


# (schedule, formula of the step k counted from 1); each registered schedule has at least one row.
TABLE = [
    (optim.Constant(0.3), lambda k: np.full(k.shape, 0.3)),
    (optim.Inverse(0.3), lambda k: 0.3 / k),
    (optim.Inverse(0.3, decay=0.1), lambda k: 0.3 / (1 + 0.1 * (k - 1))),
    (optim.Inverse.strongly_convex(4.0), lambda k: 1 / (2 * 4.0 * k)),
    (optim.Step(0.3, every=7), lambda k: 0.3 * 0.1 ** np.floor((k - 1) / 7)),
    (optim.Step(0.3, every=1, factor=0.5), lambda k: 0.3 * 0.5 ** (k - 1)),
    (optim.Exponential(0.3, factor=0.9), lambda k: 0.3 * 0.9 ** (k - 1)),
    (optim.Exponential(0.3, factor=0.9, every=10), lambda k: 0.3 * 0.9 ** ((k - 1) / 10)),
    (optim.Cosine(0.3, steps=20), lambda k: 0.15 * (1 + np.cos(np.pi * np.minimum(k - 1, 20) / 20))),
    (
        optim.Cosine(0.3, steps=20, final=0.1),
        lambda k: 0.1 + 0.1 * (1 + np.cos(np.pi * np.minimum(k - 1, 20) / 20)),
    ),
    (optim.FlatCosine(0.3, steps=20), lambda k: 0.3 * _flat_cos(np.minimum(k - 1, 20) / 20)),
    (
        optim.FlatCosine(0.3, steps=20, flat=0.0),
        lambda k: 0.15 * (1 + np.cos(np.pi * np.minimum(k - 1, 20) / 20)),
    ),
    (optim.CosLog(0.3, steps=20), lambda k: 0.3 * _coslog(np.minimum(k - 1, 20) / 20, 4)),
    (optim.CosLog(0.3, steps=7, cycles=1), lambda k: 0.3 * _coslog(np.minimum(k - 1, 7) / 7, 1)),
    (optim.WarmUp(0.3, steps=5), lambda k: 0.3 * np.minimum(k / 5, 1)),
    (
        optim.WarmUp(optim.Inverse(0.3), steps=5),
        lambda k: np.where(k <= 5, 0.3 * k / 5, 0.3 / np.maximum(k - 5, 1)),
    ),
]
EVERY = pytest.mark.parametrize("schedule", [row[0] for row in TABLE], ids=repr)


def test_every_registered_schedule_is_in_the_table():
    assert {type(row[0]) for row in TABLE} == set(optim.SCHEDULES.values())
    assert all(getattr(optim, made.__name__) is made for made in optim.SCHEDULES.values())


@pytest.mark.parametrize(
    ("schedule", "formula"), TABLE, ids=lambda v: repr(v) if isinstance(v, optim.Schedule) else ""
)
def test_formula(schedule, formula):
    steps = np.arange(1, 61)
    rates = [schedule(int(k)) for k in steps]
    assert all(type(r) is float for r in rates)
    np.testing.assert_allclose(rates, formula(steps.astype(float)), rtol=1e-12, atol=1e-15)


@EVERY
def test_rates_stay_finite_and_not_negative(schedule):
    for step in (1, 2, 10**3, 10**6, 10**9):
        assert 0.0 <= schedule(step) < math.inf
        assert optim.SGD(schedule).learning_rate_at(step) == schedule(step)


def torch_rates(make, steps: int) -> list[float]:
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "make", "steps"),
    [
        (optim.Constant(0.3), lambda s, o: s.ConstantLR(o, factor=1.0), 60),
        (optim.Inverse(0.3), lambda s, o: s.LambdaLR(o, lambda epoch: 1 / (1 + epoch)), 60),
        (optim.Step(0.3, every=7, factor=0.4), lambda s, o: s.StepLR(o, step_size=7, gamma=0.4), 60),
        (optim.Exponential(0.3, factor=0.9), lambda s, o: s.ExponentialLR(o, gamma=0.9), 60),
        (
            optim.Cosine(0.3, steps=20, final=0.01),
            lambda s, o: s.CosineAnnealingLR(o, T_max=20, eta_min=0.01),
            21,  # torch's rate rises again after that
        ),
        (
            optim.WarmUp(optim.Exponential(0.3, factor=0.9), steps=5),
            lambda s, o: s.SequentialLR(
                o,
                [s.LinearLR(o, start_factor=1 / 5, total_iters=4), s.ExponentialLR(o, gamma=0.9)],
                milestones=[5],
            ),
            60,
        ),
    ],
    ids=lambda v: repr(v) if isinstance(v, optim.Schedule) else "",
)
def test_agrees_with_torch(schedule, make, steps):
    rates = [schedule(k) for k in range(1, steps + 1)]
    np.testing.assert_allclose(rates, torch_rates(make, steps), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("coslog4", optim.CosLog(1.0, steps=40)),
        ("coslog2", optim.CosLog(1.0, steps=40, cycles=2)),
        ("flat_cos", optim.FlatCosine(1.0, steps=40)),
        ("cos", optim.Cosine(1.0, steps=40)),
    ],
)
def test_agrees_with_pytabkit(name, schedule):
    """Step k of n has what pytabkit's schedule gives for the progress (k - 1) / n."""
    scheduling = pytest.importorskip(
        "pytabkit.models.training.scheduling", reason="pytabkit is not installed: nothing to compare with"
    )
    theirs = scheduling.get_schedule(name)
    rates = [schedule(k) for k in range(1, 41)]
    np.testing.assert_allclose(rates, [theirs.call_time_((k - 1) / 40) for k in range(1, 41)], atol=1e-12)


def test_the_notes_bound_on_a_strongly_convex_loss():
    """E‖w_n - w*‖² ≤ S/(n-1) Σ_{j<n} 1/j with S = M²/(2ℓ)², for α_k = 1/(2ℓk) (lecture note 001)."""
    strength, steps = 0.5, 12
    optimizer = optim.SGD(optim.Inverse.strongly_convex(strength))
    # The loss ℓw²/2, w* = 0, gradients with a noise of ±1: every sequence of signs is one descent,
    # so that means over all of them are the expectations themselves.
    signs = 2.0 * ((np.arange(2**steps)[:, None] >> np.arange(steps)) & 1) - 1.0
    w = np.full(2**steps, 3.0)
    state = optimizer.init(w)
    errors, squared_gradients = [], []
    for noise in signs.T:
        g = strength * w + noise
        w, state = optimizer.update(g, state, w)
        errors.append(np.mean(w * w))
        squared_gradients.append(np.mean(g * g))
    s = max(squared_gradients) / (2 * strength) ** 2
    bounds = [s / (n - 1) * sum(1 / j for j in range(1, n)) for n in range(2, steps + 2)]
    assert (np.asarray(errors) <= np.asarray(bounds) * (1 + 1e-12)).all()
    assert errors[-1] < 0.2 * errors[0]


def test_any_callable_is_a_schedule():
    optimizer = optim.SGD(lambda step: 1.0 / step**2)
    assert [optimizer.learning_rate_at(k) for k in (1, 2)] == [1.0, 0.25]
    assert optim.WarmUp(lambda step: 1.0 / step, steps=2)(4) == 0.5


NOT_POSITIVE = [0.0, -0.1, math.nan, math.inf, "0.1", None, True]
NOT_COUNTS = [0, -1, 1.5, 10.0, math.nan, "3", None, True]
BAD = [
    *((optim.Constant, {"learning_rate": value}) for value in NOT_POSITIVE),
    *((optim.Inverse, {"learning_rate": value}) for value in NOT_POSITIVE),
    *((optim.Inverse, {"learning_rate": 0.1, "decay": value}) for value in NOT_POSITIVE),
    *((optim.Step, {"learning_rate": value, "every": 3}) for value in NOT_POSITIVE),
    *((optim.Step, {"learning_rate": 0.1, "every": value}) for value in NOT_COUNTS),
    *((optim.Step, {"learning_rate": 0.1, "every": 3, "factor": value}) for value in NOT_POSITIVE),
    *((optim.Exponential, {"learning_rate": value, "factor": 0.9}) for value in NOT_POSITIVE),
    *((optim.Exponential, {"learning_rate": 0.1, "factor": value}) for value in NOT_POSITIVE),
    *((optim.Exponential, {"learning_rate": 0.1, "factor": 0.9, "every": value}) for value in NOT_COUNTS),
    *((optim.Cosine, {"learning_rate": value, "steps": 5}) for value in NOT_POSITIVE),
    *((optim.Cosine, {"learning_rate": 0.1, "steps": value}) for value in NOT_COUNTS),
    *(
        (optim.Cosine, {"learning_rate": 0.1, "steps": 5, "final": value})
        for value in (-0.1, math.nan, "x", 0.2)
    ),
    *(
        (made, {"learning_rate": value, "steps": 5})
        for made in (optim.FlatCosine, optim.CosLog)
        for value in NOT_POSITIVE
    ),
    *(
        (made, {"learning_rate": 0.1, "steps": value})
        for made in (optim.FlatCosine, optim.CosLog)
        for value in NOT_COUNTS
    ),
    *((optim.FlatCosine, {"learning_rate": 0.1, "steps": 5, "flat": value}) for value in (1.0, -0.1, "x")),
    *((optim.CosLog, {"learning_rate": 0.1, "steps": 5, "cycles": value}) for value in [*NOT_COUNTS, 51]),
    *((optim.WarmUp, {"schedule": value, "steps": 5}) for value in [*NOT_POSITIVE, optim.Cosine]),
    *((optim.WarmUp, {"schedule": 0.1, "steps": value}) for value in NOT_COUNTS),
]


@pytest.mark.parametrize(("made", "options"), BAD, ids=lambda v: getattr(v, "__name__", None) or repr(v)[:60])
def test_bad_settings_are_refused_at_construction(made, options):
    with pytest.raises(ConfigError, match=rf"^{made.__name__}: .* found"):
        made(**options)


def test_every_setting_of_every_schedule_is_checked():
    refused = {(made, option) for made, options in BAD for option in options}
    assert {(made, f.name) for made in optim.SCHEDULES.values() for f in fields(made)} <= refused


@pytest.mark.parametrize("strength", NOT_POSITIVE)
def test_a_strength_that_is_none(strength):
    with pytest.raises(ConfigError, match=r"Inverse\.strongly_convex: strength"):
        optim.Inverse.strongly_convex(strength)


@EVERY
def test_configuration_round_trip(schedule):
    config = json.loads(json.dumps(schedule.to_config(), allow_nan=False))
    assert config["name"] == type(schedule).name
    assert optim.Schedule.from_config(config) == schedule
    assert optim.get("adam", learning_rate=config) == optim.Adam(schedule)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "cosin", "learning_rate": 0.1}, r"unknown schedule 'cosin'; did you mean 'cosine'\?"),
        (
            {"name": "cosine", "learning_rate": 0.1},
            r"Cosine needs the option 'steps', found \['learning_rate'\]",
        ),
        (
            {"name": "step", "learning_rate": 0.1, "evry": 3},
            r"Step has no option 'evry'; did you mean 'every'\?",
        ),
        ({"learning_rate": 0.1}, "schedule: expected a table with 'name'"),
        ({"name": "adam"}, "unknown schedule 'adam'"),
    ],
)
def test_bad_configurations(config, message):
    with pytest.raises(ConfigError, match=message):
        optim.Schedule.from_config(config)
    with pytest.raises(ConfigError, match=message):
        optim.SGD(config)


def test_a_schedule_of_ones_own(monkeypatch):
    monkeypatch.setattr(optim.Schedule, "known", dict(optim.SCHEDULES))

    @dataclass(frozen=True)
    class Halving(optim.Schedule, name="halving"):
        learning_rate: float

        def __call__(self, step: int) -> float:
            return self.learning_rate * 0.5**step

    optimizer = optim.SGD(Halving(1.0))
    assert optimizer.learning_rate_at(2) == 0.25
    assert optim.get(optimizer.to_config()) == optimizer
