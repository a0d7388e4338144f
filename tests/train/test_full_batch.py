"""Methods of second order as the trainer's optimizer: the iterates of `minimize`, one an epoch."""

from __future__ import annotations

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, flat, make, value_data
from xpnet import Trainer, nn, optim
from xpnet.errors import ConfigError, DivergedError
from xpnet.nn import Variables
from xpnet.optim import METHODS, minimize
from xpnet.parameters import Parameters

X, Y = class_data(30)
every_method = pytest.mark.parametrize("method", sorted(METHODS))


def objective(trainer: Trainer, l2: float):
    """Return softmax regression's loss and penalty, written out, as a function of the flat vector."""
    layout = trainer.model.init(0, (3,), "numpy", "float64").params.layout

    def f(x):
        params = Parameters(x, layout)
        xp = x.__array_namespace__()
        z = xp.asarray(X) @ params["weight"] + params["bias"]
        z = z - xp.max(z, axis=1, keepdims=True)
        log_p = z - xp.log(xp.sum(xp.exp(z), axis=1, keepdims=True))
        chosen = xp.asarray(np.eye(3)[Y])
        return -xp.sum(chosen * log_p) / len(Y) + l2 * xp.sum(params["weight"] ** 2)

    return f


@every_method
def test_the_minimum_of_a_convex_problem(method):
    trainer = make(model=nn.Dense(3), optimizer=method, l2=0.01)
    trainer.fit(X, Y, epochs=400)
    start = trainer.model.init(0, (3,), "numpy", "float64").params.flat
    expected = minimize(objective(trainer, 0.01), start, method="newton", tolerance=1e-10, test=False)
    assert trainer.history["loss"][-1] == pytest.approx(expected.fun, rel=1e-9)
    np.testing.assert_allclose(trainer.variables.params["weight"], Parameters(
        expected.x, trainer.variables.params.layout)["weight"], atol=1e-4)  # fmt: skip


@every_method
@pytest.mark.parametrize("compile", ["off", "auto"])
def test_each_epoch_is_one_iteration_of_minimize(method, compile):
    trainer = make(model=nn.Dense(3), optimizer=method, l2=0.01, compile=compile)
    history = trainer.fit(X, Y, epochs=4)
    found = []
    start = trainer.model.init(0, (3,), "numpy", "float64").params.flat
    f = objective(trainer, 0.01)
    if method == "hessian-free":
        pytest.skip("its Gauss-Newton matrix is that of the model and the loss")
    minimize(f, start, method=method, max_iterations=4, test=False, tolerance=1e-14,
             callback=lambda result: found.append(result.fun))  # fmt: skip
    assert history["loss"][1:] == pytest.approx(found[:3], rel=1e-9)
    assert history["loss"] == sorted(history["loss"], reverse=True)
    assert trainer.step == trainer.opt_state["step"] == 4


@pytest.mark.full
@every_method
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_resumed_training_is_the_same(method, dtype, tmp_path):
    model = nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Tanh(), nn.Dense(3))
    straight, first = (make(model=model, optimizer=method, dtype=dtype, l2=0.01) for _ in range(2))
    straight.fit(X, Y, epochs=7, validation=(X, Y))
    first.fit(X, Y, epochs=3, validation=(X, Y))
    first.save(tmp_path)
    second = Trainer.load(tmp_path, "numpy")
    assert second.optimizer == first.optimizer
    assert_same_training(first, second)
    second.fit(X, Y, epochs=7, validation=(X, Y))
    assert_same_training(straight, second)


@every_method
def test_every_backend_agrees(method, backend):
    if backend.name == "array_api_strict" and method in ("newton", "damped-newton"):
        pytest.skip("a Hessian takes strict arrays several seconds")
    rows = []
    for home in ("numpy", backend):
        trainer = make(backend=home, optimizer=method, dtype="float32", l2=0.01)
        rows.append(trainer.fit(X, Y, epochs=3)["loss"])
    np.testing.assert_allclose(rows[1], rows[0], rtol=2e-3)


