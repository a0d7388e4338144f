"""Presets: settings of a whole recipe, of which each can be given another value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from xpnet.nn import RealMLP
from xpnet.optim import METHODS
from xpnet.parameters import Layout
from xpnet.program.lowerings.base import LOWERINGS
from xpnet.tabular.losses import is_code
from xpnet.tabular.settings import Settings
from xpnet.train.deadline import compiling_seconds
from xpnet.train.steps import PLANNED_WORTH, step_seconds, widths

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
        "refit": False,
    }
)
"""RealMLP-TD: the settings that are the same for all tasks.

Source: Holzmüller et al., "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
NeurIPS 2024, and the defaults of its package, pytabkit 1.8. There, the best epoch of classes is that of the
lowest error; here that of the lowest loss, which few validation rows tell with less noise.
"""

_OF_TASK: Mapping[str, Mapping[str, Any]] = {
    "classification": {
        "activation": "selu",
        "learning_rate": 0.04,
        "label_smoothing": 0.1,
    },
    "regression": {"activation": "mish", "learning_rate": 0.2},
}

_DECAY = ("weight_decay", "weight_decay_schedule")
_OWN = ("learning_rate", "beta2", "weight_decay", "activation")
"""What is RealMLP's own: other networks take the usual."""

_MEMBERS = ((10_000, 5), (25_000, 3), (100_000, 2))
"""Rows up to which so many members are trained; of more rows one."""

_FOLDS = 5
"""Of the rows, each of which is the validation of one member, or of none."""

_OTHER_ROWS = {"folds", "validation", "split_by", "group"}
"""What tells of other validation rows than folds."""

_EPOCHS, _FEWER = (256, 128, 64, 32), (16, 8, 4, 2)
"""Epochs of one member; the fewer ones only where nothing but "best" will do."""

_COSINES = 16
"""Values in the embedding of a number, for each row."""

_NUMPY, _NUMBA, _COMPILING = 2.6, 1.1, 1.2
"""Seconds of one core for a second that is estimated by sizes: of steps, and of compiling."""

_EVALUATION = {False: 1.05, True: 1.4}
"""Factor for the rows of the validation; True: with folds, for all members compute all rows."""

_BEFORE, _CELL = 2.0, 1e-6
"""Seconds for programs to be loaded and a report to be written, and for each cell to be read."""

_SHARE = 0.9
"""Of the time limit that may be planned."""


def with_preset(settings: S, task: str, rows: int, features: int) -> S:
    """Return settings with those of their preset in place of all that were not given.

    Args:
        settings: that were asked for; ``chosen`` says which were given.
        task: "classification" or "regression".
        rows, features: of the table.
    """
    if settings.preset == "fast" or (settings.preset == "auto" and settings.time_limit is None):
        return settings
    recipe = {name: x for name, x in _recipe(settings, task).items() if name not in settings.chosen}
    made = dataclasses.replace(settings, **recipe)
    lengths = _lengths(made, rows)
    limit = made.time_limit
    fitting = [one for one in lengths if limit is None or _seconds(made, *one, rows, features) < limit]
    if not fitting and settings.preset == "auto":
        return settings
    members, epochs = (fitting or lengths[-1:])[0]
    return dataclasses.replace(made, members=members, epochs=epochs, folds=_folds(made, members, rows))


def _recipe(settings: Settings, task: str) -> dict[str, Any]:
    """Return the settings of RealMLP, without those that do not go with what was given."""
    recipe, without = {**REALMLP, **_OF_TASK[task]}, set()
    if settings.loss not in ("auto", "softmax_cross_entropy", "binary_cross_entropy"):
        without.add("label_smoothing")
    if "validation" in settings.chosen and settings.validation == 0 and settings.folds is None:
        without.add("use_last_best_epoch")
    if "network" in settings.chosen and settings.network in ("mlp", "tabm"):
        without |= {*_OWN, "one_hot_up_to"} if settings.network == "mlp" else set(_OWN)
    if settings.network == "realmlp_simple" or not settings.hidden:
        without |= {"dropout", "dropout_schedule"}
    if "optimizer" in settings.chosen and settings.optimizer != "adamw":
        without |= {"learning_rate", *_DECAY, *(() if settings.optimizer == "adam" else ("beta2",))}
    if "optimizer" in settings.chosen and settings.optimizer in METHODS:
        without |= {"schedule", "batch_size", "drop_last", "dropout"}
    return {name: x for name, x in recipe.items() if name not in without}


def _lengths(settings: Settings, rows: int) -> list[tuple[int, int]]:
    """Return members and epochs, from the best to the shortest, as far as they were not given."""
    most = next((members for up_to, members in _MEMBERS if rows <= up_to), 1)
    members, epochs = [m for m in (5, 3, 2, 1) if m <= most], [*_EPOCHS]
    if settings.preset == "best":
        epochs += _FEWER
    if settings.folds is not None:
        members = [m for m in members if m <= settings.folds] or [1]
    if "members" in settings.chosen:
        members = [settings.members]
    if "epochs" in settings.chosen and settings.epochs is not None:
        epochs = [settings.epochs]
    return [(m, epochs[0]) for m in members] + [(members[-1], e) for e in epochs[1:]]


def _folds(settings: Settings, members: int, rows: int) -> int | None:
    """Return the number of folds: those that were asked for, or so many that each member has one."""
    apart = settings.network != "tabm" and not is_code(settings.loss)
    if not apart or _OTHER_ROWS & {*settings.chosen} or not 1 < members <= rows // (2 * _FOLDS):
        return settings.folds
    return max(_FOLDS, members)


def _seconds(settings: Settings, members: int, epochs: int, rows: int, features: int) -> float:
    """Return how long a command takes on one core, or less, as far as sizes tell; with all that is around."""
    folded = _folds(settings, members, rows) is not None
    train = max(1, int(rows * (1 - settings.test - (0.0 if folded else settings.validation))))
    batch = min(train, settings.batch_size) if isinstance(settings.batch_size, int) else train
    model = RealMLP(1, numbers=max(1, features), hidden=settings.hidden)
    layout = Layout(tuple(model.parameter_shapes((max(1, features),)).items()))
    values = widths(model, layout) + _COSINES * features
    step = step_seconds(members * layout.size, batch, values=members * values)
    estimated, compiling = epochs * (train // batch) * step, compiling_seconds(len(layout.names))
    worth = estimated > PLANNED_WORTH * compiling and not LOWERINGS["numba"].reason()
    steps = _EVALUATION[folded] * estimated * (_NUMBA if worth else _NUMPY)
    return (_BEFORE + _CELL * rows * features + worth * _COMPILING * compiling + steps) / _SHARE
