"""Weight decay and dropout that change with the step: PyTorch, all ways to take steps, resumption."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, flat, make
from xpnet import Trainer, nn, optim, rng
from xpnet.errors import CheckpointError, ConfigError
from xpnet.train import Diagnostics
from xpnet.train.diagnostics import gradient_noise
from xpnet.train.steps import CompiledSteps

X, Y = class_data(24)
STEPS = 16  # four epochs of three steps and a ragged one
DROPPED = nn.Sequential(
    nn.Dense(6), nn.Tanh(), nn.Dropout(optim.FlatCosine(0.3, STEPS)), nn.Dense(5), nn.Tanh(),
    nn.Sequential(nn.Dropout(optim.Inverse(0.5)), nn.Dropout(0.1)), nn.Dense(3),
)  # fmt: skip
REALMLP: dict[str, Any] = {
    "model": DROPPED,
    "optimizer": optim.AdamW(
        optim.CosLog(0.04, STEPS), beta2=0.95, weight_decay=optim.FlatCosine(0.02, STEPS)
    ),
    "learning_rate_factors": {"biases": 0.1, "0.weight": 6.0},
    "weight_decay_factors": {"biases": 0.0},
    "gradient_noise": 1e-4,
}


def trained(epochs: int = 4, **options: Any) -> Trainer:
    trainer = make(**REALMLP | options)
    trainer.fit(X, Y, epochs=epochs, batch_size=7)
    return trainer


@pytest.mark.parametrize(
    ("lower", "dtype"),
    [
        ("generic", "float64"),
        ("numpy", "float32"),
        ("numpy", "float64"),
        pytest.param("numba", "float64", marks=pytest.mark.full),
    ],
)
def test_compiled_steps_are_the_steps_and_no_step_is_compiled_anew(lower, dtype):
    if lower == "numba":
        pytest.importorskip("numba", reason="numba (extra jit) is not installed")
    plain, compiled = (trained(compile=how, dtype=dtype) for how in ("off", lower))
    if lower == "numba":
        np.testing.assert_allclose(flat(compiled), flat(plain), rtol=1e-12)
    else:
        assert_same_training(compiled, plain)
    steps = compiled._steps
    assert isinstance(steps, CompiledSteps)
    assert {batch: loop.recordings for batch, (_, loop) in steps._loops.items()} == {7: 1, 3: 1}


@pytest.mark.parametrize("compile", ["off", "auto"])
def test_every_backend_trains_alike(backend, compile):
    one, other = (
        trained(compile="off", dtype="float32"),
        trained(compile=compile, backend=backend, dtype="float32"),
    )
    np.testing.assert_allclose(flat(other), flat(one), rtol=1e-3, atol=2e-5)


def test_a_constant_schedule_is_a_constant():
    one, other = (
        trained(model=nn.MLP([5], 3, dropout=rate), optimizer=optim.AdamW(0.01, weight_decay=decay))
        for rate, decay in ((0.25, 0.3), (optim.Constant(0.25), optim.Constant(0.3)))
    )
    np.testing.assert_array_equal(flat(one), flat(other))


def test_rates_are_those_of_the_steps():
    """In step k a share of r(k) is dropped, and all others are divided by 1 - r(k)."""
    seen: list[float] = []

    def rate(step: int) -> float:
        seen.append(step)
        return 1.0 - 0.5**step

    layer, ones = nn.Dropout(rate), np.ones((300, 100), dtype=np.float32)
    variables = layer.init(0, 100, "numpy")
    for step in (1, 2, 3):
        y, _ = layer.apply(variables, ones, training=True, key=rng.key(0).at_step(step))
        assert set(np.unique(y)) == {0.0, 2.0**step}
        assert (y > 0).mean() == pytest.approx(0.5**step, abs=0.02)
    assert seen == [1, 2, 3]
    assert layer.apply(variables, ones) is ones


@pytest.mark.parametrize("groups", [False, True])
def test_weight_decay_on_a_schedule_is_that_of_pytorch(groups):
    """As pytabkit trains: the progress (k - 1) / n before step k sets rate and decay of each group."""
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
    factors = {"0.weight": (6.0, 1.0), "0.bias": (0.1, 0.0), "2.bias": (0.1, 0.0)} if groups else {}
    rate, decay = optim.CosLog(0.04, STEPS), optim.FlatCosine(0.5, STEPS)
    trainer = make(
        model=nn.Sequential(nn.Dense(5), nn.Tanh(), nn.Dense(3)),
        optimizer=optim.AdamW(rate, beta2=0.95, weight_decay=decay),
        learning_rate_factors={name: rate for name, (rate, _) in factors.items()},
        weight_decay_factors={name: decay for name, (_, decay) in factors.items()},
    )
    start = trainer.model.init(0, (3,), "numpy", "float64").params
    tensors = {name: torch.tensor(start[name], requires_grad=True) for name in start}
    theirs = torch.optim.AdamW([{"params": [x]} for x in tensors.values()], betas=(0.9, 0.95))
    W, b, V, c = tensors.values()
    for k in range(STEPS):
        t = k / STEPS
        wave = 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t)))
        fall = 1.0 if t <= 0.5 else 0.5 * (1 + np.cos(np.pi * (2 * t - 1)))
        for name, group in zip(tensors, theirs.param_groups, strict=True):
            of_rate, of_decay = factors.get(name, (1.0, 1.0))
            group["lr"], group["weight_decay"] = 0.04 * wave * of_rate, 0.5 * fall * of_decay
        theirs.zero_grad()
        outputs = torch.tanh(torch.tensor(np.array(X)) @ W + b) @ V + c
        torch.nn.functional.cross_entropy(outputs, torch.tensor(np.array(Y))).backward()
        theirs.step()
    trainer.fit(X, Y, epochs=STEPS, batch_size=None)
    expected = np.concatenate([x.detach().numpy().reshape(-1) for x in tensors.values()])
    np.testing.assert_allclose(flat(trainer), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("compile", ["off", "auto"])
def test_a_resumed_training_goes_on_in_its_schedules(compile, tmp_path):
    straight, first = trained(compile=compile), trained(2, compile=compile)
    first.save(tmp_path)
    second = Trainer.load(tmp_path, "numpy")
    assert (second.model, second.optimizer) == (REALMLP["model"], REALMLP["optimizer"])
    second.fit(X, Y, epochs=4, batch_size=7)
    assert_same_training(second, straight)


def test_a_callable_is_no_setting_that_a_file_holds(tmp_path):
    model = nn.MLP([4], 3, dropout=lambda step: 0.5 / step)
    trainer = trained(1, model=model)
    trainer.save(tmp_path)
    with pytest.raises(CheckpointError, match="its model is the user's own code"):
        Trainer.load(tmp_path, "numpy")
    Trainer.load(tmp_path, "numpy", model=model).fit(X, Y, epochs=2, batch_size=7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": nn.MLP([4], 3, dropout=optim.Constant(1.0))}, "Dropout: .* found 1.0 at step 1 "),
        ({"model": nn.MLP([4], 3, dropout=lambda step: -0.1 * (step > 2))}, "found -0.1 at step 3 "),
        ({"model": nn.MLP([4], 3, dropout=lambda step: "x")}, "Dropout: expected a number .* found 'x'"),
        ({"optimizer": optim.AdamW(0.1, weight_decay=lambda step: 2.0 - step)}, "AdamW: .* -1.0 at step 3 "),
    ],
    ids=range(4),
)  # fmt: skip
@pytest.mark.parametrize("compile", ["off", "auto"])
def test_schedules_that_give_what_cannot_be(options, message, compile):
    with pytest.raises(ConfigError, match=message):
        make(compile=compile, **options).fit(X, Y, epochs=2, batch_size=7)


def test_a_schedule_needs_a_step():
    layer = nn.Dropout(optim.Cosine(0.5, steps=9))
    with pytest.raises(ConfigError, match=r"key: expected the number of a step.*at_step\(1\)"):
        layer.apply(layer.init(0, 3, "numpy"), X, training=True, key=0)


def test_diagnostics_know_the_step():
    trainer = trained(1)
    assert gradient_noise(trainer, X, Y, batch_size=5).scale > 0
    trained(1, callbacks=[Diagnostics(every=1)])
