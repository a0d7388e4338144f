"""Scalings of numbers: by median and quartiles with smooth clipping, or to a normal distribution.

The functions `robust`, `quantile` and `normal_quantile` need nothing but NumPy: their source goes into
exported folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet import checks

__all__ = [
    "MOST_QUANTILES",
    "NORMAL_QUANTILE",
    "ONE_HOTS",
    "SCALINGS",
    "STANDARD",
    "Encoding",
    "Quantile",
    "Robust",
    "Scaling",
    "normal_quantile",
    "quantile",
    "robust",
    "robust_of_counts",
    "scalings_of",
]

SCALINGS = ("standard", "robust", "quantile")
"""How numbers may be scaled."""

ONE_HOTS = ("plain", "signed")
"""How categories may be one-hot."""

MOST_QUANTILES = 1000
_FEWEST_QUANTILES, _ROWS_PER_QUANTILE = 10, 30
_LARGEST = np.finfo(np.float64).max


@dataclass(frozen=True)
class Encoding:
    """How columns become features, where that can be chosen; see `xpnet.data.Encoder.fit`.

    Attributes:
        scaling: of numbers, one of `SCALINGS`.
        one_hot: of categories, one of `ONE_HOTS`.
        one_hot_up_to: columns of more categories become codes; None: none does.

    Raises:
        ConfigError: an unknown scaling or form, or a number that is none.
    """

    scaling: str = "standard"
    one_hot: str = "plain"
    one_hot_up_to: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scaling", checks.one_of(*SCALINGS)("scaling", self.scaling))
        object.__setattr__(self, "one_hot", checks.one_of(*ONE_HOTS)("one_hot", self.one_hot))
        checks.unless_none(checks.whole(0), "one_hot_up_to", self.one_hot_up_to)


STANDARD = Encoding()
"""Standardized numbers, and one feature for each category."""


@dataclass(frozen=True, slots=True)
class Robust:
    """Scaling by median and quartiles, smoothly clipped to (-3, 3).

    z / √(1 + (z / 3)²) of z = (x - median) / (q₃ - q₁). Where the quartiles q₁ and q₃ coincide, half the
    range stands for their distance; of equal cells z is 0.

    Attributes:
        center: the median.
        factor: 1 over the distance; 0 where cells are equal.

    Source: Holzmüller et al., "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
    2024.
    """

    kind: ClassVar[str] = "robust"
    center: float
    factor: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the scaled numbers; NaN stays."""
        return robust(x, self.center, self.factor)

    def to_json(self) -> dict[str, Any]:
        """Return the scaling as JSON values."""
        return {"kind": self.kind, "center": self.center, "factor": self.factor}


