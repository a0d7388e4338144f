"""Search spaces: the settings that a search varies, and from where each is drawn.

A draw is a function of a trial of Optuna, which suggests numbers and choices by name. That of RealMLP follows
the space that its package recommends ("tabarena" of pytabkit 1.8), as far as it consists of settings here,
with the activations of the paper's own space.

Source: Holzmüller et al., "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
NeurIPS 2024, and the search spaces of its package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xpnet.errors import ConfigError, use
from xpnet.optim import METHODS
from xpnet.tabular.settings import Settings

__all__ = ["ENCODING", "Draw", "space_of"]

Draw = Callable[[Any], Any]

ENCODING = frozenset({"one_hot_up_to", "scaling"})
"""Settings by which a table is encoded: a trial of another value encodes it again."""

_ACTIVATIONS = ("selu", "mish", "relu")
_RATES = 10.0  # a learning rate is up to so many times smaller or larger than the default


def space_of(settings: Settings, *, smoothed: bool = False, categorical: bool = False) -> dict[str, Draw]:
    """Return the draw of each setting that is searched: those of the network's space that were not given.

    Args:
        settings: with all that is chosen; its ``chosen`` names those that were given, and are fixed.
        smoothed: whether the loss takes label smoothing.
        categorical: whether the table has columns of categories.

    Raises:
        ConfigError: a network without a space, or nothing is left to search.
    """
    spaces: Mapping[str, Callable[[Settings], dict[str, Draw]]] = {
        "mlp": _mlp,
        "realmlp": _realmlp,
        "realmlp_simple": _realmlp,
    }
    if settings.network not in spaces:
        raise ConfigError(
            f"{use('network')}: expected one with a search space ({', '.join(spaces)}), found "
            f"{settings.network}; choose one of these"
        )
    fixed = set(settings.chosen)
    if settings.optimizer != "adamw":
        fixed |= {"beta2", "weight_decay"}
    if settings.optimizer in METHODS:
        fixed |= {"dropout", "learning_rate"}
    if not smoothed:
        fixed.add("label_smoothing")
    if not categorical:
        fixed.add("one_hot_up_to")
    space = {name: draw for name, draw in spaces[settings.network](settings).items() if name not in fixed}
    if not space:
        raise ConfigError(
            "the search: expected a setting to search, found all of the space given; leave one of them out, "
            f"such as {use('hidden')}"
        )
    return space


def _realmlp(settings: Settings) -> dict[str, Draw]:
    return {
        "hidden": lambda trial: _widths(trial, (256, 384, 512), 2, 4),
        "activation": lambda trial: trial.suggest_categorical("activation", _ACTIVATIONS),
        "dropout": lambda trial: _number(trial, "dropout", 0.0, 0.5),
        "learning_rate": lambda trial: _number(trial, "learning_rate", 0.02, 0.3, log=True),
        "weight_decay": lambda trial: _number(trial, "weight_decay", 1e-3, 5e-2, log=True),
        "beta2": lambda trial: round(1.0 - _number(trial, "1 - beta2", 5e-3, 5e-2, log=True), 6),
        "label_smoothing": _smoothing,
        # pytabkit counts missing cells as a category
        "one_hot_up_to": lambda trial: trial.suggest_int("one_hot_up_to", 3, 31, log=True),
    }


def _mlp(settings: Settings) -> dict[str, Draw]:
    usual = settings.learning_rate or 1.0
    low, high = usual / _RATES, usual * _RATES
    return {
        "hidden": lambda trial: _widths(trial, (64, 128, 256, 512), 1, 3),
        "activation": lambda trial: trial.suggest_categorical("activation", _ACTIVATIONS),
        "dropout": lambda trial: _number(trial, "dropout", 0.0, 0.5),
        "learning_rate": lambda trial: _number(trial, "learning_rate", low, high, log=True),
        "scaling": lambda trial: trial.suggest_categorical("scaling", ("standard", "robust", "quantile")),
    }


def _widths(trial: Any, widths: tuple[int, ...], fewest: int, most: int) -> tuple[int, ...]:
    width = trial.suggest_categorical("width", widths)
    return (width,) * trial.suggest_int("layers", fewest, most)


def _smoothing(trial: Any) -> float:
    """Return no smoothing in half of the draws."""
    some = trial.suggest_categorical("smoothed", (False, True))
    share = _number(trial, "label_smoothing", 5e-3, 0.1, log=True)
    return share if some else 0.0


def _number(trial: Any, name: str, low: float, high: float, *, log: bool = False) -> float:
    """Return a number of few digits, as it stands in a table and in a configuration."""
    return float(f"{trial.suggest_float(name, low, high, log=log):.4g}")