def test_batch_statistics_are_kept():
    model = nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Tanh(), nn.Dense(3))
    trainer = make(model=model, optimizer="l-bfgs")
    trainer.fit(X, Y, epochs=1)
    start = trainer.model.init(0, (3,), "numpy", "float64")
    _, state = trainer.model.apply(
        Variables(trainer.variables.params, start.state), np.asarray(X), training=True, key=1
    )
    for name, value in state["1"].items():
        np.testing.assert_allclose(trainer.variables.state["1"][name], value, rtol=1e-12)


@every_method
def test_masked_parameters_stay_zero(method):
    trainer = make(optimizer=method)
    trainer.fit(X, Y, epochs=2)
    mask = (np.arange(trainer.variables.params.layout.size) % 3 > 0).astype(float)
    trainer.set_mask(mask)
    trainer.fit(X, Y, epochs=5)
    assert (flat(trainer)[mask == 0] == 0).all()
    assert (flat(trainer)[mask == 1] != 0).all()


def test_least_squares_takes_newton_one_step():
    X, y = value_data(40)
    trainer = make(model=nn.Dense(1), loss="squared_error", optimizer="newton")
    trainer.fit(X, y, epochs=1)
    expected = np.linalg.lstsq(np.column_stack([X, np.ones(40)]), y, rcond=None)[0]
    np.testing.assert_allclose(flat(trainer), expected, rtol=1e-9)


def test_where_nothing_helps_training_ends_and_says_so(caplog):
    X, y = value_data(40)
    trainer = make(model=nn.Dense(1), loss="squared_error", optimizer="cg")
    with caplog.at_level("INFO", logger="xpnet"):
        history = trainer.fit(X, y, epochs=50)
    assert trainer.epoch == len(history) < 10
    assert "no lower point" in trainer.stalled
    assert f"training ended after epoch {trainer.epoch}: " in caplog.text
    assert "learning_rate" not in history.rows[0]


def test_another_method_begins_anew():
    trainer = make(optimizer="bfgs")
    trainer.fit(X, Y, epochs=3)
    trainer.optimizer = optim.LBFGS(history=2)
    trainer.fit(X, Y, epochs=6)
    assert trainer.opt_state["method"] == "LBFGS"
    assert "inverse" not in trainer.opt_state
    assert len(trainer.opt_state["steps"]) == 2
    trainer.optimizer = optim.Adam()
    trainer.fit(X, Y, epochs=8, batch_size=10)
    assert set(trainer.opt_state) == {"step", "m", "v"}


REFUSED = {
    "clip_norm": ({"clip_norm": 1.0}, "expected no clip_norm, found 1.0"),
    "clip_value": ({"clip_value": 1.0}, "expected no clip_value"),
    "max_norm": ({"max_norm": 1.0}, "expected no max_norm"),
    "noise": ({"gradient_noise": 0.1}, "expected no gradient_noise"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_line_search_cannot_keep_to(name):
    options, message = REFUSED[name]
    with pytest.raises(ConfigError, match=f"optimizer l-bfgs: {message}.*leave it out"):
        make(optimizer="l-bfgs", **options)


def test_batches_and_draws_are_refused():
    trainer = make(optimizer="l-bfgs")
    with pytest.raises(
        ConfigError, match=r"optimizer l-bfgs: expected full batches, found batch_size=1; pass"
    ):
        trainer.fit(X, Y, epochs=1, batch_size=1)
    with pytest.raises(ConfigError, match=r"optimizer cg: expected a model that draws nothing .* Dropout"):
        make(model=nn.MLP([4], 3, dropout=0.5), optimizer="cg").fit(X, Y, epochs=1)


def test_an_objective_that_is_not_finite():
    trainer = make(model=nn.Dense(1), loss="squared_error", optimizer="l-bfgs")
    with pytest.raises(
        DivergedError, match="diverged in epoch 1, step 1: the objective or its gradient is not"
    ):
        trainer.fit(X * 1e200, np.zeros(30), epochs=1)
