"""ONNX files predict what the model does, in onnxruntime."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import timeit
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

import xpnet
from tests.autodiff.rule_cases import CASES as RULES
from tests.export.served import feed, outputs, session
from tests.export.tables import CASES as TABLES
from tests.export.tables import clamped, model_of, table
from tests.nn.layer_cases import CASES, CHAIN, chained, variables_on, with_head
from tests.nn.layer_cases import Case as LayerCase
from xpnet import export, losses, nn
from xpnet.backends import array_namespace
from xpnet.data.columns.date_text import read_dates
from xpnet.data.columns.dates import _number as number_of_moments
from xpnet.data.columns.scaling import Quantile, Robust
from xpnet.errors import ConfigError, RecordError
from xpnet.export.date_nodes import in_iso, parts_of_dates
from xpnet.export.graph import Graph
from xpnet.export.operations import OPERATIONS, add_program
from xpnet.export.scaling_nodes import add_codes, add_quantile, add_robust
from xpnet.program.passes.simplify import simplify
from xpnet.tabular import TableModel

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

X = np.random.default_rng(1).normal(size=(9, 4))


def trained(model: nn.Layer, loss: Any = "softmax_cross_entropy", y: Any = None, **options: Any) -> Any:
    trainer = xpnet.Trainer(model, loss, backend="numpy", compile="off", **options)
    trainer.fit(X, np.arange(9) % 3 if y is None else y, epochs=1, batch_size=3)
    return trainer


def compare(trainer: Any, folder: Path, rows: int = 9) -> list[str]:
    """Compare all outputs with the trainer's predictions, and return the nodes."""
    path = export.onnx(trainer, folder / "model.onnx", overwrite=True)
    x = X[:rows].astype(trainer.setup.dtype)
    found = outputs(path, {"X": x})
    expected = {"value" if "value" in found else "label": trainer.predict(x)}
    if "probabilities" in found:
        expected["probabilities"] = trainer.predict_proba(x)
    if "scores" in found:
        expected["scores"] = trainer.outputs(x)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert found[name].dtype == value.dtype
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-6)
    return [node.op_type for node in onnx.load(path).graph.node]


# ---- layers and losses

FUSED = {
    "ReLU": "Relu", "LeakyReLU": "LeakyRelu", "ELU": "Elu", "SELU": "Selu", "Mish": "Mish",
    "GELU": "Gelu", "SiLU": "Sigmoid Mul",
    "Softplus": "Softplus", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "Identity": "", "Sign": "Sign",
    "Dropout": "", "BatchNorm": "Mul Add", "LayerNorm": "LayerNormalization",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_layer(case: LayerCase, tmp_path: Path) -> None:
    trainer = trained(with_head(case.layer, 3))
    nodes = compare(trainer, tmp_path)
    assert case.name not in FUSED or nodes == f"Gemm {FUSED[case.name]} Gemm ArgMax Softmax".split()


def test_networks_in_float64_and_of_one_row(tmp_path: Path) -> None:
    trainer = trained(chained(CHAIN, 3), dtype="float64")
    for rows in (1, 9):
        compare(trainer, tmp_path, rows)


TARGETS: dict[str, Any] = {
    "values": X[:, :2], "counts": np.arange(9) % 4, "classes": None, "binary": np.arange(9) % 2,
    "signs": np.arange(9) % 2 * 2 - 1,
}  # fmt: skip


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss(name: str, tmp_path: Path) -> None:
    kind = losses.LOSSES[name].targets
    units = {"values": 2, "classes": 3}.get(kind, 1)
    compare(trained(nn.Dense(units), name, TARGETS[kind]), tmp_path)


def test_several_labels(tmp_path: Path) -> None:
    compare(trained(nn.Dense(4), "binary_cross_entropy", (X > 0).astype(int)), tmp_path)


# ---- operations

# Rules that a layer's forward pass may call, and of which ONNX has no counterpart, are refused by name.
CONSTANT = {
    name: lambda xp, x, y, f=name: getattr(xp, f)(x, y)
    for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "floor_divide")
} | {
    **{
        name: lambda xp, x, y, f=name: getattr(xp, f)(x > 0, y > 0)
        for name in ("logical_and", "logical_or", "logical_xor")
    },
    "logical_not": lambda xp, x, y: xp.logical_not(x > y),
    **{
        name: lambda xp, x, y, f=name: getattr(xp, f)(x / y)
        for name in ("isnan", "isinf", "isfinite", "floor", "ceil", "round", "trunc", "sign")
    },
    **{
        name: lambda xp, x, y, f=name: getattr(xp, f)(x, axis=1)
        for name in ("argmax", "argmin", "cumulative_sum", "prod")
    },
    "astype": lambda xp, x, y: xp.astype(x, xp.int32) + xp.astype(y > 0, xp.int32),
}


