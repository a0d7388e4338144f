"""Embeddings of numbers and categories, beside pytabkit and rtdl_num_embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, relative_error, tolerance, widest
from xpnet import nn
from xpnet.autodiff import vjp
from xpnet.backends import Backend
from xpnet.errors import ConfigError, DataError
from xpnet.parameters import Parameters

X = draw(1, (40, 3), -2.0, 2.0)


def _with(layer: nn.Layer, named: dict[str, Any], width: int) -> nn.Variables:
    """Return variables with these parameters."""
    params, state = layer.init(0, width, backend="numpy", dtype="float64")
    assert params.keys() == named.keys()
    flat = np.concatenate([named[name].detach().numpy().reshape(-1) for name in params])
    return nn.Variables(Parameters(flat, params.layout), state)


def _compare(layer: nn.Layer, module: Any, named: dict[str, Any], x: np.ndarray) -> None:
    """Compare outputs and gradients with those of a module of the same parameters."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    variables = _with(layer, named, x.shape[1])
    given = torch.tensor(x, requires_grad=True)
    want = module(given).flatten(1)
    u = draw(2, tuple(want.shape))
    want.backward(torch.tensor(u))
    y, pullback = vjp(lambda p, x: layer.apply(nn.Variables(p, variables.state), x), variables.params, x)
    params, pulled = pullback(u)
    assert relative_error(y, want.detach().numpy()) < 1e-12
    assert relative_error(pulled, given.grad.numpy()) < 1e-12
    for name, parameter in named.items():
        assert relative_error(params[name].reshape(-1), parameter.grad.numpy().reshape(-1)) < 1e-12


def test_periodic_embeddings_are_those_of_pytabkit() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = pytest.importorskip("pytabkit.models.nn_models.nn", reason="pytabkit is not installed")
    from pytabkit.models.data.data import DictDataset, TensorInfo

    options = {"plr_sigma": 0.1, "plr_hidden_1": 16, "plr_hidden_2": 4, "plr_act_name": "linear"}
    fitter = module.PLREmbeddingsFactory(**options, plr_use_densenet=True, plr_use_cos_bias=True)
    rows = DictDataset({"x_cont": torch.tensor(X)}, {"x_cont": TensorInfo(feat_shape=[3])})
    made = fitter.fit(rows).double()
    names = {"frequency": "weight_1", "phase": "bias_1", "weight": "weight_2", "bias": "bias_2"}
    named = {name: getattr(made, other) for name, other in names.items()}
    _compare(nn.PeriodicEmbedding(), made.forward_cont, named, X)


def test_piecewise_linear_embeddings_are_those_of_rtdl() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    rtdl = pytest.importorskip("rtdl_num_embeddings", reason="rtdl_num_embeddings is not installed")
    rows = np.column_stack([X[:, 0], X[:, 1].round(), np.sign(X[:, 2])])  # of 7, 4 and one bin
    with pytest.warns(UserWarning, match="just two bin edges"):
        bins = rtdl.compute_bins(torch.tensor(rows), n_bins=7)
    edges = nn.quantile_edges(rows, 7)
    assert [len(own) for own in edges] == [len(own) for own in bins]
    for own, other in zip(edges, bins, strict=True):
        np.testing.assert_allclose(own, other.numpy(), atol=1e-6)  # whose shares are float32
    with pytest.warns(UserWarning, match="just two bin edges"):
        module = rtdl.PiecewiseLinearEmbeddings(bins, 5, activation=False, version="B").double()
    for buffer, own in (("weight", lambda x: 1 / x.diff()), ("bias", lambda x: -x[:-1] / x.diff())):
        for i, column in enumerate(bins):  # which it computes in float32
            values = own(column)
            getattr(module.impl, buffer)[i, -1] = values[-1]
            getattr(module.impl, buffer)[i, : len(values) - 1] = values[:-1]
    torch.nn.init.normal_(module.linear.weight)
    named = {"slope": module.linear0.weight, "bias": module.linear0.bias, "weight": module.linear.weight}
    outside = np.concatenate([rows, 3 * rows]) + 0.03  # at no kinks, where slopes are conventions
    edges = tuple(tuple(own.tolist()) for own in bins)
    _compare(nn.PiecewiseLinearEmbedding(edges, 5), module, named, outside)


def test_embeddings_are_those_of_pytabkit() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = pytest.importorskip("pytabkit.models.nn_models.categorical", reason="pytabkit is not installed")
    from pytabkit.models.nn_models.base import Variable

    layer, codes = nn.Embedding([12], 8), np.arange(30)[:, None] % 12
    table = Variable(torch.tensor(draw(3, (12, 8))))
    want = module.SingleEmbeddingLayer(table).forward_tensors({"x_cat": torch.tensor(codes)})["x_cont"]
    found = layer.apply(_with(layer, {"weight": table}, 1), codes.astype(float))
    np.testing.assert_array_equal(found, want.detach().numpy())


