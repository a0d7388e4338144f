"""Training steps as one compiled program: gather, forward, backward, clip, update, for many steps a call."""

from __future__ import annotations

import contextlib
import weakref
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xpnet import rng
from xpnet.autodiff.scopes import scope, snake_case
from xpnet.backends.lacking import word_dtype
from xpnet.backends.pace import HOST, Pace, pace
from xpnet.backends.profiling import profiled
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

_MOVED = 28  # bytes for each parameter: gradient, parameter and two slots are read, most of them written
_PRODUCT = 6  # operations for each parameter and row: a product and a sum forward, and twice that backward
_HEARD = 0.5  # seconds after which Ctrl-C is heard, at the latest
_WORTH_COMPILING = 1.0
_BLAS_AWAKE = 0.1
_SIZES = 8  # of batches whose programs are kept


class CompiledSteps:
    """Runs steps of a trainer as compiled programs; the same numbers as its own steps, one by one.

    A step's state is the flat vector of parameters, the model's state and the optimizer's slots. What changes
    from step to step are the batch's row numbers, the optimizer's scalars, and the words of its random
    keys; all of them are computed on the host for many steps at a time.

    The trainer has this object, which has none of the trainer: so both are gone with the last name of it, and
    the memory of programs on a device is free at once.

    Args:
        trainer: whose variables are drawn.
        train: rows like those to train on.

    Attributes:
        loop: what ran last: compiled programs, one for each size of batch.
        settings: what they depend on beside shapes.
        lowering: what runs the steps, once they have run.
    """

    loop: Loop
    _plan: Batches
    _pace: Pace

    def __init__(self, trainer: Trainer, train: Rows):
        self._owner = weakref.ref(trainer)
        self.settings = _settings(trainer)
        self._step = _Step(trainer, train)
        self._constants: list[Any] = []
        self._ahead: list[Any] = []  # one array for each scalar and each draw, over the epoch's steps
        self._taken = 0
        self._loops: dict[int, tuple[str, Loop]] = {}
        self.lowering = ""

    def are_of(self, trainer: Trainer) -> bool:
        """True for the trainer's own, and not a copy's, with its settings as they are."""
        return self._owner() is trainer and self.settings == _settings(trainer)

    def begin(self, trainer: Trainer, train: Rows) -> None:
        """Train on these rows from here on."""
        self._constants = [x for x in (train.X, train.y, train.weight, trainer.mask) if x is not None]
        self._pace = pace(trainer.backend, trainer.dtype)

    def end(self) -> None:
        """Let go of the rows."""
        self._constants = []

    def begin_epoch(self, trainer: Trainer, plan: Batches) -> None:
        """Send what the steps of the next epoch need to the device, at once."""
        steps, done = len(plan), trainer.opt_state["step"]  # type: ignore[index]
        self._plan, self._epoch_began = plan, trainer.step
        scalars = self._step.scalars(trainer, done, steps)
        self._ahead = [*scalars, *self._step.words(trainer, trainer.step + 1, steps)]
        self._taken = 0

    def at_a_time(self) -> int:
        """Return how many steps are taken together: what lasts so long that Ctrl-C is heard soon enough."""
        batch = self._plan.size or self._plan.rows
        seconds = step_seconds(self._step.layout.size, batch, self._pace)
        return max(1, int(_HEARD / self._pace.queued / seconds))

    def run(self, trainer: Trainer, orders: Any, count: int, *, donate: bool) -> Any:
        """Take ``count`` steps of the epoch that was begun; return their losses (count,), on the device.

        Args:
            trainer: whose steps they are.
            orders: row numbers (steps, batch), or None for steps on all rows.
            count: number of steps.
            donate: whether the state may be overwritten, as nobody has seen it.
        """
        step, variables, opt_state = self._step, trainer.variables, trainer.opt_state
        carry = [
            variables.params.flat,  # type: ignore[union-attr]
            *leaves(variables.state),  # type: ignore[union-attr]
            *(opt_state[name].flat for name in step.slots),  # type: ignore[index]
        ]
        sequences = [x[self._taken : self._taken + count, ...] for x in self._ahead]
        self._taken += count
        if orders is not None:
            sequences.insert(0, orders)
        self.loop = self._loop(trainer, self._plan.rows if orders is None else orders.shape[1])
        with profiled(trainer.backend, f"{count} steps"):
            carry, (losses,) = self.loop(carry, self._constants, sequences, donate=donate)
        params, state, slots = step.opened(carry)
        trainer.variables = Variables(params, state)
        trainer.opt_state = {"step": opt_state["step"] + count, **slots}  # type: ignore[index]
        trainer.step += count
        return losses

    def _loop(self, trainer: Trainer, batch: int) -> Loop:
        """Return the loop for steps on ``batch`` rows.

        With ``"auto"``, numba is for steps that there will have been enough of by the end of this epoch to be
        worth a second of compiling: not for the ragged last batches of a few epochs. How long a step takes is
        estimated from sizes, not measured, so that the same run, or one that is resumed, always goes over at
        the same epoch.
        """
        lower = trainer.compile
        if lower == "auto" and trainer.backend.name == "numpy" and find_spec("numba") is not None:
            ragged = self._plan.size not in (None, batch)
            steps = trainer.epoch + 1 if ragged else self._epoch_began + len(self._plan)
            worth = steps * step_seconds(self._step.layout.size, batch, self._pace)
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
        short = rows * self._step.layout.size * _PRODUCT * self._pace.operation < _BLAS_AWAKE
        return openblas.one_thread() if short and self.lowering == "numba" else contextlib.nullcontext()


