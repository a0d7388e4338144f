"""``xpnet train``: from a plan to a finished run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from xpnet.cli.console import reason
from xpnet.cli.finishing import finish
from xpnet.cli.keeping import Interruption, Keeper, RunLog
from xpnet.cli.planning import Plan
from xpnet.cli.runs import RunFolder, to_json
from xpnet.errors import CheckpointError, DivergedError
from xpnet.files import write_atomically
from xpnet.train import Callback, ProgressBar, ProgressLines

__all__ = ["Interrupted", "run_training", "train_run"]


class Interrupted(Exception):  # noqa: N818  # no error: the user wished it
    """Ctrl-C during training; the state has been saved."""


def train_run(plan: Plan, *, quiet: bool = False) -> dict[str, Any]:
    """Train, and return the results as they are written to ``results.json``.

    Raises:
        Interrupted: Ctrl-C; the state is saved.
        DivergedError: the loss is not finite; the last good state is saved.
        CheckpointError: the disk is full, or the like.
    """
    run, settings = plan.run, plan.settings
    log = RunLog(run.log)

    def begin() -> RunFolder:
        run.make(chosen=settings.out is not None)
        held.enter_context(run.hold())
        log.path = run.log
        write_atomically(run.environment, to_json(plan.environment()))
        write_atomically(run.encoder, to_json(plan.prepared.encoder.to_json()))
        # last, for a folder with a configuration is a run, and one without is none
        run.write_settings(dataclasses.replace(settings, out=None))
        told = plan.describe()
        log.write(f"training begins: {told['layers']} on {told['data']}, device {told['device']}")
        return run

    if not quiet:
        plan.announce()
    with contextlib.ExitStack() as held:
        return run_training(plan, log, begin, quiet=quiet)


def run_training(plan: Plan, log: RunLog, begin: Callable[[], RunFolder], *, quiet: bool) -> dict[str, Any]:
    """Train to the end and finish; whatever happens, the state is saved and the log says so."""
    trainer, run = plan.trainer, plan.run
    keeper = Keeper(log, begin, plan.settings.save_every, plan.settings.keep_last)
    trainer.callbacks = [*([] if quiet else [_progress()]), keeper]
    earlier, begun = sum(row["seconds"] for row in trainer.history), time.monotonic()
    with _logged(log):
        try:
            _fit(plan, keeper)
            keeper.save(trainer)
            results = finish(plan, earlier + time.monotonic() - begun)
        except KeyboardInterrupt:
            keeper.save_if_possible(trainer)
            if not run.has_begun():
                run.discard()
                raise Interrupted("interrupted before the first epoch; nothing was saved") from None
            log.write(f"interrupted after epoch {trainer.epoch}")
            saved = max(0, keeper.saved_epoch)
            which = "" if saved == trainer.epoch else f" after epoch {saved}"
            raise Interrupted(
                f"interrupted after epoch {trainer.epoch}; the state{which} is saved. "
                f"Continue with: xpnet resume {run.path}"
            ) from None
        except (OSError, CheckpointError) as error:
            if keeper.has_saved:
                keeper.check_folder()
            if not run.has_begun():
                run.discard()
                raise
            log.write(f"failed: {reason(error)}")
            raise CheckpointError(
                f"{reason(error)}. When that is mended, continue with: xpnet resume {run.path}"
            ) from error
        except Exception as error:
            keeper.save_if_possible(trainer)
            if not run.has_begun():
                run.discard()
                raise
            log.write(f"failed: {error}")
            if isinstance(error, DivergedError):
                advice = f"to go on from there with another rate: xpnet resume {run.path} --lr X"
                error.args = (f"{error}; {advice}",)
            raise
        log.write(f"finished: {results['stopped']}; {results['metrics']}")
    return results


def _fit(plan: Plan, keeper: Keeper) -> None:
    trainer, settings, parts = plan.trainer, plan.settings, plan.prepared.parts
    held_out = parts["validation"]
    with Interruption("stopping after this step (Ctrl-C again: at once)") as interruption:
        keeper.interruption = interruption
        trainer.fit(
            parts["train"].X,
            parts["train"].y,
            epochs=settings.epochs,
            batch_size=settings.batch_size if isinstance(settings.batch_size, int) else None,
            validation=(held_out.X, held_out.y) if len(held_out) else None,
        )


def _progress() -> Callback:
    return ProgressBar() if sys.stderr.isatty() else ProgressLines()


@contextlib.contextmanager
def _logged(log: RunLog) -> Iterator[None]:
    """Write what the library logs to the run's log as well."""
    logger = logging.getLogger("xpnet")
    logger.addHandler(log)
    try:
        yield
    finally:
        logger.removeHandler(log)
