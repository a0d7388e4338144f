"""Tuning: a search over the settings of a network, and a run of the best that it found."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from xpnet import checks
from xpnet.errors import ConfigError, Word, use
from xpnet.extras import require
from xpnet.runs.manifest import check_unchanged
from xpnet.runs.plan import Plan
from xpnet.runs.run import asked
from xpnet.runs.search import Search, Tuning
from xpnet.runs.settings import Settings
from xpnet.runs.tuning_folder import TuningFolder
from xpnet.tabular.frames import declared_categories, is_file, tell, to_frame
from xpnet.tabular.losses import loss_of_run
from xpnet.tabular.settings import settings_from
from xpnet.text import count
from xpnet.train.deadline import Stopwatch

if TYPE_CHECKING:
    import polars

__all__ = ["Tuning", "resume_search", "resume_tuning", "search", "tune"]

_log = logging.getLogger("xpnet.runs")

Loss = str | Callable[..., Any] | None
Announce = Callable[[Plan, Sequence[str]], None]


def tune(
    table: Any,
    target: Any = None,
    out: str | os.PathLike[str] | None = None,
    *,
    trials: int | None = None,
    time_limit: float | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> Tuning:
    """Search the settings of a network, train the best ones, and keep all in a folder.

    The first trial is the recipe as it is; the next ones are suggested by Optuna (extra tune; TPE), and ended
    early where they are worse than the median of those before after as many epochs.

    Args:
        table, target: as for `xpnet.runs.train`.
        out: the folder to make; None: ``runs/<name>-<date>-<time>-tuning``.
        trials: how many there are at most.
        time_limit: seconds that all may take, the training of the best settings included; it, or ``trials``,
            has to be given.
        progress: whether it is shown, as for `xpnet.runs.train`.
        settings: those of `xpnet.runs.train`; what is given is fixed and not searched. ``preset`` and
            ``network`` choose what is searched, see `xpnet.tabular.spaces`.

    Raises:
        ConfigError: settings that cannot be meant, no validation rows, or Optuna is not installed.
        DataError, BackendError: as for `xpnet.runs.train`.
        DivergedError: all trials diverged.
        KeyboardInterrupt: Ctrl-C; the trials that are over are saved, and the message says how to go on.
    """
    stopwatch = Stopwatch()
    require("polars")
    given, own_loss, frame, declared = asked(table, target, out, {**settings, "time_limit": time_limit})
    return search(given, trials, own_loss, frame, declared, told=True, progress=progress, stopwatch=stopwatch)


def resume_tuning(
    folder: str | os.PathLike[str],
    table: Any = None,
    *,
    time_limit: float | None = None,
    loss: Loss = None,
    progress: bool | None = None,
) -> Tuning:
    """Go on with a search that was interrupted, from the trials that are over.

    Args:
        folder: that of the search.
        table: the table, where that was in memory; it has to be the same.
        time_limit: seconds from now on; None: what is left of the search's own limit.
        loss: the loss or its place, where it is code of the user's own.
        progress: whether it is shown.

    Raises:
        CheckpointError: no folder of a search, or one that is damaged.
        DataError: the table has changed.
        ConfigError: the search is finished.
    """
    frame = None if table is None or is_file(table) else to_frame(table)
    declared = declared_categories(table)
    limit = checks.unless_none(checks.seconds, use("time_limit"), time_limit)
    return resume_search(os.fspath(folder), limit, loss, frame, declared, progress=progress)


def search(
    settings: Settings,
    trials: int | None,
    own_loss: Callable[..., Any] | None = None,
    frame: polars.DataFrame | None = None,
    declared: Sequence[str] = (),
    *,
    told: bool = False,
    announce: Announce | None = None,
    progress: bool | None = None,
    stopwatch: Stopwatch | None = None,
) -> Tuning:
    """Search anew, see `tune`; ``settings`` are those that were given, with the time limit of the search."""
    trials, limit = checks.unless_none(checks.count, use("trials"), trials), settings.time_limit
    if trials is None and limit is None:
        raise ConfigError(
            f"the search: expected {use('trials', Word('N'))} or {use('time_limit', Word('SECONDS'))}, which "
            "say when it ends, found neither; give one"
        )
    require("optuna", extra="tune")
    folder = TuningFolder.plan(settings.out, settings.data or "run")
    work = Search(folder, settings, trials, limit, own_loss, frame, declared, [], stopwatch)
    if told:
        tell(work.plan.prepared.decisions)
    if announce is not None:
        announce(work.plan, list(work.space))
    folder.make(work.about())
    with folder.hold():
        return work.do(progress)


def resume_search(
    path: str,
    time_limit: float | None = None,
    loss: Loss = None,
    frame: polars.DataFrame | None = None,
    declared: Sequence[str] = (),
    *,
    announce: Announce | None = None,
    progress: bool | None = None,
    stopwatch: Stopwatch | None = None,
) -> Tuning:
    """Go on with a search, see `resume_tuning`."""
    require("optuna", extra="tune")
    folder = TuningFolder.open(path)
    with folder.hold():
        if folder.results.exists():
            raise ConfigError(
                f"the search '{path}' is finished; its best run is '{folder.best.path}'. Search on in "
                "another folder"
            )
        known, rows = folder.read_about(), folder.read_rows()
        settings = settings_from(Settings, known["settings"])
        check_unchanged(known, settings, frame)
        limit = known["time_limit"]
        if time_limit is not None:
            limit = time_limit
        elif limit is not None:
            limit = max(limit - sum(row["seconds"] for row in rows), 1.0)
        settings = dataclasses.replace(settings, time_limit=known["time_limit"])
        own_loss = loss_of_run(settings, loss)
        folder.sweep()
        work = Search(folder, settings, known["trials"], limit, own_loss, frame, declared, rows, stopwatch)
        if announce is not None:
            announce(work.plan, list(work.space))
        _log.info("continuing after %s", count(len(rows), "trial"))
        return work.do(progress)
