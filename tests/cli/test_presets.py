"""A run of the preset best: by every command, and the same bits after a cut and from Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_categories import towns
from tests.cli.test_resume import assert_same_run, tensors
from xpnet.tabular import TableModel

SMALL = ("--hidden", "8", "--members", "2", "--batch-size", "16", "--epochs", "4", "--backend", "numpy")
BEST = ("towns.csv", "--target", "price", "--preset", "best", *SMALL)


@pytest.fixture
def run(folder, xpnet) -> str:
    towns().write_csv("towns.csv")
    outcome = xpnet("train", *BEST, "--out", "run", "--json", "--save-every", "1")
    assert outcome.code == 0, outcome.err
    assert outcome.json["layers"].startswith("2 × RealMLP ")
    for told in (outcome.err, Path("run/report.html").read_text()):
        assert "2 × RealMLP" in told
        assert "validation (training rows, out of fold)" in told
    return "run"


def test_a_run_goes_on_from_the_middle_of_its_schedules(run, xpnet):
    whole = tensors(run)["params"].copy()
    before = json.loads(Path("run/results.json").read_text())["metrics"]
    outcome = xpnet("resume", run, "--from", "epoch-2")
    assert outcome.code == 0, outcome.err
    np.testing.assert_array_equal(tensors(run)["params"], whole)
    assert json.loads(Path("run/results.json").read_text())["metrics"] == before


def test_the_same_bits_from_a_configuration_and_from_python(run, xpnet):
    config = Path("run/config.toml").read_text()
    for line in ('network = "realmlp"', "members = 2", 'activation = "mish"', "beta2 = 0.95"):
        assert f"\n{line}\n" in config
    assert xpnet("train", "--config", "run/config.toml", "--out", "again").code == 0
    assert_same_run(run, "again")
    settings = {"hidden": (8,), "members": 2, "batch_size": 16, "epochs": 4, "backend": "numpy"}
    model = TableModel("best", **settings).fit("towns.csv", "price", progress=False)
    np.testing.assert_array_equal(model.trainer.variables.params.flat, tensors(run, "best")["params"])
    assert set(model.importance("towns.csv", repeats=1).columns) == {"size", "kind", "town"}


def test_every_command(run, xpnet):
    values = [float(line) for line in xpnet("predict", run, "towns.csv").out.splitlines()[1:]]
    assert np.ptp(values) > 0
    for command in (
        ("evaluate", run),
        ("graph", run),
        ("export", run, "--to", "numpy", "--out", "folder"),
        ("prune", run, "--sparsity", "0.5", "--rounds", "1", "--epochs", "1", "--tolerance", "9"),
        ("train", *BEST, "--epochs", "1", "--restarts", "2", "--out", "restarts"),
    ):
        outcome = xpnet(*command)
        assert outcome.code == 0, outcome.err
    refused = xpnet("prune", run, "--sparsity", "0.5", "--scope", "unit", "--out", "units")
    assert (refused.code, "expected a model with a hidden Dense layer" in refused.err) == (2, True)
    refused = xpnet("export", run, "--to", "torch", "--out", "a.safetensors")
    assert (refused.code, "found Ensemble" in refused.err) == (2, True), refused.err
