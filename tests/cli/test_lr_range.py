"""``xpnet lr-range``: a table, a suggestion, files, and what it refuses."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

ARGUMENTS = ("lr-range", "two-gaussians", "--hidden", "8", "--backend", "numpy")


def test_a_table_and_a_suggestion(xpnet, folder):
    outcome = xpnet(*ARGUMENTS, "--optimizer", "sgd")
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"learning rate +loss +smoothed loss", outcome.out)
    assert re.search(r"^suggestion  --learning-rate [\d.e-]+, a tenth of the rate", outcome.out, re.MULTILINE)
    assert len([line for line in outcome.out.splitlines() if re.match(r" +\d\.\d\de[-+]\d\d ", line)]) == 25
    assert not list(folder.iterdir())  # no run folder


def test_json_has_all_steps(xpnet):
    found = xpnet(*ARGUMENTS, "--low", "1e-4", "--high", "0.1", "--steps", "20", "--json").json
    assert found["rates"] == pytest.approx(np.geomspace(1e-4, 0.1, 20))
    assert len(found["losses"]) == len(found["smoothed"]) == 20
    assert 1e-5 <= found["suggestion"] <= 0.01


@pytest.mark.parametrize(
    ("name", "begins"), [("r.svg", b"<?xml"), ("r.png", b"\x89PNG"), ("r.csv", b"learning")]
)
def test_files(name, begins, xpnet):
    outcome = xpnet(*ARGUMENTS, "--steps", "20", "--high", "0.1", "--output", name)
    assert outcome.code == 0
    assert outcome.err == f"a range test of 20 steps written to {name}\n"
    assert outcome.out.startswith("suggestion")
    assert Path(name).read_bytes().startswith(begins)
    if name.endswith("csv"):
        with open(name) as file:
            rows = list(csv.DictReader(file))
        assert [float(row["learning_rate"]) for row in rows] == pytest.approx(np.geomspace(1e-7, 0.1, 20))
        assert set(rows[0]) == {"learning_rate", "loss", "smoothed_loss"}


def test_settings_are_those_of_a_training(xpnet):
    Path("run.toml").write_text('optimizer = "sgd"\nbatch-size = "full"\n')
    flags = ("--steps", "10", "--json")
    one = xpnet(*ARGUMENTS, "--config", "run.toml", *flags).json
    other = xpnet(*ARGUMENTS, "--optimizer", "sgd", "--batch-size", "full", *flags).json
    assert one == other
    assert one != xpnet(*ARGUMENTS, "--config", "run.toml", "--seed", "1", *flags).json


def test_no_suggestion(xpnet):
    outcome = xpnet(*ARGUMENTS, "--high", "1e-6")
    assert "suggestion  none: the loss fell clearly at no rate" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--low", "0"), 2, "--low: expected a finite number above 0"),
        (("--low", "1", "--high", "0.1"), 2, "high: expected a rate above low = 1.0, found 0.1"),
        (("--steps", "1"), 2, "--steps: expected a whole number of at least 2"),
        (("--output", "r.gif"), 2, "--output: expected a file ending in .svg, .png or .csv, found 'r.gif'"),
        (("--output", "nowhere/r.svg"), 2, "--output: there is no folder 'nowhere'"),
        (("--optimizer", "adm"), 2, "did you mean 'adam'?"),
    ],
)
def test_what_is_refused(arguments, code, message, xpnet):
    outcome = xpnet(*ARGUMENTS, *arguments)
    assert outcome.code == code
    assert message in outcome.err
