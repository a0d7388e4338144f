"""BFGS with limited memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xpnet.configured import COUNT
from xpnet.optim.second_order.base import Directed, State
from xpnet.optim.second_order.bfgs import curves_upward
from xpnet.optim.second_order.line_search import Found
from xpnet.optim.second_order.objective import Objective

__all__ = ["LBFGS"]


@dataclass(frozen=True)
class LBFGS(Directed, name="l-bfgs"):
    r"""L-BFGS: `BFGS` from the last $m$ pairs $(s, y)$ alone, without a matrix.

    $B g$ is computed from them by two loops, beginning with $B = I\, s^T y / y^T y$ of the last pair. It
    takes memory for $2 m$ vectors.

    Args:
        history: $m$, the number of pairs.
        line_search, c1, c2: as for `Directed`.

    References: J. Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35 (1980);
    Nocedal and Wright, Numerical Optimization (2006), algorithms 7.4 and 7.5.
    """

    history: int = field(default=10, metadata=COUNT)

    def direction(self, objective: Objective, state: State) -> Any:
        q = -state["gradient"]
        pairs = list(zip(state.get("steps", ()), state.get("changes", ()), strict=True))
        if not pairs:
            return q
        parts = []
        for s, y in reversed(pairs):
            part = (s @ q) / (y @ s)
            q = q - part * y
            parts.append(part)
        s, y = pairs[-1]
        q = (s @ y) / (y @ y) * q
        for (s, y), part in zip(pairs, reversed(parts), strict=True):
            q = q + (part - (y @ q) / (y @ s)) * s
        return q

    def kept(self, state: State, direction: Any, found: Found) -> State:
        s, y = found.step * direction, found.gradient - state["gradient"]
        steps, changes = list(state.get("steps", ())), list(state.get("changes", ()))
        if curves_upward(s, y):
            steps, changes = [*steps, s][-self.history :], [*changes, y][-self.history :]
        return {"steps": steps, "changes": changes}
