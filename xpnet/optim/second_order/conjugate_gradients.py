"""Non-linear conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xpnet.errors import ConfigError, suggest
from xpnet.optim.second_order.base import BETWEEN, Directed, State
from xpnet.optim.second_order.line_search import Found
from xpnet.optim.second_order.objective import Objective

__all__ = ["ConjugateGradients"]


def _fletcher_reeves(g: Any, before: Any, d: Any) -> Any:
    return (g @ g) / (before @ before)


def _polak_ribiere(g: Any, before: Any, d: Any) -> Any:
    return (g @ (g - before)) / (before @ before)


def _hestenes_stiefel(g: Any, before: Any, d: Any) -> Any:
    return (g @ (g - before)) / (d @ (g - before))


_FORMULAS = {
    "fletcher-reeves": _fletcher_reeves,
    "polak-ribiere": _polak_ribiere,
    "hestenes-stiefel": _hestenes_stiefel,
}


def _formula(label: str, value: Any, remedy: str) -> str:
    if isinstance(value, str) and value.lower() in _FORMULAS:
        return value.lower()
    raise ConfigError(
        f"{label}: expected one of {', '.join(_FORMULAS)}, found {value!r}{suggest(value, _FORMULAS)}"
    )


@dataclass(frozen=True)
class ConjugateGradients(Directed, name="cg"):
    r"""Non-linear conjugate gradients: $d_k = -g_k + \beta_k d_{k-1}$.

    With $y = g_k - g_{k-1}$:

    | ``formula`` | $\beta_k$ |
    |---|---|
    | ``"fletcher-reeves"`` | $g_k^T g_k / g_{k-1}^T g_{k-1}$ |
    | ``"polak-ribiere"`` | $\max(0,\ g_k^T y / g_{k-1}^T g_{k-1})$ |
    | ``"hestenes-stiefel"`` | $\max(0,\ g_k^T y / d_{k-1}^T y)$ |

    On a quadratic with exact line searches all three are the same, directions are conjugate
    ($d_i^T H d_j = 0$), and as many steps as there are dimensions suffice. Where successive gradients are far
    from orthogonal ($|g_k^T g_{k-1}| \ge 0.2\, g_k^T g_k$, Powell's test) Fletcher and Reeves' directions
    begin anew with $-g$; the others do so by themselves.

    Args:
        formula: as in the table.
        line_search, c1, c2: as for `Directed`; the search must be closer than for other methods.

    References: lecture note 004; Nocedal and Wright, Numerical Optimization (2006), section 5.2.
    """

    formula: str = field(default="polak-ribiere", metadata={"check": _formula})
    c2: float = field(default=0.1, metadata=BETWEEN)

    def direction(self, objective: Objective, state: State) -> Any:
        g = state["gradient"]
        if "direction" not in state:
            return -g
        before, d = state["gradient_before"], state["direction"]
        if self.formula == "fletcher-reeves" and abs(float(g @ before)) >= 0.2 * float(g @ g):
            return -g
        beta = float(_FORMULAS[self.formula](g, before, d))
        if not beta > 0.0:  # nor NaN
            return -g
        new = beta * d - g
        return new if float(new @ g) < 0.0 else -g

    def first_step(self, state: State, slope: float) -> float:
        if not state.get("change", 0.0) < 0.0:
            return super().first_step({}, slope)
        return 2.0 * state["change"] / slope

    def kept(self, state: State, direction: Any, found: Found) -> State:
        return {"direction": direction, "gradient_before": state["gradient"]}
