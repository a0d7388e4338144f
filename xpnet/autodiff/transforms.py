"""Functions that make derivatives of functions: ``grad``, ``value_and_grad``, ``vjp`` and ``jvp``.

Arguments may be nested dicts, lists and tuples of arrays, and :class:`xpnet.parameters.Parameters`.
Inside them only floating arrays are differentiated; others pass through, with the gradient None.
Transforms nest: ``grad(grad(f))`` is the second derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.autodiff.forward import ForwardTrace
from xpnet.autodiff.reverse import ReverseTrace
from xpnet.autodiff.tracer import Trace, Tracer, device_of, is_floating, lowered, plain_namespace
from xpnet.backends import array_namespace
from xpnet.containers import leaves, map_leaves, rebuild
from xpnet.errors import RecordError

__all__ = ["grad", "jvp", "value_and_grad", "vjp"]


def value_and_grad(
    f: Callable[..., Any], argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that computes ``f`` and its gradient.

    Args:
        f: function with a 0-d floating array as result (with ``has_aux``: a pair of it and anything else).
        argnums: which positional arguments to differentiate; a tuple gives a tuple of gradients.
        has_aux: ``f`` returns ``(value, aux)``; the result is ``((value, aux), gradients)``.

    Returns:
        A function of the same arguments that returns ``(value, gradients)``; a gradient is shaped like its
        argument.

    Raises:
        RecordError: the result is not a 0-d floating array, or an argument is not floating.

    Example:
        >>> import numpy as np
        >>> value, gradient = value_and_grad(lambda x: x @ x)(np.asarray([1.0, 2.0]))
        >>> float(value), gradient
        (5.0, array([2., 4.]))
    """

    def run(*args: Any, **options: Any) -> Any:
        positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        chosen = _chosen(f, args, positions)
        trace = ReverseTrace(_plain_namespace(f, chosen))
        traced, slots = _trace_leaves(chosen, trace)
        inside = list(args)
        for position, value in zip(positions, traced, strict=True):
            inside[position] = value
        result = f(*inside, **options)
        value, aux = result if has_aux else (result, None)
        _check_scalar(f, value)
        cotangent = _one_like(value) if _belongs(value, trace) else None
        gradients = _pull(trace, [value], [cotangent], slots, chosen)
        trace.open = False
        answer = gradients[0] if isinstance(argnums, int) else tuple(gradients)
        done = ((value, aux), answer) if has_aux else (value, answer)
        return _strip(done, trace, args)

    return run


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return a function that computes the gradient of ``f``; see :func:`value_and_grad`.

    >>> import numpy as np
    >>> float(grad(lambda x: x**3)(np.asarray(2.0)))
    12.0
    >>> float(grad(grad(lambda x: x**3))(np.asarray(2.0)))
    12.0
    """
    both = value_and_grad(f, argnums)
    return lambda *args, **options: both(*args, **options)[1]


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Return ``f(*primals)`` and the pullback, which maps a cotangent of the result to those of the primals.

    The pullback takes a container shaped like the result and returns one entry for each primal. It may
    be called many times.

    >>> import numpy as np
    >>> y, pullback = vjp(lambda x: x * x, np.asarray([1.0, 3.0]))
    >>> pullback(np.asarray([1.0, 0.5]))
    (array([2., 3.]),)
    """
    chosen = _chosen(f, primals, tuple(range(len(primals))))
    trace = ReverseTrace(_plain_namespace(f, chosen))
    traced, slots = _trace_leaves(chosen, trace)
    result = f(*traced)
    results = leaves(result)
    trace.open = False

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        given = leaves(cotangent)
        if len(given) != len(results):
            raise RecordError(
                f"pullback: expected a cotangent with {len(results)} leaves like the result, found "
                f"{len(given)}"
            )
        for g, y in zip(given, results, strict=True):
            if tuple(getattr(g, "shape", ())) != tuple(y.shape):
                raise RecordError(
                    f"pullback: expected a cotangent of shape {tuple(y.shape)} like the result, "
                    f"found {tuple(getattr(g, 'shape', ()))}"
                )
        pulled = tuple(_pull(trace, results, given, slots, chosen))
        return _strip(pulled, trace, (primals, cotangent))

    return _strip(result, trace, primals), pullback


