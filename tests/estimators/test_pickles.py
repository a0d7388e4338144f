"""Pickled estimators come back on their device, and on NumPy where that device is not."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet
from xpnet.backends import Backend
from xpnet.estimators import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ROOT = Path(xpnet.__file__).parent.parent
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
LABELS = np.asarray(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]

HIDDEN = """
import importlib.machinery, pickle, sys
import numpy

found = importlib.machinery.PathFinder.find_spec

def without(cls, name, path=None, target=None):
    return None if name.partition(".")[0] == sys.argv[1] else found(name, path, target)

importlib.machinery.PathFinder.find_spec = classmethod(without)
with open("models.pickle", "rb") as file:
    models, X = pickle.load(file)
trainers = [getattr(m, "model_", m).trainer if hasattr(m, "model_") else m.trainer_ for m in models]
print(*{t.backend.spec for t in trainers}, sys.argv[1] in sys.modules)
numpy.savez("found.npz", *[getattr(m, "predict_proba", m.predict)(X) for m in models])
"""


def fitted(home: Backend) -> list[Any]:
    """Return the four estimators after some epochs on a device, of classes and of values."""
    narrow = {"dtype": "float32", "compile": "cupy" if home.name == "cupy" else "generic"}
    arrays: dict[str, Any] = {"hidden_layer_sizes": 5, "max_iter": 2, "random_state": 0, **narrow}
    # those without a length are trained on, on the rows that were set aside as well
    settings = {"hidden": (5,), "patience": 1, "min_steps": 1, "learning_rate": 0.2, **narrow}
    tables: dict[str, Any] = {"random_state": 0, "device": home.spec, "settings": settings}
    values = 100 + 20 * X[:, 0]
    return [
        MLPClassifier(**arrays, device=home).fit(X, LABELS),
        MLPRegressor(**arrays).fit(home.asarray(X.astype("float32")), values.astype("float32")),
        TabularClassifier(**tables).fit(X, LABELS),
        TabularRegressor(**tables).fit(X, values),
    ]


def predicted(models: list[Any]) -> list[np.ndarray]:
    return [getattr(model, "predict_proba", model.predict)(X) for model in models]


def test_a_pickle_is_opened_where_its_device_is_and_elsewhere(
    backend: Backend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models = fitted(backend)
    expected = predicted(models)
    content = pickle.dumps((models, X))
    caplog.clear()
    again, _ = pickle.loads(content)
    for model, was, wanted in zip(again, models, expected, strict=True):
        trainer = model.model_.trainer if hasattr(model, "model_") else model.trainer_
        assert trainer.backend == backend
        np.testing.assert_array_equal(getattr(model, "predict_proba", model.predict)(X), wanted)
        assert type(model) is type(was)
    assert not caplog.records
    if backend.name == "numpy":  # which is everywhere
        return
    (tmp_path / "models.pickle").write_bytes(content)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, backend.name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    assert done.stdout.split() == ["numpy", "False"]
    (said,) = done.stderr.splitlines()  # once, though there are four models
    assert f"expected backend {backend.spec}, on which it was made, found none: NumPy takes its place" in said
    assert f"{backend.name} is not installed" in said
    with np.load(tmp_path / "found.npz") as found:
        for name, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-6)


def test_what_a_device_has_alone_is_set_anew() -> None:
    """As in a pickle of a device that has CuPy's kernels, opened by NumPy."""
    model = MLPClassifier(5, max_iter=2, random_state=0).fit(X, LABELS)
    object.__setattr__(model.trainer_.settings, "compile", "cupy")
    again = pickle.loads(pickle.dumps(model))
    assert again.trainer_.settings.compile == "auto"
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
