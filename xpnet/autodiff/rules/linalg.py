"""Rules of products and norms of vectors and matrices: matrix-form backpropagation is what ``matmul`` says.

Norms have slope 0 at zero, as ``abs`` has at 0 (and second derivatives 0, but NaN where the slope of what is
made of them vanishes, as that of the square), and where largest or smallest entries tie, each gets an
even share. Inverses and determinants are in ``inverses.py``, factorizations in ``decompositions.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.rules import batched_products
from xpnet.autodiff.rules.batching import entrywise, entrywise_along, last_axes, reduction
from xpnet.autodiff.rules.rule import (
    View,
    cast,
    composed,
    fit,
    is_complex,
    linear,
    lookup,
    rearranged,
    rule,
)
from xpnet.backends.lacking import root
from xpnet.errors import RecordError

__all__ = ["adjoint", "conjugate", "identity"]


def conjugate(xp: Any, x: Any) -> Any:
    """Return the complex conjugate; real arrays, which not every library's ``conj`` takes, are their own."""
    return xp.conj(x) if is_complex(xp, x) else x


def adjoint(xp: Any, x: Any) -> Any:
    """Return the conjugate transpose of each matrix."""
    return conjugate(xp, xp.matrix_transpose(x))


def identity(xp: Any, x: Any) -> Any:
    """Return ones on the diagonal of each matrix and zeros elsewhere, shaped like ``x``."""
    return xp.tril(xp.triu(xp.ones_like(x)))


# --- Products ----------------------------------------------------------------------------------------


def _bilinear(name: str, pull_left: Callable[..., Any], pull_right: Callable[..., Any], **parts: Any) -> None:
    """Enter a product of two arrays, with the product rule as its forward part."""

    def push(xp: Any, tangents: list[Any], out: Any, x: Any, y: Any, *args: Any, **options: Any) -> Any:
        (dx, dy, *_), product = tangents, lookup(xp, name)
        if dy is None:
            return product(dx, y, *args, **options)
        right = product(x, dy, *args, **options)
        return right if dx is None else xp.add(product(dx, y, *args, **options), right)

    rule(name, pull_left, pull_right, push=push, **parts)


