"""Running statistics of BatchNorm over several steps, and what the two normalizations make of their input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, relative_error, tolerance, widest
from xpnet import nn
from xpnet.autodiff import value_and_grad
from xpnet.backends import Backend, array_namespace
from xpnet.nn import Variables


def _batches(steps: int) -> list[np.ndarray]:
    return [3 * draw(step, (7, 4)) + step for step in range(steps)]


def test_running_statistics_match_pytorch_over_several_steps(backend: Backend) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    dtype = widest(backend)
    layer, module = nn.BatchNorm(momentum=0.2), torch.nn.BatchNorm1d(4, momentum=0.2).double()
    params, state = layer.init(seed=0, input_shape=4, backend=backend, dtype=dtype)
    for x in _batches(6):
        _, state = layer.apply(Variables(params, state), backend.asarray(x, dtype=dtype), training=True)
        module(torch.tensor(x))
    limit = tolerance(dtype)
    assert relative_error(state["mean"], module.running_mean.numpy()) < limit
    assert relative_error(state["variance"], module.running_var.numpy()) < limit
    x = _batches(9)[-1]
    y = layer.apply(Variables(params, state), backend.asarray(x, dtype=dtype))
    assert relative_error(y, module.eval()(torch.tensor(x)).detach().numpy()) < 10 * limit


def test_training_output_has_mean_0_and_variance_1() -> None:
    params, state = nn.BatchNorm(epsilon=1e-12).init(0, 4, backend="numpy", dtype="float64")
    y, _ = nn.BatchNorm(epsilon=1e-12).apply(Variables(params, state), _batches(2)[1], training=True)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=0), 1, atol=1e-9)
    y = nn.LayerNorm(epsilon=1e-12).apply(Variables(params, {}), _batches(2)[1])
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=1), 1, atol=1e-9)


def test_one_row_leaves_the_running_variance_alone(backend: Backend) -> None:
    layer = nn.BatchNorm()
    variables = layer.init(seed=0, input_shape=3, backend=backend)
    y, state = layer.apply(variables, backend.asarray(np.ones((1, 3)), dtype="float32"), training=True)
    np.testing.assert_array_equal(host(state["variance"]), np.ones(3))
    np.testing.assert_allclose(host(state["mean"]), np.full(3, 0.1), rtol=1e-6)
    np.testing.assert_array_equal(host(y), np.zeros((1, 3)))


def test_the_given_state_is_not_changed_and_evaluation_returns_none() -> None:
    layer = nn.BatchNorm()
    variables = layer.init(seed=0, input_shape=4, backend="numpy", dtype="float64")
    before = {name: values.copy() for name, values in variables.state.items()}
    layer.apply(variables, _batches(1)[0], training=True)
    for name, values in variables.state.items():
        np.testing.assert_array_equal(values, before[name])
    assert isinstance(layer.apply(variables, _batches(1)[0]), np.ndarray)


def test_the_new_state_comes_out_of_a_transform_untraced() -> None:
    model = nn.MLP([5], 2, batch_norm=True)
    variables = model.init(seed=0, input_shape=4, backend="numpy", dtype="float64")

    def loss(params: Any, x: Any) -> Any:
        y, state = model.apply(Variables(params, variables.state), x, training=True)
        return y.__array_namespace__().sum(y * y), state

    (_, state), _ = value_and_grad(loss, has_aux=True)(variables.params, _batches(1)[0])
    assert all(type(values) is np.ndarray for own in state.values() for values in own.values())
    _, want = model.apply(variables, _batches(1)[0], training=True)
    np.testing.assert_array_equal(state["1"]["mean"], want["1"]["mean"])


def test_batch_norm_of_the_data_itself_is_differentiated(backend):
    # the statistics come from untraced rows, the running ones are inside the transform
    model, dtype = nn.Sequential(nn.BatchNorm(), nn.Dense(1)), widest(backend)
    x = backend.asarray(draw(0, (6, 2)), dtype=dtype)
    params, state = model.init(0, 2, backend, dtype)

    def f(params, state):
        y, state = model.apply(nn.Variables(params, state), x, training=True)
        return array_namespace(y).mean(y), state

    (_, new), gradient = value_and_grad(f, has_aux=True)(params, state)
    np.testing.assert_allclose(host(new["0"]["mean"]), 0.1 * host(x).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(host(gradient["1.bias"]), 1.0)
