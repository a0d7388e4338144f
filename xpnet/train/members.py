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

__all__ = ["as_rows", "combined", "outputs_of", "outputs_of_model"]


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
        weight: (batch,), or None.
    """
    if model.ensemble is None:
        return outputs, y, weight
    members = outputs.shape[1]
    rows = array_namespace(outputs).reshape(outputs, (-1, outputs.shape[2]))
    return rows, _repeated(y, members), None if weight is None else _repeated(weight, members)


def _repeated(x: Any, times: int) -> Any:
    """Return each row several times, one after another."""
    xp = array_namespace(x)
    wide = xp.broadcast_to(xp.expand_dims(x, axis=1), (x.shape[0], times, *x.shape[1:]))
    return xp.reshape(wide, (-1, *x.shape[1:]))


def combined(model: Layer, loss: Any, outputs: Any) -> Any:
    """Return the raw outputs (batch, outputs) of an ensemble whose prediction is the mean of the members'.

    That is the mean of probabilities, rates or values. Of a loss of the user's own with another link, the
    raw outputs themselves are averaged.
    """
    if model.ensemble is None:
        return outputs
    average = _AVERAGES.get(link_of(loss))
    xp = array_namespace(outputs)
    return xp.mean(outputs, axis=1) if average is None else average(outputs)


def _log_mean(logs: Any) -> Any:
    """Return the logarithm of the mean over members, of logarithms (batch, members, outputs)."""
    last = array_namespace(logs).permute_dims(logs, (0, 2, 1))
    return logsumexp(last) - math.log(logs.shape[1])


_AVERAGES: dict[Any, Callable[[Any], Any]] = {
    softmax: lambda z: _log_mean(log_softmax(z)),
    sigmoid: lambda z: _log_mean(-softplus(-z)) - _log_mean(-softplus(z)),
    exponential: _log_mean,
}


def outputs_of(model: Layer, loss: Any) -> Callable[[Variables, Any], Any]:
    """Return the function ``(variables, X) -> raw outputs`` of a model outside training."""
    if model.ensemble is None:
        return model.apply
    return functools.partial(_of_ensemble, model, loss)


def _of_ensemble(model: Layer, loss: Any, variables: Variables, X: Any) -> Any:
    return combined(model, loss, model.apply(variables, X))
