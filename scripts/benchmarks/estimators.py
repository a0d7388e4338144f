"""``scripts/bench sklearn``: the estimators beside scikit-learn's own, with the defaults of both.

Each contestant fits in a process of its own. The first fit of it is the cold one; it counts with the
imports of the contestant's package and without, as scikit-learn itself and the data are imported by both.
The fits with the other seeds follow in the same process. Few rows are then fitted once more with each seed,
for xpnet compiles after some fits only: those fits are warm. All are scored on the same rows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from scripts.benchmarks.options import available_cores, use_threads

__all__ = ["DATA", "Result", "main", "markdown", "measure"]

CONTESTANTS = {"scikit-learn": "sklearn.neural_network", "xpnet": "xpnet.estimators"}
_SYNTHETIC = "100,000 × 50"
_MANY = 10_000  # rows from which on a fit is compiled from the start


def _builtin(name: str) -> Callable[[], tuple[Any, Any]]:
    def load() -> tuple[Any, Any]:
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")(return_X_y=True)

    return load


def _synthetic() -> tuple[Any, Any]:
    from sklearn.datasets import make_classification

    return make_classification(100_000, 50, n_informative=20, random_state=0)


# name: its arrays, and the kind of estimator
DATA: dict[str, tuple[Callable[[], tuple[Any, Any]], str]] = {
    "digits": (_builtin("digits"), "MLPClassifier"),
    "breast cancer": (_builtin("breast_cancer"), "MLPClassifier"),
    "wine": (_builtin("wine"), "MLPClassifier"),
    "diabetes": (_builtin("diabetes"), "MLPRegressor"),
    _SYNTHETIC: (_synthetic, "MLPClassifier"),
}


@dataclasses.dataclass(frozen=True)
class Result:
    """What a process measured.

    Attributes:
        imports: seconds of the contestant's imports.
        warm: how many of the fits, the last ones, are warm.
        seconds: of the fits, by the clock; the first is cold.
        processor: seconds of the fits on all cores together.
        scores: accuracy or R² on the test rows, one for each seed.
        epochs: of a fit with each seed.
    """

    imports: float
    warm: int
    seconds: list[float]
    processor: list[float]
    scores: list[float]
    epochs: list[int]


def measure(name: str, contestant: str, seeds: int, compile: str) -> Result:
    """Fit and score once for each seed, in this process."""
    import importlib

    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    load, kind = DATA[name]
    X, y = load()
    began = time.perf_counter()
    made = getattr(importlib.import_module(CONTESTANTS[contestant]), kind)
    options = {"compile": compile} if contestant == "xpnet" else {}
    few = len(X) < _MANY
    result = Result(time.perf_counter() - began, seeds if few else max(1, seeds - 1), [], [], [], [])
    for seed in [*range(seeds)] * (1 + few):
        train, test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=seed)
        scaler = StandardScaler().fit(train)
        estimator, train = made(random_state=seed, **options), scaler.transform(train)
        clock, processor = time.perf_counter(), time.process_time()
        with warnings.catch_warnings(action="ignore"):  # that 200 iterations are too few
            estimator.fit(train, y_train)
        result.seconds.append(time.perf_counter() - clock)
        result.processor.append(time.process_time() - processor)
        if len(result.scores) < seeds:
            result.scores.append(float(estimator.score(scaler.transform(test), y_test)))
            result.epochs.append(int(estimator.n_iter_))
    return result


def _in_a_process(name: str, contestant: str, options: argparse.Namespace) -> Result:
    command = [sys.executable, "-m", "scripts.benchmarks", "sklearn", "--child", contestant, "--only", name]
    command += [
        "--seeds",
        str(options.seeds),
        "--threads",
        str(options.threads),
        "--compile",
        options.compile,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{contestant} on {name}: {done.stderr.strip()[-500:]}")
    return Result(**json.loads(done.stdout))


def markdown(results: dict[str, dict[str, Result]]) -> str:
    """Return the results as a table; factors are those of seconds, and of the processor's."""
    lines = [
        "| data | score of scikit-learn | of xpnet | epochs | scikit-learn, s | xpnet, s | factor "
        "| of the processor | cold | with imports |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, of in results.items():
        theirs, ours = of["scikit-learn"], of["xpnet"]
        warm = [statistics.median(one.seconds[-one.warm :]) for one in (theirs, ours)]
        worked = [statistics.median(one.processor[-one.warm :]) for one in (theirs, ours)]
        whole = [one.imports + one.seconds[0] for one in (theirs, ours)]
        cells = [
            name, _score(theirs), _score(ours), f"{statistics.fmean(ours.epochs):.0f}", f"{warm[0]:.3f}",
            f"{warm[1]:.3f}", f"{warm[0] / warm[1]:.2f}", f"{worked[0] / worked[1]:.2f}",
            f"{theirs.seconds[0] / ours.seconds[0]:.2f}", f"{whole[0] / whole[1]:.2f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _score(of: Result) -> str:
    error = statistics.stdev(of.scores) / len(of.scores) ** 0.5 if len(of.scores) > 1 else 0.0
    return f"{statistics.fmean(of.scores):.4f} ± {error:.4f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench sklearn", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=list(DATA), help="measure this one; repeatable")
    parser.add_argument("--seeds", type=int, default=10, help="seeds of split and training (default: 10)")
    parser.add_argument(
        "--threads", type=int, default=available_cores(), help="for both (default: all cores)"
    )
    parser.add_argument("--compile", default="auto", help="how xpnet's steps are run (default: auto)")
    parser.add_argument("--child", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    use_threads(options.threads)
    if options.child:
        found = measure(options.only[0], options.child, options.seeds, options.compile)
        print(json.dumps(dataclasses.asdict(found)))
        return 0
    results: dict[str, dict[str, Result]] = {}
    for name in options.only or DATA:
        results[name] = {}
        for contestant in CONTESTANTS:
            results[name][contestant] = _in_a_process(name, contestant, options)
            one = results[name][contestant]
            print(f"... {name}, {contestant}: {sum(one.seconds):.1f} s", file=sys.stderr, flush=True)
    print(f"{os.cpu_count()} cores, {options.threads} threads, {options.seeds} seeds\n")
    print(markdown(results))
    return 0
