"""Rematerialization: values are computed again in the backward pass in place of being kept for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from xpnet.autodiff.arguments import belongs, name_of, results_of
from xpnet.autodiff.batch import BatchTrace
from xpnet.autodiff.forward import ForwardTrace
from xpnet.autodiff.mapping import vmap
from xpnet.autodiff.reverse import ReverseTrace
from xpnet.autodiff.rules import Rule
from xpnet.autodiff.trace import Trace
from xpnet.autodiff.tracer import Tracer, is_floating, lowered, plain_value, traces_of
from xpnet.autodiff.transforms import Recording, jvp
from xpnet.containers import leaves, rebuild
from xpnet.errors import RecordError

__all__ = ["checkpoint"]


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``f`` such that reverse mode keeps its arguments only, and runs it again in the backward pass.

    A chain of n layers in k checkpointed segments keeps k + n / k arrays instead of n, fewest for k = √n,
    for one more evaluation. The result and all derivatives are those of ``f``; checkpoints nest in each
    other and in all transforms, and derivatives of derivatives save memory, too. Without reverse mode around
    it, ``f`` just runs. Programs of ``xpnet.compile`` compute the same, but equal operations once: there the
    second evaluation is the first one, whose values are kept.

    Sources: A. Griewank and A. Walther, "Evaluating Derivatives" (2008), chapter 12; T. Chen et al.,
    "Training deep nets with sublinear memory cost", arXiv:1604.06174 (2016).

    Args:
        f: function of arrays, and containers of them, whose result is an array or a container of arrays. It
            computes the same each time: it draws no random numbers (but by a key among its arguments),
            stores nothing, and does not change its arguments in place.

    Raises:
        RecordError: when called: ``f`` uses a traced array that is not among its arguments, or its result is
            not made of arrays.

    Example:
        >>> import numpy as np
        >>> from xpnet.autodiff import grad
        >>> @checkpoint
        ... def segment(x):
        ...     for _ in range(10):
        ...         x = x * x / 2
        ...     return x
        >>> float(grad(lambda x: segment(segment(x)))(np.asarray(2.0)))  # 2 in each of 20 steps
        1048576.0
    """
    name = f"checkpoint of {name_of(f)}"

    @functools.wraps(f)
    def run(*args: Any, **options: Any) -> Any:
        tree = (args, options)
        # What the tape keeps must not refer to its tracers, and so to itself.
        plain = rebuild(tree, list(map(plain_value, leaves(tree))))

        def of_leaves(values: list[Any]) -> Any:
            args, options = rebuild(plain, values)
            return f(*args, **options)

        return _run(name, of_leaves, leaves(tree))

    return run


_OfLeaves = Callable[[list[Any]], Any]  # from the leaves of the arguments to a container


def _run(name: str, f: _OfLeaves, values: list[Any]) -> Any:
    """Return ``f(values)``, recorded as one function where a tape would keep what it computes."""
    traces = traces_of(values)
    if any(map(_is_tape, traces)):
        trace = max(traces, key=lambda trace: trace.level)
        for kind, apply in _APPLY.items():
            if isinstance(trace, kind):
                trace.check_open(Rule(name))
                return apply(name, f, trace, values)
    result = f(values)
    _check_outside(name, filter(_is_tape, traces_of(leaves(result))), traces)
    return result


def _is_tape(trace: Trace) -> bool:
    return type(trace) is ReverseTrace  # a graph shows all that ``f`` computes


def _below(name: str, f: _OfLeaves, trace: Trace, values: Iterable[Any]) -> Any:
    """Return ``f(values)`` of values inside tracers of ``trace``."""
    inside = trace.space.wrap(list(values))
    result = results_of(name, _run(name, f, inside), trace, inside)
    _check_outside(name, traces_of(leaves(result)), traces_of(inside))
    return result


def _check_outside(name: str, found: Iterable[Trace], given: set[Trace]) -> None:
    if any(trace not in given and not trace.records for trace in found):
        raise RecordError(
            f"{name}: expected every traced array that it uses among its arguments, found one from outside, "
            "whose derivative would be lost; pass it as an argument, or use what stop_gradient made of it "
            "outside"
        )


