"""Sparsity of a recorded function: which entries of the arguments each entry of the result may depend on.

Each array of a recording gets an *index set* for each of its entries, the numbers of the entries of the
arguments that it may depend on, pushed along the tape as tangents are. The sets follow from the functions,
shapes and indices alone, not from values: none is too small for other values, and those of a selection
(``where``, ``maximum``) are of both sides. Functions fall into a few kinds:

===================  ==================================================  =========================
elementwise          union of the arguments' sets, broadcast              ``add``, ``where``, ``tanh``
moved                the entries move with their sets                     ``reshape``, ``x[index]``
gathered             their transposes: sets that meet in a place unite    ``place``
along axes           union along axes                                     ``sum``, ``sort``, ``fft``
products             union along the axes that are summed over            ``matmul``, ``tensordot``
all others           everything depends on everything                     custom rules, ``solve``
===================  ==================================================  =========================

Source: A. Griewank and A. Walther, "Evaluating Derivatives" (2008), chapter 7.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from xpnet.autodiff.arguments import belongs
from xpnet.autodiff.rules import RULES, Rule
from xpnet.autodiff.rules.batching import entrywise
from xpnet.autodiff.rules.rule import lookup
from xpnet.autodiff.tracer import Tracer, is_floating, lowered, placement_of, plain_namespace
from xpnet.autodiff.transforms import Recording
from xpnet.backends import host, is_array
from xpnet.backends.lacking import extended
from xpnet.containers import leaves

__all__ = ["IndexSets", "structure"]

_EMPTY: frozenset[int] = frozenset()


class IndexSets:
    """The sparsity of a recording: what its result's entries depend on.

    Attributes:
        rows, columns: the numbers of the entries of result and arguments that belong together, row by row.
        assumed: names of functions of which nothing was known, so that all depends on all.
    """

    def __init__(self, recording: Recording):
        self._assumed: dict[str, None] = {}
        first, starts = 0, {}
        for x, slot in zip(leaves(recording.chosen), recording.slots, strict=True):
            if slot is not None:
                size = math.prod(x.shape)
                starts[slot] = _array([frozenset((first + i,)) for i in range(size)], x.shape)
                first += size
        outs = [y for y in leaves(recording.result) if is_floating(y)]
        slots = [y.slot if belongs(y, recording.trace) else None for y in outs]
        wanted = {slot for slot in slots if slot is not None}
        found = recording.trace.push_forward(starts, wanted, self._push)
        sets: list[frozenset[int]] = []
        for y, slot in zip(outs, slots, strict=True):
            sets += found[slot].flat if slot in found else [_EMPTY] * math.prod(y.shape)
        counts = np.fromiter(map(len, sets), np.int64, len(sets))
        self.rows = np.repeat(np.arange(len(sets)), counts)
        columns = itertools.chain.from_iterable(map(sorted, sets))
        self.columns = np.fromiter(columns, np.int64, int(counts.sum()))
        self.assumed = tuple(self._assumed)

    def _push(self, rule: Rule, sets: list[Any], out: Any, values: list[Any], options: Any) -> Any:
        """Return the sets of ``out`` from those of ``values`` (None: a constant)."""
        push = _push_of(rule)
        if push is not None and not (push in _INDEXED and _is_index_traced(rule, sets, values, options)):
            return push(rule, sets, out, lowered(values), lowered(options))
        self._assumed[rule.name] = None
        union = _EMPTY.union(*itertools.chain.from_iterable(s.flat for s in sets if s is not None))
        made = [_array([union] * math.prod(y.shape), y.shape) for y in (out if rule.many else [out])]
        return made if rule.many else made[0]


def structure(recording: Recording) -> tuple[Any, ...]:
    """Return all of a recording that its index sets depend on, for comparison.

    These are functions, shapes, indices and options, but no floating values.
    """
    outs = filter(is_floating, leaves(recording.result))
    ends = [y.slot if belongs(y, recording.trace) else tuple(y.shape) for y in outs]
    return (
        tuple(recording.slots),
        tuple(ends),
        *(
            (rule.name, id(rule) in _OWN, _said(parents), _said(values), _said(options), _said(out))
            for rule, parents, values, options, out in recording.trace.tape
        ),
    )


def _said(x: Any) -> Any:
    """Return what index sets depend on in an argument."""
    x = lowered(x)
    if isinstance(x, (list, tuple)):
        return tuple(map(_said, x))
    if isinstance(x, dict):
        return tuple((key, _said(value)) for key, value in x.items())
    if isinstance(x, (float, complex)) and not hasattr(x, "dtype"):
        return float
    if type(x) is Tracer or not is_array(x) or is_floating(x):
        return tuple(x.shape) if hasattr(x, "shape") else repr(x)
    return tuple(x.shape), hashlib.sha256(host(x).tobytes()).digest()


# --- Arrays of sets ----------------------------------------------------------------------------------


def _array(sets: Iterable[frozenset[int]], shape: tuple[int, ...]) -> np.ndarray:
    made = np.empty(math.prod(shape), dtype=object)
    made[:] = list(sets)
    return made.reshape(shape)


def _united(a: frozenset[int], b: frozenset[int]) -> frozenset[int]:
    """Return the union; the larger set itself where it holds the other, so that full ones are not copied."""
    if len(a) < len(b):
        a, b = b, a
    return a if b <= a else a | b


_unite = np.frompyfunc(_united, 2, 1)


def _union(sets: Iterable[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return the union of broadcast arrays of sets, in ``shape``."""
    known: list[Any] = []
    for s in sets:
        if s is not None and not any(s is other for other in known):
            known.append(s)
    return np.broadcast_to(np.asarray(functools.reduce(_unite, known), dtype=object), shape)


