"""Penalties by name, bounds of norms, smoothed labels, noise, and masks: by their formulas, in training."""

from __future__ import annotations

import numpy as np
import pytest

from tests.train.support import class_data, flat, make, value_data
from xpnet import Trainer, nn, optim, rng
from xpnet.errors import ConfigError
from xpnet.optim import OPTIMIZERS
from xpnet.parameters import Layout
from xpnet.train.regularization import bounded, noise, noise_deviation, penalty_factors, smoothed

X, Y = class_data(24)
MODEL = nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Tanh(), nn.LayerNorm(), nn.Dense(3))
LAYOUT = MODEL.init(0, (3,), "numpy").params.layout
COMPILE = pytest.mark.parametrize("compile", ["off", "auto"])

# Factors -> what each parameter gets; those that are not named get 0.
PENALTIES = {
    "one": (0.1, {"0.weight": 0.1, "4.weight": 0.1}),
    "weights": ({"weights": 0.1}, {"0.weight": 0.1, "4.weight": 0.1}),
    "biases": ({"biases": 0.2}, {"0.bias": 0.2, "4.bias": 0.2}),
    "a layer": ({"0": 0.3}, {"0.weight": 0.3}),
    "narrower wins": (
        {"4.weight": 0.0, "weights": 0.1, "4": 0.5, "biases": 0.2, "0.bias": 0.3},
        {"0.weight": 0.1, "0.bias": 0.3, "4.bias": 0.2},
    ),
    "a scale": ({"1.scale": 0.4}, {"1.scale": 0.4}),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_by_name(name):
    factors, expected = PENALTIES[name]
    found = penalty_factors("l2", factors, LAYOUT)
    for parameter, (part, _) in zip(LAYOUT.names, LAYOUT.slices, strict=True):
        assert (found[part] == expected.get(parameter, 0.0)).all(), parameter


@COMPILE
def test_penalties_are_in_loss_and_gradient(compile):
    """Two trainings that differ in the penalty alone differ by its value and its gradient."""
    l1, l2 = {"weights": 0.03, "4.bias": 0.5}, {"0": 0.7, "biases": 0.2}
    options = {"model": MODEL, "optimizer": optim.SGD(1.0), "compile": compile}
    plain, punished = make(**options), make(l1=l1, l2=l2, **options)
    rows = [trainer.fit(X, Y, epochs=1).rows[0]["loss"] for trainer in (plain, punished)]
    w = MODEL.init(0, (3,), "numpy", "float64").params.flat
    one, two = (penalty_factors("l", factors, LAYOUT) for factors in (l1, l2))
    assert rows[1] - rows[0] == pytest.approx(np.sum(one * abs(w)) + np.sum(two * w**2), rel=1e-12)
    np.testing.assert_allclose(flat(plain) - flat(punished), one * np.sign(w) + 2 * two * w, atol=1e-12)


def test_penalties_for_each_row_weigh_less_the_more_rows_there_are():
    """As factors that are divided by the rows of the batch, or by the sum of their weights."""
    weight = np.linspace(0.25, 0.75, 24)
    for rows, given in ((24, {}), (weight.sum(), {"sample_weight": weight})):
        one = make(model=MODEL, l1=0.3, l2=0.2, penalty_per_row=True)
        other = make(model=MODEL, l1=0.3 / rows, l2=0.2 / rows)
        for trainer in (one, other):
            trainer.fit(X, Y, epochs=2, batch_size=None, **given)
        np.testing.assert_allclose(flat(one), flat(other), rtol=1e-10)


def test_l1_finds_what_the_lasso_finds():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    X, _ = value_data(200)
    X = X + 0.3 * X[:, ::-1]
    y = 2.0 * X[:, 0] - 1.0
    trainer = make(
        model=nn.Dense(1),
        loss="squared_error",
        optimizer=optim.SGD(optim.Exponential(0.2, factor=0.01, every=300)),
        l1=1.0,
    )
    trainer.fit(X, y, epochs=800, batch_size=None)
    lasso = linear_model.Lasso(alpha=0.5).fit(X, y)  # it halves the squares
    assert (lasso.coef_ == 0).any()
    np.testing.assert_allclose(flat(trainer), [*lasso.coef_, lasso.intercept_], atol=2e-3)


def test_a_penalty_of_an_unknown_name():
    with pytest.raises(
        ConfigError, match=r"l1: expected 'weights', 'biases'.* found '4\.wieght'; did you mean"
    ):
        make(model=MODEL, l1={"4.wieght": 0.1}).fit(X, Y, epochs=1)


# ------------------------------------------------------------------------------------------ max-norm
def test_bounded_scales_long_columns_down(backend):
    W = np.asarray([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]])
    layout = Layout((("weight", (2, 3)), ("bias", (2,))))
    given = np.concatenate([W.reshape(-1), [9.0, -9.0]])
    found = bounded(backend.asarray(given, dtype="float32"), layout, 2.0)
    expected = np.concatenate([(W * [0.4, 1.0, 1.0]).reshape(-1), [9.0, -9.0]])
    np.testing.assert_allclose(backend.to_host(found), expected, rtol=1e-6)


