"""Functions of the commands: from flags to printed results. Each imports what it needs when it runs."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpnet import checks
from xpnet.checks import Check
from xpnet.cli.console import (
    facts,
    hush,
    message,
    print_environment,
    print_range,
    print_results,
    print_text,
    stopwatch,
)
from xpnet.cli.flags import changed_settings, resolve
from xpnet.cli.summaries import announce, announce_search, show_plan, show_training, show_tuning
from xpnet.cli.wording import in_flags
from xpnet.errors import ConfigError, DataError
from xpnet.extras import require
from xpnet.runs.settings import setting_fields, to_toml
from xpnet.text import count, visible

__all__ = [
    "check",
    "env",
    "evaluate",
    "export",
    "graph",
    "lr_range",
    "parity",
    "predict",
    "prune",
    "resume",
    "train",
    "tune",
]

# exit codes of what is on the disk, whether or not its results can be printed
_KEPT, _MISSED = 0, 1
_EXPORT = "xpnet export runs/flowers --to onnx --out flowers.onnx"
_PACKAGES = ("polars", "safetensors")
_RANGE = {"low": checks.positive, "high": checks.positive, "steps": checks.whole(2)}
_PARITY = {"steps": checks.count, "dtype": checks.one_of("float32", "float64")}


def train(
    *,
    config: str | None,
    print_config: bool,
    dry_run: bool,
    json: bool,
    quiet: bool,
    debug: bool,
    **flags: Any,
) -> int | None:
    """Train a network on a table and keep everything about it in a run folder."""
    settings = resolve(flags, config)
    _hush(quiet)
    code = flags["loss"]  # and not settings.loss: a file never brings code
    if print_config:
        sys.stdout.write(to_toml(settings))
        return None
    require(*_PACKAGES)
    from xpnet.runs.plan import plan_training
    from xpnet.runs.training import train_run
    from xpnet.tabular.losses import import_loss

    plan = plan_training(settings, import_loss(code), stopwatch=stopwatch())
    if dry_run:
        told = plan.describe()
        _print_json(told) if json else show_plan(told)
        if not json and plan.prepared.summary is not None:
            print_text(f"\n{plan.prepared.summary.page(in_flags)}")
        return None
    if not quiet:
        announce(plan)
    results = train_run(plan, progress=not quiet)
    _print_json(results) if json else show_training(results)
    return _KEPT


def resume(
    *,
    run: str,
    from_: str | None,
    loss: str | None,
    json: bool,
    quiet: bool,
    debug: bool,
    **flags: Any,
) -> int | None:
    """Continue a run that was interrupted, exactly where it stood, or with other settings from there on."""
    changed = changed_settings(flags)
    _hush(quiet)
    require(*_PACKAGES)
    from xpnet.runs.resume import resume_run
    from xpnet.runs.tuning_folder import TuningFolder

    if TuningFolder(Path(run)).is_there():
        return _resume_tuning(run, changed, from_, loss, json=json, quiet=quiet)
    shown = None if quiet else announce
    results = resume_run(
        run, changed, start=from_, loss=loss, announce=shown, progress=not quiet, stopwatch=stopwatch()
    )
    if not results["resumed"]:
        # steps that are done stay so, and patience that was asked for and is lost
        open_end = results.get("epochs_open", False) or results["epochs_trained"] >= results["epochs"]
        further = "; --epochs N trains on" if open_end else ""
        stopped = results["stopped"]
        message(f"the run '{run}' is finished: {stopped}, after epoch {results['epochs_trained']}{further}")
    _print_json(results) if json else show_training(results)
    return _KEPT


def tune(
    *,
    config: str | None,
    trials: str | None,
    json: bool,
    quiet: bool,
    debug: bool,
    **flags: Any,
) -> int | None:
    """Search the settings of a network, and train the best ones as a run of their own.

    Flags of training settings fix them: what is given is not searched.
    """
    settings = resolve(flags, config)
    options = _checked({"trials": checks.count}, trials=trials)
    _hush(quiet)
    require(*_PACKAGES)
    from xpnet.runs.tuning import search
    from xpnet.tabular.losses import import_loss

    found = search(
        settings,
        options.get("trials"),
        import_loss(flags["loss"]),  # and not settings.loss: a file never brings code
        announce=None if quiet else announce_search,
        progress=not quiet,
        stopwatch=stopwatch(),
    )
    _print_json(found.results) if json else show_tuning(found)
    return _KEPT


def _resume_tuning(
    run: str, changed: Mapping[str, Any], start: str | None, loss: str | None, *, json: bool, quiet: bool
) -> int:
    """Go on with a search."""
    from xpnet.runs.tuning import resume_search

    asked = [*(["from"] if start is not None else []), *(name for name in changed if name != "time_limit")]
    if asked:
        flag = asked[0].replace("_", "-")
        raise ConfigError(
            f"--{flag}: expected nothing but --time-limit for a search, whose trials are compared with each "
            "other; leave it out, or search anew"
        )
    announce = None if quiet else announce_search
    limit = changed.get("time_limit")
    found = resume_search(run, limit, loss, announce=announce, progress=not quiet, stopwatch=stopwatch())
    _print_json(found.results) if json else show_tuning(found)
    return _KEPT


def prune(
    *,
    run: str,
    resume: bool,
    out: str | None,
    backend: str | None,
    checkpoint: str | None,
    loss: str | None,
    json: bool,
    quiet: bool,
    debug: bool,
    **flags: Any,
) -> int | None:
    """Remove weights or hidden units of a trained network, and retrain it, into a new run folder.

    Exit code 1: the sparsity is not reached within the tolerance.
    """
    from xpnet.cli.flags import resolve_pruning

    _hush(quiet)
    settings = resolve_pruning(flags, resume=resume, beside={"out": out, "checkpoint": checkpoint})
    require(*_PACKAGES)
    from xpnet.runs.pruning import prune_run, resume_pruning

    if resume:
        results, report = resume_pruning(
            run, learning_rate=settings.learning_rate, backend=backend, loss=loss
        )
    else:
        results, report = prune_run(run, settings, out=out, checkpoint=checkpoint, backend=backend, loss=loss)
    told = results["pruning"]
    if json:
        _print_json(results)
    else:
        print_text(f"{report}\n")
        within = "" if told["tolerance"] is None else f", within a tolerance of {told['tolerance']:.3g}"
        facts(
            {
                "measured on": told["measured_on"],
                "pruning": f"{count(told['rounds_kept'], 'round')}{within}; {results['stopped']}",
                "run folder": results["run"],
            }
        )
    if told["missed"] and quiet:  # otherwise it was among the warnings
        message(f"warning: {told['missed']}")
    return _MISSED if told["missed"] else _KEPT


def predict(
    *,
    run: str,
    file: str,
    out: str | None,
    keep: list[str] | None,
    formulas: str | None,
    missing: str | None,
    unseen: str | None,
    checkpoint: str | None,
    backend: str | None,
    loss: str | None,
    debug: bool,
) -> int | None:
    """Write a table of predictions for the rows of a file."""
    require(*_PACKAGES)
    from xpnet.data import to_csv, write_table
    from xpnet.runs import open as open_run

    if out is not None and not out.lower().endswith((".csv", ".tsv", ".parquet")):
        raise ConfigError(f"--out: expected a file ending in .csv, .tsv or .parquet, found '{out}'")
    kept = _checked({"formulas": checks.one_of("escape", "keep")}, formulas=formulas)
    policies = _policies(missing, unseen)
    table = open_run(run).predict(
        file, checkpoint=checkpoint, backend=backend, loss=loss, keep=keep or (), **policies
    )
    if out is None:
        text = to_csv(table, **kept)
        if sys.stdout.isatty():  # which obeys what is in it
            text = visible(text, "\n")
        sys.stdout.write(text)
    else:
        write_table(table, out, **kept)
        message(f"{count(table.height, 'prediction')} written to {out}")
    return None


def evaluate(
    *,
    run: str,
    file: str | None,
    missing: str | None,
    unseen: str | None,
    checkpoint: str | None,
    backend: str | None,
    loss: str | None,
    json: bool,
    debug: bool,
) -> int | None:
    """Measure a trained network on its test rows, or on a file."""
    require(*_PACKAGES)
    from xpnet.runs.prediction import evaluate_run

    policies = _policies(missing, unseen)
    results = evaluate_run(run, file, checkpoint=checkpoint, backend=backend, loss=loss, **policies)
    if json:
        _print_json(results)
    else:
        weights = f"of epoch {results['checkpoint_epoch']}"
        print_results(results, {"data": results["data"], "weights": weights, "device": results["device"]})
    return None


def export(
    *,
    run: str,
    to: str | None,
    out: str | None,
    overwrite: bool,
    checkpoint: str | None,
    loss: str | None,
    debug: bool,
) -> int | None:
    """Write a trained network so that it predicts without xpnet: as ONNX, for NumPy alone, or for PyTorch."""
    for flag, text in (("to", to), ("out", out)):
        if text is None:
            raise ConfigError(f"--{flag}: expected a value, found none; write, say: {_EXPORT}")
    kind = _checked({"to": checks.one_of("onnx", "numpy", "torch")}, to=to)["to"]
    require(*_PACKAGES)
    from xpnet import export as exports
    from xpnet.runs.prediction import load_model

    model = load_model(run, checkpoint, "numpy", loss)
    made = getattr(exports, kind)(model, out, overwrite=overwrite)
    message(f"the network of epoch {model.trainer.epoch} was written to {made}")
    return None


def graph(
    *,
    source: str,
    values: list[str] | None,
    output: str | None,
    version: str | None,
    debug: bool,
    **flags: Any,
) -> int | None:
    """Show the computation graph of an expression, or of a model's loss, with all derivatives."""
    kind = _checked_output(output, ".svg", ".png", ".dot", ".mmd")
    if version not in (None, "1", "2"):
        raise ConfigError(f"--version: expected 1 or 2, found '{version}'")
    require(*_PACKAGES)
    if kind in (".svg", ".png"):
        require("graphlay", extra="graph")
    from xpnet.cli.graph import graph_of, write_graph

    made = graph_of(source, values or [], flags, version=int(version or 1))
    if output is None:
        print_text(str(made))
    else:
        write_graph(made, Path(output), title=source)
        message(f"a graph of {count(len(made.nodes), 'node')} written to {output}")
    return None


