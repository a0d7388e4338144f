"""Views of traced arrays: what is written into one array is seen in all that would share its memory.

The arrays inside tracers never change; an assignment lets a tracer stand for another one. So a view
remembers what it is a view of, and by which function. After an assignment to it the array beneath gets its
entries back, and the other views of that array are taken anew. What is a view, the memory of the arrays
inside tells. Views that nobody holds any longer cost nothing: arrays know theirs by weak references only.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from xpnet.autodiff.rules import Rule
from xpnet.backends.lacking import memory_of
from xpnet.errors import RecordError

__all__ = ["Kin", "check_writable", "is_numpy", "is_scalar", "is_view_at", "relate", "viewing", "write"]


_Array, _SCALARS = np.ndarray, frozenset(np.sctypeDict.values())


def is_numpy(x: Any) -> bool:
    """True if the array inside is NumPy's, under all tracers."""
    while hasattr(type(x), "__traced__"):
        x = x.value
    return type(x) is _Array or type(x) in _SCALARS


def is_scalar(x: Any) -> bool:
    """True for a scalar of NumPy's, or many of them as the examples of a batch: it never changes."""
    while hasattr(type(x), "__traced__"):
        if x.trace.hides_axis and x.slot:
            return True
        x = x.value
    return type(x) in _SCALARS


class Kin:
    """What a traced array is a view of, and what are its views.

    Attributes:
        base: the traced array beneath; None for one that is no view.
        how: how it was made of that: the rule's view, the function, all of its arguments, its options, the
            place of the base among the arguments, and the number of the view among several results (else
            None). A tuple, for one is made with each view.
        views: weak references to the views of this array.
    """

    __slots__ = ("base", "how", "views")

    def __init__(self, base: Any, how: Any):
        self.base, self.how = base, how
        self.views: list[weakref.ref[Any]] | None = None

    def again(self) -> Any:
        """Return the view of what ``base`` is now."""
        _, call, args, options, place, number = self.how
        out = call(*args[:place], self.base, *args[place + 1 :], **options)
        return out if number is None else out[number]

    def beneath(self, part: Any) -> Any:
        """Return what ``base`` is with ``part`` as this view."""
        view, _, args, options, _, number = self.how
        numbers = () if number is None else (number,)
        return view.put(self.base.trace.space, part, *numbers, self.base, *args[1:], **options)


def viewing(rule: Rule, call: Callable[..., Any], traced: type) -> Callable[..., Any]:
    """Return ``call``, a function of the library, whose results know which traced array they are views of."""
    view = rule.view
    assert view is not None

    def look(x: Any, *args: Any, **options: Any) -> Any:
        out = call(x, *args, **options)
        if type(x) is traced and type(out) is traced:
            relate(out, x, (view, call, (x, *args), options, 0, None))
        return out

    def look_at_each(*args: Any, **options: Any) -> Any:
        out = call(*args, **options)
        for number, part in enumerate(out):
            place = number if view.each else 0
            if type(args[place]) is traced:
                relate(part, args[place], (view, call, args, options, place, number))
        return out

    return look_at_each if rule.many or view.each else look


def relate(out: Any, base: Any, how: tuple[Any, ...]) -> None:
    """Let ``out`` be a view of ``base`` if the arrays inside share memory; for ``how`` see :class:`Kin`."""
    value = out.value
    if out.trace.hides_axis and (out.slot or is_scalar(base)):
        return  # examples that are scalars have no views
    if type(value) is _Array:
        beneath = value.base
        if beneath is None:
            return
        inside = base.value
        if beneath is not inside and (type(inside) is not _Array or beneath is not inside.base):
            return
    elif out is base or type(value) in _SCALARS or not _share_memory(value, base.value, type(base)):
        return
    kin = base.kin
    if kin is None:
        kin = base.kin = Kin(None, None)
    views = kin.views
    if views is None:
        kin.views = [weakref.ref(out)]
    else:
        if len(views) > 63 and not len(views) & 63:  # those that are gone
            views[:] = [reference for reference in views if reference() is not None]
        views.append(weakref.ref(out))
    out.kin = Kin(base, how)


def _share_memory(out: Any, base: Any, traced: Any) -> bool:
    """True if two values share memory. JAX's arrays have none that shows: as if they were NumPy's."""
    if is_scalar(out) or is_scalar(base):
        return False
    while type(out) is traced:
        out = out.value
    while type(base) is traced:
        base = base.value
    if type(out) is _Array:
        return out.base is not None and (out.base is base or out.base is getattr(base, "base", None))
    place = memory_of(out)
    return place == memory_of(base) if place is not None else bool(out.shape)


def check_writable(x: Any, what: str) -> None:
    """Refuse to write into a view of which NumPy allows reading only."""
    kin = x.kin
    while kin is not None and kin.base is not None:
        if kin.how[0].put is None:
            raise RecordError(
                f"{what}: expected an array that may be written to, found a read-only view, as NumPy gives "
                "for broadcast arrays and diagonals; write into a copy, xp.asarray(x, copy=True)"
            )
        kin = kin.base.kin


def write(x: Any, content: Any, assign: Callable[..., Any]) -> None:
    """Let ``x`` stand for ``content``, carried to the array that it is a view of, and to all other views.

    Strides stay what they are in NumPy, for they decide whether a reshaped array is a view: views are taken
    anew where theirs would change, and the array that owns the memory is assigned to.
    """
    kept: list[Any] = []
    while True:
        kin, layout, before = x.kin, _layout(x), copy.copy(x)
        x._become(content)
        if _layout(x) == layout:
            kept.append(x)
        elif kin is None or kin.base is None:
            x._become(assign(before, ..., content))
        if kin is None or kin.base is None:
            break
        x, content = kin.base, kin.beneath(x)
    _renew(x.kin, kept)


def _renew(kin: Kin | None, kept: list[Any]) -> None:
    """Take the views anew that are not among those kept, and the views of all of them."""
    for view in _alive(kin) if kin is not None else ():
        if not any(view is x for x in kept):
            view._become(view.kin.again())
        _renew(view.kin, kept)


def _layout(x: Any) -> Any:
    """Return whether it is a scalar, which has no views, the type of the array inside, and its strides."""
    scalar, traced, hidden = is_scalar(x), type(x), 0
    while type(x) is traced:
        hidden += x.trace.hides_axis
        x = x.value
    strides = getattr(x, "strides", None)
    return scalar, type(x), strides[hidden:] if isinstance(strides, tuple) else strides


def _alive(kin: Kin) -> Iterator[Any]:
    for reference in tuple(kin.views or ()):
        view = reference()
        if view is not None:
            yield view


def is_view_at(part: Any, x: Any, index: Any) -> bool:
    """True if ``part`` is the view ``x[index]``: ``x[index] += 1`` assigns it to where it comes from."""
    kin = part.kin
    if kin is None or kin.base is not x or kin.how[1].__name__ != "getitem":
        return False
    parts, known = (i if isinstance(i, tuple) else (i,) for i in (index, kin.how[2][1]))
    return len(parts) == len(known) and all(
        type(i) is type(j) and isinstance(i, (int, slice, type(None), type(...))) and i == j
        for i, j in zip(parts, known, strict=True)
    )
