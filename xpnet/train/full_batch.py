"""Steps of methods of second order: each looks at all rows, and an epoch is one of them."""

from __future__ import annotations

import contextlib
from typing import Any

from xpnet.backends.profiling import profiled
from xpnet.containers import leaves, rebuild
from xpnet.errors import ConfigError, DivergedError
from xpnet.nn import Variables
from xpnet.optim import Method
from xpnet.optim.second_order.objective import Objective
from xpnet.parameters import Parameters
from xpnet.program.compiling import Compiled
from xpnet.train.averaging import effective_count, with_term
from xpnet.train.batches import Batches
from xpnet.train.divergence import first_nonfinite_layer
from xpnet.train.objective import StepObjective
from xpnet.train.rows import Rows
from xpnet.train.setup import Setup
from xpnet.train.state import TrainState
from xpnet.train.step import constrained
from xpnet.train.steps import paths_of_draws

__all__ = ["FullBatchSteps", "state_of"]


def state_of(method: Method) -> dict[str, Any]:
    """Return the optimizer's state before the first step; methods add their entries to it."""
    return {"step": 0, "method": type(method).__name__}


class FullBatchSteps:
    """Takes the steps of a `Method`, see `Steps`: each is one of its iterations.

    The objective and its derivatives are functions of the flat vector over all training rows. What the method
    keeps from step to step is in the optimizer's state; the value and the gradient are computed anew when a
    fit begins, for its rows may be others.

    Args:
        setup: of the training.
        state: with variables.
        train: all rows.

    Raises:
        ConfigError: the model draws random numbers in training.
        DivergedError: the objective is not finite where the training stands.
    """

    may_compile, compiling = True, 0.0

    def __init__(self, setup: Setup, state: TrainState, train: Rows):
        assert isinstance(setup.optimizer, Method)
        assert state.variables is not None
        self._setup, self._method = setup, setup.optimizer
        params, model_state = state.variables
        self._layout = layout = params.layout
        objective, mask = StepObjective(setup, layout), state.mask  # what follows does not have this object

        def outputs(flat: Any) -> tuple[Any, Any]:
            found, counted, _ = objective.outputs(Parameters(flat, layout), model_state, train, None, mask)
            return found, counted.flat

        def value(found: tuple[Any, Any]) -> Any:
            return objective.value_of(found[0], Parameters(found[1], layout), train)

        def statistics(flat: Any, now: list[Any]) -> list[Any]:
            params, before = Parameters(flat, layout), rebuild(model_state, now)
            return leaves(objective.outputs(params, before, train, None, mask)[2])

        if paths_of_draws(setup, state.variables, train):
            raise ConfigError(
                f"optimizer {setup.optimizer_name}: expected a model that draws nothing in training, found "
                "one with Dropout or the like; take it out, or choose a first-order optimizer such as adam"
            )
        lower = setup.settings.compile
        self._objective = Objective(value, params.flat, model=outputs, compile=lower)
        self._statistics = Compiled(statistics, lower=lower, freeze=False)  # as are those of the objective
        self._at = self._begun(state, train)

    def _begun(self, state: TrainState, train: Rows) -> dict[str, Any]:
        """Return the method's state where the training stands."""
        variables, opt_state = state.variables, state.opt_state
        assert variables is not None
        assert opt_state is not None
        kept = {name: x for name, x in opt_state.items() if name not in ("step", "method")}
        try:
            begun = self._method.begin(self._objective, variables.params.flat)
        except ConfigError as error:
            epoch, step = state.epoch + 1, state.step + 1
            key = self._setup.step_key(step)
            layer = first_nonfinite_layer(self._setup.model, variables, train.X, key)
            raise DivergedError(
                f"diverged in epoch {epoch}, step {step}: the objective or its gradient is not finite, "
                f"first in {layer}; check the data's scale, or draw smaller weights",
                epoch=epoch, step=step, layer=layer,
            ) from error  # fmt: skip
        return {**kept, **begun}

    def begin_epochs(self, state: TrainState, plan: Batches, count: int) -> None:
        """Nothing has to be sent: the rows are there."""

    def at_a_time(self, plan: Batches) -> int:
        """Return 1."""
        return 1

    def between_epochs(self, rows: int) -> contextlib.AbstractContextManager[None]:
        """Return a context that does nothing."""
        return contextlib.nullcontext()

    def measures_by(self, rows: int) -> str:
        """Return the lowering that was asked for."""
        return self._setup.settings.compile

    def end(self) -> None:
        """Nothing is left to let go of: each fit has steps of its own."""

    def run(self, state: TrainState, orders: Any, count: int, *, donate: bool) -> Any:
        """Take a step; return the objective before it (1,), on the device.

        Raises:
            StuckError: no lower point was found.
        """
        assert state.variables is not None
        assert state.opt_state is not None
        backend, before = self._setup.backend, self._at["value"]
        with profiled(backend, f"step of optimizer {self._setup.optimizer_name}"):
            self._at = self._method.step(self._objective, self._at)
        flat, model_state = constrained(self._at["x"], self._layout, None, state.mask), state.variables.state
        self._at["x"] = flat
        if leaves(model_state):
            model_state = rebuild(model_state, self._statistics(flat, leaves(model_state)))
        state.variables = Variables(Parameters(flat, self._layout), model_state)
        state.step += 1
        done = state.opt_state["step"] + 1
        if self._setup.settings.ema_decay is not None and state.average is not None:
            number = state.average.terms + 1
            share = effective_count(self._setup.settings.ema_decay, number)
            mean = with_term(state.average.variables, state.variables, share)
            state.average = state.average._replace(variables=mean, terms=number)
        kept = {name: x for name, x in self._at.items() if name not in ("x", "value", "gradient")}
        state.opt_state = state_of(self._method) | {"step": done} | kept
        return backend.asarray([before], dtype=self._setup.dtype)