def lr_range(
    *,
    config: str | None,
    low: str | None,
    high: str | None,
    steps: str | None,
    output: str | None,
    json: bool,
    debug: bool,
    **flags: Any,
) -> int | None:
    """Try learning rates on an untrained network, and suggest one."""
    settings = resolve(flags, config)
    kind = _checked_output(output, ".svg", ".png", ".csv")
    options = _checked(_RANGE, low=low, high=high, steps=steps)
    require(*_PACKAGES)
    from xpnet.cli.lr_range import range_of, range_rows, write_range
    from xpnet.tabular.losses import import_loss

    own_loss = import_loss(flags["loss"])  # and not settings.loss: a file never brings code
    found = range_of(settings, own_loss, **options)
    if json:
        _print_json(found.to_json())
    elif output is None:
        print_range(range_rows(found))
    if output is not None:
        write_range(found, Path(output), kind)
        message(f"a range test of {count(len(found.test.rates), 'step')} written to {output}")
    if not json:
        facts({"suggestion": found.advice})
    return None


def _checked_output(output: str | None, *kinds: str) -> str:
    """Return the extension of a file to write, one of ``kinds``; empty if there is none."""
    kind = Path(output or "").suffix.lower()
    if output is None:
        return kind
    if kind not in kinds:
        wanted = f"{', '.join(kinds[:-1])} or {kinds[-1]}"
        raise ConfigError(f"--output: expected a file ending in {wanted}, found '{output}'")
    if not Path(output).parent.is_dir():
        raise ConfigError(f"--output: there is no folder '{Path(output).parent}'; make it, or choose another")
    if kind in (".svg", ".png"):
        require("matplotlib")
    return kind


