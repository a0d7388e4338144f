"""Built-in networks and targets, on the digits, with which devices are compared.

Together they have every layer that trains, every loss, clipping of both kinds, penalties, bounds of norms,
noise in the gradient, momentum and Adam.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import losses, nn, optim
from xpnet.data import digits_arrays
from xpnet.schedules import FlatCosine
from xpnet.train.trainer import Trainer

__all__ = ["NETWORKS", "Network", "digits_inputs", "digits_targets"]

_ROWS = 500


@dataclasses.dataclass(frozen=True)
class Network:
    """A network with ten outputs, and how it is trained.

    Attributes:
        name: what reports call it.
        model, optimizer: as for the trainer.
        losses: names; it is trained with the first, and takes a first step with each.
        batch_size: rows of a step; the last of an epoch has those that are left over.
        settings: other arguments of the trainer.
    """

    name: str
    model: nn.Layer
    optimizer: optim.Optimizer
    losses: tuple[str, ...]
    batch_size: int
    settings: dict[str, Any]

    def trainer(self, loss: str) -> Trainer:
        """Return a trainer with one of the losses, on NumPy."""
        return Trainer(self.model, loss, self.optimizer, backend="numpy", progress=False, **self.settings)


NETWORKS = (
    Network(
        "dropout",
        nn.Sequential(
            nn.Dense(48, weight_init="he_uniform"), nn.ReLU(), nn.Dropout(0.2),
            nn.Dense(32, bias_init="uniform"), nn.GELU(), nn.Dropout(0.1),
            nn.Dense(24), nn.LeakyReLU(), nn.Dense(10),
        ),
        optim.Adam(optim.WarmUp(optim.Cosine(0.01, steps=100), steps=4)),
        ("softmax_cross_entropy", "multiclass_hinge"),
        50,
        {"seed": 1, "clip_norm": 0.3},
    ),
    Network(
        "batch norm",
        nn.Sequential(
            nn.Dense(40, bias=False), nn.BatchNorm(), nn.Tanh(),
            nn.Dense(32), nn.Softplus(), nn.Dense(24), nn.Sigmoid(), nn.Dense(10),
        ),
        optim.SGD(0.02, momentum=0.9, nesterov=True),
        ("squared_error", "absolute_error", "huber", "poisson"),
        64,
        {"seed": 2, "l1": 1e-4, "l2": 1e-3, "max_norm": 1.0},
    ),
    Network(
        "tables",
        nn.Sequential(
            nn.Columns(
                waves=(30, nn.PeriodicEmbedding(3, 4)),
                bins=(30, nn.PiecewiseLinearEmbedding([[0.0, 0.3, 0.7, 1.0]] * 30, 2)),
                codes=(4, nn.Sequential(nn.Sign(), nn.Embedding([2] * 4, 3))),
            ),
            nn.Scale(), nn.Dense(24, parametrization="ntk", weight_init="unit_variance"),
            nn.ParametricActivation("mish"), nn.Residual(nn.Dense(24), nn.SELU()),
            nn.BatchEnsemble(16, 3, input_init="random_signs"), nn.Mish(), nn.EnsembleDense(10, 3),
        ),
        optim.AdamW(0.003),
        ("kl_divergence", "symmetric_kl"),
        50,
        {"seed": 4},
    ),
    Network(
        "layer norm",
        nn.Sequential(
            nn.Dense(40), nn.LayerNorm(), nn.SiLU(), nn.Dense(32), nn.ELU(),
            nn.Dense(24), nn.Identity(), nn.Dense(10),
        ),
        optim.RMSProp(0.002),
        ("binary_cross_entropy", "hinge"),
        50,
        {"seed": 3, "clip_value": 0.02, "gradient_noise": 1e-6, "batches": "fixed"},
    ),
    Network(
        "ensemble of RealMLP",
        nn.Ensemble(
            nn.RealMLP(
                10, numbers=range(8, 64), one_hot=range(2, 8), codes=[0, 1], cardinalities=[2, 2],
                hidden=[16, 12], dropout=FlatCosine(0.15, steps=100),
            ),
            members=2,
        ),
        optim.AdamW(optim.CosLog(0.02, steps=100), beta2=0.95, weight_decay=FlatCosine(0.02, steps=100)),
        ("softmax_cross_entropy",),
        100,
        {"seed": 4, "label_smoothing": 0.1, "learning_rate_factors": {"scale": 6.0}, "drop_last": True},
    ),
    Network(
        "TabM",
        nn.Sequential(
            *nn.TabM(10, numbers=64, edges=[[0.0, 0.3, 1.0]] * 64, members=3, hidden=[16], number_size=2),
            nn.Residual(nn.EnsembleDense(10, 3), nn.Mish()),
        ),
        optim.AdamW(0.002),
        ("squared_error",),
        100,
        {"seed": 5},
    ),
)  # fmt: skip


def digits_inputs() -> np.ndarray:
    """Return images of the digits with brightness from 0 to 1, (500, 64)."""
    return digits_arrays()[0][:_ROWS] / 16.0


def digits_targets(loss: str) -> np.ndarray:
    """Return targets of the digits for a loss with ten outputs, by the kind that the loss says.

    Classes are the digits; probabilities give the digit nine tenths and more; values and counts are
    the brightness, and the number of bright pixels, of ten parts of the image; signs and 0/1 say of each
    digit whether it is the one.
    """
    kind = losses.get(loss).targets  # type: ignore[attr-defined]
    return _shares() if loss in ("kl_divergence", "symmetric_kl") else _TARGETS[kind]()


def _labels() -> np.ndarray:
    return digits_arrays()[1][:_ROWS]


def _one_hot() -> np.ndarray:
    return np.eye(10)[_labels()]


def _parts() -> np.ndarray:
    """Return the images cut into ten parts of six pixels, (500, 10, 6)."""
    return digits_inputs()[:, 2:62].reshape(-1, 10, 6)


def _shares() -> np.ndarray:
    return 0.9 * _one_hot() + 0.1 / 10


_TARGETS: dict[str, Callable[[], np.ndarray]] = {
    "classes": _labels,
    "binary": _one_hot,
    "signs": lambda: 2.0 * _one_hot() - 1.0,
    "values": lambda: _parts().mean(axis=2),
    "counts": lambda: (_parts() > 0.5).sum(axis=2),
}