def test_first_values() -> None:
    periodic = nn.PeriodicEmbedding().init(0, 400, backend="numpy", dtype="float64").params
    assert abs(periodic["frequency"].std() - 0.1) < 0.005
    assert 3.1 < np.abs(periodic["phase"]).max() < np.pi
    for name in ("weight", "bias"):
        assert 0.24 < np.abs(periodic[name]).max() < 0.25
    edges = nn.quantile_edges(X, 4)
    piecewise = nn.PiecewiseLinearEmbedding(edges, 4)
    variables = piecewise.init(0, 3, backend="numpy", dtype="float64")
    slope, bias = variables.params["slope"], variables.params["bias"]
    np.testing.assert_allclose(piecewise.apply(variables, X), (X[:, :, None] * slope + bias).reshape(40, 12))
    tables = nn.Embedding([5, 900], 3, zero=0).init(0, 2, backend="numpy", dtype="float64").params["weight"]
    assert not tables[[0, 5]].any()
    assert abs(tables[6:].std() - 1) < 0.05


def test_unknown_codes_are_zeros_and_learn_nothing(backend: Backend) -> None:
    layer = nn.Embedding([3, 2], 4)
    params, state = layer.init(0, 2, backend=backend, dtype=widest(backend))
    x = np.asarray([[2.0, 0.0], [np.nan, 2.0], [-1.0, np.inf], [1e9, 1.4]])
    y, pullback = vjp(
        lambda p: layer.apply(nn.Variables(p, state), backend.asarray(x, dtype=widest(backend))), params
    )
    table, found = host(params["weight"]), host(y)
    want = np.zeros((4, 8))
    want[0, :4], want[0, 4:], want[3, 4:] = table[2], table[3], table[4]
    np.testing.assert_array_equal(found, want.astype(found.dtype))
    (pulled,) = pullback(y * 0 + 1)
    np.testing.assert_array_equal(host(pulled["weight"]), [[0] * 4] * 2 + [[1] * 4] * 3)


def test_many_rows_of_one_code_add_up(backend: Backend) -> None:
    layer, codes = nn.Embedding([40], 3), (np.arange(5000) ** 2 % 37)[:, None]
    params, state = layer.init(0, 1, backend=backend, dtype=widest(backend))
    x = backend.asarray(codes.astype(float), dtype=widest(backend))
    _, pullback = vjp(lambda p: layer.apply(nn.Variables(p, state), x), params)
    u = draw(4, (5000, 3))
    (pulled,) = pullback(backend.asarray(u, dtype=widest(backend)))
    want = np.zeros((40, 3))
    np.add.at(want, codes[:, 0], u)
    assert relative_error(pulled["weight"], want) < 100 * tolerance(widest(backend))


@pytest.mark.parametrize(
    ("run", "error", "said"),
    [
        (lambda: nn.quantile_edges(np.ones((3, 1))), DataError, "different numbers .* found 1.0 alone"),
        (lambda: nn.quantile_edges(np.asarray([[np.nan]])), DataError, "finite"),
        (lambda: nn.quantile_edges(np.ones(3)), DataError, r"found shape \(3,\)"),
        (lambda: nn.PiecewiseLinearEmbedding([[1.0, 0.5]], 3), ConfigError, "input 0, found .1.0, 0.5"),
        (lambda: nn.PiecewiseLinearEmbedding([[1.0]], 3), ConfigError, "at least two"),
        (lambda: nn.PiecewiseLinearEmbedding([1.0], 3), ConfigError, "list of numbers for each"),
        (lambda: nn.PiecewiseLinearEmbedding([[0, 1]], 3).init(0, 2), ConfigError, "rows of 1 .*found 2"),
        (lambda: nn.PeriodicEmbedding(1), ConfigError, "size: .*at least 2, found 1"),
        (lambda: nn.PeriodicEmbedding(std=0), ConfigError, "std: .*found 0"),
        (lambda: nn.Embedding(3), ConfigError, "a list with a number for each column, found 3"),
        (lambda: nn.Embedding([0]), ConfigError, "found 0"),
        (lambda: nn.Embedding([2**23, 1]), ConfigError, "at most 8,388,608 codes in all"),
        (lambda: nn.Embedding([2]).init(0, 3), ConfigError, r"rows of 1 codes.*\(3,\)"),
        (lambda: nn.Columns(), ConfigError, "found none"),
        (lambda: nn.Columns(a=nn.ReLU()), ConfigError, "a: expected a pair"),
        (lambda: nn.Columns(a=(0, nn.ReLU())), ConfigError, "at least 1, found 0"),
        (lambda: nn.Columns(a=([], nn.ReLU())), ConfigError, "found none"),
        (lambda: nn.Columns(a=(1, nn.ReLU()), b=([1], nn.ReLU())), ConfigError, "or lists in all"),
        (lambda: nn.Columns(a=(1, nn.ReLU())).init(0, 3), ConfigError, r"no part for the columns .1, 2"),
        (lambda: nn.Columns(a=([0, 3], nn.ReLU())).init(0, 2), ConfigError, r"columns .1."),
        (lambda: nn.Columns(a=(3, nn.ReLU())).init(0, 2), ConfigError, "parts for 3"),
        (lambda: nn.Columns(**{"a.b": (3, nn.ReLU())}), ConfigError, "found 'a.b'"),
        (lambda: nn.Residual(nn.Dense(2)).init(0, 3), ConfigError, r"\(3,\), found outputs \(2,\)"),
    ],
)
def test_bad_input_is_refused(run: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        run()
