"""The second-derivative test: is a stationary point a minimum, a saddle, or flat?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from xpnet import rng
from xpnet.backends import array_namespace

__all__ = ["Extremes", "extreme_eigenvalues", "nature_of"]

_STEPS, _PRECISION = 100, 1e-6


class Extremes(NamedTuple):
    """The lowest and the highest eigenvalue, and the eigenvector of the lowest."""

    lowest: float
    highest: float
    vector: Any


def extreme_eigenvalues(product: Callable[[Any], Any], like: Any, steps: int = _STEPS) -> Extremes:
    r"""Return the extreme eigenvalues of a symmetric matrix of which products with vectors are known.

    Lanczos' method: in the basis of $v, A v, A^2 v, \dots$, made orthonormal, $A$ is a tridiagonal matrix
    whose extreme eigenvalues soon are those of $A$. Each new vector is made orthogonal to all others, twice.
    It ends when both are known to 1e-6 of the larger one.

    Args:
        product: v ↦ A v.
        like: a vector of the size, dtype and device of v.
        steps: number of products, at the most.

    References: C. Lanczos (1950); G. Golub and C. Van Loan, Matrix Computations (2013), chapter 10.

    >>> import numpy as np
    >>> found = extreme_eigenvalues(lambda v: np.asarray([3.0, -1.0, 2.0]) * v, np.zeros(3))
    >>> round(found.lowest, 6), round(found.highest, 6), abs(found.vector).round(3)
    (-1.0, 3.0, array([0., 1., 0.]))
    """
    xp = array_namespace(like)
    n = int(like.shape[0])
    up = rng.bernoulli(rng.key(0).fold("lanczos"), 0.5, (n,), xp=xp, device=like.device)
    # Signs alone could be orthogonal to an eigenvector, as in symmetric problems they often are.
    sizes = xp.linspace(1.0, 2.0, n, dtype=like.dtype, device=like.device)
    start = xp.where(up, sizes, -sizes)
    q = start / xp.linalg.vector_norm(start)
    basis, diagonal = [q], []
    beside: list[float] = []
    while True:
        w = product(q)
        diagonal.append(float(q @ w))
        rows = xp.stack(basis)
        for _ in range(2):
            w = w - (rows @ w) @ rows
        norm = float(xp.linalg.vector_norm(w))
        values, vectors = _of_tridiagonal(xp, like, diagonal, beside)
        lowest, highest = float(values[0]), float(values[-1])
        size = max(abs(lowest), abs(highest))
        k = len(diagonal)
        error = norm * max(abs(float(vectors[k - 1, 0])), abs(float(vectors[k - 1, k - 1])))
        if k >= min(n, steps) or error <= _PRECISION * size or norm <= 1e-12 * size or size == 0.0:
            vector = vectors[:, 0] @ rows
            return Extremes(lowest, highest, vector / xp.linalg.vector_norm(vector))
        beside.append(norm)
        q = w / norm
        basis.append(q)


def _of_tridiagonal(xp: Any, like: Any, diagonal: list[float], beside: list[float]) -> tuple[Any, Any]:
    k = len(diagonal)
    rows = [[0.0] * k for _ in range(k)]
    for i, value in enumerate(diagonal):
        rows[i][i] = value
    for i, value in enumerate(beside):
        rows[i][i + 1] = rows[i + 1][i] = value
    values, vectors = xp.linalg.eigh(xp.asarray(rows, dtype=like.dtype, device=like.device))
    return values, vectors


def nature_of(lowest: float, highest: float, eps: float) -> str:
    r"""Return the nature of a stationary point, from its extreme eigenvalues.

    ``"minimum"``, ``"maximum"``, ``"saddle"``, or ``"flat"`` where the lowest is as good as zero. Measured by
    the largest one, a minimum's is above $\sqrt\epsilon$, and a saddle's below $-\sqrt[3]\epsilon$, as close
    to a flat valley curvature is often a little negative.

    >>> [nature_of(*pair, 1e-16) for pair in [(1.0, 2.0), (-1.0, 2.0), (-2.0, -1.0), (0.0, 1.0)]]
    ['minimum', 'saddle', 'maximum', 'flat']
    """
    size = max(abs(lowest), abs(highest))
    if lowest > eps ** (1 / 2) * size:
        return "minimum"
    if lowest < -(eps ** (1 / 3)) * size:
        return "maximum" if highest < 0.0 else "saddle"
    return "flat"
