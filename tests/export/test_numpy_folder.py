"""Folders that need NumPy alone predict the same bits as the model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import xpnet
from tests.export.served import loaded
from tests.export.tables import CASES as TABLES
from tests.export.tables import clamped, model_of, table
from tests.nn.layer_cases import CHAIN, chained
from xpnet import export, nn
from xpnet.data.columns.date_text import FORMS, pattern_of_form, read_dates
from xpnet.data.notations import Notation
from xpnet.errors import ConfigError
from xpnet.export import readers
from xpnet.export.numpy_folder import marks_of
from xpnet.tabular import TableModel


@pytest.mark.parametrize("name", TABLES)
def test_models_of_tables_predict_the_same_bits(name: str, tmp_path: Path) -> None:
    model, rows = model_of(name), table(name)
    found: Any = loaded(export.numpy(model, tmp_path / "model")).predict(rows, unseen="ignore")
    expected = model.predict(rows, unseen="ignore")
    several = isinstance(expected, dict)
    for i, column in enumerate(model.encoder.target_names):
        wanted = expected[column] if several else expected
        if model.encoder.task == "regression":
            got = found["value"][:, i] if several else found["value"]
            assert got.dtype == np.float64
            assert got.tobytes() == wanted.tobytes()
        else:
            assert (found["label"][column] if several else found["label"]) == wanted.tolist()
    if "probabilities" in found:
        shares = np.column_stack([*model.predict_proba(rows, unseen="ignore").values()])
        np.testing.assert_array_equal(found["probabilities"], shares.astype(np.float32), strict=True)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_clamped_values(loss: str, tmp_path: Path) -> None:
    model, rows = clamped(loss)
    found = loaded(export.numpy(model, tmp_path / "model")).predict(rows)["value"]
    assert found.tobytes() == model.predict(rows).tobytes()


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.full)])
def test_trainers_predict_the_same_bits(dtype: str, tmp_path: Path) -> None:
    """With all layers one after another; numbers of rows from one on, and of more rows than one part has."""
    X = np.random.default_rng(0).normal(size=(4100, 4))
    model = chained(CHAIN, 3)
    trainer = xpnet.Trainer(model, "softmax_cross_entropy", backend="numpy", dtype=dtype, compile="off")
    trainer.fit(X[:33], np.arange(33) % 3, epochs=1)
    module = loaded(export.numpy(trainer, tmp_path / "model"))
    for rows in (1, 2, 33, 4100):
        found, expected = module.predict(X[:rows]), trainer.predict_proba(X[:rows])
        np.testing.assert_array_equal(found["probabilities"], expected, strict=True)
        np.testing.assert_array_equal(found["label"], trainer.predict(X[:rows]))


@pytest.mark.parametrize(
    "loss", ["softmax_cross_entropy", "squared_error", "binary_cross_entropy", "poisson"]
)
def test_ensembles_predict_the_same_bits(loss: str, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(40, 4))
    columns = {"numbers": [0, 2], "one_hot": [1], "codes": [3], "cardinalities": [2]}
    units = 3 if loss.startswith("softmax") else 1
    model = nn.TabM(units, **columns, members=3, hidden=[8], edges=[[-1, 0, 1], [0, 2]])
    trainer = xpnet.Trainer(model, loss, backend="numpy", compile="off")
    trainer.fit(X, np.arange(40) % max(units, 2), epochs=1)
    found = loaded(export.numpy(trainer, tmp_path / "model")).predict(X)
    np.testing.assert_array_equal(found["value" if "value" in found else "label"], trainer.predict(X))
    if "probabilities" in found:
        np.testing.assert_array_equal(found["probabilities"], trainer.predict_proba(X))


NUMBERS = [
    "1", " -2.5 ", "+.5", "1e3", "1,234.5", "1.234,5", "1 234", "1'234", "12,34,567", "$5", "-$5", "$-5",
    "($5)", "(5)", "5 $", "5%", "% 5", "0", "0.0", "00", "\u22125", "1\u2019000", "inf", "-Infinity",
    "nan", "", "x", "1 2", "--5", "US$ 7", "USD 7", "7 USD", "$5$", "1,23", "1.", ",5", "5 %%", "1_000",
    "1_234", "0,0", "$", "\u06615", "12 345,6",
]  # fmt: skip
NOTATIONS = [
    Notation(), Notation(","), Notation(".", ","), Notation(",", "."), Notation(",", " "), Notation(".", "'"),
    Notation(".", ",", currency="$"), Notation(".", ",", currency="US$", parentheses=True),
    Notation(percent=True), Notation(",", percent=True, parentheses=True), Notation(".", "_"),
]  # fmt: skip


@pytest.mark.parametrize("notation", NOTATIONS, ids=str)
def test_numbers_are_read_as_the_notation_does(notation: Notation) -> None:
    marks = marks_of(notation) or (".", "", "", False, False)
    found = [readers.read_number(text, *marks) for text in NUMBERS]
    np.testing.assert_array_equal(found, notation.read(pl.Series(NUMBERS)))


def test_whole_numbers_that_are_not_exact_are_refused() -> None:
    plain = (".", "", "", False, False)
    for cells in ([2**53 + 1], np.asarray([2**60]), [None, "-9007199254740995"]):
        with pytest.raises(ValueError, match="beyond"):
            readers.number_cells(cells, plain, None)
    np.testing.assert_array_equal(readers.number_cells(["1e300", 2.0**70], plain, None), [1e300, 2.0**70])


def test_durations_are_seconds() -> None:
    array = np.asarray([1_500_000, "NaT"], dtype="timedelta64[us]")
    np.testing.assert_array_equal(readers.number_cells(array, (), None), [1.5, np.nan])


DATES = [
    "2021-04-03", "2021-02-29", "2020-2-29", "2021/4/3 5:06", "2021-04-03T23:59:59.5Z",
    "2021-04-03 12:00 +02:00", "2021-04", "3.4.2021", "31.12.68", "31.12.69", "3/4/2021 2:05 PM",
    "4/13/2021", "13/4/2021", "3 Apr 2021", "3rd of April", "Apr 3, 2021 14:00", "Sat, 3-Apr-21",
    "April 2021", "sept 2021", "14:05", "24:05", "12:05 am", "14:05:59,25", "13:05 pm", "1800-01-01", "",
    "x", "0001-01-01", "23:59:60",
]  # fmt: skip


def test_dates_are_read_as_their_form_says() -> None:
    for form in FORMS:
        found = readers.read_dates(DATES, form, pattern_of_form(form))
        np.testing.assert_array_equal(found, read_dates(pl.Series(DATES), form), err_msg=form)


class Powers(nn.Layer):
    """A layer of functions that have no counterpart in NumPy alone."""

    def forward(self, params: Any, state: Any, x: Any, *, training: bool, key: Any) -> Any:
        xp = x.__array_namespace__() if hasattr(x, "__array_namespace__") else np
        return x + xp.linalg.det(xp.matmul(xp.reshape(x, (-1, 1, 1)), xp.ones((1, 1, 1))))[0], state


def test_what_is_there_stays_unless_asked(tmp_path: Path) -> None:
    trainer = xpnet.Trainer(nn.Dense(1), "squared_error", backend="numpy")
    with pytest.raises(ConfigError, match="trained"):
        export.numpy(trainer, tmp_path / "a")
    trainer.fit(np.eye(3), np.ones(3), epochs=1)
    folder = export.numpy(trainer, tmp_path / "a")
    with pytest.raises(ConfigError, match="exists already; use overwrite=True"):
        export.numpy(trainer, folder)
    loaded(folder).predict(np.eye(3))  # whose code is compiled there
    trainer.fit(np.eye(3), np.ones(3), epochs=2)
    export.numpy(trainer, folder, overwrite=True)
    np.testing.assert_array_equal(loaded(folder).predict(np.eye(3))["value"], trainer.predict(np.eye(3)))
    (folder / "own.txt").touch()
    with pytest.raises(ConfigError, match=r"files of an export alone, found own.txt"):
        export.numpy(trainer, folder, overwrite=True)
    with pytest.raises(ConfigError, match="found int"):
        export.numpy(7, tmp_path / "b")
    assert sorted(x.name for x in tmp_path.iterdir()) == ["a"]


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    trainer = xpnet.Trainer(nn.Sequential(Powers(), nn.Dense(1)), "squared_error", backend="numpy")
    trainer.fit(np.eye(3), np.ones(3), epochs=1)
    with pytest.raises(ConfigError, match=r"operation linalg.det of the layer powers has no counterpart"):
        export.numpy(trainer, tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.full
def test_a_process_that_imports_numpy_alone(tmp_path: Path) -> None:
    frame = pl.DataFrame(table("classes")).drop("day", "moment", "lasted").with_columns(colour=pl.lit("red"))
    settings = {"epochs": 1, "hidden": (6,), "backend": "numpy"}
    pl.DataFrame({**frame.to_dict(), "kind": ["a", "b"] * 20}).write_csv(tmp_path / "table.csv")
    model = TableModel(**settings).fit(tmp_path / "table.csv", "kind")
    folder = export.numpy(model, tmp_path / "model")
    code = """
import sys, predict, numpy
found = predict.predict(predict.read_csv("../table.csv"))
numpy.save("../found.npy", found["probabilities"])
print(*{"xpnet", "polars", "torch", "onnx"} & set(sys.modules))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
    shares = model.predict_proba(tmp_path / "table.csv").to_numpy().astype("float32")
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), shares)