def compare_operation(function: Any, args: tuple[np.ndarray, ...]) -> None:
    xp = array_namespace(args[0])
    program = simplify(xpnet.record(lambda *given: function(array_namespace(*given), *given))(*args))
    graph = Graph()
    names = [graph.input(f"x{i}", str(x.dtype), list(x.shape)) for i, x in enumerate(args)]
    made = add_program(graph, program, names)
    expected = function(xp, *args)
    for i, (name, wanted) in enumerate(zip(made, [expected], strict=True)):
        graph.output(f"y{i}", name, str(np.asarray(wanted).dtype), list(np.shape(wanted)))
    served = runtime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = served.run(None, {f"x{i}": x for i, x in enumerate(args)})
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


def test_every_operation_has_a_case() -> None:
    assert set(OPERATIONS) <= {case.rule for case in RULES} | set(CONSTANT)


@pytest.mark.full
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation(name: str) -> None:
    """In float32; and in float64, unless the runtime has it in float32 alone."""
    cases = [(c.function, (*c.args, *c.constants)) for c in RULES if c.rule == name]
    if name in CONSTANT:
        x, y = np.linspace(-2, 2, 12).reshape(3, 4), np.asarray([[0.5, 0.0, -1.0, 2.0]])
        cases.append((CONSTANT[name], (x, y)))
    compared = 0
    for function, args in cases:
        for dtype in ("float32", "float64"):
            given = tuple(x.astype(dtype) if x.dtype.kind == "f" else x for x in args)
            refused = ""
            try:
                with np.errstate(all="ignore"):
                    compare_operation(function, given)
            except (ConfigError, RecordError) as error:
                refused = str(error)
            assert not refused or re.search("no counterpart in ONNX|float32 alone|recorded mask", refused)
            compared += not refused
    assert compared


# ---- code of the user's own


