"""Optimizers: against torch.optim, on every backend, and as pure functions of containers."""

from __future__ import annotations

import ast
import json
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.optim.optimizer_cases import TABLE
from xpnet import optim
from xpnet.backends import Backend, array_namespace
from xpnet.containers import leaves, rebuild
from xpnet.errors import BackendError, ConfigError
from xpnet.parameters import Layout, Parameters

ROWS = pytest.mark.parametrize(("optimizer", "torch_name", "torch_options"), TABLE, ids=lambda v: None)
EVERY = pytest.mark.parametrize("optimizer", [row[0] for row in TABLE], ids=repr)


def test_every_registered_optimizer_is_in_the_table():
    assert {type(row[0]) for row in TABLE} == set(optim.OPTIMIZERS.values())
    assert sorted(optim.OPTIMIZERS) == ["adadelta", "adagrad", "adam", "adamw", "rmsprop", "sgd"]
    assert all(getattr(optim, made.__name__) is made for made in optim.OPTIMIZERS.values())


def test_the_package_imports_no_array_library():
    for source in Path(optim.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                allowed = (
                    "xpnet.aliases",
                    "xpnet.backends",
                    "xpnet.checks",
                    "xpnet.configured",
                    "xpnet.containers",
                    "xpnet.errors",
                    "xpnet.optim",
                    "xpnet.schedules",
                )
                assert not name.startswith("xpnet") or name.startswith(allowed), f"{source.name}: {name}"
                assert name.split(".")[0] not in {"numpy", "cupy", "torch", "jax", "array_api_compat"}


# ------------------------------------------------------------------------------ against outside truth
X, Y = (np.random.default_rng(seed).normal(size=(20, 3)) for seed in (1, 2))
START = {"w": np.random.default_rng(3).normal(size=(3, 3)), "b": np.zeros(3)}


def gradient(w: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    """Return that of mean((tanh(X w + b) - Y)²), by hand."""
    h = np.tanh(X @ w + b)
    d = 2 * (h - Y) * (1 - h * h) / h.size
    return {"w": X.T @ d, "b": d.sum(axis=0)}


@ROWS
def test_agrees_with_torch_over_50_steps(optimizer, torch_name, torch_options):
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
    w, b = (torch.tensor(START[k], dtype=torch.float64, requires_grad=True) for k in "wb")
    x, y = torch.tensor(X), torch.tensor(Y)
    theirs = getattr(torch.optim, torch_name)([w, b], **torch_options)
    params, state = START, optimizer.init(START)
    for _ in range(50):
        params, state = optimizer.update(gradient(**params), state, params)
        theirs.zero_grad()
        ((torch.tanh(x @ w + b) - y) ** 2).mean().backward()
        theirs.step()
        np.testing.assert_allclose(params["w"], w.detach().numpy(), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(params["b"], b.detach().numpy(), rtol=1e-10, atol=1e-10)
    assert state["step"] == 50
    assert abs(params["w"] - START["w"]).max() > 1e-3


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSProp"])
def test_agrees_with_torch_under_a_schedule(name):
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
    p = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    theirs = getattr(torch.optim, {"RMSProp": "RMSprop"}.get(name, name))([p], lr=0.1)
    advance = torch.optim.lr_scheduler.ExponentialLR(theirs, gamma=0.9)
    ours = getattr(optim, name)(optim.Exponential(0.1, factor=0.9))
    params = np.asarray([1.0, -2.0])
    state = ours.init(params)
    for _ in range(50):
        params, state = ours.update(params**3, state, params)
        p.grad = p.detach() ** 3
        theirs.step()
        advance.step()
    np.testing.assert_allclose(params, p.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_under_a_schedule_is_that_of_the_notes(nesterov):
    ours = optim.SGD(optim.Inverse(0.1), momentum=0.9, nesterov=nesterov)
    params, change = np.asarray([1.0, -2.0]), np.zeros(2)
    state = ours.init(params)
    expected = params
    for k in range(1, 30):
        params, state = ours.update(params**3, state, params)
        gradient_part = 0.1 / k * expected**3
        change = gradient_part + 0.9 * change
        expected = expected - (gradient_part + 0.9 * change if nesterov else change)
        np.testing.assert_allclose(params, expected, rtol=1e-13)
        np.testing.assert_allclose(state["velocity"], change, rtol=1e-13)


def test_adam_is_algorithm_1_line_by_line():
    alpha, beta1, beta2, epsilon = 0.05, 0.9, 0.999, 1e-2
    ours = optim.Adam(alpha, beta1, beta2, epsilon)
    params = theta = np.asarray([1.0, -2.0, 1e-3])
    state = ours.init(params)
    m = v = np.zeros(3)
    for t in range(1, 40):
        params, state = ours.update(params**3, state, params)
        g = theta**3
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - alpha * m_hat / (np.sqrt(v_hat) + epsilon)
        np.testing.assert_allclose(params, theta, rtol=1e-12)
        np.testing.assert_allclose(state["m"], m, rtol=1e-13)
        np.testing.assert_allclose(state["v"], v, rtol=1e-13)


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [
        (optim.SGD(0.1), 300),
        (optim.SGD(0.02, momentum=0.9), 300),
        (optim.SGD(0.02, momentum=0.9, nesterov=True), 300),
        (optim.AdaGrad(1.0), 300),
        (optim.AdaDelta(epsilon=1e-3), 3000),
        (optim.RMSProp(optim.Cosine(0.1, steps=300)), 300),
        (optim.Adam(optim.Cosine(0.1, steps=300)), 300),
        (optim.AdamW(optim.Cosine(0.1, steps=300), weight_decay=0.0), 300),
    ],
    ids=repr,
)
def test_finds_the_minimum_of_a_quadratic(optimizer, steps):
    curvature, minimum = np.asarray([1.0, 10.0]), np.asarray([1.0, -3.0])
    params = np.asarray([3.0, 2.0])
    state = optimizer.init(params)
    for _ in range(steps):
        params, state = optimizer.update(curvature * (params - minimum), state, params)
    np.testing.assert_allclose(params, minimum, atol=1e-2)


# --------------------------------------------------------------------------------- on every backend
@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gives_the_same_on_every_backend_and_keeps_the_dtype(optimizer, dtype, backend: Backend):
    try:
        backend.dtype(dtype)
    except BackendError as error:
        pytest.skip(str(error))

    def five_steps(asarray: Any) -> tuple[Any, dict[str, Any]]:
        params = {"w": asarray(START["w"]), "b": [asarray(np.asarray([0.5, -0.25, 0.0]))]}
        state = optimizer.init(params)
        for _ in range(5):
            grads = rebuild(params, [p * p * p - 0.5 for p in leaves(params)])
            params, state = optimizer.update(grads, state, params)
        return params, state

    params, state = five_steps(lambda x: backend.asarray(x, dtype=dtype))
    expected, expected_state = five_steps(lambda x: np.asarray(x, dtype=dtype))
    assert state["step"] == expected_state["step"] == 5
    assert type(state["step"]) is int
    found = leaves(params) + leaves({name: state[name] for name in optimizer.slots})
    wanted = leaves(expected) + leaves({name: expected_state[name] for name in optimizer.slots})
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    for array, numbers in zip(found, wanted, strict=True):
        assert array.dtype == backend.dtype(dtype)
        assert array_namespace(array) is backend.xp
        np.testing.assert_allclose(backend.to_host(array), numbers, rtol=tolerance, atol=tolerance)


@EVERY
def test_scalars_may_be_arrays(optimizer, backend: Backend):
    p, g = (backend.asarray(x, dtype="float32") for x in ([1.0, 2.0], [0.5, -3.0]))
    slots = [p * p for _ in optimizer.slots]
    scalars = optimizer.scalars(0.1, 7)
    with_array, _ = optimizer.rule(g, slots, p, *(backend.asarray(x, dtype="float32") for x in scalars))
    with_number, _ = optimizer.rule(g, slots, p, *scalars)
    assert with_array.dtype == p.dtype
    np.testing.assert_allclose(backend.to_host(with_array), backend.to_host(with_number), rtol=1e-5)


@EVERY
def test_a_step_asks_the_device_for_no_value(optimizer):
    torch = pytest.importorskip("torch", reason="torch is not installed: no device without values")
    params = {"w": torch.empty((3, 2), device="meta")}  # holds no values: float() or `if` on it raises
    after, state = optimizer.update(params, optimizer.init(params), params)
    assert after["w"].shape == (3, 2)
    assert state["step"] == 1


# ------------------------------------------------------------------------------ pure, on containers
def frozen(x: Any) -> np.ndarray:
    made = np.asarray(x)
    made.flags.writeable = False
    return made


@EVERY
def test_arguments_are_not_modified(optimizer):
    params = {"w": frozen([[1.0, -2.0]]), "b": (frozen([0.5]), None)}
    grads = {"w": frozen([[0.1, 3.0]]), "b": (frozen([-0.5]), None)}
    state = optimizer.init(params)
    for array in leaves({name: state[name] for name in optimizer.slots}):
        array.flags.writeable = False  # from now on, writing into an argument raises
    before = repr((grads, state, params))
    first = optimizer.update(grads, state, params)
    second = optimizer.update(grads, state, params)
    assert repr((grads, state, params)) == before
    assert repr(first) == repr(second)
    for array in leaves(first[0]) + leaves({name: first[1][name] for name in optimizer.slots}):
        assert not any(np.shares_memory(array, given) for given in leaves((grads, params)))


@EVERY
def test_the_state_is_plain_data_shaped_like_the_parameters(optimizer):
    params = {"w": np.ones((2, 3), dtype=np.float32), "b": [np.ones(3), None]}
    state = optimizer.init(params)
    assert list(state) == ["step", *optimizer.slots]
    assert state["step"] == 0
    for name in optimizer.slots:
        assert state[name]["w"].shape == (2, 3)
        assert state[name]["w"].dtype == np.float32
        assert state[name]["b"][1] is None
        assert not state[name]["w"].any()


Pair = namedtuple("Pair", "w b")


@EVERY
@pytest.mark.parametrize(
    "shape_as",
    [
        lambda w, b: {"w": w, "b": b},
        lambda w, b: [w, (b, None)],
        lambda w, b: Pair(w, {"inner": b}),
        lambda w, b: Parameters(
            np.concatenate([w.reshape(-1), b]), Layout((("0.weight", (3, 3)), ("0.bias", (3,))))
        ),
    ],
    ids=["dict", "list", "namedtuple", "Parameters"],
)
def test_the_container_makes_no_difference(optimizer, shape_as):
    params, state, expected = shape_as(**START), optimizer.init(shape_as(**START)), START
    expected_state = optimizer.init(expected)
    for _ in range(3):
        grads = gradient(**expected)
        params, state = optimizer.update(shape_as(**grads), state, params)
        expected, expected_state = optimizer.update(grads, expected_state, expected)
    assert type(params) is type(shape_as(**START))
    flat = np.concatenate([np.reshape(x, -1) for x in leaves(params)])
    assert (flat == np.concatenate([np.reshape(x, -1) for x in leaves(expected)])).all()
    for name in optimizer.slots:
        assert type(state[name]) is type(params)


def test_a_bare_array_is_a_container_too():
    optimizer = optim.SGD(0.5)
    params, state = optimizer.update(np.asarray(2.0), optimizer.init(np.asarray(1.0)), np.asarray(1.0))
    assert params == 0.0
    assert state == {"step": 1}


def test_dicts_are_matched_by_key():
    params = {"a": np.zeros(2), "b": np.zeros(2)}
    optimizer = optim.SGD(1.0, momentum=0.5)
    state = optimizer.init({"b": params["b"], "a": params["a"]})
    after, _ = optimizer.update({"b": np.full(2, -1.0), "a": np.full(2, -2.0)}, state, params)
    assert list(after) == ["a", "b"]
    assert after["a"].tolist() == [2.0, 2.0]
    assert after["b"].tolist() == [1.0, 1.0]


@EVERY
def test_a_parameter_without_gradient_is_left_alone(optimizer):
    params = {"w": np.asarray([1.0, 2.0]), "n": np.asarray([3, 4]), "inner": [np.ones(1), np.ones(2)]}
    grads = {"w": np.asarray([1.0, 1.0]), "n": None, "inner": None}
    after, state = optimizer.update(grads, optimizer.init(params), params)
    after, state = optimizer.update(grads, state, after)
    assert after["n"] is params["n"]
    assert after["inner"][0] is params["inner"][0]
    assert (after["w"] < params["w"]).all()
    assert state["step"] == 2


@EVERY
def test_a_gradient_of_another_dtype_does_not_change_the_parameters_dtype(optimizer):
    params = np.ones(3, dtype=np.float32)
    after, state = optimizer.update(np.ones(3), optimizer.init(params), params)
    assert after.dtype == np.float32
    assert all(state[name].dtype == np.float32 for name in optimizer.slots)


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ({"w": np.ones(3)}, r"grads: expected the keys \['w', 'b'\].*found the keys \['w'\]"),
        ([np.ones(3), [np.ones(1)]], "grads: expected the keys.*found a list of 2;"),
        ({"w": np.ones(3), "b": []}, r"grads\['b'\]: expected 1 entries.*found a list of 0;"),
        ({"w": np.ones(3), "b": np.ones(1)}, r"grads\['b'\]: expected 1 entries.*found a ndarray;"),
        (
            {"w": [np.ones(3), np.ones(3)], "b": [np.ones(1)]},
            r"grads\['w'\]: expected 1 array.*found 2 in a list",
        ),
        ({"w": np.ones(4), "b": [np.ones(1)]}, r"SGD: parameters of shape \(3,\).*of shape \(4,\)"),
    ],
)
def test_gradients_that_do_not_fit(grads, message):
    params = {"w": np.ones(3), "b": [np.ones(1)]}
    optimizer = optim.SGD(0.1)
    with pytest.raises(ConfigError, match=message):
        optimizer.update(grads, optimizer.init(params), params)


def test_states_that_do_not_fit():
    params = np.ones(3)
    with pytest.raises(ConfigError, match=r"Adam: the state has no 'm', found \['step', 'velocity'\]; pass"):
        optim.Adam().update(params, optim.SGD(0.1, momentum=0.9).init(params), params)
    with pytest.raises(
        ConfigError, match=r"parameters of shape \(3,\) met a gradient or state of shape \(1,\)"
    ):
        optim.Adam().update(params, optim.Adam().init(np.ones(1)), params)
    with pytest.raises(ConfigError, match=r"m: expected 1 array\(s\)"):
        optim.Adam().update(params, optim.Adam().init([params, params]), params)


@EVERY
def test_configuration_round_trip(optimizer):
    config = json.loads(json.dumps(optimizer.to_config(), allow_nan=False))
    assert config["name"] == type(optimizer).name
    assert optim.Optimizer.from_config(config) == optimizer
    assert type(optimizer).from_config(config) == optimizer
    assert optim.get(config) == optimizer
