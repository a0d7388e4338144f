"""Kinds of functions by what they do to a batch: many examples, side by side along the first axis.

``vmap`` calls a function once for all examples. A rule says how: ``batch(call, *args, **options)`` gets a
:class:`Call` and the arguments, of which those that are mapped have the examples along axis 0, and returns
the result in the same way. Most functions are of one of these kinds:

===================  =========================================================  ======================
``entrywise``        broadcasts its arguments: the axes of examples are aligned  ``add``, ``where``
``last_axes(k)``     works on the last k axes and takes stacks of them           ``softmax``, ``inv``
``reduction``        has ``axis=``, where None means all axes                    ``sum``, ``flip``
``along_axis(a)``    has ``axis=``, a by default; None: the flattened array      ``sort``, ``fft.fft``
``by_examples``      is called for each example                                  ``searchsorted``
===================  =========================================================  ======================

Like all rules these call functions of ``call.xp`` alone: transforms around ``vmap`` may trace the arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xpnet.errors import RecordError

__all__ = [
    "Call",
    "along_axis",
    "along_or_all",
    "by_examples",
    "entrywise",
    "entrywise_along",
    "last_axes",
    "reduction",
    "shaped_by_values",
]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function with mapped arguments.

    Attributes:
        name: of the function, for messages.
        function: what is called.
        xp: the namespace of its arguments.
        size: how many examples there are.
        mapped: which positional arguments are mapped; of an index, which of its parts.
    """

    name: str
    function: Callable[..., Any]
    xp: Any
    size: int
    mapped: tuple[Any, ...]

    def ndim(self, position: int, x: Any) -> int:
        """Return the number of axes of an example of ``x``, argument number ``position``."""
        return len(x.shape) - bool(self.mapped[position])

    def common_ndim(self, args: tuple[Any, ...]) -> int:
        """Return the largest number of axes of an example among the arrays of ``args``."""
        return max(
            self.ndim(i, x) for i, x in enumerate(args) if isinstance(getattr(x, "shape", None), tuple)
        )

    def spread(self, position: int, x: Any) -> Any:
        """Return an argument with the examples along axis 0, copies of it where it is not mapped."""
        return x if self.mapped[position] else self.xp.broadcast_to(x, (self.size, *x.shape))

    def widened(self, x: Any, ndim: int) -> Any:
        """Return a mapped array whose examples have at least ``ndim`` axes, new ones of size one before."""
        missing = ndim + 1 - len(x.shape)
        return x if missing <= 0 else self.xp.reshape(x, (self.size, *(1,) * missing, *x.shape[1:]))

    def flat(self, x: Any) -> Any:
        """Return a mapped array with flattened examples."""
        return self.xp.reshape(x, (self.size, math.prod(x.shape[1:])))

    def axis(self, axis: Any, ndim: int) -> Any:
        """Return the axis of a mapped array that is ``axis``, or several, of examples with ``ndim`` axes.

        Negative ones stay as they are, counted from the end; none of them is the axis of the batch.
        """
        if isinstance(axis, (tuple, list)):
            return tuple(self.axis(a, ndim) for a in axis)
        if not -ndim <= axis < ndim:
            raise RecordError(
                f"{self.name}: expected an axis of examples with {ndim} axes, found {axis}; the mapped "
                "axis is not among them"
            )
        return axis + 1 if axis >= 0 else axis

    def moved(self, x: Any, source: int, destination: int) -> Any:
        """Return ``x`` with an axis moved, if it moves at all."""
        return x if source == destination else self.xp.moveaxis(x, source, destination)

    def check_alone(self) -> None:
        """Refuse mapped arguments behind the first one."""
        for position, mapped in enumerate(self.mapped[1:], 2):
            if any(mapped) if isinstance(mapped, tuple) else mapped:
                raise RecordError(
                    f"{self.name}: expected the same argument {position} for all examples, found a "
                    "mapped array; loop over the examples in place of vmap"
                )

    def check_ndim(self, ndim: int, least: int) -> None:
        """Refuse examples with fewer axes than the function works on."""
        if ndim < least:
            raise RecordError(
                f"{self.name}: expected examples of {least} axes or more, found {ndim}; the mapped axis does "
                "not count"
            )


