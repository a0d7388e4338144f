"""Functions of several array operations with rules of their own: more accurate, or much cheaper.

Each stands beside its derivative. The bodies are array code of the standard; ``xp`` is the namespace of
the arguments. :mod:`xpnet.autodiff.functions` makes them callable on any array.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.rules.batching import entrywise, entrywise_along, last_axes
from xpnet.autodiff.rules.elementwise import smooth_sigmoid
from xpnet.autodiff.rules.rule import compound, elementwise, fit, is_complex, rule
from xpnet.errors import RecordError

__all__: list[str] = []


def _of_reals(body: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``body`` such that it refuses complex arrays, which it would order or take the size of."""

    @functools.wraps(body)
    def checked(xp: Any, *args: Any, **options: Any) -> Any:
        for x in args:
            if is_complex(xp, x):
                raise RecordError(
                    f"{body.__name__.lstrip('_')}: expected real arrays, found dtype {x.dtype}; take "
                    "xp.real(x) or xp.abs(x), or write out the function of complex numbers that is meant"
                )
        return body(xp, *args, **options)

    return checked


# --- Activations -------------------------------------------------------------------------------------


@_of_reals
def _relu(xp: Any, x: Any) -> Any:
    return xp.maximum(x, 0)


# The derivative of ReLU: 1 where x > 0, else 0 (the subgradient 0 is chosen at 0).
elementwise("relu", lambda xp, _out, x: x > 0, body=_relu)


def _sigmoid(xp: Any, x: Any) -> Any:
    """1 / (1 + exp(-x)), written so that exp never overflows; of complex x too."""
    if is_complex(xp, x):
        return smooth_sigmoid(xp, x)
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x)))


def _sigmoid_slope(xp: Any, out: Any, x: Any) -> Any:
    return out * (1 - out) if is_complex(xp, x) else xp.bell(x)


elementwise("sigmoid", _sigmoid_slope, body=_sigmoid)


