"""Gradient descent with a line search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet.optim.second_order.base import Directed, State
from xpnet.optim.second_order.objective import Objective

__all__ = ["GradientDescent"]


@dataclass(frozen=True)
class GradientDescent(Directed, name="gd"):
    r"""Steepest descent: $d = -g$, and a step by line search in place of a learning rate.

    The first step to be tried is the one that would change the value as much as the last step did.

    Args:
        line_search, c1, c2: as for `Directed`.

    References: lecture note 001; Nocedal and Wright, Numerical Optimization (2006), equation 3.60.
    """

    def direction(self, objective: Objective, state: State) -> Any:
        return -state["gradient"]

    def first_step(self, state: State, slope: float) -> float:
        if not state.get("change", 0.0) < 0.0:
            return super().first_step({}, slope)
        return 2.02 * state["change"] / slope
