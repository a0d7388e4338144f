"""Arrays, tables and lists that people hold their data in all train the same."""

from __future__ import annotations

import numpy as np
import pytest

from tests.train.support import class_data, flat, make, value_data
from xpnet import nn
from xpnet.errors import DataError
from xpnet.tabular.frames import to_frame

X, Y = class_data(20)
VALUES = value_data(20)[1]


def trained(X, y, **options):
    trainer = make(**options)
    trainer.fit(X, y, epochs=2, batch_size=6, validation=(X, y))
    trainer.predict(X)
    trainer.evaluate(X, y)
    return flat(trainer)


@pytest.fixture(scope="module")
def expected():
    return trained(X, Y)


def test_lists_and_other_layouts(expected):
    wide = np.zeros((20, 6))
    wide[:, ::2] = X
    for given in (X.tolist(), tuple(map(tuple, X.tolist())), list(X), np.asfortranarray(X), wide[:, ::2],
                  X.astype(">f8"), X.astype(np.longdouble), np.ma.array(X), X[::-1][::-1]):  # fmt: skip
        assert np.array_equal(trained(given, Y), expected)


class Exchanged:
    """An array of a library that is not known here, which has DLPack and nothing else."""

    def __init__(self, x):
        self.x = np.array(x)

    def __dlpack__(self, **options):
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


class Conforming(Exchanged):
    """One that conforms to the standard, with NumPy's functions."""

    shape = property(lambda self: self.x.shape)
    dtype = property(lambda self: self.x.dtype)

    def __array_namespace__(self, api_version=None):
        return np


def test_arrays_of_unknown_libraries(expected):
    for kind in (Exchanged, Conforming, lambda x: memoryview(np.array(x))):
        assert np.array_equal(trained(kind(X), kind(Y)), expected)
        columns = {"a": kind(X[:, 0]), "b": kind(Y)}
        assert to_frame(columns).to_dict(as_series=False) == {"a": X[:, 0].tolist(), "b": Y.tolist()}
    trainer = make()
    trainer.fit(Exchanged(X), Exchanged(Y), sample_weight=Conforming(np.ones(20)), epochs=1)
    assert isinstance(trainer.predict_proba(Conforming(X)), np.ndarray)
    with pytest.raises(DataError, match="found object"):
        to_frame({"a": type("object", (), {"__dlpack__": None})()})


def test_labels_of_any_kind(expected):
    kinds = [Y.astype(kind) for kind in (np.int8, np.uint64, float, ">i4", np.float16)]
    for given in (*kinds, Y.tolist(), Y[:, None], [[int(k)] for k in Y]):
        assert np.array_equal(trained(X, given), expected)
    np.testing.assert_allclose(trained(X, np.eye(3)[Y]), expected, rtol=1e-12)


def test_whole_numbers_and_booleans_as_inputs():
    whole = np.rint(X * 3).astype(np.int16)
    assert np.array_equal(trained(whole, Y), trained(whole.astype(float), Y))
    assert np.array_equal(trained(X > 0, Y), trained((X > 0).astype(float), Y))
    assert np.array_equal(trained(np.float16(X), Y), trained(np.float16(X).astype(float), Y))


@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy"])
def test_a_column_is_a_vector(loss):
    y = VALUES if loss == "squared_error" else VALUES > 0
    options = {"model": nn.MLP([4], 1), "loss": loss}
    vector = trained(X, y, **options)
    for given in (y[:, None], y.tolist(), y.astype(float)):
        assert np.array_equal(trained(X, given, **options), vector)


def test_polars(expected):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = polars.DataFrame(dict(zip("abc", X.T, strict=True)))
    labels = polars.Series("label", Y)
    for y in (labels, labels.to_frame(), labels.cast(polars.Int8), labels.cast(polars.Float32)):
        assert np.array_equal(trained(frame, y), expected)
    whole = frame.with_columns(polars.col("a").cast(polars.Int64))
    assert np.array_equal(trained(whole, labels), trained(whole.to_numpy(), Y))
    booleans = polars.Series(VALUES > 0)
    options = {"model": nn.MLP([4], 1), "loss": "binary_cross_entropy"}
    assert np.array_equal(trained(frame, booleans, **options), trained(X, VALUES > 0, **options))
    weights = polars.Series(np.linspace(0.5, 1, 20))
    results = []
    for weight in (weights, weights.to_numpy()):
        trainer = make()
        trainer.fit(frame, labels, epochs=1, sample_weight=weight)
        results.append(flat(trainer))
    assert np.array_equal(*results)


def test_pandas(expected):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame, labels = pandas.DataFrame(X, columns=list("abc")), pandas.Series(Y, index=range(5, 25))
    for y in (labels, labels.to_frame(), labels.astype("int8")):
        assert np.array_equal(trained(frame, y), expected)


def test_whatever_offers_to_numpy(expected):
    class Column:
        def __init__(self, array):
            self.array, self.shape = array, array.shape

        def to_numpy(self):
            return self.array

    assert np.array_equal(trained(Column(X), Column(Y)), expected)


def test_torch_tensors(expected):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor, labels = torch.tensor(X, requires_grad=True), torch.tensor(Y)
    for y in (labels, labels.to(torch.int32), labels.to(torch.float32)):
        assert np.array_equal(trained(tensor, y), expected)
    assert tensor.grad is None
    half = tensor.to(torch.float16)
    assert np.array_equal(trained(half, Y), trained(X.astype(np.float16), Y))


def test_a_single_row():
    trainer = make()
    trainer.fit(X[:1], Y[:1], epochs=2, batch_size=1)
    assert trainer.predict(X[:1]).shape == (1,)
    assert trainer.predict_proba(X[:1]).shape == (1, 3)


def test_a_single_feature():
    trainer = make(model=nn.MLP([4], 1), loss="squared_error")
    trainer.fit(X[:, :1], VALUES, epochs=1)
    assert trainer.predict(X[:, :1]).shape == (20,)
