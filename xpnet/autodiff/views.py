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
from xpnet.autodiff.rules.rule import View
from xpnet.backends.lacking import memory_of
from xpnet.errors import RecordError

__all__ = ["Kin", "check_writable", "is_view_at", "viewing", "write"]


class Kin:
    """What a traced array is a view of, and what are its views.

    Attributes:
        base: the traced array beneath; None for one that is no view.
        call, args, options: the function that made the view, and all of its arguments.
        place: the number of ``base`` among them.
        number: that of the view among the function's results; None for a function with one result.
        view: how its entries get back into ``base``.
        views: weak references to the views of this array.
    """

    __slots__ = ("args", "base", "call", "number", "options", "place", "view", "views")

    args: tuple[Any, ...]
    call: Callable[..., Any]
    number: int | None
    options: dict[str, Any]
    place: int
    view: View

    def __init__(self) -> None:
        self.base: Any = None
        self.views: list[weakref.ref[Any]] = []

    def again(self) -> Any:
        """Return the view of what ``base`` is now."""
        args = (*self.args[: self.place], self.base, *self.args[self.place + 1 :])
        out = self.call(*args, **self.options)
        return out if self.number is None else out[self.number]

    def beneath(self, part: Any) -> Any:
        """Return what ``base`` is with ``part`` as this view."""
        numbers = () if self.number is None else (self.number,)
        put = self.view.put
        assert put is not None  # check_writable has been asked
        return put(self.base.trace.space, part, *numbers, self.base, *self.args[1:], **self.options)


def viewing(rule: Rule, call: Callable[..., Any], is_traced: Callable[[Any], bool]) -> Callable[..., Any]:
    """Return ``call``, a function of the library, whose results know which traced array they are views of."""
    view = rule.view
    assert view is not None

    def look(*args: Any, **options: Any) -> Any:
        out = call(*args, **options)
        if not isinstance(out, (list, tuple)):
            if args and is_traced(args[0]):
                _relate(out, None, view, call, args, 0, options)
            return out
        for number, part in enumerate(out):
            place = number if view.each else 0
            if is_traced(args[place]):
                _relate(part, number, view, call, args, place, options)
        return out

    return look


def _relate(
    out: Any, number: int | None, view: View, call: Any, args: tuple[Any, ...], place: int, options: Any
) -> None:
    base = args[place]
    if out is base or not _share_memory(out, base):
        return
    kin = base.kin
    if kin is None:
        kin = base.kin = Kin()
    views = kin.views
    views.append(weakref.ref(out))
    if not len(views) & 63:  # those that are gone
        views[:] = [reference for reference in views if reference() is not None]
    made = out.kin = Kin()
    made.base, made.number, made.view = base, number, view
    made.call, made.args, made.place, made.options = call, args, place, options


def _share_memory(out: Any, base: Any) -> bool:
    """True if the arrays inside share memory. JAX's arrays have none that shows: as if they were NumPy's."""
    traced = type(out)
    while type(out) is traced:
        out = out.value
    while type(base) is traced:
        base = base.value
    if type(out) is np.ndarray:
        beneath = out.base
        return out is base or (
            beneath is not None and (beneath is base or beneath is getattr(base, "base", None))
        )
    if isinstance(out, np.generic):
        return False
    place = memory_of(out)
    return place == memory_of(base) if place is not None else bool(out.shape)


def check_writable(x: Any, what: str) -> None:
    """Refuse to write into a view of which NumPy allows reading only."""
    kin = x.kin
    while kin is not None and kin.base is not None:
        if kin.view.put is None:
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
    """Return the type of the array inside, for NumPy's scalars have no views, and its strides if any."""
    traced = type(x)
    while type(x) is traced:
        x = x.value
    return type(x), getattr(x, "strides", None)


def _alive(kin: Kin) -> Iterator[Any]:
    for reference in tuple(kin.views):
        view = reference()
        if view is not None:
            yield view


def is_view_at(part: Any, x: Any, index: Any) -> bool:
    """True if ``part`` is the view ``x[index]``: ``x[index] += 1`` assigns it to where it comes from."""
    kin = part.kin
    if kin is None or kin.base is not x or kin.call.__name__ != "getitem":
        return False
    parts, known = (i if isinstance(i, tuple) else (i,) for i in (index, kin.args[1]))
    return len(parts) == len(known) and all(
        type(i) is type(j) and isinstance(i, (int, slice, type(None), type(...))) and i == j
        for i, j in zip(parts, known, strict=True)
    )