@_of_reals
def _softplus(xp: Any, x: Any) -> Any:
    """log(1 + exp(x)), written so that exp never overflows."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


# σ(x) = 1 - exp(-softplus(x)): smooth at 0, accurate far out on both sides.
elementwise("softplus", lambda xp, out, _x: -xp.expm1(-out), body=_softplus)


def _tanh_softplus(xp: Any, x: Any) -> tuple[Any, Any, Any, Any]:
    """tanh(log(1 + exp(x))) = a / b, and the p and q with exp(x) = p / q that are at most 1."""
    p, q = xp.exp(xp.minimum(x, 0)), xp.exp(-xp.maximum(x, 0))
    a = p * (p + 2 * q)
    return a, a + 2 * q * q, p, q


@_of_reals
def _mish(xp: Any, x: Any) -> Any:
    """x tanh(log(1 + exp(x))), by two exponentials that never overflow."""
    a, b, _, _ = _tanh_softplus(xp, x)
    return x * (a / b)


def _mish_slope(xp: Any, out: Any, x: Any) -> Any:
    """t + x (1 - t²) σ(x), with t = tanh(log(1 + exp(x)))."""
    a, b, p, q = _tanh_softplus(xp, x)
    return (a + x * (4 * p * q * q * (p + q) / b)) / b


elementwise("mish", _mish_slope, body=_mish)


@_of_reals
def _erf(xp: Any, x: Any) -> Any:
    """2/√π times the integral of exp(-t²) from 0 to x."""
    return xp.erf(x)


elementwise("erf", lambda xp, _out, x: (2 / math.sqrt(math.pi)) * xp.exp(-x * x), body=_erf)


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


@_of_reals
def _logsumexp(xp: Any, x: Any) -> Any:
    """log Σ exp(x) along the last axis, shifted by the maximum so that nothing overflows."""
    top = xp.max(x, axis=-1, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0.0)
    return xp.squeeze(top, axis=-1) + xp.log(xp.sum(xp.exp(x - top), axis=-1))


def _shares(xp: Any, x: Any) -> Any:
    """exp(x) / Σ exp(x), not exp(x - out), which would enlarge what rounding did to the sum's logarithm.

    The largest entries share evenly where they are infinite, as those of ``logaddexp`` do.
    """
    top = xp.stop_gradient(xp.max(x, axis=-1, keepdims=True))  # any shift gives the same
    equal = xp.logical_and(xp.isinf(top), xp.equal(x, top))
    e = xp.exp(xp.subtract(xp.where(equal, 0.0, x), xp.where(equal, 0.0, top)))
    return e / xp.sum(e, axis=-1, keepdims=True)


rule(
    "logsumexp",
    lambda xp, g, out, x: fit(xp, xp.multiply(_column(xp, g), _shares(xp, x)), x),
    body=_logsumexp,
    batch=last_axes(1),
)


@_of_reals
def _log_softmax(xp: Any, x: Any) -> Any:
    """x - log Σ exp(x) along the last axis."""
    shifted = x - xp.max(x, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


rule(
    "log_softmax",
    lambda xp, g, out, x: xp.subtract(g, xp.multiply(xp.exp(out), xp.sum(g, axis=-1, keepdims=True))),
    body=_log_softmax,
    batch=last_axes(1),
)


@_of_reals
def _softmax(xp: Any, x: Any) -> Any:
    """exp(x) / Σ exp(x) along the last axis."""
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def _pull_softmax(xp: Any, g: Any, out: Any, x: Any) -> Any:
    weighted = xp.multiply(g, out)
    return xp.subtract(weighted, xp.multiply(out, xp.sum(weighted, axis=-1, keepdims=True)))


rule(
    "softmax",
    _pull_softmax,
    push=lambda xp, t, out, x: _pull_softmax(xp, t[0], out, x),
    body=_softmax,
    batch=last_axes(1),
)


# --- Losses on logits --------------------------------------------------------------------------------


@_of_reals
def _logistic_loss(xp: Any, logits: Any, targets: Any) -> Any:
    """-t log σ(z) - (1-t) log(1-σ(z)) = max(z, 0) - t z + log(1 + exp(-|z|)), element by element."""
    hinge = xp.subtract(xp.maximum(logits, 0), xp.multiply(logits, targets))
    return hinge + xp.log1p(xp.exp(-xp.abs(logits)))


def _logistic_slope(xp: Any, out: Any, logits: Any, targets: Any) -> Any:
    """σ(z) - t = σ(z) (1 - t) - σ(-z) t, of which nothing is lost where σ(z) rounds to a target of 1."""
    positive = xp.greater_equal(logits, 0)
    e = xp.exp(xp.where(positive, -logits, logits))
    large = xp.multiply(xp.where(positive, 1.0, e), 1 - targets)
    return xp.subtract(large, xp.multiply(xp.where(positive, e, 1.0), targets)) / (1 + e)


elementwise(
    "logistic_loss",
    _logistic_slope,
    lambda xp, _out, logits, _targets: -logits,
    body=_logistic_loss,
)


def _pull_logits(xp: Any, g: Any, out: Any, logits: Any, targets: Any, normalized: bool = False) -> Any:
    """softmax(z) Σt - t: the predicted probabilities minus the targets.

    Of a probability near its target 1, the difference is right to a rounding unit of 1, not of itself: the
    sum of the other probabilities would be, but steps of small networks on NumPy take 5 % longer by it.
    """
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
    batch=entrywise_along,
)
@_of_reals
def _cross_entropy(xp: Any, logits: Any, targets: Any, normalized: bool = False) -> Any:
    """-Σ t log softmax(z) along the last axis, for target probabilities t of the logits' shape.

    ``normalized`` says that each row of t sums to 1, as one-hot rows do, which spares the sum in derivatives.
    """
    return -xp.sum(xp.multiply(_log_softmax(xp, logits), targets), axis=-1)


rule("stop_gradient", body=lambda xp, x: x, constant=True, batch=entrywise)
