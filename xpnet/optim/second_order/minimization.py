"""``minimize``: a function's minimum, by its derivatives at all data at once."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xpnet import checks
from xpnet.autodiff import implicit, value_and_grad
from xpnet.autodiff.tracer import traces_of, without_derivative
from xpnet.backends import array_namespace
from xpnet.configured import chosen
from xpnet.containers import leaves, map_leaves
from xpnet.errors import ConfigError
from xpnet.optim.second_order.base import Method, StuckError, largest
from xpnet.optim.second_order.curvature import Extremes, extreme_eigenvalues, nature_of
from xpnet.optim.second_order.objective import Objective

__all__ = ["Result", "minimize"]

_ESCAPES = 10


@dataclass(frozen=True)
class Result:
    """Result of a minimization.

    Attributes:
        x: the lowest point that was found, a container like the one that was given.
        fun: the value there; an array inside of transforms.
        grad: the gradient there, like ``x``.
        nit: iterations.
        nfev: evaluations of the function, with its gradient or without.
        nhv: products of a matrix of second derivatives with a vector.
        success: the gradient is as small as was asked for, and no direction leads down.
        message: why it ended.
        nature: what the second-derivative test says of ``x``: ``"minimum"``, ``"saddle"``, ``"maximum"``,
            ``"flat"`` if the lowest eigenvalue is zero within rounding; empty if it was not made.
        eigenvalues: the lowest and the highest of the Hessian at ``x``; None without the test.
    """

    x: Any
    fun: Any
    grad: Any
    nit: int
    nfev: int
    nhv: int
    success: bool
    message: str
    nature: str = ""
    eigenvalues: tuple[float, float] | None = None


def minimize(
    f: Callable[..., Any],
    x0: Any,
    *,
    args: tuple[Any, ...] = (),
    method: str | Method = "l-bfgs",
    model: Callable[[Any], Any] | None = None,
    tolerance: float = 1e-5,
    max_iterations: int | None = None,
    test: bool = True,
    callback: Callable[[Result], Any] | None = None,
    compile: str = "auto",
    **options: Any,
) -> Result:
    """Return a local minimum of ``f``, found from ``x0`` by derivatives.

    Inside of transforms such as ``grad`` the minimum is differentiated by ``args``, to any order and as
    exactly as it was found (set the ``tolerance``), by the implicit function theorem and not through the
    iterations: :func:`xpnet.autodiff.implicit.minimum`. Its derivative by ``x0`` is zero.

    Args:
        f: array code ``f(x, *args)`` with a real 0-d result.
        x0: array or container of floating arrays of any library of the Array API standard.
        args: further arguments of ``f``, arrays or containers of them.
        method: ``"newton"``, ``"damped-newton"``, ``"bfgs"``, ``"l-bfgs"``, ``"cg"``, ``"hessian-free"``,
            ``"gd"``, or an object such as ``xpnet.optim.LBFGS(history=20)``.
        model: if given, ``f(model(x), *args)`` is minimized, and ``"hessian-free"`` uses the Gauss-Newton
            matrix.
        tolerance: of the gradient's largest entry, at which the search ends.
        max_iterations: None for 200 for each dimension, but at least 1,000 and at most 100,000.
        test: whether the second-derivative test is made where the gradient vanishes. A direction of negative
            curvature is followed down, and the search goes on from there.
        callback: called after each iteration with a `Result` so far; a true answer ends the search.
        compile: as for :func:`xpnet.compile`.
        **options: settings of the method, with a name.

    Raises:
        ConfigError: an unknown method or option; ``x0`` is not floating, or ``f`` is not finite there.
        RecordError: ``f`` does not return a real 0-d array, or uses traced arrays that are not in ``args``.
            From a derivative: the Hessian is not positive definite.

    Example:
        >>> import numpy as np
        >>> rosenbrock = lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        >>> found = minimize(rosenbrock, np.asarray([-1.2, 1.0]), method="bfgs", tolerance=1e-9)
        >>> found.x.round(6), found.nature, found.success
        (array([1., 1.]), 'minimum', True)
        >>> from xpnet.autodiff import grad
        >>> def lowest(a):
        ...     return minimize(lambda x, a: (x - a) ** 2 + x**2, np.asarray(1.0), args=(a,)).x
        >>> round(float(grad(lowest)(np.asarray(3.0))), 6)  # a / 2
        0.5
    """
    if not isinstance(args, (tuple, list)):
        raise ConfigError(f"args: expected a tuple of further arguments of f, found {args!r}; write (a,)")
    chosen_method: Method = chosen([Method], method, options)
    tolerance = checks.positive("tolerance", tolerance)
    checks.flag("test", test)
    if callback is not None and not callable(callback):
        raise ConfigError(f"callback: expected a function of the result so far, found {callback!r}; pass one")

    def search(x0: Any, *args: Any) -> Result:
        function = functools.wraps(f)(lambda x: f(x, *args)) if args and callable(f) else f
        objective = Objective(function, x0, model=model, compile=compile)
        limit = _limit(max_iterations, objective.size)
        return _Search(objective, chosen_method, tolerance, limit, test, callback).run()

    x0 = map_leaves(without_derivative, x0)
    if traces_of(leaves([x0, args])):
        return _traced(lambda x, *args: f(x if model is None else model(x), *args), search, x0, args)
    return search(x0, *args)


def _traced(f: Callable[..., Any], search: Callable[..., Result], x0: Any, args: tuple[Any, ...]) -> Result:
    """Return the result for traced arguments: a minimum, and value and gradient there, with derivatives."""
    ends: list[Result] = []
    is_first = True

    @implicit.minimum(f)
    def solve(x0: Any, *args: Any) -> Any:
        end = search(x0, *args)
        if is_first:
            ends.append(end)
        return end.x

    x = solve(x0, *args)
    is_first = False  # a program runs the solver again and again
    value, gradient = value_and_grad(f)(x, *args)
    first = next((end for end in ends if not end.success), ends[-1])  # of several examples
    counts = {name: sum(getattr(end, name) for end in ends) for name in ("nit", "nfev", "nhv")}
    return dataclasses.replace(first, x=x, fun=value, grad=gradient, **counts)


def _limit(max_iterations: int | None, size: int) -> int:
    if max_iterations is None:
        return min(max(200 * size, 1_000), 100_000)
    return checks.count("max_iterations", max_iterations, "pass None for the usual number")


class _Search:
    """One minimization: the state of its method, and what ends it."""

    def __init__(
        self,
        objective: Objective,
        method: Method,
        tolerance: float,
        limit: int,
        test: bool,
        callback: Callable[[Result], Any] | None,
    ):
        self.objective, self.method = objective, method
        self.tolerance, self.limit, self.test, self.callback = tolerance, limit, test, callback
        self.iterations = 0
        self.extremes: Extremes | None = None
        self.state = method.begin(objective, objective.start)
        self.best = self.state

    def run(self) -> Result:
        for _ in range(_ESCAPES + 1):
            success, message = self._descend()
            if not (success and self.test and self.objective.size):
                return self._result(success, message)
            self.extremes = extreme_eigenvalues(
                lambda v: self.objective.hvp(self.state["x"], v), self.state["x"]
            )
            nature = self._nature()
            if nature in ("minimum", "flat"):
                return self._result(True, message)
            if not self._escape():
                break
            self._note()
        return self._result(False, f"a {nature} from which no way down was found")

    def _descend(self) -> tuple[bool, str]:
        """Go on until the gradient vanishes or nothing helps; return whether it did, and why it ended."""
        while True:
            steepest = largest(self.state["gradient"]) if self.objective.size else 0.0
            if steepest <= self.tolerance:
                return True, f"the gradient's largest entry is {steepest:.1e}, at most {self.tolerance:.1e}"
            if self.iterations >= self.limit:
                return False, f"{self.limit} iterations were not enough; raise max_iterations"
            try:
                self.state = self.method.step(self.objective, self.state)
            except StuckError as stuck:
                return False, f"{stuck}; the gradient's largest entry is {steepest:.1e}"
            self.iterations += 1
            self._note()
            if self.callback is not None and self.callback(self._result(False, "not at an end")):
                return False, "ended by the callback"

    def _note(self) -> None:
        if self.state["value"] <= self.best["value"]:
            self.best = self.state

    def _nature(self) -> str:
        assert self.extremes is not None
        x = self.state["x"]
        eps = float(array_namespace(x).finfo(x.dtype).eps)
        return nature_of(self.extremes.lowest, self.extremes.highest, eps)

    def _escape(self) -> bool:
        """Begin anew at a lower point along the eigenvector of the lowest eigenvalue, if there is one."""
        found = self._beyond()
        if found is None:
            return False
        try:
            self.state = self.method.begin(self.objective, found)
        except ConfigError:  # the gradient is not finite there
            return False
        return True

    def _beyond(self) -> Any:
        """Return that point, or None."""
        assert self.extremes is not None
        x, value = self.state["x"], self.state["value"]
        vector = self.extremes.vector
        if float(vector @ self.state["gradient"]) > 0.0:
            vector = -vector
        # Where the quadratic is lower by a millionth of the value: more than rounding hides.
        step = (2e-6 * max(abs(value), 1e-6) / -self.extremes.lowest) ** 0.5
        lowest, found = value, None
        for sign in (1.0, -1.0):
            size = step
            for _ in range(60):
                point = x + sign * size * vector
                there = self.objective.value(point)
                if not (math.isfinite(there) and there < lowest):
                    break
                lowest, found, size = there, point, 2.0 * size
            if found is not None:
                return found
        return None

    def _result(self, success: bool, message: str) -> Result:
        best = self.state if success else self.best
        opened, extremes = self.objective.opened, self.extremes
        return Result(
            opened(best["x"]),
            best["value"],
            opened(best["gradient"]),
            self.iterations,
            self.objective.evaluations,
            self.objective.products,
            success,
            message,
            "" if extremes is None else self._nature(),
            None if extremes is None else (extremes.lowest, extremes.highest),
        )
