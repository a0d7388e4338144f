"""The training step: forward, backward, clip, update; the only one, compiled or not."""

from __future__ import annotations

from typing import Any, NamedTuple

from xpnet import optim, rng
from xpnet.autodiff import value_and_grad
from xpnet.autodiff.scopes import scope, snake_case
from xpnet.nn import Variables
from xpnet.optim import Optimizer
from xpnet.parameters import Layout, Parameters
from xpnet.train import regularization
from xpnet.train.averaging import effective_count, with_term
from xpnet.train.groups import number_of_each
from xpnet.train.objective import StepObjective
from xpnet.train.rows import Rows
from xpnet.train.settings import Settings
from xpnet.train.setup import Setup
from xpnet.train.state import TrainState

__all__ = ["Scalars", "Step", "StepState", "clipped_gradient", "constrained", "step_once"]


class StepState(NamedTuple):
    """Arrays that a step changes.

    Attributes:
        params: parameters.
        model_state: such as the running statistics of BatchNorm.
        slots: the optimizer's arrays by name; all of its state if it has an ``update`` of its own.
        average: the exponential moving average of parameters and model's state; None without.
    """

    params: Parameters
    model_state: Any
    slots: dict[str, Any]
    average: Variables | None = None


class Scalars(NamedTuple):
    """Numbers of a step, computed on the host: Python floats, or 0-d arrays where steps are compiled.

    Attributes:
        optimizer: those of its rule, such as the learning rate.
        noise: standard deviation of the noise in the gradient; None without.
        averaged: of how many the step is one in the exponential moving average; None without.
    """

    optimizer: tuple[Any, ...]
    noise: Any = None
    averaged: Any = None


class Step:
    """A training step as a pure function, ``step(state, batch, key, scalars) -> (state, loss)``.

    Args:
        setup: model, loss, optimizer of first order, and settings.
        layout: of the parameters.

    Attributes:
        by_rule: whether the optimizer's update is its rule, as nearly always, and no method of its own.
        made_of: what the step depends on beside shapes: steps made of the same are the same.
    """

    def __init__(self, setup: Setup, layout: Layout):
        assert isinstance(setup.optimizer, Optimizer)
        settings, optimizer = setup.settings, setup.optimizer
        self.objective, self.optimizer, self.settings = StepObjective(setup, layout), optimizer, settings
        self.by_rule, self._groups = optimizer.by_rule, step_groups(setup, layout)
        self._update_scope = f"{optimizer.name or snake_case(type(optimizer).__name__)}_update"
        bounds = settings.clip_norm, settings.clip_value, settings.max_norm, settings.gradient_noise
        groups = settings.learning_rate_factors, settings.weight_decay_factors
        place = setup.backend, setup.dtype
        self.made_of = (optimizer, *self.objective.made_of, *bounds, settings.ema_decay, *groups, *place)

    @property
    def noisy(self) -> bool:
        """Whether noise is added to gradients."""
        return self.settings.gradient_noise > 0.0

    @property
    def averaging(self) -> bool:
        """Whether an exponential moving average of the weights is kept."""
        return self.settings.ema_decay is not None

    def __call__(
        self, state: StepState, batch: Rows, key: rng.Key, scalars: Scalars, mask: Any = None
    ) -> tuple[StepState, Any]:
        """Return the state after a step, and the objective before it, a 0-d array.

        Args:
            state: before the step; nothing in it is changed.
            batch: rows.
            key: of the step.
            scalars: of the step.
            mask: of the flat vector of parameters, or None.
        """
        (loss, model_state), gradient = clipped_gradient(
            self.objective, self.settings, state, batch, key, scalars.noise, mask
        )
        params, slots = self._update(gradient, state, scalars)
        flat = constrained(params.flat, params.layout, self.settings.max_norm, mask)
        params, average = Parameters(flat, params.layout), state.average
        if average is not None:
            with scope("weight_average"):
                average = with_term(average, Variables(params, model_state), scalars.averaged)
        return StepState(params, model_state, slots, average), loss

    def _update(
        self, gradient: Parameters, state: StepState, scalars: Scalars
    ) -> tuple[Parameters, dict[str, Any]]:
        if not self.by_rule:
            return self.optimizer.update(gradient, state.slots, state.params)
        names, layout = self.optimizer.slots, state.params.layout
        before = [state.slots[name].flat for name in names]
        with scope(self._update_scope):
            given = scalars.optimizer
            if self._groups is not None:
                given = self.optimizer.vectors(given, *self._groups)
            flat, after = self.optimizer.rule(gradient.flat, before, state.params.flat, *given)
        named = {name: Parameters(x, layout) for name, x in zip(names, after, strict=True)}
        return Parameters(flat, layout), named

    def numbers(self, first: int, done: int, count: int, averaged: int = 0) -> list[tuple[float, ...]]:
        """Return the numbers of the next steps, a row for each: the rule's, then the others of `Scalars`.

        Args:
            first: number of the first of these steps, counted from 1.
            done: how many steps the optimizer's state has seen.
            count: how many steps.
            averaged: how many steps the average has seen.
        """
        at, rate = self.optimizer.scalars, self.optimizer.learning_rate_at
        rows = [at(rate(n), n) for n in range(done + 1, done + count + 1)]
        if self.noisy:
            variance = self.settings.gradient_noise
            rows = [(*row, regularization.noise_deviation(variance, first + n)) for n, row in enumerate(rows)]
        if self.averaging:
            rows = [(*row, self._share(averaged + n)) for n, row in enumerate(rows, 1)]
        return rows

    def scalars(self, step: int, done: int, averaged: int = 0) -> Scalars:
        """Return the numbers of a step; an optimizer with an ``update`` of its own finds out its own.

        Args:
            step: its number, counted from 1.
            done: how many steps the optimizer's state has seen.
            averaged: how many steps the average has seen.
        """
        noise = regularization.noise_deviation(self.settings.gradient_noise, step) if self.noisy else None
        share = self._share(averaged + 1) if self.averaging else None
        optimizer, n = self.optimizer, done + 1
        rule = optimizer.scalars(optimizer.learning_rate_at(n), n) if self.by_rule else ()
        return Scalars(tuple(rule), noise, share)

    def _share(self, number: int) -> float:
        assert self.settings.ema_decay is not None
        return effective_count(self.settings.ema_decay, number)


