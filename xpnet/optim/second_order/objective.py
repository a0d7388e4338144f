"""Objective: a function of one flat vector, with its derivatives and counts of their evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.autodiff import ggn_vp, hvp, value_and_grad
from xpnet.autodiff.tracer import traces_of
from xpnet.backends import array_namespace
from xpnet.containers import leaves, rebuild
from xpnet.errors import ConfigError, RecordError
from xpnet.program.compiling import Compiled

__all__ = ["Objective"]


class Objective:
    """A function with its gradient and its products of matrices of second derivatives with vectors.

    All are over one flat vector, whatever container of arrays the function takes. They are compiled where
    they can be.

    Args:
        f: function of a container like ``x0``, or with ``model`` of that one's result, to a real 0-d array.
        x0: array or container of real floating arrays of one library, dtype and device.
        model: function of a container like ``x0``; the objective is then ``f(model(x))``.
        compile: as for :func:`xpnet.compile`.

    Attributes:
        size: number of entries of the vector.
        evaluations: how often the value was computed, with the gradient or alone.
        products: how often a matrix was multiplied by a vector.

    Raises:
        ConfigError: ``x0`` is not made of such arrays.
        RecordError: when evaluated: ``f`` uses a traced array that is not its argument.

    >>> import numpy as np
    >>> objective = Objective(lambda x: x["a"] @ x["a"] + x["b"], {"a": np.ones(2), "b": np.asarray(3.0)})
    >>> value, gradient = objective(objective.start)
    >>> value, gradient, objective.evaluations
    (5.0, array([2., 2., 1.]), 1)
    """

    def __init__(
        self,
        f: Callable[[Any], Any],
        x0: Any,
        *,
        model: Callable[[Any], Any] | None = None,
        compile: str = "auto",
    ):
        for what, function in (("f", f), ("model", model)):
            if not callable(function) and (what, function) != ("model", None):
                raise ConfigError(f"{what}: expected a function of x, found {function!r}; pass one")
        self._like = x0
        self.start = _flat(x0)
        self.size = int(self.start.shape[0])
        self.composed = model is not None
        self.evaluations = self.products = 0

        # Not by way of this object, which has these functions: it would be gone only with the collector.
        def value(x: Any) -> Any:
            y = f(_opened(x0, x)) if model is None else f(model(_opened(x0, x)))
            _check_closed(value.__name__, y, x)
            return y

        def outputs(x: Any) -> Any:
            return model(_opened(x0, x))  # type: ignore[misc]

        value.__name__ = getattr(f, "__name__", "f")

        def compiled(function: Callable[..., Any]) -> Compiled:
            return Compiled(function, lower=compile, freeze=False)  # all rows are constants of them

        self._value = compiled(value)
        self._value_and_grad = compiled(value_and_grad(value))
        self._hvp = compiled(lambda x, v: hvp(value, x, v))
        self._ggn_vp = compiled(lambda x, v: ggn_vp(outputs, f, x, v))

    def opened(self, x: Any) -> Any:
        """Return a container like ``x0`` around the entries of a flat vector."""
        return _opened(self._like, x)

    def __call__(self, x: Any) -> tuple[float, Any]:
        """Return the value, as a Python number, and the gradient."""
        self.evaluations += 1
        value, gradient = self._value_and_grad(x)
        return float(value), gradient

    def value(self, x: Any) -> float:
        """Return the value alone."""
        self.evaluations += 1
        return float(self._value(x))

    def hvp(self, x: Any, v: Any) -> Any:
        """Return the product of the Hessian at ``x`` with a vector."""
        self.products += 1
        return self._hvp(x, v)

    def curvature_vp(self, x: Any, v: Any) -> Any:
        """Return the product with the Gauss-Newton matrix if there is a model, else with the Hessian."""
        if not self.composed:
            return self.hvp(x, v)
        self.products += 1
        return self._ggn_vp(x, v)

    def hessian(self, x: Any) -> Any:
        """Return the Hessian, column by column, made exactly symmetric."""
        xp = array_namespace(x)
        units = xp.eye(self.size, dtype=x.dtype, device=x.device)
        columns = xp.stack([self.hvp(x, units[i, :]) for i in range(self.size)])
        return 0.5 * (columns + columns.mT)


def _check_closed(name: str, y: Any, x: Any) -> None:
    """Refuse a value that is traced where its argument is not: its derivative would be lost."""
    if not traces_of(leaves(y)) <= traces_of([x]):
        raise RecordError(
            f"{name}: expected a function of x, found that it uses a traced array from elsewhere, whose "
            "derivative would be lost; pass it in args= of minimize, or as an argument of a solver with "
            "xpnet.autodiff.implicit.minimum, or take stop_gradient of it"
        )


def _opened(like: Any, x: Any) -> Any:
    xp, found, start = array_namespace(x), [], 0
    for leaf in leaves(like):
        stop = start + math.prod(leaf.shape)
        found.append(xp.reshape(x[start:stop], leaf.shape))
        start = stop
    return rebuild(like, found)


def _flat(x0: Any) -> Any:
    """Return all entries of a container as one vector of its own."""
    arrays = leaves(x0)
    if not arrays:
        raise ConfigError(f"x0: expected an array or a container of some, found {x0!r}; pass where to start")
    for x in arrays:
        if not hasattr(x, "shape") or not hasattr(x, "dtype"):
            raise ConfigError(f"x0: expected arrays, found {x!r}; make it an array of floating numbers")
    xp = array_namespace(*arrays)
    kinds = sorted({str(x.dtype) for x in arrays})
    if len(kinds) > 1 or not xp.isdtype(arrays[0].dtype, "real floating"):
        raise ConfigError(
            f"x0: expected arrays of one real floating dtype, found {', '.join(kinds)}; convert them"
        )
    return xp.concat([xp.reshape(x, (-1,)) for x in arrays])
