"""Corrections of functions in which an array library differs from the standard.

Rules, transforms and recorded programs have them through the namespaces of `lacking.py` and of autodiff.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

__all__ = ["clip", "corrected", "multiplied_by"]


def clip(xp: Any, x: Any, /, min: Any = None, max: Any = None) -> Any:
    """Return min(max(x, ``min``), ``max``) in the dtype of ``x``: NaN stays, of crossed bounds ``max`` wins.

    array-api-compat assigns through masks instead, for which a GPU's host has to wait.
    """
    if min is not None:
        x = xp.maximum(x, _bound(xp, min, x.dtype))
    if max is not None:
        x = xp.minimum(x, _bound(xp, max, x.dtype))
    return xp.positive(x) if min is None and max is None else x


def _bound(xp: Any, bound: Any, dtype: Any) -> Any:
    """Return a bound as an array of a dtype, or as a number that is one there."""
    if hasattr(bound, "dtype"):
        return bound if bound.dtype == dtype else xp.astype(bound, dtype)
    if not xp.isdtype(dtype, "integral"):
        return bound
    info = xp.iinfo(dtype)
    return int(sorted((bound, info.min, info.max))[1])  # beyond the dtype's own ends it bounds nothing


# --- NumPy --------------------------------------------------------------------------------------------

_product: ContextVar[Callable[[Any, Any], Any] | None] = ContextVar("product", default=None)


def _matmul(xp: Any, x: Any, y: Any, /) -> Any:
    product = _product.get()
    return xp.matmul(x, y) if product is None else product(x, y)


@contextlib.contextmanager
def multiplied_by(product: Callable[[Any, Any], Any]) -> Iterator[None]:
    """Have NumPy's arrays multiplied by another function than ``matmul``, which takes other threads."""
    known = _product.set(product)
    try:
        yield
    finally:
        _product.reset(known)


_NUMPY: dict[str, Callable[..., Any]] = {"linalg.matmul": _matmul, "matmul": _matmul}


# --- CuPy ---------------------------------------------------------------------------------------------


def _tensordot(xp: Any, x: Any, y: Any, /, *, axes: Any = 2) -> Any:
    """CuPy takes lists of axes for numbers if an array has no dimensions."""
    return xp.tensordot(x, y, axes=axes if isinstance(axes, int) else tuple(map(tuple, axes)))


def _solve(xp: Any, matrix: Any, right: Any, /) -> Any:
    """CuPy does not broadcast stacks of matrices against each other."""
    if len(right.shape) > 1:
        stack = xp.broadcast_shapes(matrix.shape[:-2], right.shape[:-2])
        matrix, right = (xp.broadcast_to(x, (*stack, *x.shape[-2:])) for x in (matrix, right))
    return xp.linalg.solve(matrix, right)


def _frequencies(name: str) -> Callable[..., Any]:
    def frequencies(xp: Any, n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Any:
        """array-api-compat refuses every device."""
        with xp.cuda.Device(device):
            return getattr(xp.fft, name)(n, d=d, dtype=dtype)

    return frequencies


_CUPY: dict[str, Callable[..., Any]] = {
    "clip": clip,
    "fft.fftfreq": _frequencies("fftfreq"),
    "fft.rfftfreq": _frequencies("rfftfreq"),
    "linalg.solve": _solve,
    "linalg.tensordot": _tensordot,
    "tensordot": _tensordot,
}
_CORRECTIONS = {"array_api_compat.cupy": _CUPY, "array_api_compat.numpy": _NUMPY}


def corrected(xp: Any, name: str) -> Callable[..., Any] | None:
    """Return the correction of the function ``name`` (``"linalg.solve"``) of ``xp``.

    It takes ``xp`` as its first argument. None: the library's own function is right.
    """
    return _CORRECTIONS.get(xp.__name__, {}).get(name)
