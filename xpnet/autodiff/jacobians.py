"""Jacobians and Hessians, and their products with a vector, which cost no more than a few evaluations."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

from xpnet.autodiff.arguments import (
    argument_numbers,
    differentiable,
    handed_back,
    lifted_beside,
    matched,
    name_of,
    replaced,
    space_of,
)
from xpnet.autodiff.tracer import device_of, is_complex, is_floating, like, plain_namespace, plain_value
from xpnet.autodiff.transforms import Recording, grad, jvp
from xpnet.backends import array_namespace
from xpnet.backends.lacking import assign
from xpnet.containers import leaves, rebuild
from xpnet.errors import RecordError, suggest

__all__ = ["ggn_vp", "hessian", "hvp", "jacobian"]


def jacobian(
    f: Callable[..., Any], argnums: int | tuple[int, ...] = 0, mode: str = "reverse"
) -> Callable[..., Any]:
    """Return a function that computes the Jacobian J = ∂y/∂x of y = f(x).

    With V operations, E arguments of operations, and k entries of y, reverse mode records f once and walks
    back k times, which is O(k (V + E)). Forward mode evaluates f once for each entry of x.

    Args:
        f: function whose result is an array or a container of arrays.
        argnums: which positional arguments to differentiate; a tuple gives a tuple.
        mode: ``"reverse"``, cheaper for fewer results than arguments; or ``"forward"``.

    Returns:
        A function of the same arguments that returns an array of shape ``y.shape + x.shape``. Containers are
        nested: the result's outside, the argument's inside. Parameters count as their flat vector; the
        entry of what is not floating is None. A real result's Jacobian to a complex x is
        J = ∂y/∂Re x - i ∂y/∂Im x, so that dy = Re(J dx).

    Raises:
        RecordError: an unknown mode; an argument or result that cannot be differentiated; a complex result
            of a complex argument that is not differentiable over the complex numbers (such as x*).

    Example:
        >>> import numpy as np
        >>> jacobian(lambda x: x * x[0])(np.asarray([2.0, 3.0]))
        array([[4., 0.],
               [3., 2.]])
    """
    if mode not in _MODES:
        raise RecordError(
            f"jacobian of {name_of(f)}: expected the mode 'reverse' or 'forward', found {mode!r}"
            f"{suggest(mode, _MODES)}"
        )
    name = f"jacobian of {name_of(f)}"

    def run(*args: Any, **options: Any) -> Any:
        result, chosen, blocks = _MODES[mode](name, f, argnums, args, options)
        argument = _opened(tuple(chosen) if isinstance(argnums, (tuple, list)) else chosen[0])
        rows = [None if row is None else rebuild(argument, row) for row in blocks]
        return rebuild(_opened(result), rows)

    run.__name__ = name
    return run


def hessian(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return a function that computes the Hessian H = ∂²f/∂x² of a 0-d result, reverse over reverse.

    The gradient is recorded once and walked back once for each of its entries. The result has the shape
    ``x.shape + x.shape``; containers, and a tuple of ``argnums``, are nested twice.

    Raises:
        RecordError: as :func:`value_and_grad` and :func:`jacobian` do.

    Example:
        >>> import numpy as np
        >>> hessian(lambda x: x[0] ** 2 * x[1])(np.asarray([3.0, 5.0]))
        array([[10.,  6.],
               [ 6.,  0.]])
    """
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """Return the Hessian-vector product H v of ``f``, a function of one argument, at ``x``.

    It is the derivative of the gradient in the direction v: a few evaluations of ``f``, whatever the size
    of x. Source: B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994).

    Args:
        f: function with a 0-d result.
        x: array or container of arrays.
        v: like ``x``, with None for what is not floating in it.

    Raises:
        RecordError: the result is not a real floating 0-d array, or ``v`` is unlike ``x``.

    Example:
        >>> import numpy as np
        >>> hvp(lambda x: x[0] ** 2 * x[1], np.asarray([3.0, 5.0]), np.asarray([1.0, 0.0]))
        array([10.,  6.])
    """
    return jvp(grad(f), (x,), (v,))[1]


def ggn_vp(model: Callable[[Any], Any], loss: Callable[[Any], Any], params: Any, v: Any) -> Any:
    """Return the product of the generalized Gauss-Newton matrix with a vector: Jᵀ H J v.

    J is the Jacobian of ``model`` at ``params``, H the Hessian of ``loss`` at the model's result. For a
    convex loss the matrix is positive semidefinite, where the Hessian of the composition need not be. The
    model is evaluated once: its tangents are pushed while it is recorded for the backward pass.
    Source: N. N. Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent",
    Neural Computation 14 (2002).

    Args:
        model: function of ``params`` whose result is an array or a container of arrays.
        loss: function of that result with a 0-d result.
        params: array or container of arrays, such as :class:`xpnet.parameters.Parameters`.
        v: like ``params``, with None for what is not floating in it.

    Raises:
        RecordError: the loss is not a real floating 0-d array, or ``v`` is unlike ``params``.

    Example:
        >>> import numpy as np
        >>> X = np.asarray([[1.0, 0.0], [1.0, 2.0]])
        >>> ggn_vp(lambda w: X @ w, lambda y: y @ y, np.zeros(2), np.asarray([1.0, 0.0]))  # 2 XᵀX v
        array([4., 4.])
    """
    name = f"ggn_vp of {name_of(model)}"

    def pushed(params: Any) -> Any:
        return jvp(model, (params,), (v,))

    recording = Recording(name, pushed, 0, (params,), {}, has_aux=True)
    y, dy = handed_back((recording.result, recording.aux), recording.trace, (params, v))
    curved = matched(f"{name}: cotangent", recording.result, hvp(loss, y, dy))
    (pulled,) = rebuild(recording.chosen, recording.pull(curved))
    return handed_back(pulled, recording.trace, (params, v))


