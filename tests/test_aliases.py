"""Names that other libraries use: understood everywhere, and stored as those of xpnet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.train.support import class_data
from xpnet import Trainer, losses, nn, optim
from xpnet.aliases import ALIASES, canonical
from xpnet.cli.flags import resolve
from xpnet.errors import ConfigError
from xpnet.nn import init
from xpnet.nn.activations import ACTIVATIONS, activation
from xpnet.optim.registry import get as optimizer
from xpnet.runs.settings import to_toml
from xpnet.train import checkpoint_file
from xpnet.train.metrics import METRICS
from xpnet.train.metrics import get as metric

KNOWN: dict[str, Any] = {
    "loss": (losses.LOSSES, losses.get),
    "activation": (ACTIVATIONS, activation),
    "optimizer": ({**optim.OPTIMIZERS, **optim.METHODS}, optimizer),
    "method": (optim.METHODS, optim.METHODS.get),
    "initializer": (init.INITIALIZERS, init.get),
    "schedule": (optim.SCHEDULES, optim.Schedule.named),
    "metric": (METRICS, lambda name: metric(name)[1]),
}


@pytest.mark.parametrize("kind", ALIASES)
def test_every_alias_means_a_known_name(kind: str) -> None:
    known, get = KNOWN[kind]
    assert set(ALIASES[kind].values()) <= set(known)
    assert not set(ALIASES[kind]) & set(known)
    for alias, name in ALIASES[kind].items():
        for spelled in (alias, alias.upper(), alias.replace("_", "-"), alias.replace("_", " ")):
            assert canonical(kind, spelled, known) == name
        if kind != "method":
            assert get(alias) == get(name)


@pytest.mark.parametrize("kind", [kind for kind in KNOWN if kind != "method"])
def test_unknown_names_are_refused_with_a_suggestion(kind: str) -> None:
    known, get = KNOWN[kind]
    name = max(known, key=len)
    with pytest.raises(ConfigError, match=f"did you mean '{name}'"):
        get(f"{name}x")


def test_what_is_stored_has_the_names_of_xpnet(tmp_path: Path) -> None:
    model = nn.MLP([4], 3, activation="swish", weight_init="xavier-uniform")
    trainer = Trainer(model, loss="CE", optimizer="RMS_prop", metrics=["acc"], backend="numpy")
    trainer.fit(*class_data(), epochs=1)
    trainer.save(tmp_path)
    (path,) = tmp_path.rglob("*.safetensors")
    header = str(checkpoint_file.read(path)[1])
    for name in ("silu", "glorot_uniform", "softmax_cross_entropy", "rmsprop", "accuracy"):
        assert name in header.lower()
    for alias in ("swish", "xavier", "'CE'", "RMS_prop", "'acc'"):
        assert alias not in header
    assert list(trainer.metrics) == ["accuracy"]


def test_flags_take_them() -> None:
    flags = {
        "loss": "mse",
        "activation": "Swish,linear",
        "optimizer": "L_BFGS",
        "weight_init": "kaiming_normal",
    }
    text = to_toml(resolve({"data": "sine", **flags}))
    for line in (
        'loss = "squared_error"',
        'activation = ["silu", "identity"]',
        'optimizer = "l-bfgs"',
        'weight-init = "he_normal"',
    ):
        assert line in text
