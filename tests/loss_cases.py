"""The table of losses under test, with what PyTorch calls them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.support import draw

__all__ = [
    "BATCH",
    "BITS",
    "CASES",
    "CLASSES",
    "LABELS",
    "LOGITS",
    "ONE_HOT",
    "PROBABILITIES",
    "SIGNS",
    "VALUES",
    "Case",
]

BATCH, CLASSES = 6, 4
LABELS = np.asarray([0, 3, 1, 1, 2, 0])
ONE_HOT = np.eye(CLASSES)[LABELS]
_shares = draw(2, (BATCH, CLASSES), 0.05, 1.0)
PROBABILITIES = _shares / _shares.sum(axis=1, keepdims=True)
LOGITS = draw(1001, (BATCH, CLASSES), -2.0, 2.0)  # the seed keeps every loss 0.06 from its kinks
VALUES = draw(3, (BATCH, CLASSES), -2.0, 2.0)
SIGNS = np.where(draw(4, (BATCH, CLASSES)) > 0, 1.0, -1.0)
BITS = (SIGNS > 0).astype("int64")
COUNTS = np.asarray([0, 1, 2, 0, 5, 3])


@dataclass(frozen=True, eq=False)
class Case:
    """A loss at a point away from its kinks.

    Attributes:
        name: of the loss.
        label: tells apart the cases of one loss.
        predictions, targets: arrays on the host.
        torch: the mean loss written with torch.nn.functional: ``(torch, F, predictions, targets) -> 0-d``.
        options: of the loss.
    """

    name: str
    label: str
    predictions: np.ndarray
    targets: np.ndarray
    torch: Any
    options: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}-{self.label}"


def _rows(f: Any) -> Any:
    """Mean over the batch of the sum over outputs of an elementwise loss."""
    return lambda t, nn, p, y: f(nn, p, y).sum() / p.shape[0]


_squared = _rows(lambda nn, p, y: nn.mse_loss(p, y.reshape(p.shape), reduction="none"))
_absolute = _rows(lambda nn, p, y: nn.l1_loss(p, y, reduction="none"))
_huber = _rows(lambda nn, p, y: nn.huber_loss(p, y, reduction="none", delta=0.7))
_binary = _rows(
    lambda nn, p, y: nn.binary_cross_entropy_with_logits(p, y.to(p.dtype).reshape(p.shape), reduction="none")
)
_softmax = lambda t, nn, p, y: nn.cross_entropy(p, y)  # noqa: E731
_softmax_converted = lambda t, nn, p, y: nn.cross_entropy(  # noqa: E731
    p, y.to(p.dtype) if y.shape == p.shape else y.long().reshape(-1)
)
_hinge = lambda t, nn, p, y: t.relu(1 - p * y).sum() / p.shape[0]  # noqa: E731
_poisson = _rows(
    lambda nn, p, y: nn.poisson_nll_loss(p, y.to(p.dtype).reshape(p.shape), log_input=True, reduction="none")
)


def _crammer_singer(t: Any, nn: Any, p: Any, y: Any) -> Any:
    y = y if y.ndim == 1 else y.argmax(1)
    right = p.gather(1, y[:, None])[:, 0]
    others = p.masked_fill(nn.one_hot(y, p.shape[1]).bool(), -float("inf"))
    return t.relu(1 + others.max(dim=1).values - right).mean()


def _divergence(t: Any, nn: Any, p: Any, y: Any) -> Any:
    return nn.kl_div(nn.log_softmax(p, -1), y, reduction="batchmean")


def _both_divergences(t: Any, nn: Any, p: Any, y: Any) -> Any:
    log_q = nn.log_softmax(p, -1)
    return _divergence(t, nn, p, y) + nn.kl_div(y.log(), log_q, reduction="batchmean", log_target=True)


CASES = [
    Case("squared_error", "outputs", LOGITS, VALUES, _squared),
    Case("squared_error", "vector", LOGITS[:, 0], VALUES[:, 0], _squared),
    Case("squared_error", "column-against-vector", LOGITS[:, :1], VALUES[:, 0], _squared),
    Case("squared_error", "vector-against-column", LOGITS[:, 0], VALUES[:, :1], _squared),
    Case("squared_error", "one-row", LOGITS[:1], VALUES[:1], _squared),
    Case("absolute_error", "outputs", LOGITS, VALUES, _absolute),
    Case("huber", "outputs", LOGITS, VALUES, _huber, {"delta": 0.7}),
    Case("binary_cross_entropy", "bits", LOGITS[:, 0], BITS[:, 0], _binary),
    Case("binary_cross_entropy", "booleans", LOGITS[:, 0], BITS[:, 0] == 1, _binary),
    Case("binary_cross_entropy", "probabilities", LOGITS[:, :1], PROBABILITIES[:, 0], _binary),
    Case("binary_cross_entropy", "several-labels", LOGITS, BITS, _binary),
    Case("softmax_cross_entropy", "indices", LOGITS, LABELS, _softmax),
    Case("softmax_cross_entropy", "index-column", LOGITS, LABELS[:, None], _softmax_converted),
    Case("softmax_cross_entropy", "narrow-indices", LOGITS, LABELS.astype("int8"), _softmax_converted),
    Case("softmax_cross_entropy", "one-hot", LOGITS, ONE_HOT, _softmax),
    Case("softmax_cross_entropy", "whole-one-hot", LOGITS, ONE_HOT.astype("int32"), _softmax_converted),
    Case("softmax_cross_entropy", "probabilities", LOGITS, PROBABILITIES, _softmax),
    Case("hinge", "vector", LOGITS[:, 0], SIGNS[:, 0], _hinge),
    Case("hinge", "several-outputs", LOGITS, SIGNS.astype("int64"), _hinge),
    Case("multiclass_hinge", "indices", LOGITS, LABELS, _crammer_singer),
    Case("multiclass_hinge", "one-hot", LOGITS, ONE_HOT, _crammer_singer),
    Case("kl_divergence", "probabilities", LOGITS, PROBABILITIES, _divergence),
    Case("kl_divergence", "indices", LOGITS, LABELS, _softmax),
    Case("symmetric_kl", "probabilities", LOGITS, PROBABILITIES, _both_divergences),
    Case("poisson", "vector", LOGITS[:, 0], COUNTS, _poisson),
    Case("poisson", "column", LOGITS[:, :1], COUNTS, _poisson),
]  # fmt: skip
