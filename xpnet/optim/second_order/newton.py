"""Newton's method, as it is and damped, with the whole Hessian."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from xpnet.backends import array_namespace
from xpnet.configured import POSITIVE
from xpnet.optim.second_order.base import Directed, Method, State, StuckError
from xpnet.optim.second_order.line_search import rounding
from xpnet.optim.second_order.objective import Objective

__all__ = ["DampedNewton", "Newton"]

_TRIALS = 60


@dataclass(frozen=True)
class Newton(Directed, name="newton"):
    r"""Newton's method: $d = -H^{-1} g$, which leads to the minimum of a quadratic in one step.

    Along eigenvectors of negative curvature that direction would lead up, and along those of none it is not
    defined. So each eigenvalue $\lambda$ of $H$ counts as $\max(|\lambda|, \delta)$ (saddle-free Newton): the
    same where $H$ is positive definite, and away from saddle points elsewhere. The Hessian takes O(n²) memory
    and n products, its eigenvalues O(n³) operations.

    Args:
        line_search, c1, c2: as for `Directed`; the step 1 is tried first.

    References: lecture note 004; Y. Dauphin et al., "Identifying and attacking the saddle point problem in
    high-dimensional non-convex optimization", NeurIPS 2014.
    """

    def direction(self, objective: Objective, state: State) -> Any:
        values, vectors = _eigen(objective, state["x"])
        xp = array_namespace(values)
        size = xp.abs(values)
        smallest = 1e-8 * float(xp.max(size))
        size = xp.where(size > smallest, size, smallest) if smallest > 0.0 else xp.ones_like(size)
        return -(vectors @ ((vectors.mT @ state["gradient"]) / size))

    def first_step(self, state: State, slope: float) -> float:
        return 1.0


@dataclass(frozen=True)
class DampedNewton(Method, name="damped-newton"):
    r"""Newton's method with a regularized Hessian: $d = -(H + \alpha I)^{-1} g$, $\alpha$ adapted.

    As $\alpha$ grows, this becomes a short step of gradient descent with the rate $1/\alpha$. It is raised to
    more than minus the lowest eigenvalue, so that directions of negative curvature lead down; it becomes four
    times as large when a step lowers the value by less than a quarter of what the quadratic predicts, and
    a quarter of itself when by more than three quarters.

    Args:
        damping: $\alpha$ at the beginning, relative to the largest eigenvalue.

    References: lecture note 004; Levenberg (1944) and Marquardt (1963), who did it for least squares.
    """

    damping: float = field(default=1e-3, metadata=POSITIVE)

    def step(self, objective: Objective, state: State) -> State:
        x, g, value = state["x"], state["gradient"], state["value"]
        values, vectors = _eigen(objective, x)
        xp = array_namespace(values)
        lowest, scale = float(values[0]), float(xp.max(xp.abs(values))) or 1.0
        alpha = state.get("damping", self.damping * scale)
        inside = vectors.mT @ g
        for _ in range(_TRIALS):
            shift = max(alpha, max(alpha, 1e-10 * scale) - lowest)
            part = -inside / (values + shift)
            change = vectors @ part
            predicted = float(inside @ part) + 0.5 * float(part @ (values * part))
            new_value, new_gradient = objective(x + change)
            lowered = new_value - value
            if math.isfinite(new_value) and max(-predicted, lowered) <= rounding(x) * abs(value):
                good = float(new_gradient @ new_gradient) < float(g @ g)
                ratio = 1.0 if good else 0.0
            else:
                ratio = lowered / predicted if math.isfinite(new_value) and predicted < 0.0 else -1.0
            if ratio < 0.25:
                alpha = 4.0 * max(alpha, 1e-12 * scale)
            elif ratio > 0.75:
                alpha = 0.25 * alpha
            if ratio > 1e-4:
                return {"x": x + change, "value": new_value, "gradient": new_gradient, "damping": alpha}
        raise StuckError("no damping gave a lower point: the remaining decrease is within rounding errors")


def _eigen(objective: Objective, x: Any) -> tuple[Any, Any]:
    """Return the Hessian's eigenvalues, ascending, and eigenvectors."""
    hessian = objective.hessian(x)
    xp = array_namespace(hessian)
    if not bool(xp.all(xp.isfinite(hessian))):
        raise StuckError("the Hessian is not finite here")
    values, vectors = xp.linalg.eigh(hessian)
    return values, vectors
