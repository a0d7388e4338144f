"""The command line of ``scripts/bench tables``."""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.benchmarks.tables.catalogue import GROUPS, PACKAGES, TABLES
from scripts.benchmarks.tables.contestants import CONTESTANTS, Contestant, contestant
from scripts.benchmarks.tables.fits import FitError, Job, in_a_process
from scripts.benchmarks.tables.page import markdown, write_into
from scripts.benchmarks.tables.reading import CACHE, FetchError, fetch
from scripts.benchmarks.tables.results import append, load

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, and print or write the tables."""
    options = _options(arguments)
    try:
        if not options.write:
            _measure(options)
    except FetchError as error:
        print(f"scripts/bench tables: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # what was found is in the file
        return 130
    fits = [fit for fit in load(options.results) if fit.split < options.splits]
    names = [one.name for one in options.contestants]
    if not names:
        found = dict.fromkeys(fit.contestant for fit in fits)
        names = [name for name in {**dict.fromkeys(CONTESTANTS), **found} if name in found]
    made = markdown(fits, names, options.tables)
    if options.write:
        write_into(options.write, "measured", made)
    else:
        print(made)
    return 0


def _measure(options: argparse.Namespace) -> None:
    entered = [one for one in options.contestants or CONTESTANTS.values() if _takes_part(one)]
    for package in sorted({TABLES[name].package for name in options.tables} & set(PACKAGES)):
        fetch(package, options.cache)
    writing = threading.Lock()

    def work(job: Job) -> None:
        try:
            for found in in_a_process(job):
                with writing:
                    append(options.results, found)
                what = f"{job.table}, {job.contestant}, split {found['split']}"
                _tell(f"{what}: {found['error']:.4f}, {found['fit'][0]:.1f} s")
        except FitError as error:  # whatever it is, all others are measured
            _tell(f"{job.table}, {job.contestant}: failed: {error}")

    pool = concurrent.futures.ThreadPoolExecutor(options.jobs)
    try:
        for done in [pool.submit(work, job) for job in _jobs(entered, options)]:
            done.result()
    finally:  # on Ctrl-C, which ends the processes as well
        pool.shutdown(cancel_futures=True)


def _takes_part(one: Contestant) -> bool:
    if not one.installed:
        _tell(f"{one.name} takes no part: {one.package} is not installed")
    return one.installed


def _jobs(entered: Sequence[Contestant], options: argparse.Namespace) -> Iterator[Job]:
    """Yield what is to be done: the splits that a contestant lacks on a table."""
    known = {(fit.contestant, *fit.place) for fit in load(options.results)}
    for table in options.tables:
        for one in entered:
            splits = [n for n in range(options.splits) if (one.name, table, n) not in known]
            if splits:
                yield Job(table, one.text, splits, options.threads, str(options.cache))


def _tell(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench tables",
        description="Compare the accuracy of contestants on public tables. Each fit is kept in a file as "
        "soon as it is done, and measured only once: a run can be interrupted, and continued with more of "
        "everything.",
    )
    known = ", ".join(CONTESTANTS)
    parser.add_argument(
        "--tables", nargs="+", default=["middle"], metavar="NAME",
        help=f"tables, or groups of them: {', '.join(GROUPS)}, all (default middle)",
    )  # fmt: skip
    parser.add_argument(
        "--contestants", nargs="+", default=[], metavar="NAME",
        help=f"{known}; with settings as in 'xpnet preset=best hidden=[256,256]', and a name of your own "
        "before it: 'wide: xpnet hidden=[256]' (default: all that are installed; of --write all there are)",
    )  # fmt: skip
    parser.add_argument("--splits", type=int, default=10, help="splits of each table (default 10)")
    parser.add_argument("--threads", type=int, default=1, help="for each contestant (default 1)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once (default 1)")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"downloaded packages (default {CACHE})")
    parser.add_argument("--results", type=Path, help="file of the fits (default tables.jsonl in the cache)")
    parser.add_argument(
        "--write", type=Path, metavar="PAGE",
        help="measure nothing, and write the tables into this page: docs/real-tables.md",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    options.results = options.results or options.cache / "tables.jsonl"
    groups = {**GROUPS, "all": tuple(TABLES)}
    options.tables = list(
        dict.fromkeys(name for given in options.tables for name in groups.get(given, (given,)))
    )
    for name in options.tables:
        if name not in TABLES:
            parser.error(f"--tables: expected {', '.join((*groups, *TABLES))}; found {name!r}")
    for setting in ("splits", "threads", "jobs"):
        if getattr(options, setting) < 1:
            parser.error(f"--{setting}: expected 1 or more, found {getattr(options, setting)}")
    try:
        options.contestants = [contestant(text) for text in options.contestants]
    except ValueError as error:
        parser.error(f"--contestants: {error}")
    return options
