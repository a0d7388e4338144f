"""Members of an ensemble: each has its loss, and all make one prediction."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.functions import log_softmax, logsumexp, sigmoid, softmax, softplus
from xpnet.backends import array_namespace
from xpnet.losses.registry import exponential, link_of
from xpnet.nn import Layer, Variables

__all__ = ["as_rows", "combined", "of_members", "of_rows", "outputs_of", "outputs_of_model"]


def outputs_of_model(model: Layer, input_shape: tuple[int, ...]) -> int:
    """Return how many outputs a model has, those of one member of an ensemble."""
    shape = model.output_shape(input_shape)
    return shape[0] if model.ensemble is None else shape[-1]


def as_rows(model: Layer, outputs: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
    """Return outputs, targets and weights with a row for each member, whose loss is the mean of theirs.

    Args:
        model: which need not be an ensemble.
        outputs: (batch, members, outputs) of an ensemble.
        y: targets, (batch, ...).
        weight: (batch,), or of an ensemble (batch, members), or None.
    """
    if model.ensemble is None:
        return outputs, y, weight
    members = outputs.shape[1]
    rows = array_namespace(outputs).reshape(outputs, (-1, outputs.shape[2]))
    if weight is not None and of_members(weight) is None:
        weight = array_namespace(weight).broadcast_to(weight[:, None], outputs.shape[:2])
    weight = None if weight is None else array_namespace(weight).reshape(weight, (-1,))
    return rows, _repeated(y, members), weight


def of_members(weight: Any) -> Any:
    """Return weights of rows if they are those of each member, (batch, members); else None."""
    return weight if weight is not None and len(weight.shape) == 2 else None


def of_rows(weight: Any) -> Any:
    """Return weights as one for each row, (batch,): of several members their sum."""
    return weight if of_members(weight) is None else array_namespace(weight).sum(weight, axis=1)


def _repeated(x: Any, times: int) -> Any:
    """Return each row several times, one after another."""
    xp = array_namespace(x)
    wide = xp.broadcast_to(xp.expand_dims(x, axis=1), (x.shape[0], times, *x.shape[1:]))
    return xp.reshape(wide, (-1, *x.shape[1:]))


def combined(model: Layer, loss: Any, outputs: Any, weight: Any = None) -> Any:
    """Return the raw outputs (batch, outputs) of an ensemble whose prediction is the mean of the members'.

    That is the mean of probabilities, rates or values. Of a loss of the user's own with another link, the
    raw outputs themselves are averaged.

    Args:
        model: which need not be an ensemble.
        loss: whose link tells what the outputs are.
        outputs: (batch, members, outputs) of an ensemble.
        weight: (batch, members), of each member's prediction in the mean, not all 0; None: they are equal.
    """
    if model.ensemble is None:
        return outputs
    if weight is not None:
        xp = array_namespace(weight)
        weight = xp.expand_dims(weight / xp.sum(weight, axis=1, keepdims=True), axis=-1)
    return _AVERAGES.get(link_of(loss), _mean)(outputs, weight)


def _mean(outputs: Any, share: Any) -> Any:
    """Return the mean of outputs (batch, members, outputs) over members with shares (batch, members, 1)."""
    xp = array_namespace(outputs)
    return xp.mean(outputs, axis=1) if share is None else xp.sum(outputs * share, axis=1)


def _log_mean(logs: Any, share: Any) -> Any:
    """Return the logarithm of the mean over members, of logarithms (batch, members, outputs)."""
    xp = array_namespace(logs)
    if share is None:
        return logsumexp(xp.permute_dims(logs, (0, 2, 1))) - math.log(logs.shape[1])
    counts = share > 0
    logs = xp.where(counts, logs + xp.log(xp.where(counts, share, 1.0)), -math.inf)
    return logsumexp(xp.permute_dims(logs, (0, 2, 1)))


_AVERAGES: dict[Any, Callable[[Any, Any], Any]] = {
    softmax: lambda z, share: _log_mean(log_softmax(z), share),
    sigmoid: lambda z, share: _log_mean(-softplus(-z), share) - _log_mean(-softplus(z), share),
    exponential: _log_mean,
}


def outputs_of(model: Layer, loss: Any) -> Callable[..., Any]:
    """Return the function ``(variables, X) -> raw outputs`` of a model outside training.

    That of an ensemble takes the weights of its members' predictions as well, as `combined` does.
    """
    if model.ensemble is None:
        return model.apply
    return functools.partial(_of_ensemble, model, loss)


def _of_ensemble(model: Layer, loss: Any, variables: Variables, X: Any, weight: Any = None) -> Any:
    return combined(model, loss, model.apply(variables, X), weight)
