"""The same training on every backend: the same draws, the same batches, parameters that agree."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import host, relative_error, widest
from tests.train.support import class_data, value_data
from xpnet import Trainer, nn, optim
from xpnet.backends import backend_of
from xpnet.errors import BackendError

X, Y = class_data(40)

TRAININGS = {
    "plain": {"model": nn.MLP([6], 3, activation="tanh"), "optimizer": optim.Adam(0.02)},
    "regular": {"model": nn.MLP([6], 3, activation="tanh"), "optimizer": optim.SGD(0.1, momentum=0.9),
                "l1": {"0": 0.001}, "l2": 0.01, "max_norm": 0.8, "label_smoothing": 0.1,
                "gradient_noise": 0.01, "clip_norm": 0.5, "clip_value": 0.3, "batches": "fixed"},
    "drawn": {"model": nn.MLP([8], 3, activation="softplus", dropout=0.3, batch_norm=True),
              "optimizer": optim.RMSProp(0.01)},
}  # fmt: skip


def train(name, home, dtype, **options):
    settings = dict(TRAININGS[name])
    trainer = Trainer(
        settings.pop("model"), "softmax_cross_entropy", settings.pop("optimizer"),
        backend=home, dtype=dtype, seed=11, metrics=["accuracy"], **settings,
    )  # fmt: skip
    weight = np.linspace(0.5, 1.5, 40) if name == "regular" else None
    trainer.fit(X, Y, batch_size=9, validation=0.2, sample_weight=weight, **({"epochs": 6} | options))
    return trainer


@pytest.fixture(scope="module")
def on_numpy():
    made = {}

    def get(name, dtype):
        if (name, dtype) not in made:
            made[name, dtype] = train(name, "numpy", dtype)
        return made[name, dtype]

    return get


@pytest.mark.parametrize("name", sorted(TRAININGS))
def test_the_same_training_everywhere(backend, name, on_numpy):
    dtype = widest(backend)
    trainer, reference = train(name, backend, dtype), on_numpy(name, dtype)
    exact = dtype == "float64"
    assert relative_error(trainer.variables.params.flat, reference.variables.params.flat) < (
        1e-9 if exact else 2e-3
    )
    for column in ("loss", "validation_loss"):
        assert trainer.history[column] == pytest.approx(
            reference.history[column], rel=1e-9 if exact else 1e-3
        )
    for column in ("accuracy", "validation_accuracy"):
        assert abs(trainer.history[column][-1] - reference.history[column][-1]) <= 0.01
    assert trainer.history["step"] == reference.history["step"]
    assert trainer.predict_proba(X) == pytest.approx(reference.predict_proba(X), abs=1e-8 if exact else 1e-3)
    if name == "drawn":
        for statistic in ("mean", "variance"):
            mine, other = (t.variables.state["1"][statistic] for t in (trainer, reference))
            assert relative_error(mine, other) < (1e-9 if exact else 1e-3)


def test_arrays_live_on_the_device(backend):
    from xpnet.containers import leaves

    trainer = train("drawn", backend, "float32", epochs=1)
    for array in (*leaves(trainer.variables), *leaves([*trainer.opt_state.values()][1:]), trainer.outputs(X)):
        assert backend_of(array) == trainer.backend
    assert all(isinstance(out, np.ndarray) for out in (trainer.predict(X), trainer.predict_proba(X)))


def test_a_checkpoint_moves_between_devices(backend, tmp_path, on_numpy):
    dtype = widest(backend)
    there = train("drawn", backend, dtype, epochs=3)
    there.save(tmp_path / "there")
    here = Trainer.load(tmp_path / "there", "numpy")
    assert here.backend.name == "numpy"
    back = Trainer.load(tmp_path / "there", backend)
    for one in (here, back):
        one.fit(X, Y, epochs=6, batch_size=9, validation=0.2)
    reference = on_numpy("drawn", dtype)
    for one in (here, back):
        error = relative_error(one.variables.params.flat, reference.variables.params.flat)
        assert error < (1e-9 if dtype == "float64" else 2e-3)
        assert one.epoch == 6
    straight = train("drawn", backend, dtype)
    assert relative_error(back.variables.params.flat, straight.variables.params.flat) == 0.0


def test_inputs_may_come_from_any_device(backend):
    xs = [backend.asarray(x) for x in (X.astype("float32"), Y, np.ones(40, dtype="float32"))]
    results = []
    for given in (xs, (X.astype("float32"), Y, np.ones(40))):
        trainer = Trainer(nn.MLP([4], 3), "softmax_cross_entropy", backend="numpy")
        trainer.fit(given[0], given[1], epochs=2, batch_size=10, sample_weight=given[2])
        results.append(trainer.variables.params.flat)
        predicted = trainer.predict(given[0])
        assert backend_of(predicted) == backend_of(given[0])
        assert np.array_equal(host(predicted), trainer.predict(X.astype("float32")))
    assert np.array_equal(*results)


def test_whole_number_targets(backend):
    X, y = value_data(20)
    for targets in (np.rint(5 * y).astype(np.int64), np.rint(50 * np.abs(y)).astype(np.uint8)):
        trainer = Trainer(nn.MLP([4], 1), "squared_error", backend=backend)
        whole = trainer.fit(X, targets, epochs=2)["loss"]
        other = Trainer(nn.MLP([4], 1), "squared_error", backend=backend)
        assert other.fit(X, targets.astype(float), epochs=2)["loss"] == whole


def test_a_dtype_that_the_device_lacks(backend):
    if widest(backend) == "float64":
        pytest.skip("this device has float64")
    with pytest.raises(BackendError, match="float64"):
        Trainer(nn.Dense(2), "squared_error", backend=backend, dtype="float64")


def test_divergence_is_found_everywhere(backend):
    from xpnet.errors import DivergedError

    trainer = Trainer(nn.MLP([5], 3), "softmax_cross_entropy", optim.SGD(1e30), backend=backend)
    with pytest.raises(DivergedError) as caught:
        trainer.fit(X, Y, epochs=2, batch_size=20)
    assert (caught.value.epoch, caught.value.step, caught.value.layer) == (1, 2, "2 (Dense)")
