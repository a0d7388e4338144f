"""Corrections of functions in which an array library differs from the standard.

Rules, transforms and recorded programs have them through the namespaces of `lacking.py` and of autodiff.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

__all__ = ["called", "clip", "corrected", "multiplied_by"]


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

# --- MLX and ndonnx -----------------------------------------------------------------------------------


def _made(name: str) -> Callable[..., Any]:
    def make(xp: Any, *args: Any, device: Any = None, **options: Any) -> Any:
        """MLX has one memory for all devices: its arrays have no device, and nothing takes ``device=``."""
        given = {} if device is None else {"device": device}
        return getattr(xp, name)(*args, **given, **options)

    return make


def _diagonal(xp: Any, x: Any, /, *, offset: int = 0) -> Any:
    return xp.diagonal(x, offset, -2, -1)


def _hypot(xp: Any, x: Any, y: Any, /) -> Any:
    """Return √(x² + y²), without overflow of the squares."""
    x, y = xp.abs(x), xp.abs(y)
    large = xp.maximum(x, y)
    ratio = xp.divide(xp.minimum(x, y), xp.where(large == 0, xp.ones_like(large), large))
    return xp.where(xp.isinf(large), large, xp.multiply(large, xp.sqrt(1 + ratio * ratio)))


_CREATION = ("arange", "asarray", "empty", "empty_like", "eye", "full", "full_like", "linspace", "ones",
             "ones_like", "zeros", "zeros_like")  # fmt: skip
_MLX: dict[str, Callable[..., Any]] = {name: _made(name) for name in _CREATION}
_MLX |= {"hypot": _hypot, "linalg.diagonal": _diagonal}

_NDONNX: dict[str, Callable[..., Any]] = {"hypot": _hypot}
_CORRECTIONS = {
    "array_api_compat.cupy": _CUPY,
    "array_api_compat.numpy": _NUMPY,
    "mlx.core": _MLX,
    "ndonnx": _NDONNX,
}
_NAMES = {"mlx.core": {"bool": "bool_"}}


def called(xp: Any, name: str) -> str:
    """Return what ``xp`` calls the attribute ``name`` of the standard."""
    return _NAMES.get(xp.__name__, {}).get(name, name)


def corrected(xp: Any, name: str) -> Callable[..., Any] | None:
    """Return the correction of the function ``name`` (``"linalg.solve"``) of ``xp``.

    It takes ``xp`` as its first argument. None: the library's own function is right.
    """
    return _CORRECTIONS.get(xp.__name__, {}).get(name)
