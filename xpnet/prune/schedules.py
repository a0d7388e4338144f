"""Schedules of sparsity over the rounds of a pruning."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["SCHEDULES"]


def cubic(first: float, last: float, share: float) -> float:
    """s = s₁ + (s₀ - s₁)(1 - t)³: many weights at first, as long as there are plenty.

    Source: Zhu and Gupta, "To prune, or not to prune", 2017.
    """
    return last + (first - last) * (1 - share) ** 3


def geometric(first: float, last: float, share: float) -> float:
    """1 - s = (1 - s₀)((1 - s₁) / (1 - s₀))ᵗ: each round removes the same share of what is left.

    Source: Han et al., 2015; Frankle and Carbin, "The lottery ticket hypothesis", 2019.
    """
    return 1 - (1 - first) * ((1 - last) / (1 - first)) ** share


def linear(first: float, last: float, share: float) -> float:
    """s = s₀ + (s₁ - s₀) t: each round removes as many."""
    return first + (last - first) * share


SCHEDULES: dict[str, Callable[[float, float, float], float]] = {
    "cubic": cubic,
    "geometric": geometric,
    "linear": linear,
}
"""Sparsity after the share t of all rounds, from s₀ at t = 0 to s₁ at t = 1."""
