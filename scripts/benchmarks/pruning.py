"""``scripts/bench pruning``: networks of real tables pruned to 90 % of their weights, as by ``xpnet prune``.

A round of pruning is kept if the validation rows suffer by no more than the tolerance, and taken back
otherwise; whatever a pruning ends with has to be within it, or this ends with an error.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scripts.benchmarks.tables.catalogue import TABLES
from scripts.benchmarks.tables.page import write_into
from scripts.benchmarks.tables.reading import read
from scripts.benchmarks.tables.results import standard_error

__all__ = ["main"]

_TABLES = ("iris", "penguins", "Auto", "Boston", "digits")
_WIDTHS = (128, 8)  # of the hidden layer: the default, and one with little to spare
_SPARSITY = 0.9


class _Pruning(NamedTuple):
    metric: str
    before: float  # on the test rows
    after: float
    sparsity: float
    fall: float  # on the validation rows
    tolerance: float
    reached: bool


def _measured(name: str, width: int, seeds: int) -> Iterator[_Pruning]:
    """Train and prune, once for each seed."""
    from xpnet.runs import train
    from xpnet.tabular.trainer import metric_of

    frame, target = read(TABLES[name]), TABLES[name].target
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            run = train(frame, target, f"{folder}/{seed}", progress=False, hidden=(width,), seed=seed)
            told = run.prune(_SPARSITY, f"{folder}/{seed}-pruned").results["pruning"]
            metric = metric_of(run.settings.task)
            kept = [row["retrained"][metric] for row in told["history"] if row["kept"]]
            found = _Pruning(
                metric,
                *(told["report"][when]["metrics"][metric] for when in ("before", "after")),
                told["reached"],
                kept[0] - kept[-1],
                told["tolerance"],
                not told["missed"],
            )
            if found.fall > found.tolerance + 1e-6:
                raise AssertionError(f"{name}, {width} units, seed {seed}: {found}")
            if found.reached != (round(found.sparsity, 2) >= _SPARSITY):
                raise AssertionError(f"{name}, {width} units, seed {seed}: {found}")
            yield found


def _row(name: str, width: int, found: Sequence[_Pruning]) -> list[Any]:
    metric = found[0].metric
    before, after = ([getattr(one, part) for one in found] for part in ("before", "after"))
    fall = max(found, key=lambda one: one.fall)
    shares = [one.sparsity for one in found]
    return [
        name,
        width,
        "accuracy, %" if metric == "accuracy" else "R²",
        _in_words(metric, before),
        _in_words(metric, after),
        f"{sum(one.reached for one in found)} of {len(found)}",
        f"{100 * statistics.fmean(shares):.1f} % ({100 * min(shares):.1f} %)",
        f"{fall.fall:.3f} ({fall.tolerance:.3f})",
    ]


def _in_words(metric: str, scores: Sequence[float]) -> str:
    mean, error = statistics.fmean(scores), standard_error(scores)
    return f"{100 * mean:.1f} ± {100 * error:.1f}" if metric == "accuracy" else f"{mean:.3f} ± {error:.3f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench pruning", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="seeds of split and training (default: 5)")
    parser.add_argument("--write", type=Path, help="page whose table is replaced: docs/real-tables.md")
    options = parser.parse_args(arguments)
    heads = ("table", "hidden units", "score", "before", "pruned", "target reached", "removed (least)")
    lines = [f"| {' | '.join(heads)} | largest fall (tolerance) |", f"|---|---:|---|{'---:|' * 5}"]
    for width in _WIDTHS:
        for name in _TABLES:
            row = _row(name, width, list(_measured(name, width, options.seeds)))
            lines.append(f"| {' | '.join(map(str, row))} |")
            print(f"... {lines[-1]}", file=sys.stderr, flush=True)
    made = "\n".join(lines) + "\n"
    if options.write is None:
        print(made)
    else:
        write_into(options.write, "pruned", made)
    return 0