@dataclass(frozen=True, slots=True)
class Quantile:
    """Scaling by quantiles to a normal distribution: z = Φ⁻¹(share of the training cells below x).

    The share is interpolated between the quantiles of evenly spaced levels, of ties at the middle of their
    levels, and is at least 1e-7 and at most 1 - 1e-7, so that |z| < 5.2.

    That is scikit-learn's ``QuantileTransformer(output_distribution="normal")`` but for ties at the smallest
    or largest cell, which that one moves to ±5.2. Recipes for networks add noise to the cells before the fit,
    which moves ties to the middle of their levels; here they are there without a draw.

    Attributes:
        quantiles: 2 to 1000, ascending.

    Source: Gorishniy, Kotelnikov, Babenko, "TabM: advancing tabular deep learning with parameter-efficient
    ensembling", 2024, for the number of quantiles: a thirtieth of the rows, from 10 to 1000.
    """

    kind: ClassVar[str] = "quantile"
    quantiles: tuple[float, ...]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the scaled numbers; NaN stays."""
        return quantile(x, self.quantiles)

    def to_json(self) -> dict[str, Any]:
        """Return the scaling as JSON values."""
        return {"kind": self.kind, "quantiles": list(self.quantiles)}


Scaling = Robust | Quantile


def scalings_of(cells: np.ndarray, kind: str) -> list[Robust] | list[Quantile] | list[None]:
    """Return the scalings of columns; None for each under "standard", which goes by mean and deviation.

    Args:
        cells: (columns, rows) float64, finite; at least one row.
        kind: one of `SCALINGS`.

    >>> scalings_of(np.asarray([[1.0, 2.0, 3.0, 4.0, 5.0]]), "robust")
    [Robust(center=3.0, factor=0.5)]
    """
    columns, n = cells.shape
    if kind == "standard":
        return [None] * columns
    if kind == "robust":
        low, first, median, third, high = _quantiles(cells, 5).T
        return _robust(first, median, third, low, high)
    count = max(2, min(n, max(_FEWEST_QUANTILES, min(n // _ROWS_PER_QUANTILE, MOST_QUANTILES))))
    return [Quantile(tuple(column)) for column in _quantiles(cells, count).tolist()]


def _quantiles(cells: np.ndarray, count: int) -> np.ndarray:
    """Return quantiles of even levels of columns, (columns, count), ascending; those of ties are equal."""
    last = cells.shape[1] - 1
    # places as whole numbers and remainders: rounded ones would tear ties apart
    places, rest = np.divmod(np.arange(count) * last, count - 1)
    ordered = np.sort(cells, axis=1)
    low, high = ordered[:, places], ordered[:, np.minimum(places + 1, last)]
    # halved first: the difference of two huge ones would overflow
    found = low + 2.0 * (rest / (count - 1) * (high / 2 - low / 2))
    return np.maximum.accumulate(found, axis=1)  # which rounding may have put out of order


def robust_of_counts(values: Sequence[float], counts: Sequence[int]) -> Robust:
    """Return the robust scaling of cells of a few values.

    Args:
        values: ascending.
        counts: how many cells have each; at least one.

    >>> robust_of_counts([0.0, 1.0], [9, 1])
    Robust(center=0.0, factor=2.0)
    """
    there = [value for value, count in zip(values, counts, strict=True) if count]
    ends = np.cumsum([count for count in counts if count])
    quartiles = []
    for level in (0.25, 0.5, 0.75):
        place = level * (ends[-1] - 1)
        low, high = (there[np.searchsorted(ends, x, side="right")] for x in (np.floor(place), np.ceil(place)))
        quartiles.append(low + (high - low) * (place - np.floor(place)))
    (found,) = _robust(*(np.asarray([x]) for x in (*quartiles, there[0], there[-1])))
    return found


def _robust(
    first: np.ndarray, median: np.ndarray, third: np.ndarray, low: np.ndarray, high: np.ndarray
) -> list[Robust]:
    half = third / 2 - first / 2  # halved first: the difference of two huge ones would overflow
    half = np.where(half == 0, (high / 2 - low / 2) / 2, half)
    with np.errstate(divide="ignore", over="ignore"):
        factor = np.where(half == 0, 0.0, np.minimum(0.5 / half, _LARGEST))
    return [Robust(*pair) for pair in zip(median.tolist(), factor.tolist(), strict=True)]


def robust(x: Any, center: Any, factor: Any) -> Any:
    """Return z / √(1 + (z / 3)²) of z = (x - center) · factor; NaN stays."""
    with np.errstate(over="ignore"):
        z = np.clip((x - center) * factor, -1e9, 1e9)  # beyond, the result is 3, and squares may overflow
    t = z / 3.0
    return z / np.sqrt(1.0 + t * t)


def quantile(x: Any, quantiles: Any) -> Any:
    """Return Φ⁻¹ of the share of a distribution below x, given by quantiles of even levels; NaN stays."""
    known, levels = np.asarray(quantiles), np.linspace(0.0, 1.0, len(quantiles))
    # from below and from above: of ties the last and the first level
    share = 0.5 * (np.interp(x, known, levels) - np.interp(-x, -known[::-1], -levels[::-1]))
    return normal_quantile(np.clip(share, 1e-7, 1.0 - 1e-7))


NORMAL_QUANTILE = (
    (
        (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
         4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
        (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
         2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
    ),
    (
        (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
         3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
         2.27238449892691845833e-2, 7.74545014278341407640e-4),
        (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
         1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
         1.05075007164441684324e-9),
    ),
)  # fmt: skip
"""Coefficients of `normal_quantile`: numerator and denominator, of the middle and of the tails."""


def normal_quantile(p: Any) -> Any:
    """Return Φ⁻¹(p), the quantile of the normal distribution, for p from 1e-10 to 1 - 1e-10.

    M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", 1988; the relative
    error is about 1e-16.
    """
    q = p - 0.5
    r = np.sqrt(-np.log(np.minimum(p, 1.0 - p))) - 1.6
    found = []
    for (above, below), t in zip(NORMAL_QUANTILE, (0.180625 - q * q, r), strict=True):
        one, other = 0.0, 0.0
        for a, b in zip(above[::-1], below[::-1], strict=True):
            one, other = one * t + a, other * t + b
        found.append(one / other)
    return np.where(np.abs(q) <= 0.425, q * found[0], np.sign(q) * found[1])
