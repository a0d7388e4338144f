"""Training steps as one compiled program: gather, forward, backward, clip, update, for many steps a call."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xpnet import rng
from xpnet.backends.lacking import word_dtype
from xpnet.containers import leaves, rebuild
from xpnet.nn import Variables
from xpnet.optim import Optimizer
from xpnet.parameters import Parameters
from xpnet.program.looping import Loop
from xpnet.program.lowerings import openblas
from xpnet.train.batches import Batches
from xpnet.train.regularization import noise
from xpnet.train.rows import Rows

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["CompiledSteps", "Fitting", "compiled_steps", "step_seconds"]

# What a step takes in NumPy, roughly, in seconds: for its calls, and for each parameter and row.
_STEP, _PARAMETER, _PRODUCT = 60e-6, 1.5e-9, 2e-11
_WORTH_COMPILING = 1.0
_BLAS_AWAKE = 0.1
_SIZES = 8  # of batches whose programs are kept


class CompiledSteps:
    """Runs steps of a trainer as compiled programs; the same numbers as its own steps, one by one.

    A step's state is the flat vector of parameters, the model's state and the optimizer's slots. What changes
    from step to step are the batch's row numbers, the optimizer's scalars, and the words of its random
    keys; all of them are computed on the host for many steps at a time.

    Args:
        trainer: whose variables are drawn.
        train: rows like those to train on.

    Attributes:
        trainer: as given.
        loop: what ran last: compiled programs, one for each size of batch.
        settings: what they depend on beside shapes.
        lowering: what runs the steps, once they have run.
    """

    loop: Loop
    _plan: Batches

    def __init__(self, trainer: Trainer, train: Rows):
        self.trainer = trainer
        self.settings = _settings(trainer)
        self._objective, self._masked = trainer.objective, trainer.mask is not None
        params, self._state = trainer.variables  # type: ignore[misc]
        self._layout = params.layout
        assert isinstance(trainer.optimizer, Optimizer)
        self._optimizer = trainer.optimizer
        self._slots = list(self._optimizer.slots)
        self._numbers = len(self._optimizer.scalars(0.1, 1)) + self._objective.noisy
        self._constants: list[Any] = []
        self._paths = paths_of_draws(trainer, train)
        self._ahead: list[Any] = []  # one array for each scalar and each draw, over the epoch's steps
        self._taken = 0
        self._loops: dict[int, tuple[str, Loop]] = {}
        self.lowering = ""

    def begin(self, train: Rows) -> None:
        """Train on these rows from here on."""
        self._constants = [x for x in (train.X, train.y, train.weight, self.trainer.mask) if x is not None]

    def begin_epoch(self, plan: Batches) -> None:
        """Send what the steps of the next epoch need to the device, at once."""
        trainer, steps = self.trainer, len(plan)
        done = trainer.opt_state["step"]  # type: ignore[index]
        self._plan, self._epoch_began = plan, trainer.step
        self._ahead = [*self._scalars(done, steps), *self._words(trainer.step + 1, steps)]
        self._taken = 0

    def at_a_time(self) -> int:
        """Return how many steps are taken together: what lasts half a second, so that Ctrl-C is heard."""
        batch = self._plan.size or self._plan.rows
        return max(1, int(0.5 / step_seconds(self._layout.size, batch)))

    def run(self, orders: Any, count: int, *, donate: bool) -> Any:
        """Take ``count`` steps of the epoch that was begun; return their losses (count,), on the device.

        Args:
            orders: row numbers (steps, batch), or None for steps on all rows.
            count: number of steps.
            donate: whether the state may be overwritten, as nobody has seen it.
        """
        trainer = self.trainer
        variables, opt_state = trainer.variables, trainer.opt_state
        carry = [
            variables.params.flat,  # type: ignore[union-attr]
            *leaves(variables.state),  # type: ignore[union-attr]
            *(opt_state[name].flat for name in self._slots),  # type: ignore[index]
        ]
        sequences = [x[self._taken : self._taken + count, ...] for x in self._ahead]
        self._taken += count
        if orders is not None:
            sequences.insert(0, orders)
        self.loop = self._loop(self._plan.rows if orders is None else orders.shape[1])
        carry, (losses,) = self.loop(carry, self._constants, sequences, donate=donate)
        params, state, slots = self._opened(carry)
        trainer.variables = Variables(params, state)
        trainer.opt_state = {"step": opt_state["step"] + count, **slots}  # type: ignore[index]
        trainer.step += count
        return losses

    def _loop(self, batch: int) -> Loop:
        """Return the loop for steps on ``batch`` rows.

        With ``"auto"``, numba is for steps that there will have been enough of by the end of this epoch to be
        worth a second of compiling: not for the ragged last batches of a few epochs. How long a step takes is
        estimated from sizes, not measured, so that the same run, or one that is resumed, always goes over at
        the same epoch.
        """
        trainer, lower = self.trainer, self.trainer.compile
        if lower == "auto" and trainer.backend.name == "numpy" and find_spec("numba") is not None:
            ragged = self._plan.size not in (None, batch)
            steps = trainer.epoch + 1 if ragged else self._epoch_began + len(self._plan)
            worth = steps * step_seconds(self._layout.size, batch)
            lower = "numba" if worth > _WORTH_COMPILING else "numpy"
        known, loop = self._loops.pop(batch, ("", None))
        if loop is None or known != lower:
            loop = Loop(self._step, lower)  # the memory of the other one is free now
        if len(self._loops) >= _SIZES:
            self._loops.clear()
        self._loops[batch] = lower, loop
        self.lowering = lower
        return loop

    def between_epochs(self, rows: int) -> contextlib.AbstractContextManager[None]:
        """Return what goes around the outputs for so many rows between two epochs.

        NumPy's BLAS keeps its threads awake for some 100 milliseconds after a product, on the very cores of
        the threads that take the next steps; so what takes no longer than that has one of them.
        """
        short = rows * self._layout.size * _PRODUCT < _BLAS_AWAKE
        return openblas.one_thread() if short and self.lowering == "numba" else contextlib.nullcontext()

    def _step(self, carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
        params, state, slots = self._opened(carry)
        X, y, *rest = constants
        mask = rest.pop() if self._masked else None
        batch = Rows(X, y, rest[0] if rest else None)
        numbers, draws = len(row) - len(self._paths) - self._numbers, len(row) - len(self._paths)
        if numbers > 0:
            batch = batch.take(row[0])
        scalars, words = list(row[numbers:draws]), row[draws:]
        deviation = scalars.pop() if self._objective.noisy else None
        key = _StepKey(0, (), dict(zip(self._paths, words, strict=True)))
        (loss, state), gradient = self._objective.gradient(
            params, state, batch, key, mask=mask, noise=deviation
        )
        flat, new_slots = self._optimizer.rule(
            gradient.flat, [slots[name].flat for name in self._slots], params.flat, *scalars
        )
        return [self._objective.constrained(flat, mask), *leaves(state), *new_slots], [loss]

    def _opened(self, carry: list[Any]) -> tuple[Parameters, Any, dict[str, Parameters]]:
        """Return parameters, state and slots around the arrays of a step's state."""
        flat, *rest = carry
        state = rest[: len(rest) - len(self._slots)]
        slots = rest[len(state) :]
        layout = self._layout
        named = {name: Parameters(x, layout) for name, x in zip(self._slots, slots, strict=True)}
        return Parameters(flat, layout), rebuild(self._state, state), named

    def _scalars(self, done: int, count: int) -> list[Any]:
        """Return the numbers of the next steps, of optimizer and noise, each as an array over the steps."""
        trainer, backend = self.trainer, self.trainer.backend
        at, rate = self._optimizer.scalars, self._optimizer.learning_rate_at
        rows = np.asarray([at(rate(n), n) for n in range(done + 1, done + count + 1)], dtype=np.float64)
        if self._objective.noisy:
            noises = [trainer.noise_of(trainer.step + n) for n in range(1, count + 1)]
            rows = np.column_stack([rows, noises])
        columns = backend.asarray(np.ascontiguousarray(rows.T), dtype=self.trainer.dtype)  # one transfer
        return [columns[i, ...] for i in range(columns.shape[0])]

    def _words(self, first: int, count: int) -> list[Any]:
        backend, key = self.trainer.backend, self.trainer.key.fold("step")
        dtype = word_dtype(backend.xp)
        return [
            backend.asarray(rng.words_of_steps(key, first, count, path), dtype=dtype) for path in self._paths
        ]


