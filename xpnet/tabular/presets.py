"""Presets: settings of a whole recipe, of which each can be given another value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from xpnet.tabular.settings import Settings
from xpnet.train.steps import step_seconds

__all__ = ["PRESETS", "REALMLP", "with_preset"]

S = TypeVar("S", bound=Settings)

PRESETS: Mapping[str, str] = {
    "auto": "best, as far as there is time, where a time limit is set; else fast",
    "fast": "a small network until the validation loss has stopped falling",
    "best": "an ensemble of RealMLP",
}
"""Presets by name, and what they are."""

REALMLP: Mapping[str, Any] = MappingProxyType(
    {
        "network": "realmlp",
        "scaling": "robust",
        "one_hot": "signed",
        "one_hot_up_to": 8,  # pytabkit counts missing cells as a category
        "clamp": True,
        "hidden": (256, 256, 256),
        "dropout": 0.15,
        "dropout_schedule": "flat_cosine",
        "optimizer": "adamw",
        "beta2": 0.95,
        "schedule": "coslog",
        "weight_decay": 0.02,
        "weight_decay_schedule": "flat_cosine",
        "epochs": 256,
        "batch_size": 256,
        "drop_last": True,
        "training_metrics": False,
        "validation": 0.2,
        "use_last_best_epoch": True,
    }
)
"""RealMLP-TD: the settings that are the same for all tasks.

Source: Holzmüller et al., "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
NeurIPS 2024, and the defaults of its package, pytabkit 1.8.
"""

_OF_TASK: Mapping[str, Mapping[str, Any]] = {
    "classification": {
        "activation": "selu",
        "learning_rate": 0.04,
        "label_smoothing": 0.1,
        "monitor": "validation_accuracy",
    },
    "regression": {"activation": "mish", "learning_rate": 0.2, "monitor": "validation_rmse"},
}

_MEMBERS = ((2_500, 8), (25_000, 4), (100_000, 2))
"""Rows up to which so many members are trained; of more rows one."""

_LENGTHS = ((8, 256), (4, 256), (2, 256), (1, 256), (1, 128), (1, 64), (1, 32))
"""Members and epochs, from the best to the shortest."""

_SHARE = 0.6
"""Of the time limit, for the steps; validation, reading and report take the rest."""


def with_preset(settings: S, task: str, rows: int, features: int) -> S:
    """Return settings with those of their preset in place of all that were not given.

    Args:
        settings: that were asked for; ``chosen`` says which were given.
        task: "classification" or "regression".
        rows, features: of the table.
    """
    members, epochs = _length(settings, rows, features)
    if settings.preset == "fast" or not members:
        return settings
    recipe = {**REALMLP, **_OF_TASK[task], "members": members, "epochs": epochs}
    if settings.loss != "auto":
        recipe.pop("label_smoothing", None)
    if settings.validation == 0 and "validation" in settings.chosen:
        recipe = {n: x for n, x in recipe.items() if n not in ("monitor", "use_last_best_epoch")}
    made = dataclasses.replace(settings, **{n: x for n, x in recipe.items() if n not in settings.chosen})
    left = int(rows * (1 - made.test - made.validation))
    few = "batch_size" not in settings.chosen and left < 1.1 * REALMLP["batch_size"]
    return dataclasses.replace(made, batch_size="full", drop_last=False) if few else made


def _length(settings: Settings, rows: int, features: int) -> tuple[int, int]:
    """Return how many members are trained for how many epochs; none where there is too little time."""
    limit = settings.time_limit
    if settings.preset == "auto" and limit is None:
        return 0, 0
    most = next((members for up_to, members in _MEMBERS if rows <= up_to), 1)
    if limit is None:
        return most, _LENGTHS[0][1]
    parameters = 256 * (2 * 256 + 4 * features)
    step = step_seconds(parameters, 256)
    steps = max(1, rows * 4 // 5 // 256)
    fitting = [
        (members, epochs) for members, epochs in _LENGTHS if members * epochs * steps * step < _SHARE * limit
    ]
    if fitting:
        return fitting[0]
    return _LENGTHS[-1] if settings.preset == "best" else (0, 0)
