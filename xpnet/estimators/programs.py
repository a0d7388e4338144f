"""Compiled steps of estimators: how they are run, and that fits of equal networks in a process share them.

So a search over estimators, or a cross-validation, compiles each network for its first fit only.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from xpnet.backends import Backend
from xpnet.backends.pace import pace
from xpnet.optim import Optimizer
from xpnet.program.lowerings.base import LOWERINGS
from xpnet.train import Trainer
from xpnet.train.step import Step
from xpnet.train.steps import CompiledSteps, step_seconds

__all__ = ["lowering", "shared_steps"]

_KEPT = 4  # compiled steps that nobody uses at present
_SIZE = 1 << 22  # numbers of the rows of a batch in all layers, above which their memory is not kept

_WORTH_COMPILING = 0.5  # seconds of NumPy's time, estimated

_idle: list[CompiledSteps] = []
_lock = threading.Lock()


def lowering(asked: str, home: Backend, dtype: str, parameters: int, batch: int, steps: int) -> str:
    """Return how steps are run: by numba from the start where a fit has so many that it is worth it.

    That follows from sizes alone, so equal fits have equal bits.

    Args:
        asked: what the estimator's parameter says.
        home, dtype: where, and in what, is computed.
        parameters: number of weights and intercepts.
        batch: rows of a step.
        steps: that a fit has at least.
    """
    if asked != "auto" or home.name != "numpy" or LOWERINGS["numba"].reason():
        return asked
    seconds = steps * step_seconds(parameters, batch, pace(home, dtype))
    return "numba" if seconds > _WORTH_COMPILING else asked


@contextlib.contextmanager
def shared_steps(trainer: Trainer, rows: int) -> Iterator[None]:
    """Give a trainer steps that are compiled already, if there are any, and keep its own for others.

    While one trainer has steps, no other one gets them.

    Args:
        trainer: with variables, before a fit.
        rows: of a batch.
    """
    state, variables = trainer.state, trainer.state.variables
    if trainer._steps is None and isinstance(trainer.optimizer, Optimizer) and variables is not None:
        step = Step(trainer.setup, variables.params.layout)
        with _lock:
            found = next((steps for steps in _idle if steps.are_of(step, state)), None)
            if found is not None:
                _idle.remove(found)
                trainer._steps = found
    yield
    steps = trainer._steps
    widths = 0 if variables is None else sum(shape[-1] for _, shape in variables.params.layout.entries)
    if isinstance(steps, CompiledSteps) and rows * widths <= _SIZE:
        steps.end()
        trainer._steps = None
        with _lock:
            _idle.append(steps)
            del _idle[:-_KEPT]
