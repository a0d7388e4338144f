"""``vmap``: a function of one example becomes a function of many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from xpnet.autodiff.arguments import belongs, handing_back, name_of, results_of, space_of
from xpnet.autodiff.batch import BatchTrace
from xpnet.autodiff.selection import transformed
from xpnet.autodiff.tracer import plain_value
from xpnet.backends import is_array
from xpnet.containers import leaves, rebuild
from xpnet.errors import RecordError

__all__ = ["vmap"]


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Return a function that applies ``f`` to each example of its arguments, all at once.

    The function runs once, on arrays that stand for one example; each array function in it computes all
    examples together. ``vmap`` nests with itself, with the transforms to derivatives and with
    ``xpnet.compile``, inside and outside.

    Args:
        f: function of one example whose result is an array or a container of arrays. It can use all functions
            of the standard whose results have the same shape for all examples, and decide by shapes, not by
            values.
        in_axes: along which axis the examples of an argument lie; None for an argument that is the same for
            all. One for all positional arguments, or a tuple with one for each; for an argument that is a
            container it may be a container of them. Keyword arguments are the same for all.
        out_axes: where the axis of the examples goes in the result, in the same form; None for a result that
            is the same for all.

    Returns:
        A function of the same arguments with an axis more. Random numbers are the same for all examples
        unless their keys are mapped. A function with a rule of `custom_rule` is called once if it is array
        code, else for each example.

    Raises:
        RecordError: axes that an argument lacks, or of different sizes; a result whose shape, or Python's
            control flow, that depends on values.

    Example, the gradient of each row's loss:
        >>> import numpy as np
        >>> from xpnet.autodiff import grad
        >>> w, X, y = np.asarray([1.0, 2.0]), np.asarray([[1.0, 0.0], [0.0, 3.0]]), np.asarray([0.0, 5.0])
        >>> vmap(grad(lambda w, x, y: (x @ w - y) ** 2), in_axes=(None, 0, 0))(w, X, y)
        array([[2., 0.],
               [0., 6.]])
    """
    name = f"vmap of {name_of(f)}"

    def run(*args: Any, **options: Any) -> Any:
        given = _given(name, in_axes, args)
        trace = BatchTrace(_space(name, given), _size(name, given))
        inside = [
            trace.space.wrap(x) if axis is None else trace.mapped(_in_front(trace.rule_space, x, axis))
            for _, x, axis in given
        ]
        try:
            result = f(*rebuild(args, inside), **trace.space.wrap(options))
        finally:
            trace.open = False
        result = results_of(name, result, trace, list(args))
        back = handing_back(trace, (args, options))
        placed = [
            back(_placed(path, trace, y, axis))
            for path, y, axis in _matched(f"{name}: result", "out_axes", result, out_axes)
        ]
        return rebuild(result, placed)

    return transformed(run, name, f)


# --- Arguments ---------------------------------------------------------------------------------------

# of each leaf of the arguments its place, itself and its mapped axis
_Given = list[tuple[str, Any, int | None]]


def _given(name: str, in_axes: Any, args: tuple[Any, ...]) -> _Given:
    """Return the leaves of the arguments; no axis is negative."""
    if not isinstance(in_axes, (list, tuple)):
        in_axes = (in_axes,) * len(args)
    elif len(in_axes) != len(args):
        raise RecordError(
            f"{name}: expected in_axes with an entry for each of the {len(args)} arguments, found "
            f"{in_axes!r}; of a single argument that is a container write in_axes=(axes,)"
        )
    found: _Given = []
    for number, (argument, axes) in enumerate(zip(args, in_axes, strict=True), 1):
        for path, x, axis in _matched(f"{name}: argument {number}", "in_axes", argument, axes):
            if axis is not None:
                _check_axis(path, x, axis)
                axis %= len(x.shape)
            found.append((path, x, axis))
    return found


def _space(name: str, given: _Given) -> Any:
    """Return the plain namespace of the mapped arrays."""
    mapped = [x for _, x, axis in given if axis is not None]
    if not mapped:
        raise RecordError(
            f"{name}: expected an argument with an axis of examples, found none; give the axis in in_axes, "
            "or call the function itself"
        )
    return space_of(name, mapped)


