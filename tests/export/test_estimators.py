"""Estimators for scikit-learn leave xpnet as they are: with their own labels, and as they predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from tests.export.served import feed, loaded, outputs
from xpnet import export, losses
from xpnet.autodiff.functions import sigmoid
from xpnet.errors import ConfigError

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xpnet.estimators import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 60
X = np.random.default_rng(0).normal(size=(N, 4))
THIRDS, HALVES = np.arange(N) % 3, np.arange(N) % 2
SEVERAL = np.column_stack([X[:, 0] > 0, X[:, 1] > 0, HALVES]).astype(int)
COUNTS = np.arange(N) % 5


def named(names: list[Any], numbers: np.ndarray, dtype: Any = None) -> np.ndarray:
    return np.asarray(names, dtype=dtype)[numbers]


# The class, its targets, and parameters.
OF_ARRAYS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "text": (MLPClassifier, named(["rose", "iris", "tulip"], THIRDS), {}),
    "numbers": (MLPClassifier, named([7, -2, 40], THIRDS), {"dtype": "float32"}),
    "indices": (MLPClassifier, THIRDS, {"solver": "lbfgs"}),
    "two of text": (MLPClassifier, named(["no", "yes"], HALVES, object), {}),
    "two of numbers": (MLPClassifier, named([5, 6], HALVES), {"dtype": "float32"}),
    "truth values": (MLPClassifier, HALVES > 0, {}),
    "fractions": (MLPClassifier, named([0.0, 1.0], HALVES), {}),
    "one": (MLPClassifier, ["all"] * N, {}),
    "several": (MLPClassifier, SEVERAL, {}),
    "softmax of two": (MLPClassifier, named(["a", "b"], HALVES), {"loss": "softmax_cross_entropy"}),
    "hinge": (MLPClassifier, named(["a", "b"], HALVES), {"loss": "hinge"}),
    "hinge of several": (MLPClassifier, SEVERAL, {"loss": "hinge"}),
    "multiclass hinge": (MLPClassifier, named(["a", "b", "c"], THIRDS), {"loss": "multiclass_hinge"}),
    "value": (MLPRegressor, X[:, 0], {}),
    "values": (MLPRegressor, X[:, :2], {"dtype": "float32", "activation": "gelu"}),
    "counts": (MLPRegressor, COUNTS, {"loss": "poisson"}),
}


def of_arrays(name: str) -> Any:
    kind, y, parameters = OF_ARRAYS[name]
    return kind(hidden_layer_sizes=5, max_iter=3, random_state=0, compile="off", **parameters).fit(X, y)


def predictions(estimator: Any, rows: Any) -> dict[str, np.ndarray]:
    """Return what an estimator predicts, by the names of the exports."""
    if hasattr(estimator, "predict_proba"):
        return {"label": estimator.predict(rows), "probabilities": estimator.predict_proba(rows)}
    return {"label" if hasattr(estimator, "classes_") else "value": estimator.predict(rows)}


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_onnx_of_arrays(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    estimator = of_arrays(name)
    found = outputs(export.onnx(estimator, tmp_path / "model.onnx"), {"X": X.astype(dtype_of(name))})
    scores = found.pop("scores", None)
    assert (scores is not None) == ("hinge" in name)
    compare(found, predictions(estimator, X), 1e-6)


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_numpy_alone_of_arrays(name: str, tmp_path: Path) -> None:
    estimator = of_arrays(name)
    found = loaded(export.numpy(estimator, tmp_path / "model")).predict(X)
    found.pop("scores", None)
    compare(found, predictions(estimator, X), 0.0)


def dtype_of(name: str) -> str:
    return OF_ARRAYS[name][2].get("dtype", "float64")


def compare(found: dict[str, Any], expected: dict[str, np.ndarray], near: float) -> None:
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        got = np.asarray(found[name])
        assert got.shape == wanted.shape
        if name == "label":
            assert got.tolist() == wanted.tolist()
        else:
            np.testing.assert_allclose(got, wanted, rtol=0, atol=near * np.abs(wanted).max())


@pytest.mark.parametrize("origin", ["set", "scikit-learn"])
def test_weights_that_were_not_trained_here_are_exported(origin: str, tmp_path: Path) -> None:
    estimator = of_arrays("text")
    estimator.coefs_[0][:] = 0.5
    if origin == "scikit-learn":
        estimator = MLPClassifier.from_sklearn(estimator.to_sklearn())
    found = loaded(export.numpy(estimator, tmp_path / "model")).predict(X)
    compare(found, predictions(estimator, X), 0.0)
    weights = load_file(export.torch(estimator, tmp_path / "model.safetensors"))
    for layer, (coefs, intercepts) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        np.testing.assert_array_equal(weights[f"{2 * layer}.weight"], coefs.T)
        np.testing.assert_array_equal(weights[f"{2 * layer}.bias"], intercepts)


# ---- of tables

TABLE = pd.DataFrame(
    {
        "size": np.where(np.arange(N) % 10 == 3, np.nan, X[:, 0] + HALVES),
        "colour": named(["red", "blue", None], THIRDS, object),
    }
)
# The class, the table or array, and targets.
OF_TABLES: dict[str, tuple[Any, Any, Any]] = {
    "text": (TabularClassifier, TABLE, named(["rose", "iris", "tulip"], THIRDS)),
    "numbers": (TabularClassifier, TABLE, named([7, -2, 40], THIRDS)),
    "truth values": (TabularClassifier, TABLE, HALVES > 0),
    "an array": (TabularClassifier, X, named(["no", "yes"], HALVES, object)),
    "value": (TabularRegressor, TABLE, 100 + 20 * X[:, 0]),
    "values": (TabularRegressor, X, np.column_stack([100 + 20 * X[:, 0], X[:, 1]])),
}


@pytest.mark.parametrize("name", OF_TABLES)
def test_estimators_of_tables(name: str, tmp_path: Path) -> None:
    kind, rows, y = OF_TABLES[name]
    settings = {"epochs": 2, "hidden": (6,), "compile": "off"}
    estimator = kind(device="numpy", random_state=0, settings=settings).fit(rows, y)
    if isinstance(rows, np.ndarray):
        columns = {f"x{i}": rows[:, i].tolist() for i in range(rows.shape[1])}
    else:
        columns = {column: [None if x != x else x for x in rows[column]] for column in rows}
    folder = loaded(export.numpy(estimator, tmp_path / "model"))
    compare(folder.predict(columns), predictions(estimator, rows), 0.0)
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    path = export.onnx(estimator, tmp_path / "model.onnx")
    compare(outputs(path, feed(estimator.model_, columns)), predictions(estimator, rows), 1e-6)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (MLPClassifier(), r"that has been trained, found MLPClassifier\(\); call fit"),
        (TabularRegressor(), r"that has been trained, found TabularRegressor\(\); call fit"),
        (make_pipeline(StandardScaler(), MLPRegressor()), r"found Pipeline\((\n|.)*; export its last step"),
        ([1.0], "or an estimator of xpnet, found list"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_is_no_trained_model_is_said(model: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        export.numpy(model, tmp_path / "model")


def test_labels_of_losses_of_the_users_own(tmp_path: Path) -> None:
    """A label is the more probable one, whatever the link is at 0."""

    @losses.make(targets="binary", link=lambda z: sigmoid(z - 0.3))
    def shifted(predictions: Any, targets: Any) -> Any:
        return (predictions - targets) ** 2

    estimator = MLPClassifier(5, max_iter=3, random_state=0, loss=shifted).fit(X, HALVES)
    found = loaded(export.numpy(estimator, tmp_path / "model")).predict(X)
    assert found["label"].tolist() == estimator.predict(X).tolist()
    np.testing.assert_array_equal(found["label"], found["probabilities"].argmax(axis=1))
