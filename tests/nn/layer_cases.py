"""The table of layers under test, with what PyTorch calls them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.support import draw
from xpnet import nn, rng
from xpnet.backends import Backend
from xpnet.nn import Variables
from xpnet.parameters import Parameters
from xpnet.schedules import FlatCosine

__all__ = ["BATCH", "CASES", "CHAIN", "FEATURES", "Case", "chained", "variables_on", "with_head"]

BATCH, FEATURES = 6, 4


@dataclass(frozen=True, eq=False)
class Case:
    """A layer.

    Attributes:
        name: of its class.
        layer: the layer.
        torch: makes PyTorch's layer: ``torch(torch.nn) -> module``; None where it has none.
        smooth: the second derivative exists.
        label: tells apart the cases of one class.
    """

    name: str
    layer: nn.Layer
    torch: Callable[[Any], Any] | None
    label: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.label}"


def _module(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Callable[[Any], Any]:
    """Return what makes a module of a function of ``functional``, x and parameters of these shapes."""

    def make(t: Any) -> Any:
        import torch

        class Module(t.Module):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                for i, shape in enumerate(shapes):  # matrices are transposed, as those of Linear
                    setattr(
                        self, f"p{i}", t.Parameter(torch.empty(shape[::-1] if len(shape) == 2 else shape))
                    )

            def forward(self, x: Any) -> Any:
                return function(t.functional, x, *(p.T if p.ndim == 2 else p for p in self.parameters()))

        return Module()

    return make


def _periodic(f: Any, x: Any, frequency: Any, phase: Any, weight: Any, bias: Any) -> Any:
    import torch

    waves = torch.cos(2 * torch.pi * torch.einsum("bn,nk->bnk", x, frequency) + phase)
    return torch.cat([(torch.einsum("bnk,nkm->bnm", waves, weight) + bias).flatten(1), x], 1)


EDGES = ((-1.0, -0.25, 0.5, 1.25), (-2.0, 0.1), (-0.7, 0.0, 0.4), (-0.9, -0.5, 0.2, 0.6))


def _piecewise(f: Any, x: Any, slope: Any, bias: Any, weight: Any) -> Any:
    """Of each number the bins are filled one after another, the outer ones without end."""
    import torch

    outputs = []
    for n, edges in enumerate(EDGES):
        z = x[:, n : n + 1]
        y, last = z * slope[n] + bias[n], len(edges) - 2
        for i, (left, right) in enumerate(itertools.pairwise(edges)):
            low = -torch.inf if i == 0 else left
            high = torch.inf if i == last else right
            share = (z.clamp(low, high) - left) / (right - left)
            y = y + share * weight[n, -1 if i == last else i]
        outputs.append(y)
    return torch.cat(outputs, 1)


CODES = (1, 2, 3, 2)


def _looked_up(f: Any, x: Any, weight: Any, counts: tuple[int, ...] = CODES) -> Any:
    """Inputs are rounded to codes; what is no code gives zeros."""
    import torch

    outputs, first = [], 0
    for n, count in enumerate(counts):
        code = torch.floor(x[:, n].detach() + 0.5).long()
        known = (code >= 0) & (code < count)
        outputs.append(f.embedding(first + code.clamp(0, count - 1), weight) * known[:, None])
        first += count
    return torch.cat(outputs, 1) + 0 * x[:, :1]


def _side_by_side(
    f: Any, x: Any, frequency: Any, phase: Any, weight: Any, bias: Any, scale: Any, table: Any
) -> Any:
    import torch

    waves = _periodic(f, x[:, [2]], frequency, phase, weight, bias)
    return torch.cat([waves, x[:, [0, 1]] * scale, _looked_up(f, x[:, [3, 0]], table, (3, 2))], 1)


def _batch_ensembles(f: Any, x: Any, w: Any, r: Any, s: Any, b: Any, v: Any, p: Any, q: Any, c: Any) -> Any:
    """Member by member."""
    import torch

    outputs = []
    for i in range(3):
        h = ((x * r[i]) @ w) * s[i] + b[i]
        outputs.append(((h * p[i]) @ v) * q[i] + c[i])
    return torch.stack(outputs, 1)


def _ensemble_dense(f: Any, x: Any, w: Any, b: Any, v: Any, c: Any) -> Any:
    import torch

    return torch.stack([(x @ w[i] + b[i]).tanh() @ v[i] + c[i] for i in range(3)], 1)


def _torch_mlp(t: Any) -> Any:
    layers = [
        t.Linear(4, 5),
        t.BatchNorm1d(5),
        t.Tanh(),
        t.Linear(5, 3),
        t.BatchNorm1d(3),
        t.ReLU(),
        t.Linear(3, 2),
    ]
    return t.Sequential(*layers)


CASES = [
    Case("Dense", nn.Dense(3, bias_init="uniform"), lambda t: t.Linear(FEATURES, 3)),
    Case("Dense", nn.Dense(1, bias=False), lambda t: t.Linear(FEATURES, 1, bias=False), "-no-bias"),
    Case(
        "Dense",
        nn.Dense(3, bias_init="uniform", parametrization="ntk"),
        _module(lambda f, x, w, b: x @ w / FEATURES**0.5 + b, (FEATURES, 3), (3,)),
        "-ntk",
    ),
    Case(
        "PeriodicEmbedding",
        nn.PeriodicEmbedding(3, 5, 0.3),
        _module(_periodic, (4, 5), (4, 5), (4, 5, 2), (4, 2)),
    ),
    Case(
        "PiecewiseLinearEmbedding",
        nn.PiecewiseLinearEmbedding(EDGES, 2),
        _module(_piecewise, (4, 2), (4, 2), (4, 3, 2)),
    ),
    Case("Embedding", nn.Embedding(CODES, 3), _module(_looked_up, (8, 3))),
    Case(
        "Columns",
        nn.Columns(
            waves=([2], nn.PeriodicEmbedding(3, 5)),
            rest=([0, 1], nn.Scale()),
            codes=([3, 0], nn.Embedding([3, 2], 3)),
        ),
        _module(_side_by_side, (1, 5), (1, 5), (1, 5, 2), (1, 2), (2,), (5, 3)),
    ),
    Case(
        "Columns",
        nn.Columns(first=(1, nn.Dense(2)), rest=(3, nn.Sequential(nn.BatchNorm(), nn.Dropout(0.2)))),
        None,
        "-of-counts",
    ),
    Case(
        "BatchEnsemble",
        nn.Sequential(
            nn.BatchEnsemble(5, 3, input_init="random_signs", chunks=[1, 3]),
            nn.BatchEnsemble(2, 3, output_init="normal"),
        ),
        _module(_batch_ensembles, (4, 5), (3, 4), (3, 5), (3, 5), (5, 2), (3, 5), (3, 2), (3, 2)),
    ),
    Case(
        "EnsembleDense",
        nn.Sequential(nn.EnsembleDense(5, 3), nn.Tanh(), nn.EnsembleDense(2, 3)),
        _module(_ensemble_dense, (3, 4, 5), (3, 5), (3, 5, 2), (3, 2)),
    ),
    Case(
        "Ensemble",
        nn.Ensemble(nn.Sequential(nn.Dense(5, bias_init="uniform"), nn.Tanh(), nn.Dense(2)), 3),
        _module(_ensemble_dense, (3, 4, 5), (3, 5), (3, 5, 2), (3, 2)),
    ),
    Case(
        "Ensemble",
        nn.Ensemble(nn.Sequential(nn.Dense(3), nn.BatchNorm(), nn.Dropout(0.3)), 2),
        None,
        "-of-norms",
    ),
    Case(
        "Residual",
        nn.Residual(nn.Dense(5), nn.Tanh(), nn.Dense(4)),
        _module(lambda f, x, w, b, v, c: x + (x @ w + b).tanh() @ v + c, (4, 5), (5,), (5, 4), (4,)),
    ),
    Case("Scale", nn.Scale(), _module(lambda f, x, scale: x * scale, (FEATURES,))),
    Case(
        "ParametricActivation",
        nn.ParametricActivation("mish"),
        _module(lambda f, x, a: x + a * (f.mish(x) - x), (FEATURES,)),
    ),
    Case("ReLU", nn.ReLU(), lambda t: t.ReLU()),
    Case("LeakyReLU", nn.LeakyReLU(0.2), lambda t: t.LeakyReLU(0.2)),
    Case("ELU", nn.ELU(1.3), lambda t: t.ELU(1.3)),
    Case("SELU", nn.SELU(), lambda t: t.SELU()),
    Case("Mish", nn.Mish(), lambda t: t.Mish()),
    Case("GELU", nn.GELU(), lambda t: t.GELU()),
    Case("SiLU", nn.SiLU(), lambda t: t.SiLU()),
    Case("Softplus", nn.Softplus(), lambda t: t.Softplus(threshold=1e9)),
    Case("Sigmoid", nn.Sigmoid(), lambda t: t.Sigmoid()),
    Case("Tanh", nn.Tanh(), lambda t: t.Tanh()),
    Case("Identity", nn.Identity(), lambda t: t.Identity()),
    Case("Sign", nn.Sign(), None),
    Case("Dropout", nn.Dropout(0.4), None),
    Case("Dropout", nn.Dropout(FlatCosine(0.4, steps=20)), None, "-scheduled"),
    Case("BatchNorm", nn.BatchNorm(epsilon=1e-4, momentum=0.3), lambda t: t.BatchNorm1d(FEATURES, 1e-4, 0.3)),
    Case("LayerNorm", nn.LayerNorm(epsilon=1e-4), lambda t: t.LayerNorm(FEATURES, 1e-4)),
    Case(
        "Sequential",
        nn.Sequential(nn.Dense(5, bias_init="normal"), nn.Tanh(), nn.Dense(2)),
        lambda t: t.Sequential(t.Linear(FEATURES, 5), t.Tanh(), t.Linear(5, 2)),
    ),
    Case(
        "Sequential", nn.MLP([5, 3], 2, activation=["tanh", "relu"], batch_norm=True), _torch_mlp, "-of-MLP"
    ),
    Case(
        "Sequential",
        nn.Sequential(nn.Sequential(nn.Dense(3), nn.SiLU()), nn.LayerNorm()),
        lambda t: t.Sequential(t.Linear(FEATURES, 3), t.SiLU(), t.LayerNorm(3)),
        "-nested",
    ),
]


CHAIN = [case.layer for case in CASES if case.layer.ensemble is None]
"""Layers that make vectors: each can follow another one by way of a Dense."""


def chained(layers: Iterable[nn.Layer], outputs: int) -> nn.Sequential:
    """Return a network of layers one after another, each behind a Dense."""
    hidden = [own for layer in layers for own in (nn.Dense(FEATURES), layer)]
    return nn.Sequential(*hidden, nn.Dense(outputs))


def with_head(layer: nn.Layer, outputs: int) -> nn.Sequential:
    """Return a network of a hidden layer, the layer and a last one."""
    members = layer.ensemble
    last = nn.Dense(outputs) if members is None else nn.EnsembleDense(outputs, members)
    return nn.Sequential(nn.Dense(FEATURES), layer, last)


def variables_on(backend: Backend, layer: nn.Layer, dtype: str) -> Variables:
    """Return the layer's variables at a point where every parameter and statistic differs from its start."""
    params, state = layer.init(seed=3, input_shape=FEATURES, backend="numpy", dtype="float64")
    flat = params.flat + 0.3 * draw(8, params.flat.shape)
    moved = {name: _moved(own, index) for index, (name, own) in enumerate(state.items())}
    return Variables(
        Parameters(backend.asarray(flat, dtype=dtype), params.layout), _placed(backend, moved, dtype)
    )


def _moved(state: Any, index: int) -> Any:
    if isinstance(state, dict):
        return {name: _moved(own, index + i) for i, (name, own) in enumerate(state.items())}
    return np.asarray(state) + np.abs(draw(20 + index, np.shape(state)))


def _placed(backend: Backend, state: Any, dtype: str) -> Any:
    if isinstance(state, dict):
        return {name: _placed(backend, own, dtype) for name, own in state.items()}
    return backend.asarray(state, dtype=dtype)


KEY = rng.key(11).at_step(15)
