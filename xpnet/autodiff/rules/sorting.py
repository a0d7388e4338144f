"""Rules of sorting, searching and sets: values move with the order found, which has no derivative itself.

Equal values keep their order, also with ``descending=True``, and so do their derivatives: the first of them
in ``x`` is the first of them in ``sort(x)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet.autodiff.rules.batching import Call, along_axis, by_examples, shaped_by_values
from xpnet.autodiff.rules.rule import composed, constant, rule

__all__: list[str] = []


def _pull_sorted(
    xp: Any, g: Any, out: Any, x: Any, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Any:
    """Cotangents go back in the order that ``argsort`` finds."""
    order = xp.argsort(x, axis=axis, descending=descending, stable=True)
    return xp.take_along_axis_transpose(g, order, axis, x.shape)


def _among(position: int) -> Callable[..., Any]:
    """Return the batching of a search in argument ``position``: of all values at once if it is not mapped."""

    def batch(call: Call, *args: Any, **options: Any) -> Any:
        return (
            by_examples(call, *args, **options) if call.mapped[position] else call.function(*args, **options)
        )

    return batch


def _push_sorted(
    xp: Any,
    tangents: list[Any],
    out: Any,
    x: Any,
    *,
    axis: int = -1,
    descending: bool = False,
    stable: bool = True,
) -> Any:
    order = xp.argsort(x, axis=axis, descending=descending, stable=True)
    return xp.take_along_axis(tangents[0], order, axis=axis)


rule("sort", _pull_sorted, push=_push_sorted, batch=along_axis(-1))
constant("argsort", batch=along_axis(-1))
constant("nonzero", batch=shaped_by_values)
constant("searchsorted", batch=_among(0))
constant("isin", batch=_among(1))


# --- Sets: each value is taken from its first occurrence, which gets its cotangent --------------------


@composed("unique_all", batch=shaped_by_values)
def _unique_all(xp: Any, x: Any) -> Any:
    found = xp.unique_all(xp.stop_gradient(x))
    return found._replace(values=xp.take(xp.reshape(x, (-1,)), found.indices))


@composed("unique_counts", batch=shaped_by_values)
def _unique_counts(xp: Any, x: Any) -> Any:
    found = xp.unique_counts(xp.stop_gradient(x))
    return found._replace(values=_first(xp, x, found.values))


@composed("unique_inverse", batch=shaped_by_values)
def _unique_inverse(xp: Any, x: Any) -> Any:
    found = xp.unique_inverse(xp.stop_gradient(x))
    return found._replace(values=_first(xp, x, found.values))


@composed("unique_values", batch=shaped_by_values)
def _unique_values(xp: Any, x: Any) -> Any:
    return _first(xp, x, xp.unique_values(xp.stop_gradient(x)))


def _first(xp: Any, x: Any, values: Any) -> Any:
    """Return ``values``, taken from the places where they first occur in ``x``."""
    flat = xp.reshape(x, (-1,))
    order = xp.argsort(flat)
    ordered = xp.take(xp.stop_gradient(flat), order)
    return xp.take(flat, xp.take(order, xp.searchsorted(ordered, values)))
