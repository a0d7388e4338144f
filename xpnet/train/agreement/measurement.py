"""Draws and results of a training on one device, as host arrays by check and name."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from xpnet import rng
from xpnet.backends import Backend
from xpnet.backends.lacking import word_dtype
from xpnet.nn import Variables
from xpnet.optim import Optimizer
from xpnet.parameters import Parameters
from xpnet.program import compile
from xpnet.train.batches import Batches
from xpnet.train.checkpoint_file import flatten
from xpnet.train.diagnostics.trial import begun_copy
from xpnet.train.history import History
from xpnet.train.monitor import NO_STOPPING
from xpnet.train.objective import StepObjective
from xpnet.train.regularization import noise_deviation
from xpnet.train.rows import Rows
from xpnet.train.step import StepState, clipped_gradient
from xpnet.train.steps import paths_of_draws
from xpnet.train.trainer import Trainer

__all__ = ["AFTER", "BEFORE", "CHECKS", "Case", "Measured", "draws", "measure", "moved"]

BEFORE = ("draws", "weights", "predictions", "loss", "gradient")
AFTER = ("parameters", "statistics", "optimizer", "predictions after")
CHECKS = (*BEFORE, *AFTER)
"""The checks, in the order of a training."""

Measured = dict[str, dict[str, np.ndarray]]
_DRAWN = 1001  # words: an odd number, of which half a counter's words are left over
_EPOCHS = 2


@dataclasses.dataclass(frozen=True)
class Case:
    """A training to be compared.

    Attributes:
        network: what reports call it.
        loss: the loss's name.
        trainer: trained or not, on any device; it stays as it is.
        X, y, weight: its rows on the host.
        batch_size: rows of a step; None for all.
        steps: how many are taken; 0 for a first step that is looked at and not taken.
    """

    network: str
    loss: str
    trainer: Trainer
    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    batch_size: int | None
    steps: int

    def plan(self, trainer: Trainer) -> Batches:
        """Return the batches of the steps of ``trainer``."""
        setup = trainer.setup
        return Batches(len(self.X), self.batch_size, setup.settings.batches, setup.key, setup.backend)


def moved(trainer: Trainer, home: Backend, dtype: str, compile: str) -> Trainer:
    """Return a copy of the trainer on another device, in another dtype, without callbacks and stopping."""

    def there(x: Any) -> Any:
        if not hasattr(x, "shape"):
            return x
        host = trainer.backend.to_host(x)
        return home.asarray(host, dtype=dtype if host.dtype.kind == "f" else None)

    other = trainer.copy()
    settings = dataclasses.replace(
        trainer.settings, dtype=dtype, compile=compile, restore_best=False, progress=False, max_steps=None,
        **NO_STOPPING,
    )  # fmt: skip
    other.setup = dataclasses.replace(trainer.setup, backend=home, metrics={}, settings=settings)
    other.state = trainer.state.map_arrays(there)
    other.state.history, other.state.best = History(), None
    other.callbacks = []
    return other


def draws(case: Case, home: Backend, dtype: str, compile: str) -> Measured:
    """Return the integers that a training draws on a device: row numbers, and words of its random keys."""
    trainer, rows = begun_copy(moved(case.trainer, home, dtype, compile), case.X, case.y, case.weight)
    found: dict[str, np.ndarray] = {}
    with home.activate():
        plan = case.plan(trainer)
        for epoch in range(trainer.epoch + 1, trainer.epoch + 1 + _EPOCHS):
            orders = [order for order, _ in plan.epoch(epoch) if order is not None]
            if orders:
                found[f"rows of epoch {epoch}"] = home.to_host(home.xp.concat(orders))
        step = trainer.step + 1
        for path in [(), *paths_of_draws(trainer.setup, trainer.variables, rows)]:
            name = ".".join(map(str, path)) or "step"
            found[f"words of {name}"] = home.to_host(_words(trainer, step, path))
    return {"draws": {name: values.astype(np.int64) for name, values in found.items()}}


class _Drawn(NamedTuple):
    """A key of which only the words are known, as in a compiled step."""

    words: tuple[Any, Any]
    stream: int = 0


def _words(trainer: Trainer, step: int, path: tuple[int | str, ...]) -> Any:
    """Return words drawn on the device, as a step of the trainer draws them: compiled or not."""
    home = trainer.backend
    if trainer.settings.compile == "off":
        key = trainer.setup.step_key(step).fold(*path)
        return rng.bits(key, (_DRAWN,), xp=home.xp, device=home.device)

    def draw(low: Any, high: Any) -> Any:
        drawn: Any = _Drawn((low, high))
        return rng.bits(drawn, (_DRAWN,), xp=home.xp, device=home.device)

    words = rng.words_of_steps(trainer.setup.key.fold("step"), step, 1, path)[0]
    sent = home.asarray(words, dtype=word_dtype(home.xp))
    return compile(draw, lower=trainer.settings.compile)(sent[0, ...], sent[1, ...])


def measure(
    case: Case, home: Backend, dtype: str, compile: str, *, change: Any = None, train: bool = True
) -> Measured:
    """Return the results of a training: before, in and after its steps.

    Args:
        case: the training.
        home: the device.
        dtype: of its numbers.
        compile: as for the trainer.
        change: a function of a host array that changes inputs and weights slightly; None: as they are.
        train: whether steps are taken.

    Raises:
        DivergedError: the training diverges.
    """
    changed = change or (lambda x: x)
    X = changed(case.X)
    trainer, rows = begun_copy(moved(case.trainer, home, dtype, compile), X, case.y, case.weight)
    params, state = trainer.variables
    host = home.to_host(params.flat)
    found: Measured = {"weights": _bits(params, host)}
    if change is not None:
        trainer.variables = Variables(
            Parameters(home.asarray(changed(host), dtype=dtype), params.layout), state
        )
    if case.steps:
        found["predictions"] = _predicted(trainer, X)
    with home.activate():
        loss, gradient = _first_step(case, trainer, rows)
        found["loss"] = {"loss": np.atleast_1d(home.to_host(loss))}
        found["gradient"] = _named(home, Parameters(gradient, params.layout))
    return found | (_trained(case, trainer, X) if train and case.steps else {})


def _trained(case: Case, trainer: Trainer, X: np.ndarray) -> Measured:
    """Return the trainer's state and predictions after the case's steps."""
    home, begun = trainer.backend, trainer.step
    trainer.setup = trainer.setup.changed(max_steps=begun + case.steps)
    epochs = trainer.epoch + -(-case.steps // len(case.plan(trainer)))
    trainer.fit(X, case.y, epochs=epochs, batch_size=case.batch_size, sample_weight=case.weight)
    params, state = trainer.variables
    found: Measured = {}
    with home.activate():
        found["parameters"] = _named(home, params) | {"steps taken": np.asarray([trainer.step - begun])}
        if state:
            found["statistics"] = {name: home.to_host(x) for name, x in flatten(state).items()}
        slots = trainer.optimizer.slots if isinstance(trainer.optimizer, Optimizer) else ()
        for slot in slots:
            kept = _named(home, trainer.opt_state[slot])
            named = {f"{slot} of {name}": values for name, values in kept.items()}
            found["optimizer"] = found.get("optimizer", {}) | named
    return found | {"predictions after": _predicted(trainer, X)}


def _named(home: Backend, params: Parameters) -> dict[str, np.ndarray]:
    """Return parameters, or vectors laid out like them, as host arrays by name."""
    host = home.to_host(params.flat)
    views = params.layout.views(host)
    return dict(zip(params.layout.names, views, strict=True))


def _bits(params: Parameters, host: np.ndarray) -> dict[str, np.ndarray]:
    """Return the bits of parameters as whole numbers, by name."""
    whole = np.ascontiguousarray(host).view({"float32": np.int32, "float64": np.int64}[host.dtype.name])
    return dict(zip(params.layout.names, params.layout.views(whole), strict=True))


def _predicted(trainer: Trainer, X: np.ndarray) -> dict[str, np.ndarray]:
    """Return raw outputs and predictions for all rows; compiled if the trainer compiles."""
    home = trainer.backend
    trainer.outputs(X)  # the second time as many rows are predicted, a program does it
    return {"outputs": home.to_host(trainer.outputs(X)), "predicted": trainer.predict(X)}


def _first_step(case: Case, trainer: Trainer, rows: Rows) -> tuple[Any, Any]:
    """Return the loss and the gradient of the next step, as the step takes it: clipped, noisy."""
    setup, state = trainer.setup, trainer.state
    settings, key = setup.settings, setup.step_key(state.step + 1)
    noise = noise_deviation(settings.gradient_noise, state.step + 1)
    order, _ = next(case.plan(trainer).epoch(state.epoch + 1))
    params, model_state = trainer.variables
    objective = StepObjective(setup, params.layout)

    def first_step(params: Any, model_state: Any, X: Any, y: Any, weight: Any) -> tuple[Any, Any]:
        before, batch = StepState(params, model_state, {}), Rows(X, y, weight)
        done, gradient = clipped_gradient(objective, settings, before, batch, key, noise, state.mask)
        return done[0], gradient.flat

    batch = rows.take(order)
    return compile(first_step, lower=settings.compile)(params, model_state, batch.X, batch.y, batch.weight)
