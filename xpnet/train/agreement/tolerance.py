r"""Tolerances for two devices, from rounding alone.

A number goes through m roundings in a step: those of the sums of each layer (its inputs forward, its outputs
backward, the rows of the batch for its weights' gradient) and of what is done to each entry. A rounding errs
by at most the unit u = ε/2, and taken as uniform between, by u/√3 on average (in the sense of squares). m of
them add up to u √(m/3), and the difference between two devices is √2 times that. Numbers by the hundred
thousand are compared, so five times as much is allowed, which of two million normal numbers one exceeds:

$$B = 5 \sqrt{2/3}\, u\, \sqrt{m}$$

After n steps, m is n times as large. That errors add up as √m and not as m is true of sums as well: N. Higham
and T. Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019,
theorem 2.4.

If its inputs move by B, a result moves by B times its condition number κ, which is
measured: on the reference, inputs and weights are changed by the share δ = 4u, up or down at random, and the
same is computed again. An array x that moves by Δ then, at most and relative to max |x|, has
κ = max(1, Δ/δ), and two devices agree on it if

$$\max |x' - x| / \max |x| \le \kappa B$$

Where κB is a tenth or more, a number says little about the devices, and its verdict is "undecided" and not
"agree": the bias of a layer in front of batch normalization is such a number, whose gradient is 0 but for
rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xpnet import rng

__all__ = ["CHANGES", "UNDECIDED", "bound", "change", "condition", "roundings"]

CHANGES = 2
"""How often the reference computes again with changed inputs and weights; the larger movement counts."""

UNDECIDED = 0.1
"""The tolerance from which on a verdict is undecided."""

_DEVIATIONS = 5.0
_UNITS = 4.0  # δ / u: beyond the rounding of the changed numbers themselves
# Of what is done to each entry of a layer: four functions such as exp or erf, each of which errs by no more
# than two units in the last place, that is 4u, and so counts as 4² roundings.
_ENTRYWISE = 64


def roundings(weights: Mapping[str, np.ndarray], batch: int, *, sums_over_all: bool) -> int:
    """Return the number of roundings of a number in a step.

    Args:
        weights: parameters by name, or arrays like them; matrices (inputs, outputs) are layers.
        batch: rows of a step.
        sums_over_all: whether a sum over all parameters is a part of it, as in the norm of the gradient.

    >>> roundings({"0.weight": np.ones((64, 10)), "0.bias": np.ones(10)}, 50, sums_over_all=False)
    188
    """
    layers = [x.shape for x in weights.values() if x.ndim == 2]
    total = sum(inputs + outputs + batch + _ENTRYWISE for inputs, outputs in layers)
    total = total or batch + _ENTRYWISE
    return total + (sum(x.size for x in weights.values()) if sums_over_all else 0)


def bound(dtype: str, count: int) -> float:
    """Return B for ``count`` roundings in ``dtype``.

    >>> f"{bound('float32', 400):.1e}"
    '4.9e-06'
    """
    return _DEVIATIONS * math.sqrt(2 / 3 * count) * _unit(dtype)


def change(dtype: str, number: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that changes each entry of a host array by the share δ, up or down.

    Args:
        dtype: in which the array will be used.
        number: of the draw of signs.
    """
    size = _UNITS * _unit(dtype)

    def changed(x: np.ndarray) -> np.ndarray:
        words: Any = rng.bits(rng.key(number), x.shape, xp=np)
        return x * (1.0 + size * np.where(words & 1, 1.0, -1.0))

    return changed


def condition(dtype: str, movement: float) -> float:
    """Return the condition number κ of a result that moves by ``movement`` when its inputs change by δ.

    >>> condition("float64", 1e-15) > condition("float64", 0.0)
    True
    """
    return max(1.0, movement / (_UNITS * _unit(dtype)))


def _unit(dtype: str) -> float:
    return float(np.finfo(dtype).eps) / 2
