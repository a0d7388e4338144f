"""The parts of a training that its state does not change: model, loss, optimizer, backend, settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from xpnet import losses, optim, rng
from xpnet.backends import Backend
from xpnet.errors import ConfigError
from xpnet.nn import Layer
from xpnet.optim import Method, Optimizer
from xpnet.program.lowerings.base import choose
from xpnet.train.arguments import check_model
from xpnet.train.monitor import Monitor, monitor_of
from xpnet.train.regularization import check_smoothing
from xpnet.train.settings import Settings

__all__ = ["Setup", "changes_for"]

_BATCH = 64
_GROUPS = ("learning_rate_factors", "weight_decay_factors")
_NOT_OF_SECOND_ORDER = ("clip_norm", "clip_value", "max_norm", "gradient_noise", *_GROUPS)


@dataclasses.dataclass(frozen=True)
class Setup:
    """Model, loss, optimizer, backend, metrics and settings of a training; checked as a whole.

    Attributes:
        model: a layer or model.
        loss: a function of :mod:`xpnet.losses` or the user's own; also its name or table.
        optimizer: of first or second order; also its name.
        backend: where to compute, with the precision of the settings.
        metrics: functions ``(outputs, targets) -> 0-d array`` by name.
        settings: everything else.

    Raises:
        ConfigError: parts that contradict each other.
        BackendError: the backend lacks the dtype.
    """

    model: Layer
    loss: Callable[..., Any]
    optimizer: Optimizer | Method
    backend: Backend
    metrics: Mapping[str, Callable[..., Any]]
    settings: Settings

    def __post_init__(self) -> None:
        settings = self.settings
        check_model(self.model)
        made = {
            "loss": losses.get(self.loss),
            "optimizer": optim.get(self.optimizer),
            "backend": self.backend.with_precision(settings.precision),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)
        self.backend.dtype(settings.dtype)  # complains now if the device lacks it
        choose(settings.compile, self.backend.xp)  # likewise
        check_smoothing(self.loss, settings.label_smoothing)
        monitor_of(settings.monitor, self.metrics)
        self._check_second_order()
        self._check_groups()

    def _check_second_order(self) -> None:
        """Refuse settings for which a line search would need another objective at each point."""
        if isinstance(self.optimizer, Method):
            for name in _NOT_OF_SECOND_ORDER:
                if value := getattr(self.settings, name):
                    raise ConfigError(
                        f"optimizer {self.optimizer_name}: expected no {name}, found {value}: its line "
                        "search looks at the objective itself; leave it out, or choose a first-order "
                        "optimizer such as sgd"
                    )

    def _check_groups(self) -> None:
        """Refuse factors that the optimizer does not apply."""
        for name in _GROUPS:
            value, optimizer = getattr(self.settings, name), self.optimizer
            if not value or isinstance(optimizer, Method):
                continue
            if not optimizer.takes_groups:
                raise ConfigError(
                    f"{name}: expected an optimizer with a method 'vectors' and no 'update' of its own, "
                    f"found {self.optimizer_name}; define it as xpnet.optim.Optimizer says, or leave them out"
                )
            if name == "weight_decay_factors" and not hasattr(optimizer, "weight_decay"):
                raise ConfigError(
                    f"{name}: expected an optimizer with a weight decay, found {self.optimizer_name}; leave "
                    "them out, or choose adamw"
                )

    def check_batch_size(self, batch_size: int | str | None) -> None:
        """Refuse mini-batches for a method of second order: its objective is that of all rows."""
        if isinstance(self.optimizer, Method) and batch_size not in (None, "auto"):
            raise ConfigError(
                f"optimizer {self.optimizer_name}: expected full batches, found batch_size={batch_size}; "
                "pass batch_size=None, or choose a first-order optimizer such as adam"
            )

    def batch_size_of(self, rows: int, asked: int | str | None) -> Any:
        """Return the batch size for so many rows, None for all of them; ``"auto"`` for the usual one."""
        if asked != "auto":
            return asked
        return None if isinstance(self.optimizer, Method) or rows <= _BATCH else _BATCH

    def changed(self, **settings: Any) -> Setup:
        """Return a setup with other settings, checked as a whole."""
        return dataclasses.replace(self, settings=dataclasses.replace(self.settings, **settings))

    def workable(self) -> Setup:
        """Return this setup, of a pickle, with settings that its backend has: it may be another one here."""
        changes = changes_for(self.backend, self.settings.compile, self.settings.precision)
        return self.changed(**changes) if changes else self

    @property
    def optimizer_name(self) -> str:
        """The optimizer's registered name, or that of its class."""
        return self.optimizer.name or type(self.optimizer).__name__

    @property
    def monitor(self) -> Monitor:
        """What chooses the best epoch."""
        return monitor_of(self.settings.monitor, self.metrics)

    @property
    def dtype(self) -> str:
        """The dtype of the parameters, and of inputs and outputs."""
        return self.settings.dtype

    @property
    def key(self) -> rng.Key:
        """The root of all draws."""
        return rng.key(self.settings.seed)

    def step_key(self, step: int) -> rng.Key:
        """Return the randomness of a step: it depends on the seed and the step's number alone."""
        return self.key.fold("step", step).at_step(step)


def changes_for(home: Backend, compile: Any, precision: Any) -> dict[str, Any]:
    """Return the settings of a training on another device that have to be others on this backend.

    Args:
        home: where the training goes on, or predicts.
        compile: its setting: steps may have been compiled by something that is not installed here.
        precision: its setting, which this device may not have.
    """
    changes: dict[str, Any] = {}
    try:
        choose(compile, home.xp)
    except ConfigError:
        changes["compile"] = "auto"
    try:
        home.with_precision(precision)
    except ConfigError:
        changes["precision"] = "float32"
    return changes
