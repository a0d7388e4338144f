"""Settings of a pruning, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from xpnet import checks
from xpnet.errors import ConfigError
from xpnet.optim import Method
from xpnet.prune.masks import count_weights, sparsity_of
from xpnet.prune.schedules import SCHEDULES
from xpnet.prune.units import CRITERIA, hidden_widths
from xpnet.train import Trainer

__all__ = ["SCOPES", "Plan"]

SCOPES = ("global", "layer", "unit")
_BY_DEFAULT = ("accuracy", "r2", "loss")
_LOWER_IS_BETTER = ("loss", "mae", "rmse")
_ROUNDING = 1e-6  # of metrics in float32: a loss of just the tolerance is allowed


@dataclasses.dataclass(frozen=True)
class Plan:
    """The settings of :func:`xpnet.prune.prune`, which describes them.

    Raises:
        ConfigError: a value that cannot be meant.

    >>> plan = Plan(sparsity=0.75, rounds=2, schedule="geometric")
    >>> plan.sparsity_after(0, 0.0), plan.sparsity_after(1, 0.0), plan.sparsity_after(2, 0.0)
    (0.0, 0.5, 0.75)
    """

    sparsity: float
    rounds: int = 10
    epochs_per_round: int = 20
    scope: str = "global"
    schedule: str = "cubic"
    criterion: str | Callable[..., Any] = "norm"
    decay: bool = False
    restart: bool | None = None
    tolerance: float | None = None
    monitor: str | None = None

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "sparsity": checks.fraction("sparsity", self.sparsity, "0.9 prunes nine of ten"),
            "rounds": checks.count("rounds", self.rounds, "1 prunes all at once"),
            "epochs_per_round": checks.count("epochs_per_round", self.epochs_per_round),
            "scope": checks.one_of(*SCOPES)("scope", self.scope),
            "schedule": checks.one_of(*SCHEDULES)("schedule", self.schedule),
            "decay": checks.flag("decay", self.decay),
            "restart": checks.unless_none(checks.flag, "restart", self.restart),
            "tolerance": checks.unless_none(checks.not_negative, "tolerance", self.tolerance),
        }
        if not callable(self.criterion):
            checked["criterion"] = checks.one_of(*CRITERIA)("criterion", self.criterion)
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen
        if self.decay and self.scope == "unit":
            raise ConfigError(
                "decay: expected scope 'global' or 'layer', found 'unit'; units go at once: leave it out"
            )
        if self.decay and self.epochs_per_round == 1:
            raise ConfigError(
                "decay: expected at least 2 epochs_per_round, found 1; weights decay before each of them but "
                "the last, which retrains without them"
            )
        if self.scope != "unit" and self.criterion != "norm":
            raise ConfigError(
                f"criterion: expected scope 'unit', found {self.scope!r}; weights go by their magnitude: "
                "leave it out"
            )

    def check_fits(self, trainer: Trainer, *, validation: bool) -> None:
        """Refuse settings that do not fit this trainer, or a pruning without validation rows."""
        if trainer.variables is None:
            raise ConfigError(
                "prune: expected a trainer that has been trained, found one without variables; call fit first"
            )
        if self.tolerance is not None and not validation:
            raise ConfigError(
                "tolerance: expected a validation set to go by, found none; pass validation=0.1, say"
            )
        self.monitored(trainer)
        if self.scope == "unit":
            hidden_widths(trainer.model)  # complains if there are no units to remove
            return
        nonzero, total = count_weights(trainer.variables)
        if round(self.sparsity * total) < total - nonzero:
            raise ConfigError(
                f"sparsity: expected at least the {1 - nonzero / total:.4f} that is there already, found "
                f"{self.sparsity}; raise it, or start from a denser network"
            )

    def monitored(self, trainer: Trainer) -> str:
        """Return the name of the measure that ``tolerance`` limits."""
        known = ("loss", *trainer.metrics)
        if self.monitor is not None:
            return checks.one_of(*known)("monitor", self.monitor)
        return next(name for name in _BY_DEFAULT if name in known)

    def suffers(self, name: str, before: float, after: float) -> bool:
        """Whether a measured number has become worse by more than ``tolerance``."""
        if self.tolerance is None:
            return False
        worse = after - before if name in _LOWER_IS_BETTER else before - after
        return not worse <= self.tolerance + _ROUNDING  # NaN is worse

    def restarts(self, trainer: Trainer) -> bool:
        """Whether rounds begin with a fresh state of the optimizer."""
        if self.restart is not None:
            return self.restart
        optimizer = trainer.optimizer
        return isinstance(optimizer, Method) or callable(optimizer.learning_rate)

    def sparsity_after(self, number: int, first: float) -> float:
        """Return the sparsity to be reached in round ``number`` (from 1), from ``first`` before all."""
        if number == self.rounds:
            return self.sparsity
        return SCHEDULES[self.schedule](first, self.sparsity, number / self.rounds)

    def sparsity_now(self, trainer: Trainer, widths: tuple[int, ...] | None) -> float:
        """Return the share of the weights that are 0, or of the units of ``widths`` that are gone."""
        if self.scope != "unit":
            return sparsity_of(trainer.variables)
        left = hidden_widths(trainer.model)
        return 1 - sum(left) / sum(widths or left)
