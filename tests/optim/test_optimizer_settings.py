"""Settings of optimizers: bad values, names, configurations, and optimizers of one's own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from xpnet import optim
from xpnet.configured import POSITIVE
from xpnet.errors import ConfigError

NOT_RATES = [0.0, -0.1, math.nan, math.inf, "0.1", None, True, 10**400, [0.1], optim.Cosine]
NOT_FRACTIONS = [1.0, -0.1, 2, math.nan, "0.9", None, True]
NOT_POSITIVE = [0.0, -1e-8, math.nan, math.inf, "x", None]
BAD = [
    *((made, {"learning_rate": value}) for made in optim.OPTIMIZERS.values() for value in NOT_RATES),
    *((optim.SGD, {"momentum": value}) for value in NOT_FRACTIONS),
    *((optim.SGD, {"nesterov": value, "momentum": 0.9}) for value in ["yes", 1, None]),
    (optim.SGD, {"nesterov": True}),
    *((made, {"rho": value}) for made in (optim.AdaDelta, optim.RMSProp) for value in NOT_FRACTIONS),
    *((made, {"beta1": value}) for made in (optim.Adam, optim.AdamW) for value in NOT_FRACTIONS),
    *((made, {"beta2": value}) for made in (optim.Adam, optim.AdamW) for value in NOT_FRACTIONS),
    *(
        (made, {"epsilon": value})
        for made in optim.OPTIMIZERS.values()
        for value in NOT_POSITIVE
        if made is not optim.SGD
    ),
    *((optim.AdamW, {"weight_decay": value}) for value in (-0.1, math.nan, math.inf, "x")),
]


@pytest.mark.parametrize(("made", "options"), BAD, ids=lambda v: getattr(v, "__name__", None) or repr(v)[:40])
def test_bad_settings_are_refused_at_construction(made, options):
    with pytest.raises(ConfigError, match=rf"^{made.__name__}: .*{'|'.join(options)}") as caught:
        made(**options)
    assert "found" in str(caught.value)
    with pytest.raises(ConfigError):
        optim.get(made.name, **options)


def test_every_setting_of_every_optimizer_is_checked():
    refused = {(made, option) for made, options in BAD for option in options}
    for made in optim.OPTIMIZERS.values():
        assert {(made, option) for option in made.__dataclass_fields__} <= refused


def test_numbers_become_python_floats():
    optimizer = optim.Adam(np.float32(0.5), beta1=np.float64(0.5), beta2=0)
    assert [type(x) for x in (optimizer.learning_rate, optimizer.beta1, optimizer.beta2)] == [float] * 3
    params = np.ones(2, dtype=np.float32)
    schedule = optim.SGD(lambda step: np.float64(0.1))
    assert schedule.update(params, schedule.init(params), params)[0].dtype == np.float32


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf, "0.1", None, [0.1]])
def test_a_schedule_that_gives_no_rate(rate):
    optimizer = optim.SGD(lambda step: rate if step == 3 else 0.1)
    params = np.ones(1)
    state = optimizer.init(params)
    for _ in range(2):
        params, state = optimizer.update(params, state, params)
    with pytest.raises(ConfigError, match=r"SGD: expected a .* at step 3"):
        optimizer.update(params, state, params)


def test_settings_cannot_be_changed_and_compare_by_value():
    with pytest.raises(AttributeError):
        optim.Adam().beta1 = 0.5  # type: ignore[misc]
    assert optim.Adam(0.1) == optim.Adam(0.1) != optim.Adam(0.2)
    assert len({optim.Adam(optim.Cosine(0.1, 5)), optim.Adam(optim.Cosine(0.1, 5))}) == 1


def test_get():
    assert optim.get("adam") == optim.get("Adam") == optim.get("ADAM") == optim.Adam()
    assert optim.get("sgd", learning_rate=0.5, momentum=0.9) == optim.SGD(0.5, 0.9)
    assert optim.get({"name": "sgd", "momentum": 0.5}, momentum=0.9) == optim.SGD(momentum=0.9)
    cosine = {"name": "cosine", "learning_rate": 0.5, "steps": 10}
    assert optim.get("sgd", learning_rate=cosine) == optim.SGD(optim.Cosine(0.5, 10))
    optimizer = optim.RMSProp()
    assert optim.get(optimizer) is optimizer
    for name, made in optim.OPTIMIZERS.items():
        assert optim.get(name) == made()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optim.get("adm"), r"unknown optimizer 'adm'; did you mean 'adam'\?"),
        (lambda: optim.get("zzz"), "unknown optimizer 'zzz'; known: adadelta, adagrad"),
        (lambda: optim.get(""), "unknown optimizer ''"),
        (lambda: optim.get(None), "expected a name, a table or an Optimizer object such as .*found None"),
        (lambda: optim.get(optim.Adam), "found <class.*did you mean 'adam'"),
        (lambda: optim.get(0.1), "optimizer: expected a name"),
        (lambda: optim.get(optim.Adam(), learning_rate=0.1), r"options \['learning_rate'\] go with a name"),
        (lambda: optim.get("adam", lr=0.1), "Adam has no option 'lr'"),
        (lambda: optim.get("adam", beta_1=0.1), r"Adam has no option 'beta_1'; did you mean 'beta1'\?"),
        (lambda: optim.get({"learning_rate": 0.1}), "optimizer: expected a table with 'name'"),
        (lambda: optim.get({"name": 3}), "unknown optimizer 3"),
        (lambda: optim.get({"name": "cosine"}), "unknown optimizer 'cosine'"),
        (
            lambda: optim.Optimizer.from_config("adam"),
            "optimizer: expected a table with 'name'.*found 'adam'",
        ),
        (
            lambda: optim.SGD.from_config({"name": "adam"}),
            "expected a configuration of SGD, found one of Adam",
        ),
        (
            lambda: optim.get("sgd", learning_rate={"name": "cosin"}),
            "unknown schedule 'cosin'; did you mean 'cosine'",
        ),
    ],
)
def test_unknown_names_and_options(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(ConfigError, match=r"SGD: learning_rate = <function.*cannot be written.*class Mine\("):
        optim.SGD(lambda step: 0.1).to_config()
    with pytest.raises(ConfigError, match=r"WarmUp: schedule = .*cannot be written"):
        optim.SGD(optim.WarmUp(lambda step: 0.1, steps=3)).to_config()


def test_an_optimizer_of_ones_own(monkeypatch):
    monkeypatch.setattr(optim.Optimizer, "known", dict(optim.OPTIMIZERS))

    def define(qualname: str, *, name: str | None) -> type[optim.Optimizer]:
        body = {
            "__module__": __name__,
            "__qualname__": qualname,
            "__annotations__": {"learning_rate": float},
            "learning_rate": field(default=0.5, metadata=POSITIVE),
            "slots": ("seen",),
            "rule": lambda self, g, slots, p, learning_rate, step: (p - learning_rate * g, (slots[0] + 1.0,)),
        }
        options = {} if name is None else {"name": name}
        return dataclass(frozen=True)(type(optim.Optimizer)(qualname, (optim.Optimizer,), body, **options))

    mine = define("Mine", name="mine")
    params, state = mine().update([np.ones(1)], mine().init([np.ones(1)]), [np.ones(1)])
    assert (params, state) == ([0.5], {"step": 1, "seen": [1.0]})
    assert optim.get("mine", learning_rate=2) == mine(2.0)
    assert optim.get(mine(3.0).to_config()) == mine(3.0)
    assert optim.get("mine") != define("Mine", name="mine")()  # the cell run again
    with pytest.raises(
        ConfigError, match=r"optimizer Other: the name 'mine' already belongs to .*Mine; choose"
    ):
        define("Other", name="mine")
    with pytest.raises(ConfigError, match="expected a lower-case name, found 'Other'"):
        define("Other", name="Other")
    with pytest.raises(ConfigError, match="Unnamed has no name"):
        define("Unnamed", name=None)().to_config()


def test_a_rate_that_is_an_array_is_passed_on():
    rate = np.asarray(0.5, dtype=np.float32)
    optimizer = optim.SGD(lambda step: rate)
    assert optimizer.learning_rate_at(1) is rate
