"""Settings of a pruning, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xpnet import checks
from xpnet.errors import ConfigError
from xpnet.optim import Method
from xpnet.prune import masks
from xpnet.prune.connections import FEWEST
from xpnet.prune.masks import count_weights, sparsity_of
from xpnet.prune.schedules import SCHEDULES
from xpnet.prune.units import CRITERIA, hidden_widths
from xpnet.train import Trainer

__all__ = ["SCOPES", "Plan", "epochs_of_round", "usual_tolerance"]

SCOPES = (*masks.SCOPES, "unit")
_METRIC_OF_KIND = {
    "values": "r2",
    "counts": "r2",
    "classes": "accuracy",
    "binary": "accuracy",
    "signs": "accuracy",
}
_LOWER_IS_BETTER = ("loss", "mae", "rmse")
_ROUNDING = 1e-6  # of metrics in float32: a loss of just the tolerance is allowed
_LEAST_TOLERANCE, _MOST_TOLERANCE = 0.02, 0.1
_LEAST_EPOCHS, _LEAST_STEPS = 20, 400  # of retraining in a round


def epochs_of_round(steps: int) -> int:
    """Return how many epochs of so many steps a round of pruning takes by default.

    >>> epochs_of_round(100), epochs_of_round(3)
    (20, 134)
    """
    return max(_LEAST_EPOCHS, -(-_LEAST_STEPS // steps))


def usual_tolerance(rows: int) -> float:
    """Return the tolerance by default: the share of one row, but at least 0.02 and at most 0.1.

    >>> usual_tolerance(1000), usual_tolerance(40), usual_tolerance(3)
    (0.02, 0.025, 0.1)
    """
    return min(max(_LEAST_TOLERANCE, 1 / rows), _MOST_TOLERANCE)


def _check_tolerance(value: Any) -> Any:
    if value == "auto":
        return value
    return checks.unless_none(checks.not_negative, "tolerance", value)


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
    epochs_per_round: int | None = None
    scope: str = "normalized"
    schedule: str = "cubic"
    criterion: str | Callable[..., Any] = "norm"
    decay: bool = False
    restart: bool | None = None
    tolerance: float | str | None = "auto"
    monitor: str | None = None

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "sparsity": checks.fraction("sparsity", self.sparsity, "0.9 prunes nine of ten"),
            "rounds": checks.count("rounds", self.rounds, "1 prunes all at once"),
            "epochs_per_round": checks.unless_none(checks.count, "epochs_per_round", self.epochs_per_round),
            "scope": checks.one_of(*SCOPES)("scope", self.scope),
            "schedule": checks.one_of(*SCHEDULES)("schedule", self.schedule),
            "decay": checks.flag("decay", self.decay),
            "restart": checks.unless_none(checks.flag, "restart", self.restart),
            "tolerance": _check_tolerance(self.tolerance),
        }
        if not callable(self.criterion):
            checked["criterion"] = checks.one_of(*CRITERIA)("criterion", self.criterion)
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen
        if self.decay and self.scope == "unit":
            raise ConfigError(
                "decay: expected a scope of weights, found 'unit'; units go at once: leave it out"
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

    def check_fits(self, trainer: Trainer, *, begun: bool = False) -> None:
        """Refuse settings that do not fit this trainer, in which the pruning may have begun."""
        if trainer.variables is None:
            raise ConfigError(
                "prune: expected a trainer that has been trained, found one without variables; call fit first"
            )
        self.monitored(trainer)
        if self.scope == "unit":
            hidden_widths(trainer.model)  # complains if there are no units to remove
            return
        nonzero, total = count_weights(trainer.variables)
        if not begun and round(self.sparsity * total) < total - nonzero:
            raise ConfigError(
                f"sparsity: expected at least the {1 - nonzero / total:.4f} that is there already, found "
                f"{self.sparsity}; raise it, or start from a denser network"
            )

    def monitored(self, trainer: Trainer) -> str:
        """Return the name of the measure that ``tolerance`` limits."""
        known = ("loss", *trainer.metrics)
        if self.monitor is not None:
            return checks.one_of(*known)("monitor", self.monitor)
        usual = _METRIC_OF_KIND.get(getattr(trainer.loss, "targets", ""), "loss")
        return next((name for name in ("accuracy", "r2") if name in known), usual)

    def for_rows(self, rows: int) -> Plan:
        """Return the plan with the tolerance for so many rows on which it is measured."""
        usual = usual_tolerance(rows) if self.tolerance == "auto" else self.tolerance
        return dataclasses.replace(self, tolerance=usual)

    def suffers(self, trainer: Trainer, first: Mapping[str, float], now: Mapping[str, float]) -> bool:
        """Whether what is monitored has become worse by more than ``tolerance``."""
        if self.tolerance is None:
            return False
        assert not isinstance(self.tolerance, str)
        name = self.monitored(trainer)
        before, after = first[name], now[name]
        worse = (after - before) / abs(before or 1.0) if name in _LOWER_IS_BETTER else before - after
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

    def sparsity_now(self, trainer: Trainer, widths: Sequence[int] | None) -> float:
        """Return the share of the weights that are 0, or of the units of ``widths`` that are gone."""
        if self.scope != "unit":
            return sparsity_of(trainer.variables)
        left = hidden_widths(trainer.model)
        return 1 - sum(left) / sum(widths or left)

    def widths_after(self, number: int, widths: Sequence[int]) -> list[int]:
        """Return the widths of the hidden layers to be reached in round ``number``."""
        share = self.sparsity_after(number, 0.0)
        return [max(min(width, FEWEST), width - round(share * width)) for width in widths]

    def is_reached(self, trainer: Trainer, widths: Sequence[int] | None) -> bool:
        """Whether as many weights are 0, or as many units of ``widths`` gone, as ``sparsity`` asks for."""
        if self.scope == "unit":
            left = hidden_widths(trainer.model)
            return all(
                now <= max(1, width - round(self.sparsity * width))
                for now, width in zip(left, widths or left, strict=True)
            )
        nonzero, total = count_weights(trainer.variables)
        return total - nonzero >= round(self.sparsity * total)
