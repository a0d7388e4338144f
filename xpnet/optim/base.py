"""The base class of first-order optimizers: everything but the rule itself.

An optimizer is a *rule* for one array and the names of the *slots*, the arrays it keeps for each
parameter array. Walking through containers, counting steps, the learning rate of the step, checks
and configuration are here, once for all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from xpnet.backends import array_namespace
from xpnet.configured import Configured
from xpnet.containers import leaves, rebuild
from xpnet.errors import ConfigError
from xpnet.schedules import value_at

__all__ = ["OPTIMIZERS", "Optimizer"]

OPTIMIZERS: dict[str, type[Optimizer]] = {}
"""Every named optimizer: name -> class."""


class Optimizer(Configured, ABC):
    r"""Base class of first-order optimizers: $(g, s, \theta) \mapsto (\theta, s)$, pure functions.

    A new optimizer is a frozen dataclass of hyperparameters with ``slots`` and ``rule``:

    >>> from dataclasses import dataclass, field
    >>> import numpy as np
    >>> from xpnet.optim import Optimizer
    >>> from xpnet.configured import POSITIVE
    >>> @dataclass(frozen=True)
    ... class SignDescent(Optimizer):
    ...     learning_rate: float = field(default=0.5, metadata=POSITIVE)
    ...     slots = ()
    ...     def rule(self, g, slots, p, learning_rate, step):
    ...         return p - learning_rate * array_namespace(g).sign(g), ()
    >>> optimizer = SignDescent()
    >>> params = {"w": np.asarray([1.0, 2.0])}
    >>> state = optimizer.init(params)
    >>> params, state = optimizer.update({"w": np.asarray([0.1, -9.0])}, state, params)
    >>> params, state
    ({'w': array([0.5, 2.5])}, {'step': 1})

    Given ``name="..."`` (``class SignDescent(Optimizer, name="sign")``) it can also be had by name.

    Parameters, gradients and slots are containers (`xpnet.containers`) of arrays of any Array API
    library. Hyperparameters enter as Python scalars, so that float32 parameters stay float32.
    """

    family, example = "optimizer", "an Optimizer object such as Adam()"
    known = OPTIMIZERS
    learning_rate: Any
    slots: ClassVar[Sequence[str]]

    @abstractmethod
    def rule(self, g: Any, slots: Sequence[Any], p: Any, *scalars: Any) -> tuple[Any, Sequence[Any]]:
        """Return ``(new p, new slots)`` for one parameter array; nothing given is modified.

        Args:
            g: gradient, of the shape and dtype of ``p``.
            slots: the arrays named by ``self.slots``, in that order, each shaped like ``p``.
            p: parameters.
            *scalars: what `scalars` returned for this step: by default ``learning_rate`` and ``step``.
                Python numbers, or 0-d arrays of the dtype of ``p`` where steps are compiled, so a rule uses
                operators on them and neither ``math`` functions nor ``if``.
        """

    def scalars(self, learning_rate: float, step: int) -> tuple[float, ...]:
        """Return the numbers of a step, counted from 1, that `rule` is given: computed on the host.

        What depends on the step alone, such as Adam's powers of β, is computed here in double precision.
        """
        return learning_rate, step

    def vectors(self, scalars: Sequence[Any], rates: Any, decays: Any) -> tuple[Any, ...]:
        """Return what `rule` is given where groups of parameters have learning rates of their own.

        An optimizer with `scalars` of its own has `vectors` of its own, or it takes no groups.

        Args:
            scalars: those of the step.
            rates: factors of the learning rate, a vector like the parameters.
            decays: factors of what decays in a step, those of rate and of weight decay multiplied.
        """
        learning_rate, step = scalars
        return learning_rate * rates, step

    @property
    def takes_groups(self) -> bool:
        """Whether groups of parameters can have learning rates of their own: see `vectors`."""
        scalars, vectors = (
            next(place for place, kind in enumerate(type(self).__mro__) if name in vars(kind))
            for name in ("scalars", "vectors")
        )
        return self.by_rule and vectors <= scalars  # not those of a class above, for other scalars

    @property
    def by_rule(self) -> bool:
        """Whether the update is the rule, as nearly always, and no method of its own."""
        kind = type(self)
        return kind.update is Optimizer.update and kind.init is Optimizer.init

    def init(self, params: Any) -> dict[str, Any]:
        """Return the state before the first step: ``{"step": 0, slot: container of zeros like params}``."""
        arrays = leaves(params)
        state: dict[str, Any] = {"step": 0}
        for name in self.slots:
            state[name] = rebuild(params, [array_namespace(p).zeros_like(p) for p in arrays])
        return state

    def update(self, grads: Any, state: dict[str, Any], params: Any) -> tuple[Any, dict[str, Any]]:
        """Return ``(params, state)`` after one step; the arguments are not modified.

        Args:
            grads: container like ``params``; None in place of an array leaves that parameter alone.
            state: what `init` or the previous `update` returned.
            params: container of arrays.

        Raises:
            ConfigError: containers or shapes do not fit, or a schedule gave no usable rate.
        """
        names, arrays = self.slots, leaves(params)
        try:
            step = state["step"] + 1
            columns = [_like(params, arrays, state[name], name) for name in names]
        except KeyError as missing:
            raise ConfigError(
                f"{type(self).__name__}: the state has no {missing}, found {sorted(state)}; "
                "pass the state made by init() of the same optimizer"
            ) from None
        scalars = self.scalars(self.learning_rate_at(step), step)
        rows: list[tuple[Any, Sequence[Any]]] = []
        for p, g, *slots in zip(arrays, _like(params, arrays, grads, "grads"), *columns, strict=True):
            if g is None:
                rows.append((p, slots))
                continue
            if g.dtype != p.dtype:
                g = array_namespace(g).astype(g, p.dtype)
            for array in (g, *slots):
                if array.shape != p.shape:
                    raise ConfigError(
                        f"{type(self).__name__}: parameters of shape {tuple(p.shape)} met a gradient or "
                        f"state of shape {tuple(array.shape)}; take gradient and state of these same "
                        "parameters"
                    )
            rows.append(self.rule(g, slots, p, *scalars))
        after: dict[str, Any] = {"step": step}
        for i, name in enumerate(names):
            after[name] = rebuild(params, [slots[i] for _, slots in rows])
        return rebuild(params, [p for p, _ in rows]), after

    def learning_rate_at(self, step: Any) -> Any:
        """Return the learning rate of step ``step`` (counted from 1).

        >>> from xpnet.optim import SGD, Inverse
        >>> SGD(Inverse(0.5)).learning_rate_at(10)
        0.05

        Raises:
            ConfigError: a schedule gave a negative, infinite or NaN rate.
        """
        expected = "finite learning rate of at least 0"
        return value_at(type(self).__name__, self.learning_rate, step, expected)


def _like(params: Any, arrays: list[Any], other: Any, what: str) -> list[Any]:
    """Return the leaves of ``other`` in the order of ``arrays``, those of ``params``, None where it has none.

    Dicts are matched by key, so that the order in which their keys were inserted does not matter.
    """
    if not isinstance(params, (dict, list, tuple)):  # one vector, as nearly always: nothing to match
        flat = leaves(other)
        if len(flat) == len(arrays):
            return flat
    found: list[Any] = []
    _collect_like(params, other, what, found)
    return found


def _collect_like(params: Any, other: Any, what: str, found: list[Any]) -> None:
    if params is None:
        return
    if other is None:
        found.extend([None] * len(leaves(params)))
    elif isinstance(params, dict):
        if not isinstance(other, dict) or other.keys() != params.keys():
            found_keys = f"the keys {list(other)}" if isinstance(other, dict) else _kind(other)
            raise _misfit(what, f"the keys {list(params)}", found_keys)
        for key, value in params.items():
            _collect_like(value, other[key], f"{what}[{key!r}]", found)
    elif isinstance(params, (list, tuple)):
        if not isinstance(other, (list, tuple)) or len(other) != len(params):
            raise _misfit(what, f"{len(params)} entries", _kind(other))
        for i, value in enumerate(params):
            _collect_like(value, other[i], f"{what}[{i}]", found)
    else:
        arrays = leaves(other)
        if len(arrays) != len(leaves(params)):
            raise _misfit(what, f"{len(leaves(params))} array(s)", f"{len(arrays)} in {_kind(other)}")
        found.extend(arrays)


def _kind(other: Any) -> str:
    length = f" of {len(other)}" if isinstance(other, (list, tuple)) else ""
    return f"a {type(other).__name__}{length}"


def _misfit(what: str, expected: str, found: str) -> ConfigError:
    return ConfigError(
        f"{what}: expected {expected} as in the parameters, found {found}; pass a container like them"
    )
