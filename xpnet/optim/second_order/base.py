"""Base classes of the methods of second order, which use derivatives over all data at once.

A method is a frozen dataclass of settings with two functions: `Method.begin` evaluates where to start, and
`Method.step` goes one iteration on. Between them stands the *state*, a dict of arrays and numbers, so that it
can be saved. Each iterate is at least as low as the one before it, but for rounding.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from xpnet.backends import array_namespace
from xpnet.checks import number
from xpnet.configured import Configured
from xpnet.errors import ConfigError, XpnetError, suggest
from xpnet.optim.second_order.line_search import LINE_SEARCHES, Found
from xpnet.optim.second_order.objective import Objective

__all__ = ["BETWEEN", "METHODS", "Directed", "Method", "StuckError", "largest"]

METHODS: dict[str, type[Method]] = {}
"""Every named method: name -> class."""

State = dict[str, Any]


class StuckError(XpnetError):
    """No lower point was found; the message says why."""


class Method(Configured, ABC):
    """Base class of methods, which are known by their names to :func:`xpnet.optim.minimize`."""

    family, example = "method", "a Method object such as BFGS()"
    known = METHODS

    def begin(self, objective: Objective, x: Any) -> State:
        """Return the state at ``x``: the point, its value and gradient, and the method's own entries.

        Raises:
            ConfigError: the value or the gradient is not finite there.
        """
        value, gradient = objective(x)
        xp = array_namespace(gradient)
        if not (math.isfinite(value) and bool(xp.all(xp.isfinite(gradient)))):
            what = f"a value of {value}" if not math.isfinite(value) else "a gradient that is not finite"
            raise ConfigError(
                f"x0: expected a point where the objective is finite, found {what}; start elsewhere"
            )
        return {"x": x, "value": value, "gradient": gradient}

    @abstractmethod
    def step(self, objective: Objective, state: State) -> State:
        """Return the state after one iteration.

        Raises:
            StuckError: there is no lower point that the method could find.
        """


def _line_search(label: str, value: Any, remedy: str) -> str:
    if isinstance(value, str) and value.lower() in LINE_SEARCHES:
        return value.lower()
    raise ConfigError(
        f"{label}: expected one of {', '.join(LINE_SEARCHES)}, found {value!r}{suggest(value, LINE_SEARCHES)}"
    )


BETWEEN = {"check": number("a number between 0 and 1", lambda x: 0.0 < x < 1.0)}
SEARCH = {"check": _line_search}


@dataclass(frozen=True)
class Directed(Method):
    r"""Base class of methods that choose a direction $d$ with $d^T g < 0$, and search along it.

    Args:
        line_search: ``"wolfe"`` or ``"backtracking"``; see `xpnet.optim.second_order.line_search`.
        c1: of the sufficient decrease.
        c2: of the slope that is left, above ``c1``.
    """

    line_search: str = field(default="wolfe", metadata=SEARCH)
    c1: float = field(default=1e-4, metadata=BETWEEN)
    c2: float = field(default=0.9, metadata=BETWEEN)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.c1 < self.c2:
            raise ConfigError(
                f"{type(self).__name__}: expected c1 below c2, found c1={self.c1}, c2={self.c2}; change one"
            )

    @abstractmethod
    def direction(self, objective: Objective, state: State) -> Any:
        """Return the direction in which to search; one that does not lead down is replaced by -g."""

    def first_step(self, state: State, slope: float) -> float:
        """Return the step to try first: by default all of the direction, once something is known of it."""
        return 1.0 if "change" in state else min(1.0, (-slope) ** -0.5)

    def kept(self, state: State, direction: Any, found: Found) -> State:
        """Return the entries for the next direction, from the last state and the point that was found."""
        return {}

    def step(self, objective: Objective, state: State) -> State:
        direction = self.direction(objective, state)
        found = self._searched(objective, state, direction)
        if found is None and set(state) - {"x", "value", "gradient"}:
            # What the method knows misled it: begin anew from here.
            state = {name: state[name] for name in ("x", "value", "gradient")}
            direction = -state["gradient"]
            found = self._searched(objective, state, direction)
        if found is None:
            raise StuckError(
                "the line search found no lower point: the remaining decrease is within rounding errors"
            )
        return {
            "x": found.x,
            "value": found.value,
            "gradient": found.gradient,
            "change": found.value - state["value"],
            **self.kept(state, direction, found),
        }

    def _searched(self, objective: Objective, state: State, direction: Any) -> Found | None:
        slope = float(direction @ state["gradient"])
        if not slope < 0.0:
            return None
        at = Found(0.0, state["x"], state["value"], state["gradient"], slope)
        search: Callable[..., Found | None] = LINE_SEARCHES[self.line_search]
        return search(objective, at, direction, self.first_step(state, slope), self.c1, self.c2)


def largest(x: Any) -> float:
    """Return the largest absolute entry."""
    xp = array_namespace(x)
    return float(xp.max(xp.abs(x)))
