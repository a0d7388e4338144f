"""Results are kept as they are, and shown as tables, verdicts and a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("scripts.benchmarks", reason="the folder scripts/ is not there: run from the sources")

from scripts.benchmarks import __main__ as program
from scripts.benchmarks import plot, report, targets
from scripts.benchmarks.contestants import CONTESTANTS
from scripts.benchmarks.results import Result, ResultError, Run

MACHINE = {
    "date": "2026-01-31", "processor": "4 cores of X", "threads": 1, "device": "cpu", "kernels": ["openblas"],
    "system": "Linux x86_64", "python": "3.12.0", "packages": {"numpy": "2.4.6"},
}  # fmt: skip


def example() -> Run:
    """Return a run whose numbers are easily divided."""
    run = Run(dict(MACHINE), imports={"numpy": 51.25}, absent={"thinc": "thinc is not installed"})
    for work, unit in (("S", 10.0), ("M", 1000.0)):
        for name, factor in (
            ("matrix products", 1),
            ("xpnet", 1.5),
            ("scikit-learn", 9),
            ("JAX scanned", 1.4),
        ):
            values = [unit * factor * x for x in (0.9, 1.0, 1.0, 1.0, 1.2)]
            note = "fused=True" if name == "xpnet" else ""
            run.results.append(Result("steps", work, "adam", name, values, note))
    for name, megabytes in (("xpnet no rollback", 8.0), ("PyTorch eager", 11.0)):
        run.results.append(Result("memory", "M", "adam", name, [megabytes], details={"formula": 9.5}))
    details = {"build": 0.5, "first": 2.0, "later": 0.25, "worst": 0.5, "first_again": 1.0}
    run.results.append(Result("first", "M", "adam", "xpnet", [1.75], details=details))
    return run


def test_results_are_kept_as_they_are(tmp_path: Path) -> None:
    run = example()
    run.save(tmp_path / "run.json")
    assert Run.load(tmp_path / "run.json") == run


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "could not read them: .*No such file"),
        ("{", "could not read them"),
        ("[]", "found something else; measure again"),
        ('{"format": 0}', "in format 1, found something else"),
        ('{"format": 1, "results": [{"work": "S"}]}', "found others: .*missing"),
        ('{"format": 1, "results": [], "extra": 1}', "found others: .*extra"),
    ],
)
def test_files_that_are_no_results(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ResultError, match=message):
        Run.load(path)


PLAIN = """
S: 64-128-10 relu, softmax cross-entropy, batch 64: a training step, µs; adam
                   median  quartile  quartile  min   max  / matrix products  / xpnet
  matrix products      10        10        10    9    12               1.00     0.67
  xpnet                15        15        15 13.5    18               1.50     1.00  fused=True
  scikit-learn         90        90        90   81   108               9.00     6.00
  JAX scanned          14        14        14 12.6  16.8               1.40     0.93
"""
MARKDOWN = """
a training step, µs; adam; in units of xpnet

