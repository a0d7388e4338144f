"""Arguments that a transform differentiates: by their positions (``argnums``) or names (``argnames``)."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from xpnet.errors import RecordError, suggest

__all__ = ["Argnames", "Argnums", "Selection", "selection", "transformed"]

Argnums = int | tuple[int, ...] | None
Argnames = str | tuple[str, ...] | None


class Selection(NamedTuple):
    """A call of a function, with the arguments to differentiate.

    Attributes:
        function, args, options: the call; a keyword argument to differentiate is among ``args``.
        positions: of the arguments to differentiate, in ``args``.
        names: their names in the answer, a dict; None: it is a tuple.
        alone: there is one of them, and the answer is that of it.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    options: dict[str, Any]
    positions: tuple[int, ...]
    names: tuple[str, ...] | None
    alone: bool

    def answer(self, chosen: list[Any]) -> Any:
        """Return what belongs to each of the arguments as it was asked for: one, a tuple, or a dict."""
        if self.alone:
            return chosen[0]
        return tuple(chosen) if self.names is None else dict(zip(self.names, chosen, strict=True))


def selection(
    name: str,
    f: Callable[..., Any],
    argnums: Argnums,
    argnames: Argnames,
    args: tuple[Any, ...],
    options: dict[str, Any],
) -> Selection:
    """Return a call of ``f`` with the arguments to differentiate; by default it is the first one.

    Raises:
        RecordError: both numbers and names, or those of no argument.
    """
    if argnames is None:
        argnums = 0 if argnums is None else argnums
        alone = not isinstance(argnums, (tuple, list))
        return Selection(f, args, options, argument_numbers(name, argnums, len(args)), None, alone)
    if argnums is not None:
        raise RecordError(
            f"{name}: expected argnums or argnames, found both, {argnums!r} and {argnames!r}; name all "
            "arguments in argnames"
        )
    alone = isinstance(argnames, str)
    names = (argnames,) if isinstance(argnames, str) else tuple(argnames)
    if len(set(names)) < len(names) or not all(isinstance(x, str) for x in names):
        raise RecordError(
            f"{name}: expected argnames to be a name or a tuple of different ones, found {argnames!r}"
        )
    rest = {key: x for key, x in options.items() if key not in names}
    moved = [key for key in names if key in options]
    count = len(args)

    def call(*inside: Any, **others: Any) -> Any:
        return f(*inside[:count], **dict(zip(moved, inside[count:], strict=True)), **others)

    args += tuple(options[key] for key in moved)
    by_name = {key: count + i for i, key in enumerate(moved)}
    known = {**dict(zip(_parameters(f), range(count), strict=False)), **by_name}
    for key in names:
        if key not in known:
            raise RecordError(
                f"{name}: expected an argument called {key!r}, found none among those that are given"
                f"{suggest(key, list(known))}"
            )
    return Selection(call, args, rest, tuple(known[key] for key in names), names, alone)


def _parameters(f: Callable[..., Any]) -> list[str]:
    """Return the names of the positional arguments of a function, as far as they are known."""
    try:
        found = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # compiled functions may have none
        return []
    return [x.name for x in found if x.kind in (x.POSITIONAL_ONLY, x.POSITIONAL_OR_KEYWORD)]


def transformed(run: Callable[..., Any], name: str, f: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``run``, a transform of ``f``, with a name for messages and the arguments' names of ``f``."""
    run.__name__ = name
    run.__wrapped__ = f  # type: ignore[attr-defined]
    return run


def argument_numbers(name: str, argnums: Any, count: int) -> tuple[int, ...]:
    """Return the positions that ``argnums`` names among ``count`` arguments, none of them negative."""
    if type(argnums) is int and 0 <= argnums < count:
        return (argnums,)
    try:
        given = tuple(argnums) if isinstance(argnums, (tuple, list)) else (operator.index(argnums),)
        positions = tuple(operator.index(number) for number in given)
    except TypeError as error:
        raise RecordError(
            f"{name}: expected argnums to be a whole number or a tuple of them, found {argnums!r}"
        ) from error
    for position in positions:
        if not -count <= position < count:
            raise RecordError(
                f"{name}: expected argument number {position}, found {count} arguments; argnums counts "
                "positional arguments from 0"
            )
    positions = tuple(position % count for position in positions)
    if len(set(positions)) < len(positions):
        raise RecordError(f"{name}: expected argnums to name each argument once, found {argnums!r}")
    return positions