class _Step:
    """A step as array code, ``(carry, constants, row) -> (carry, [loss])``, as a `Loop` wants it.

    Args:
        trainer: whose settings it has, and whose variables are like those to train.
        train: rows like those to train on.
    """

    def __init__(self, trainer: Trainer, train: Rows):
        self._objective, self._masked = trainer.objective, trainer.mask is not None
        params, self._state = trainer.variables  # type: ignore[misc]
        self.layout = params.layout
        assert isinstance(trainer.optimizer, Optimizer)
        self._optimizer = trainer.optimizer
        self.slots = list(self._optimizer.slots)
        self._numbers = len(self._optimizer.scalars(0.1, 1)) + self._objective.noisy
        self._paths = paths_of_draws(trainer, train)

    def __call__(self, carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
        params, state, slots = self.opened(carry)
        X, y, *rest = constants
        mask = rest.pop() if self._masked else None
        batch = Rows(X, y, rest[0] if rest else None)
        numbers, draws = len(row) - len(self._paths) - self._numbers, len(row) - len(self._paths)
        if numbers > 0:
            with scope("batch"):
                batch = batch.take(row[0])
        scalars, words = list(row[numbers:draws]), row[draws:]
        deviation = scalars.pop() if self._objective.noisy else None
        key = _StepKey(0, (), dict(zip(self._paths, words, strict=True)))
        (loss, state), gradient = self._objective.gradient(
            params, state, batch, key, mask=mask, noise=deviation
        )
        with scope(f"{self._optimizer.name or snake_case(type(self._optimizer).__name__)}_update"):
            flat, new_slots = self._optimizer.rule(
                gradient.flat, [slots[name].flat for name in self.slots], params.flat, *scalars
            )
        return [self._objective.constrained(flat, mask), *leaves(state), *new_slots], [loss]

    def opened(self, carry: list[Any]) -> tuple[Parameters, Any, dict[str, Parameters]]:
        """Return parameters, state and slots around the arrays of a step's state."""
        flat, *rest = carry
        state = rest[: len(rest) - len(self.slots)]
        slots = rest[len(state) :]
        layout = self.layout
        named = {name: Parameters(x, layout) for name, x in zip(self.slots, slots, strict=True)}
        return Parameters(flat, layout), rebuild(self._state, state), named

    def scalars(self, trainer: Trainer, done: int, count: int) -> list[Any]:
        """Return the numbers of the next steps, of optimizer and noise, each as an array over the steps."""
        at, rate = self._optimizer.scalars, self._optimizer.learning_rate_at
        rows = np.asarray([at(rate(n), n) for n in range(done + 1, done + count + 1)], dtype=np.float64)
        if self._objective.noisy:
            noises = [trainer.noise_of(trainer.step + n) for n in range(1, count + 1)]
            rows = np.column_stack([rows, noises])
        columns = trainer.backend.asarray(np.ascontiguousarray(rows.T), dtype=trainer.dtype)  # one transfer
        return [columns[i, ...] for i in range(columns.shape[0])]

    def words(self, trainer: Trainer, first: int, count: int) -> list[Any]:
        """Return the words of the random keys of the next steps, for each draw an array over the steps."""
        backend, key = trainer.backend, trainer.key.fold("step")
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
    same = isinstance(known, CompiledSteps) and known.are_of(trainer)
    steps = known if same else CompiledSteps(trainer, train)
    steps.begin(trainer, train)
    return steps


def step_seconds(size: int, batch: int, at: Pace = HOST) -> float:
    """Return roughly how long a step takes on a network of ``size`` parameters; on NumPy by default."""
    return at.calls + size * (_MOVED * at.byte + batch * _PRODUCT * at.operation)


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
