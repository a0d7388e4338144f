"""Functions of several array operations with rules of their own: more accurate, or much cheaper.

Each stands beside its derivative. The bodies are array code of the standard; ``xp`` is the namespace of
the arguments. :mod:`xpnet.autodiff.functions` makes them callable on any array.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from xpnet.autodiff.rules.rule import compound, elementwise, fit, rule

__all__: list[str] = []


# --- Activations -------------------------------------------------------------------------------------


def _relu(xp: Any, x: Any) -> Any:
    return xp.maximum(x, 0)


# The derivative of ReLU: 1 where x > 0, else 0 (the subgradient 0 is chosen at 0).
elementwise("relu", lambda xp, out, x: x > 0, body=_relu)


def _sigmoid(xp: Any, x: Any) -> Any:
    """1 / (1 + exp(-x)), written so that exp never overflows."""
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x)))


elementwise("sigmoid", lambda xp, out, x: out * (1 - out), body=_sigmoid)


def _softplus(xp: Any, x: Any) -> Any:
    """log(1 + exp(x)), written so that exp never overflows."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


# σ(x) = 1 - exp(-softplus(x)): smooth at 0, accurate far out on both sides.
elementwise("softplus", lambda xp, out, x: -xp.expm1(-out), body=_softplus)
elementwise(
    "erf",
    lambda xp, out, x: (2 / math.sqrt(math.pi)) * xp.exp(-x * x),
    body=lambda xp, x: xp.erf(x),
)


# --- Affine maps -------------------------------------------------------------------------------------


def _push_affine(xp: Any, tangents: list[Any], out: Any, x: Any, weight: Any, bias: Any) -> Any:
    """dY = dX W + X dW + db."""
    dx, dweight, dbias = tangents
    parts = [
        None if dx is None else xp.matmul(dx, weight),
        None if dweight is None else xp.matmul(x, dweight),
        None if dbias is None else xp.broadcast_to(dbias, out.shape),
    ]
    present = [part for part in parts if part is not None]
    return functools.reduce(xp.add, present)


@compound(
    "affine",
    lambda xp, g, out, x, weight, bias: xp.matmul(g, xp.matrix_transpose(weight)),  # dX = dY Wᵀ
    lambda xp, g, out, x, weight, bias: xp.matmul(xp.matrix_transpose(x), g),  # dW = Xᵀ dY
    lambda xp, g, out, x, weight, bias: xp.sum(g, axis=0),  # db = Σ dY
    push=_push_affine,
)
def _affine(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    """Y = X W + b; x: (batch, in_features), weight: (in_features, out_features), bias: (out_features,)."""
    return xp.add(xp.matmul(x, weight), bias)


# --- Softmax and its relatives, along the last axis --------------------------------------------------


def _column(xp: Any, rows: Any) -> Any:
    """Return (...,) as (..., 1)."""
    return xp.reshape(rows, (*rows.shape, 1))


def _logsumexp(xp: Any, x: Any) -> Any:
    """log Σ exp(x) along the last axis, shifted by the maximum so that nothing overflows."""
    top = xp.max(x, axis=-1, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0.0)
    return xp.squeeze(top, axis=-1) + xp.log(xp.sum(xp.exp(x - top), axis=-1))


rule(
    "logsumexp",
    lambda xp, g, out, x: xp.multiply(_column(xp, g), xp.exp(x - _column(xp, out))),
    body=_logsumexp,
)


def _log_softmax(xp: Any, x: Any) -> Any:
    """x - log Σ exp(x) along the last axis."""
    shifted = x - xp.max(x, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


rule(
    "log_softmax",
    lambda xp, g, out, x: xp.subtract(g, xp.multiply(xp.exp(out), xp.sum(g, axis=-1, keepdims=True))),
    body=_log_softmax,
)


def _softmax(xp: Any, x: Any) -> Any:
    """exp(x) / Σ exp(x) along the last axis."""
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def _pull_softmax(xp: Any, g: Any, out: Any, x: Any) -> Any:
    weighted = xp.multiply(g, out)
    return xp.subtract(weighted, xp.multiply(out, xp.sum(weighted, axis=-1, keepdims=True)))


rule("softmax", _pull_softmax, push=lambda xp, t, out, x: _pull_softmax(xp, t[0], out, x), body=_softmax)


# --- Losses on logits --------------------------------------------------------------------------------


def _logistic_loss(xp: Any, logits: Any, targets: Any) -> Any:
    """-t log σ(z) - (1-t) log(1-σ(z)) = max(z, 0) - t z + log(1 + exp(-|z|)), element by element."""
    hinge = xp.subtract(xp.maximum(logits, 0), xp.multiply(logits, targets))
    return hinge + xp.log1p(xp.exp(-xp.abs(logits)))


def _smooth_sigmoid(xp: Any, x: Any) -> Any:
    """The sigmoid without kinks in its parts, so that it can be traced to any order also at 0."""
    positive = xp.greater_equal(x, 0)
    e = xp.exp(xp.where(positive, -x, x))
    return xp.where(positive, 1.0, e) / (1 + e)


elementwise(
    "logistic_loss",
    lambda xp, out, logits, targets: xp.subtract(_smooth_sigmoid(xp, logits), targets),  # σ(z) - t
    lambda xp, out, logits, targets: -logits,
    body=_logistic_loss,
)


def _pull_logits(xp: Any, g: Any, out: Any, logits: Any, targets: Any, normalized: bool = False) -> Any:
    """softmax(z) Σt - t: the predicted probabilities minus the targets."""
    predicted = _softmax(xp, logits)
    if not normalized:
        predicted = xp.multiply(predicted, xp.sum(targets, axis=-1, keepdims=True))
    slope = xp.subtract(predicted, targets)
    return fit(xp, xp.multiply(_column(xp, g), slope), logits)


@compound(
    "cross_entropy",
    _pull_logits,
    lambda xp, g, out, logits, targets, normalized=False: fit(
        xp, xp.multiply(_column(xp, -g), _log_softmax(xp, logits)), targets
    ),
)
def _cross_entropy(xp: Any, logits: Any, targets: Any, normalized: bool = False) -> Any:
    """-Σ t log softmax(z) along the last axis, for target probabilities t of the logits' shape.

    ``normalized`` says that each row of t sums to 1, as one-hot rows do, which spares the sum in derivatives.
    """
    return -xp.sum(xp.multiply(_log_softmax(xp, logits), targets), axis=-1)


rule("stop_gradient", body=lambda xp, x: x, constant=True)
