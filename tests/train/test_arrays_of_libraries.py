"""Arrays of PyTorch, JAX, CuPy and others as inputs: checked where they lie, answered in their own kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xpnet
from tests.support import host, widest
from tests.train.support import class_data, flat, make, value_data
from xpnet import Trainer, losses, nn
from xpnet.backends import Backend, array_namespace, backend_of
from xpnet.errors import DataError

X, Y = class_data(24)
X = X.astype("float32")
VALUES = value_data(24)[1].astype("float32")
BINARY = (VALUES > 0).astype("float32")
WEIGHTS = np.where(np.arange(24) % 5 == 0, 0.0, 3e5 + np.arange(24)).astype("float32")


@losses.make
def plain_loss(predictions: Any, targets: Any) -> Any:
    """A loss that says nothing of its targets."""
    return (predictions - targets) ** 2


def trainer_of(home: Backend, loss: Any, units: int, **options: Any) -> Trainer:
    return make(model=nn.MLP([4], units), loss=loss, backend=home, dtype="float32", compile="off", **options)


# loss, outputs, targets
TARGETS = {
    "labels": ("softmax_cross_entropy", 3, Y),
    "small labels": ("softmax_cross_entropy", 3, Y.astype("uint8")),
    "labels as numbers": ("softmax_cross_entropy", 3, Y.astype("float32")),
    "a column of labels": ("multiclass_hinge", 3, Y[:, None]),
    "probabilities": ("softmax_cross_entropy", 3, np.eye(3, dtype="float32")[Y]),
    "0 and 1": ("binary_cross_entropy", 1, BINARY),
    "booleans": ("binary_cross_entropy", 1, BINARY > 0),
    "signs": ("hinge", 1, (2 * BINARY - 1)[:, None]),
    "counts": ("poisson", 1, np.rint(9 * BINARY).astype("int32")),
    "values": ("squared_error", 1, VALUES),
    "two values": ("squared_error", 2, np.stack([VALUES, VALUES], axis=1)),
    "of a loss that does not say": (plain_loss, 1, VALUES[:, None]),
}


@pytest.fixture
def counting(backend: Backend) -> None:
    """For tests of weights: rows of no weight are found by functions that answer in int64."""
    if backend.spec == "array_api_strict:no_x64":
        pytest.skip(f"{backend.spec}: counts and places are int64, which the device lacks")


def test_every_kind_of_targets_is_in_the_table() -> None:
    kinds = {losses.get(loss).targets for loss, _, _ in TARGETS.values() if isinstance(loss, str)}
    assert kinds == {losses.get(name).targets for name in losses.LOSSES}


@pytest.mark.parametrize("name", TARGETS)
def test_the_same_training_wherever_rows_come_from(name: str, backend: Backend, counting: None) -> None:
    loss, units, y = TARGETS[name]
    given, results = [X, y, WEIGHTS], []
    for send in (lambda x: x, backend.asarray):
        trainer = trainer_of(backend, loss, units)
        rows, targets, weights = map(send, given)
        trainer.fit(rows, targets, epochs=1, batch_size=6, sample_weight=weights, validation=(rows, targets))
        assert all(backend_of(x) == backend for x in (trainer.fitting.rows.X, trainer.fitting.rows.y))
        results.append([flat(trainer), *trainer.evaluate(rows, targets, weights).values()])
    assert trainer.fitting.rows.X.shape == (19, 3)  # without those of weight 0
    assert np.array_equal(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]


@pytest.mark.parametrize("of_rows", [False, True])
@pytest.mark.parametrize("weights", ["balanced", {0: 1.0, 1: 0.0, 2: 2.5}])
def test_weights_of_classes_and_a_split(
    weights: Any, of_rows: bool, backend: Backend, counting: None
) -> None:
    results = []
    for send in (lambda x: x, backend.asarray):
        trainer = trainer_of(backend, "softmax_cross_entropy", 3)
        given = send((1.0 + np.arange(len(X)) % 3).astype("float32")) if of_rows else None
        trainer.fit(send(X), send(Y), epochs=2, sample_weight=given, class_weight=weights, validation=0.25)
        results.append(flat(trainer))
    assert np.array_equal(*results)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error", "hinge"])
def test_answers_are_of_the_kind_of_the_question(loss: str, backend: Backend) -> None:
    trainer = trainer_of(xpnet.backend("numpy"), loss, 3 if "softmax" in loss else 1)
    trainer.fit(X, {"softmax_cross_entropy": Y, "hinge": 2 * BINARY - 1}.get(loss, VALUES), epochs=1)
    on_device = trainer_of(backend, loss, 3 if "softmax" in loss else 1)
    on_device.variables, on_device.input_shape = trainer.variables, trainer.input_shape
    moved = xpnet.parameters.Parameters(
        backend.asarray(trainer.variables.params.flat), trainer.variables.params.layout
    )
    on_device.variables = trainer.variables._replace(params=moved)
    expected = trainer.predict(X)
    for asked in (trainer, on_device):
        for given in (X, X.tolist()):
            found = asked.predict(given)
            assert isinstance(found, np.ndarray)
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        found = asked.predict(backend.asarray(X))
        assert backend_of(found) == backend
        np.testing.assert_allclose(host(found), expected, rtol=1e-4, atol=1e-6)
        if "softmax" in loss:
            assert backend_of(asked.predict_proba(backend.asarray(X))) == backend


BAD = {
    "NaN": (lambda: (np.where(np.arange(72).reshape(24, 3) == 10, np.nan, X), Y), r"X\[3, 1\] is nan"),
    "infinite": (lambda: (np.where(np.arange(72).reshape(24, 3) == 10, -np.inf, X), Y), r"X\[3, 1\] is -inf"),
    "a label too large": (lambda: (X, np.where(np.arange(24) == 4, 3, Y)), r"y\[4\] is 3; expected a class"),
    "a label below 0": (lambda: (X, np.where(np.arange(24) == 4, -1, Y)), r"y\[4\] is -1"),
    "half a label": (lambda: (X, (Y + 0.5).astype("float32")), r"y\[0\] is 0.5"),
    "no targets": (lambda: (X, None), "expected a target for each row, found None"),
    "fewer targets": (lambda: (X, Y[:-1]), "X has 24 rows, .* but y has 23"),
    "a vector": (lambda: (X[:, 0], Y), r"X has shape \(24,\); expected \(batch, features\)"),
    "no rows": (lambda: (X[:0], Y[:0]), "at least one row"),
    "no probabilities": (lambda: (X, np.full((24, 3), 0.5, dtype="float32")), "rows that sum to 1"),
    "wrong outputs": (
        lambda: (X, np.ones((24, 2), dtype="float32")),
        r"y has shape \(24, 2\); expected \(24, 3\)",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_by_the_host(name: str, backend: Backend) -> None:
    make_rows, message = BAD[name]
    rows, y = make_rows()
    with pytest.raises(DataError, match=message):
        trainer_of(backend, "softmax_cross_entropy", 3).fit(
            backend.asarray(rows, dtype="float32"), y if y is None else backend.asarray(y), epochs=1
        )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.where(np.arange(24) == 2, -1.0, 1.0), r"sample_weight\[2\] is -1.0"),
        (np.zeros(24), "zero everywhere"),
        (np.full(24, np.nan), r"sample_weight\[0\] is nan"),
        (np.ones(23), "sample_weight has 23"),
        (np.ones((24, 1)), r"sample_weight has shape \(24, 1\)"),
    ],
)
def test_weights_that_are_wrong(weights: np.ndarray, message: str, backend: Backend) -> None:
    with pytest.raises(DataError, match=message):
        trainer_of(backend, "softmax_cross_entropy", 3).fit(
            backend.asarray(X), backend.asarray(Y), epochs=1,
            sample_weight=backend.asarray(weights, dtype="float32"),
        )  # fmt: skip


@pytest.mark.parametrize("names", [("y",), ("sample_weight",)], ids=str)
def test_what_lies_elsewhere_is_checked_as_well(
    names: tuple[str, ...], backend: Backend, counting: None
) -> None:
    """Rows on the device, the others in lists, tables or masked arrays of the host."""

    class Column:
        def __init__(self, values: np.ndarray):
            self.values, self.shape = values, values.shape

        def to_numpy(self) -> np.ndarray:
            return self.values

    def train(change: Any) -> np.ndarray:
        given = {"y": Y, "sample_weight": WEIGHTS + 1.0}
        given |= {name: change(given[name]) for name in names}
        trainer = trainer_of(backend, "softmax_cross_entropy", 3)
        trainer.fit(backend.asarray(X), given["y"], sample_weight=given["sample_weight"], epochs=1)
        return flat(trainer)

    expected = train(lambda x: x)
    for change in (np.ndarray.tolist, Column, lambda x: x.astype(">f8"), lambda x: x.astype(np.longdouble)):
        assert np.array_equal(train(change), expected)
    with pytest.raises(DataError, match="masked entries"):
        train(lambda x: np.ma.array(x, mask=np.arange(24) == 3))
    with pytest.raises(DataError, match="expected real numbers"):
        train(lambda x: ["a"] * 24)


def test_numbers_beyond_the_dtype_are_refused(backend: Backend) -> None:
    if widest(backend) != "float64":
        pytest.skip("this device has no float64")
    for compile_ in ("auto", "off"):
        with pytest.raises(DataError, match=r"X\[0, 0\] is 1e\+39, too large for float32"):
            make(backend=backend, dtype="float32", compile=compile_).fit(
                backend.asarray(np.full((24, 3), 1e39)), backend.asarray(Y), epochs=1
            )


def test_memory_is_shared_between_libraries_on_the_host() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = torch.ones(6)
    there = xpnet.backend("numpy").asarray(tensor)
    there[0] = 5.0
    assert float(tensor[0]) == 5.0
    array = np.ones(6)
    back = xpnet.backend("torch:cpu").asarray(array)
    back[1] = 7.0
    assert array[1] == 7.0
    numpy_of_jax = pytest.importorskip("jax.numpy", reason="jax is not installed")
    fixed = numpy_of_jax.arange(6.0)
    looked_at = xpnet.backend("numpy").asarray(fixed)
    assert looked_at.__array_interface__["data"][0] == fixed.unsafe_buffer_pointer()


def test_tensors_with_gradients_are_taken() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    trainer = trainer_of(xpnet.backend("torch:cpu"), "softmax_cross_entropy", 3)
    tensor = torch.tensor(X, requires_grad=True)
    trainer.fit(tensor, torch.tensor(Y), epochs=1)
    assert not trainer.predict_proba(tensor).requires_grad
    assert tensor.grad is None


# --- On a CUDA device --------------------------------------------------------------------------------


class OfAnotherLibrary:
    """An array of a library that nobody knows, on a CUDA device: all that it can do is DLPack."""

    def __init__(self, array: Any):
        self.array, self.shape, self.streams = array, array.shape, []

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        self.streams.append(options.get("stream"))
        return self.array.__dlpack__(**options)


@pytest.fixture
def transfers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each copy from the device to the host."""
    import cupy

    found: list[int] = []
    space = xpnet.backend("cuda").xp
    original = cupy.asnumpy

    def counted(x: Any, *args: Any, **options: Any) -> Any:
        found.append(x.nbytes)
        return original(x, *args, **options)

    for module in (cupy, space):
        monkeypatch.setattr(module, "asnumpy", counted)
    return found


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("kind", [lambda x: x, OfAnotherLibrary], ids=["cupy", "dlpack"])
def test_nothing_goes_over_the_host(kind: Any, transfers: list[int]) -> None:
    home = xpnet.backend("cuda")
    rows, labels, weights = (kind(home.asarray(x)) for x in (X, Y, WEIGHTS + 1))
    trainer = trainer_of(home, "softmax_cross_entropy", 3)
    trainer.fit(rows, labels, epochs=1, batch_size=8, sample_weight=weights)
    trainer.evaluate(rows, labels, weights)
    answers = trainer.predict(rows), trainer.predict_proba(rows), trainer.outputs(rows)
    assert max(transfers) <= 3 * 4  # the losses of an epoch
    assert all(array_namespace(x) is home.xp for x in answers)
    assert np.array_equal(home.to_host(answers[0]), trainer.predict(X))
    if kind is OfAnotherLibrary:
        assert rows.streams
        assert None not in rows.streams  # whose work is waited for


@pytest.mark.backends("cupy")
def test_memory_is_shared_on_a_device() -> None:
    home = xpnet.backend("cuda")
    array = home.asarray(X)
    for given in (array, OfAnotherLibrary(array)):
        assert home.asarray(given).data.ptr == home.adopt(given).data.ptr == array.data.ptr
    trainer = trainer_of(home, "softmax_cross_entropy", 3)
    trainer.fit(OfAnotherLibrary(array), Y, epochs=1)
    assert trainer.fitting.rows.X.data.ptr == array.data.ptr
    assert home.adopt(X) is None