def _recorded(name: str, f: _OfLeaves, trace: Any, values: list[Any]) -> Any:
    """Enter ``f`` into a tape, as one function."""
    wanted = tuple(i for i, x in enumerate(values) if belongs(x, trace))
    result: Any = None

    def function(*values: Any) -> Any:
        nonlocal result
        result = _below(name, f, trace, values)
        return tuple(map(lowered, leaves(result)))

    outs = trace.record(_rule(name, f, wanted), function, tuple(values), {})
    constant = trace.space.wrap
    made = [y if is_floating(y) else constant(x) for y, x in zip(outs, leaves(result), strict=True)]
    return rebuild(result, made)


def _rule(name: str, f: _OfLeaves, wanted: tuple[int, ...]) -> Rule:
    """Return the rule of ``f`` for the arguments of the numbers ``wanted``."""
    pulled: dict[int, Any] = {}  # one evaluation serves all arguments
    source: Any = None

    def pull(position: int, xp: Any, g: list[Any], out: Any, *values: Any) -> Any:
        nonlocal source
        if source is not g:
            source = g
            pulled.update(zip(wanted, _pull(name, f, wanted, values, g), strict=True))
        try:
            return pulled.pop(position)
        finally:
            if not pulled:
                source = None

    def push(xp: Any, tangents: list[Any], out: Any, *values: Any) -> Any:
        known = [i for i, t in enumerate(tangents) if t is not None]
        return _push(name, f, known, list(values), [tangents[i] for i in known])[2]

    return Rule(name, (pull,), push=push, many=True, variadic=True)


def _pull(name: str, f: _OfLeaves, wanted: tuple[int, ...], values: tuple[Any, ...], g: list[Any]) -> Any:
    """Return the cotangents of the values ``wanted``: a second evaluation, which is checkpointed itself."""
    many, used = len(values), [c is not None for c in g]

    def backward(given: list[Any]) -> list[Any]:
        recording = Recording(name, lambda *xs: leaves(f(list(xs))), wanted, tuple(given[:many]), {})
        cotangents = iter(lowered(given[many:]))
        return recording.pull([next(cotangents) if is_used else None for is_used in used])

    return lowered(_run(name, backward, [*values, *(c for c in g if c is not None)]))


def _push(
    name: str, f: _OfLeaves, wanted: list[int], values: list[Any], tangents: list[Any]
) -> tuple[Any, list[Any], list[Any]]:
    """Return the result of ``f``, its leaves, and their tangents (None: not floating)."""
    many = len(values)

    def forward(given: list[Any]) -> Any:
        def along(*varied: Any) -> Any:
            inside = varied[0].trace.space.wrap(list(given[:many]))
            for i, x in zip(wanted, varied, strict=True):
                inside[i] = x
            return f(inside)

        along.__name__ = name
        return jvp(along, tuple(given[i] for i in wanted), tuple(given[many:]))

    result, pushed = _run(name, forward, [*values, *tangents])
    made = list(map(lowered, leaves(result)))
    known = iter(leaves(pushed))  # without the None of others
    return result, made, [lowered(next(known)) if is_floating(y) else None for y in made]


def _pushed(name: str, f: _OfLeaves, trace: Any, values: list[Any]) -> Any:
    """Push tangents through ``f``: a function of values and tangents, one level below."""
    wanted = [i for i, x in enumerate(values) if belongs(x, trace)]
    tangents = [values[i].slot for i in wanted]
    inside = [x.value if belongs(x, trace) else x for x in values]
    result, outs, pushed = _push(name, f, wanted, inside, tangents)
    _check_outside(name, traces_of([*outs, *pushed]), traces_of([*inside, *tangents]))
    made = [
        trace.space.wrap(y) if t is None else Tracer(y, trace, t) for y, t in zip(outs, pushed, strict=True)
    ]
    return rebuild(result, made)


def _mapped(name: str, f: _OfLeaves, trace: Any, values: list[Any]) -> Any:
    """Run ``f`` on all examples: a function of their values, one level below."""
    axes = tuple(0 if belongs(x, trace) else None for x in values)
    inside = [x.value if belongs(x, trace) else x for x in values]
    examples = vmap(lambda *xs: f(list(xs)), axes)
    result = _below(name, lambda given: examples(*given), trace, inside)
    return rebuild(result, [trace.mapped(y) for y in leaves(result)])


_APPLY: dict[type[Trace], Callable[..., Any]] = {
    ReverseTrace: _recorded,
    ForwardTrace: _pushed,
    BatchTrace: _mapped,
}
