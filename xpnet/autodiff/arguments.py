"""Arguments and results of transforms: checks, conversions, and the errors of both."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from xpnet.autodiff.trace import Trace
from xpnet.autodiff.tracer import (
    Tracer,
    device_of,
    is_floating,
    lowered,
    placement_of,
    plain_namespace,
    plain_value,
)
from xpnet.backends import array_namespace, is_array
from xpnet.backends.lacking import copy, is_writeable, memory_of
from xpnet.containers import leaves, map_leaves
from xpnet.errors import BackendError, RecordError, XpnetError

__all__ = [
    "apart",
    "array_beside",
    "belongs",
    "differentiable",
    "entries",
    "explain_arguments",
    "explain_mixture",
    "handed_back",
    "handing_back",
    "lifted_beside",
    "matched",
    "name_of",
    "replaced",
    "results_of",
    "space_of",
]

_NUMBERS = (bool, int, float, complex)


def array_beside(number: Any, others: Iterable[Any]) -> Any:
    """Return a Python number as a 0-d array of the library and device of the arrays among ``others``.

    Floating arrays come first; a float takes their dtype. Beside no array it is NumPy's.
    """
    arrays = [x for x in others if is_array(plain_value(x))]
    if not arrays:
        return np.asarray(number)
    array = next(filter(is_floating, arrays), arrays[0])
    dtype = array.dtype if isinstance(number, float) and is_floating(array) else None
    return array_namespace(array).asarray(number, dtype=dtype, **placement_of(array))


def name_of(f: Any) -> str:
    """Return the name of ``f`` for messages."""
    return getattr(f, "__name__", type(f).__name__)


def belongs(x: Any, trace: Trace) -> bool:
    """True for a traced array of ``trace`` itself."""
    return type(x) is Tracer and x.trace is trace


# --- Arguments ---------------------------------------------------------------------------------------


def _is_number(x: Any) -> bool:
    """True for a number of Python's; NumPy's scalars, some of which are floats too, are arrays."""
    return isinstance(x, _NUMBERS) and not hasattr(x, "dtype")


def _float_beside(others: list[Any], x: Any) -> Any:
    return array_beside(x, others) if _is_number(x) and isinstance(x, (float, complex)) else x


def differentiable(name: str, args: tuple[Any, ...], positions: tuple[int, ...]) -> list[Any]:
    """Return the arguments to differentiate, with Python's floats as 0-d arrays, checked to be floating.

    Whole numbers and truth values inside containers are constants, as arrays of them are.
    """
    chosen = []
    for position in positions:
        value = args[position]
        if _is_number(value):
            value = array_beside(value, leaves(args))
        elif any(_is_number(x) and isinstance(x, (float, complex)) for x in leaves(value)):
            value = map_leaves(functools.partial(_float_beside, leaves(args)), value)
        is_container = isinstance(value, (dict, list, tuple)) or hasattr(value, "__leaves__")
        if not is_container and not is_floating(value):
            given_array = is_array(plain_value(value))
            raise RecordError(
                f"{name}: expected a floating array as argument {position}, found "
                + (
                    f"dtype {value.dtype}; convert it with xp.astype(x, xp.float64)"
                    if given_array
                    else f"{type(value).__name__}; pass an array, or a dict, list or tuple of arrays"
                )
            )
        chosen.append(value)
    return chosen


def replaced(space: Any, args: tuple[Any, ...], positions: tuple[int, ...], values: list[Any]) -> list[Any]:
    """Return ``args`` with ``values`` at ``positions``, and the other arrays among them lifted by ``space``.

    So code that asks several arguments for their common namespace finds one, of which some are traced.
    """
    inside = [x if i in positions else space.wrap(x) for i, x in enumerate(args)]
    for position, value in zip(positions, values, strict=True):
        inside[position] = value
    return inside


def space_of(name: str, arrays: list[Any]) -> Any:
    """Return the plain namespace of the floating ``arrays`` that are differentiated."""
    if not arrays:
        raise RecordError(
            f"{name}: expected a floating array among the arguments to differentiate, found none"
        )
    try:
        return plain_namespace(*arrays)
    except BackendError as error:
        raise RecordError(f"{name}: {_mixture(arrays)}") from error


# --- Tangents and cotangents -------------------------------------------------------------------------


def matched(what: str, tree: Any, other: Any) -> list[Any]:
    """Return the entries of ``other``, a tangent or cotangent, that match the leaves of ``tree``.

    Leaves that are not floating take None. A Python number stands for a 0-d array.

    Raises:
        RecordError: another structure, shape, dtype or library; the message says at which place.
    """
    made = []
    for path, x, t in _pairs(what, tree, other):
        if not is_floating(x):
            t = None
        elif isinstance(t, _NUMBERS) and not x.shape:
            t = lowered(array_namespace(x).asarray(t, dtype=x.dtype, **placement_of(x)))
        else:
            _check_like(path, x, t)
        made.append(lowered(t))
    return made


def entries(what: str, tree: Any, other: Any) -> list[Any]:
    """Return the entries of ``other`` in the places of the leaves of ``tree``, whose structure it has.

    Raises:
        RecordError: another structure; the message says at which place.
    """
    return [entry for _, _, entry in _pairs(what, tree, other)]


def _pairs(path: str, tree: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the place of each leaf of ``tree``, the leaf, and the entry of ``other`` in that place."""
    if isinstance(tree, dict):
        if not isinstance(other, dict) or other.keys() != tree.keys():
            raise _unlike(path, f"a dict with the keys {list(tree)}", other)
        for key, value in tree.items():
            yield from _pairs(f"{path}[{key!r}]", value, other[key])
    elif isinstance(tree, (list, tuple)):
        if not isinstance(other, (list, tuple)) or len(other) != len(tree):
            raise _unlike(path, f"a {type(tree).__name__} of {len(tree)}", other)
        for number, value in enumerate(tree):
            yield from _pairs(f"{path}[{number}]", value, other[number])
    elif hasattr(tree, "__leaves__"):
        if type(other) is not type(tree) or len(leaves(other)) != len(leaves(tree)):
            raise _unlike(path, f"a {type(tree).__name__}", other)
        for x, t in zip(leaves(tree), leaves(other), strict=True):
            yield path, x, t
    elif tree is not None:
        yield path, tree, other


