"""Transforms from functions to derivatives: ``grad``, ``value_and_grad``, ``vjp``, ``jvp``, ``linearize``.

Arguments may be nested dicts, lists and tuples of arrays, and :class:`xpnet.parameters.Parameters`.
Inside them floating arrays and Python's floats and complex numbers, as 0-d arrays, are differentiated; others
(whole numbers, truth values, text) pass through, with the gradient None.
Transforms nest in any order: ``grad(grad(f))`` is the second derivative.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.arguments import (
    apart,
    belongs,
    differentiable,
    explain_mixture,
    handing_back,
    matched,
    name_of,
    replaced,
    results_of,
    space_of,
)
from xpnet.autodiff.forward import ForwardTrace
from xpnet.autodiff.reverse import ReverseTrace
from xpnet.autodiff.selection import Argnames, Argnums, selection, transformed
from xpnet.autodiff.tracer import Tracer, is_complex, is_floating, lowered, plain_namespace
from xpnet.containers import leaves, map_leaves, rebuild
from xpnet.errors import RecordError

__all__ = ["Recording", "grad", "jvp", "linearize", "pushed", "value_and_grad", "vjp"]


def value_and_grad(
    f: Callable[..., Any],
    argnums: Argnums = None,
    *,
    argnames: Argnames = None,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """Return a function that computes ``f`` and its gradient.

    Args:
        f: function with a real floating 0-d array as result (with ``has_aux``: a pair of it and anything
            else).
        argnums: which positional arguments to differentiate, by default the first one; a tuple gives a tuple
            of gradients.
        argnames: in its place, the name of an argument, given by position or by keyword; a tuple of names
            gives a dict.
        has_aux: ``f`` returns ``(value, aux)``; the result is ``((value, aux), gradients)``.

    Returns:
        A function of the same arguments that returns ``(value, gradients)``; a gradient has the shape and
        dtype of its argument, and is zero where the result does not depend on it. That of a complex
        argument x is ∂L/∂Re x - i ∂L/∂Im x.

    Raises:
        RecordError: the result is not a real floating 0-d array, or an argument is not floating.

    Example:
        >>> import numpy as np
        >>> value, gradient = value_and_grad(lambda x: x @ x)(np.asarray([1.0, 2.0]))
        >>> float(value), gradient
        (5.0, array([2., 4.]))
    """
    name = f"grad of {name_of(f)}"

    def run(*args: Any, **options: Any) -> Any:
        recording = Recording(name, f, argnums, args, options, has_aux, argnames=argnames)
        value = recording.result
        _check_scalar(name, value)
        pulled = recording.pull([recording.one()], spend=True)
        back = handing_back(recording.trace, (args, options))
        answer = rebuild(recording.asked, apart([back(g) for g in pulled]))
        return ((back(value), map_leaves(back, recording.aux)) if has_aux else back(value)), answer

    return transformed(run, name, f)


def grad(
    f: Callable[..., Any],
    argnums: Argnums = None,
    *,
    argnames: Argnames = None,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """Return a function that computes the gradient of ``f``; see :func:`value_and_grad`.

    With ``has_aux`` ``f`` returns ``(value, aux)``, and the function returned ``(gradients, aux)``.

    Example:
        >>> import numpy as np
        >>> float(grad(lambda x: x**3)(np.asarray(2.0)))
        12.0
        >>> float(grad(grad(lambda x: x**3))(np.asarray(2.0)))
        12.0
    """
    both = value_and_grad(f, argnums, argnames=argnames, has_aux=has_aux)

    def run(*args: Any, **options: Any) -> Any:
        value, gradients = both(*args, **options)
        return (gradients, value[1]) if has_aux else gradients

    return transformed(run, both.__name__, f)


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """Return ``f(*primals)`` and the pullback, which maps a cotangent of the result to those of the primals.

    The pullback takes a container like the result (None for leaves that are not floating) and returns one
    entry for each primal: with y = f(x) and Jacobian J it computes Jᵀ g. It may be called many times, as long
    as the primals, and plain arrays that ``f`` used, keep their entries.

    With ``has_aux`` ``f`` returns ``(y, aux)``, and aux, anything else, comes as a third entry.

    Raises:
        RecordError: the result is not made of arrays; from the pullback: a cotangent unlike the result.

    Example:
        >>> import numpy as np
        >>> y, pullback = vjp(lambda x: x * x, np.asarray([1.0, 3.0]))
        >>> pullback(np.asarray([1.0, 0.5]))
        (array([2., 3.]),)
    """
    name = f"vjp of {name_of(f)}"
    recording = Recording(name, f, tuple(range(len(primals))), primals, {}, has_aux)

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        given = matched(f"{name}: cotangent", recording.result, cotangent)
        back = handing_back(recording.trace, (primals, cotangent))
        pulled = apart([back(g) for g in recording.pull(given)], cotangent)
        return tuple(rebuild(recording.chosen, pulled))

    return _beside(recording, pullback, primals, has_aux)


def jvp(
    f: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...], *, has_aux: bool = False
) -> tuple[Any, ...]:
    """Return ``f(*primals)`` and its derivative in the direction ``tangents``: J v.

    Args:
        f: function whose result is an array or a container of arrays.
        primals: the arguments.
        tangents: their directions, with None for leaves that are not floating.
        has_aux: ``f`` returns ``(y, aux)``; aux, anything else, comes as a third entry.

    Raises:
        RecordError: a tangent unlike its array; a result that is not made of arrays.

    Example:
        >>> import numpy as np
        >>> y, dy = jvp(lambda x: x * x, (np.asarray(3.0),), (np.asarray(1.0),))
        >>> float(y), float(dy)
        (9.0, 6.0)
    """
    name = f"jvp of {name_of(f)}"
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise RecordError(
                f"{name}: expected a tuple of {what}, one for each argument, found {type(given).__name__}; "
                "write jvp(f, (x,), (v,))"
            )
    return pushed(name, f, tuple(primals), tuple(range(len(primals))), tangents, has_aux)


def pushed(
    name: str, f: Callable[..., Any], args: Any, positions: tuple[int, ...], tangents: Any, has_aux: bool
) -> tuple[Any, ...]:
    """Return what :func:`jvp` does, for tangents of the arguments at some positions; others are constants."""
    chosen = differentiable(name, args, positions)
    trace = ForwardTrace(space_of(name, [x for x in leaves(chosen) if is_floating(x)]))
    directions = matched(f"{name}: tangents", tuple(chosen), tangents)
    made = [
        Tracer(lowered(x), trace, t) if is_floating(x) else trace.space.wrap(x)
        for x, t in zip(leaves(chosen), directions, strict=True)
    ]
    try:
        inside = replaced(trace.space, args, positions, rebuild(chosen, made))
        result, aux = _parted(name, f(*inside), has_aux)
        result = results_of(name, result, trace, chosen)
    finally:
        trace.open = False

    def tangent_of(y: Any) -> Any:
        if belongs(y, trace):
            return y.slot
        return trace.space.zeros_like(y) if is_floating(y) else None

    back = handing_back(trace, (args, tangents))
    made = [back(tangent_of(y)) for y in leaves(result)]
    both = map_leaves(back, result), rebuild(result, apart(made, tangents))
    return (*both, map_leaves(back, aux)) if has_aux else both


def linearize(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """Return ``f(*primals)`` and the function that maps tangents of the primals to that of the result: J v.

    ``f`` runs once and is recorded; for each call the tangents are pushed along the recording, without
    another evaluation: cheaper than :func:`jvp` for several directions at one point. In return the recording
    keeps what ``f`` computed, as that of :func:`vjp` does.

    Args:
        f: function whose result is an array or a container of arrays.
        *primals: its arguments.
        has_aux: ``f`` returns ``(y, aux)``; aux, anything else, comes as a third entry.

    Returns:
        The result, and ``push(*tangents)``, which takes one tangent for each primal (None for leaves that
        are not floating) and returns a container like the result. It may be called many times, as long as
        the primals, and plain arrays that ``f`` used, keep their entries.

    Raises:
        RecordError: the result is not made of arrays; from the function returned: a tangent unlike its array,
            or another number of them.

    Example:
        >>> import numpy as np
        >>> y, push = linearize(lambda x: x * x, np.asarray([1.0, 3.0]))
        >>> push(np.asarray([1.0, 0.0])), push(np.asarray([0.0, 1.0]))
        (array([2., 0.]), array([0., 6.]))
    """
    name = f"linearize of {name_of(f)}"
    recording = Recording(name, f, tuple(range(len(primals))), primals, {}, has_aux)

    def push(*tangents: Any) -> Any:
        directions = matched(f"{name}: tangents", tuple(recording.chosen), tangents)
        back = handing_back(recording.trace, (primals, tangents))
        pushed = [back(t) for t in recording.push(directions)]
        return rebuild(recording.result, apart(pushed, tangents))

    return _beside(recording, push, primals, has_aux)


def _beside(
    recording: Recording, walk: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool
) -> tuple[Any, ...]:
    """Return the result of a recording, the function that walks along it, and aux if there is one."""
    back = handing_back(recording.trace, primals)
    result = map_leaves(back, recording.result)
    return (result, walk, map_leaves(back, recording.aux)) if has_aux else (result, walk)


class Recording:
    """One run of a function on a tape, and the passes over it: cotangents backwards, tangents forwards.

    Attributes:
        chosen: the arguments to differentiate.
        asked: the same as ``argnums`` or ``argnames`` asks for them: one, a tuple, or a dict.
        result: what the function returned, in which traced arrays depend on them.
        aux: the function's second result, with ``has_aux``.
        trace: the tape, closed for further functions.
        slots: the number on the tape of each leaf of ``chosen``; None for one that is not floating.
    """

    def __init__(
        self,
        name: str,
        f: Callable[..., Any],
        argnums: Argnums,
        args: tuple[Any, ...],
        options: dict[str, Any],
        has_aux: bool = False,
        *,
        argnames: Argnames = None,
    ):
        call = selection(name, f, argnums, argnames, args, options)
        self.name = name
        self.chosen = differentiable(name, call.args, call.positions)
        self.asked = call.answer(self.chosen)
        self._leaves = leaves(self.chosen)
        floating = [is_floating(x) for x in self._leaves]
        self._plain = space_of(name, list(itertools.compress(self._leaves, floating)))
        self.trace = trace = ReverseTrace(self._plain)
        wrap = trace.space.wrap
        traced = [
            trace.leaf(x) if known else wrap(x) for x, known in zip(self._leaves, floating, strict=True)
        ]
        # Kept as numbers: assignment inside f makes a traced argument stand for something else.
        self.slots = [x.slot if known else None for x, known in zip(traced, floating, strict=True)]
        inside = replaced(trace.space, call.args, call.positions, rebuild(self.chosen, traced))
        try:
            result = call.function(*inside, **wrap(call.options))
        finally:
            trace.open = False
        result, self.aux = _parted(name, result, has_aux)
        self.result = results_of(name, result, trace, self.chosen)

    def one(self) -> Any:
        """Return the cotangent 1 of a 0-d result; None if it does not depend on the arguments."""
        y = self.result
        return lowered(self.trace.rule_space.ones_like(y.value)) if belongs(y, self.trace) else None

    def pull(self, cotangents: list[Any], spend: bool = False) -> list[Any]:
        """Return the cotangent of each leaf of ``chosen``, given those of the leaves of ``result``.

        None stands for a cotangent of zero, and in the answer for a leaf that is not floating. ``spend``:
        this is the only pass, and frees the tape on its way.
        """
        starts: dict[int, Any] = {}
        for y, g in zip(leaves(self.result), cotangents, strict=True):
            if g is not None and belongs(y, self.trace):
                starts[y.slot] = g if y.slot not in starts else self.trace.rule_space.add(starts[y.slot], g)
        wanted = [slot for slot in self.slots if slot is not None]
        found = iter(self.trace.pull_back(starts, wanted, spend))
        return [
            None if slot is None else self._like(x, next(found))
            for slot, x in zip(self.slots, self._leaves, strict=True)
        ]

    def push(self, tangents: list[Any]) -> list[Any]:
        """Return the tangent of each leaf of ``result``, given those of the leaves of ``chosen``.

        None stands for a tangent of zero, and in the answer for a leaf that is not floating.
        """
        pairs = zip(self.slots, tangents, strict=True)
        starts = {slot: t for slot, t in pairs if slot is not None and t is not None}
        outs = leaves(self.result)
        wanted = {y.slot for y in outs if belongs(y, self.trace)}
        found = self.trace.push_forward(starts, wanted, ForwardTrace(self._plain).push)
        zeros_like = self.trace.space.zeros_like
        return [
            None
            if not is_floating(y)
            else found[y.slot]
            if belongs(y, self.trace) and y.slot in found
            else zeros_like(y.value if belongs(y, self.trace) else y)
            for y in outs
        ]

    def _like(self, x: Any, g: Any) -> Any:
        """Return the cotangent ``g`` of ``x``, zeros for None."""
        if g is None:
            return lowered(self.trace.space.zeros_like(x))
        if type(g) is not type(x) and plain_namespace(g) is not plain_namespace(x):
            # Some libraries compute with arrays of others.
            explain_mixture(self.name, plain_namespace(x), [g])
        return g


def _parted(name: str, result: Any, has_aux: bool) -> tuple[Any, Any]:
    """Return the result of a function, and what it returned beside it."""
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        found = f"a tuple of {len(result)}" if isinstance(result, tuple) else type(result).__name__
        raise RecordError(
            f"{name}: expected a pair (value, aux) as result, for has_aux is set, found {found}"
        )
    return result


def _check_scalar(name: str, value: Any) -> None:
    if not hasattr(value, "shape"):
        raise RecordError(f"{name}: expected a 0-d array as result, found {type(value).__name__}")
    if value.shape:
        raise RecordError(
            f"{name}: expected a 0-d array as result, found shape {tuple(value.shape)}; sum or average it, "
            "or use xpnet.autodiff.vjp or jacobian for a result of several values"
        )
    if not is_floating(value):
        raise RecordError(f"{name}: expected a floating result, found dtype {value.dtype}")
    if is_complex(value):
        raise RecordError(
            f"{name}: expected a real result, found dtype {value.dtype}; take xp.real or xp.abs of it, or "
            "use xpnet.autodiff.vjp or jacobian"
        )
