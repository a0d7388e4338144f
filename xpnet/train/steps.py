"""Steps of an epoch, taken by one compiled program for many steps a call, or one by one."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from xpnet import rng
from xpnet.autodiff.scopes import scope
from xpnet.backends.lacking import word_dtype
from xpnet.backends.pace import HOST, Pace, pace
from xpnet.backends.profiling import profiled
from xpnet.containers import leaves, rebuild
from xpnet.nn import Layer, Variables
from xpnet.parameters import Layout, Parameters
from xpnet.program.looping import Loop
from xpnet.program.lowerings import blas_libraries
from xpnet.program.lowerings.base import LOWERINGS
from xpnet.train.batches import Batches
from xpnet.train.blas_threads import blas_threads
from xpnet.train.deadline import compiling_seconds
from xpnet.train.regularization import noise
from xpnet.train.rows import Rows
from xpnet.train.setup import Setup
from xpnet.train.state import TrainState
from xpnet.train.step import Scalars, Step, StepState, step_once

__all__ = [
    "PLANNED_WORTH",
    "CompiledSteps",
    "Steps",
    "UncompiledSteps",
    "first_order_steps",
    "paths_of_draws",
    "step_seconds",
    "widths",
]

Path = tuple[int | str, ...]  # of a key below that of the step

_MOVED = 28  # bytes for each parameter: gradient, parameter and two slots are read, most of them written
_PRODUCT = 6  # operations for each parameter and row: a product and a sum forward, and twice that backward
_HEARD = 0.5  # seconds after which Ctrl-C is heard, at the latest
WORTH_COMPILING = 0.3  # of the seconds that numba takes at most, for which NumPy takes the steps
PLANNED_WORTH = 0.5  # of them, from which on a training of a known length is compiled from its first step
_BLAS_AWAKE = 0.1
_SIZES = 8  # of batches whose programs are kept


class Steps(Protocol):
    """Protocol of the steps of a fit, which update the state.

    Attributes:
        may_compile: whether there is time to compile them by numba.
        compiling: seconds that this takes, at most.
    """

    may_compile: bool
    compiling: float

    def begin_epochs(self, state: TrainState, plan: Batches, count: int) -> None:
        """Prepare the steps of the next ``count`` epochs."""

    def at_a_time(self, plan: Batches) -> int:
        """Return how many steps are taken together."""

    def run(self, state: TrainState, orders: Any, count: int, *, donate: bool) -> Any:
        """Take ``count`` steps of the epoch that was begun; return their losses (count,), on the device.

        Args:
            state: with variables; it has those after the steps then.
            orders: row numbers (steps, batch), or None for steps on all rows.
            count: number of steps.
            donate: whether the state's arrays may be overwritten, as nobody has seen them.
        """

    def between_epochs(self, rows: int) -> contextlib.AbstractContextManager[None]:
        """Return the context for computations on so many rows between two epochs."""

    def measures_by(self, rows: int) -> str:
        """Return the lowering of outputs for so many rows after each epoch, as for `xpnet.compile`."""

    def end(self) -> None:
        """Release the rows."""


class UncompiledSteps:
    """Takes steps one by one, by the functions that were written.

    Args:
        setup: of the training.
        step: what is taken.
        train: training rows on the device.
    """

    may_compile, compiling = True, 0.0

    def __init__(self, setup: Setup, step: Step, train: Rows):
        self._setup, self._step, self._train = setup, step, train

    def begin_epochs(self, state: TrainState, plan: Batches, count: int) -> None:
        """Nothing has to be prepared."""

    def at_a_time(self, plan: Batches) -> int:
        """Return 1."""
        return 1

    def run(self, state: TrainState, orders: Any, count: int, *, donate: bool) -> Any:
        """Take a step; see `Steps`."""
        assert state.variables is not None
        batch = self._train.take(None if orders is None else orders[0, ...])
        with blas_threads(self._setup, batch.X.shape[0], state.variables.params.layout.size):
            loss = step_once(self._step, state, batch, self._setup.step_key(state.step + 1))
        return self._setup.backend.xp.reshape(loss, (1,))

    def between_epochs(self, rows: int) -> contextlib.AbstractContextManager[None]:
        """Return a context that does nothing."""
        return contextlib.nullcontext()

    def measures_by(self, rows: int) -> str:
        """Return the lowering that was asked for."""
        return self._setup.settings.compile

    def end(self) -> None:
        """Nothing is kept."""


class CompiledSteps:
    """Takes steps as compiled programs; the same numbers as those of `UncompiledSteps`.

    The state of the loop is the flat vector of parameters, the model's state and the optimizer's slots. What
    changes from step to step are the batch's row numbers, the optimizer's scalars, and the words of its
    random keys; all of them are computed on the host for many steps at a time.

    Args:
        setup: of the training.
        step: what is compiled.
        state: with variables like those to be trained.
        train: rows like those to train on.

    Attributes:
        loop: what ran last: compiled programs, one for each size of batch.
        lowering: what runs the steps, once they have run.
    """

    may_compile = True
    loop: Loop
    _plan: Batches

    def __init__(self, setup: Setup, step: Step, state: TrainState, train: Rows):
        self._setup = setup
        self._step = _LoopStep(setup, step, state, train)
        self._pace = pace(setup.backend, setup.dtype)
        self._widths = widths(setup.model, self._step.layout)
        self.compiling = compiling_seconds(len(self._step.layout.names))
        self._planned = _planned_steps(setup)
        self._may_go_over = setup.backend.name == "numpy" and not LOWERINGS["numba"].reason()
        self._constants: list[Any] = []
        self._ahead: list[Any] = []  # one array for each scalar and each draw, over the epoch's steps
        self._taken = 0
        self._returned: tuple[list[Any], tuple[Any, ...]] = [], (None,)  # and the state that was made of it
        self._loops: dict[int, tuple[str, Loop]] = {}
        self.lowering = ""

    def were_of(self, setup: Setup, state: TrainState) -> bool:
        """Whether the last fit had the same setup, and a state like this one."""
        assert state.variables is not None
        shape = state.variables.params.layout, state.mask is not None
        return setup is self._setup and shape == (self._step.layout, self._step.masked)

    def are_of(self, step: Step, state: TrainState) -> bool:
        """Whether ``step`` was compiled, for a state like this one."""
        return (step.made_of, state.mask is not None) == (self._step.step.made_of, self._step.masked)

    def begin(self, setup: Setup, state: TrainState, train: Rows) -> None:
        """Train on these rows from here on."""
        self._setup = setup
        self._constants = [x for x in (train.X, train.y, train.weight, state.mask) if x is not None]

    def end(self) -> None:
        """Release the rows, and what was returned last."""
        self._constants, self._returned = [], ([], (None,))

    def begin_epochs(self, state: TrainState, plan: Batches, count: int) -> None:
        """Copy the numbers for the steps of the next epochs to the device, in one transfer."""
        self._plan, self._began_at, self._epoch = plan, state.step, state.epoch
        self._ahead = self._step.ahead(self._setup, state, count * len(plan))
        self._taken = 0

    def at_a_time(self, plan: Batches) -> int:
        """Return how many steps are taken together: few enough for a quick reaction to Ctrl-C."""
        batch = plan.size or plan.rows
        return max(1, int(_HEARD / self._pace.queued / self._seconds(batch)))

    def _seconds(self, batch: int) -> float:
        return step_seconds(self._step.layout.size, batch, self._pace, self._widths)

    def run(self, state: TrainState, orders: Any, count: int, *, donate: bool) -> Any:
        """Take steps; see `Steps`."""
        known, made = self._returned
        ours = all(map(operator.is_, made, (state.variables, state.opt_state, state.average)))
        carry = known if ours else self._step.carry(state)
        sequences = [x[self._taken : self._taken + count, ...] for x in self._ahead]
        if orders is not None:
            sequences.insert(0, orders)
        batch = self._plan.rows if orders is None else orders.shape[1]
        self.loop = self._loop(batch)
        self._taken += count
        blas: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self.lowering == "generic" or self.loop.reason:
            blas = blas_threads(self._setup, batch, self._step.layout.size)
        with profiled(self._setup.backend, f"{count} steps"), blas:
            carry, (losses,) = self.loop(carry, self._constants, sequences, donate=donate, apart=ours)
        after = self._step.opened(carry)
        assert state.opt_state is not None
        state.variables = Variables(after.params, after.model_state)
        state.opt_state = {"step": state.opt_state["step"] + count, **after.slots}
        if state.average is not None and after.average is not None:
            terms = state.average.terms + count
            state.average = state.average._replace(variables=after.average, terms=terms)
        state.step += count
        self._returned = carry, (state.variables, state.opt_state, state.average)
        return losses

    def _loop(self, batch: int) -> Loop:
        """Return the loop for steps on ``batch`` rows.

        With ``"auto"``, numba is for steps that there will be enough of in the training that a schedule of
        the learning rate spans, or else will have been enough of by the end of this epoch, to be worth
        compiling: not for the ragged last batches of a few epochs. How long a step and compiling it take is
        estimated from sizes, not measured, so that the same run, or one that is resumed, always goes over at
        the same epoch.
        """
        lower = self._setup.settings.compile
        if lower == "auto" and self._may_go_over:
            ragged, each = self._plan.size not in (None, batch), len(self._plan)
            epochs = self._taken // each + 1
            steps = self._epoch + epochs if ragged else self._began_at + epochs * each
            if self._planned:
                steps = self._planned // each if ragged else self._planned
            lower = "numba" if self._is_worth(steps, batch) else "numpy"
        known, loop = self._loops.pop(batch, ("", None))
        if lower == "numba" != known and self._setup.settings.compile == "auto" and not self.may_compile:
            lower = "numpy"
        if loop is None or known != lower:
            loop = Loop(self._step, lower)  # the memory of the other one is free now
        if len(self._loops) >= _SIZES:
            self._loops.clear()
        self._loops[batch] = lower, loop
        self.lowering = lower
        return loop

    @property
    def by_numba(self) -> bool:
        """Whether numba takes the steps on some size of batch."""
        return any(lower == "numba" for lower, _ in self._loops.values())

    def _is_worth(self, steps: int, batch: int) -> bool:
        """Return whether so many steps on ``batch`` rows are worth compiling."""
        least = PLANNED_WORTH if self._planned else WORTH_COMPILING
        return steps * self._seconds(batch) > least * self.compiling

    def measures_by(self, rows: int) -> str:
        """Return numba for outputs that are computed after many epochs, once it takes the steps."""
        asked = self._setup.settings.compile
        many = asked == "auto" and self._is_worth(self._planned // len(self._plan), rows)
        return "numba" if many and self.by_numba else asked

    def between_epochs(self, rows: int) -> contextlib.AbstractContextManager[None]:
        """Return the context for computing outputs of ``rows`` rows between two epochs.

        NumPy's BLAS keeps its threads awake for some 100 milliseconds after a product, on the very cores of
        the threads that take the next steps; so what takes no longer than that has one of them.
        """
        short = rows * self._step.layout.size * _PRODUCT * self._pace.operation < _BLAS_AWAKE
        return blas_libraries.one_thread() if short and self.lowering == "numba" else contextlib.nullcontext()


class _LoopStep:
    """A `Step` on flat lists of arrays, ``(carry, constants, row) -> (carry, [loss])``, as a `Loop` wants it.

    Args:
        setup: of the training.
        step: that one.
        state: with variables like those to be trained.
        train: rows like those to train on.
    """

    def __init__(self, setup: Setup, step: Step, state: TrainState, train: Rows):
        assert state.variables is not None
        params, self._model_state = state.variables
        self.layout, self.masked, self.step = params.layout, state.mask is not None, step
        self._slots = list(self.step.optimizer.slots)
        self._numbers = len(self.step.numbers(1, 0, 1)[0])
        self._paths, self._schedules = _needs_of_layers(setup, state.variables, train)

    def __call__(self, carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
        X, y, *rest = constants
        mask = rest.pop() if self.masked else None
        batch = Rows(X, y, rest[0] if rest else None)
        given = len(row) - self._numbers - len(self._schedules) - len(self._paths)
        if given > 0:
            with scope("batch"):
                batch = batch.take(row[0])
        scalars, of_layers = list(row[given : given + self._numbers]), row[given + self._numbers :]
        share = scalars.pop() if self.step.averaging else None
        deviation = scalars.pop() if self.step.noisy else None
        values = dict(zip(self._schedules, of_layers, strict=False))
        words = dict(zip(self._paths, of_layers[len(values) :], strict=True))
        key, numbers = _StepKey(0, (), words, values), Scalars(tuple(scalars), deviation, share)
        after, loss = self.step(self.opened(carry), batch, key, numbers, mask)
        slots = [after.slots[name].flat for name in self._slots]
        return [*leaves((after.params, after.model_state, after.average)), *slots], [loss]

    def carry(self, state: TrainState) -> list[Any]:
        """Return the arrays of a state that steps change."""
        variables, opt_state = state.variables, state.opt_state
        assert variables is not None
        assert opt_state is not None
        average = state.average.variables if self.step.averaging and state.average is not None else None
        slots = (opt_state[name].flat for name in self._slots)
        return [*leaves((variables, average)), *slots]

    def opened(self, carry: list[Any]) -> StepState:
        """Return the state around these arrays."""
        flat, *rest = carry
        state = rest[: len(rest) - len(self._slots)]
        slots = zip(self._slots, rest[len(state) :], strict=True)
        named = {name: Parameters(x, self.layout) for name, x in slots}
        average = None
        if self.step.averaging:
            half = len(state) // 2
            state, (mean, *means) = state[:half], state[half:]
            average = Variables(Parameters(mean, self.layout), rebuild(self._model_state, means))
        return StepState(Parameters(flat, self.layout), rebuild(self._model_state, state), named, average)

    def ahead(self, setup: Setup, state: TrainState, count: int) -> list[Any]:
        """Return the scalars and the random words of the next steps, each as an array over the steps."""
        backend, key = setup.backend, setup.key.fold("step")
        assert state.opt_state is not None
        done, first = state.opt_state["step"], state.step + 1
        averaged = 0 if state.average is None else state.average.terms
        schedules = self._schedules.values()
        numbers = self.step.numbers(first, done, count, averaged)
        rows = np.asarray(
            [(*row, *(schedule(first + n) for schedule in schedules)) for n, row in enumerate(numbers)],
            dtype=np.float64,
        )
        columns = backend.asarray(np.ascontiguousarray(rows.T), dtype=setup.dtype)  # one transfer
        scalars = [columns[i, ...] for i in range(columns.shape[0])]
        dtype = word_dtype(backend.xp)
        words = (rng.words_of_steps(key, first, count, path) for path in self._paths)
        return scalars + [backend.asarray(x, dtype=dtype) for x in words]


def first_order_steps(setup: Setup, state: TrainState, train: Rows, known: Any) -> Steps:
    """Return the steps of a first-order optimizer on these rows: the ``known`` ones if these are the same.

    One by one with ``compile="off"``, and for optimizers whose step is more than their rule.
    """
    assert state.variables is not None
    if isinstance(known, CompiledSteps) and known.were_of(setup, state):  # as nearly always
        known.begin(setup, state, train)
        return known
    step = Step(setup, state.variables.params.layout)
    if setup.settings.compile == "off" or not step.by_rule:
        return UncompiledSteps(setup, step, train)
    same = isinstance(known, CompiledSteps) and known.are_of(step, state)
    steps = known if same else CompiledSteps(setup, step, state, train)
    steps.begin(setup, state, train)
    return steps


def _planned_steps(setup: Setup) -> int:
    """Return how many steps the schedule of the learning rate spans; 0 if patience may end it before."""
    found = getattr(setup.optimizer, "learning_rate", None)
    steps: int = getattr(getattr(found, "schedule", found), "steps", 0)
    return steps if setup.settings.patience is None else 0


def step_seconds(size: int, batch: int, at: Pace = HOST, values: int = 0) -> float:
    """Return roughly how long a step takes; on NumPy by default.

    Args:
        size: number of parameters.
        batch: number of rows.
        at: pace of the device.
        values: that layers compute for a row, see `widths`.
    """
    products = size * (_MOVED * at.byte + batch * _PRODUCT * at.operation)
    return at.calls + products + batch * values * at.value


def widths(model: Layer, layout: Layout) -> int:
    """Return roughly how many values the layers of a model compute for a row, from its arrays' last axes."""
    return (model.ensemble or 1) * sum(shape[-1] for _, shape in layout.entries)


