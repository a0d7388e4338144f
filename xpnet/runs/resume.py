"""Resumption: a run continued from a checkpoint, with changed settings."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet.errors import ConfigError, call, use
from xpnet.files import write_atomically
from xpnet.runs.checkpoints import RunLog
from xpnet.runs.environment import describe_run
from xpnet.runs.fit import run_training
from xpnet.runs.folder import RunFolder
from xpnet.runs.manifest import check_restarts, read_run
from xpnet.runs.plan import Plan, check_contradictions, check_packages
from xpnet.runs.restarts import are_under_way, run_restarts
from xpnet.runs.results import why_stopped
from xpnet.runs.settings import FIXED, Settings, setting_fields
from xpnet.runs.trainer import load_trainer
from xpnet.tabular.losses import is_code
from xpnet.tabular.trainer import build_trainer, open_backend, with_rate
from xpnet.text import to_json
from xpnet.train.changes import Change
from xpnet.train.deadline import Stopwatch

if TYPE_CHECKING:
    import polars

__all__ = ["resume_run"]

_log = logging.getLogger("xpnet.runs")


def resume_run(
    path: str,
    changed: Mapping[str, Any] | None = None,
    *,
    start: str | None = None,
    loss: str | Callable[..., Any] | None = None,
    frame: polars.DataFrame | None = None,
    announce: Callable[[Plan], None] | None = None,
    progress: bool | None = None,
    stopwatch: Stopwatch | None = None,
) -> dict[str, Any]:
    """Continue a run from a checkpoint, bit-identically on the same backend if nothing is changed.

    A run that was killed before its first checkpoint begins anew. A schedule spans all epochs: another number
    of them stretches it from here on. Every change is told, and recorded with the epoch from which it holds.

    Args:
        path: the run folder.
        changed: settings that shall have other values from here on, by attribute.
        start: the checkpoint to go on from, such as ``"epoch-50"``; None takes the last. What was trained
            after it is given up, and its settings are those from which changes are counted.
        loss: the loss or its place, where it is code of the user's own.
        frame: the table, where it was no file.
        announce: called with the plan before the training.
        progress: whether it is shown, as for `Trainer`.
        stopwatch: runs since the command began; None: from now on.

    Returns:
        The results, with ``"resumed"``: False if there was nothing left to do.

    Raises:
        Interrupted, DivergedError: as for `train_run`.
        CheckpointError: no run folder, no such checkpoint, damaged, or trained by another process.
        DataError: the table has changed.
        ConfigError: a setting that a run cannot change, or changes that leave nothing to train.
    """
    stopwatch = stopwatch or Stopwatch()
    for name in changed or {}:
        if name in FIXED:
            raise ConfigError(f"{use(name)}: {FIXED[name]}, and stays as it is; train anew")
    if isinstance(loss, str) and not is_code(loss):
        raise ConfigError(f"{use('loss')}: {FIXED['loss']}, and stays as it is; train anew")
    if start in ("final", "best"):
        raise ConfigError(
            f"{use('start')}: expected last or an epoch such as epoch-50, found {start}, which holds weights "
            f"to predict with and no state to train on from; see {use('save_every')}"
        )
    run = RunFolder.open(path)
    with run.hold():
        return _resume(run, dict(changed or {}), start, loss, frame, announce, progress, stopwatch)


def _resume(
    run: RunFolder,
    changed: dict[str, Any],
    start: str | None,
    loss: str | Callable[..., Any] | None,
    frame: polars.DataFrame | None,
    announce: Callable[[Plan], None] | None,
    progress: bool | None,
    stopwatch: Stopwatch,
) -> dict[str, Any]:
    run.check_whole()
    file = _checkpoint(run, start)
    known = read_run(run, file)
    former = known.settings
    same = all(getattr(former, name) == value for name, value in changed.items() if name != "backend")
    results = run.read_results() if run.results.exists() and start is None else {}
    timed_out = bool(results.get("timed_out"))
    if results and same and not timed_out:
        return {**results, "resumed": False}
    check_packages(dataclasses.replace(former, **changed))
    backend = open_backend(dataclasses.replace(former, **changed))
    if "backend" not in changed and former.backend == known.trained.backend:
        backend = dataclasses.replace(backend, reason="that of the run so far")
    changed["backend"] = backend.spec
    environment = dict(known.environment)
    prepared = known.prepare(with_rate(dataclasses.replace(former, **changed)), loss, frame)
    settings = prepared.settings
    check_contradictions(prepared)
    in_restarts = are_under_way(run, settings)
    if in_restarts:
        check_restarts(known, file)
        _check_restarts(run, settings, changed, start)
    if in_restarts or not (run.has_begun() or start is not None):
        trainer = build_trainer(prepared, backend)
    else:
        recompile = settings.compile != former.compile
        trainer = load_trainer(run, prepared, backend, start, recompile=recompile)
    earlier = [Change(**change) for change in environment.get("changes", [])]
    kept = [change for change in earlier if change.epoch <= trainer.epoch + 1]
    now = _undone(known.trained, earlier[len(kept) :])
    made = _changes(now, settings, trainer.epoch + 1)
    plan = Plan(prepared, backend, trainer, run, [*kept, *made], stopwatch)
    if not timed_out:  # after which there is something left in any case
        _check_changes(plan, made, start)
    log = RunLog(run.log)
    told = [f"continuing after epoch {trainer.epoch} of {plan.length.epochs}", *map(str, made)]
    if start is not None:
        told[0] += f", from '{start}'; what was trained after it is given up"
    if in_restarts:
        told[0] = f"continuing with {len(run.read_restarts())} of {settings.restarts} restarts done"
    here = describe_run(backend)
    told += _other_bits(environment, here) if trainer.epoch or in_restarts else []

    def begin() -> RunFolder:
        run.sweep()
        run.results.unlink(missing_ok=True)  # of a run that is trained further: it is unfinished again
        run.write_settings(settings)
        environment["changes"] = [dataclasses.asdict(change) for change in plan.changes]
        environment.setdefault("resumed", []).append({"epoch": trainer.epoch, **here})
        write_atomically(run.environment, to_json(environment))
        for line in [*told, f"device {backend.spec}"]:
            log.write(line)
        return run

    if announce is not None:
        announce(plan)
    for line in told:
        _log.info("%s", line)
    run_planned = run_restarts if in_restarts else run_training
    return {**run_planned(plan, log, begin, shown=progress), "resumed": True}


def _checkpoint(run: RunFolder, start: str | None) -> Path | None:
    """Return the checkpoint to go on from, be it of a restart under way; None if there is none yet."""
    if start is not None:
        return run.find_checkpoint(start)
    last = [*run.parts.glob("*/checkpoints/last.safetensors"), run.checkpoint("last")]
    return next((path for path in last if path.exists()), None)


def _other_bits(environment: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for what computes otherwise than in the training so far."""
    last = (environment.get("resumed") or [environment])[-1]
    before, after = _computed_by(last), _computed_by(now)
    others = [
        f"{name}: {before[name] or 'none'} before, {after[name] or 'none'} now"
        for name in after
        if name in before and before[name] != after[name]
    ]
    blas = set(last["blas"]), set(now["blas"])  # one more may be loaded than before, and not used
    if not (blas[0] <= blas[1] or blas[1] <= blas[0]):
        others.append(f"BLAS: {', '.join(sorted(blas[0]))} before, {', '.join(sorted(blas[1]))} now")
    if not others:
        return []
    return [f"bits may differ from those of a training that was not interrupted ({'; '.join(others)})"]


