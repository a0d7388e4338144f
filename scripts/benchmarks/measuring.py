"""Runs the measurements that were asked for, contestant by contestant, and notes why one takes no part."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator

from scripts.benchmarks.contestants import CONTESTANTS, Training
from scripts.benchmarks.fresh import FreshError, first_call, peak_memory
from scripts.benchmarks.memory import expected_bytes, unmeasurable
from scripts.benchmarks.results import Result, Run
from scripts.benchmarks.targets import FLOORS
from scripts.benchmarks.timing import in_turn
from scripts.benchmarks.works import OPTIMIZERS, WORKS, Work

__all__ = ["measure"]


def measure(run: Run, options: argparse.Namespace) -> Iterator[str]:
    """Add results to ``run``, and yield what is measured next."""
    for optimizer in options.optimizer:
        for name in options.work:
            for what in ("steps", "epochs"):
                if getattr(options, what):
                    yield f"{what}: {name}, {optimizer}"
                    _time_training(run, what, WORKS[name], optimizer, options)
            for what in ("memory", "first"):
                if getattr(options, what):
                    yield f"{what}: {name}, {optimizer}"
                    _ask_fresh_processes(run, what, WORKS[name], optimizer, options)
    if options.gradients:
        yield "gradients"
        from scripts.benchmarks.gradients import time_gradients

        works = [WORKS[name] for name in options.work if WORKS[name].classifies]
        run.gradients = time_gradients(works, options.rounds)
    if options.imports:
        yield "imports"
        run.imports = _time_imports(options.rounds)


def _time_training(run: Run, what: str, work: Work, optimizer: str, options: argparse.Namespace) -> None:
    trainings: dict[str, Training] = {}
    for name in _taking_part(run, optimizer, options):
        if what == "epochs" and name in FLOORS:
            continue  # has no data
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of others, about themselves
                trainings[name] = CONTESTANTS[name].training(
                    work, OPTIMIZERS[optimizer], options.device, handling=what == "epochs"
                )
                trainings[name].run(1)
        except Exception as error:  # whatever it is, all others are measured
            trainings.pop(name, None)
            run.absent[f"{name}: {what} of {work.name} with {optimizer}"] = _first_line(error)
    seconds = in_turn(trainings, options.rounds, options.shortest, options.warm_up)
    scale = 1e6 / work.steps if what == "steps" else 1e3
    for name, values in seconds.items():
        rounded = [round(value * scale, 4) for value in values]
        run.results.append(Result(what, work.name, optimizer, name, rounded, trainings[name].note))


def _ask_fresh_processes(
    run: Run, what: str, work: Work, optimizer: str, options: argparse.Namespace
) -> None:
    reason = "is measured on the CPU only" if options.device == "cuda" else unmeasurable()
    if what == "memory" and reason:
        run.absent["memory"] = reason
        return
    for name in _taking_part(run, optimizer, options):
        if name in FLOORS:
            continue  # trains nothing
        try:
            ask = _memory if what == "memory" else _first
            run.results.append(ask(name, work, optimizer, options.device))
        except FreshError as error:
            run.absent[f"{name}: {what} of {work.name} with {optimizer}"] = str(error)


def _memory(name: str, work: Work, optimizer: str, device: str) -> Result:
    found = {key: value / 1e6 for key, value in peak_memory(name, work, optimizer).items()}
    found["formula"] = expected_bytes(work, OPTIMIZERS[optimizer].slots) / 1e6
    return Result("memory", work.name, optimizer, name, [found["peak"] - found["before"]], details=found)


def _first(name: str, work: Work, optimizer: str, device: str) -> Result:
    with tempfile.TemporaryDirectory() as cache:
        found = first_call(name, work, optimizer, device, cache)
        if CONTESTANTS[name].caches:
            found["first_again"] = first_call(name, work, optimizer, device, cache)["first"]
    return Result("first", work.name, optimizer, name, [found["first"] - found["later"]], details=found)


def _taking_part(run: Run, optimizer: str, options: argparse.Namespace) -> Iterator[str]:
    for name in options.only:
        reason = CONTESTANTS[name].missing(optimizer)
        if reason is None:
            yield name
        elif "installed" in reason:
            run.absent[name] = reason
        else:
            run.absent[f"{name}: {optimizer}"] = reason


def _time_imports(rounds: int) -> dict[str, float]:
    """Return medians of milliseconds to start Python and import."""
    found = {}
    for label, code in (("numpy", "import numpy"), ("numpy and xpnet", "import numpy, xpnet")):
        times = []
        for _ in range(rounds):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append((time.perf_counter() - begun) * 1e3)
        found[label] = statistics.median(times)
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
