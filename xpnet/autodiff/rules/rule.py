"""Derivative rules, and the table of all of them.

A rule belongs to one array function ``out = f(*args, **options)``. Its parts are array code:

- ``pulls[i](xp, g, out, *args, **options)`` pulls the cotangent ``g`` of ``out`` back to ``args[i]``;
- ``push(xp, tangents, out, *args, **options)`` pushes tangents of the arguments (None: constant) forward.

An elementwise function needs one *slope* for each argument, ``slope(xp, out, *args)``; both directions
follow from it. A slope is a number, an array, or a boolean array, which lets the cotangent through where
it is True. Names that begin with an underscore are those of arrays whose numbers the slope does not read:
tapes do not keep them (:class:`Outline`). Where a rule has no ``push``, forward mode transposes its pulls.

A function that other functions of the standard express, such as ``diff`` by slices and ``subtract``, needs
no derivative of its own: it is *composed*, and traced arguments run its ``body`` instead of the library's
function.

Complex arrays: the cotangent c of x stands for dL = Re Σ c dx (no conjugate, as in JAX). Pulls of functions
that are differentiable over the complex numbers are then the same as over the real ones. The gradient of a
real L is ∂L/∂Re x - i ∂L/∂Im x; its conjugate is the direction of steepest ascent (and PyTorch's ``.grad``).

Rules call only functions of ``xp``, so they can be traced themselves: every higher derivative follows.
They write ``xp.multiply(g, y)`` rather than ``g * y`` where two arrays of different origin meet (a cotangent
and a saved value, two arguments, two tangents), for one may be traced where the other is not, and some
libraries' operators refuse an operand they do not know.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xpnet.autodiff.rules.batching import entrywise
from xpnet.errors import RecordError

__all__ = [
    "RULES",
    "Outline",
    "Rule",
    "View",
    "along",
    "cast",
    "composed",
    "compound",
    "constant",
    "elementwise",
    "fit",
    "is_complex",
    "linear",
    "lookup",
    "rearranged",
    "rule",
    "scale",
]

RULES: dict[str, Rule] = {}


class Outline:
    """What a tape keeps of an array whose numbers no derivative reads."""

    __slots__ = ("dtype", "shape")

    def __init__(self, x: Any):
        self.shape, self.dtype = x.shape, x.dtype


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """How the memory of a result lies in that of an argument.

    Attributes:
        put: ``put(xp, part, x, *args, **options)`` returns ``x`` with ``part`` in the place of the result;
            of several results their number follows ``part``. None: results are for reading only.
        each: of several results each lies in the argument of its number; else all lie in the first.
    """

    put: Callable[..., Any] | None
    each: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Rule:
    """The derivative of one array function.

    Attributes:
        name: the function's name in the standard, ``linalg.`` before those of the extension.
        pulls: one pull for each differentiable argument; None for an argument without derivative.
        push: the forward direction; None derives it from the pulls.
        body: the function itself, for those that are not the standard's: ``body(xp, *args, **options)``.
        constant: the derivative is zero, or the result is not floating: recorded by no transform.
        composed: traced arguments run ``body``, whose functions are recorded in its place.
        variadic: the function takes one list of arrays, and ``pulls[0]`` takes an argument number first.
        many: the function returns a tuple; cotangents arrive as a list with None for unused outputs.
        nested: rules that take its place where derivatives are differentiated again: that of the innermost
            transform, and that of those around it.
        view: how the result lies in the memory of an argument, where the library makes it a view.
        batch: the function of many examples at once, ``batch(call, *args, **options)``; ``batching.py`` has
            the kinds. None: ``body`` runs on them.
        indexed: an argument is an index, in which arrays lie.
        reads: for each argument whose numbers the derivative with respect to it reads: positions of
            arguments, and -1 for the result. Empty: all of them.
    """

    name: str
    pulls: tuple[Callable[..., Any] | None, ...] = ()
    push: Callable[..., Any] | None = None
    body: Callable[..., Any] | None = None
    constant: bool = False
    composed: bool = False
    variadic: bool = False
    many: bool = False
    nested: tuple[Rule, Rule] | None = None
    view: View | None = None
    batch: Callable[..., Any] | None = None
    indexed: bool = False
    reads: tuple[frozenset[int], ...] = ()

    def pull(self, position: int) -> Callable[..., Any]:
        """Return the pull for argument number ``position``: ``(xp, g, out, *args, **options) -> cotangent``.

        Raises:
            RecordError: the function has no derivative with respect to that argument.
        """
        known = 0 if self.variadic else position
        pull = self.pulls[known] if known < len(self.pulls) else None
        if pull is not None:
            return functools.partial(pull, position) if self.variadic else pull
        raise _no_derivative(self.name, position)


def _no_derivative(name: str, position: int) -> RecordError:
    return RecordError(
        f"{name}: expected no traced array as argument {position + 1}, for it has no derivative "
        "there; take stop_gradient of it"
    )


def rule(name: str, *pulls: Callable[..., Any] | None, **parts: Any) -> Rule:
    """Enter a rule with explicit pulls into the table."""
    if name in RULES:
        raise ValueError(f"a second rule for {name}")
    RULES[name] = Rule(name, pulls, **parts)
    return RULES[name]


def constant(*names: str, batch: Callable[..., Any] = entrywise, **parts: Any) -> None:
    """Enter functions whose derivative is zero wherever it exists, or whose result is not floating."""
    for name in names:
        rule(name, constant=True, batch=batch, **parts)


def composed(name: str, **parts: Any) -> Callable[..., Any]:
    """Return a decorator that enters a function of the standard as ``body(xp, *args, **options)`` of others.

    It may take traced arrays in any place, also by keyword and inside lists.
    """

    def enter(body: Callable[..., Any]) -> Callable[..., Any]:
        rule(name, body=body, composed=True, **parts)
        return body

    return enter


def elementwise(name: str, *slopes: Any, body: Callable[..., Any] | None = None) -> None:
    """Enter an elementwise function of broadcast arguments by its partial derivatives (None: has none)."""

    def pull_for(position: int, slope: Any) -> Callable[..., Any] | None:
        if slope is None:
            return None
        if callable(slope):
            return lambda xp, g, out, *args: fit(xp, scale(xp, g, slope(xp, out, *args)), args[position])
        return lambda xp, g, out, *args: fit(xp, scale(xp, g, slope), args[position])

    def push(xp: Any, tangents: list[Any], out: Any, *args: Any) -> Any:
        total = None
        for position, (slope, tangent) in enumerate(zip(slopes, tangents, strict=False)):
            if tangent is not None:
                if slope is None:
                    raise _no_derivative(name, position)
                part = scale(xp, tangent, slope(xp, out, *args) if callable(slope) else slope)
                total = part if total is None else xp.add(total, part)
        return xp.broadcast_to(xp.astype(total, out.dtype), out.shape)

    pulls = (pull_for(i, s) for i, s in enumerate(slopes))
    rule(
        name,
        *pulls,
        push=push,
        body=body,
        batch=entrywise,
        reads=tuple(_read_by(s, len(slopes)) for s in slopes),
    )


def _read_by(slope: Any, count: int) -> frozenset[int]:
    """Return the positions of the arrays that a slope of ``count`` arguments reads, -1 for the result."""
    if not callable(slope):
        return frozenset()
    code = inspect.unwrap(slope).__code__
    if code.co_flags & inspect.CO_VARARGS:
        return frozenset(range(-1, count))
    names = code.co_varnames[1 : code.co_argcount]
    return frozenset(i for i, name in enumerate(names, -1) if not name.startswith("_"))


def rearranged(pull: Callable[..., Any]) -> View:
    """Return the view of a function that rearranges entries: ``pull`` puts them back."""
    return View(lambda xp, part, x, *args, **options: pull(xp, part, None, x, *args, **options))


def linear(name: str, *pulls: Callable[..., Any] | None, push: Any = None, **parts: Any) -> None:
    """Enter a function linear in its first argument: by default its push is the function itself."""

    def same(xp: Any, tangents: list[Any], out: Any, x: Any, *args: Any, **options: Any) -> Any:
        return lookup(xp, name)(tangents[0], *args, **options)

    rule(name, *pulls, push=push or same, **parts)


def compound(name: str, *pulls: Callable[..., Any] | None, **parts: Any) -> Callable[..., Any]:
    """Return a decorator that enters a function of several array operations with a rule of its own.

    The function is ``body(xp, *args)``; other rules may call it like any function.
    """

    def enter(body: Callable[..., Any]) -> Callable[..., Any]:
        rule(name, *pulls, body=body, **parts)
        return body

    return enter


def lookup(xp: Any, name: str) -> Callable[..., Any]:
    """Return the function of ``xp`` called ``name``, which may lie in an extension: ``"fft.fft"``."""
    return functools.reduce(getattr, name.split("."), xp)


def along(x: Any, axis: int, part: slice | int) -> tuple[Any, ...]:
    """Return the index with which ``x`` gives ``part`` of one axis, and all of the others."""
    return (*(slice(None),) * (axis % len(x.shape)), part, ...)


def scale(xp: Any, g: Any, slope: Any) -> Any:
    """Return ``g`` times ``slope``; a boolean slope lets ``g`` through where it is True, NaN-safe."""
    if isinstance(slope, (int, float, complex)):
        return g if slope == 1 else -g if slope == -1 else g * slope
    if slope.dtype != g.dtype and slope.dtype == xp.bool:  # to compare dtypes of two kinds takes long
        return xp.keep(g, slope)
    return xp.multiply(g, slope)


def fit(xp: Any, g: Any, x: Any) -> Any:
    """Return ``g`` summed over the axes along which ``x`` was broadcast, in the dtype of ``x``."""
    shape = x.shape
    if g.shape != shape:
        extra = len(g.shape) - len(shape)
        axes = tuple(range(extra)) + tuple(
            extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1
        )
        g = xp.reshape(xp.sum(g, axis=axes), shape)
    return g if g.dtype == x.dtype else cast(xp, g, x.dtype)


_complex: dict[Any, bool] = {}  # by library and dtype: asking the library takes a microsecond each time


def is_complex(xp: Any, x: Any) -> bool:
    """True for an array of complex dtype; False for a number too."""
    dtype = getattr(x, "dtype", None)
    key = xp.__name__, dtype  # dtypes of two libraries are not compared without a warning
    known = _complex.get(key)
    if known is None:
        known = _complex[key] = dtype is not None and xp.isdtype(dtype, "complex floating")
    return known


def cast(xp: Any, g: Any, dtype: Any) -> Any:
    """Return the cotangent ``g`` in ``dtype``: a real argument takes the real part of a complex cotangent."""
    if xp.isdtype(g.dtype, "complex floating") and not xp.isdtype(dtype, "complex floating"):
        g = xp.real(g)
    return g if g.dtype == dtype else xp.astype(g, dtype)
