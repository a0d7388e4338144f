"""Custom derivative rules for a user's own functions."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.arguments import array_beside, belongs, entries, explain_mixture, name_of
from xpnet.autodiff.batch import BatchTrace
from xpnet.autodiff.mapping import vmap
from xpnet.autodiff.reverse import ReverseTrace
from xpnet.autodiff.rules import Rule
from xpnet.autodiff.rules.batching import Call, by_examples
from xpnet.autodiff.rules.rule import fit
from xpnet.autodiff.tracer import (
    Tracer,
    dispatch,
    is_floating,
    like,
    lowered,
    option_without_derivative,
    plain_namespace,
    plain_value,
    traces_of,
    without_derivative,
)
from xpnet.backends import array_namespace, is_array, is_out_of_memory
from xpnet.containers import leaves, map_leaves, rebuild
from xpnet.errors import RecordError

__all__ = ["custom_rule"]


def custom_rule(
    *pulls: Callable[..., Any] | None, push: Callable[..., Any] | None = None, many: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a function of arrays a custom derivative rule.

    The function is called with plain arrays, whatever derivatives are taken, so it may use NumPy, SciPy, a
    solver or compiled code. Its derivatives are what the rule says; where the rule is array code, they can
    be differentiated again. Under ``vmap``, and for Jacobians, function and rule are first tried on arrays
    that stand for one example; if that fails, for whatever reason, they are called for each example with
    plain arrays. So they must have no side effects. An argument may be a container of arrays. By a traced
    array that the function takes from elsewhere (a closure) it is differentiated as the code that it is.

    Args:
        *pulls: for each positional argument ``pull(xp, g, out, *args, **options)``, which returns its
            cotangent from the cotangent ``g`` of the result ``out``; None for an argument without
            derivative. ``xp`` is the namespace to compute with. A cotangent over broadcast axes is summed.
            That of a container is one like it, with None for zero.
        push: ``push(xp, tangents, out, *args, **options)``, which returns the tangent of the result;
            ``tangents`` has None for constants, also inside containers. Without it forward mode transposes
            the pulls; without pulls reverse mode transposes it.
        many: the function returns a tuple of arrays; ``out`` is that tuple, ``g`` a list of cotangents
            (None for those of unused results), and a push returns a tuple.

    Raises:
        RecordError: neither a pull nor a push is given, or more pulls than the function has arguments; when
            the function is called: arrays of another library returned; under ``vmap``, traced arrays from
            elsewhere.

    Example, a root of y + y³ = x, where dy/dx = 1 / (1 + 3 y²):
        >>> import numpy as np
        >>> from xpnet import autodiff
        >>> @custom_rule(lambda xp, g, out, x: g / (1 + 3 * out**2))
        ... def root(x):
        ...     return 2 / np.sqrt(3) * np.sinh(np.arcsinh(1.5 * np.sqrt(3) * x) / 3)
        >>> float(autodiff.grad(root)(np.asarray(2.0)))
        0.25
        >>> float(autodiff.grad(autodiff.grad(root))(np.asarray(2.0)))  # -6 y / (1 + 3 y²)³
        -0.09375
    """

    def decorate(f: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(f):
            raise RecordError(
                f"custom_rule: expected a function to decorate, found {type(f).__name__}; write "
                "@custom_rule(pull, ...) with one pull for each argument"
            )
        name = name_of(f)
        signature = _checked_signature(name, f, pulls, push)
        rule = _rule(name, pulls, push, many)

        @functools.wraps(f)
        def call(*args: Any, **options: Any) -> Any:
            if options and signature is not None:  # pulls know arguments by their position
                bound = signature.bind(*args, **options)
                args, options = bound.args, bound.kwargs
            args = tuple(map(_unlifted, args))
            beside: list[Any] = []
            kept = beside if any(type(x) is Tracer for x in leaves(args)) else None
            function: Any = functools.partial(_plain_call, name, f, many, kept)
            own = rule
            if any(_is_traced_container(x) for x in args):
                own = _rule(name, *_of_leaves(name, args, pulls, push), many)
                function, args = _function_of_leaves(function, args), tuple(leaves(args))
            out = _apply(own, function, *args, **options)
            if not many:
                return _with_derivatives(name, [out], beside)[0]
            return like(out, [_constant_if_whole(y) for y in _with_derivatives(name, out, beside)])

        return call

    return decorate


def _checked_signature(name: str, f: Any, pulls: tuple[Any, ...], push: Any) -> inspect.Signature | None:
    if not any(pulls) and push is None:
        raise RecordError(
            f"custom_rule of {name}: expected a pull for an argument, or a push, found neither; for a "
            "function without derivative use xpnet.autodiff.stop_gradient"
        )
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # compiled functions may have none
        return None
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    places = sum(
        kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds
    )
    if len(pulls) > places and inspect.Parameter.VAR_POSITIONAL not in kinds:
        raise RecordError(
            f"custom_rule of {name}: expected at most {places} pulls, one for each positional argument, "
            f"found {len(pulls)}"
        )
    return signature


def _rule(name: str, pulls: tuple[Any, ...], push: Any, many: bool) -> Rule:
    pushing = None if push is None else _checked_push(name, push, many)
    if any(pulls):
        pulling = tuple(pull and _checked_pull(name, i, pull, many) for i, pull in enumerate(pulls))
        return Rule(name, pulling, push=pushing, many=many)
    return Rule(name, (_transposed(pushing, many),), push=pushing, many=many, variadic=True)


def _apply(rule: Rule, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return ``function`` of arguments, recorded under ``rule`` if they are traced.

    As what `dispatch` returns; but that refers to itself, and is not for a function of a single call.
    """
    traces = [x.trace for x in (*args, *options.values()) if type(x) is Tracer]
    if not traces:
        return function(*args, **options)
    trace = max(traces, key=lambda trace: trace.level)
    options = {name: option_without_derivative(rule, name, x) for name, x in options.items()}
    if trace.hides_axis:  # no tape keeps the function, which may hold traced arrays of it
        rule = dataclasses.replace(rule, batch=functools.partial(_batch, rule, function))
    return trace.record(rule, functools.partial(_apply, rule, function), args, options)


# --- The function itself -----------------------------------------------------------------------------


def _unlifted(x: Any) -> Any:
    """Return a container without lifted arrays in it."""
    return lowered(x) if isinstance(x, (list, tuple, dict)) else x


def _plain_call(
    name: str, f: Callable[..., Any], many: bool, beside: list[Any] | None, *args: Any, **options: Any
) -> Any:
    """Call ``f`` with plain arrays; its results are checked and converted to arrays of the same library.

    Traced arrays that it takes from elsewhere make its results traced. Where its arguments are traced, too,
    those results are put ``beside``, and only their values are returned.
    """
    out = f(*args, **options)
    if beside is not None and any(type(y) is Tracer for y in leaves(out)):
        given = traces_of(leaves([args, options]))
        if not traces_of(leaves(out)) <= given:
            beside.append(out)
            out = map_leaves(without_derivative, out)
            if not traces_of(leaves(out)) <= given:
                raise _lost(name)
    if isinstance(out, (list, tuple)) is not many:
        raise RecordError(
            f"{name}: expected {'a tuple of arrays' if many else 'one array'} as result, found "
            f"{type(out).__name__}; say custom_rule(..., many={not many})"
        )
    arrays = [x for x in args if is_array(x)]
    if not arrays:
        return out
    return like(out, [_array_of(name, y, arrays) for y in out]) if many else _array_of(name, out, arrays)


def _lost(name: str) -> RecordError:
    return RecordError(
        f"{name}: expected a function of its arguments, found that it uses a traced array from elsewhere, "
        "which vmap and compile cannot follow; pass it as an argument"
    )


def _with_derivatives(name: str, outs: Any, beside: list[Any]) -> list[Any]:
    """Return results with derivatives by traced arrays that the function took from elsewhere as well."""
    if not beside:
        return list(outs)
    if len(beside) > 1:  # one for each example
        raise _lost(name)
    found = beside.pop()
    parts = found if isinstance(found, (list, tuple)) else [found]
    made = []
    for y, part in zip(outs, parts, strict=True):
        if type(part) is Tracer and is_floating(part):
            y = array_namespace(y, part).add(y, _shadow(part))
        made.append(y)
    return made


# Zero, with the derivative of what it is taken of.
_shadow = dispatch(
    Rule("shadow", (lambda xp, g, out, x: g,), push=lambda xp, tangents, out, x: tangents[0]),
    lambda x: array_namespace(x).zeros_like(x),
)


def _array_of(name: str, y: Any, arrays: list[Any]) -> Any:
    if isinstance(y, (bool, int, float, complex)):
        return array_beside(y, arrays)
    if not is_array(y):
        raise RecordError(f"{name}: expected an array as result, found {type(y).__name__}")
    if array_namespace(y) is not array_namespace(arrays[0]):
        explain_mixture(f"result of {name}", array_namespace(arrays[0]), [y])
    return y


def _constant_if_whole(y: Any) -> Any:
    """Return results that are not floating, such as indices, as constants."""
    if type(y) is not Tracer or is_floating(y):
        return y
    return y.trace.space.wrap(without_derivative(y))


# --- Its derivatives ---------------------------------------------------------------------------------


def _liftable(xp: Any, *values: Any) -> tuple[Any, ...]:
    """Return ``xp`` and ``values``, all of them traced or lifted if one is, so that all operators work."""
    traced = next((x for x in leaves(list(values)) if type(x) is Tracer), None)
    if traced is None:
        return xp, *values
    space = traced.trace.space
    return space, *map(space.wrap, values)


def _checked_pull(name: str, position: int, pull: Callable[..., Any], many: bool) -> Callable[..., Any]:
    def checked(xp: Any, g: Any, out: Any, *args: Any, **options: Any) -> Any:
        if many:
            g = [c if is_floating(y) else None for c, y in zip(g, out, strict=True)]
        xp, g, out, args = _liftable(xp, g, out, args)
        x = args[position]
        return lowered(_fitted(f"pull {position + 1} of {name}", xp, pull(xp, g, out, *args, **options), x))

    return _or_by_examples(checked)


def _checked_push(name: str, push: Callable[..., Any], many: bool) -> Callable[..., Any]:
    def checked(xp: Any, tangents: list[Any], out: Any, *args: Any, **options: Any) -> Any:
        xp, tangents, out, args = _liftable(xp, tangents, out, args)
        pushed = push(xp, tangents, out, *args, **options)
        what = f"push of {name}"
        if not many:
            return lowered(_fitted(what, xp, pushed, out))
        if not isinstance(pushed, (list, tuple)) or len(pushed) != len(out):
            raise RecordError(
                f"{what}: expected a tuple of {len(out)} tangents, found {type(pushed).__name__}"
            )
        made = []
        for t, y in zip(pushed, out, strict=True):
            made.append(lowered(xp.zeros_like(y) if t is None else _fitted(what, xp, t, y)))
        return made

    return _or_by_examples(checked)


def _fitted(what: str, xp: Any, g: Any, x: Any) -> Any:
    """Return the derivative ``g`` in the shape and dtype of ``x``."""
    if g is None:
        return xp.zeros_like(x)
    if type(g) in (int, float) and (g == 0 or not x.shape):
        g = xp.zeros_like(x) + g
    shape = tuple(getattr(g, "shape", ()))
    kept = shape[len(shape) - len(x.shape) :]
    fits = len(kept) == len(x.shape) and all(n in (1, m) for n, m in zip(x.shape, kept, strict=True))
    if not fits or not hasattr(g, "shape"):
        found = f"shape {shape}" if hasattr(g, "shape") else type(g).__name__
        raise RecordError(f"{what}: expected an array of shape {tuple(x.shape)}, found {found}")
    return fit(xp, g, x)


def _transposed(push: Any, many: bool) -> Callable[..., Any]:
    """Return the pull for any argument that a push, being linear in the tangents, implies."""

    def pull(position: int, xp: Any, g: Any, out: Any, *args: Any, **options: Any) -> Any:
        trace = ReverseTrace(plain_namespace(args[position]))
        seed = trace.leaf(trace.space.zeros_like(args[position]))
        tangents = [seed if number == position else None for number in range(len(args))]
        pushed = push(trace.rule_space, tangents, out, *args, **options)
        trace.open = False
        starts: dict[int, Any] = {}
        for c, t in zip(g, pushed, strict=True) if many else [(g, pushed)]:
            if c is not None and belongs(t, trace):
                starts[t.slot] = c if t.slot not in starts else trace.rule_space.add(starts[t.slot], c)
        (pulled,) = trace.pull_back(starts, [seed.slot])
        return seed.value if pulled is None else pulled

    return pull


# --- Containers as arguments -------------------------------------------------------------------------


def _is_traced_container(x: Any) -> bool:
    return type(x) is not Tracer and any(type(leaf) is Tracer for leaf in leaves(x))


def _function_of_leaves(function: Callable[..., Any], tree: tuple[Any, ...]) -> Callable[..., Any]:
    like = rebuild(tree, list(map(plain_value, leaves(tree))))  # what a tape keeps must not hold its tracers
    return lambda *values, **options: function(*rebuild(like, list(values)), **options)


def _of_leaves(name: str, tree: tuple[Any, ...], pulls: Any, push: Any) -> tuple[tuple[Any, ...], Any]:
    """Return pulls and push of the leaves of containers, by those of the containers themselves."""
    counts = [len(leaves(x)) for x in tree]
    like = rebuild(tree, list(map(plain_value, leaves(tree))))

    def pull_for(position: int, number: int) -> Callable[..., Any]:
        def pull(xp: Any, g: Any, out: Any, *values: Any, **options: Any) -> Any:
            args = rebuild(like, list(values))
            pulled = pulls[position](xp, g, out, *args, **options)
            return entries(f"pull {position + 1} of {name}", args[position], pulled)[number]

        return pull

    def push_all(xp: Any, tangents: list[Any], out: Any, *values: Any, **options: Any) -> Any:
        return push(xp, list(rebuild(like, tangents)), out, *rebuild(like, list(values)), **options)

    found = [
        pull_for(position, number) if position < len(pulls) and pulls[position] else None
        for position, count in enumerate(counts)
        for number in range(count)
    ]
    return tuple(found), push and push_all


# --- Many examples -----------------------------------------------------------------------------------


def _batch(rule: Rule, function: Callable[..., Any], call: Call, *values: Any, **options: Any) -> Any:
    """Map the function over examples as array code, and its rule with it; failing that, call it for each."""
    axes = tuple(0 if mapped else None for mapped in call.mapped)
    try:
        return _apply(_mapped_rule(rule, axes), vmap(function, axes), *values, **options)
    except Exception as error:  # code that is no array code of the standard can fail in any way
        if is_out_of_memory(error):
            raise
        return by_examples(call, *values, **options)


def _or_by_examples(part: Callable[..., Any]) -> Callable[..., Any]:
    """Return a pull or push that, if it is no array code, runs for each example of mapped arrays."""
    return functools.partial(_call_or_by_examples, part)


def _call_or_by_examples(
    part: Callable[..., Any], xp: Any, g: Any, out: Any, *args: Any, **options: Any
) -> Any:
    try:
        return part(xp, g, out, *args, **options)
    except Exception as error:
        traces = [x.trace for x in leaves([g, out, args]) if type(x) is Tracer]
        batches = [trace for trace in traces if isinstance(trace, BatchTrace)]
        trace = max(batches, key=lambda trace: trace.level, default=None)  # the innermost
        if trace is None or not trace.size or is_out_of_memory(error):
            raise

    def of_example(number: int) -> Any:
        example = map_leaves(
            lambda x: x.value[number, ...] if belongs(x, trace) else lowered(x), [g, out, *args]
        )
        traced = any(type(x) is Tracer for x in leaves(example))
        space = trace.rule_space if traced else trace.xp
        return _call_or_by_examples(part, space, *example, **options)

    made = [of_example(number) for number in range(trace.size)]
    stack = trace.rule_space.stack
    if isinstance(made[0], list):
        return [trace.mapped(stack(list(parts))) for parts in zip(*made, strict=True)]
    return trace.mapped(stack(made))


def _mapped_rule(rule: Rule, axes: tuple[int | None, ...]) -> Rule:
    """Return the rule of the function that ``vmap`` makes of the rule's function."""

    def pull_for(position: int) -> Callable[..., Any] | None:
        if not rule.variadic and not any(rule.pulls[position : position + 1]):
            return None

        def pull(xp: Any, g: Any, out: Any, *args: Any, **options: Any) -> Any:
            one = functools.partial(rule.pull(position), xp, **options)
            pulled = vmap(one, (0, 0, *axes))(g, out, *args)
            return lowered(pulled if axes[position] == 0 else array_namespace(pulled).sum(pulled, axis=0))

        return pull

    push = rule.push

    def push_all(xp: Any, tangents: list[Any], out: Any, *args: Any, **options: Any) -> Any:
        assert push is not None
        one = functools.partial(push, xp, **options)
        return lowered(vmap(one, (list(axes), 0, *axes))(tangents, out, *args))

    pulls = tuple(pull_for(position) for position in range(len(axes)))
    return Rule(rule.name, pulls, push=push and push_all, many=rule.many)
