"""``xpnet predict`` and ``xpnet evaluate``: tables in the order of the rows, and what they agree with."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.cli.conftest import flowers
from xpnet.data import two_gaussians


def table(text):
    return pl.read_csv(io.StringIO(text))


def test_classes_and_probabilities(xpnet, trained):
    Path("flowers.csv").write_text(flowers())
    run = trained("flowers.csv", "--target", "kind", "--epochs", "30", "--learning-rate", "0.02")
    outcome = xpnet("predict", run, "flowers.csv")
    assert (outcome.code, outcome.err) == (0, "")
    predicted = table(outcome.out)
    assert predicted.columns == ["prediction", "probability_rose", "probability_tulip"]
    assert predicted.height == 60
    probabilities = predicted[:, 1:].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    names = np.asarray(["rose", "tulip"])[probabilities.argmax(axis=1)]
    assert predicted["prediction"].to_list() == names.tolist()
    true = pl.read_csv("flowers.csv")["kind"].to_numpy()
    measured = xpnet("evaluate", run, "flowers.csv", "--json").json["metrics"]["file"]
    assert measured["accuracy"] == pytest.approx((names == true).mean())


@pytest.mark.parametrize("extension", ["csv", "tsv", "parquet"])
def test_files(extension, xpnet, trained):
    run = trained()
    printed = table(xpnet("predict", run, "two-gaussians").out)
    out = f"predictions.{extension}"
    outcome = xpnet("predict", run, "two-gaussians", "--out", out)
    assert (outcome.code, outcome.out) == (0, "")
    assert "1,000 predictions written to" in outcome.err
    if extension == "parquet":
        read = pl.read_parquet(out)
    else:
        read = pl.read_csv(out, separator="\t" if extension == "tsv" else ",")
    assert read.columns == printed.columns
    assert read["prediction"].to_list() == printed["prediction"].to_list()


def test_numbers_are_on_the_scale_of_the_target(xpnet, trained):
    x = np.linspace(0, 1, 80)
    pl.DataFrame({"x": x, "y": 1000 + 500 * x}).write_csv("line.csv")
    run = trained("line.csv", "--epochs", "100", "--learning-rate", "0.01", "--hidden", "none")
    predicted = table(xpnet("predict", run, "line.csv").out)
    assert predicted.columns == ["prediction"]
    np.testing.assert_allclose(predicted["prediction"], 1000 + 500 * x, atol=40)
    measured = xpnet("evaluate", run, "line.csv", "--json").json["metrics"]["file"]
    rmse = np.sqrt(np.mean((predicted["prediction"].to_numpy() - (1000 + 500 * x)) ** 2))
    assert measured["rmse"] == pytest.approx(rmse)
    assert measured["r2"] > 0.9


def test_rows_left_out_stay_in_their_place(xpnet, trained):
    Path("flowers.csv").write_text(flowers(missing=True))
    run = trained("flowers.csv", "--target", "kind", "--missing", "drop")
    outcome = xpnet("predict", run, "flowers.csv")
    assert "6 rows with missing cells: no prediction there" in outcome.err
    predictions = table(outcome.out)["prediction"]
    assert len(predictions) == 60
    assert [i for i, value in enumerate(predictions) if value is None] == list(range(3, 60, 10))


def test_columns_of_the_table_are_kept(xpnet, trained):
    Path("flowers.csv").write_text(flowers())
    run = trained("flowers.csv", "--target", "kind")
    frame = pl.read_csv("flowers.csv", infer_schema=False)
    size = next(name for name in frame.columns if name != "kind")
    ids = [f"{number:05d}" for number in range(frame.height)]
    frame.with_columns(pl.Series("id", ids), pl.Series("last, first", ids)).drop("kind").write_csv("new.csv")
    outcome = xpnet("predict", run, "new.csv", "--keep", f"id,{size}", "--keep", "last, first")
    assert outcome.code == 0, outcome.err
    found = pl.read_csv(io.StringIO(outcome.out), infer_schema=False)
    assert found.columns[:4] == ["id", size, "last, first", "prediction"]
    assert found["id"].to_list() == found["last, first"].to_list() == ids  # zeros and all
    assert (
        found["prediction"].to_list() == table(xpnet("predict", run, "new.csv").out)["prediction"].to_list()
    )
    outcome = xpnet("predict", run, "new.csv", "--keep", "idd")
    assert (outcome.code, outcome.out) == (5, "")
    assert "'new.csv' has no column 'idd'; did you mean 'id'?" in outcome.err


def test_hinges_have_no_probabilities(xpnet, trained):
    run = trained("two-gaussians", "--loss", "hinge", "--epochs", "20")
    predicted = table(xpnet("predict", run, "two-gaussians").out)
    assert predicted.columns == ["prediction"]
    true = two_gaussians().frame["class"].to_numpy()
    assert (predicted["prediction"].to_numpy() == true).mean() > 0.9


def test_codes_that_look_like_numbers_stay_text(xpnet, trained):
    Path("codes.csv").write_text(
        "code,y\n" + "".join(f"{'007' if i % 2 else 'ab'},{i % 2}\n" for i in range(40))
    )
    run = trained("codes.csv")
    Path("new.csv").write_text("code\n007\n007\n")
    outcome = xpnet("predict", run, "new.csv")
    assert outcome.code == 0, outcome.err


def test_a_run_moves_with_its_folder(xpnet, trained, tmp_path):
    run = trained()
    before = xpnet("predict", run, "two-gaussians").out
    run.rename("elsewhere")
    assert xpnet("predict", "elsewhere", "two-gaussians").out == before


def test_evaluation_is_shown_as_a_table(xpnet, trained):
    outcome = xpnet("evaluate", trained())
    assert outcome.code == 0
    for word in ("test", "200", "loss", "accuracy", "weights", "epoch"):
        assert word in outcome.out


def test_devices(xpnet, trained):
    run = trained()
    for command in (("predict", run, "two-gaussians"), ("evaluate", run)):
        assert xpnet(*command, "--backend", "array_api_strict").code == 0
        assert xpnet(*command, "--backend", "nowhere").code == 3
