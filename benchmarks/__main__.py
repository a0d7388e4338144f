"""``scripts/bench``: time training steps in turn, in one process, and print ratios to xpnet.

Only ratios taken in one run count: machines differ, and their speed drifts.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time

from xpnet import blas

KERNEL = blas.prefer_faster_kernel()  # before NumPy loads

import numpy as np  # noqa: E402

from benchmarks.contestants import CONTESTANTS, missing  # noqa: E402
from benchmarks.gradients import show_gradients, time_gradients  # noqa: E402
from benchmarks.works import WORKS, Work  # noqa: E402


def time_work(work: Work, names: list[str], rounds: int) -> dict[str, list[float]]:
    """Return microseconds a step for each contestant, one number a round, taken in turn."""
    epochs = {name: CONTESTANTS[name][1](work) for name in names}
    for epoch in epochs.values():
        for _ in range(3):
            epoch()
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, epoch in epochs.items():
            begun = time.perf_counter()
            epoch()
            times[name].append((time.perf_counter() - begun) / work.steps * 1e6)
    return times


def time_imports(rounds: int) -> dict[str, float]:
    """Return the medians of milliseconds to start Python and import NumPy, and NumPy with xpnet."""
    found = {}
    for label, code in (("numpy", "import numpy"), ("numpy and xpnet", "import numpy, xpnet")):
        times = []
        for _ in range(rounds):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append((time.perf_counter() - begun) * 1e3)
        found[label] = statistics.median(times)
    return found


def show(work: Work, times: dict[str, list[float]]) -> None:
    """Print one work's table."""
    print(f"\n{work}")
    print(f"  {'':18}{'median µs':>11}{'min':>9}{'max':>9}{'/ products':>12}{'/ xpnet':>10}")
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        to_floor = medians[name] / medians.get("matrix products", np.nan)
        to_xpnet = medians[name] / medians.get("xpnet", np.nan)
        spread = f"{medians[name]:11.0f}{min(values):9.0f}{max(values):9.0f}"
        print(f"  {name:18}{spread}{to_floor:12.2f}{to_xpnet:10.2f}")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--work", nargs="+", choices=WORKS, default=["T", "S", "M"], help="which works (default T S M)"
    )
    parser.add_argument("--rounds", type=int, default=15, help="timed epochs of each contestant")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, help="contestants (default: all installed)")
    parser.add_argument("--imports", action="store_true", help="time imports too")
    parser.add_argument(
        "--gradients", action="store_true", help="time gradients and functions alone, not steps"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args()
    names, absent = [], {}
    for name in options.only or CONTESTANTS:
        reason = missing(name)
        if reason:
            absent[name] = reason
        else:
            names.append(name)
    machine = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas.active_kernels() or [f"OPENBLAS_CORETYPE={KERNEL}"],
        "processor": platform.processor() or platform.machine(),
    }
    if options.gradients:
        classifiers = [WORKS[name] for name in options.work if WORKS[name].loss != "squared_error"]
        results = time_gradients(classifiers, options.rounds)
    else:
        results = {name: time_work(WORKS[name], names, options.rounds) for name in options.work}
    imports = time_imports(options.rounds) if options.imports else {}
    if options.json:
        print(json.dumps({"machine": machine, "absent": absent, "microseconds": results, "imports": imports}))
        return
    print("  ".join(f"{key} {value}" for key, value in machine.items()))
    if options.gradients:
        show_gradients(classifiers, results)
    else:
        for name, reason in absent.items():
            print(f"  not timed: {name} ({reason})")
        for name, times in results.items():
            show(WORKS[name], times)
    for label, milliseconds in imports.items():
        print(f"\nimport {label}: {milliseconds:.0f} ms")


if __name__ == "__main__":
    main()
