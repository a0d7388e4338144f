"""Compiled steps of estimators: how they are run, and that fits of equal networks in a process share them.

So a search over estimators, or a cross-validation, compiles each network for its first fit only.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Iterator
from typing import NamedTuple

from xpnet.backends import Backend
from xpnet.backends.pace import pace
from xpnet.optim import Optimizer
from xpnet.program.lowerings.base import LOWERINGS
from xpnet.train import Trainer
from xpnet.train.step import Step
from xpnet.train.steps import CompiledSteps, step_seconds, widths

__all__ = ["shared_steps"]

_KEPT = 4  # compiled steps that nobody uses at present
_SIZE = 1 << 22  # numbers of the rows of a batch in all layers, above which their memory is not kept

_WORTH_COMPILING = 0.5  # seconds of NumPy's time, estimated, of one fit
_FITTED_BEFORE = 0.1  # of the fits before, which promise that there will be more


class _Idle(NamedTuple):
    """Compiled steps that nobody uses, and the estimated seconds of those that were taken."""

    steps: CompiledSteps
    seconds: float


_idle: list[_Idle] = []
_lock = threading.Lock()


@contextlib.contextmanager
def shared_steps(trainer: Trainer, asked: str, rows: int, least: int) -> Iterator[None]:
    """Give a trainer steps that are compiled already, if there are any, and keep its own for others.

    While one trainer has steps, no other one gets them. With ``"auto"`` they are NumPy's functions, or
    compiled by numba for a fit that is long enough, or when fits of this network have taken so long in this
    process that more are to be expected. In the processes of joblib, who gets which fit is chance, so there
    the length of a fit alone decides, and equal searches have equal results.

    Args:
        trainer: with variables, before a fit.
        asked: the estimator's parameter ``compile``.
        rows: of a batch.
        least: number of steps that the fit has at least.
    """
    state, variables = trainer.state, trainer.state.variables
    assert variables is not None
    if not isinstance(trainer.optimizer, Optimizer):  # a method has other steps for each fit
        yield
        return
    layout = variables.params.layout
    before, done = 0.0, state.step
    if trainer._steps is None:
        step = Step(trainer.setup, layout)
        with _lock:
            found = next((idle for idle in _idle if idle.steps.are_of(step, state)), None)
            if found is not None:
                _idle.remove(found)
                trainer._steps, before = found
    home, dtype = trainer.backend, trainer.settings.dtype
    seconds = step_seconds(layout.size, rows, pace(home, dtype))
    trainer.setup = trainer.setup.changed(compile=_lowering(asked, home, before, least * seconds))
    yield
    steps = trainer._steps
    if isinstance(steps, CompiledSteps) and rows * widths(trainer.model, layout) <= _SIZE:
        steps.end()
        trainer._steps = None
        with _lock:
            _idle.append(_Idle(steps, before + (state.step - done) * seconds))
            del _idle[:-_KEPT]


def _lowering(asked: str, home: Backend, before: float, now: float) -> str:
    """Return how steps are run, given the estimated seconds of the fits before and of this one."""
    if asked != "auto" or home.name != "numpy" or LOWERINGS["numba"].reason():
        return asked
    before = before if multiprocessing.current_process().name == "MainProcess" else 0.0
    return "numba" if now > _WORTH_COMPILING or before > _FITTED_BEFORE else asked