def _computed_by(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what results of rounding depend on."""
    packages = {name: told["versions"][name] for name in ("numpy", "numba") if name in told["versions"]}
    products = told.get("compiled_products", {}).get("library")
    return {"device": told["backend"]["spec"], **packages, "BLAS of compiled code": products}


def _check_restarts(run: RunFolder, settings: Settings, changed: dict[str, Any], start: str | None) -> None:
    """Refuse changes amid restarts, which would then be compared under different settings."""
    asked = [*(["start"] if start is not None else []), *(name for name in changed if name != "backend")]
    if asked:
        raise ConfigError(
            f"{use(asked[0])}: expected no changes while restarts are under way "
            f"({len(run.read_restarts())} of {settings.restarts} are done), for they are compared with each "
            f"other; let them end first: {call('resume', run.path)}; or train anew"
        )


def _changes(now: Settings, then: Settings, epoch: int) -> list[Change]:
    """Return the changed settings, of those that may change, by the names of their flags."""
    return [
        Change(epoch, field.key, getattr(now, name), getattr(then, name))
        for name, field in setting_fields().items()
        if name not in FIXED and getattr(now, name) != getattr(then, name)
    ]


def _undone(settings: Settings, changes: list[Change]) -> Settings:
    """Return the settings before the changes, of which the last was made last."""
    fields = {key: field for field in setting_fields().values() for key in field.keys}
    for change in reversed(changes):
        if change.setting in fields:
            field = fields[change.setting]
            before: dict[str, Any] = {field.attribute: change.before}
            if change.before is not None:
                before[field.attribute] = field.check(f"the record of changes, {field.key}", change.before)
            settings = dataclasses.replace(settings, **before)
    return settings


def _check_changes(plan: Plan, made: list[Change], start: str | None) -> None:
    """Refuse fewer epochs than are done, and changes where nothing is left to train."""
    trainer, epochs = plan.trainer, plan.length.epochs
    if epochs < trainer.epoch:
        raise ConfigError(
            f"{use('epochs')}: expected at least the {trainer.epoch} epochs that are done, found {epochs}; "
            f"raise it, or go on from an earlier checkpoint with {use('start')}"
        )
    asked = [change for change in made if change.setting != "backend"]
    reason = why_stopped(plan)
    if reason is not None and (asked or start is not None):
        what = use(asked[0].setting.replace("-", "_")) if asked else use("start", start)
        raise ConfigError(
            f"{what}: nothing is left to train after epoch {trainer.epoch} ({reason}); raise "
            f"{use('epochs')}, {use('max_steps')} or {use('patience')}, or go on from an earlier checkpoint "
            f"with {use('start')}"
        )
