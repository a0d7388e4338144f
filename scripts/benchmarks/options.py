"""The command line of ``scripts/bench``, and what has to be set before NumPy and others load."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from scripts.benchmarks.contestants import CONTESTANTS, contestants_on
from scripts.benchmarks.works import OPTIMIZERS, WORKS

__all__ = ["available_cores", "parse", "use_threads"]

_ADDED = ("steps", "epochs", "memory", "first", "gradients", "imports")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options; steps are measured where nothing else is asked for.

    Anything that cannot be done ends the process with a message and exit code 2.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.all:
        for name in _ADDED:
            setattr(options, name, True)
    if not any(getattr(options, name) for name in _ADDED):
        options.steps = True
    if "all" in options.optimizer:
        options.optimizer = list(OPTIMIZERS)
    options.only = [_contestant(parser, name, options.device) for name in options.only or ()]
    options.only = options.only or contestants_on(options.device)
    cores = available_cores()
    if not 1 <= options.threads <= cores:
        parser.error(f"--threads: expected 1 to {cores}, the cores that may be used, found {options.threads}")
    if options.rounds < 1:
        parser.error(f"--rounds: expected 1 or more, found {options.rounds}")
    if options.strict and not options.check:
        parser.error("--strict says how --check ends; give both")
    if options.saved and options.json:
        parser.error("--from shows results that are saved already; leave out --json")
    return options


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(count: int) -> None:
    """Give every library so many threads; call it before any of them is imported."""
    for name in ("OPENBLAS", "OMP", "MKL", "NUMBA", "BLIS"):
        os.environ[f"{name}_NUM_THREADS"] = str(count)
    os.environ["NPROC"] = str(count)  # what XLA goes by
    if hasattr(os, "sched_setaffinity") and count < available_cores():
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])  # whoever does not go by these


def _contestant(parser: argparse.ArgumentParser, name: str, device: str) -> str:
    here = contestants_on(device)
    found = next((known for known in here if known.lower() == name.lower()), None)
    if found is None:
        why = (
            f"runs on {' and '.join(CONTESTANTS[name].devices)} alone"
            if name in CONTESTANTS
            else "is unknown"
        )
        parser.error(f"--only: {name!r} {why}; choose from {', '.join(repr(known) for known in here)}")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Time training steps beside other libraries: in turn, in one process. Only ratios taken "
        "in one run count, because machines differ, and their speed drifts.",
    )
    what = parser.add_argument_group("what is measured (by default steps)")
    what.add_argument("--steps", action="store_true", help="training steps, on arrays that are in place")
    what.add_argument(
        "--epochs", action="store_true", help="epochs with what users write to handle their data"
    )
    what.add_argument("--memory", action="store_true", help="peak memory of a step, each in a fresh process")
    what.add_argument("--first", action="store_true", help="the first call, each in a fresh process")
    what.add_argument("--gradients", action="store_true", help="gradients and functions alone")
    what.add_argument("--imports", action="store_true", help="starting Python and importing xpnet")
    what.add_argument("--all", action="store_true", help="all of these")
    how = parser.add_argument_group("how")
    how.add_argument("--work", nargs="+", choices=WORKS, default=["T", "S", "M"], help="default: T S M")
    how.add_argument(
        "--optimizer", nargs="+", choices=[*OPTIMIZERS, "all"], default=["adam"], metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)} or all (default adam)",
    )  # fmt: skip
    how.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    how.add_argument(
        "--only", nargs="+", metavar="NAME", help="contestants (default: all that are installed)"
    )
    how.add_argument("--rounds", type=int, default=15, help="turns of each contestant (default 15)")
    how.add_argument("--shortest", type=float, default=0.02, help="seconds of a turn at the least (0.02)")
    how.add_argument("--warm-up", type=float, default=3.0, help="seconds of training before the turns (3)")
    how.add_argument(
        "--threads", type=int, default=available_cores(), help="for everybody (default: all cores)"
    )
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--json", metavar="FILE", help="write all results to this file")
    shown.add_argument("--from", dest="saved", metavar="FILE", help="show results of an earlier run")
    shown.add_argument("--markdown", action="store_true", help="print tables in Markdown")
    shown.add_argument("--plot", metavar="FILE", help="draw the steps: FILE.svg or FILE.png")
    shown.add_argument("--check", action="store_true", help="compare with the targets for xpnet")
    shown.add_argument("--strict", action="store_true", help="with --check: exit code 1 if one is not met")
    return parser
