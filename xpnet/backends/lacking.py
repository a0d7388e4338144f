"""Functions that xpnet needs and the standard lacks: the one place with code for single libraries."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Collection, Sequence
from typing import Any

import array_api_compat

from xpnet.backends.corrections import called, corrected
from xpnet.backends.namespaces import array_namespace, placement
from xpnet.backends.special import Special

__all__ = [
    "assign",
    "bell",
    "complex_of",
    "copy",
    "embedding",
    "embedding_transpose",
    "erf",
    "extended",
    "keep",
    "last_written",
    "place",
    "root",
    "take_along_axis_transpose",
    "take_transpose",
    "word_dtype",
]

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


def bell(xp: Any, x: Any) -> Any:
    """Return e / (1 + e)² with e = exp(-|x|): the slope of the sigmoid, also where that rounds to 1."""
    if xp.__name__ == "array_api_compat.numpy" and x.size > _BLOCK and x.flags.c_contiguous:
        out = xp.empty_like(x)
        flat, made = x.reshape(-1), out.reshape(-1)
        for start in range(0, x.size, _BLOCK):  # whose temporary arrays stay in the cache
            made[start : start + _BLOCK] = bell(xp, flat[start : start + _BLOCK])
        return out
    e = xp.exp(-xp.abs(x))
    return e / xp.square(1 + e)


_BLOCK = 8192  # entries


def complex_of(xp: Any, real: Any, imaginary: Any) -> Any:
    """Return the complex numbers of two parts of one shape and dtype, signs of zeros and infinities kept."""
    name = xp.__name__
    if name.endswith("torch"):
        return xp.complex(real, imaginary)
    if name == "jax.numpy":
        import jax

        return jax.lax.complex(real, imaginary)
    dtype = xp.complex64 if real.dtype == xp.float32 else xp.complex128
    if name.endswith("strict"):
        return xp.astype(real, dtype) + xp.astype(imaginary, dtype) * 1j
    made = xp.empty(real.shape, dtype=dtype)
    made.real, made.imag = real, imaginary
    return made


def keep(g: Any, mask: Any) -> Any:
    """Return ``g`` where the boolean ``mask`` is True, else 0, even where ``g`` is NaN or infinite.

    NumPy's ``where`` branches at each entry and is ten times slower than a product if the mask looks random.
    Whole numbers times 0 or 1 do the same to the bits of ``g`` without branches.
    """
    xp = array_namespace(g)
    whole = _WHOLE.get(g.dtype.char) if xp.__name__ == "array_api_compat.numpy" else None
    return xp.where(mask, g, 0.0) if whole is None else (g.view(whole) * mask).view(g.dtype)


_WHOLE = {"e": "int16", "f": "int32", "d": "int64"}  # of one size with NumPy's floating dtypes


def root(xp: Any, x: Any, power: float) -> Any:
    """Return the root of ``x`` ≥ 0 for a power: 0 for 0, of negative powers too."""
    if power == 2:
        return xp.sqrt(x)
    zero = x == 0
    return xp.where(zero, 0.0, xp.where(zero, 1.0, x) ** (1 / power))


def memory_of(x: Any) -> Any:
    """Return a key that is equal for plain arrays that share memory; None for immutable arrays."""
    kind = type(x)
    library = kind.__module__.partition(".")[0]
    if library == "numpy":
        if kind.__name__ != "ndarray":
            return None  # a NumPy scalar
        while getattr(x, "base", None) is not None:
            x = x.base
        return id(x)
    if library == "cupy":
        return id(x.data.mem)
    if library == "torch":
        return x.untyped_storage().data_ptr()
    return memory_of(x._array) if library == "array_api_strict" else None


def apart(x: Any, *others: Any) -> Any:
    """Return the plain array ``x``, or a copy of it if it may share memory with one of the others.

    Any function of an array library may return a look at its argument, and in some cases each does: ``round``
    of whole numbers, ``real`` of real ones, ``astype`` to the same dtype, the first power of a matrix.
    """
    return copy(x) if any(_may_share(x, other) for other in others) else x


def overwritable(arrays: Sequence[Any], positions: Collection[int]) -> list[Any]:
    """Return plain arrays; writing to those at some positions changes no others.

    Copies take the place of arrays that share memory with another one of them, or must not be written to.
    """
    owned = [getattr(getattr(x, "flags", None), "owndata", False) for x in arrays]
    known = getattr(array_namespace(*arrays[:1]), "may_share_memory", _may_share) if arrays else _may_share

    def shared(i: int) -> bool:
        x = arrays[i]
        return any(
            x is other or (not (owned[i] and owned[j]) and known(x, other))
            for j, other in enumerate(arrays)
            if j != i
        )

    return [
        copy(x) if i in positions and (not is_writeable(x) or shared(i)) else x for i, x in enumerate(arrays)
    ]


def _may_share(x: Any, other: Any) -> bool:
    """True if plain arrays may share memory."""
    may_share = getattr(array_namespace(x), "may_share_memory", None)  # NumPy's and CuPy's
    if may_share is not None:
        return bool(may_share(x, other))
    place = memory_of(x)
    return place is not None and memory_of(other) == place


def is_writeable(x: Any) -> bool:
    """False for a read-only view, such as a broadcast one."""
    if type(x).__module__.startswith("array_api_strict"):
        x = x._array
    return bool(getattr(getattr(x, "flags", None), "writeable", True))


def copy(x: Any) -> Any:
    """Return a copy of the plain array ``x``."""
    xp = array_namespace(x)
    return xp.asarray(x, copy=True, **placement(x))


def assign(x: Any, index: Any, value: Any) -> Any:
    """Return a copy of ``x`` with ``value`` at ``index``: ``x[index] = value`` without changing ``x``.

    Of several values for one place the last one stays.
    """
    return _set(x if array_namespace(x).__name__ == "jax.numpy" else copy(x), index, value)


def last_written(x: Any, index: Any) -> Any:
    """Return which values of ``x[index] = value`` remain: False if a later one has the same place."""
    xp = array_namespace(x)
    numbers = _numbers(xp, x.shape, x)
    writers = _numbers(xp, numbers[index].shape, x)
    return _set(numbers, index, writers)[index] == writers


def place(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Return zeros of ``shape`` with ``g`` added at ``index``: values that meet in one place add up.

    This is the transpose of ``x[index]`` for ``x`` of that shape.
    """
    xp = array_namespace(g)
    parts = index if isinstance(index, tuple) else (index,)
    if _is_mask(xp, index) or all(
        part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts
    ):
        zeros = xp.zeros(shape, dtype=g.dtype, **placement(g))
        if 0 in g.shape:
            return zeros
        if any(part is None for part in parts):  # the standard assigns to no new axes
            index = tuple(part for part in parts if part is not None)
            g = xp.reshape(g, zeros[index].shape)
        return _set(zeros, index, g)
    return _add_up(xp, g, lambda numbers: numbers[index], shape)


