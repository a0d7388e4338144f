"""Jacobians and Hessians, and their products with a vector, which cost no more than a few evaluations."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.arguments import (
    handed_back,
    handing_back,
    matched,
    name_of,
)
from xpnet.autodiff.directions import FIRST_COLUMNS, in_batches, rows_at_once
from xpnet.autodiff.selection import Argnames, Argnums, selection, transformed
from xpnet.autodiff.tracer import (
    is_complex,
    is_floating,
    like,
    placement_of,
    plain_namespace,
    plain_value,
)
from xpnet.autodiff.transforms import Recording, grad, jvp, pushed
from xpnet.backends import array_namespace
from xpnet.containers import leaves, map_leaves, rebuild
from xpnet.errors import RecordError, suggest

__all__ = ["ggn_vp", "hessian", "hvp", "jacfwd", "jacobian", "jacrev"]


def jacobian(
    f: Callable[..., Any],
    argnums: Argnums = None,
    mode: str = "reverse",
    *,
    argnames: Argnames = None,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """Return a function that computes the Jacobian J = ∂y/∂x of y = f(x).

    With V operations, E arguments of operations, and k entries of y, reverse mode records f once and walks
    back with k cotangents, which is O(k (V + E)). Forward mode records f once, too, and pushes a tangent for
    each entry of x. Each operation does so for many of them at once (``vmap``), as many as memory allows.

    Args:
        f: function whose result is an array or a container of arrays.
        argnums, argnames: which arguments to differentiate, as for `value_and_grad`; a tuple of numbers gives
            a tuple, one of names a dict.
        mode: ``"reverse"``, cheaper for fewer results than arguments; or ``"forward"``.
        has_aux: ``f`` returns ``(y, aux)``, and the function returned ``(J, aux)``; aux is anything.

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
        recording = Recording(name, f, argnums, args, options, has_aux, argnames=argnames)
        back = handing_back(recording.trace, (args, options))
        argument = _opened(recording.asked)
        blocks = map_leaves(back, _MODES[mode](recording))
        rows = [None if row is None else rebuild(argument, row) for row in blocks]
        made = rebuild(_opened(recording.result), rows)
        return (made, map_leaves(back, recording.aux)) if has_aux else made

    return transformed(run, name, f)


