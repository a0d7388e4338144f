"""Functions to be minimized, with known minima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from xpnet.backends import array_namespace

__all__ = ["PROBLEMS", "Problem", "least_squares", "logistic", "quadratic", "rosenbrock"]


class Problem(NamedTuple):
    """A function, where to start, and where its minima are; ``nature`` of the first one."""

    f: Callable[[Any], Any]
    start: list[float]
    minima: list[list[float]]
    nature: str = "minimum"


def rosenbrock(x: Any) -> Any:
    xp = array_namespace(x)
    return xp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def beale(x: Any) -> Any:
    a, b = x[0], x[1]
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def powell(x: Any) -> Any:
    a, b, c, d = x[0], x[1], x[2], x[3]
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


def quadratic(condition: float, n: int = 30) -> Problem:
    """A quadratic with eigenvalues from 1 to ``condition``, in directions of its own."""
    draw = np.random.default_rng(0)
    vectors = np.linalg.qr(draw.normal(size=(n, n)))[0]
    matrix = vectors @ np.diag(np.geomspace(1.0, condition, n)) @ vectors.T
    minimum = draw.normal(size=n)

    def f(x: Any) -> Any:
        xp = array_namespace(x)
        A, m = (xp.asarray(a, dtype=x.dtype, device=x.device) for a in (matrix, minimum))
        return 0.5 * ((x - m) @ (A @ (x - m)))

    return Problem(f, [0.0] * n, [minimum.tolist()])


def logistic(X: np.ndarray, y: np.ndarray, l2: float = 1e-3) -> Callable[[Any], Any]:
    """Return the mean logistic loss of labels ±1, regularized."""

    def f(w: Any) -> Any:
        xp = array_namespace(w)
        margins = xp.asarray(y, dtype=w.dtype, device=w.device) * (
            xp.asarray(X, dtype=w.dtype, device=w.device) @ w
        )
        return xp.mean(xp.logaddexp(xp.zeros_like(margins), -margins)) + 0.5 * l2 * (w @ w)

    return f


def least_squares(y: Any) -> Any:
    return 0.5 * (y @ y)


def _far_rosenbrock(n: int) -> list[float]:
    return [-1.2, 1.0] * (n // 2)


PROBLEMS = {
    "rosenbrock 2": Problem(rosenbrock, _far_rosenbrock(2), [[1.0, 1.0]]),
    "rosenbrock 10": Problem(rosenbrock, _far_rosenbrock(10), [[1.0] * 10]),
    "beale": Problem(beale, [1.0, 1.0], [[3.0, 0.5]]),
    "powell singular": Problem(powell, [3.0, -1.0, 0.0, 1.0], [[0.0] * 4], "flat"),
    "quadratic 1e2": quadratic(1e2),
    "quadratic 1e4": quadratic(1e4),
    "quadratic 1e6": quadratic(1e6),
}