class Fitting(NamedTuple):
    """What callbacks may know of a fit.

    Attributes:
        rows: the rows to train on, checked and on the device.
        plan: their batches.
        steps: what takes the steps; None if they are not compiled.
    """

    rows: Rows
    plan: Batches
    steps: Any

    def between_epochs(self, rows: int) -> contextlib.AbstractContextManager[None]:
        """Return what goes around computations on so many rows between epochs, for the sake of the next."""
        return contextlib.nullcontext() if self.steps is None else self.steps.between_epochs(rows)


def compiled_steps(trainer: Trainer, train: Rows, known: Any) -> CompiledSteps | None:
    """Return the steps of ``trainer`` on these rows: the ``known`` ones if its settings are the same.

    None with ``compile="off"``, and for optimizers whose step is more than their rule.
    """
    optimizer: Any = type(trainer.optimizer)
    own = optimizer.update is not Optimizer.update or optimizer.init is not Optimizer.init
    if trainer.compile == "off" or own:
        return None
    same = (
        isinstance(known, CompiledSteps) and known.trainer is trainer and known.settings == _settings(trainer)
    )
    steps = known if same else CompiledSteps(trainer, train)
    steps.begin(train)
    return steps


def step_seconds(size: int, batch: int) -> float:
    """Return roughly how long NumPy takes for a step on a network of ``size`` parameters."""
    return _STEP + size * (_PARAMETER + batch * _PRODUCT)


def _settings(trainer: Trainer) -> tuple[Any, ...]:
    """Return what a step is made of beside shapes."""
    return trainer.optimizer, trainer.mask is not None, trainer.objective.settings


class _StepKey(rng.Key):
    """A step's key: notes what is drawn from it, and has the words of those draws where they are given."""

    def __init__(self, seed: int, path: tuple[int | str, ...], known: dict[Any, Any]):
        super().__init__(seed, path)
        object.__setattr__(self, "known", known)

    known: dict[Any, Any]

    def fold(self, *words: int | str) -> _StepKey:
        return _StepKey(self.seed, self.path + words, self.known)

    @property
    def words(self) -> tuple[Any, Any]:
        words = self.known.setdefault(self.path, None)
        return (0, 0) if words is None else (words[0, ...], words[1, ...])


def paths_of_draws(trainer: Trainer, train: Rows) -> list[tuple[int | str, ...]]:
    """Return what a step folds into its key before it draws, found out by applying the model to one row."""
    known: dict[Any, Any] = {}
    rows, key = train.X[:2, ...], _StepKey(0, (), known)
    trainer.model.apply(trainer.variables, rows, training=True, key=key)  # type: ignore[arg-type]
    if trainer.objective.noisy:
        noise(key, trainer.variables.params.flat[:2], 1.0)  # type: ignore[union-attr]
    return list(known)