# --- Rows and columns --------------------------------------------------------------------------------

# The result; the arguments; and for each leaf of the one (None: not floating) its blocks, for the other's.
_Parts = tuple[Any, list[Any], list[Any]]


def _by_rows(name: str, f: Any, argnums: Any, args: tuple[Any, ...], options: dict[str, Any]) -> _Parts:
    """Pull a unit cotangent back for each entry of the result."""
    recording = Recording(name, f, argnums, args, options)
    results = leaves(recording.result)

    def pull(i: int, cotangent: Any) -> list[Any]:
        return recording.pull([cotangent if number == i else None for number in range(len(results))])

    rows = [
        _assembled(name, y, functools.partial(pull, i), turn=-1j, axis=0) if is_floating(y) else None
        for i, y in enumerate(results)
    ]
    return recording.result, recording.chosen, handed_back(rows, recording.trace, (args, options))


def _by_columns(name: str, f: Any, argnums: Any, args: tuple[Any, ...], options: dict[str, Any]) -> _Parts:
    """Push a unit tangent forward for each entry of the arguments."""
    positions = argument_numbers(name, argnums, len(args))
    chosen = differentiable(name, args, positions)
    inputs = leaves(chosen)
    space_of(name, [x for x in inputs if is_floating(x)])  # refuses none, and those of several libraries
    result: Any = None

    def push(j: int, tangent: Any) -> list[Any]:
        nonlocal result

        def along(x: Any) -> Any:
            space = x.trace.space
            varied = [x if number == j else space.wrap(other) for number, other in enumerate(inputs)]
            return f(*replaced(space, args, positions, rebuild(chosen, varied)), **space.wrap(options))

        along.__name__ = name_of(f)
        result, pushed = jvp(along, (inputs[j],), (tangent,))
        return matched(name, result, pushed)

    columns = [
        _assembled(name, x, functools.partial(push, j), turn=1j, axis=-1) if is_floating(x) else None
        for j, x in enumerate(inputs)
    ]
    rows = [
        [None if column is None else column[i] for column in columns] if is_floating(y) else None
        for i, y in enumerate(leaves(result))
    ]
    return result, chosen, lifted_beside(rows, (args, options))


_MODES: dict[str, Callable[..., _Parts]] = {"reverse": _by_rows, "forward": _by_columns}


def _assembled(
    name: str, x: Any, apply: Callable[[Any], list[Any]], *, turn: complex, axis: int
) -> list[Any]:
    """Return ``apply`` of all unit vectors like ``x``, stacked along ``axis`` and in full shape.

    ``apply``, a pullback or a push, is linear over the real numbers. A complex ``x`` therefore takes the
    units and also ``turn`` times the units. A real answer has its real part from the ones, its imaginary
    part from the others; a complex answer must turn likewise, or there is no complex derivative.
    """
    lines = [apply(unit) for unit in _units(x)]
    turned = [apply(unit * turn) for unit in _units(x)] if is_complex(x) else []
    blocks: list[Any] = []
    for number, other in enumerate(lines[0] if lines else apply(_zeros(x, x.shape))):
        if other is None:
            blocks.append(None)
            continue
        shape = (*x.shape, *other.shape) if axis == 0 else (*other.shape, *x.shape)
        if not lines:
            blocks.append(_zeros(other, shape))
            continue
        block = _stacked([line[number] for line in lines], axis, shape)
        if turned:
            second = _stacked([line[number] for line in turned], axis, shape)
            block = _joined(name, block, second, turn, x.dtype)
        blocks.append(block)
    return blocks


def _units(x: Any) -> Iterator[Any]:
    """Yield the plain arrays like ``x`` that are 1 at one entry, else 0."""
    size = math.prod(x.shape)
    flat = _zeros(x, (size,))
    for i in range(size):
        yield plain_namespace(x).reshape(assign(flat, i, 1), x.shape)


def _zeros(x: Any, shape: tuple[int, ...]) -> Any:
    return plain_namespace(x).zeros(shape, dtype=x.dtype, device=device_of(x))


def _stacked(lines: list[Any], axis: int, shape: tuple[int, ...]) -> Any:
    xp = array_namespace(*lines)
    return xp.reshape(xp.stack(lines, axis=axis), shape)


def _joined(name: str, straight: Any, turned: Any, turn: complex, dtype: Any) -> Any:
    """Return the complex block from the answers to the units and to the turned units."""
    if not is_complex(straight):
        xp = array_namespace(straight, turned)
        return xp.subtract(xp.astype(straight, dtype), xp.astype(turned, dtype) * turn)
    xp, found, wanted = plain_namespace(straight), plain_value(turned), plain_value(straight) * turn
    if math.prod(straight.shape) and bool(
        xp.max(xp.abs(xp.subtract(found, wanted))) > 1e-3 * xp.max(xp.abs(wanted))
    ):
        raise RecordError(
            f"{name}: expected a function that is differentiable over the complex numbers, found one whose "
            "derivative depends on the direction (such as conj, abs or real in it); differentiate a real "
            "result, or write it as a function of the real and imaginary parts"
        )
    return straight


def _opened(tree: Any) -> Any:
    """Return ``tree`` with objects such as Parameters replaced by the array, or tuple of arrays, in them."""
    if isinstance(tree, dict):
        return {key: _opened(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return like(tree, [_opened(value) for value in tree])
    if hasattr(tree, "__leaves__"):
        inside = tree.__leaves__()
        return inside[0] if len(inside) == 1 else tuple(inside)
    return tree
