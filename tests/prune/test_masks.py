"""Masks: which weights are pruned, how many, and the same on every backend."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.support import draw, host
from xpnet import nn, prune
from xpnet.errors import ConfigError
from xpnet.parameters import Layout, Parameters
from xpnet.prune import count_weights, magnitude_mask, sparsity_of

LAYOUT = Layout(
    (("0.weight", (5, 7)), ("0.bias", (7,)), ("1.scale", (7,)), ("1.shift", (7,)), ("2.weight", (7, 3)))
)
SIZES = {"0.weight": 35, "2.weight": 21}


def parameters(seed: int = 0) -> Parameters:
    return Parameters(np.array(draw(seed, (LAYOUT.size,)), dtype="float32"), LAYOUT)


def left_out(mask, name: str) -> int:
    return int(np.sum(host(Parameters(mask, LAYOUT)[name]) == 0))


@pytest.mark.parametrize("sparsity", [0, 0.1, 0.33, 0.5, 0.9, 0.999])
def test_counts_are_exact(sparsity):
    mask = magnitude_mask(parameters(), sparsity)
    assert left_out(mask, "0.weight") + left_out(mask, "2.weight") == round(sparsity * 56)
    mask = magnitude_mask(parameters(), sparsity, "layer")
    for name, size in SIZES.items():
        assert left_out(mask, name) == round(sparsity * size)


@pytest.mark.parametrize("scope", ["normalized", "global", "layer"])
def test_every_backend_has_the_same_mask(backend, scope):
    want = magnitude_mask(parameters(), 0.6, scope)
    params = Parameters(backend.asarray(parameters().flat), LAYOUT)
    mask = magnitude_mask(params, 0.6, scope)
    assert mask.dtype == params.flat.dtype
    np.testing.assert_array_equal(host(mask), want)
    assert count_weights(Parameters(mask * params.flat, LAYOUT)) == (int(want.sum()) - 21, 56)


def test_the_smallest_weights_go():
    params = parameters(1)
    for scope, groups in {"global": [list(SIZES)], "layer": [[name] for name in SIZES]}.items():
        mask = Parameters(magnitude_mask(params, 0.4, scope), LAYOUT)
        for names in groups:
            sizes = np.concatenate([np.abs(params[name]).ravel() for name in names])
            kept = np.concatenate([mask[name].ravel() for name in names]) == 1
            assert sizes[kept].min() > sizes[~kept].max()


def test_the_size_of_a_matrix_does_not_count():
    flat = parameters(1).flat
    rescaled = np.array(flat)
    rescaled[:35] *= 1000  # what a ReLU network does not notice if the next layer is divided by it
    rescaled[-21:] /= 1000
    masks = {scope: [magnitude_mask(Parameters(x, LAYOUT), 0.7, scope) for x in (flat, rescaled)]
             for scope in ("normalized", "global")}  # fmt: skip
    np.testing.assert_array_equal(*masks["normalized"])
    assert left_out(masks["global"][1], "2.weight") == 21
    sizes = {name: np.abs(parameters(1)[name]).ravel() for name in SIZES}
    scores = np.concatenate([x / np.sqrt(np.mean(x**2)) for x in sizes.values()])
    kept = np.concatenate([Parameters(masks["normalized"][0], LAYOUT)[name].ravel() for name in SIZES]) == 1
    assert scores[kept].min() > scores[~kept].max()


@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.98, 0.9999])
@pytest.mark.parametrize("scope", ["normalized", "global", "layer"])
def test_units_stay_connected(scope, sparsity):
    model = nn.MLP([30, 20], 4, batch_norm=True)
    variables = model.init(0, 10, "numpy")
    params = variables.params
    mask = Parameters(magnitude_mask(params, sparsity, scope, model=model), params.layout)
    kept = [mask[name] == 1 for name in mask if name.endswith("weight")]
    assert np.all(np.linalg.multi_dot([matrix.astype(float) for matrix in kept]).sum(axis=0) >= 2)
    count = sum(int(matrix.sum()) for matrix in kept)
    if scope != "layer":
        for first, second in itertools.pairwise(kept):
            np.testing.assert_array_equal(first.any(axis=0), second.any(axis=1))
        if sparsity < 0.98:
            assert count == 980 - round(sparsity * 980)  # what dead ends have cost goes to others
    if sparsity > 0.99:
        assert count <= 4 * 2 * 3  # the paths alone


def test_biases_and_scales_are_never_pruned():
    params = Parameters(np.where(np.arange(LAYOUT.size) < 35, 1.0, 1e-6), LAYOUT)
    mask = Parameters(magnitude_mask(params, 0.9), LAYOUT)
    for name in ("0.bias", "1.scale", "1.shift"):
        assert np.all(mask[name] == 1)


def test_of_equal_weights_the_first_go(backend):
    params = Parameters(backend.asarray(np.full(LAYOUT.size, -0.5, dtype="float32")), LAYOUT)
    mask = host(magnitude_mask(params, 0.25))
    np.testing.assert_array_equal(np.flatnonzero(mask == 0), np.arange(14))


def test_pruned_weights_stay_pruned():
    params = parameters()
    for sparsity in (0.3, 0.5, 0.5, 0.8):
        mask = magnitude_mask(params, sparsity)
        assert np.all(params.flat[mask == 1] != 0)
        params = Parameters(params.flat * mask, LAYOUT)
        assert sparsity_of(params) == 1 - (56 - round(sparsity * 56)) / 56
    np.testing.assert_array_equal(magnitude_mask(params, 0.1), mask)  # what is 0 is no weight to keep


def test_variables_are_taken_as_well():
    variables = nn.MLP([6], 2).init(0, 3, "numpy")
    np.testing.assert_array_equal(magnitude_mask(variables, 0.5), magnitude_mask(variables.params, 0.5))
    assert sparsity_of(variables) == 0


@pytest.mark.parametrize("amount", [0.2, 0.5, 0.93])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_torch_has_the_same_masks(scope, amount):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference here")
    from torch.nn.utils import prune as reference

    params = parameters(7)
    layers = {}
    for name in SIZES:
        rows, columns = params[name].shape
        layers[name] = torch.nn.Linear(rows, columns)
        layers[name].weight = torch.nn.Parameter(torch.tensor(params[name].T.copy()))
    if scope == "global":
        reference.global_unstructured(
            [(layer, "weight") for layer in layers.values()],
            pruning_method=reference.L1Unstructured,
            amount=amount,
        )
    else:
        for layer in layers.values():
            reference.l1_unstructured(layer, "weight", amount=amount)
    mask = Parameters(magnitude_mask(params, amount, scope), LAYOUT)
    for name, layer in layers.items():
        np.testing.assert_array_equal(mask[name], layer.weight_mask.numpy().T)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, "sparsity: expected a number of at least 0 and below 1, found 1.0"),
        ({"sparsity": 90}, "found 90"),
        ({"sparsity": -0.1}, "found -0.1"),
        ({"sparsity": float("nan")}, "found nan"),
        (
            {"sparsity": 0.5, "scope": "unit"},
            "scope: expected 'normalized' or 'global' or 'layer', found 'unit'",
        ),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ConfigError, match=message):
        magnitude_mask(parameters(), **options)


def test_a_model_without_weights():
    layout = Layout((("scale", (3,)), ("shift", (3,))))
    with pytest.raises(ConfigError, match="expected a model with weights"):
        magnitude_mask(Parameters(np.ones(6), layout), 0.5)


@pytest.mark.parametrize("name", prune.SCHEDULES)
def test_schedules_rise_from_the_first_to_the_last_sparsity(name):
    schedule = prune.SCHEDULES[name]
    values = [schedule(0.2, 0.9, share) for share in np.linspace(0, 1, 11)]
    assert values[0] == pytest.approx(0.2)
    assert values[-1] == pytest.approx(0.9)
    assert np.all(np.diff(values) > 0)


def test_schedules_are_the_papers():
    # Zhu and Gupta 2017, equation 1; Frankle and Carbin 2019: 20 % of what is left, each round
    assert prune.SCHEDULES["cubic"](0.0, 0.8, 0.25) == pytest.approx(0.8 - 0.8 * 0.75**3)
    left = [1 - prune.SCHEDULES["geometric"](0.0, 1 - 0.8**5, k / 5) for k in range(6)]
    np.testing.assert_allclose(left, 0.8 ** np.arange(6))
    assert prune.SCHEDULES["linear"](0.0, 0.8, 0.25) == pytest.approx(0.2)
