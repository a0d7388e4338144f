"""``scripts/bench``: measure training in turn, in one process, and print ratios; ``--help`` tells more."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from scripts.benchmarks.measuring import measure
from scripts.benchmarks.options import parse, use_threads
from scripts.benchmarks.plot import draw
from scripts.benchmarks.report import describe_machine, tables, verdict_table
from scripts.benchmarks.results import ResultError, Run, machine
from scripts.benchmarks.targets import verdicts
from scripts.benchmarks.works import WORKS
from xpnet import blas

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["tables"]:
        from scripts.benchmarks.tables.program import main as compare_tables

        return compare_tables(given[1:])
    if given[:1] == ["pruning"]:
        from scripts.benchmarks.pruning import main as prune_tables

        return prune_tables(given[1:])
    if given[:1] == ["sklearn"]:
        from scripts.benchmarks.estimators import main as compare_estimators

        return compare_estimators(given[1:])
    options = parse(arguments)
    try:
        run = Run.load(options.saved) if options.saved else _measured(options)
        return _show(run, options)
    except (ResultError, OSError) as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _measured(options: argparse.Namespace) -> Run:
    # All of these are read when NumPy and the others load, which happens where they are used first.
    blas.prefer_faster_kernel()
    use_threads(options.threads)
    if options.device == "cuda":
        _need_cuda()
    logging.getLogger("xpnet").setLevel(logging.ERROR)  # how long compiling took is what --first tells
    run = Run({})
    try:
        for text in measure(run, options):
            print(f"... {text}", file=sys.stderr, flush=True)
    finally:  # what was found before Ctrl-C is kept
        run.machine = machine(options.threads, options.device)
        if options.json:
            run.save(options.json)
    return run


def _need_cuda() -> None:
    from xpnet.backends import probe

    state = probe("cupy")
    if not state.usable:
        raise ResultError(
            f"--device cuda: expected a CUDA device that works, found none: {state.reason}; leave it out to "
            "measure on the CPU"
        )


def _show(run: Run, options: argparse.Namespace) -> int:
    found = verdicts(run) if options.check else []
    made = tables(run, spread=not options.markdown)
    if found:
        made.append(verdict_table(found))
    print(describe_machine(run))
    for table in made:
        print("\n" + (table.markdown() if options.markdown else table.plain()))
    if run.gradients:
        from scripts.benchmarks.gradients import show_gradients

        show_gradients([WORKS[name] for name in run.gradients if name in WORKS], run.gradients)
    if options.plot:
        draw(run, options.plot)
    return int(options.strict and any(verdict.met is False for verdict in found))


if __name__ == "__main__":
    sys.exit(main())
