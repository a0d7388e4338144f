"""Learning rates and weight decay by groups: what names select, PyTorch's groups, backends, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.optim.optimizer_cases import TABLE
from tests.train.support import class_data, flat, make
from xpnet import nn, optim
from xpnet.errors import ConfigError
from xpnet.parameters import Layout
from xpnet.train.groups import number_of_each

X, Y = class_data(24)
MODEL = nn.Sequential(nn.Sequential(nn.Dense(4), nn.LayerNorm()), nn.Tanh(), nn.Dense(3))
LAYOUT = MODEL.init(0, (3,), "numpy").params.layout
RATES = {"biases": 0.1, "scale": 6.0, "2": 0.5, "2.bias": 0.0}
EACH_RATE = {"0.0.bias": 0.1, "0.1.scale": 6.0, "2.weight": 0.5, "2.bias": 0.0}
DECAYS = {"biases": 0.0, "0": 3.0}
EACH_DECAY = {"0.0.weight": 3.0, "0.0.bias": 3.0, "0.1.scale": 3.0, "0.1.shift": 3.0, "2.bias": 0.0}
HAS_DECAY = (optim.AdamW,)
EVERY = pytest.mark.parametrize(("optimizer", "torch_name", "options"), TABLE, ids=lambda v: str(v)[:70])


@pytest.mark.parametrize(
    ("named", "each"),
    [
        (RATES, EACH_RATE),
        (DECAYS, EACH_DECAY),
        ({"weights": 2.0, "0": 3.0, "0.0": 4.0}, {"2.weight": 2.0, "0.0.weight": 4.0, "0.0.bias": 4.0,
                                                   "0.1.scale": 3.0, "0.1.shift": 3.0}),
        ({"weight": 2.0, "weights": 3.0, "shift": 0.0},
         {"0.0.weight": 2.0, "2.weight": 2.0, "0.1.shift": 0.0}),
        ({}, {}),
    ],
    ids=str,
)  # fmt: skip
def test_the_narrowest_name_wins(named, each):
    found = number_of_each("factors", named, LAYOUT, 1.0)
    for name, (part, _) in zip(LAYOUT.names, LAYOUT.slices, strict=True):
        assert (found[part] == each.get(name, 1.0)).all(), name


def test_a_bias_of_two_dimensions_is_no_weight():
    layout = Layout((("0.weight", (2, 3)), ("0.bias", (2, 3))))
    found = number_of_each("factors", {"weights": 2.0, "biases": 3.0}, layout, 1.0)
    assert found.tolist() == [2.0] * 6 + [3.0] * 6


def torch_parameters(torch: Any, make_optimizer: Any, factors: list[dict[str, float]], options: dict) -> Any:
    """Return the parameters after five full-batch steps of PyTorch, one group for each parameter."""
    start = MODEL.init(0, (3,), "numpy", "float64").params
    W, b, scale, shift, V, c = tensors = [torch.tensor(start[name], requires_grad=True) for name in start]
    groups = []
    for tensor, (rate, decay) in zip(tensors, factors, strict=True):
        group: dict[str, Any] = {"params": [tensor], "lr": rate}
        groups.append(group | ({} if decay is None else {"weight_decay": decay}))
    theirs = make_optimizer(groups, **options)
    inputs, targets = torch.tensor(np.array(X)), torch.tensor(np.array(Y))
    for _ in range(5):
        hidden = torch.nn.functional.layer_norm(inputs @ W + b, (4,), scale, shift)
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(torch.tanh(hidden) @ V + c, targets).backward()
        theirs.step()
    return np.concatenate([tensor.detach().numpy().reshape(-1) for tensor in tensors])


@EVERY
def test_groups_are_those_of_pytorch(optimizer, torch_name, options):
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
    decaying = isinstance(optimizer, HAS_DECAY)
    made = getattr(torch.optim, torch_name)
    usual = made([torch.zeros(1)], **options).defaults
    factors = [
        (usual["lr"] * EACH_RATE.get(name, 1.0),
         usual["weight_decay"] * EACH_DECAY.get(name, 1.0) if decaying else None)
        for name in LAYOUT.names
    ]  # fmt: skip
    trainer = make(
        model=MODEL,
        optimizer=optimizer,
        learning_rate_factors=RATES,
        weight_decay_factors=DECAYS if decaying else None,
    )
    trainer.fit(X, Y, epochs=5, batch_size=None)
    expected = torch_parameters(torch, made, factors, {n: x for n, x in options.items() if n != "lr"})
    np.testing.assert_allclose(flat(trainer), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("compile", ["off", "auto"])
def test_every_backend_trains_alike(backend, compile):
    options: dict[str, Any] = {"optimizer": optim.AdamW(0.01, weight_decay=0.5), "dtype": "float32"}
    options |= {"learning_rate_factors": RATES, "weight_decay_factors": DECAYS, "model": MODEL}
    found = []
    for trainer in (make(compile="off", **options), make(compile=compile, backend=backend, **options)):
        trainer.fit(X, Y, epochs=3, batch_size=10)
        found.append(flat(trainer))
    np.testing.assert_allclose(found[1], found[0], rtol=2e-4, atol=2e-5)


@EVERY
def test_factors_of_one_change_no_bit_and_zero_keeps_parameters(optimizer, torch_name, options):
    plain, ones = make(optimizer=optimizer), make(optimizer=optimizer, learning_rate_factors={"0": 1.0})
    kept = make(optimizer=optimizer, learning_rate_factors={"0": 0.0})
    for trainer in (plain, ones, kept):
        trainer.fit(X, Y, epochs=3, batch_size=7)
    np.testing.assert_array_equal(flat(ones), flat(plain))
    start = kept.model.init(0, (3,), "numpy", "float64").params.flat
    of_first = number_of_each("", {"0": 1.0}, kept.variables.params.layout, 0.0) == 1.0
    np.testing.assert_array_equal(flat(kept) == start, of_first)


class Own(optim.SGD):
    """Has a scalar of its own, and does not say how groups enter."""

    def scalars(self, learning_rate: float, step: int) -> tuple[float, ...]:
        return 2.0 * learning_rate, step


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate_factors": {"scal": 1.0}}, "learning_rate_factors: expected .* found 'scal'"),
        ({"weight_decay_factors": {"0.wieght": 0}}, "found '0.wieght'; did you mean '0.weight'"),
        ({"weight_decay_factors": {"biases": 0.0}, "optimizer": "sgd"}, "weight decay, found sgd; .* adamw"),
        ({"learning_rate_factors": {"biases": 0.0}, "optimizer": Own()}, "'vectors'.* found Own"),
        ({"learning_rate_factors": {"biases": -1}}, "at least 0 by name"),
        ({"learning_rate_factors": {"0": 0.5}, "optimizer": "l-bfgs"}, "expected no learning_rate_factors"),
    ],
    ids=lambda v: str(v)[:60],
)  # fmt: skip
def test_what_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**{"optimizer": "adamw", **options}).fit(X, Y, epochs=1)


def test_an_optimizer_with_other_scalars_has_no_groups_by_those_of_the_class_above() -> None:
    class Own(optim.Adam):
        def scalars(self, learning_rate: float, step: int) -> tuple[float, ...]:
            return (*super().scalars(learning_rate, step), 1.0)

    assert optim.Adam().takes_groups
    assert not Own().takes_groups