def _unlike(path: str, expected: str, found: Any) -> RecordError:
    if isinstance(found, dict):
        text = f"a dict with the keys {list(found)}"
    elif isinstance(found, (list, tuple)):
        text = f"a {type(found).__name__} of {len(found)}"
    else:
        text = type(found).__name__
    return RecordError(
        f"{path}: expected {expected}, found {text}; it has the structure of what it belongs to"
    )


def _check_like(path: str, x: Any, t: Any) -> None:
    if isinstance(t, (dict, list, tuple)) or t is None or not hasattr(t, "shape"):
        raise RecordError(
            f"{path}: expected an array of shape {tuple(x.shape)}, found {type(t).__name__}; "
            "none is xp.zeros_like(x)"
        )
    if not _may_have_shape(t, x.shape):
        raise RecordError(f"{path}: expected the shape {tuple(x.shape)} of its array, found {tuple(t.shape)}")
    mixed = _mixture([x, t])
    if mixed:
        raise RecordError(f"{path}: {mixed}")
    if t.dtype != x.dtype:
        raise RecordError(
            f"{path}: expected the dtype {x.dtype} of its array, found {t.dtype}; convert it with xp.astype"
        )


def _may_have_shape(x: Any, shape: tuple[Any, ...]) -> bool:
    """True if ``x`` has a shape, as far as both are known."""
    pairs = zip(x.shape, shape, strict=False)
    return len(x.shape) == len(shape) and all(m == n or _is_unknown(m) or _is_unknown(n) for m, n in pairs)


def _is_unknown(size: Any) -> bool:
    """True for the size of a lazy array's axis that depends on values: None in ndonnx, NaN in dask."""
    return size is None or size != size


# --- Results -----------------------------------------------------------------------------------------


def results_of(name: str, result: Any, trace: Trace, beside: list[Any]) -> Any:
    """Return the result of ``f``, checked to contain only arrays, with Python numbers as 0-d constants."""

    def check(y: Any) -> Any:
        if _is_number(y):
            whole = isinstance(y, int) and not isinstance(y, bool)
            return array_beside(float(y) if whole else y, leaves(beside))
        if type(y) is not Tracer and not is_array(y):
            raise RecordError(
                f"{name}: expected arrays (or containers of them) as result, found {type(y).__name__}"
            )
        if type(y) is Tracer and y.trace is not trace and not y.trace.open:
            raise RecordError(
                f"{name}: expected a result made of its arguments, found a traced array that escaped from a "
                "finished transform; return it from the function differentiated there instead of storing it"
            )
        return y

    if belongs(result, trace):
        return result
    if result is None:
        raise RecordError(f"{name}: expected arrays as result, found None; does it return what it computes?")
    return map_leaves(check, result)


