"""Steps of methods of second order: each looks at all rows, and an epoch is one of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from xpnet.backends.profiling import profiled
from xpnet.containers import leaves, rebuild
from xpnet.errors import ConfigError, DivergedError
from xpnet.nn import Variables
from xpnet.optim import Method
from xpnet.optim.second_order.objective import Objective
from xpnet.parameters import Parameters
from xpnet.program import compile
from xpnet.train.batches import Batches
from xpnet.train.divergence import first_nonfinite_layer
from xpnet.train.rows import Rows
from xpnet.train.steps import paths_of_draws

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["FullBatchSteps", "check_full_batch", "state_of"]

_NOT_WITH = ("clip_norm", "clip_value", "max_norm", "gradient_noise")


def check_full_batch(trainer: Trainer, batch_size: int | None = None) -> None:
    """Refuse what a method of second order cannot keep to: it needs the same objective at every point."""
    method = trainer.optimizer
    if not isinstance(method, Method):
        return
    label = _label(method)
    if batch_size is not None:
        raise ConfigError(
            f"{label}: expected full batches, found batch_size={batch_size}; pass batch_size=None, or choose "
            "a first-order optimizer such as adam"
        )
    for name in _NOT_WITH:
        if getattr(trainer, name):
            raise ConfigError(
                f"{label}: expected no {name}, found {getattr(trainer, name)}: its line search looks at the "
                "objective itself; leave it out, or choose a first-order optimizer such as sgd"
            )


def _label(method: Method) -> str:
    return f"optimizer {method.name or type(method).__name__}"


def state_of(method: Method) -> dict[str, Any]:
    """Return the optimizer's state before the first step: what a method keeps is added to it."""
    return {"step": 0, "method": type(method).__name__}


class FullBatchSteps:
    """Runs the steps of a trainer whose optimizer is a `Method`, with the interface of `CompiledSteps`.

    The objective and its derivatives are functions of the flat vector over all training rows. What the method
    keeps from step to step is in ``trainer.opt_state``; the value and the gradient are computed anew when a
    fit begins, for its rows may be others.

    Args:
        trainer: with variables.
        train: all rows.

    Raises:
        ConfigError: the model draws random numbers in training.
        DivergedError: the objective is not finite where the training stands.
    """

    def __init__(self, trainer: Trainer, train: Rows):
        assert isinstance(trainer.optimizer, Method)
        self._method = trainer.optimizer
        params, state = trainer.variables  # type: ignore[misc]
        self._layout = layout = params.layout
        step, mask = trainer.objective, trainer.mask  # what follows has neither the trainer nor this object

        def outputs(flat: Any) -> tuple[Any, Any]:
            found, counted, _ = step.outputs(Parameters(flat, layout), state, train, None, mask)
            return found, counted.flat

        def value(found: tuple[Any, Any]) -> Any:
            return step.value_of(found[0], Parameters(found[1], layout), train)

        def statistics(flat: Any, now: list[Any]) -> list[Any]:
            return leaves(step.outputs(Parameters(flat, layout), rebuild(state, now), train, None, mask)[2])

        if paths_of_draws(trainer, train):
            raise ConfigError(
                f"{_label(self._method)}: expected a model that draws nothing in training, found "
                "one with Dropout or the like; take it out, or choose a first-order optimizer such as adam"
            )
        self._objective = Objective(value, params.flat, model=outputs, compile=trainer.compile)
        self._statistics = compile(statistics, lower=trainer.compile)
        self._at = self._begun(trainer, train)

    def _begun(self, trainer: Trainer, train: Rows) -> dict[str, Any]:
        """Return the method's state where the training stands."""
        variables = trainer.variables
        assert variables is not None
        kept = {name: x for name, x in trainer.opt_state.items() if name not in ("step", "method")}  # type: ignore[union-attr]
        try:
            begun = self._method.begin(self._objective, variables.params.flat)
        except ConfigError as error:
            epoch, step = trainer.epoch + 1, trainer.step + 1
            key = trainer.step_key(step)
            layer = first_nonfinite_layer(trainer.model, variables, train.X, key)
            raise DivergedError(
                f"diverged in epoch {epoch}, step {step}: the objective or its gradient is not finite, "
                f"first in {layer}; check the data's scale, or draw smaller weights",
                epoch=epoch, step=step, layer=layer,
            ) from error  # fmt: skip
        return {**kept, **begun}

    def begin_epoch(self, trainer: Trainer, plan: Batches) -> None:
        """Nothing has to be sent: the rows are there."""

    def at_a_time(self) -> int:
        """Return how many steps are taken together."""
        return 1

    def between_epochs(self, rows: int) -> contextlib.AbstractContextManager[None]:
        """Return what goes around the outputs for so many rows between two epochs: nothing."""
        return contextlib.nullcontext()

    def run(self, trainer: Trainer, orders: Any, count: int, *, donate: bool) -> Any:
        """Take a step; return the objective before it (1,), on the device.

        Raises:
            StuckError: no lower point was found.
        """
        before = self._at["value"]
        with profiled(trainer.backend, f"step of {_label(self._method)}"):
            self._at = self._method.step(self._objective, self._at)
        flat, state = trainer.objective.constrained(self._at["x"], trainer.mask), trainer.variables.state  # type: ignore[union-attr]
        self._at["x"] = flat
        if leaves(state):
            state = rebuild(state, self._statistics(flat, leaves(state)))
        trainer.variables = Variables(Parameters(flat, self._layout), state)
        trainer.step += 1
        done = trainer.opt_state["step"] + 1  # type: ignore[index]
        kept = {name: x for name, x in self._at.items() if name not in ("x", "value", "gradient")}
        trainer.opt_state = state_of(self._method) | {"step": done} | kept
        return trainer.backend.asarray([before], dtype=trainer.dtype)
