"""RealMLP and TabM: the networks of pytabkit and of the package tabm."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.support import draw, relative_error
from xpnet import losses, nn
from xpnet.autodiff import value_and_grad
from xpnet.errors import ConfigError
from xpnet.parameters import Parameters
from xpnet.train.members import as_rows

NUMBERS = draw(1, (20, 3), -2.0, 2.0)
CODES = np.stack([np.arange(20) % 12, np.arange(20) % 30], axis=1)
LABELS = np.arange(20) % 4


def _filled(layout: Any, named: dict[str, Any]) -> Parameters:
    """Return parameters with the values of PyTorch's."""
    assert set(layout.names) == set(named)
    flat = [named[name].detach().numpy().reshape(-1) for name in layout.names]
    return Parameters(np.concatenate(flat).astype(np.float64), layout)


def _compare(model: nn.Layer, named: dict[str, Any], x: np.ndarray, want: Any, loss: Any) -> None:
    """Compare outputs and the gradient of the mean cross-entropy with PyTorch's."""
    drawn = model.init(0, x.shape[1], backend="numpy", dtype="float64")
    params = _filled(drawn.params.layout, named)
    outputs = model.apply(nn.Variables(params, drawn.state), x)
    assert relative_error(outputs, want.detach().numpy()) < 1e-6

    def mean_loss(params: Any) -> Any:
        rows, y, _ = as_rows(model, model.apply(nn.Variables(params, drawn.state), x), LABELS, None)
        return losses.softmax_cross_entropy(rows, y)

    value, gradient = value_and_grad(mean_loss)(params)
    assert abs(float(value) - loss.item()) < 1e-6
    for name, parameter in named.items():
        assert relative_error(gradient[name].reshape(-1), parameter.grad.numpy().reshape(-1)) < 1e-6, name


def test_realmlp_is_that_of_pytabkit() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytabkit = pytest.importorskip("pytabkit.models.realmlp.model", reason="pytabkit is not installed")
    torch.manual_seed(0)
    config = pytabkit.RealMLPConfig(hidden_sizes=[16, 8], p_drop=0.0)
    other = pytabkit.RealMLP(3, [12, 30], 4, 1, config, True).double()
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter)
    clipped = NUMBERS / np.sqrt(1 + NUMBERS**2 / 9)  # as it does inside
    want = other(torch.tensor(NUMBERS)[None], torch.tensor(CODES)[None])[0]
    loss = torch.nn.functional.cross_entropy(want, torch.tensor(LABELS))
    loss.backward()
    layers = iter(other.mlp)
    named = {
        "0.numbers.frequency": other.plr_weight_1, "0.numbers.phase": other.plr_bias_1,
        "0.numbers.weight": other.plr_weight_2, "0.numbers.bias": other.plr_bias_2,
        "0.codes.weight": other.cat_emb, "1.scale": next(layers).scale,
        "2.weight": next(layers).weight, "2.bias": next(layers).bias, "3.activation": next(layers).weight,
    }  # fmt: skip
    next(layers)  # Dropout
    named |= {
        "4.weight": next(layers).weight,
        "4.bias": next(layers).bias,
        "5.activation": next(layers).weight,
    }
    next(layers)
    named |= {"6.weight": next(layers).weight, "6.bias": next(layers).bias}
    model = nn.RealMLP(4, numbers=3, cardinalities=[12, 30], hidden=[16, 8], dropout=0)
    _compare(model, named, np.concatenate([clipped, CODES], axis=1), want, loss)


@pytest.mark.parametrize("embedded", [False, True], ids=["numbers", "embedded"])
def test_tabm_is_that_of_the_package(embedded: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tabm = pytest.importorskip("tabm", reason="tabm is not installed")
    rtdl = pytest.importorskip("rtdl_num_embeddings", reason="rtdl_num_embeddings is not installed")
    torch.manual_seed(0)
    options = {"d_block": 9, "k": 5, "dropout": 0.0}
    if embedded:
        bins = rtdl.compute_bins(torch.tensor(NUMBERS), n_bins=4)
        options["num_embeddings"] = rtdl.PiecewiseLinearEmbeddings(bins, 6, activation=False, version="B")
    other = tabm.TabM.make(n_num_features=3, cat_cardinalities=[12], d_out=4, **options).double()
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter)
    want = other(torch.tensor(NUMBERS), torch.tensor(CODES[:, :1]))
    repeated = torch.tensor(LABELS).repeat_interleave(5)
    loss = torch.nn.functional.cross_entropy(want.flatten(0, 1), repeated)
    edges = [own.tolist() for own in bins] if embedded else None
    blocks = 2 if embedded else 3
    model = nn.TabM(
        4, numbers=3, one_hot=12, edges=edges, one_hot_sizes=[12], members=5, hidden=[9] * blocks,
        number_size=6, dropout=0,
    )  # fmt: skip
    named: dict[str, Any] = {}
    if embedded:
        number = other.num_module
        named["0.numbers.slope"], named["0.numbers.bias"] = number.linear0.weight, number.linear0.bias
        named["0.numbers.weight"] = number.linear.weight
    weights = []
    for i, block in enumerate(other.backbone.blocks):
        linear, own = block[0], f"{1 + 2 * i}"
        weights.append((f"{own}.weight", linear.weight))
        named[f"{own}.input_scale"], named[f"{own}.output_scale"] = linear.r, linear.s
        named[f"{own}.bias"] = linear.bias
    head = f"{1 + 2 * blocks}"
    named[f"{head}.weight"], named[f"{head}.bias"] = other.output.weight, other.output.bias
    turned = {name: torch.nn.Parameter(weight.detach().T.contiguous()) for name, weight in weights}
    x = np.concatenate([NUMBERS, CODES[:, :1] == np.arange(12)], axis=1)
    loss.backward()
    for name, weight in weights:  # stored transposed there
        turned[name].grad = weight.grad.T
    _compare(model, named | turned, x, want, loss)


