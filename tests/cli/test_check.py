"""The command ``xpnet check``: what a table's columns are, with advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import FAST, flowers
from xpnet.data import tables


@pytest.fixture
def table(folder):
    lines = flowers(missing=True).splitlines()
    Path("flowers.csv").write_text("\n".join(f"{number or 'id'},{line}" for number, line in enumerate(lines)))
    return "flowers.csv"


def test_a_table_is_checked(table, xpnet):
    outcome = xpnet("check", table, "--target", "kind")
    assert (outcome.code, outcome.err) == (0, "")
    for words in (
        "target kind (classification)",
        "left out",
        "take the training median",
        "always predicting",
    ):
        assert words in outcome.out
    described = xpnet("check", table, "--target", "kind", "--json").json
    assert [column["role"] for column in described["columns"]].count("target") == 1
    assert xpnet("check", table).code == 0
    assert xpnet("check", "digits").code == 0


def test_problems_give_an_exit_code(folder, xpnet):
    Path("t.csv").write_text("when,y\n" + "3/4/2021,1.5\n5/4/2021,2.5\n" * 20)
    outcome = xpnet("check", "t.csv", "--target", "y")
    assert outcome.code == 5
    assert " 1. column 'when' holds dates" in outcome.out
    assert "3 April 2021 (--dayfirst true)" in outcome.out
    assert xpnet("check", "t.csv", "--target", "y", "--dayfirst", "true").code == 0
    Path("u.csv").write_text("id,x,y\n" + "".join(f"{i},{i % 7}.5,{i % 5}.5\n" for i in range(40)))
    assert "--use id keeps it" in xpnet("check", "u.csv", "--target", "y").out
    assert xpnet("check", "t.csv", "--target", "z").code == 5
    assert xpnet("check", "none.csv").code == 5


def test_several_problems_are_a_line_each(folder, xpnet):
    name = "when [/b] \x1b[2J"
    Path("t.csv").write_text(f"{name},sent,y\n" + "3/4/2021,3/4/2021,1.5\n5/4/2021,7/8/2021,2.5\n" * 20)
    given = ("t.csv", "--target", "y")
    outcome = xpnet("train", *given)
    first, *problems = outcome.err.splitlines()
    assert (outcome.code, first) == (5, f"error: the table has {len(problems)} problems")
    assert len(problems) > 1
    assert all(line.startswith(f" {number}. ") for number, line in enumerate(problems, 1))
    assert "column 'when [/b] \\x1b[2J' holds dates" in outcome.err
    checked = xpnet("check", *given)
    assert checked.code == 5
    assert all(line.partition(" as ")[0][:30] in checked.out for line in problems)
    assert "\x1b" not in outcome.err + checked.out


def test_a_dry_run_shows_the_columns_and_a_training_the_decisions(table, xpnet, monkeypatch):
    read, opened = tables.read_delimited, []
    monkeypatch.setattr(tables, "read_delimited", lambda *given: opened.append(given) or read(*given))
    outcome = xpnet("train", table, "--target", "kind", "--dry-run")
    assert len(opened) == 1
    assert "taken as" in outcome.out
    assert "column 'id' left out as a count of the rows" in outcome.out
    trained = xpnet("train", table, "--target", "kind", "--out", "run", "--json", *FAST)
    assert "left out as a count of the rows" in "\n".join(d["what"] for d in trained.json["decisions"])
    assert "column 'id' left out" in trained.err


def test_columns_of_the_split_are_not_suspected(folder, xpnet):
    rows = "".join(f"p{i // 6},{i * i % 113},{i * 7 % 11}.5,{'ab'[i // 6 % 2]}\n" for i in range(120))
    Path("t.csv").write_text(f"patient,day,x,y\n{rows}")
    suspected, given = "alone predicts the target 'y' nearly perfectly", ("t.csv", "--target", "y")
    assert f"column 'patient' {suspected}" in xpnet("check", *given).out
    for command in (("check",), ("train", "--dry-run")):
        told = xpnet(*command, *given, "--group", "patient").out
        assert suspected not in told
        assert "column 'patient' left out as the column of groups: rows of each of its 20 groups" in told
    kept = xpnet("check", *given, "--group", "patient", "--use", "patient").out
    assert suspected not in kept
    assert "20 features" in kept
    assert xpnet("check", *given, "--split-by", "day").code == 0
    outcome = xpnet("check", *given, "--split-by", "patient")
    assert (outcome.code, "column 'patient' is text without an order" in outcome.out) == (5, True)
    assert xpnet("check", *given, "--group", "x", "--split-by", "x").code == 2


def test_what_was_decided_in_reading_is_told(folder, xpnet):
    rows = "".join(f"{i % 7}.5,{'Köln' if i % 2 else 'Bonn'},{i % 5}.5\n" for i in range(40))
    Path("towns.csv").write_bytes(f"x,town,y\n{rows}".encode("latin-1"))
    assert "read as Latin-1" in xpnet("check", "towns.csv", "--target", "y").out
    assert xpnet("train", "towns.csv", "--target", "y", *FAST, "--out", "run").code == 0
    assert "warning: read as Latin-1" in xpnet("predict", "run", "towns.csv").err


def test_reasons_of_a_column_are_in_plain_words(folder, xpnet):
    Path("ids.csv").write_text("id,x,y\n" + "".join(f"{i},{i % 7}.5,{i % 5}.5\n" for i in range(40)))
    column = xpnet("check", "ids.csv", "--target", "y", "--json").json["columns"][0]
    assert column["why"] == "it counts them from 0; use='id' keeps it"
