"""Compiled steps that estimators of one process share: fits of equal networks need them compiled once.

So a search over estimators, or a cross-validation, compiles each network for its first fit only.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from xpnet.optim import Optimizer
from xpnet.train import Trainer
from xpnet.train.step import Step
from xpnet.train.steps import CompiledSteps

__all__ = ["shared_steps"]

_KEPT = 4  # compiled steps that nobody uses at present
_SIZE = 1 << 22  # numbers of the rows of a batch in all layers, above which their memory is not kept

_idle: list[CompiledSteps] = []
_lock = threading.Lock()


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
