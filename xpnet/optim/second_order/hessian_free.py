"""Hessian-free optimization: Newton's direction by conjugate gradients, from products with vectors alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from xpnet import rng
from xpnet.backends import array_namespace
from xpnet.checks import not_negative
from xpnet.configured import COUNT, POSITIVE
from xpnet.optim.second_order.base import BETWEEN, Method, State, StuckError
from xpnet.optim.second_order.objective import Objective

__all__ = ["HessianFree"]

_APART = 1.3  # between the iterates that are kept, each so many times as late as the one before
_POWER = 0.75


@dataclass(frozen=True)
class HessianFree(Method, name="hessian-free"):
    r"""Hessian-free optimization: $(G + \lambda I)\, d = -g$ solved by preconditioned conjugate gradients.

    $G$ is the Gauss-Newton matrix if the objective is a loss of a model's outputs, else the Hessian. It is
    never made: conjugate gradients need products $G v$, each of which costs a few evaluations.

    - They begin with the last direction, made a little smaller, and end when the quadratic falls by less than
      ``precision`` an iteration, or at a direction of negative curvature.
    - The preconditioner is $(D + \lambda)^{3/4}$, $D$ a running estimate of the diagonal of $G$ from products
      with random signs: $\mathrm{diag}\,G = \mathrm E[v \odot G v]$.
    - Of the iterates the earlier ones are tried as well, and the lowest point is taken, then searched along.
    - $\lambda$ becomes 3/2 times as large where the value falls by less than a quarter of what the quadratic
      predicts, and 2/3 where by more than three quarters.

    Args:
        damping: $\lambda$ at the beginning.
        iterations: of conjugate gradients, at the most.
        precision: relative fall of the quadratic for each iteration, below which they end.
        decay: factor of the last direction at the next beginning.
        probes: random products for each estimate of the diagonal; 0 for no preconditioner.

    References: lecture note 004; J. Martens, "Deep learning via Hessian-free optimization", ICML 2010;
    J. Martens and I. Sutskever, "Training deep and recurrent networks with Hessian-free optimization" (2012);
    O. Chapelle and D. Erhan, "Improved preconditioner for Hessian free optimization" (2011).
    """

    damping: float = field(default=1.0, metadata=POSITIVE)
    iterations: int = field(default=250, metadata=COUNT)
    precision: float = field(default=5e-4, metadata=BETWEEN)
    decay: float = field(default=0.95, metadata=BETWEEN)
    probes: int = field(default=1, metadata={"check": lambda *args: int(not_negative(*args))})

    def step(self, objective: Objective, state: State) -> State:
        x, g, value = state["x"], state["gradient"], state["value"]
        damping, number = state.get("damping", self.damping), state.get("number", 0)
        diagonal = self._diagonal(objective, state, number)
        iterates = self._solved(objective, state, damping, diagonal)
        direction, new_value, quadratic = self._lowest(objective, x, iterates)
        slope = float(g @ direction)
        if not slope < 0.0:
            direction, slope, quadratic = -g, -float(g @ g), -math.inf
            new_value = objective.value(x + direction)
        ratio = (new_value - value) / quadratic if quadratic < 0.0 and math.isfinite(new_value) else -1.0
        if ratio < 0.25:
            damping *= 1.5
        elif ratio > 0.75:
            damping /= 1.5
        size = 1.0
        while not new_value <= value + 1e-2 * size * slope:  # nor NaN
            size *= 0.8
            if size < 1e-6:
                raise StuckError("no step along the direction lowers the value by more than rounding errors")
            new_value = objective.value(x + size * direction)
        new = x + size * direction
        new_value, gradient = objective(new)
        return {
            "x": new,
            "value": new_value,
            "gradient": gradient,
            "direction": direction,
            "damping": damping,
            "diagonal": diagonal,
            "number": number + 1,
        }

    def _diagonal(self, objective: Objective, state: State, number: int) -> Any:
        """Return the running estimate of the diagonal: a mean over what was drawn, the last ones first."""
        x = state["x"]
        xp = array_namespace(x)
        if self.probes == 0:
            return xp.zeros_like(x)
        new = xp.zeros_like(x)
        for probe in range(self.probes):
            key = rng.key(0).fold("diagonal", number, probe)
            up = rng.bernoulli(key, 0.5, tuple(x.shape), xp=xp, device=x.device)
            sign = xp.where(up, xp.ones_like(x), -xp.ones_like(x))
            new = new + sign * objective.curvature_vp(x, sign) / self.probes
        if "diagonal" not in state:
            return new
        share = max(1.0 / (number + 1), 0.05)
        return (1.0 - share) * state["diagonal"] + share * new

    def _solved(
        self, objective: Objective, state: State, damping: float, diagonal: Any
    ) -> list[tuple[Any, float]]:
        """Return some iterates of conjugate gradients, each with the quadratic there, without the damping."""
        x, g = state["x"], state["gradient"]
        xp = array_namespace(x)

        def product(v: Any) -> Any:
            return objective.curvature_vp(x, v) + damping * v

        scale = (xp.abs(diagonal) + damping) ** -_POWER if self.probes else xp.ones_like(x)
        p = self.decay * state["direction"] if "direction" in state else xp.zeros_like(x)
        r = g + product(p) if "direction" in state else g
        z = scale * r
        s, rz = -z, float(r @ z)
        kept: list[tuple[Any, float]] = []
        falls: list[float] = []
        next_kept = 1.0
        for i in range(1, self.iterations + 1):
            curved = product(s)
            curvature = float(s @ curved)
            if not curvature > 0.0:
                if not kept:
                    kept.append((-g, -math.inf))
                break
            along = rz / curvature
            p, r = p + along * s, r + along * curved
            quadratic = 0.5 * float(p @ (r + g))
            falls.append(quadratic)
            window = max(10, i // 10)
            ends = (
                i > window
                and quadratic < 0.0
                and ((quadratic - falls[i - 1 - window]) / quadratic < window * self.precision)
            )
            z = scale * r
            rz, rz_before = float(r @ z), rz
            ends = ends or i == self.iterations or not rz > 0.0
            if i >= next_kept or ends:
                kept.append((p, quadratic - 0.5 * damping * float(p @ p)))
                next_kept = max(next_kept * _APART, i + 1.0)
            if ends:
                break
            s = rz / rz_before * s - z
        return kept

    def _lowest(
        self, objective: Objective, x: Any, iterates: list[tuple[Any, float]]
    ) -> tuple[Any, float, float]:
        """Go back through the iterates as long as that leads lower."""
        direction, quadratic = iterates[-1]
        value = objective.value(x + direction)
        for earlier, its_quadratic in reversed(iterates[:-1]):
            its_value = objective.value(x + earlier)
            if value <= its_value:
                break
            direction, quadratic, value = earlier, its_quadratic, its_value
        return direction, value, quadratic