def add_at(known: Any, index: Any, g: Any) -> bool:
    """Add ``g`` to ``known[index]`` in place, if the index is basic and the library can; says if it did."""
    parts = index if isinstance(index, tuple) else (index,)
    basic = all(part is Ellipsis or isinstance(part, (int, slice)) for part in parts)
    if not basic or memory_of(known) is None or known.dtype != g.dtype:
        return False
    known[index] += g
    return True


def take_transpose(g: Any, indices: Any, axis: int | None, shape: tuple[int, ...]) -> Any:
    """Return the transpose of ``take(x, indices, axis=axis)``, for ``x`` of ``shape``, of ``g``."""
    xp = array_namespace(g)
    return _add_up(xp, g, lambda numbers: xp.take(numbers, indices, axis=axis or 0), shape)


def take_along_axis_transpose(g: Any, indices: Any, axis: int, shape: tuple[int, ...]) -> Any:
    """Apply the transpose of ``take_along_axis(x, indices, axis=axis)``, for ``x`` of ``shape``, to ``g``."""
    xp = array_namespace(g)
    return _add_up(xp, g, lambda numbers: xp.take_along_axis(numbers, indices, axis=axis), shape)


def embedding(table: Any, codes: Any) -> Any:
    """Return rows of ``table`` (rows, size) for ``codes`` (...), as (..., size); zeros for unknown codes.

    Codes are numbers of any dtype. Known are those from 0 to rows - 1, of which only the whole part counts.
    """
    xp = array_namespace(table)
    known, rows = _known_rows(codes, table.shape[0])
    found = xp.take(table, xp.reshape(rows, (-1,)), axis=0)
    found = xp.reshape(found, (-1, *codes.shape[1:], table.shape[1]) if codes.shape else (-1,))
    return xp.where(xp.expand_dims(known, axis=-1), found, xp.zeros_like(found))


