"""Training in a run folder: whatever ends it, its state is saved and the log says why."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from xpnet.errors import CheckpointError, DivergedError, OutOfMemoryError, Word, Words, call, reason, use
from xpnet.optim import METHODS
from xpnet.runs.checkpoints import Keeper, RunLog
from xpnet.runs.folder import RunFolder
from xpnet.runs.plan import Plan
from xpnet.runs.results import finish
from xpnet.runs.signals import Interrupted, Interruption, held
from xpnet.runs.trainer import build_diagnostics
from xpnet.tabular.trainer import fit_trainer
from xpnet.train import Callback, ProgressBar, ProgressLines
from xpnet.train.deadline import Deadline

__all__ = [
    "fit",
    "guarded",
    "keeper_of",
    "logged",
    "progress",
    "run_training",
    "with_diagnostics",
]


def run_training(
    plan: Plan,
    log: RunLog,
    begin: Callable[[], RunFolder],
    *,
    shown: bool | None,
) -> dict[str, Any]:
    """Train to the end and finish; return the results as they are written to ``results.json``.

    Raises:
        Interrupted, DivergedError, CheckpointError: as for `guarded`.
    """
    trainer = plan.trainer
    begin, diagnostics = with_diagnostics(plan, begin)
    keeper = keeper_of(plan, log, begin)
    trainer.callbacks = [*progress(shown), keeper, *diagnostics]
    deadline = plan.deadline()
    earlier, begun = sum(row["seconds"] for row in trainer.history), time.monotonic()
    with logged(log), guarded(plan, keeper, log):
        fit(plan, keeper, deadline)
        keeper.save(trainer)
        results = finish(plan, earlier + time.monotonic() - begun, deadline)
        log.write(f"finished: {results['stopped']}; {results['metrics']}")
    return results


def with_diagnostics(
    plan: Plan, begin: Callable[[], RunFolder]
) -> tuple[Callable[[], RunFolder], list[Callback]]:
    """Return the training's diagnostics, if any, and ``begin``, which now also says where they are written.

    As callbacks they stand behind the keeper, which calls ``begin``.
    """
    diagnostics = build_diagnostics(plan.prepared, plan.parameters)
    if diagnostics is None:
        return begin, []

    def begin_measuring() -> RunFolder:
        run = begin()
        diagnostics.path = run.diagnostics
        return run

    return begin_measuring, [diagnostics]


@contextlib.contextmanager
def guarded(plan: Plan, keeper: Keeper, log: RunLog, where: str = "") -> Iterator[None]:
    """Context manager: whatever ends the training, its state is saved and the log says so.

    Args:
        plan: the training.
        keeper: saves the state.
        log: the run's log.
        where: text of messages behind the epoch.

    Raises:
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; the state is saved.
        DivergedError: the loss is not finite; the last good state is saved.
        CheckpointError: the disk is full, or the like.
    """
    trainer, run = plan.trainer, plan.run
    try:
        yield
    except KeyboardInterrupt as stop:
        said = f"interrupted{f' by {stop}' if stop.args else ''}"
        with held():
            keeper.save_if_possible(trainer)
            if not run.has_begun():
                run.discard()
                raise Interrupted(f"{said} before the first epoch; nothing was saved") from None
            said += f" after epoch {trainer.epoch}{where}"
            log.write(said)
        saved = max(0, keeper.saved_epoch)
        which = "" if saved == trainer.epoch else f" after epoch {saved}"
        raise Interrupted(
            f"{said}; the state{which} is saved. Continue with: {call('resume', run.path)}"
        ) from None
    except (OSError, CheckpointError) as error:
        if keeper.has_saved:
            keeper.check_folder()
        if not run.has_begun():
            run.discard()
            raise
        log.write(Words(f"failed: {reason(error)}"))
        raise CheckpointError(
            f"{reason(error)}. When that is fixed, continue with: {call('resume', run.path)}"
        ) from error
    except Exception as error:
        keeper.save_if_possible(trainer)
        if not run.has_begun():
            run.discard()
            raise
        log.write(f"failed: {error}")
        if isinstance(error, (DivergedError, OutOfMemoryError)):
            error.change(_advised(error, plan, saved=keeper.has_saved))
        raise


def _advised(error: DivergedError | OutOfMemoryError, plan: Plan, *, saved: bool) -> str:
    """Return what an error says, with the command that goes on from the last state saved."""
    if isinstance(error, DivergedError):
        again = call("resume", plan.run.path, learning_rate=Word("X"))
        return f"{error.text}{f'; to go on from there with another rate: {again}' if saved else ''}"
    found = error.text.partition("; ")[0]  # what helps without a run is something else
    smaller = f"a smaller network ({use('hidden')})"
    if plan.settings.optimizer in METHODS:
        return f"{found}; choose {smaller}, or an optimizer with batches, such as adam"
    if saved:
        again = call("resume", plan.run.path, batch_size=Word("N"))
        return f"{found}; go on with smaller batches: {again}"
    return f"{found}; choose a smaller {use('batch_size')}, or {smaller}"


def keeper_of(plan: Plan, log: RunLog, begin: Callable[[], RunFolder]) -> Keeper:
    """Return the `Keeper` of the run folder, as the settings say."""
    settings = plan.settings
    return Keeper(log, begin, settings.save_every, settings.keep_last, tensorboard=settings.tensorboard)


def fit(plan: Plan, keeper: Keeper, deadline: Deadline) -> None:
    """Train as the settings say, until the deadline; Ctrl-C, SIGTERM and SIGHUP end it after a step."""
    with Interruption() as interruption:
        keeper.interruption = interruption
        fit_trainer(plan.trainer, plan.prepared, deadline)


def progress(shown: bool | None, label: str = "") -> list[Callback]:
    """Return the callback that shows progress, if any.

    Args:
        shown: None: a bar on a terminal and nothing elsewhere; True: lines elsewhere; False: nothing.
        label: goes before it.
    """
    if shown is not False and sys.stderr is not None and sys.stderr.isatty():
        return [ProgressBar(label)]
    return [ProgressLines(label=label)] if shown else []


@contextlib.contextmanager
def logged(log: RunLog) -> Iterator[None]:
    """Write the library's log to the run's log as well."""
    logger = logging.getLogger("xpnet")
    logger.addHandler(log)
    try:
        yield
    finally:
        logger.removeHandler(log)
