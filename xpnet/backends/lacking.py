"""What the Array API standard lacks and xpnet needs: the one place where libraries are told apart."""

from __future__ import annotations

import functools
import math
from typing import Any

import array_api_compat

from xpnet.backends.namespaces import array_namespace

__all__ = ["assign", "copy", "erf", "extended", "keep", "pick", "place", "word_dtype"]

# Rational approximations of erf and erfc by W. J. Cody, "Rational Chebyshev approximations for the
# error function", Mathematics of Computation 23 (1969): relative errors below 6e-19.
_SMALL = (
    (1.85777706184603153e-1, 3.16112374387056560e00, 1.13864154151050156e02, 3.77485237685302021e02,
     3.20937758913846947e03),
    (1.0, 2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03, 2.84423683343917062e03),
)  # fmt: skip
_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e00, 6.61191906371416295e01,
     2.98635138197400131e02, 8.81952221241769090e02, 1.71204761263407058e03, 2.05107837782607147e03,
     1.23033935479799725e03),
    (1.0, 1.57449261107098347e01, 1.17693950891312499e02, 5.37181101862009858e02, 1.62138957456669019e03,
     3.29079923573345963e03, 4.36261909014324716e03, 3.43936767414372164e03, 1.23033935480374942e03),
)  # fmt: skip


def erf(xp: Any, x: Any) -> Any:
    """Return the error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to ``x``, element by element.

    The library's own function where it has one, else Cody's approximation in array operations.
    """
    name = xp.__name__
    if name.endswith("torch"):
        return xp.special.erf(x)
    if name == "jax.numpy":
        import jax

        return jax.scipy.special.erf(x)
    if name.endswith("cupy"):
        import cupyx.scipy.special

        return cupyx.scipy.special.erf(x)
    size = xp.abs(x)
    square = xp.minimum(size, 0.5) ** 2
    small = x * _ratio(_SMALL, square)
    large = xp.maximum(xp.minimum(size, 6.0), 0.46875)  # erf(6) differs from 1 by 2e-17
    tail = xp.exp(-large * large) * _ratio(_MIDDLE, large)
    return xp.where(size <= 0.46875, small, xp.where(x < 0, tail - 1, 1 - tail))


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Any) -> Any:
    above, below = coefficients
    numerator, denominator = above[0] * x + above[1], below[0] * x + below[1]
    for a, b in zip(above[2:], below[2:], strict=True):
        numerator, denominator = numerator * x + a, denominator * x + b
    return numerator / denominator


def keep(g: Any, mask: Any) -> Any:
    """Return ``g`` where the boolean ``mask`` is True, else 0, whatever ``g`` holds there.

    NumPy's ``where`` branches at each entry and is ten times slower than a product if the mask looks random.
    Whole numbers times 0 or 1 do the same to the bits of ``g`` without branches.
    """
    xp = array_namespace(g)
    whole = _WHOLE.get(g.dtype.char) if xp.__name__ == "array_api_compat.numpy" else None
    return xp.where(mask, g, 0.0) if whole is None else (g.view(whole) * mask).view(g.dtype)


_WHOLE = {"e": "int16", "f": "int32", "d": "int64"}  # of one size with NumPy's floating dtypes


def copy(x: Any) -> Any:
    """Return a copy of the plain array ``x``."""
    return array_namespace(x).asarray(x, copy=True)


def assign(x: Any, index: Any, value: Any) -> Any:
    """Return a copy of ``x`` with ``value`` at ``index``: ``x[index] = value`` without changing ``x``."""
    if array_namespace(x).__name__ == "jax.numpy":
        return x.at[index].set(value)
    made = copy(x)
    made[index] = value
    return made


def place(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Return zeros of ``shape`` with ``g`` added at ``index``: values that meet in one place add up."""
    xp = array_namespace(g)
    device = None if xp.__name__ == "jax.numpy" else getattr(g, "device", None)
    parts = index if isinstance(index, tuple) else (index,)
    if all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts):
        zeros = xp.zeros(shape, dtype=g.dtype, device=device)
        if any(part is None for part in parts):  # the standard assigns to no new axes
            parts = tuple(part for part in parts if part is not None)
            g = xp.reshape(g, zeros[parts].shape)
        if xp.__name__ == "jax.numpy":
            return zeros.at[parts].set(g)
        zeros[parts] = g
        return zeros
    size = math.prod(shape)
    numbers = xp.reshape(xp.arange(size, device=device), shape)
    places = xp.reshape(pick(xp, numbers, index), (-1,))
    return xp.reshape(_scatter_add(xp, size, places, xp.reshape(g, (-1,)), device), shape)


def pick(xp: Any, x: Any, index: Any) -> Any:
    """Return ``x[index]``, also for whole slices and then an index array, which the standard lacks."""
    *before, last = index if isinstance(index, tuple) else (index,)
    whole = all(isinstance(part, slice) and part == slice(None) for part in before)
    if whole and getattr(last, "ndim", 0) == 1 and xp.isdtype(last.dtype, "integral"):
        return xp.take(x, last, axis=len(before))
    return x[index]


def _scatter_add(xp: Any, size: int, places: Any, values: Any, device: Any) -> Any:
    zeros = xp.zeros(size, dtype=values.dtype, device=device)
    name = xp.__name__
    if name == "jax.numpy":
        return zeros.at[places].add(values)
    if name.endswith("torch"):
        return zeros.index_add_(0, places, values)
    if name.endswith("cupy"):
        import cupyx

        cupyx.scatter_add(zeros, places, values)
        return zeros
    import numpy as np

    if name.endswith("numpy"):
        np.add.at(zeros, places, values)
        return zeros
    host = xp.Device("CPU_DEVICE")
    summed = np.zeros(size, dtype=np.asarray(values.to_device(host)).dtype)
    np.add.at(summed, np.asarray(places.to_device(host)), np.asarray(values.to_device(host)))
    return xp.asarray(summed, dtype=values.dtype, device=device)


class Extended:
    """A namespace of the standard, and beside its functions those that it lacks."""

    def __init__(self, xp: Any):
        self._xp = xp
        self.__name__ = xp.__name__
        self.erf = functools.partial(erf, xp)
        self.keep = keep
        self.place = place
        self.assign = assign
        self.to_device = array_api_compat.to_device

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._xp, name)
        self.__dict__[name] = value  # the next look-up is a plain attribute
        return value


@functools.cache
def extended(xp: Any) -> Extended:
    """Return ``xp`` with the functions of this module beside its own."""
    return Extended(xp)


def word_dtype(xp: Any) -> Any:
    """Return the integer dtype in which 32-bit words can be added and shifted.

    PyTorch has uint32 without arithmetic, so words travel in int64 there.
    """
    return xp.int64 if xp.__name__.endswith("torch") else xp.uint32
