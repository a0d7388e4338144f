"""``xpnet train`` and ``xpnet resume``: from a plan to a finished run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from xpnet import backends
from xpnet.cli.building import build_diagnostics, build_optimizer, build_trainer
from xpnet.cli.console import message, reason
from xpnet.cli.finishing import finish
from xpnet.cli.keeping import Interruption, Keeper, RunLog
from xpnet.cli.planning import Plan, circumstances
from xpnet.cli.preparing import Prepared, check_unchanged, prepare
from xpnet.cli.runs import RunFolder, to_json
from xpnet.errors import CheckpointError, ConfigError, DivergedError
from xpnet.files import write_atomically
from xpnet.train import Callback, ProgressBar, ProgressLines, Trainer

__all__ = ["Interrupted", "resume_run", "train_run"]


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

    def begin() -> None:
        run.make(chosen=settings.out is not None)
        held.enter_context(run.hold())
        log.path = run.log
        write_atomically(run.environment, to_json(plan.environment()))
        write_atomically(run.encoder, to_json(plan.prepared.encoder.to_json()))
        # last, for a folder with a configuration is a run, and one without is none
        run.write_settings(dataclasses.replace(settings, out=None))
        told = plan.describe()
        log.write(f"training begins: {told['layers']} on {told['data']}, device {told['device']}")

    if not quiet:
        plan.announce()
    with contextlib.ExitStack() as held:
        return _train(plan, log, begin, quiet=quiet)


def resume_run(
    path: str,
    *,
    epochs: int | None = None,
    lr: float | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Continue a run from its last checkpoint, bit-identically on the same backend.

    A run that was killed before its first checkpoint begins anew. A schedule spans all epochs: raising their
    number stretches it from here on.

    Args:
        path: the run folder.
        epochs: a higher number of epochs in all.
        lr: another learning rate.
        device: another device than the run's.
        quiet: show no progress.

    Returns:
        The results, with ``"resumed"``: False if there was nothing left to do.

    Raises:
        Interrupted, DivergedError: as for `train_run`.
        CheckpointError: no run folder, damaged, or trained by another process.
        DataError: the table has changed.
        ConfigError: ``epochs`` is below the run's own.
    """
    run = RunFolder.open(path)
    with run.hold():
        return _resume(run, epochs, lr, device, quiet=quiet)


def _resume(
    run: RunFolder, epochs: int | None, lr: float | None, device: str | None, *, quiet: bool
) -> dict[str, Any]:
    settings = run.read_settings()
    if epochs is not None and epochs < settings.epochs:
        raise ConfigError(f"--epochs: expected at least the run's own {settings.epochs}, found {epochs}")
    if run.results.exists() and epochs in (None, settings.epochs):
        return {**run.read_json(run.results), "resumed": False}
    backend = backends.backend(device or settings.device)
    settings = dataclasses.replace(
        settings, epochs=epochs or settings.epochs, lr=lr or settings.lr, device=backend.spec
    )
    environment = run.read_json(run.environment)
    check_unchanged(environment, settings)
    prepared = prepare(settings, run.read_encoder())
    trainer = _load(run, prepared, backend) if run.has_begun() else build_trainer(prepared, backend)
    plan = Plan(prepared, backend, trainer, run)
    log = RunLog(run.log)

    def begin() -> None:
        run.sweep()
        run.results.unlink(missing_ok=True)  # of a run that is trained further: it is unfinished again
        run.write_settings(settings)
        environment.setdefault("resumed", []).append({"epoch": trainer.epoch, **circumstances(backend)})
        write_atomically(run.environment, to_json(environment))
        log.write(f"training continues after epoch {trainer.epoch} on {backend.spec}")

    if not quiet:
        plan.announce()
        message(f"continuing after epoch {trainer.epoch} of {settings.epochs}")
    return {**_train(plan, log, begin, quiet=quiet), "resumed": True}


def _load(run: RunFolder, prepared: Prepared, backend: backends.Backend) -> Trainer:
    """Return the trainer of the last checkpoint."""
    optimizer = build_optimizer(prepared.settings, len(prepared.parts["train"]))
    try:
        return Trainer.load(run.find_checkpoint("last"), backend, optimizer=optimizer, progress=False)
    except CheckpointError as error:
        if run.checkpoint("best").is_file():
            raise CheckpointError(
                f"{error}. The best weights may still serve: xpnet predict {run.path} FILE "
                "--checkpoint best; training cannot continue from them"
            ) from error
        raise


def _train(plan: Plan, log: RunLog, begin: Callable[[], None], *, quiet: bool) -> dict[str, Any]:
    """Train to the end and finish; whatever happens, the state is saved and the log says so."""
    trainer, run = plan.trainer, plan.run
    keeper = Keeper(run, log, begin)
    diagnostics = build_diagnostics(plan.prepared, plan.parameters, run.diagnostics)
    # behind the keeper, which makes the folder
    trainer.callbacks = [*([] if quiet else [_progress()]), keeper, *([diagnostics] if diagnostics else [])]
    earlier, begun = sum(row["seconds"] for row in trainer.history), time.monotonic()
    with _logged(log, *([] if quiet else [_Shown()])):
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


class _Shown(logging.Handler):
    """Shows the library's warnings on stderr."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        message(f"warning: {record.getMessage()}")


@contextlib.contextmanager
def _logged(*handlers: logging.Handler) -> Iterator[None]:
    """Hand what the library logs to the run's log, and whoever else is to see it."""
    logger = logging.getLogger("xpnet")
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