def _policies(missing: str | None, unseen: str | None) -> dict[str, Any]:
    """Return the checked policies for cells that hold nothing known."""
    known = {"missing": setting_fields()["missing"].check, "unseen": checks.one_of("error", "ignore")}
    return {"missing": None, "unseen": "error", **_checked(known, missing=missing, unseen=unseen)}


def _checked(known: Mapping[str, Check], **texts: str | None) -> dict[str, Any]:
    """Return what the texts of options mean, of those that were given."""
    return {name: known[name].of_text(f"--{name}", text) for name, text in texts.items() if text is not None}


def parity(
    *,
    devices: list[str] | None,
    run: str | None,
    steps: str | None,
    dtype: str | None,
    checkpoint: str | None,
    loss: str | None,
    json: bool,
    debug: bool,
) -> int | None:
    """Compare what devices draw and compute in training; exit code 0 if all agree, 1 if one differs."""
    named = devices or []
    if len(named) < 2:
        raise ConfigError(
            f"DEVICES: expected at least two, the first of them the reference, found {len(named)}; write, "
            "say: xpnet parity numpy cuda"
        )
    options = _checked(_PARITY, steps=steps, dtype=dtype)
    if run is None:
        for flag, text in (("checkpoint", checkpoint), ("loss", loss)):
            if text is not None:
                raise ConfigError(f"--{flag}: expected --run RUN with it, whose {flag} it is; add it")
        from xpnet.train import parity as compared

        report = compared(named, **options)
    else:
        require(*_PACKAGES)
        from xpnet.cli.parity import parity_of_run

        report = parity_of_run(named, run, checkpoint=checkpoint, loss=loss, **options)
    if json:
        _print_json(report.to_dict())
    else:
        print_text(str(report))
    return 0 if report.agree else 1


def check(*, file: str, json: bool, debug: bool, **flags: Any) -> int | None:
    """Show what the columns of a table are and how they are taken, with advice; exit code 5 for problems."""
    settings = resolve(flags)
    require("polars")
    from xpnet.tabular.dataset import table_summary

    summary = table_summary(dataclasses.replace(settings, data=file))
    if json:
        _print_json(summary.to_json())
    else:
        print_text(summary.page(in_flags))
    return DataError.exit_code if summary.problems else None


def env(*, json: bool, debug: bool) -> int | None:
    """Show versions, devices and the matrix-product kernel of this machine."""
    from xpnet.runs.environment import describe_environment

    found = describe_environment()
    if json:
        _print_json(found)
    else:
        print_environment(found)
    return None


def _print_json(value: Any) -> None:
    from xpnet.text import to_json

    sys.stdout.write(to_json(value))


def _hush(quiet: bool) -> None:
    if quiet:
        hush()
