"""What bad input gets: one clear line, the right exit code, and nothing half-written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from tests.cli.conftest import FAST, flowers
from xpnet.extras import require
from xpnet.train import checkpoint_file

ROWS = "".join(f"{i}.5,{i % 3},{i % 2}\n" for i in range(30))
HEADER = "a,b,y\n"


def assert_refused(outcome, code, *words):
    assert outcome.code == code, outcome
    assert outcome.out == ""
    line = outcome.err.splitlines()[-1]
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.csv", None, ["none.csv", "no file"]),
        ("digit", None, ["did you mean 'digits'"]),
        ("empty.csv", b"", ["empty.csv", "empty"]),
        ("header.csv", b"a,b,y\n", ["no rows"]),
        ("binary.csv", bytes(range(256)) * 8, ["binary.csv"]),
        ("cut.parquet", "cut", ["cut.parquet", "damaged or cut off"]),
        ("cut.npz", "cut", ["cut.npz", "damaged or cut off"]),
        ("text.npy", b"no array at all", ["text.npy"]),
        ("twice.csv", "a,a,y\n" + ROWS, ["twice.csv", "'a'"]),
        ("table.dat", HEADER + ROWS, ["unknown extension"]),
        ("one.csv", HEADER + ROWS.replace(",1\n", ",0\n"), ["one class only"]),
        ("nan.csv", HEADER + ROWS + "NaN,1,0\n", ["row 31", "'a'", "--missing"]),
        ("inf.csv", HEADER + ROWS + "inf,1,0\n", ["row 31", "'a'", "infinite"]),
        ("text.csv", HEADER + ROWS + "abc,1,0\n", ["row 31", "'a'", "'abc'", "--categorical"]),
        ("ragged.csv", HEADER + ROWS + "1,2,3,4\n", ["ragged.csv"]),
        ("label.csv", HEADER + ROWS + "1,2,\n", ["row 31", "'y'"]),
        (
            "ids.csv",
            "a,y\n" + "".join(f"id{i},{i % 2}\n" for i in range(99)),
            ["'a'", "identifier", "--categorical a"],
        ),
    ],
)
def test_tables(name, content, words, xpnet, folder):
    if content == "cut":
        whole = Path("whole" + Path(name).suffix)
        if whole.suffix == ".npz":
            np.savez(whole, X=np.ones((40, 3)), y=np.arange(40) % 2)
        else:
            pl.DataFrame({"a": range(999), "y": [0, 1, 0] * 333}).write_parquet(whole)
        content = whole.read_bytes()[: whole.stat().st_size // 2]
        whole.unlink()
    if content is not None:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    outcome = xpnet("train", name, *FAST, "--validation", "0", "--test", "0", "--missing", "error")
    assert_refused(outcome, 5, *words)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--target", "colr"), 5, ["no column 'colr'"]),
        (("--target", "kinds"), 5, ["did you mean 'kind'"]),
        ((), 5, ["which column is to be predicted", "--target"]),
        (("--target", "kind", "--drop", "colors"), 5, ["did you mean 'colour'"]),
        (("--target", "kind", "--batch-size", "43"), 2, ["--batch-size", "42", "43"]),
        (
            ("--target", "kind", "--optimizer", "l-bfgs", "--batch-size", "1"),
            2,
            ["--batch-size", "full", "l-bfgs"],
        ),
        (
            ("--target", "kind", "--optimizer", "l-bfgs", "--learning-rate", "1"),
            2,
            ["--learning-rate", "l-bfgs", "--optimizer adadelta"],
        ),
        (
            ("--target", "kind", "--optimizer", "cg", "--schedule", "cosine"),
            2,
            ["--schedule", "cg", "searches"],
        ),
        (("--target", "kind", "--optimizer", "newton", "--clip-norm", "1"), 2, ["newton", "no clip_norm"]),
        (("--target", "kind", "--optimizer", "bfgs", "--dropout", "0.5"), 2, ["bfgs", "Dropout"]),
        (("--target", "price", "--label-smoothing", "0.1"), 2, ["label_smoothing", "squared_error"]),
        (("--target", "kind", "--l1", "weigths=1"), 2, ["l1", "did you mean 'weights'"]),
        (("--target", "kind", "--loss", "squared_error"), 2, ["squared_error", "classes"]),
        (("--target", "price", "--loss", "hinge"), 2, ["--loss hinge", "squared_error"]),
        (("--target", "kind", "--activation", "relu,tanh"), 2, ["one activation for each"]),
        (("--target", "kind", "--momentum", "0.9"), 2, ["--momentum", "(sgd)", "found adamw"]),
        (("--target", "kind", "--optimizer", "sgd", "--nesterov"), 2, ["momentum"]),
        (("--target", "kind", "--validation", "0.6", "--test", "0.5"), 2, ["no rows for training"]),
        (("--target", "kind", "--validation", "0", "--patience", "3"), 2, ["--patience"]),
        (("--target", "kind", "--hidden", "0"), 2, ["--hidden", "at least 1"]),
        (("--target", "kind", "--learning-rate", "-1"), 2, ["--learning-rate", "above 0", "-1"]),
        (("--target", "kind", "--learning-rate", "0"), 2, ["--learning-rate", "above 0"]),
        (("--target", "kind", "--epochs", "many"), 2, ["--epochs", "'many'"]),
        (("--target", "kind", "--optimizer", "adan"), 2, ["did you mean 'adam'"]),
        (("--target", "kind", "--config", "none.toml"), 2, ["none.toml"]),
        (("--target", "kind", "--backend", "cdua"), 3, ["did you mean 'cuda'"]),
        (("--target", "kind", "--backend", "array_api_strict:device9"), 3, ["device9"]),
        (("--target", "kind", "--backend", "numpy:1"), 3, ["numpy"]),
        (
            ("--target", "kind", "--backend", "array_api_strict:no_float64", "--dtype", "float64"),
            3,
            ["float64"],
        ),
        (("--target", "kind", "--precision", "tf23"), 2, ["--precision", "did you mean 'tf32'"]),
        (("--target", "kind", "--precision", "tf32"), 2, ["precision", "only CUDA devices have"]),
        (("--target", "kind", "--device-memory", "4 GB"), 2, ["--device-memory", "'4 GB'", "4GiB"]),
        (("--target", "kind", "--device-memory", "4GiB"), 2, ["device memory", "backend numpy", "leave"]),
        (("--target", "kind", "--epoch", "3"), 2, ["--epochs"]),
        (("--target", "kind", "--learning-rate"), 2, ["--learning-rate"]),
        (("--target", "kind", "more"), 2, ["more"]),
    ],
)
def test_settings(arguments, code, words, xpnet, folder):
    Path("flowers.csv").write_text(flowers())
    assert_refused(xpnet("train", "flowers.csv", *FAST, *arguments), code, *words)
    assert not Path("runs").exists()


def test_a_device_that_is_not_there(xpnet, folder):
    from xpnet.backends import probe

    if probe("cupy").usable:
        pytest.skip("there is a CUDA device here")
    assert_refused(xpnet("train", "digits", "--backend", "cuda"), 3, "cuda", "cannot work here")


def test_a_device_of_the_environment(xpnet, folder, monkeypatch):
    monkeypatch.setenv("XPNET_BACKEND", "cdua")
    assert_refused(xpnet("train", "digits"), 3, "XPNET_BACKEND", "'cdua'", "did you mean 'cuda'")
    assert xpnet("train", "two-gaussians", "--out", "run", *FAST).code == 0  # which names another


def test_no_table(xpnet, folder):
    assert_refused(xpnet("train"), 2, "which table?", "digits")


def test_counts_must_not_be_negative(xpnet, folder):
    Path("counts.csv").write_text("x,y\n" + "".join(f"{i},{i - 3}\n" for i in range(60)))
    outcome = xpnet("train", "counts.csv", "--loss", "poisson", "--task", "regression", "--out", "run", *FAST)
    assert_refused(outcome, 5, "counts that are not negative")
    assert not Path("run").exists()


def test_labels_beyond_64_bits(xpnet, folder):
    big = 2**64
    Path("big.csv").write_text("x,y\n" + "".join(f"{i},{big + 10**6 * (i % 2)}\n" for i in range(60)))
    outcome = xpnet("train", "big.csv", "--task", "classification", "--out", "run", "--json", *FAST)
    assert outcome.code == 0, outcome.err
    assert xpnet("predict", "run", "big.csv").out.splitlines()[1].startswith("18446744073")
    assert_refused(xpnet("train", "big.csv", "--task", "regression", *FAST), 5, "'y'", "2**53")


@pytest.mark.parametrize("kind", ["file", "folder", "run"])
def test_a_folder_that_is_there_is_never_overwritten(kind, xpnet, trained):
    if kind == "file":
        Path("run").write_text("mine")
    elif kind == "folder":
        Path("run").mkdir()
        Path("run/mine.txt").write_text("mine")
    else:
        trained()
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert_refused(xpnet("train", "digits", "--out", "run", *FAST), 2, "'run' is there already")
    assert before == {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def test_an_empty_folder_is_filled(xpnet, folder):
    Path("run").mkdir()
    assert xpnet("train", "two-gaussians", "--out", "run", *FAST).code == 0
    assert Path("run/results.json").exists()


@pytest.mark.parametrize(("call", "first"), [("replace", 0), ("fsync", 0), ("replace", 9), ("fsync", 12)])
def test_a_full_disk(call, first, xpnet, folder, monkeypatch):
    real, calls = getattr(os, call), []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) > first:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        outcome = xpnet("train", "two-gaussians", "--out", "run", *FAST)
    assert_refused(outcome, 1, "No space left on device")
    assert not list(Path("run").rglob("*.tmp"))
    if first:
        assert "xpnet resume run" in outcome.err
        checkpoint_file.read("run/checkpoints/last.safetensors")
        assert xpnet("resume", "run").code == 0


def test_predictions_on_a_full_disk(xpnet, trained, monkeypatch):
    run = trained()
    Path("predictions.csv").write_text("older")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(os, "replace", full)
    outcome = xpnet("predict", run, "two-gaussians", "--out", "predictions.csv")
    assert_refused(outcome, 5, "predictions.csv", "No space left")
    assert Path("predictions.csv").read_text() == "older"
    assert sorted(path.name for path in Path().iterdir()) == ["predictions.csv", "run"]


@pytest.mark.parametrize("command", ["predict", "evaluate", "resume"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("cut", ["is damaged"]),
        ("flip", ["is damaged"]),
        ("noise", ["is damaged"]),
        ("newer", ["newer xpnet"]),
        ("foreign", ["another's tensors"]),
        ("gone", ["no checkpoint"]),
        ("encoder", ["encoder.json", "damaged"]),
        ("encoder gone", ["encoder.json"]),
        ("newer encoder", ["format"]),
        ("config", ["config.toml"]),
    ],
)
def test_damaged_runs(command, damage, words, xpnet, trained):
    run = trained()
    (run / "results.json").unlink()
    if damage == "config" and command == "predict":
        pytest.skip("predict does not read the configuration")
    for path in (run / "checkpoints").iterdir():
        data = bytearray(path.read_bytes())
        if damage == "cut":
            path.write_bytes(data[: len(data) // 2])
        elif damage == "flip":
            data[-5] ^= 1
            path.write_bytes(data)
        elif damage == "noise":
            path.write_bytes(b"\xff" * 1000)
        elif damage == "newer":
            arrays, header = checkpoint_file.read(path)
            metadata = {"xpnet": json.dumps({**header, "format": checkpoint_file.FORMAT + 1})}
            save_file(arrays, path, metadata=metadata)
        elif damage == "foreign":
            save_file({"weight": np.ones(3)}, path)
        elif damage == "gone":
            path.unlink()
    if damage == "encoder":
        (run / "encoder.json").write_text("{")
    elif damage == "encoder gone":
        (run / "encoder.json").unlink()
    elif damage == "newer encoder":
        (run / "encoder.json").write_text('{"format": 99}')
    elif damage == "config":
        (run / "config.toml").write_text("epochs = 'many'")
    file = ("two-gaussians",) if command == "predict" else ()
    assert_refused(xpnet(command, run, *file), 1, *words)


def test_no_run_folder(xpnet, trained):
    run = trained(out="first-run")
    assert_refused(xpnet("predict", "frist-run", "digits"), 1, "did you mean 'first-run'")
    assert_refused(xpnet("resume", "nothing"), 1, "no run folder 'nothing'")
    assert_refused(xpnet("evaluate", run / "figures"), 1, "no config.toml")
    assert_refused(xpnet("evaluate", run, "--checkpoint", "bets"), 2, "best or last", "'bets'")


def test_tables_for_prediction(xpnet, trained):
    Path("flowers.csv").write_text(flowers())
    run = trained("flowers.csv", "--target", "kind")
    header, *rows = flowers().splitlines()

    def predict(text):
        Path("new.csv").write_text(text)
        return xpnet("predict", run, "new.csv")

    everything = predict(flowers()).out
    columns = [line.split(",") for line in (header, *rows)]
    reordered = "\n".join(",".join(reversed(line)) for line in columns) + "\n"
    assert predict(reordered).out == everything
    without_target = "\n".join(",".join(line[:3] + line[4:]) for line in columns) + "\n"
    assert predict(without_target).out == everything
    assert_refused(predict(flowers().replace("width", "widht", 1)), 5, "'width'", "did you mean 'widht'")
    assert_refused(
        predict(flowers().replace("white", "green", 1)), 5, "row 3", "'colour'", "'green'", "'red'"
    )
    holes = predict(flowers(missing=True))
    assert (holes.code, len(holes.out.splitlines())) == (0, len(rows) + 1)
    Path("new.csv").write_text(flowers().replace("tulip", "lily", 1))
    assert_refused(xpnet("evaluate", run, "new.csv"), 5, "row 1", "'lily'")
    assert_refused(xpnet("evaluate", run, "none.csv"), 5, "none.csv")
    Path("new.csv").write_text(without_target)
    assert_refused(xpnet("evaluate", run, "new.csv"), 5, "'kind'")


def test_output_files_for_prediction(xpnet, trained):
    run = trained()
    assert_refused(xpnet("predict", run, "two-gaussians", "--out", "p.xlsx"), 2, ".parquet", "p.xlsx")
    assert_refused(xpnet("predict", run, "two-gaussians", "--out", "none/p.csv"), 5, "none/p.csv")


def test_no_test_rows(xpnet, trained):
    assert_refused(xpnet("evaluate", trained("two-gaussians", "--test", "0")), 2, "kept no test rows")


def test_missing_packages(xpnet, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    for package, command in (
        ("typer", ("train", "digits")),
        ("polars", ("train", "digits")),
        ("matplotlib", ("lr-range", "digits", "--output", "r.svg")),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                importlib.util, "find_spec", lambda n, *a, p=package: None if n == p else real(n, *a)
            )
            assert_refused(xpnet(*command), 1, f"pip install {package}")
    require("numpy")
