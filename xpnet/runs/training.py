"""Training in a new run folder."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from xpnet.files import write_atomically
from xpnet.runs.checkpoints import RunLog
from xpnet.runs.fit import run_training
from xpnet.runs.folder import RunFolder
from xpnet.runs.plan import Plan
from xpnet.runs.restarts import run_restarts
from xpnet.text import to_json

__all__ = ["train_run"]


def train_run(plan: Plan, *, progress: bool | None = None) -> dict[str, Any]:
    """Train, and return the results as they are written to ``results.json``.

    Args:
        plan: what to train.
        progress: whether it is shown, as for `Trainer`.

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
        if plan.prepared.summary is not None:
            run.write_summary(plan.prepared.summary)
        # last, for a folder with a configuration is a run, and one without is none
        run.write_settings(dataclasses.replace(settings, out=None))
        told = plan.describe()
        log.write(f"training begins: {told['layers']} on {told['data']}, device {told['device']}")
        return run

    with contextlib.ExitStack() as held:
        run_planned = run_restarts if settings.restarts > 1 else run_training
        return run_planned(plan, log, begin, shown=progress)
