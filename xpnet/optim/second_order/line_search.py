r"""Line searches: how far to go in a direction $d$, that is for which $\alpha > 0$ to take $x + \alpha d$.

With $\varphi(\alpha) = f(x + \alpha d)$ they look for a step of *sufficient decrease*,

$$\varphi(\alpha) \le \varphi(0) + c_1 \alpha \varphi'(0),$$

and `wolfe` for one where the line is less steep as well, $|\varphi'(\alpha)| \le -c_2 \varphi'(0)$. Both
together are the strong Wolfe conditions, under which BFGS keeps its matrix positive definite.

Where the values of $f$ differ by no more than rounding errors, sufficient decrease cannot be seen in them,
and slopes alone decide: near a minimum they are known to many more digits (Hager and Zhang, "A new conjugate
gradient method with guaranteed descent and an efficient line search", SIAM J. Optim. 16 (2005)).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from xpnet.backends import array_namespace
from xpnet.optim.second_order.objective import Objective

__all__ = ["LINE_SEARCHES", "Found", "backtracking", "rounding", "wolfe"]

_TRIALS = 40
_FARTHEST, _EXPAND, _SHRINK = 4.0, 1.1, 0.66


class Found(NamedTuple):
    """A point on the line: how far along it lies, with the value and the gradient there."""

    step: float
    x: Any
    value: float
    gradient: Any
    slope: float


def rounding(x: Any) -> float:
    """Return the relative error that a value may have, roughly: eps to the power of 2/3 of the dtype."""
    return float(array_namespace(x).finfo(x.dtype).eps) ** (2 / 3)


class _End(NamedTuple):
    """One end of the interval that is searched."""

    step: float
    value: float
    slope: float


class _Line:
    """The function along the line, and the conditions for a good point."""

    def __init__(self, objective: Objective, at: Found, direction: Any, c1: float, c2: float):
        self.objective, self.x, self.direction = objective, at.x, direction
        self.value, self.slope, self.c1, self.c2 = at.value, at.slope, c1, c2
        self.rounding = rounding(at.x) * abs(at.value)

    def __call__(self, step: float) -> Found:
        x = self.x + step * self.direction
        value, gradient = self.objective(x)
        if not math.isfinite(value):
            return Found(step, x, math.inf, gradient, math.nan)
        return Found(step, x, value, gradient, float(gradient @ self.direction))

    def falls(self, point: Found) -> bool:
        return point.value <= self.value + self.c1 * point.step * self.slope

    def is_level(self, point: Found) -> bool:
        """True for a value that differs by no more than rounding errors."""
        return abs(point.value - self.value) <= self.rounding

    def is_flat(self, point: Found) -> bool:
        return abs(point.slope) <= -self.c2 * self.slope


def backtracking(
    objective: Objective, at: Found, direction: Any, first: float, c1: float = 1e-4, c2: float = 0.9
) -> Found | None:
    """Return the first of ever smaller steps that lowers the value enough; None if rounding hides them all.

    Each next step is where the parabola through the known values has its minimum, but at least a tenth and at
    most half of the one before.

    Args:
        objective: the function to minimize.
        at: where the line begins; its slope is along the direction, and negative.
        direction: of the line.
        first: the step that is tried first.
        c1: of the sufficient decrease, between 0 and 1.
        c2: as for `wolfe`; here it only bounds the slope of steps whose values are alike but for rounding.

    Source: Nocedal and Wright, Numerical Optimization (2006), section 3.5.
    """
    line, step = _Line(objective, at, direction, c1, c2), first
    for _ in range(_TRIALS):
        point = line(step)
        if (line.falls(point) and point.value < at.value) or (line.is_level(point) and line.is_flat(point)):
            return point
        bend = point.value - at.value - at.slope * step
        lowest = -0.5 * at.slope * step * step / bend if math.isfinite(bend) and bend > 0.0 else 0.0
        step = min(max(lowest, 0.1 * step), 0.5 * step)
    return None


def wolfe(
    objective: Objective, at: Found, direction: Any, first: float, c1: float = 1e-4, c2: float = 0.9
) -> Found | None:
    """Return a point that satisfies the strong Wolfe conditions; None if none was found.

    An interval is found that must hold such points, and made smaller by interpolation with parabolas and
    cubics. If it cannot be made small enough, a point of sufficient decrease is good enough.

    Args:
        objective, at, direction, first, c1: as for `backtracking`.
        c2: between ``c1`` and 1: which part of the slope may be left.

    Source: J. J. Moré and D. J. Thuente, "Line search algorithms with guaranteed sufficient decrease",
    ACM Trans. Math. Softw. 20 (1994).
    """
    line = _Line(objective, at, direction, c1, c2)
    low = high = _End(0.0, at.value, at.slope)  # the best so far, and the other end once there is one
    bracketed, stage, limit = False, 1, math.inf
    width, width_before = math.inf, math.inf
    nearest, farthest = 0.0, first + _FARTHEST * first
    step, best = first, None
    for _ in range(_TRIALS):
        point = line(step)
        if not math.isfinite(point.value) or math.isnan(point.slope):
            limit = farthest = step
            step = low.step + 0.25 * (step - low.step)
            continue
        falls = line.falls(point)
        if (falls or line.is_level(point)) and line.is_flat(point):
            return point
        if falls and point.value < (at.value if best is None else best.value):
            best = point
        if stage == 1 and falls and point.slope >= 0.0:
            stage = 2
        if bracketed and abs(high.step - low.step) <= 1e-14 * max(high.step, low.step):
            break
        trial = _End(step, point.value, point.slope)
        # As long as no step lowers the value enough: of f without the decrease that is asked for.
        tilt = c1 * at.slope if stage == 1 and point.value <= low.value and not falls else 0.0
        ends = (_tilted(low, tilt), _tilted(high, tilt), _tilted(trial, tilt))
        step, low_moved, bracketed, high_is = _next_step(*ends, bracketed, nearest, farthest, line.rounding)
        high = {"high": high, "low": low, "trial": trial}[high_is]
        low = trial if low_moved else low
        if bracketed:
            if abs(high.step - low.step) >= _SHRINK * width_before:
                step = low.step + 0.5 * (high.step - low.step)
            width_before, width = width, abs(high.step - low.step)
            nearest, farthest = min(low.step, high.step), max(low.step, high.step)
        else:
            nearest = step + _EXPAND * (step - low.step)
            farthest = min(step + _FARTHEST * (step - low.step), limit)
        step = min(max(step, 0.0), limit)
        if bracketed and not nearest < step < farthest:
            step = low.step + 0.5 * (high.step - low.step)
    return best


LINE_SEARCHES: dict[str, Callable[..., Found | None]] = {"wolfe": wolfe, "backtracking": backtracking}
"""Every line search by its name."""


def _tilted(end: _End, tilt: float) -> _End:
    return _End(end.step, end.value - tilt * end.step, end.slope - tilt)


def _next_step(
    low: _End,
    high: _End,
    trial: _End,
    bracketed: bool,
    nearest: float,
    farthest: float,
    rounding: float,
) -> tuple[float, bool, bool, str]:
    """Return the next step, whether the trial is the best now, whether there is an interval, its other end.

    The four cases of Moré and Thuente, section 4; cubics go through slopes alone where values say nothing.
    """
    turns = trial.slope * math.copysign(1.0, low.slope) < 0.0
    level = abs(trial.value - low.value) <= rounding
    if trial.value > low.value and not level:  # too high: the minimum lies between
        cubic, parabola = _cubic(low, trial), _parabola(low, trial)
        step = cubic if abs(cubic - low.step) < abs(parabola - low.step) else cubic + (parabola - cubic) / 2
        return step, False, True, "trial"
    if turns:  # lower, and rising again: between, too
        secant = _secant(low, trial)
        cubic = secant if level else _cubic(low, trial)
        step = cubic if abs(cubic - trial.step) > abs(secant - trial.step) else secant
        return step, True, True, "low"
    kept = "high"
    if abs(trial.slope) < abs(low.slope):  # less steep: farther on, if the cubic has a minimum
        secant = _secant(low, trial)
        cubic = secant if level else _cubic(low, trial)
        if not (cubic - trial.step) * (trial.step - low.step) > 0.0:
            cubic = farthest if trial.step > low.step else nearest
        if bracketed:
            step = cubic if abs(cubic - trial.step) < abs(secant - trial.step) else secant
            bound = trial.step + _SHRINK * (high.step - trial.step)
            step = min(bound, step) if trial.step > low.step else max(bound, step)
        else:
            step = cubic if abs(cubic - trial.step) > abs(secant - trial.step) else secant
            step = min(max(step, nearest), farthest)
        return step, True, bracketed, kept
    if bracketed:
        return _cubic(trial, high), True, True, kept
    return (farthest if trial.step > low.step else nearest), True, False, kept


def _cubic(a: _End, b: _End) -> float:
    """Return where the cubic through two points with their slopes has its minimum."""
    theta = 3 * (a.value - b.value) / (b.step - a.step) + a.slope + b.slope
    scale = max(abs(theta), abs(a.slope), abs(b.slope))
    if scale == 0.0:
        return math.nan
    root = scale * math.sqrt(max(0.0, (theta / scale) ** 2 - (a.slope / scale) * (b.slope / scale)))
    root = math.copysign(root, b.step - a.step)
    below = 2 * root - a.slope + b.slope
    if below == 0.0:
        return math.nan
    return a.step + (root - a.slope + theta) / below * (b.step - a.step)


def _parabola(a: _End, b: _End) -> float:
    """Return where the parabola through two points with the slope of the first has its minimum."""
    width = b.step - a.step
    return a.step + a.slope / ((a.value - b.value) / width + a.slope) / 2 * width


def _secant(a: _End, b: _End) -> float:
    """Return where the straight line through the slopes is zero."""
    return b.step + b.slope / (b.slope - a.slope) * (a.step - b.step)
