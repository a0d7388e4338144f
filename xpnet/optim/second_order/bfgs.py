"""BFGS, the quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet.backends import array_namespace
from xpnet.optim.second_order.base import Directed, State
from xpnet.optim.second_order.line_search import Found
from xpnet.optim.second_order.objective import Objective

__all__ = ["BFGS", "curves_upward"]


@dataclass(frozen=True)
class BFGS(Directed, name="bfgs"):
    r"""BFGS: $d = -B g$, where $B$ is an estimate of the inverse Hessian from the gradients seen so far.

    With the step $s = x_k - x_{k-1}$ and the change $y = g_k - g_{k-1}$ of the gradient,

    $$B_k = (I - \rho s y^T)\, B_{k-1}\, (I - \rho y s^T) + \rho s s^T, \qquad \rho = 1 / y^T s,$$

    beginning with $B = I$. It takes O(n²) memory; see `LBFGS` for more than some thousand dimensions.

    Args:
        line_search, c1, c2: as for `Directed`.

    References: lecture note 004; Nocedal and Wright, Numerical Optimization (2006), algorithm 6.1.
    """

    def direction(self, objective: Objective, state: State) -> Any:
        return -state["gradient"] if "inverse" not in state else -(state["inverse"] @ state["gradient"])

    def first_step(self, state: State, slope: float) -> float:
        if not state.get("change", 0.0) < 0.0:
            return super().first_step({}, slope)
        return min(1.0, 2.02 * state["change"] / slope)

    def kept(self, state: State, direction: Any, found: Found) -> State:
        s, y = found.step * direction, found.gradient - state["gradient"]
        inverse = state.get("inverse")
        if not curves_upward(s, y):
            return {} if inverse is None else {"inverse": inverse}
        if inverse is None:
            xp = array_namespace(s)
            inverse = xp.eye(s.shape[0], dtype=s.dtype, device=s.device)
        return {"inverse": _updated(inverse, s, y)}


def curves_upward(s: Any, y: Any) -> bool:
    """True if the gradient grew along the step by more than rounding errors, as an update needs."""
    return float(s @ y) > 1e-10 * float(s @ s) ** 0.5 * float(y @ y) ** 0.5


def _updated(inverse: Any, s: Any, y: Any) -> Any:
    """Return the next estimate of the inverse Hessian, multiplied out."""
    rho, moved = 1.0 / (y @ s), inverse @ y
    outer = s[:, None] * moved[None, :]
    return inverse + rho * ((1.0 + rho * (y @ moved)) * (s[:, None] * s[None, :]) - outer - outer.mT)
