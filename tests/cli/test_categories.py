"""Categories that few rows have, and cells that the training did not foresee."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from tests.cli.conftest import FAST


def towns(rows: int = 120, *, rare: int = 40) -> pl.DataFrame:
    """Return a table in which ``rare`` rows have a town of their own."""
    own = [f"village {i}" if i % (rows // rare) == 0 else ("Rome", "Oslo")[i % 2] for i in range(rows)]
    return pl.DataFrame(
        {
            "town": own,
            "size": [0.1 * (i % 17) for i in range(rows)],
            "price": [1.5 * (i % 2) + 0.1 * (i % 5) for i in range(rows)],
            "kind": [("a", "b")[i % 2] for i in range(rows)],
        }
    )


@pytest.fixture
def table(folder) -> Path:
    path = Path("towns.csv")
    towns().write_csv(path)
    return path


@pytest.mark.parametrize("target", ["kind", "price"])
def test_training_keeps_a_row_of_each_category(target, table, xpnet):
    other = {"kind": "price", "price": "kind"}[target]
    arguments = ("--target", target, "--drop", other, "--out", "run", *FAST, "--json")
    outcome = xpnet("train", table, *arguments)
    assert outcome.code == 0, outcome.err
    (line,) = [line for line in outcome.err.splitlines() if "rows are training rows" in line]
    assert 0 < int(line.split()[1]) <= 40
    assert line.startswith("warning: ")  # for these are more than a tenth
    rows = outcome.json["rows"]
    assert rows == {"train": 84, "validation": 12, "test": 24}
    columns = json.loads(Path("run/encoder.json").read_text())["columns"]
    assert len(columns[0]["categories"]) == 42
    # the same rows at evaluation and at resumption
    tested = xpnet("evaluate", "run", "--checkpoint", "best", "--json").json
    assert tested["metrics"]["test"] == outcome.json["metrics"]["test"]
    assert xpnet("resume", "run", "--epochs", "3", "--json").json["rows"] == rows


def test_rows_that_are_left_out_teach_nothing(folder, xpnet):
    frame = towns(rare=60)
    # half of the rare towns are in rows without a size, which --missing drop leaves out
    size = [None if town.startswith("v") and i % 4 == 0 else i / 9 for i, town in enumerate(frame["town"])]
    frame.with_columns(pl.Series("size", size)).write_csv("towns.csv")
    arguments = ("--target", "kind", "--missing", "drop", "--out", "run", "--json", *FAST)
    outcome = xpnet("train", "towns.csv", *arguments)
    assert outcome.code == 0, outcome.err
    assert outcome.json["rows_left_out"] == size.count(None)
    columns = json.loads(Path("run/encoder.json").read_text())["columns"]
    assert len(columns[0]["categories"]) == len(
        set(frame.filter(pl.Series(size).is_not_null())["town"].to_list())
    )


def test_categories_of_which_training_has_no_row(folder, xpnet):
    towns(40, rare=40).write_csv("towns.csv")
    arguments = ("--target", "kind", "--categorical", "town", "--out", "run", "--json", *FAST)
    outcome = xpnet("train", "towns.csv", *arguments)
    assert outcome.code == 0
    assert outcome.json["rows"] == {"train": 28, "validation": 4, "test": 8}
    assert "warning: 12 categories occur in validation or test rows alone" in outcome.err


def test_a_class_of_one_row_is_for_training(folder, xpnet):
    lines = [f"{i % 7},{'rare' if i == 3 else 'no' if i % 2 else 'yes'}" for i in range(60)]
    Path("t.csv").write_text("\n".join(["a,target", *lines]))
    outcome = xpnet("train", "t.csv", "--out", "run", "--json", *FAST)
    assert outcome.json["rows"] == {"train": 42, "validation": 6, "test": 12}
    assert "warning: column 'target' has classes of one training row" in outcome.err
    assert [told["warning"] for told in outcome.json["decisions"]] == [True]


def test_by_order_and_by_group(folder, xpnet):
    frame = towns().with_columns(pl.Series("day", [f"2024-{1 + i % 12:02}-01" for i in range(120)]))
    frame.write_csv("towns.csv")
    arguments = ("towns.csv", "--target", "price", "--drop", "town", "--json", *FAST, "--out")
    by_order = xpnet("train", *arguments, "run", "--split-by", "day", "--drop", "day")
    assert by_order.json["rows"] == {"train": 84, "validation": 12, "test": 24}
    assert xpnet("evaluate", "run", "--json").json["metrics"]["test"] == by_order.json["metrics"]["test"]
    by_group = xpnet("train", *arguments, "two", "--group", "day")
    assert by_group.json["features"] == by_order.json["features"]  # the column of groups is none
    asked = xpnet("train", *arguments, "four", "--group", "day", "--use", "day", "--dry-run")
    assert asked.json["features"] > by_group.json["features"]
    assert {rows % 10 for rows in by_group.json["rows"].values()} == {0}
    for flags, said in (
        (("--group", "day", "--split-by", "size"), "split_by: expected no group with it"),
        (("--group", "price"), "group: expected a column that is not to be predicted"),
        (("--split-by", "dya"), "did you mean 'day'?"),
        (("--split-by", "kind"), "column 'kind' is text without an order"),
    ):
        refused = xpnet("train", *arguments, "three", *flags)
        assert (refused.code in (2, 5), said in refused.err) == (True, True), refused.err


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_unseen_categories(command, table, xpnet):
    assert xpnet("train", table, "--target", "kind", "--out", "run", *FAST).code == 0
    text = table.read_text()
    Path("new.csv").write_text(text.replace("Oslo", "Paris", 2))
    Path("none.csv").write_text(text.replace("Oslo", "", 2))
    arguments = () if command == "predict" else ("--json",)
    refused = xpnet(command, "run", "new.csv", *arguments)
    assert (refused.code, refused.out) == (5, "")
    assert "'Paris', which no training row has (1 more such cell)" in refused.err
    assert "--unseen ignore" in refused.err
    ignored = xpnet(command, "run", "new.csv", "--unseen", "ignore", *arguments)
    assert ignored.code == 0, ignored.err
    # a town that is not known is like none
    missing = xpnet(command, "run", "none.csv", "--missing", "mean", *arguments)
    assert ignored.out.replace("new.csv", "") == missing.out.replace("none.csv", "")
    for option in ("--unseen", "--missing"):
        wrong = xpnet(command, "run", "new.csv", option, "skip")
        assert wrong.code == 2
        assert re.search(f"{option}: expected .*'error' or ", wrong.err)


def test_missing_cells_at_prediction(table, xpnet):
    assert xpnet("train", table, "--target", "kind", "--out", "run", *FAST).code == 0
    lines = table.read_text().splitlines()
    lines[3] = lines[3].replace(",0.2,", ",,")
    Path("new.csv").write_text("\n".join(lines))
    refused = xpnet("predict", "run", "new.csv", "--missing", "error")
    assert refused.code == 5
    assert "row 3, column 'size' is missing" in refused.err
    whole = xpnet("predict", "run", table).out.splitlines()
    dropped = xpnet("predict", "run", "new.csv", "--missing", "drop")
    assert "1 row with missing cells: no prediction there" in dropped.err
    found = dropped.out.splitlines()
    assert found[3] == ",,"
    assert found[:3] + found[4:] == whole[:3] + whole[4:]
    for policy in ((), ("--missing", "mean")):
        imputed = xpnet("predict", "run", "new.csv", *policy).out.splitlines()
        assert len(imputed) == len(whole)
        assert imputed[4:] == whole[4:]


@pytest.mark.parametrize("option", ["--drop", "--categorical"])
def test_several_columns_in_one_option(option, folder, xpnet):
    towns().rename({"town": "a", "size": "b"}).with_columns(pl.lit(1).alias("a, c")).write_csv("t.csv")

    def columns(value):
        outcome = xpnet("train", "t.csv", "--target", "kind", option, value, "--out", "run", *FAST)
        assert outcome.code == 0, outcome.err
        line = next(s for s in Path("run/config.toml").read_text().splitlines() if s.startswith(option[2:]))
        return json.loads(line.partition("=")[2])

    assert columns("price, b") == ["price", "b"]
    Path("run").rename("first")
    assert columns("a, c") == ["a, c"]  # a column's own name comes first
    outcome = xpnet("train", "t.csv", "--target", "kind", option, "price,bb")
    assert outcome.code == 5
    assert "no column 'price,bb'" in outcome.err


def test_semicolons_and_decimal_commas(table, folder, xpnet):
    frame = towns().with_columns(pl.col("size", "price").round(1))
    frame.write_csv("points.csv")
    lines = Path("points.csv").read_text().replace(",", ";").replace(".", ",")
    Path("commas.csv").write_text("\ufeff" + lines.replace("\n", "\r\n"), encoding="utf-8")
    arguments = ("--target", "kind", "--json", *FAST)
    one = xpnet("train", "points.csv", *arguments, "--out", "one").json
    other = xpnet("train", "commas.csv", *arguments, "--out", "other").json
    assert one["metrics"] == other["metrics"]
    assert xpnet("predict", "one", "commas.csv").out == xpnet("predict", "other", "points.csv").out