@COMPILE
def test_no_unit_outgrows_the_bound(compile):
    free, bound = (make(compile=compile, optimizer=optim.SGD(0.5), max_norm=m) for m in (None, 0.6))
    longest = []
    for trainer in (free, bound):
        trainer.fit(X, Y, epochs=20, batch_size=5)
        params = trainer.variables.params
        weights = [params[name] for name in params if name.endswith("weight")]
        longest.append(max(np.linalg.norm(W, axis=0).max() for W in weights))
    assert longest[0] > 0.7
    assert longest[1] == pytest.approx(0.6)


def test_max_norm_is_that_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    W = np.random.default_rng(0).normal(size=(5, 4))
    expected = torch.renorm(torch.tensor(W.T), p=2, dim=0, maxnorm=1.5).numpy().T
    found = bounded(W.reshape(-1), Layout((("weight", W.shape),)), 1.5)
    np.testing.assert_allclose(found.reshape(W.shape), expected, rtol=1e-6)  # PyTorch divides by norm + 1e-7


# ------------------------------------------------------------------------------------- label smoothing
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_label_smoothing_is_that_of_pytorch(share):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    trainer = make(label_smoothing=share)
    loss = trainer.fit(X, Y, epochs=1).rows[0]["loss"]
    trainer.variables = trainer.model.init(0, (3,), "numpy", "float64")
    logits = torch.tensor(trainer.outputs(X))
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(Y), label_smoothing=share)
    assert loss == pytest.approx(float(expected), rel=1e-12)


SMOOTHED = {
    "indices": ("softmax_cross_entropy", [0, 2], 3, [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]),
    "probabilities": (
        "kl_divergence",
        [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]],
        3,
        [[0.45, 0.45, 0.1], [0.1, 0.1, 0.8]],
    ),
    "zero and one": ("binary_cross_entropy", [0, 1], 1, [0.15, 0.85]),
    "several labels": ("binary_cross_entropy", [[0.0, 1.0], [1.0, 1.0]], 2, [[0.15, 0.85], [0.85, 0.85]]),
}


@pytest.mark.parametrize("name", SMOOTHED)
def test_smoothed_targets(name, backend):
    from xpnet.losses import LOSSES

    loss, y, outputs, expected = SMOOTHED[name]
    logits = backend.asarray(np.zeros((2, outputs)), dtype="float32")
    dtype = "int32" if np.asarray(y).dtype.kind == "i" else "float32"
    found = smoothed(LOSSES[loss], backend.asarray(y, dtype=dtype), logits, 0.3)
    np.testing.assert_allclose(backend.to_host(found), expected, rtol=1e-6)


def test_an_evaluation_has_whole_labels():
    trainer = make(label_smoothing=0.4)
    history = trainer.fit(X, Y, epochs=1, validation=(X, Y))
    plain = make()
    plain.variables, plain.input_shape = trainer.variables, (3,)
    assert history["validation_loss"] == [plain.evaluate(X, Y)["loss"]]


# ------------------------------------------------------------------------------------- gradient noise
def test_noise_is_the_same_everywhere(backend):
    like = backend.asarray(np.zeros(20_001), dtype="float32")
    found = backend.to_host(noise(rng.key(3), like, 0.5))
    expected = np.asarray(noise(rng.key(3), np.zeros(20_001, dtype=np.float32), 0.5))
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_noise_is_normal():
    """Over many keys the p-values of a test of normality are themselves uniform."""
    stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed")
    like = np.zeros(2001)
    values = [stats.kstest(noise(rng.key(seed), like, 0.5) / 0.5, "norm").pvalue for seed in range(200)]
    assert stats.kstest(values, "uniform").pvalue > 0.01


def test_noise_decays_as_in_the_paper():
    assert [noise_deviation(0.3, t + 1) for t in (0, 9)] == pytest.approx([0.3**0.5, (0.3 / 10**0.55) ** 0.5])


def test_noise_is_added_to_the_clipped_gradient():
    """With a bound that leaves nothing of it, the steps of SGD are the noise itself."""
    trainer = make(optimizer=optim.SGD(1.0), gradient_noise=0.2, clip_norm=1e-12, compile="off")
    trainer.fit(X, Y, epochs=1)
    start = trainer.model.init(0, (3,), "numpy", "float64").params.flat
    expected = noise(trainer.setup.step_key(1), start, 0.2**0.5)
    np.testing.assert_allclose(start - flat(trainer), expected, atol=1e-9)