class _StepKey(rng.Key):
    """A step's key: records draws and schedules, and returns their words and values where these are given.

    Args:
        seed, path: as for any key.
        drawn: words, or None, by the path of their key.
        values: schedules, or their values as 0-d arrays, by the path of their key.
        stream: as for any key.
    """

    def __init__(
        self,
        seed: int,
        path: tuple[int | str, ...],
        drawn: dict[Path, Any],
        values: dict[Path, Any],
        stream: Any = 0,
    ):
        super().__init__(seed, path, stream=stream)
        object.__setattr__(self, "drawn", drawn)
        object.__setattr__(self, "values", values)

    drawn: dict[Path, Any]
    values: dict[Path, Any]

    def fold(self, *words: int | str) -> _StepKey:
        return _StepKey(self.seed, self.path + words, self.drawn, self.values, self.stream)

    def at_stream(self, stream: Any) -> _StepKey:
        return _StepKey(self.seed, self.path, self.drawn, self.values, stream)

    @property
    def words(self) -> tuple[Any, Any]:
        words = self.drawn.setdefault(self.path, None)
        return (0, 0) if words is None else (words[0, ...], words[1, ...])

    def value(self, schedule: Callable[[int], float]) -> Any:
        value = self.values.setdefault(self.path, schedule)
        return value(1) if callable(value) else value


def _needs_of_layers(
    setup: Setup, variables: Variables, train: Rows
) -> tuple[list[Path], dict[Path, Callable[[int], float]]]:
    """Return the paths of a step's draws, and schedules by path: found by applying the model to two rows."""
    rows, key = train.X[:2, ...], _StepKey(0, (), {}, {})
    setup.model.apply(variables, rows, training=True, key=key)
    if setup.settings.gradient_noise:
        noise(key, variables.params.flat[:2], 1.0)
    return list(key.drawn), key.values


def paths_of_draws(setup: Setup, variables: Variables, train: Rows) -> list[Path]:
    """Return the paths of a step's draws below its key."""
    return _needs_of_layers(setup, variables, train)[0]