def _size(name: str, given: _Given) -> int:
    """Return the number of examples."""
    sizes = {path: (x.shape[axis], axis) for path, x, axis in given if axis is not None}
    (first, (size, _)), *others = sizes.items()
    for path, (other, axis) in others:
        if other != size:
            place = path.removeprefix(f"{name}: ")
            raise RecordError(
                f"{first}: expected as many examples as {place} has, {other} along axis {axis}, found "
                f"{size}; give None in in_axes for an argument that is the same for all examples"
            )
    return size


def _check_axis(path: str, x: Any, axis: int) -> None:
    if not is_array(plain_value(x)):
        raise RecordError(
            f"{path}: expected an array with an axis of examples, found {type(x).__name__}; give None "
            "for it in in_axes if it is the same for all examples"
        )
    ndim = len(x.shape)
    if not -ndim <= axis < ndim:
        raise RecordError(
            f"{path}: expected an array with axis {axis}, along which the examples lie, found shape "
            f"{tuple(x.shape)}; give another axis in in_axes, or None if it is the same for all examples"
        )


def _matched(path: str, what: str, tree: Any, axes: Any) -> Iterator[tuple[str, Any, int | None]]:
    """Yield the place of each leaf of ``tree``, the leaf, and its axis by ``in_axes`` or ``out_axes``."""
    if axes is None or (isinstance(axes, int) and not isinstance(axes, bool)):
        for place, leaf in _leaves(path, tree):
            yield place, leaf, axes
    elif isinstance(axes, dict) and isinstance(tree, dict) and axes.keys() == tree.keys():
        for key, value in tree.items():
            yield from _matched(f"{path}[{key!r}]", what, value, axes[key])
    elif isinstance(axes, (list, tuple)) and isinstance(tree, (list, tuple)) and len(axes) == len(tree):
        for i, (value, axis) in enumerate(zip(tree, axes, strict=True)):
            yield from _matched(f"{path}[{i}]", what, value, axis)
    else:
        kind = f"a dict with the keys {list(tree)}" if isinstance(tree, dict) else f"a {type(tree).__name__}"
        raise RecordError(
            f"{path}: expected a whole number, None or, for {kind}, a container of them like it in {what}, "
            f"found {axes!r}"
        )


def _leaves(path: str, tree: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(f"{path}[{key!r}]", value)
    elif isinstance(tree, (list, tuple)):
        for i, value in enumerate(tree):
            yield from _leaves(f"{path}[{i}]", value)
    else:
        for leaf in leaves(tree):
            yield path, leaf


def _in_front(xp: Any, x: Any, axis: int) -> Any:
    """Return an array with the examples along its first axis, in memory, too: each of them in one piece.

    Else results of it would be laid out otherwise than those of one example, and have other views.
    """
    ways = getattr(x, "strides", None)
    in_pieces = not isinstance(ways, tuple) or all(
        abs(way) <= abs(ways[0]) for way, n in zip(ways, x.shape, strict=True) if n > 1
    )
    if not axis and in_pieces:
        return x
    x = xp.moveaxis(x, axis, 0) if axis else x
    return xp.reshape(x, x.shape, copy=True)


# --- Results -----------------------------------------------------------------------------------------


def _placed(path: str, trace: BatchTrace, y: Any, axis: int | None) -> Any:
    """Return a leaf of the result with the examples along an axis."""
    is_mapped = belongs(y, trace)
    if axis is None:
        if is_mapped:
            raise RecordError(
                f"{path}: expected a result that is the same for all examples, as out_axes=None says, found "
                "one that differs; give the axis for its examples in out_axes"
            )
        return y
    ndim = len(y.shape) + 1
    if not -ndim <= axis < ndim:
        raise RecordError(
            f"{path}: expected an axis of the result of all examples, which has {ndim}, found {axis}; give "
            "another one in out_axes"
        )
    value = trace.spread(y)
    return trace.rule_space.moveaxis(value, 0, axis) if axis % ndim else value
