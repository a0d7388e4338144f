"""The compound functions of :mod:`xpnet.autodiff.rules.compounds`, callable on any array, traced or not.

>>> import numpy as np
>>> relu(np.asarray([-1.0, 2.0]))
array([0., 2.])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet.autodiff.rules import RULES
from xpnet.autodiff.tracer import Tracer, dispatch
from xpnet.autodiff.views import viewing
from xpnet.backends import array_namespace
from xpnet.backends.lacking import extended

__all__ = [
    "affine",
    "cross_entropy",
    "embedding",
    "erf",
    "log_softmax",
    "logistic_loss",
    "logsumexp",
    "mish",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    "stop_gradient",
    "unpack",
]


def _callable(name: str) -> Callable[..., Any]:
    rule = RULES[name]

    def plain(x: Any, *args: Any, **options: Any) -> Any:
        return rule.body(extended(array_namespace(x)), x, *args, **options)  # type: ignore[misc]

    plain.__doc__ = rule.body.__doc__
    call = dispatch(rule, plain)
    return call if rule.view is None else viewing(rule, call, Tracer)


affine = _callable("affine")
cross_entropy = _callable("cross_entropy")
embedding = _callable("embedding")
erf = _callable("erf")
log_softmax = _callable("log_softmax")
logistic_loss = _callable("logistic_loss")
logsumexp = _callable("logsumexp")
mish = _callable("mish")
relu = _callable("relu")
sigmoid = _callable("sigmoid")
softmax = _callable("softmax")
softplus = _callable("softplus")
stop_gradient = _callable("stop_gradient")
unpack = _callable("unpack")
