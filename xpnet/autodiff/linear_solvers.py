"""Linear systems A u = b with a matrix that is known by its products with vectors.

A method here takes ``product`` (v ↦ A v), ``b`` of shape (n,), the norm of b - A u that is small enough,
and the most products that it may make. It returns u and how many it made; `solve` checks u, and lets the
method go on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.backends import array_namespace
from xpnet.errors import RecordError

__all__ = ["SOLVERS", "solve"]

Product = Callable[[Any], Any]

_RESTART = 50  # vectors that GMRES keeps


def solve(
    name: str,
    method: str | Callable[[Product, Any], Any],
    product: Product,
    b: Any,
    tolerance: float | None,
    steps: int,
) -> Any:
    """Return u with |b - A u| ≤ tolerance |b|.

    Args:
        name: what is solved, for messages.
        method: a key of ``SOLVERS``, or a function ``(product, b) -> u``.
        product: v ↦ A v.
        b: real array of shape (n,).
        tolerance: None for eps^(2/3) of the dtype, 4e-11 in float64 and 2e-5 in float32; or for eps^(1/2),
            1e-8 and 3e-4, where rounding allows no more.
        steps: the most products of a method of ``SOLVERS``.

    Raises:
        RecordError: the solution is not that close, or values are not finite.

    Example:
        >>> import numpy as np
        >>> A = np.asarray([[2.0, 1.0], [0.0, 4.0]])
        >>> solve("example", "gmres", lambda v: A @ v, np.asarray([4.0, 8.0]), None, 10).round(6)
        array([1., 2.])
    """
    xp = array_namespace(b)
    size = float(xp.max(xp.abs(b))) if b.shape[0] else 0.0
    if size == 0.0:
        return xp.zeros_like(b)
    eps = float(xp.finfo(b.dtype).eps)
    aim, enough = (eps ** (2 / 3), eps**0.5) if tolerance is None else (tolerance, tolerance)
    b = b / size  # squares of the smallest numbers would be zero
    whole = _norm(b)
    if callable(method):
        u = method(product, b)
        missed = _norm(b - product(u)) / whole
    else:
        u, missed = _refined(name, SOLVERS[method], product, b, aim * whole, steps)
        missed /= whole
    if not missed <= enough:  # nor NaN
        called = f"{method}, with at most {steps} products" if isinstance(method, str) else "the solver given"
        raise RecordError(
            f"{name}: expected a solution of the linear system within the tolerance {enough:.1e}, found the "
            f"relative residual {missed:.1e} by {called}; the derivative exists only where A = ∂F/∂x is "
            "regular: check the solution, or give more steps=, a larger tolerance= or another linear="
        )
    return u * size


def _refined(
    name: str, method: Callable[..., Any], product: Product, b: Any, bound: float, steps: int
) -> tuple[Any, float]:
    """Return u and |b - A u|: what the method leaves of the residual, it solves again."""
    u, residual, size = array_namespace(b).zeros_like(b), b, _norm(b)
    while size > bound and steps > 0:
        change, made = method(name, product, residual, bound, steps)
        steps -= made
        left = b - product(u + change)
        size_left = _norm(left)
        if not size_left < size:  # A is singular, or rounding allows no more; nor NaN
            break
        u, residual, size = u + change, left, size_left
    return u, size


def conjugate_gradients(name: str, product: Product, b: Any, bound: float, steps: int) -> tuple[Any, int]:
    """Solve by conjugate gradients: A is symmetric and positive definite.

    Source: M. R. Hestenes and E. Stiefel, "Methods of conjugate gradients for solving linear systems",
    Journal of Research of the National Bureau of Standards 49 (1952).
    """
    xp = array_namespace(b)
    u, residual, direction = xp.zeros_like(b), b, b
    square, made = _dot(residual, residual), 0
    while square > bound**2 and made < steps:
        made += 1
        image = product(direction)
        curvature = _dot(direction, image)
        if not curvature > 0.0:  # nor NaN
            raise RecordError(
                f"{name}: expected a positive definite matrix, as the Hessian at a strict minimum is, found "
                f"the curvature {curvature:.1e} in a direction; check where the solver ends, or use "
                "linear='gmres'"
            )
        length = square / curvature
        u = u + length * direction
        residual = residual - length * image
        before, square = square, _dot(residual, residual)
        direction = residual + (square / before) * direction
    return u, made


def gmres(name: str, product: Product, b: Any, bound: float, steps: int) -> tuple[Any, int]:
    """Solve by one cycle of GMRES, of at most 50 products: A is regular.

    It minimizes the residual over a Krylov space, of which it makes an orthonormal basis. Source: Y. Saad and
    M. H. Schultz, "GMRES: a generalized minimal residual algorithm for solving nonsymmetric linear systems",
    SIAM Journal on Scientific and Statistical Computing 7 (1986).
    """
    size = _norm(b)
    basis = [b / size]
    columns: list[list[float]] = []  # of the triangular factor of the basis' Hessenberg matrix
    rotations: list[tuple[float, float]] = []
    right, made = [size], 0
    for _ in range(min(_RESTART, b.shape[0], steps)):
        v, made = product(basis[-1]), made + 1
        column = []
        for q in basis:  # modified Gram-Schmidt
            column.append(_dot(q, v))
            v = v - column[-1] * q
        rest = _norm(v)
        for i, (c, s) in enumerate(rotations):
            column[i], column[i + 1] = c * column[i] + s * column[i + 1], c * column[i + 1] - s * column[i]
        corner = math.hypot(column[-1], rest)
        if not corner > 0.0:  # singular in this space; nor NaN
            break
        c, s = column[-1] / corner, rest / corner
        column[-1] = corner
        columns.append(column)
        rotations.append((c, s))
        right[-1:] = [c * right[-1], -s * right[-1]]
        if abs(right[-1]) <= bound or rest == 0.0:
            break
        basis.append(v / rest)
    change = array_namespace(b).zeros_like(b)
    for i in reversed(range(len(columns))):
        weight = right[i] / columns[i][i]
        right[:i] = [y - weight * h for y, h in zip(right[:i], columns[i], strict=False)]
        change = change + weight * basis[i]
    return change, made


SOLVERS: dict[str, Callable[..., Any]] = {"cg": conjugate_gradients, "gmres": gmres}


def _dot(x: Any, y: Any) -> float:
    return float(array_namespace(x, y).sum(x * y))


def _norm(x: Any) -> float:
    return math.sqrt(_dot(x, x))