def embedding_transpose(g: Any, codes: Any, rows: int) -> Any:
    """Return the transpose of ``embedding(table, codes)`` for a table (rows, size), of ``g`` (..., size)."""
    xp, size = array_namespace(g), g.shape[-1]
    known, numbers = (xp.reshape(x, (-1,)) for x in _known_rows(codes, rows))
    g = xp.reshape(g, (-1, size))
    g = xp.where(xp.expand_dims(known, axis=-1), g, xp.zeros_like(g))
    name = xp.__name__
    if name == "jax.numpy" or name.endswith("torch"):
        zeros = xp.zeros((rows, size), dtype=g.dtype, **placement(g))
        return zeros.at[numbers].add(g) if name == "jax.numpy" else zeros.index_add_(0, numbers, g)
    if name.endswith("numpy"):
        places = xp.reshape(numbers[:, None] * size + xp.arange(size), (-1,))
        return xp.reshape(_scatter_add(xp, rows * size, places, xp.reshape(g, (-1,))), (rows, size))
    return _sums_of_rows(xp, rows, numbers, g)


def _sums_of_rows(xp: Any, rows: int, numbers: Any, g: Any) -> Any:
    """Return (rows, size): sums of the rows of ``g`` (n, size) that have the same one of ``numbers`` (n,).

    By products, which every library has, and whose sums have an order, as atomic additions have none.
    """
    step = max(1, _ONE_HOT // max(1, numbers.shape[0]))
    parts = [xp.zeros((0, g.shape[1]), dtype=g.dtype, **placement(g))]
    for start in range(0, rows, step):
        part = xp.arange(start, min(start + step, rows), dtype=numbers.dtype, **placement(g))
        parts.append(xp.matmul(xp.astype(part[:, None] == numbers[None, :], g.dtype), g))
    return xp.concat(parts[1:] or parts)


_ONE_HOT = 1 << 24  # entries of a matrix of zeros and ones


def _known_rows(codes: Any, rows: int) -> tuple[Any, Any]:
    """Return which codes are known, and row numbers, 0 for unknown ones."""
    xp = array_namespace(codes)
    known = (codes >= 0) & (codes < rows)
    index = xp.arange(1, **placement(codes)).dtype
    return known, xp.astype(xp.where(known, codes, xp.zeros_like(codes)), index)


def _set(x: Any, index: Any, value: Any) -> Any:
    """Return ``x`` with ``value`` at ``index``; writes into ``x`` itself where the library can."""
    parts = index if isinstance(index, tuple) else (index,)
    if array_namespace(x).__name__.endswith(_UNORDERED) and any(map(_is_numbers, parts)):
        value = _last_values(x, index, value)
    if array_namespace(x).__name__ == "jax.numpy":
        return x.at[index].set(value.astype(x.dtype) if hasattr(value, "dtype") else value)
    x[index] = value
    return x


_UNORDERED = ("cupy", "torch", "jax.numpy")  # libraries whose threads write in any order on a GPU


def _is_numbers(part: Any) -> bool:
    return isinstance(part, list) or (hasattr(part, "dtype") and "int" in str(part.dtype))


def _last_values(x: Any, index: Any, value: Any) -> Any:
    """Return values for ``x[index] = value`` of which those for one place are equal: all are the last one."""
    if not hasattr(value, "shape"):
        return value
    xp = array_namespace(x)
    places = _numbers(xp, x.shape, x)[index]
    values = xp.reshape(xp.broadcast_to(value, places.shape), (-1,))
    flat = xp.reshape(places, (-1,))
    last = _scatter_max(xp, math.prod(x.shape), flat, _numbers(xp, flat.shape, x))
    return xp.reshape(xp.take(values, xp.take(last, flat, axis=0), axis=0), places.shape)


def _scatter_max(xp: Any, size: int, places: Any, numbers: Any) -> Any:
    """Return for each of ``size`` places the largest of the numbers that are for it, or 0."""
    if xp.__name__ == "jax.numpy":
        return xp.zeros(size, dtype=numbers.dtype).at[places].max(numbers)
    if xp.__name__.endswith("torch"):
        zeros = xp.zeros(size, dtype=numbers.dtype, device=numbers.device)
        return zeros.scatter_reduce_(0, places, numbers, "amax")
    largest = xp.zeros(size, dtype=xp.uint64, device=numbers.device)  # CuPy has no atomic maximum of int64
    xp.maximum.at(largest, places, xp.astype(numbers, xp.uint64))
    return xp.astype(largest, numbers.dtype)


def _is_mask(xp: Any, index: Any) -> bool:
    return hasattr(index, "dtype") and xp.isdtype(index.dtype, "bool")


def _numbers(xp: Any, shape: tuple[int, ...], x: Any) -> Any:
    """Return an array of ``shape`` beside ``x`` that holds 0, 1, 2, ... in order: each entry's place."""
    return xp.reshape(xp.arange(math.prod(shape), **placement(x)), shape)


def _add_up(xp: Any, g: Any, choose: Callable[[Any], Any], shape: tuple[int, ...]) -> Any:
    """Return zeros of ``shape`` with ``g`` added at the places that ``choose`` takes out of an array."""
    places = xp.reshape(choose(_numbers(xp, shape, g)), (-1,))
    return xp.reshape(_scatter_add(xp, math.prod(shape), places, xp.reshape(g, (-1,))), shape)


def _scatter_add(xp: Any, size: int, places: Any, values: Any) -> Any:
    name = xp.__name__
    if not name.endswith(("numpy", "torch", "cupy", "array_api_strict")):
        return xp.reshape(_sums_of_rows(xp, size, places, xp.reshape(values, (-1, 1))), (size,))
    zeros = xp.zeros(size, dtype=values.dtype, **placement(values))
    if name == "jax.numpy":
        return zeros.at[places].add(values)
    if name.endswith("torch"):
        return zeros.index_add_(0, places, values)
    if name.endswith("cupy"):
        xp.add.at(zeros, places, values)
        return zeros
    import numpy as np

    if name.endswith("numpy"):
        np.add.at(zeros, places, values)
        return zeros
    host = xp.Device("CPU_DEVICE")
    summed = np.zeros(size, dtype=np.asarray(values.to_device(host)).dtype)
    np.add.at(summed, np.asarray(places.to_device(host)), np.asarray(values.to_device(host)))
    return xp.asarray(summed, dtype=values.dtype, device=values.device)


class Extended:
    """A namespace of the standard, extended by the functions that it lacks."""

    def __init__(self, xp: Any):
        self._xp = xp
        self.__name__ = xp.__name__
        self.bell = functools.partial(bell, xp)
        self.complex_of = functools.partial(complex_of, xp)
        self.embedding = embedding
        self.embedding_transpose = embedding_transpose
        self.erf = functools.partial(erf, xp)
        self.getitem = operator.getitem
        self.keep = keep
        self.assign = assign
        self.last_written = last_written
        self.place = place
        self.root = functools.partial(root, xp)
        self.special = Special(xp)
        self.stop_gradient = _unchanged
        self.take_along_axis_transpose = take_along_axis_transpose
        self.take_transpose = take_transpose
        self.to_device = array_api_compat.to_device

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._xp), *self.__dict__})

    def __getattr__(self, name: str) -> Any:
        made = _put_right(self._xp, self._xp, name)
        self.__dict__[name] = made  # the next look-up is a plain attribute
        return made


