"""Built-in tables: the handwritten digits of UCI, and generators of small problems.

Each comes twice: ``*_arrays`` returns plain arrays ``(X, y)`` and needs nothing but NumPy; the function
without that ending returns a `Table` and needs polars. Generated numbers are drawn on the host with
``np.random.Generator(np.random.PCG64(seed))``: the same arguments give the same table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.tables import Table
from xpnet.errors import ConfigError

__all__ = [
    "BUILTIN",
    "digits",
    "digits_arrays",
    "sine",
    "sine_arrays",
    "spirals",
    "spirals_arrays",
    "two_gaussians",
    "two_gaussians_arrays",
    "xor",
    "xor_arrays",
]

Arrays = tuple[np.ndarray, np.ndarray]


def digits_arrays() -> Arrays:
    """Return images of handwritten digits, ``X: (1797, 64) uint8``, and the digits, ``y: (1797,) int64``.

    Each image has 8 x 8 pixels of 0 to 16, stored row by row.

    Example:
        >>> X, y = digits_arrays()
        >>> X.shape, int(X.max()), sorted(set(y.tolist()))
        ((1797, 64), 16, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (its test set), UCI Machine
    Learning Repository, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0.
    """
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        return arrays["X"], arrays["y"].astype(np.int64)


def two_gaussians_arrays(n: int = 1000, noise: float = 0.5, seed: int = 0) -> Arrays:
    """Return two Gaussian clouds, ``X: (n, 2) float64``, and their class 0 or 1, ``y: (n,) int64``.

    In the plane, class 0 is centred at (-1, -1) and class 1 at (1, 1); ``noise`` is the standard deviation
    along each axis. The classes alternate, so that they are equally large (n even) or differ by one.

    Args:
        n: number of rows, at least 2.
        noise: standard deviation of each cloud, finite, not negative.
        seed: whole number, not negative.

    Raises:
        ConfigError: an argument is out of its range.

    Example:
        >>> X, y = two_gaussians_arrays(n=4, noise=0.0)
        >>> X.tolist(), y.tolist()
        ([[-1.0, -1.0], [1.0, 1.0], [-1.0, -1.0], [1.0, 1.0]], [0, 1, 0, 1])

    Source: the exercise of the lecture note 004, "two multivariate Gaussians in 2D".
    """
    draws = _draws("two-gaussians", n, noise, seed)
    y = np.arange(n) % 2
    X = (2.0 * y - 1.0)[:, None] + noise * draws.standard_normal((n, 2))
    return X, y


def spirals_arrays(n: int = 1000, noise: float = 0.02, seed: int = 0) -> Arrays:
    """Return two interleaved spirals, ``X: (n, 2) float64``, and their class 0 or 1, ``y: (n,) int64``.

    With u uniform in [0, 1), radius r = 0.1 + 0.9 sqrt(u) and angle a = 3 pi sqrt(u) + pi y, a point is
    (r cos a, r sin a), plus Gaussian noise of standard deviation ``noise`` along each axis. The classes
    alternate.

    Args and Raises: as `two_gaussians_arrays`.

    Example:
        >>> X, y = spirals_arrays(n=100, noise=0.0)
        >>> bool(np.hypot(X[:, 0], X[:, 1]).max() <= 1.0), int(y.sum())
        (True, 50)
    """
    draws = _draws("spirals", n, noise, seed)
    y = np.arange(n) % 2
    along = np.sqrt(draws.random(n))
    radius, angle = 0.1 + 0.9 * along, math.pi * (3.0 * along + y)
    X = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return X + noise * draws.standard_normal((n, 2)), y


def xor_arrays(n: int = 1000, noise: float = 0.1, seed: int = 0) -> Arrays:
    """Return points of a square, ``X: (n, 2) float64``, and whether their signs differ, ``y: (n,) int64``.

    Points are uniform in [-1, 1) x [-1, 1); y is 1 where exactly one coordinate is negative, else 0. Gaussian
    noise of standard deviation ``noise`` is added to the points after that.

    Args and Raises: as `two_gaussians_arrays`.

    Example:
        >>> X, y = xor_arrays(n=100, noise=0.0)
        >>> bool(np.all((X[:, 0] * X[:, 1] < 0) == (y == 1)))
        True
    """
    draws = _draws("xor", n, noise, seed)
    X = draws.uniform(-1.0, 1.0, (n, 2))
    y = ((X[:, 0] < 0) != (X[:, 1] < 0)).astype(np.int64)
    return X + noise * draws.standard_normal((n, 2)), y


def sine_arrays(n: int = 1000, noise: float = 0.1, seed: int = 0) -> Arrays:
    """Return points on the line, ``X: (n, 1) float64``, and their noisy sine, ``y: (n,) float64``.

    x is uniform in [-pi, pi); y = sin x, plus Gaussian noise of standard deviation ``noise``.

    Args and Raises: as `two_gaussians_arrays`.

    Example:
        >>> X, y = sine_arrays(n=3, noise=0.0)
        >>> X.shape, bool(np.all(y == np.sin(X[:, 0])))
        ((3, 1), True)
    """
    draws = _draws("sine", n, noise, seed)
    X = draws.uniform(-math.pi, math.pi, (n, 1))
    return X, np.sin(X[:, 0]) + noise * draws.standard_normal(n)


def digits() -> Table:
    """Return the table of `digits_arrays`: columns pixel_0_0 to pixel_7_7 (row, column), target "digit"."""
    names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    return _table("digits", digits_arrays(), names, "digit")


def two_gaussians(n: int = 1000, noise: float = 0.5, seed: int = 0) -> Table:
    """Return the table of `two_gaussians_arrays`: columns x0 and x1, target "class"."""
    return _table("two-gaussians", two_gaussians_arrays(n, noise, seed), ("x0", "x1"), "class")


def spirals(n: int = 1000, noise: float = 0.02, seed: int = 0) -> Table:
    """Return the table of `spirals_arrays`: columns x0 and x1, target "class"."""
    return _table("spirals", spirals_arrays(n, noise, seed), ("x0", "x1"), "class")


def xor(n: int = 1000, noise: float = 0.1, seed: int = 0) -> Table:
    """Return the table of `xor_arrays`: columns x0 and x1, target "class"."""
    return _table("xor", xor_arrays(n, noise, seed), ("x0", "x1"), "class")


def sine(n: int = 1000, noise: float = 0.1, seed: int = 0) -> Table:
    """Return the table of `sine_arrays`: column x, target "y"."""
    return _table("sine", sine_arrays(n, noise, seed), ("x",), "y")


BUILTIN: dict[str, Callable[..., Table]] = {
    "digits": digits,
    "two-gaussians": two_gaussians,
    "spirals": spirals,
    "xor": xor,
    "sine": sine,
}
"""Built-in tables by the name under which `load` knows them."""


def _table(name: str, arrays: Arrays, features: Sequence[str], target: str) -> Table:
    pl = import_polars()
    X, y = arrays
    columns: dict[str, Any] = {feature: X[:, index].copy() for index, feature in enumerate(features)}
    return Table(frame=pl.DataFrame({**columns, target: y}), target=target, name=name)


def _draws(name: str, n: int, noise: float, seed: int) -> np.random.Generator:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 2:
        raise ConfigError(f"{name}: n must be a whole number of rows, at least 2; found {n!r}")
    if not isinstance(noise, int | float | np.number) or not 0.0 <= noise < math.inf:
        raise ConfigError(f"{name}: noise must be a finite number, not negative; found {noise!r}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigError(f"{name}: seed must be a whole number, not negative; found {seed!r}")
    return np.random.Generator(np.random.PCG64(int(seed)))