@pytest.mark.parametrize("lower", ["off", "numpy"])
def test_another_noise_in_a_later_fit(lower):
    """The steps of the fit before are not taken again with their noise."""
    trainer = make(optimizer=optim.SGD(1.0), gradient_noise=0.2, clip_norm=1e-12, compile=lower)
    trainer.fit(X, Y, epochs=1)
    trainer.gradient_noise, before = 0.8, flat(trainer)
    trainer.fit(X, Y, epochs=2)
    expected = noise(trainer.setup.step_key(2), before, noise_deviation(0.8, 2))
    np.testing.assert_allclose(before - flat(trainer), expected, atol=1e-9)


@pytest.mark.full
@pytest.mark.parametrize("lower", ["numpy", "numba", "auto"])
def test_compiled_steps_are_the_steps(lower):
    if lower == "numba":
        pytest.importorskip("numba", reason="numba (extra jit) is not installed")
    options = {"gradient_noise": 0.1, "label_smoothing": 0.2, "max_norm": 0.5}
    options |= {"l1": 0.01, "l2": {"biases": 0.1}}
    model = nn.MLP([6], 3, dropout=0.2)
    plain, compiled = (make(model=model, compile=c, **options) for c in ("off", lower))
    for trainer in (plain, compiled):
        trainer.fit(X, Y, epochs=6, batch_size=7)
    np.testing.assert_allclose(flat(compiled), flat(plain), rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------------------------- masks
def mask_of(trainer: Trainer) -> np.ndarray:
    return (np.arange(trainer.variables.params.layout.size) % 3 > 0).astype(float)


@COMPILE
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_masked_parameters_stay_zero(name, compile, tmp_path):
    trainer = make(optimizer=name, l2=0.01, compile=compile)
    trainer.fit(X, Y, epochs=3, batch_size=7)
    mask = mask_of(trainer)
    trainer.set_mask(mask)
    masked = flat(trainer)
    trainer.fit(X, Y, epochs=5, batch_size=7)
    trainer.save(tmp_path)
    trainer = Trainer.load(tmp_path, "numpy")
    trainer.fit(X, Y, epochs=8, batch_size=7)
    assert (flat(trainer)[mask == 0] == 0).all()
    assert (flat(trainer) != masked)[mask == 1].all()
    trainer.set_mask(None)
    trainer.fit(X, Y, epochs=9, batch_size=7)
    assert (flat(trainer) != 0).all()


def test_a_masked_network_is_trained_like_a_smaller_one():
    """With the hidden unit 2 masked, the others learn as if it were not there."""
    small, wide = (make(model=nn.MLP([units], 3, activation="tanh"), clip_norm=0.1) for units in (2, 3))
    for trainer in (small, wide):
        trainer.fit(X, Y, epochs=1)
        trainer.opt_state = None
    params = wide.variables.params
    mask = {name: np.ones(shape) for name, shape in params.layout.entries}
    names = list(mask)
    mask[names[0]][:, 2] = mask[names[1]][2] = mask[names[2]][2, :] = 0
    wide.set_mask(np.concatenate([part.reshape(-1) for part in mask.values()]))
    kept = flat(wide)[np.concatenate([part.reshape(-1) for part in mask.values()]) == 1]
    small.variables.params.flat[:] = kept
    for trainer in (small, wide):
        trainer.fit(X, Y, epochs=20)
    np.testing.assert_allclose(wide.outputs(X), small.outputs(X), rtol=1e-9)


def test_a_mask_on_every_backend(backend):
    trainer = make(backend=backend, dtype="float32")
    trainer.fit(X, Y, epochs=1)
    mask = mask_of(trainer)
    trainer.set_mask(backend.asarray(mask, dtype="float32"))
    trainer.fit(X, Y, epochs=3, batch_size=8)
    assert (flat(trainer)[mask == 0] == 0).all()
    assert (flat(trainer)[mask == 1] != 0).all()


@pytest.mark.parametrize("mask", [np.ones(3), np.full(38, 0.5), [0, 1], np.ones((38, 1))], ids=str)
def test_what_is_no_mask(mask):
    trainer = make()
    with pytest.raises(ConfigError, match="trainer: expected one that has been trained"):
        trainer.set_mask(mask)
    trainer.fit(X, Y, epochs=1)
    with pytest.raises(ConfigError, match="mask: expected a vector of 38 numbers 0 or 1"):
        trainer.set_mask(mask)