def step_groups(setup: Setup, layout: Layout) -> tuple[Any, Any] | None:
    """Return the factors of each parameter for `Optimizer.vectors`, on the device; None if all are 1."""
    settings, backend, dtype = setup.settings, setup.backend, setup.dtype
    rates, decays = (
        number_of_each(name, getattr(settings, name) or {}, layout, 1.0)
        for name in ("learning_rate_factors", "weight_decay_factors")
    )
    if (rates == 1.0).all() and (decays == 1.0).all():
        return None
    on_device = backend.asarray(rates, dtype=dtype)
    same = (decays == 1.0).all()  # one vector is read in place of two
    return on_device, on_device if same else backend.asarray(rates * decays, dtype=dtype)


def clipped_gradient(
    objective: StepObjective,
    settings: Settings,
    state: StepState,
    batch: Rows,
    key: rng.Key,
    noise: Any = None,
    mask: Any = None,
) -> tuple[tuple[Any, Any], Parameters]:
    """Return ``((objective, model state), gradient)``, the gradient clipped and noisy as was asked for.

    Args:
        objective: of the training.
        settings: bounds of the gradient, and whether there is noise.
        state, batch, key, mask: as for a `Step`; ``state.slots`` does not count.
        noise: standard deviation of the noise, a number or 0-d array.
    """
    differentiated = value_and_grad(objective.value, has_aux=True)
    done, gradient = differentiated(state.params, state.model_state, batch, key, mask)
    with scope("gradient_clipping"):
        if settings.clip_value is not None:
            gradient = optim.clip_by_value(gradient, settings.clip_value)
        if settings.clip_norm is not None:
            gradient = optim.clip_by_norm(gradient, settings.clip_norm)
    if settings.gradient_noise:
        flat = gradient.flat
        with scope("gradient_noise"):
            gradient = Parameters(flat + regularization.noise(key, flat, noise), gradient.layout)
    return done, gradient


def constrained(flat: Any, layout: Layout, max_norm: float | None, mask: Any) -> Any:
    """Return updated parameters within their bounds: of norms, and 0 where the mask is."""
    with scope("parameter_bounds"):
        if max_norm is not None:
            flat = regularization.bounded(flat, layout, max_norm)
        return flat if mask is None else flat * mask


def step_once(step: Step, state: TrainState, batch: Rows, key: rng.Key) -> Any:
    """Take a step, uncompiled, and return its loss, a 0-d array on the device.

    Args:
        step: the step to take.
        state: with variables; it has those after the step then.
        batch: rows on the device.
        key: of the step, whose number is ``state.step + 1``.
    """
    variables, opt_state = state.variables, state.opt_state
    assert variables is not None
    assert opt_state is not None
    counted = opt_state.get("step", 0)
    known = state.average if step.averaging else None
    mean, averaged = (None, 0) if known is None else (known.variables, known.terms)
    before = StepState(variables.params, variables.state, opt_state, mean)
    scalars = step.scalars(state.step + 1, counted, averaged)
    after, loss = step(before, batch, key, scalars, state.mask)
    state.variables = Variables(after.params, after.model_state)
    if known is not None and after.average is not None:
        state.average = known._replace(variables=after.average, terms=known.terms + 1)
    state.opt_state = {"step": counted + 1, **after.slots} if step.by_rule else after.slots
    state.step += 1
    return loss