def _as_matrices(xp: Any, g: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Return the three arrays of ``out = x @ y`` with vectors written as one-column or one-row matrices."""
    if len(x.shape) == 1 and len(y.shape) == 1:
        g = xp.reshape(g, (1, 1))
    elif len(x.shape) == 1:
        g = xp.expand_dims(g, axis=-2)
    elif len(y.shape) == 1:
        g = xp.expand_dims(g, axis=-1)
    x = xp.expand_dims(x, axis=0) if len(x.shape) == 1 else x
    y = xp.expand_dims(y, axis=1) if len(y.shape) == 1 else y
    return g, x, y


def _product(xp: Any, x: Any, y: Any) -> Any:
    """Return X Y: of a column and a row, as for a single output, elementwise, where a BLAS is slow."""
    return xp.multiply(x, y) if x.shape[-1] == 1 else xp.matmul(x, y)


def _pull_left(xp: Any, g: Any, out: Any, x: Any, y: Any) -> Any:
    """dX = dY Wᵀ for Y = X W."""
    g, _, matrix = _as_matrices(xp, g, x, y)
    pulled = _product(xp, g, xp.matrix_transpose(matrix))
    return fit(xp, xp.reshape(pulled, pulled.shape[:-2] + x.shape) if len(x.shape) == 1 else pulled, x)


def _pull_right(xp: Any, g: Any, out: Any, x: Any, y: Any) -> Any:
    """dW = Xᵀ dY for Y = X W."""
    g, matrix, _ = _as_matrices(xp, g, x, y)
    pulled = xp.matmul(xp.matrix_transpose(matrix), g)
    return fit(xp, xp.reshape(pulled, pulled.shape[:-2] + y.shape) if len(y.shape) == 1 else pulled, y)


_bilinear("matmul", _pull_left, _pull_right, batch=batched_products.matmul)


def _pull_transposed(xp: Any, g: Any, out: Any, x: Any) -> Any:
    return xp.matrix_transpose(g)


linear("matrix_transpose", _pull_transposed, view=rearranged(_pull_transposed), batch=last_axes(2))


def _pull_vecdot_left(xp: Any, g: Any, out: Any, x: Any, y: Any, *, axis: int = -1) -> Any:
    """The product is Σ conj(x) y."""
    return fit(xp, conjugate(xp, xp.multiply(xp.expand_dims(g, axis=axis), y)), x)


def _pull_vecdot_right(xp: Any, g: Any, out: Any, x: Any, y: Any, *, axis: int = -1) -> Any:
    return fit(xp, xp.multiply(xp.expand_dims(g, axis=axis), conjugate(xp, x)), y)


_bilinear("vecdot", _pull_vecdot_left, _pull_vecdot_right, batch=entrywise_along)


def _split(x: Any, y: Any, axes: Any) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return the axes of ``x`` and of ``y`` that ``tensordot`` sums over, then those that stay."""
    m, n = len(x.shape), len(y.shape)
    if isinstance(axes, int):
        axes = range(m - axes, m), range(axes)
    summed_x, summed_y = [a % m for a in axes[0]], [a % n for a in axes[1]]
    free_x, free_y = ([a for a in range(k) if a not in s] for k, s in ((m, summed_x), (n, summed_y)))
    return summed_x, summed_y, free_x, free_y


def _in_order(xp: Any, g: Any, axes: list[int], x: Any) -> Any:
    """Return ``g``, whose axes are the axes ``axes`` of ``x``, with its axes as ``x`` has them."""
    return cast(xp, xp.permute_dims(g, tuple(axes.index(i) for i in range(len(axes)))), x.dtype)


def _pull_tensordot_left(xp: Any, g: Any, out: Any, x: Any, y: Any, *, axes: Any = 2) -> Any:
    summed_x, summed_y, free_x, free_y = _split(x, y, axes)
    behind = list(range(len(free_x), len(g.shape)))
    g = xp.tensordot(g, y, axes=(behind, free_y))  # the summed axes come in the order of y
    return _in_order(xp, g, free_x + [a for _, a in sorted(zip(summed_y, summed_x, strict=True))], x)


def _pull_tensordot_right(xp: Any, g: Any, out: Any, x: Any, y: Any, *, axes: Any = 2) -> Any:
    summed_x, summed_y, free_x, free_y = _split(x, y, axes)
    g = xp.tensordot(x, g, axes=(free_x, list(range(len(free_x)))))  # the summed axes come in the order of x
    return _in_order(xp, g, [a for _, a in sorted(zip(summed_x, summed_y, strict=True))] + free_y, y)


_bilinear("tensordot", _pull_tensordot_left, _pull_tensordot_right, batch=batched_products.tensordot)

# ⟨g, dx × y⟩ = ⟨y × g, dx⟩ and ⟨g, x × dy⟩ = ⟨g × x, dy⟩
_bilinear(
    "linalg.cross",
    lambda xp, g, out, x, y, *, axis=-1: fit(xp, xp.linalg.cross(y, g, axis=axis), x),
    lambda xp, g, out, x, y, *, axis=-1: fit(xp, xp.linalg.cross(g, x, axis=axis), y),
    batch=entrywise_along,
)


@composed("linalg.outer")
def _outer(xp: Any, x: Any, y: Any) -> Any:
    return xp.multiply(xp.expand_dims(x, axis=1), xp.expand_dims(y, axis=0))


@composed("linalg.matrix_power", batch=last_axes(2))
def _matrix_power(xp: Any, x: Any, n: int) -> Any:
    """Repeated squaring: the power is a product of X, X², X⁴ ..., one for each binary digit 1 of n."""
    n = int(n)
    if n < 0:
        x, n = xp.linalg.inv(x), -n
    power = identity(xp, x)
    while n:
        power = xp.matmul(power, x) if n % 2 else power
        n //= 2
        x = xp.matmul(x, x) if n else x
    return power


# --- Diagonals ---------------------------------------------------------------------------------------


@composed("linalg.diagonal", view=View(None), batch=last_axes(2))
def _diagonal(xp: Any, x: Any, *, offset: int = 0) -> Any:
    """The diagonal of a matrix of n columns is every (n + 1)-th entry of its rows in a line."""
    *stack, m, n = x.shape
    count = max(0, min(m, n - offset) if offset >= 0 else min(m + offset, n))
    start = (offset if offset >= 0 else -offset * n) if count else 0
    stop = start + (count - 1) * (n + 1) + 1 if count else 0
    return xp.reshape(x, (*stack, m * n))[..., start : stop : n + 1]


@composed("linalg.trace", batch=last_axes(2))
def _trace(xp: Any, x: Any, *, offset: int = 0, dtype: Any = None) -> Any:
    return xp.sum(xp.linalg.diagonal(x, offset=offset), axis=-1, dtype=dtype)


# --- Norms -------------------------------------------------------------------------------------------


def _pull_root(xp: Any, g: Any, out: Any, x: Any, power: float) -> Any:
    """The slope at x = 0 is 0; a cotangent of 0 there, as of a norm's square, has the derivative NaN.

    That is the derivative of √x, which has the right value; else x = 0 would seem to have no curvature.
    """
    zero = x == 0
    slope = xp.multiply(xp.where(zero, 1.0, out) ** (1 - power), 1 / power)
    unknown = xp.logical_and(zero, g == 0)
    return xp.where(unknown, xp.sqrt(xp.where(unknown, x, 1.0)), xp.where(zero, 0.0, xp.multiply(g, slope)))


def _push_root(xp: Any, tangents: list[Any], out: Any, x: Any, power: float) -> Any:
    return _pull_root(xp, tangents[0], out, x, power)


rule("root", _pull_root, push=_push_root, body=root, batch=entrywise)


@composed("linalg.vector_norm", batch=reduction)
def _vector_norm(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    """(Σ |x|^p)^(1/p) and its limits; zeros are kept out of the powers, which have no slope there."""
    options = {"axis": axis, "keepdims": keepdims}
    if ord == 2:  # by the parts, for the square is smooth at zero where the absolute value is not
        parts = (xp.real(x), xp.imag(x)) if is_complex(xp, x) else (x,)
        return xp.root(xp.sum(sum(part * part for part in parts), **options), 2)
    size = xp.abs(x)
    if ord == math.inf:
        return xp.max(size, **options)
    if ord == -math.inf:
        return xp.min(size, **options)
    if ord == 0:
        return xp.sum(xp.astype(size != 0, size.dtype), **options)
    if ord == 1:
        return xp.sum(size, **options)
    zero = size == 0
    powers = (
        size**ord
        if ord > 1
        else xp.where(zero, 0.0 if ord > 0 else math.inf, xp.where(zero, 1.0, size) ** ord)
    )
    return xp.root(xp.sum(powers, **options), ord)


_OF_SINGULAR_VALUES = {"nuc": 1, 2: math.inf, -2: -math.inf}


@composed("linalg.matrix_norm", batch=last_axes(2))
def _matrix_norm(xp: Any, x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """Each is a norm of the entries, of the singular values, or of the absolute row or column sums."""
    norm = xp.linalg.vector_norm
    if ord in ("fro", None):
        return norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord in _OF_SINGULAR_VALUES:
        out = norm(xp.linalg.svdvals(x), axis=-1, ord=_OF_SINGULAR_VALUES[ord])
    elif ord in (1, -1, math.inf, -math.inf):
        sums = xp.sum(xp.abs(x), axis=-2 if abs(ord) == 1 else -1)
        out = xp.max(sums, axis=-1) if ord > 0 else xp.min(sums, axis=-1)
    else:
        raise RecordError(
            f"linalg.matrix_norm: expected ord to be 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, found {ord!r}; "
            "use linalg.vector_norm with axis=(-2, -1) for other powers of the entries"
        )
    return xp.reshape(out, (*out.shape, 1, 1)) if keepdims else out