def jvp(f: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return ``f(*primals)`` and its derivative in the direction ``tangents``.

    >>> import numpy as np
    >>> y, dy = jvp(lambda x: x * x, (np.asarray(3.0),), (np.asarray(1.0),))
    >>> float(y), float(dy)
    (9.0, 6.0)
    """
    chosen = _chosen(f, primals, tuple(range(len(primals))))
    directions = leaves(tuple(tangents))
    trace = ForwardTrace(_plain_namespace(f, chosen))
    if len(directions) != len(leaves(chosen)):
        raise RecordError(
            f"jvp: expected one tangent for each of {len(leaves(chosen))} arrays, found {len(directions)}"
        )
    made = []
    for x, tangent in zip(leaves(chosen), directions, strict=True):
        if is_floating(x) and tuple(getattr(tangent, "shape", ())) != tuple(x.shape):
            raise RecordError(
                f"jvp: expected a tangent of shape {tuple(x.shape)} like its array, "
                f"found {tuple(getattr(tangent, 'shape', ()))}"
            )
        made.append(Tracer(x, trace, tangent) if is_floating(x) else x)
    result = f(*rebuild(chosen, made))
    trace.open = False

    def tangent_of(y: Any) -> Any:
        if _belongs(y, trace):
            return y.slot
        return array_namespace(y).zeros_like(y) if hasattr(y, "shape") else 0.0

    return _strip((result, map_leaves(tangent_of, result)), trace, (primals, tangents))


def _chosen(f: Any, args: tuple[Any, ...], positions: tuple[int, ...]) -> list[Any]:
    """Return the arguments to differentiate, with Python numbers as 0-d arrays, checked to be floating."""
    name = getattr(f, "__name__", type(f).__name__)
    for position in positions:
        if not -len(args) <= position < len(args):
            raise RecordError(f"{name}: expected argument number {position}, found {len(args)} arguments")
    chosen = []
    for position in positions:
        value = args[position]
        if isinstance(value, (bool, int, float, complex)):
            value = _as_array_beside(value, leaves(list(args)))
        is_container = isinstance(value, (dict, list, tuple)) or hasattr(value, "__leaves__")
        if not is_container and not is_floating(value):
            found = f"dtype {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
            raise RecordError(
                f"{name}: expected a floating array as argument {position}, found {found}; "
                "convert it with xp.astype(x, xp.float64)"
            )
        chosen.append(value)
    return chosen


def _plain_namespace(f: Any, chosen: list[Any]) -> Any:
    arrays = [x for x in leaves(chosen) if is_floating(x)]
    if not arrays:
        name = getattr(f, "__name__", type(f).__name__)
        raise RecordError(
            f"{name}: expected a floating array among the arguments to differentiate, found none"
        )
    return plain_namespace(*arrays)


def _as_array_beside(number: Any, others: list[Any]) -> Any:
    """Return ``number`` as a 0-d array on the device and in the dtype of the floating arrays beside it."""
    array = next((x for x in others if is_floating(x)), None)
    if array is None:
        return np.asarray(number)
    dtype = array.dtype if isinstance(number, float) else None
    return array_namespace(array).asarray(number, dtype=dtype, device=device_of(array))


def _trace_leaves(chosen: list[Any], trace: ReverseTrace) -> tuple[list[Any], list[int | None]]:
    """Return the arguments with traced leaves, and the tape's numbers of these (None: not floating)."""
    slots: list[int | None] = []

    def make(x: Any) -> Any:
        made = trace.leaf(x) if is_floating(x) else x
        slots.append(made.slot if made is not x else None)
        return made

    return [map_leaves(make, value) for value in chosen], slots


def _pull(
    trace: ReverseTrace, results: list[Any], seeds: list[Any], slots: list[int | None], chosen: list[Any]
) -> list[Any]:
    """Return the cotangents of the arguments, given those of the results."""
    starts: dict[int, Any] = {}
    for y, g in zip(results, seeds, strict=True):
        if _belongs(y, trace):
            starts[y.slot] = g if y.slot not in starts else trace.space.add(starts[y.slot], g)
    mine = [slot for slot in slots if slot is not None]
    found = dict(zip(mine, trace.pull_back(starts, mine), strict=True))

    def gradient(slot: int | None, x: Any) -> Any:
        if slot is None:
            return None
        return trace.space.zeros_like(x) if found[slot] is None else found[slot]

    return rebuild(chosen, [gradient(slot, x) for slot, x in zip(slots, leaves(chosen), strict=True)])


def _belongs(x: Any, trace: Trace) -> bool:
    return type(x) is Tracer and x.trace is trace


def _strip(tree: Any, trace: Trace, given: Any) -> Any:
    """Return what the transform's caller gets: values without its tracers.

    Where the caller's own arrays are plain, lifted ones become plain too.
    """
    inside = any(type(x) is Tracer for x in leaves(given))

    def value_of(x: Any) -> Any:
        if type(x) is not Tracer:
            return x
        return x.value if x.trace is trace or not (inside or x.trace.level) else x

    return map_leaves(value_of, tree)


def _one_like(value: Tracer) -> Any:
    return lowered(value.trace.space.ones_like(value.value))


def _check_scalar(f: Any, value: Any) -> None:
    name = getattr(f, "__name__", type(f).__name__)
    shape = getattr(value, "shape", None)
    if shape is None and not isinstance(value, (int, float)):
        raise RecordError(f"grad of {name}: expected a 0-d array as result, found {type(value).__name__}")
    if shape:
        raise RecordError(
            f"grad of {name}: expected a 0-d array as result, found shape {tuple(shape)}; sum or average "
            "it, or use xpnet.autodiff.vjp for a result of several values"
        )
    if shape is not None and not is_floating(value):
        raise RecordError(f"grad of {name}: expected a floating result, found dtype {value.dtype}")