def test_first_values_of_tabm() -> None:
    model = nn.TabM(
        2, numbers=2, one_hot=5, one_hot_sizes=[2, 3], cardinalities=[9], members=6, hidden=[8, 8]
    )
    params = model.init(0, 8, backend="numpy", dtype="float64").params
    signs = params["1.input_scale"]
    assert set(np.unique(signs)) == {-1.0, 1.0}
    for start, stop in ((2, 4), (4, 7), (7, 15)):
        np.testing.assert_array_equal(
            signs[:, start:stop], signs[:, start : start + 1] + np.zeros(stop - start)
        )
    assert (signs[:, 2] != signs[:, 4]).any()
    for name in ("1.output_scale", "4.input_scale", "4.output_scale"):
        np.testing.assert_array_equal(params[name], 1.0)
    for name, fan_in in (("1.weight", 15), ("1.bias", 15), ("4.weight", 8), ("7.weight", 8), ("7.bias", 8)):
        assert 0.7 * fan_in**-0.5 < np.abs(params[name]).max() < fan_in**-0.5
    np.testing.assert_array_equal(params["4.bias"], params["4.bias"][:1] + np.zeros((6, 1)))
    assert (params["7.bias"][0] != params["7.bias"][1]).all()
    embedded = nn.TabM(2, numbers=1, edges=[[0, 1, 2]], members=500, hidden=[8])
    normal = embedded.init(0, 1, backend="numpy", dtype="float64").params["1.input_scale"]
    np.testing.assert_array_equal(normal, normal[:, :1] + np.zeros(16))
    assert abs(normal[:, 0].std() - 1) < 0.1


def test_the_simple_variant_of_realmlp() -> None:
    model = nn.RealMLP(2, numbers=[2, 0], one_hot=[1], hidden=[300], simple=True, activation="mish")
    assert [type(layer).__name__ for layer in model] == ["Columns", "Scale", "Dense", "Mish", "Dense"]
    params = model.init(0, 3, backend="numpy", dtype="float64").params
    assert abs(params["2.weight"].std() - 1) < 0.1
    assert abs(params["2.bias"].std() - 1) < 0.1
    assert not params["4.weight"].any()
    assert not params["4.bias"].any()
    assert not model.needs_data


MODELS = {
    "RealMLP": lambda: nn.RealMLP(
        3, numbers=[0, 2], one_hot=[1, 3], codes=[4], cardinalities=[5], hidden=[16]
    ),
    "TabM": lambda: nn.TabM(
        3, numbers=[0, 2], one_hot=[1, 3], codes=[4], cardinalities=[5], hidden=[16], members=4,
        edges=[[-1, 0, 1], [-2, 2]], number_size=3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models_learn_and_are_stored(name: str, tmp_path: Any) -> None:
    X = np.concatenate([draw(2, (300, 4), -1.5, 1.5), np.arange(300)[:, None] % 5], axis=1)
    y = (X[:, 0] > 0).astype(int) + (X[:, 4] > 2)
    model = MODELS[name]()
    assert nn.from_config(json.loads(json.dumps(model.to_config()))) == model
    trainer = xpnet.Trainer(model, "softmax_cross_entropy", xpnet.optim.Adam(0.01), backend="numpy")
    history = trainer.fit(X[:250], y[:250], epochs=40, validation=(X[250:], y[250:]))
    assert history.rows[-1]["validation_loss"] < 0.35
    assert (trainer.predict(X[250:]) == y[250:]).mean() > 0.85
    trainer.save(tmp_path)
    again = xpnet.Trainer.load(tmp_path, backend="numpy")
    np.testing.assert_array_equal(again.predict_proba(X), trainer.predict_proba(X))


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (lambda: nn.RealMLP(2), "RealMLP: .*found no columns"),
        (lambda: nn.TabM(2, codes=[0], cardinalities=[]), "TabM: .*found 0 for 1 columns"),
        (
            lambda: nn.TabM(2, numbers=2, one_hot=3, one_hot_sizes=[2], hidden=[4]).init(0, 5),
            "5 inputs.*are 4",
        ),
        (lambda: nn.TabM(2, numbers=2, members=0), "members: .*found 0"),
        (lambda: nn.RealMLP(2, numbers=2).init(0, 5), r"no part for the columns .2, 3, 4"),
        (
            lambda: nn.RealMLP(2, numbers=np.arange(3)),
            "RealMLP: numbers: expected how many columns, or a list",
        ),
        (lambda: nn.Ensemble(nn.TabM(2, numbers=2), 2), "Ensemble: layer: expected a network of one member"),
        (lambda: nn.Ensemble("relu", 2), "Ensemble: layer: expected a network .*found 'relu'"),
        (lambda: nn.BatchEnsemble(2, 3, chunks=3), "chunks: expected a list of sizes, found 3"),
        (lambda: nn.BatchEnsemble(2, 3).init(0, (2, 4)), r"or \(3, features\), found \(2, 4\)"),
    ],
)
def test_bad_input_is_refused(run: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run()