class _Extension:
    """``linalg`` or ``fft`` of a namespace."""

    def __init__(self, xp: Any, name: str):
        self._xp, self._own, self._prefix = xp, getattr(xp, name), f"{name}."
        self.__name__ = self._own.__name__

    def __dir__(self) -> list[str]:
        return dir(self._own)

    def __getattr__(self, name: str) -> Any:
        made = _put_right(self._xp, self._own, name, self._prefix)
        self.__dict__[name] = made
        return made


def _put_right(xp: Any, own: Any, name: str, prefix: str = "") -> Any:
    """Return an attribute of ``own``, a namespace or an extension of it, as the standard has it."""
    instead = corrected(xp, prefix + name)
    if instead is not None:
        return functools.update_wrapper(functools.partial(instead, xp), getattr(own, name, instead))
    value = getattr(own, called(xp, name))
    return _Extension(xp, name) if name in ("linalg", "fft") and not prefix else value


def _unchanged(x: Any) -> Any:
    return x


@functools.cache
def extended(xp: Any) -> Extended:
    """Return ``xp`` with the functions of this module beside its own."""
    return Extended(xp)


def word_dtype(xp: Any) -> Any:
    """Return the integer dtype in which 32-bit words can be added and shifted.

    PyTorch has uint32 without arithmetic, so words travel in int64 there.
    """
    return xp.int64 if xp.__name__.endswith("torch") else xp.uint32