def apart(pulled: list[Any], given: Any = None) -> list[Any]:
    """Return derivatives in separate memory, so that each may be changed in place.

    Two of them can be one array, and a cotangent that was given can come back as it is.
    """
    seen = {memory_of(x) for x in leaves(given)}
    made = []
    for g in pulled:
        place = memory_of(g)
        made.append(copy(g) if place is not None and (place in seen or not is_writeable(g)) else g)
        seen.add(place)
    return made


def handed_back(tree: Any, trace: Trace, given: Any) -> Any:
    """Return ``tree`` for the caller of a transform: the values inside tracers of ``trace``.

    Arrays are plain where all those that the caller gave are plain, else traced or lifted ones.
    """
    return map_leaves(handing_back(trace, given), tree)


def handing_back(trace: Trace, given: Any) -> Callable[[Any], Any]:
    """Return the function that :func:`handed_back` applies to each leaf."""
    wrap = _lifting_beside(given)

    def value_of(x: Any) -> Any:
        value = lowered(x.value if type(x) is Tracer and x.trace is trace else x)
        return value if wrap is None else wrap(value)

    return value_of


def lifted_beside(tree: Any, given: Any) -> Any:
    """Return ``tree`` with plain arrays lifted if a traced or lifted array is among those in ``given``."""
    wrap = _lifting_beside(given)
    return tree if wrap is None else map_leaves(wrap, tree)


def _lifting_beside(given: Any) -> Callable[[Any], Any] | None:
    for x in leaves(given):
        if type(x) is Tracer:
            return x.trace.space.wrap
    return None


# --- Libraries and devices that do not mix -----------------------------------------------------------


def explain_arguments(name: str, error: Exception) -> None:
    """Raise RecordError from ``error`` if a rule does not take these arguments."""
    frame = error.__traceback__
    if isinstance(error, TypeError) and frame is not None and _is_call_of_rule(frame):
        raise RecordError(
            f"{name}: expected the arguments of the Array API standard (options such as axis= by name), "
            f"found others, for which there is no derivative ({error})"
        ) from error


def _is_call_of_rule(frame: Any) -> bool:
    """True if the innermost frame is a transform's own: the call itself failed, not what it called."""
    while frame.tb_next is not None:
        frame = frame.tb_next
    return frame.tb_frame.f_code.co_filename.endswith(("reverse.py", "forward.py"))


def explain_mixture(name: str, xp: Any, values: Any, error: Exception | None = None) -> None:
    """Raise RecordError from ``error`` if the arrays in ``values`` are of several libraries or devices.

    ``xp`` is the plain namespace that computes with them.
    """
    if isinstance(error, XpnetError):
        return
    arrays = [x for x in leaves(values) if is_array(plain_value(x))]
    text = _mixture(arrays, xp) or _unknown_sizes(arrays)
    if text:
        raise RecordError(f"{name}: {text}") from error


def _mixture(arrays: list[Any], *spaces: Any) -> str:
    """Say what is wrong with ``arrays`` of several libraries or devices; empty if nothing is."""
    libraries = _different(_library, [*spaces, *map(plain_namespace, arrays)])
    if len(libraries) > 1:
        return (
            f"expected arrays of one library, found {' and '.join(libraries)}; move them to one backend "
            "with xpnet.backend(...).asarray(...)"
        )
    devices = _different(device_of, arrays)
    if len(devices) > 1:
        return (
            f"expected arrays on one device, found {' and '.join(map(str, devices))}; move one with "
            "x.to_device(device), which has a derivative"
        )
    return ""


def _unknown_sizes(arrays: list[Any]) -> str:
    """Say that lazy ``arrays`` have sizes that depend on values; empty if they have not."""
    for x in arrays:
        if any(map(_is_unknown, x.shape)):
            return (
                f"expected lazy arrays of known sizes, found the shape {tuple(x.shape)}, which depends on "
                "values; use xp.where in place of a mask, or compute the sizes (dask: compute_chunk_sizes)"
            )
    return ""


def _different(property_of: Callable[[Any], Any], arrays: list[Any]) -> list[Any]:
    found: list[Any] = []
    for x in arrays:
        value = property_of(x)
        if value not in found:
            found.append(value)
    return found


def _library(xp: Any) -> str:
    """Return the name of the library behind a plain namespace, such as ``"torch"``."""
    return xp.__name__.removeprefix("array_api_compat.").partition(".")[0]