class Own(nn.Layer):
    """A layer of the user's own, of many functions, which keeps the shape (batch, features)."""

    def forward(self, params: Any, state: Any, x: Any, *, training: bool, key: Any) -> Any:
        xp = array_namespace(x)
        a = xp.where(xp.logical_and(x > 0.1, xp.isfinite(x)), xp.sqrt(xp.abs(x)), x**2 / 3 - 1)
        b = xp.reshape(xp.broadcast_to(xp.mean(a, axis=1, keepdims=True), x.shape), (-1, 4))
        c = xp.concat([b[:, 1:], xp.expand_dims(a[:, -1], axis=1)], axis=-1) + xp.ones((x.shape[0], 1))
        sums = xp.sum(xp.clip(c, -1, 1), axis=-1)
        d = xp.stack([xp.sin(c[:, 0]), xp.max(c, axis=1), c[..., 2] // 0.5, sums], axis=1)
        e = xp.permute_dims(xp.permute_dims(d, (1, 0)), (1, 0)) + xp.astype(xp.floor(x), xp.float32) % 2
        f = xp.std(e, axis=1, keepdims=True) + xp.var(e, axis=1, keepdims=True, correction=1)
        return f * xp.flip(e, axis=1)[:, ::-1] + xp.take(e, xp.asarray([3, 1, 0, 2]), axis=1), state


def test_layers_and_links_of_the_users_own(tmp_path: Path) -> None:
    @losses.make(targets="values", link=lambda z: z * 2 + array_namespace(z).log1p(z**2))
    def own(predictions: Any, targets: Any) -> Any:
        return (predictions - targets) ** 2

    compare(trained(nn.Sequential(Own(), nn.Dense(2)), own, X[:, :2]), tmp_path)


class Bad(nn.Layer):
    def forward(self, params: Any, state: Any, x: Any, *, training: bool, key: Any) -> Any:
        xp = array_namespace(x)
        return x + xp.linalg.vector_norm(xp.cumulative_prod(x, axis=1)), state


class Batch(nn.Layer):
    def forward(self, params: Any, state: Any, x: Any, *, training: bool, key: Any) -> Any:
        return x * (1 / x.shape[0]), state


class Decides(nn.Layer):
    def forward(self, params: Any, state: Any, x: Any, *, training: bool, key: Any) -> Any:
        return x * 2 if float(array_namespace(x).max(x)) > 0 else x, state


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Bad(), r"operation cumulative_prod of the layer bad has no counterpart in ONNX; write it in"),
        (Batch(), r"operation multiply of the layer batch depends on the number of rows"),
        (Decides(), r"cannot be recorded .*control flow.*test_onnx.py"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_cannot_be_exported_is_named(layer: nn.Layer, said: str, tmp_path: Path) -> None:
    trainer = trained(nn.Sequential(layer, nn.Dense(3)))
    with pytest.raises(ConfigError, match=said):
        export.onnx(trainer, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays_unless_asked(tmp_path: Path) -> None:
    trainer = trained(nn.Dense(3))
    path = export.onnx(trainer, tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match="exists already; use overwrite=True"):
        export.onnx(trainer, path)
    export.onnx(trainer, path, overwrite=True)
    with pytest.raises(ConfigError, match="found the folder"):
        export.onnx(trainer, tmp_path, overwrite=True)


# ---- tables


def labels(classes: np.ndarray) -> list[str]:
    """Return classes as text, which they are where targets of several kinds are together."""
    return [str(x).lower() for x in classes.tolist()]


@pytest.mark.parametrize("name", TABLES)
def test_models_of_tables(name: str, tmp_path: Path) -> None:
    model, rows = model_of(name), table(name)
    found = outputs(export.onnx(model, tmp_path / "model.onnx"), feed(model, rows))
    expected = model.predict(rows, unseen="ignore")
    if model.encoder.task == "regression":
        wanted = np.column_stack(list(expected.values())) if isinstance(expected, dict) else expected
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found["value"], wanted, rtol=0, atol=1e-6 * scale, strict=True)
        return
    columns = list(expected.values()) if isinstance(expected, dict) else [expected]
    left = np.asarray([x is None for x in columns[0]])
    for wanted, got in zip(columns, np.atleast_2d(found["label"].T), strict=True):
        assert labels(got[~left]) == labels(wanted[~left])
    if "probabilities" in found:
        shares = np.column_stack([*model.predict_proba(rows, unseen="ignore").values()]).astype("float32")
        np.testing.assert_allclose(found["probabilities"], shares, rtol=0, atol=1e-6, strict=True)
        assert np.isnan(found["probabilities"][left]).all()


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_clamped_values(loss: str, tmp_path: Path) -> None:
    model, rows = clamped(loss)
    found = outputs(export.onnx(model, tmp_path / "model.onnx"), feed(model, rows))
    np.testing.assert_allclose(found["value"], model.predict(rows), rtol=1e-6)
    assert found["value"][2] == model.encoder.targets[0].span[1]


QUANTILES = [
    [0.0, 0.0, 0.0, 1.0], [1.0, 1.0], [-2.0, 3.0], [0.0, 1e-300, 2e-300, 1e300],
    sorted(np.random.default_rng(3).normal(size=1000).tolist()), [-1.0, 0.5, 0.5, 0.5, 0.5, 2.0, 2.0],
]  # fmt: skip
KNOWN = [[-1.0, 0.5, 7.0], [0.0], list(np.arange(-40.0, 1500.0))]


def test_scalings_and_codes_are_those_of_the_columns() -> None:
    """Of cells at, between, and beyond quantiles and categories."""
    cells = np.unique(
        [*(x for column in (*QUANTILES, *KNOWN) for x in column), *np.linspace(-3, 3, 500), 1e307]
    )
    scalings = [Quantile(tuple(column)) for column in QUANTILES]
    robust = [Robust(0.5, 2.0), Robust(-1.0, 0.0), Robust(0.0, 1e300)]
    graph = Graph()
    for name, many in (("q", len(scalings)), ("r", len(robust)), ("c", len(KNOWN))):
        graph.input(name, "float64", ["rows", many])
    graph.output("quantile", add_quantile(graph, "q", scalings), "float64", ["rows", len(scalings)])
    graph.output("robust", add_robust(graph, "r", robust), "float64", ["rows", len(robust)])
    graph.output("codes", add_codes(graph, "c", KNOWN), "float64", ["rows", len(KNOWN)])
    served = runtime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    given = {name: np.tile(cells[:, None], many) for name, many in (("q", 6), ("r", 3), ("c", 3))}
    quantile, scaled, codes = served.run(None, given)
    for column, scaling in zip((*quantile.T, *scaled.T), (*scalings, *robust), strict=True):
        np.testing.assert_allclose(column, scaling(cells), rtol=0, atol=1e-9, err_msg=str(scaling)[:80])
    for column, known in zip(codes.T, KNOWN, strict=True):
        assert column.tolist() == [known.index(x) + 1 if x in known else 0 for x in cells.tolist()]
    (none,) = served.run(
        ["codes"], {**given, "c": np.full((2, 3), np.nan), "q": given["q"][:2], "r": given["r"][:2]}
    )
    assert not none.any()


def test_columns_of_any_name_and_kind(tmp_path: Path) -> None:
    """Outputs take other names than columns; large whole numbers are text; NA may be a category."""
    rows: dict[str, list[Any]] = {
        "label": [0.5 * (k % 7) for k in range(40)],
        "probabilities": ["NA", "x", "y", ""] * 10,
        "X": [True, False] * 20,
        "a 'b'/\n": [2**60 + k % 2 for k in range(40)],
        "ö": [0.1, None, 0.3, 0.1] * 10,
    }
    settings: dict[str, Any] = {"epochs": 1, "hidden": (4,), "backend": "numpy", "compile": "off"}
    settings["categorical"] = ("a 'b'/\n", "ö")
    values = {**rows, "class": [1.5 + k % 2 for k in range(40)]}
    model = TableModel(**settings, task="regression").fit(values, "class")
    found = outputs(export.onnx(model, tmp_path / "model.onnx"), feed(model, rows))
    np.testing.assert_allclose(found["value"], model.predict(rows), rtol=1e-6)
    target = [["a", "b"][k % 2] for k in range(40)]
    model = TableModel(**settings).fit({**rows, "class": target}, "class")
    estimator = SimpleNamespace(model_=model)  # as those for scikit-learn have it
    found = outputs(export.onnx(estimator, tmp_path / "other.onnx"), feed(model, rows))
    assert found.keys() == {"label_", "probabilities_"}
    assert found["label_"].tolist() == model.predict(rows).tolist()


MOMENTS = [
    "2021-04-03", "2020-02-29", "2021-02-29", "1900-02-29", "2000-02-29", "2021-4-3 5:06",
    "2021-04-03T23:59:59.5Z", "2021-04-03 00:30+02:00", "2021-12-31T23:30-01:30", "2021-04", "2021-13-01",
    "2021-04-31", "2021-04-00", "24:00", "14:05", "14:05:59.25", "12:60", "12:00:61", "1800-01-01",
    "0001-01-01", "9999-12-31 23:59:59.999999", "1969-12-31 23:00", "soon", "", "2021-04-03 ", "20210403",
]  # fmt: skip


def test_dates_are_read_as_the_column_does() -> None:
    graph = Graph()
    cells = graph.input("cells", "str", ["rows", 1])
    parts, gone = parts_of_dates(graph, cells)
    for name, value in {**parts, "gone": gone}.items():
        graph.output(name, value, "bool" if name == "gone" else "float64", ["rows", 1])
    made = runtime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    found = dict(
        zip(
            [x.name for x in made.get_outputs()],
            made.run(None, {"cells": np.asarray(MOMENTS, dtype=object)[:, None]}),
            strict=True,
        )
    )
    moments = np.full(len(MOMENTS), np.datetime64("NaT", "us"))
    for form in ("year-month-day", "year-month", "hour:minute"):  # all of which are ISO's
        read = read_dates(pl.Series(MOMENTS), form)
        moments = np.where(np.isnat(moments), read, moments)
    moments[MOMENTS.index("2021-04-03 ")] = np.datetime64("NaT")  # blanks around a cell are not taken away
    np.testing.assert_array_equal(found["gone"][:, 0], np.isnat(moments))
    for name in parts:
        wanted = number_of_moments(name, moments)
        there = ~np.isnan(wanted)
        np.testing.assert_array_equal(found[name][there, 0], wanted[there], err_msg=name)


def test_other_forms_of_dates() -> None:
    texts = ["3.4.2021", "03/04/21", "3-4-69", "2021/4/3", "2021.04.03 5:06", "12/31/68", "x"]
    texts.append("31.12.1999 23:59:01.5Z")
    forms = ("year-month-day", "day.month.year", "day/month/year", "month/day/year", "Month year")
    graph = Graph()
    cells = graph.input("cells", "str", ["rows", 1])
    for i, form in enumerate(forms):
        parts, gone = parts_of_dates(graph, in_iso(graph, cells, form))
        value = graph.add("Where", gone, graph.constant(np.nan), parts["elapsed"])
        graph.output(f"y{i}", value, "float64", ["rows", 1])
    made = runtime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    found = made.run(None, {"cells": np.asarray(texts, dtype=object)[:, None]})
    for form, days in zip(forms, found, strict=True):
        wanted = number_of_moments("elapsed", read_dates(pl.Series(texts), form))
        np.testing.assert_array_equal(days[:, 0], wanted, err_msg=form)


# ---- other processes and libraries


@pytest.mark.full
def test_a_process_that_imports_onnxruntime_alone(tmp_path: Path) -> None:
    model, rows = model_of("classes"), table("classes")
    path = export.onnx(model, tmp_path / "model.onnx")
    given = feed(model, rows)
    expected = outputs(path, given)
    arrays = {name: x.astype(str) if x.dtype == object else x for name, x in given.items()}
    np.savez(tmp_path / "given.npz", **arrays)
    code = """
import sys
import numpy, onnxruntime
given = {n: x.astype(object) if x.dtype.kind == "U" else x for n, x in numpy.load("given.npz").items()}
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
numpy.save("found.npy", session.run(["probabilities"], given)[0])
print(*{"xpnet", "onnx", "polars", "torch"} & set(sys.modules))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), expected["probabilities"])


@pytest.mark.full
@pytest.mark.parametrize("case", CASES, ids=str)
def test_ndonnx_records_the_same(case: LayerCase) -> None:
    """The layers' own functions, recorded by another library, are an oracle of the exporter."""
    ndonnx = pytest.importorskip("ndonnx", reason="ndonnx is not installed")
    home, cpu, x = xpnet.backend("ndonnx"), xpnet.backend("numpy"), X.astype("float32")
    lazy = ndonnx.argument(shape=("rows", 4), dtype=ndonnx.float32)
    made = ndonnx.build({"x": lazy}, {"y": case.layer.apply(variables_on(home, case.layer, "float32"), lazy)})
    served = runtime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    variables = variables_on(cpu, case.layer, "float32")
    graph = Graph()
    program = simplify(xpnet.record(lambda x: case.layer.apply(variables, x))(x))
    (y,) = add_program(graph, program, [graph.input("x", "float32", ["rows", 4])])
    graph.output("y", y, "float32", ["rows", *program.values[program.outputs[0].number].shape[1:]])
    own = runtime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    (found,), (expected,) = own.run(None, {"x": x}), served.run(None, {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.full
def test_one_row_is_quick(tmp_path: Path) -> None:
    """A row takes less than twice as long as what onnxruntime needs for a file of one node."""
    trainer = xpnet.Trainer(nn.MLP([128], 10), "softmax_cross_entropy", backend="numpy")
    x = np.random.default_rng(0).normal(size=(100, 64)).astype("float32")
    trainer.fit(x, np.arange(100) % 10, epochs=1)
    graph = Graph()
    graph.output("y", graph.add("Relu", graph.input("X", "float32", ["rows", 64])), "float32", ["rows", 64])
    (tmp_path / "node.onnx").write_bytes(graph.model().SerializeToString())
    files = export.onnx(trainer, tmp_path / "model.onnx"), tmp_path / "node.onnx"
    calls = [functools.partial(session(file).run, None, {"X": x[:1]}) for file in files]
    # in turn, and shorter than a slice of time that other programs may get
    times = [[timeit.timeit(call, number=40) / 40 for call in calls] for _ in range(200)]
    model, node = np.min(times, axis=0)
    assert model < 2 * node
    assert model < 30e-6
