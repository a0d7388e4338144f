"""Scalings, forms of categories and clamped predictions: by every command that reads features."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import FAST
from tests.cli.test_categories import towns

ENCODING = (
    "--scaling",
    "robust",
    "--one-hot",
    "signed",
    "--one-hot-up-to",
    "2",
    "--clamp",
    "--network",
    "realmlp",
)


@pytest.fixture
def run(folder, xpnet) -> str:
    towns().write_csv("towns.csv")
    arguments = ("--target", "price", "--out", "run", "--json", *ENCODING, *FAST)
    outcome = xpnet("train", "towns.csv", *arguments, "--save-every", "1")
    assert outcome.code == 0, outcome.err
    assert (outcome.json["features"], outcome.json["layers"]) == (3, "RealMLP 3-8-1")
    assert "column 'town' is taken as codes from 1 to 42" in outcome.err
    assert "more categories than --one-hot-up-to 2" in outcome.err
    return "run"


def test_a_run_keeps_its_encoding(run, xpnet):
    names = [column["name"] for column in json.loads(Path("run/encoder.json").read_text())["columns"]]
    assert names == ["size", "kind", "town"]  # codes are last
    assert xpnet("evaluate", run, "--json").code == 0
    values = [float(line) for line in xpnet("predict", run, "towns.csv").out.splitlines()[1:]]
    assert len(values) == 120
    assert all(0.0 <= value <= 1.9 for value in values)
    resumed = xpnet("resume", run, "--epochs", "3", "--json")
    assert resumed.code == 0, resumed.err
    again = xpnet("train", "--config", "run/config.toml", "--out", "again", "--epochs", "3", "--json")
    assert again.json["metrics"] == resumed.json["metrics"]
    refused = xpnet("resume", run, "--scaling", "quantile")
    assert (refused.code, "the encoder is that of the first epoch" in refused.err) == (2, True), refused.err


def test_commands_that_read_features(run, xpnet):
    pruned = xpnet("prune", run, "--out", "small", "--sparsity", "0.5", "--rounds", "1", "--epochs", "1",
                   "--tolerance", "none", "--json")  # fmt: skip
    assert pruned.code == 0, pruned.err
    assert xpnet("predict", "small", "towns.csv").code == 0
    for command in (
        ("graph", run),
        ("graph", "towns.csv", "--target", "price", "--hidden", "8", *ENCODING),
        ("lr-range", "towns.csv", "--target", "price", "--steps", "3", *ENCODING, *FAST),
        ("train", "towns.csv", "--target", "kind", "--dry-run", *ENCODING),
    ):
        outcome = xpnet(*command)
        assert outcome.code == 0, outcome.err
    checked = xpnet("check", "towns.csv", "--target", "price", *ENCODING[:6], "--json").json
    assert {column["name"]: column["features"] for column in checked["columns"]} == {
        "town": 1, "size": 1, "price": 0, "kind": 1,
    }  # fmt: skip