def jacfwd(
    f: Callable[..., Any], argnums: Argnums = None, *, argnames: Argnames = None, has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that computes the Jacobian by forward mode: `jacobian` with ``mode="forward"``.

    >>> import numpy as np
    >>> float(jacfwd(lambda x: x**3)(np.asarray(2.0)))
    12.0
    """
    return jacobian(f, argnums, "forward", argnames=argnames, has_aux=has_aux)


def jacrev(
    f: Callable[..., Any], argnums: Argnums = None, *, argnames: Argnames = None, has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that computes the Jacobian by reverse mode: `jacobian` as it is by default.

    >>> import numpy as np
    >>> float(jacrev(lambda x: x**3)(np.asarray(2.0)))
    12.0
    """
    return jacobian(f, argnums, "reverse", argnames=argnames, has_aux=has_aux)


def hessian(
    f: Callable[..., Any], argnums: Argnums = None, *, argnames: Argnames = None, has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that computes the Hessian H = ∂²f/∂x² of a 0-d result, reverse over reverse.

    The gradient is recorded once and walked back with a cotangent for each of its entries. The result has the
    shape ``x.shape + x.shape``; containers, and tuples of ``argnums`` or ``argnames``, nest twice. With
    ``has_aux`` ``f`` returns ``(value, aux)``, and the function returned ``(H, aux)``.

    Raises:
        RecordError: as :func:`value_and_grad` and :func:`jacobian` do.

    Example:
        >>> import numpy as np
        >>> hessian(lambda x: x[0] ** 2 * x[1])(np.asarray([3.0, 5.0]))
        array([[10.,  6.],
               [ 6.,  0.]])
    """
    gradient = grad(f, argnums, argnames=argnames, has_aux=has_aux)
    return jacobian(gradient, argnums, argnames=argnames, has_aux=has_aux)


def hvp(f: Callable[..., Any], x: Any, v: Any, *, argnums: Argnums = None, has_aux: bool = False) -> Any:
    """Return the Hessian-vector product H v of ``f`` at ``x``.

    It is the derivative of the gradient in the direction v: a few evaluations of ``f``, whatever the size
    of x. Source: B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994).

    Args:
        f: function with a 0-d result.
        x: array or container of arrays, the argument of ``f``; with ``argnums`` the tuple of all arguments.
        v: like ``x``, with None for what is not floating in it; with ``argnums`` like the arguments named.
        argnums: of a function of several arguments, which of them H and v belong to: one, or a tuple, for
            which v and the product are tuples.
        has_aux: ``f`` returns ``(value, aux)``, and this ``(H v, aux)``; aux is anything.

    Raises:
        RecordError: the result is not a real floating 0-d array, or ``v`` is unlike ``x``.

    Example:
        >>> import numpy as np
        >>> hvp(lambda x: x[0] ** 2 * x[1], np.asarray([3.0, 5.0]), np.asarray([1.0, 0.0]))
        array([10.,  6.])
        >>> a, b = np.asarray([3.0]), np.asarray([5.0])
        >>> hvp(lambda a, b: (a**2) @ b, (a, b), (np.ones(1), np.zeros(1)), argnums=(0, 1))
        (array([10.]), array([6.]))
    """
    name, args, directions = f"hvp of {name_of(f)}", (x,), v
    if argnums is not None:
        if not isinstance(x, (tuple, list)):
            raise RecordError(
                f"{name}: expected a tuple of all arguments, for argnums is set, found {type(x).__name__}"
            )
        args = tuple(x)
    call = selection(name, f, argnums, None, args, {})
    directions = (v,) if call.alone else v
    _, *product = pushed(name, grad(f, argnums, has_aux=has_aux), args, call.positions, directions, has_aux)
    return tuple(product) if has_aux else product[0]


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

    def outputs(params: Any) -> Any:
        return jvp(model, (params,), (v,))

    recording = Recording(name, outputs, 0, (params,), {}, has_aux=True)
    y, dy = handed_back((recording.result, recording.aux), recording.trace, (params, v))
    curved = matched(f"{name}: cotangent", recording.result, hvp(loss, y, dy))
    (pulled,) = rebuild(recording.chosen, recording.pull(curved))
    return handed_back(pulled, recording.trace, (params, v))


# --- Rows and columns --------------------------------------------------------------------------------

# For each leaf of the result (None: not floating) its blocks, one for each leaf of the arguments.
_Blocks = list[list[Any] | None]


def _by_rows(recording: Recording) -> _Blocks:
    """Pull unit cotangents back, one for each entry of the result."""
    results = leaves(recording.result)
    first = rows_at_once(recording)

    def pull(i: int, cotangent: Any) -> list[Any]:
        return recording.pull([cotangent if number == i else None for number in range(len(results))])

    return [
        _assembled(recording.name, y, functools.partial(pull, i), first, turn=-1j, axis=0)
        if is_floating(y)
        else None
        for i, y in enumerate(results)
    ]


def _by_columns(recording: Recording) -> _Blocks:
    """Push unit tangents forward, one for each entry of the arguments."""
    inputs = leaves(recording.chosen)

    def push(j: int, tangent: Any) -> list[Any]:
        return recording.push([tangent if number == j else None for number in range(len(inputs))])

    columns = [
        _assembled(recording.name, x, functools.partial(push, j), FIRST_COLUMNS, turn=1j, axis=-1)
        if is_floating(x)
        else None
        for j, x in enumerate(inputs)
    ]
    return [
        [None if column is None else column[i] for column in columns] if is_floating(y) else None
        for i, y in enumerate(leaves(recording.result))
    ]


_MODES: dict[str, Callable[[Recording], _Blocks]] = {"reverse": _by_rows, "forward": _by_columns}


def _assembled(
    name: str, x: Any, apply: Callable[[Any], list[Any]], first: int, *, turn: complex, axis: int
) -> list[Any]:
    """Return ``apply`` of all unit vectors like ``x``, along ``axis`` and in full shape.

    ``apply``, a pullback or a push, is linear over the real numbers. A complex ``x`` therefore takes the
    units and also ``turn`` times the units. A real answer has its real part from the ones, its imaginary
    part from the others; a complex answer must turn likewise, or there is no complex derivative.
    """
    lines = _lines(x, apply, first)
    turned = _lines(x, lambda unit: apply(unit * turn), first) if is_complex(x) else []
    blocks: list[Any] = []
    for number, other in enumerate(lines):
        if other is None:
            blocks.append(None)
            continue
        block = _shaped(other, x.shape, axis)
        if turned:
            block = _joined(name, block, _shaped(turned[number], x.shape, axis), turn, x.dtype)
        blocks.append(block)
    return blocks


def _lines(x: Any, apply: Callable[[Any], list[Any]], first: int) -> list[Any]:
    """Return ``apply`` of all unit vectors like ``x``; the first axis of the answers has their number."""
    xp, size = plain_namespace(x), math.prod(x.shape)

    def units(start: int, count: int) -> list[Any]:
        rows = xp.eye(count, size, k=start, dtype=x.dtype, **placement_of(x))
        return [xp.reshape(rows, (count, *x.shape))]

    return in_batches(xp, size, units, lambda given: apply(given[0]), first)


def _shaped(lines: Any, shape: tuple[int, ...], axis: int) -> Any:
    """Return answers to the units of an array of ``shape``, whose axes come first or last."""
    xp, others = array_namespace(lines), lines.shape[1:]
    if axis == 0:
        return xp.reshape(lines, (*shape, *others))
    return xp.reshape(xp.moveaxis(lines, 0, -1), (*others, *shape))


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