Batching = Callable[..., Any]


def entrywise(call: Call, *args: Any, **options: Any) -> Any:
    """Align the axes of the examples, not those of the batches."""
    ndim = call.common_ndim(args)
    aligned = [call.widened(x, ndim) if call.mapped[i] else x for i, x in enumerate(args)]
    return call.function(*aligned, **options)


def entrywise_along(call: Call, *args: Any, axis: int = -1, **options: Any) -> Any:
    """The same of a function that sums over an axis, the last one by default."""
    ndim = call.common_ndim(args)
    call.check_ndim(ndim, 1)
    if axis != -1:
        call.axis(axis, ndim)
        options["axis"] = axis if axis < 0 else axis - ndim
    return entrywise(call, *args, **options)


def last_axes(count: int) -> Batching:
    """Return the batching of a function of the last axes, which takes stacks."""

    def batch(call: Call, x: Any, *args: Any, **options: Any) -> Any:
        call.check_alone()
        call.check_ndim(call.ndim(0, x), count)
        return call.function(x, *args, **options)

    return batch


def reduction(call: Call, x: Any, *args: Any, axis: Any = None, keepdims: Any = None, **options: Any) -> Any:
    """Reduce over axes of the examples; None is all of them."""
    call.check_alone()
    ndim = len(x.shape) - 1
    kept = {} if keepdims is None else {"keepdims": keepdims}
    if ndim:
        every = tuple(range(1, ndim + 1)) if ndim > 1 else -1
        axis = every if axis is None else call.axis(axis, ndim)
        return call.function(x, *args, axis=axis, **kept, **options)
    if axis not in (None, 0, -1, ()):
        call.axis(axis, ndim)
    out = call.function(call.xp.reshape(x, (call.size, 1)), *args, axis=1, **options)
    return call.xp.reshape(out, (call.size,))


def along_axis(default: int | None, *, restored: bool = False, flattens: bool = True) -> Batching:
    """Return the batching of a function along one axis, whose default is given.

    Args:
        default: the axis; None: that of the flattened array.
        restored: what it makes of a flattened array gets its shape again.
        flattens: without an axis it takes arrays of several ones, not only those of one.
    """

    def batch(call: Call, x: Any, *args: Any, axis: Any = default, **options: Any) -> Any:
        call.check_alone()
        ndim = len(x.shape) - 1
        if axis is not None:
            own = call.axis(axis, max(ndim, 1))
            if ndim or default is not None:
                return call.function(x, *args, axis=own, **options)
        elif not flattens and ndim > 1:
            raise RecordError(f"{call.name}: expected axis= for examples with {ndim} axes, found none")
        flat = call.flat(x)
        out = call.function(flat, *args, axis=1, **options)
        return call.xp.reshape(out, x.shape) if restored else out

    return batch


def along_or_all(call: Call, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Search along one axis, or in all of the example; it may keep the axes with size one."""
    out = along_axis(None)(call, x, axis=axis, **({"keepdims": keepdims} if axis is not None else {}))
    return call.xp.reshape(out, (call.size, *(1,) * (len(x.shape) - 1))) if keepdims and axis is None else out


def by_examples(call: Call, *args: Any, **options: Any) -> Any:
    """Call the function for each example, and stack the results."""

    def example(number: int) -> list[Any]:
        return [x[number, ...] if mapped else x for x, mapped in zip(args, call.mapped, strict=True)]

    made = [call.function(*example(number), **options) for number in range(call.size)]
    if not made:
        raise RecordError(
            f"{call.name}: expected at least one example, found none; it is called for each of them"
        )
    if isinstance(made[0], (list, tuple)):
        parts = [call.xp.stack(list(results)) for results in zip(*made, strict=True)]
        make = getattr(type(made[0]), "_make", type(made[0]))
        return make(parts)
    return call.xp.stack(made)


def shaped_by_values(call: Call, *args: Any, **options: Any) -> Any:
    """Refuse a function whose result has another shape for each example."""
    raise RecordError(
        f"{call.name}: expected a function whose result has one shape for all examples, found one whose "
        "shape depends on their values; use xp.where, or sums of products with a mask, or loop over the "
        "examples in place of vmap"
    )
