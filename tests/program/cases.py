"""What every lowering is tried on: each layer, loss, optimizer, transform and rule, by name.

A case is a function and arrays for it. Cases of a kind are recorded as one program, which costs lowerings
that compile much less than a program for each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.autodiff import cases_linalg, cases_numeric, cases_shapes, rule_cases
from tests.loss_cases import CASES as LOSSES
from tests.nn.layer_cases import BATCH, FEATURES, variables_on
from tests.nn.layer_cases import CASES as LAYERS
from tests.optim.optimizer_cases import TABLE as OPTIMIZERS
from tests.support import draw
from xpnet import autodiff, losses, nn, rng
from xpnet.autodiff import functions
from xpnet.backends import array_namespace
from xpnet.backends import backend as open_backend
from xpnet.backends.lacking import extended
from xpnet.containers import leaves, rebuild
from xpnet.parameters import Parameters

__all__ = ["KINDS", "Case", "joined", "transforms"]

Case = tuple[Callable[..., Any], list[np.ndarray]]


def joined(cases: dict[str, Case]) -> tuple[Callable[..., list[Any]], list[np.ndarray], list[str]]:
    """Return one function that does all cases, its arguments, and the names of its results."""
    args = [x for _, given in cases.values() for x in given]
    names: list[str] = []

    def run(*args: Any) -> list[Any]:
        found, rest = [], list(args)
        names.clear()
        for name, (function, given) in cases.items():
            results = leaves(function(*rest[: len(given)]))
            rest = rest[len(given) :]
            found += results
            names.extend([name] * len(results))
        return found

    return run, args, names


# --- Layers -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Key(rng.Key):
    """A key whose words, and values of schedules, are arrays, as those of compiled steps are."""

    given: Any = None
    scheduled: Any = None

    def fold(self, *words: int | str) -> _Key:
        return self

    @property
    def words(self) -> tuple[Any, Any]:
        return self.given[0, ...], self.given[1, ...]

    def value(self, schedule: Callable[[int], float]) -> Any:
        return self.scheduled


def layers(dtype: str) -> dict[str, Case]:
    """Return outputs, states and gradients of each layer, in training and not."""
    found = {}
    for case in LAYERS:
        params, state = variables_on(open_backend("numpy"), case.layer, dtype)
        x = draw(14, (BATCH, FEATURES)).astype(dtype)
        words = np.asarray([123456789, 987654321], dtype=np.uint32)
        for training in (False, True):
            function = _layer(case.layer, params.layout, state, training)
            found[f"{case}, {'training' if training else 'inference'}"] = (
                function,
                [params.flat, x, words, np.asarray(0.375, dtype=dtype), *leaves(state)],
            )
    return found


def _layer(layer: nn.Layer, layout: Any, state: Any, training: bool) -> Callable[..., Any]:
    def run(flat: Any, x: Any, words: Any, scheduled: Any, *states: Any) -> Any:
        key = _Key(0, given=words, scheduled=scheduled)

        def apply(flat: Any, x: Any) -> Any:
            variables = nn.Variables(Parameters(flat, layout), rebuild(state, list(states)))
            return layer.apply(variables, x, training=training, key=key)

        result, pullback = autodiff.vjp(apply, flat, x)
        ones = [array_namespace(y).ones_like(y) * 0.5 for y in leaves(result)]
        return [*leaves(result), *leaves(pullback(rebuild(result, ones)))]

    return run


# --- Losses and optimizers --------------------------------------------------------------------------------


def loss_cases(dtype: str) -> dict[str, Case]:
    """Return values and gradients of each loss for each form of targets, with weights of rows and without."""
    found = {}
    for case in LOSSES:
        floating = case.targets.dtype.kind == "f"
        targets = case.targets.astype(dtype) if floating else case.targets
        weights = draw(21, case.predictions.shape[:1], 0.2, 2.0).astype(dtype)
        found[str(case)] = (
            _loss(losses.get(case.name), case.options),
            [case.predictions.astype(dtype), targets, weights],
        )
    return found


def _loss(loss: Callable[..., Any], options: dict[str, float]) -> Callable[..., Any]:
    def run(predictions: Any, targets: Any, weights: Any) -> Any:
        return [
            autodiff.value_and_grad(lambda p, w=w: loss(p, targets, sample_weight=w, **options))(predictions)
            for w in (None, weights)
        ]

    return run


def optimizer_cases(dtype: str) -> dict[str, Case]:
    """Return two steps of each optimizer, with one learning rate and with those of groups."""
    found = {}
    for optimizer in (row[0] for row in OPTIMIZERS):
        p, g = (draw(seed, (300,)).astype(dtype) for seed in (1, 2))
        slots = [abs(draw(3 + i, p.shape)).astype(dtype) for i in range(len(optimizer.slots))]
        scalars = [np.asarray(s, dtype=dtype) for s in optimizer.scalars(0.1, 3)]
        found[repr(optimizer)] = (_updates(optimizer), [g, p, *slots, *scalars])
        factors = tuple(draw(seed, p.shape, 0.1, 6.0).astype(dtype) for seed in (4, 5))
        found[f"{optimizer!r} of groups"] = (_updates(optimizer, factors), [g, p, *slots, *scalars])
    return found


def _updates(optimizer: Any, factors: tuple[Any, Any] | None = None) -> Callable[..., Any]:
    def run(g: Any, p: Any, *rest: Any) -> Any:
        slots, scalars = rest[: len(optimizer.slots)], rest[len(optimizer.slots) :]
        if factors:
            scalars = optimizer.vectors(scalars, *factors)
        for _ in range(2):
            p, slots = optimizer.rule(g * p, slots, p, *scalars)
        return [p, *slots]

    return run


# --- Transforms -------------------------------------------------------------------------------------------


def transforms(dtype: str) -> dict[str, Case]:
    """Return each transform of a small network, by its name."""
    weights = [draw(31, (2, 3)).astype(dtype), draw(32, (3,)).astype(dtype), draw(33, (3, 1)).astype(dtype)]
    X, y, v = (draw(34 + i, shape).astype(dtype) for i, shape in enumerate([(5, 2), (5, 1), (2, 3)]))
    args = [*weights, X, y, v]

    def network(W: Any, b: Any, U: Any, X: Any) -> Any:
        hidden = X @ W + b
        return array_namespace(hidden).tanh(hidden) @ U

    def loss(W: Any, b: Any, U: Any, X: Any, y: Any) -> Any:
        return losses.squared_error(network(W, b, U, X), y)

    def of_row(W: Any, b: Any, U: Any, x: Any, y: Any) -> Any:
        return loss(W, b, U, x[None, :], y[None, :])

    def twice(x: Any) -> Any:
        return array_namespace(x).stack([x, -0.5 * x])

    def of_weights(given: tuple[Any, ...]) -> Callable[[Any], Any]:
        return lambda W: loss(W, *given[1:5])

    def vjp(*given: Any) -> Any:
        result, pullback = autodiff.vjp(network, *given[:4])
        return [result, *pullback(result)]

    def ggn_vp(*given: Any) -> Any:
        _, b, U, X, y, v = given
        model = lambda W: network(W, b, U, X)  # noqa: E731
        return autodiff.ggn_vp(model, lambda z: losses.squared_error(z, y), given[0], v)

    found: dict[str, Callable[..., Any]] = {
        "grad": lambda *given: autodiff.grad(loss, argnums=(0, 1, 2))(*given[:5]),
        "value_and_grad": lambda *given: autodiff.value_and_grad(loss)(*given[:5]),
        "vjp": vjp,
        "jvp": lambda *given: autodiff.jvp(of_weights(given), given[:1], given[5:]),
        "jacobian": lambda *given: autodiff.jacobian(network, argnums=(0, 1))(*given[:4]),
        "jacrev": lambda *given: autodiff.jacrev(network, argnums=1)(*given[:4]),
        "jacfwd": lambda *given: autodiff.jacfwd(network, argnums=2)(*given[:4]),
        "linearize": lambda *given: autodiff.linearize(of_weights(given), given[0])[1](given[5]),
        "checkpoint": lambda *given: autodiff.grad(autodiff.checkpoint(loss), argnums=(0, 1, 2))(*given[:5]),
        "jacobian forward": lambda *given: autodiff.jacobian(network, argnums=1, mode="forward")(*given[:4]),
        "hessian": lambda *given: autodiff.hessian(loss, argnums=1)(*given[:5]),
        "sparse_jacobian": lambda *given: autodiff.sparse_jacobian(network, (0, 1))(*given[:4]),
        "sparse_hessian": lambda *given: autodiff.sparse_hessian(loss, argnames="b")(
            given[0], U=given[2], X=given[3], y=given[4], b=given[1]
        ),
        "hvp": lambda *given: autodiff.hvp(of_weights(given), given[0], given[5]),
        "ggn_vp": ggn_vp,
        "vmap": lambda *given: autodiff.vmap(autodiff.grad(of_row, (0, 1, 2)), (None, None, None, 0, 0))(
            *given[:5]
        ),
        "vmap members": lambda *given: autodiff.vmap(autodiff.grad(loss, (0, 1, 2)), (0, 0, 0, None, None))(
            *map(twice, given[:3]), *given[3:5]
        ),
        "stop_gradient": lambda *given: autodiff.grad(
            lambda W: loss(functions.stop_gradient(W) * W, *given[1:5])
        )(given[0]),
        "custom_rule": lambda *given: autodiff.grad(lambda W: loss(_doubled(W), *given[1:5]))(given[0]),
    }
    return {name: (function, args) for name, function in found.items()}


@autodiff.custom_rule(lambda xp, g, out, x: 2 * g)
def _doubled(x: Any) -> Any:
    return x * 2


# --- Functions --------------------------------------------------------------------------------------------

# Their shapes depend on values, they return no array, or they take recorded arrays as options.
_NOT_COMPILED = frozenset(
    {"finfo", "nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values", "diff-with-ends",
     "diff-end-alone"}
)  # fmt: skip


def rules(dtype: str) -> dict[str, Case]:
    """Return each function that has a rule."""
    found: dict[str, Case] = {}
    for table in (rule_cases, cases_numeric, cases_shapes, cases_linalg):
        for case in table.CASES:
            args = [x.astype(dtype) for x in case.args]
            masked = case.rule == "getitem" and any(x.dtype == np.bool_ for x in case.constants)
            if masked or case.rule == "repeat":  # their constants decide the shape of the result
                found[str(case)] = (_of_planned(case.function, len(args), *case.constants), args)
            elif not {case.rule, str(case)} & _NOT_COMPILED:
                found[str(case)] = (_of_planned(case.function, len(args)), [*args, *case.constants])
        for name, function in table.CONSTANTS.items():
            if name not in _NOT_COMPILED:
                found[name] = (_of_planned(function, 1), [draw(3, (3, 4)).astype(dtype)])
    return found


def _of_planned(function: Callable[..., Any], count: int, *constants: Any) -> Callable[..., Any]:
    """Return the function of arrays that the program itself makes: results may be looks at these."""

    def run(*args: Any) -> Any:
        space = array_namespace(*args)
        space = space if hasattr(space, "keep") else extended(space)
        return function(space, *(x + 0.0 for x in args[:count]), *args[count:], *constants)

    return run


KINDS: dict[str, Callable[[str], dict[str, Case]]] = {
    "layers": layers,
    "losses": loss_cases,
    "optimizers": optimizer_cases,
    "transforms": transforms,
    "rules": rules,
}