|  | S | M |
| --- | --: | --: |
| matrix products | 0.67 | 0.67 |
| xpnet | 1.00 | 1.00 |
| scikit-learn | 6.00 | 6.00 |
| JAX scanned | 0.93 | 0.93 |
"""


def test_tables() -> None:
    plain = report.tables(example(), spread=True)
    assert [line.split() for line in plain[0].plain().splitlines()] == [
        line.split() for line in PLAIN.strip().splitlines()
    ]
    assert len({line.find(" 1.00") for line in plain[0].plain().splitlines()[2:4]} - {-1}) == 2
    summaries = [table.markdown() for table in report.tables(example(), spread=False)]
    assert MARKDOWN.strip() in summaries
    assert "| xpnet | 15 (15–15) | 1,500 (1,500–1,500) |" in summaries[0]
    assert "| formula | 9.5 |" in summaries[3]
    assert "| M: xpnet | 0.500 | 2.000 | 0.250 | 1.750 | 0.500 | 1.000 |" in summaries[4]
    assert "| numpy | 51.2 |" in summaries[5]
    assert "| thinc | thinc is not installed |" in summaries[6]
    assert "2026-01-31: 4 cores of X, 1 thread for everybody" in report.describe_machine(example())


def test_several_optimizers_stand_side_by_side() -> None:
    run = example()
    run.results = [r for r in run.results if r.work == "S"]
    run.results += [Result("steps", "S", "sgd", "xpnet", [12.0])]
    first = report.tables(run, spread=False)[0].markdown()
    assert "|  | adam | sgd |" in first
    assert "| xpnet | 15 (15–15) | 12 (12–12) |" in first
    assert "| scikit-learn | 90 (90–90) | – |" in first


@pytest.mark.parametrize(
    ("text", "wanted", "found", "met"),
    [
        ("S: xpnet / matrix products", "≤ 1.8", 1.5, True),
        ("M: xpnet / matrix products", "≤ 1.2", 1.5, False),
        ("S: scikit-learn / xpnet", "≥ 6", 6.0, True),
        ("S: JAX scanned / xpnet", "≥ 1.3", 14 / 15, False),
        ("L: xpnet / matrix products", "≤ 1.08", None, None),
        ("M: thinc / xpnet numpy", "≥ 1", None, None),
        ("memory, M: xpnet no rollback / formula", "≤ 1", 8 / 9.5, True),
        ("memory, M: xpnet no rollback / PyTorch eager", "≤ 1", 8 / 11, True),
    ],
)
def test_verdicts(text: str, wanted: str, found: float | None, met: bool | None) -> None:
    verdict = next(v for v in targets.verdicts(example()) if v.text == text)
    assert (verdict.wanted, verdict.met) == (wanted, met)
    assert verdict.found == (None if found is None else pytest.approx(found))
    words = {True: "met", False: "NOT MET", None: "not measured"}
    assert any(row[0] == text and row[-1] == words[met] for row in report.verdict_table([verdict]).rows)


def test_verdicts_on_cuda() -> None:
    run = example()
    run.machine["device"] = "Some GPU, CUDA 13000"
    run.results = [
        Result("steps", "M", "adam", "xpnet", [10.0]),
        Result("steps", "M", "adam", "PyTorch eager", [25.0]),
        Result("steps", "L", "adam", "xpnet", [12.0]),
        Result("steps", "L", "adam", "matrix products (cuBLAS)", [10.0]),
    ]
    found = {verdict.text: verdict.met for verdict in targets.verdicts(run)}
    assert found["M: PyTorch eager / xpnet"] is True
    assert found["L: xpnet / matrix products (cuBLAS)"] is False
    assert found["M: JAX per step / xpnet"] is None


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_plot(ending: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = tmp_path / f"steps.{ending}"
    plot.draw(example(), path)
    if ending == "svg":
        text = path.read_text()
        for expected in ("xpnet", "JAX scanned", "S: 64-128-10, batch 64", "M: 784-512-256-10, batch 128"):
            assert expected in text
        assert "thinc" not in text
    else:
        assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ResultError, match="expected steps of at least one work"):
        plot.draw(Run(dict(MACHINE)), path)


def test_all_that_are_timed_can_be_drawn() -> None:
    left_out = {"xpnet no rollback", "xpnet generic", "xpnet numba", "xpnet cupy", *targets.FLOORS}
    assert plot.STYLES.keys() == CONTESTANTS.keys() - left_out


@pytest.mark.parametrize(
    ("arguments", "code", "shown"),
    [
        ([], 0, "S: 64-128-10 relu"),
        (["--markdown"], 0, "| scikit-learn | 9.00 | 9.00 |"),
        (["--check"], 0, "targets: 5 of"),
        (["--check", "--strict"], 1, "NOT MET"),
    ],
)
def test_saved_results_are_shown(
    arguments: list[str], code: int, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.json"
    example().save(path)
    assert program.main(["--from", str(path), *arguments]) == code
    assert shown in capsys.readouterr().out


def test_a_file_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--from", "nowhere.json"]) == 2
    assert "scripts/bench: nowhere.json: expected results" in capsys.readouterr().err