def _along(sets: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the union along axes, which keep the size one."""
    kept = [n for axis, n in enumerate(sets.shape) if axis not in axes]
    size = math.prod(sets.shape[axis] for axis in axes)
    lines = np.moveaxis(sets, axes, range(-len(axes), 0)).reshape(math.prod(kept), size)
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(sets.shape))
    return _array([_EMPTY.union(*line) for line in lines], shape)


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(a % ndim for a in (axis if isinstance(axis, (tuple, list)) else (axis,))) if ndim else ()


# --- Kinds of functions ------------------------------------------------------------------------------

_Push = Callable[[Rule, list[Any], Any, list[Any], dict[str, Any]], Any]


def _elementwise(rule: Rule, sets: list[Any], out: Any, values: Any, options: Any) -> Any:
    return _union(sets, out.shape)


def _moved(rule: Rule, sets: list[Any], out: Any, values: Any, options: Any) -> Any:
    """Apply the function to numbers of entries; 0 is that of what depends on nothing."""
    arguments: list[Any] = []
    known, first = [_EMPTY], 1
    beside = out[0] if rule.many else out
    for position, (x, s) in enumerate(zip(values, sets, strict=True)):
        if s is not None:
            arguments.append(_numbers(beside, s.shape, first))
            known += s.flat
            first += s.size
        elif rule.variadic or any(rule.pulls[position : position + 1]):
            zeros = _numbers(beside, getattr(x, "shape", ()), 0)
            arguments.append(zeros * 0)
        else:
            arguments.append(x)
    table = _array(known, (first,))
    if rule.name == "unpack":
        numbers, layout = arguments
        made = layout.views(numbers)
    else:
        function = lookup(extended(plain_namespace(beside)), rule.name)
        made = function(arguments, **options) if rule.variadic else function(*arguments, **options)
    if rule.many:
        return [np.asarray(table[host(part)], dtype=object) for part in made]
    return np.asarray(table[host(made)], dtype=object)


def _numbers(beside: Any, shape: tuple[int, ...], first: int) -> Any:
    """Return whole numbers from ``first`` on, of the library and device of another array."""
    xp, size = plain_namespace(beside), math.prod(shape)
    return xp.reshape(xp.arange(first, first + size, **placement_of(beside)), tuple(shape))


def _gathered(forward: str) -> _Push:
    """Return the push of the transpose of a function, which tells where each entry goes."""

    def push(rule: Rule, sets: list[Any], out: Any, values: Any, options: Any) -> Any:
        _, index, *axis, _ = values
        numbers = _numbers(out, out.shape, 1)
        function = lookup(extended(plain_namespace(out)), forward)
        places = host(function(numbers, index, **({"axis": axis[0]} if axis else {})))
        made = [_EMPTY] * (math.prod(out.shape) + 1)
        for place, s in zip(places.flat, np.broadcast_to(sets[0], places.shape).flat, strict=True):
            made[place] = _united(made[place], s)
        return _array(made[1:], out.shape)  # 0 is the place of codes that are no row

    return push


def _is_index_traced(rule: Rule, sets: list[Any], values: list[Any], options: Any) -> bool:
    """True if an index, or an option, is known to an enclosing recording or batch only: it may change."""
    known = [x for x, s in zip(values, sets, strict=True) if s is None and not is_floating(x)]
    return any(type(x) is Tracer for x in leaves([lowered(known), lowered(options)]))


def _along_axes(default: Any, *, reduces: bool = False) -> _Push:
    """Return the push of a function along axes, by default that of the number given, or all: None."""

    def push(rule: Rule, sets: list[Any], out: Any, values: Any, options: Any) -> Any:
        shape = np.broadcast_shapes(*(tuple(x.shape) for x in values if hasattr(x, "shape")))
        axes = _axes(options.get("axis", default), len(shape))
        union = _along(_union(sets, shape), axes)
        return union.reshape(out.shape) if reduces else np.broadcast_to(union, out.shape)

    return push


def _of_matrices(rule: Rule, sets: list[Any], out: Any, values: Any, options: Any) -> Any:
    """Of a function of the matrices in a stack, each by itself."""
    (s, *_) = sets
    ndim = s.ndim - 2
    union = _along(s, (ndim, ndim + 1)).reshape(s.shape[:ndim])

    def spread(y: Any) -> Any:
        return np.broadcast_to(union.reshape((*union.shape, *(1,) * (len(y.shape) - ndim))), y.shape)

    return list(map(spread, out)) if rule.many else spread(out)


def _matmul(rule: Rule, sets: list[Any], out: Any, values: Any, options: Any) -> Any:
    x, y, *bias = sets
    is_row, is_column = (len(value.shape) == 1 for value in values[:2])
    parts = []
    if x is not None:
        rows = _along(x, (x.ndim - 1,))  # (..., rows, 1)
        parts.append(rows.reshape(rows.shape[:-1]) if is_row or is_column else rows)
    if y is not None:
        columns = _along(y, (max(y.ndim - 2, 0),))  # (..., 1, columns)
        kept = (*columns.shape[:-2], *columns.shape[-1:]) if not is_column else ()
        parts.append(columns.reshape(kept) if is_row or is_column else columns)
    return _union([*parts, *bias], out.shape)


def _tensordot(rule: Rule, sets: list[Any], out: Any, values: Any, options: Any) -> Any:
    ndims = [len(value.shape) for value in values]
    axes = options.get("axes", 2)
    if isinstance(axes, int):
        axes = range(ndims[0] - axes, ndims[0]), range(axes)
    parts = []
    for number, (s, ndim) in enumerate(zip(sets, ndims, strict=True)):
        if s is not None:
            summed = tuple(a % ndim for a in axes[number])
            free = tuple(n for axis, n in enumerate(s.shape) if axis not in summed)
            behind = 0 if number else ndims[1] - len(axes[1])
            parts.append(_along(s, summed).reshape(free + (1,) * behind))
    return _union(parts, out.shape)


_KINDS: dict[_Push, str] = {
    _elementwise: "astype complex_of to_device",  # and all whose batches are
    _moved: "assign broadcast_to concat embedding expand_dims flip getitem matrix_transpose moveaxis "
    "permute_dims repeat reshape roll squeeze stack take take_along_axis tile tril triu unpack unstack",
    _gathered("embedding"): "embedding_transpose",
    _gathered("getitem"): "place",
    _gathered("take"): "take_transpose",
    _gathered("take_along_axis"): "take_along_axis_transpose",
    _along_axes(None, reduces=True): "max mean min prod std sum var",
    _along_axes(-1, reduces=True): "cross_entropy logsumexp vecdot",
    _along_axes(-1): "fft.fft fft.ifft fft.irfft fft.rfft linalg.cross log_softmax softmax sort",
    _along_axes(None): "cumulative_prod cumulative_sum fft.fftshift fft.ifftshift",
    _of_matrices: "linalg.cholesky linalg.det linalg.eig linalg.eigh linalg.inv linalg.pinv linalg.qr "
    "linalg.slogdet linalg.svd",
    _matmul: "affine matmul",
    _tensordot: "tensordot",
}
_PUSHES: dict[str, _Push] = {name: push for push, names in _KINDS.items() for name in names.split()}
_INDEXED = {push for push in _KINDS if push is _moved or push.__qualname__.startswith("_gathered")}
_OWN = {id(rule) for known in RULES.values() for rule in (known, *(known.nested or ()))}


def _push_of(rule: Rule) -> _Push | None:
    """Return how index sets pass a function; None if that is not known, as of a custom rule."""
    if id(rule) not in _OWN:
        return None
    return _elementwise if rule.batch is entrywise else _PUSHES.get(rule.name)
