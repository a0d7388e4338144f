"""Command ``xpnet train``: a training in a new run folder."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from xpnet.cli.checkpoints import RunLog
from xpnet.cli.fit import run_training
from xpnet.cli.plan import Plan
from xpnet.cli.restarts import run_restarts
from xpnet.cli.results import Show
from xpnet.cli.runs import RunFolder, to_json
from xpnet.files import write_atomically

__all__ = ["train_run"]


def train_run(plan: Plan, *, quiet: bool = False, show: Show | None = None) -> dict[str, Any]:
    """Train, and return the results as they are written to ``results.json``.

    ``show`` is called with them before the figures are drawn.

    Raises:
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; the state is saved.
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
        run_planned = run_restarts if settings.restarts > 1 else run_training
        return run_planned(plan, log, begin, quiet=quiet, show=show)
