r"""Derivatives of solutions: decorators for solvers of equations, fixed points and minima.

A solver ``solve(init, *theta) -> x`` may be any code: a loop, SciPy, compiled code. It gets plain arrays, and
is never differentiated itself. What its result fulfils is enough: with $F(x, \theta) = 0$ and
$A = \partial F / \partial x$, the implicit function theorem gives

$$\frac{\partial x}{\partial \theta} = -A^{-1} \frac{\partial F}{\partial \theta}.$$

Forward mode solves $A\,dx = -\frac{\partial F}{\partial \theta} d\theta$, reverse mode $A^T u = g$ for the
cotangent g of x, whatever the size of $\theta$, whose cotangent is $-(\partial F / \partial \theta)^T u$. A
is known by its products with vectors only. The solution of a linear system is a root, too, so that
derivatives of any order exist.

Source: M. Blondel et al., "Efficient and modular implicit differentiation", NeurIPS 35 (2022),
https://arxiv.org/abs/2105.15183.

>>> import numpy as np
>>> from xpnet import autodiff
>>> @autodiff.implicit.root(lambda x, a: x**2 - a)
... def square_root(init, a):
...     for _ in range(20):
...         init = (init + a / init) / 2
...     return init
>>> float(autodiff.grad(square_root, argnums=1)(np.asarray(1.0), np.asarray(4.0)))  # 1 / (2 √a)
0.25
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from xpnet import checks
from xpnet.autodiff.arguments import array_beside, explain_mixture, lifted_beside, name_of
from xpnet.autodiff.custom import custom_rule
from xpnet.autodiff.linear_solvers import SOLVERS, solve
from xpnet.autodiff.tracer import (
    is_complex,
    is_floating,
    lowered,
    plain_namespace,
    plain_value,
    traces_of,
    without_derivative,
)
from xpnet.autodiff.transforms import grad, jvp, vjp
from xpnet.backends import array_namespace, is_array
from xpnet.containers import leaves, rebuild
from xpnet.errors import ConfigError, RecordError, suggest

__all__ = ["fixed_point", "minimum", "root"]

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_Linear = str | Callable[[Callable[[Any], Any], Any], Any]


def root(
    F: Callable[..., Any], *, linear: _Linear = "gmres", tolerance: float | None = None, steps: int = 1000
) -> _Decorator:
    r"""Return a decorator for solvers of F(x, θ) = 0, which makes their solutions differentiable.

    The decorated ``solve(init, *theta, **options)`` returns what the solver does. Its derivatives with
    respect to ``theta`` are those of a root, in both modes and of any order, also under ``vmap`` (one example
    after the other). The solution is not checked: an error of it is an error of the derivative. The
    derivative with respect to ``init`` is zero. Options are for the solver alone, and are constants.

    Args:
        F: array code ``F(x, *theta)`` with a result like ``x``. All that is to be differentiated is an
            argument of it.
        linear: how systems with A = ∂F/∂x are solved: ``"gmres"``; ``"cg"`` if A is symmetric and positive
            definite; or a function ``(product, b) -> u`` of v ↦ A v (or Aᵀ v) and b of shape (n,), where n
            counts all entries of x.
        tolerance: of |b - A u| / |b|. None: 4e-11 in float64, 2e-5 in float32; up to 1e-8 and 3e-4 where
            rounding allows no more.
        steps: the most products with A for one system, by ``"gmres"`` and ``"cg"``.

    Returns:
        A decorator. ``x`` and each of ``theta`` may be an array or a container of them; those of ``theta``
        that are not floating are constants. x has floating arrays only.

    Raises:
        ConfigError: an unknown ``linear``.
        RecordError: complex arrays; F's result is unlike x; the solver used a traced array that is no
            argument. From a derivative: a linear system whose solution misses the tolerance, as most do
            where A is singular.

    Example, a root by bisection, which has no derivative of its own:
        >>> import numpy as np
        >>> from xpnet import autodiff
        >>> def cubic(x, a):
        ...     return x**3 + x - a
        >>> @autodiff.implicit.root(cubic)
        ... def cubic_root(init, a):
        ...     low, high = -10.0, 10.0
        ...     for _ in range(60):
        ...         middle = (low + high) / 2
        ...         low, high = (middle, high) if cubic(middle, a) < 0 else (low, middle)
        ...     return middle
        >>> slope = autodiff.grad(cubic_root, argnums=1)(None, np.asarray(2.0))  # 1 / (3 x² + 1)
        >>> round(float(slope), 6)
        0.25

    Source: M. Blondel et al., "Efficient and modular implicit differentiation", NeurIPS 35 (2022).
    """
    return _decorator(f"root of {name_of(F)}", F, linear, tolerance, steps)


def fixed_point(
    T: Callable[..., Any], *, linear: _Linear = "gmres", tolerance: float | None = None, steps: int = 1000
) -> _Decorator:
    r"""Return a decorator for solvers of x = T(x, θ), such as iterations of T.

    It is `root` of F = x - T(x, θ), with A = I - ∂T/∂x. Proximal steps of nonsmooth problems are such T.

    Args:
        T: array code ``T(x, *theta)`` with a result like ``x``.
        linear, tolerance, steps: as for `root`.

    Raises:
        ConfigError, RecordError: as `root` does.

    Example:
        >>> import numpy as np
        >>> from xpnet import autodiff
        >>> def layer(x, W, b):
        ...     return x.__array_namespace__().tanh(W @ x + b)
        >>> @autodiff.implicit.fixed_point(layer)
        ... def equilibrium(init, W, b):
        ...     for _ in range(100):
        ...         init = layer(init, W, b)
        ...     return init
        >>> W, b = np.asarray([[0.0, 0.5], [-0.5, 0.0]]), np.asarray([0.1, 0.2])
        >>> autodiff.jacobian(equilibrium, argnums=2)(np.zeros(2), W, b).round(4)
        array([[ 0.786 ,  0.3873],
               [-0.3873,  0.7947]])

    Source: as of `root`; S. Bai, J. Z. Kolter and V. Koltun, "Deep equilibrium models", NeurIPS 32 (2019).
    """
    return _decorator(f"fixed_point of {name_of(T)}", T, linear, tolerance, steps, fixed=True)


def minimum(
    f: Callable[..., Any], *, linear: _Linear = "cg", tolerance: float | None = None, steps: int = 1000
) -> _Decorator:
    r"""Return a decorator for solvers of min over x of f(x, θ), such as `xpnet.optim.minimize`.

    It is `root` of F = ∂f/∂x, and A is the Hessian, which is positive definite at a strict minimum: systems
    with it are solved by conjugate gradients, and another A is refused.

    Args:
        f: array code ``f(x, *theta)`` with a real 0-d result, twice differentiable.
        linear, tolerance, steps: as for `root`.

    Raises:
        ConfigError, RecordError: as `root` does. From a derivative: the Hessian is not positive definite.

    Example, the weights of ridge regression by the penalty:
        >>> import numpy as np
        >>> from xpnet import autodiff, optim
        >>> X, y = np.asarray([[1.0, 0.0], [0.0, 2.0]]), np.asarray([1.0, 1.0])
        >>> def loss(w, penalty):
        ...     return (X @ w - y) @ (X @ w - y) + penalty * (w @ w)
        >>> @autodiff.implicit.minimum(loss)
        ... def ridge(init, penalty):
        ...     return optim.minimize(lambda w: loss(w, penalty), init, tolerance=1e-10).x
        >>> autodiff.jacobian(ridge, argnums=1)(np.zeros(2), np.asarray(1.0)).round(6)  # -w / (xᵀx + penalty)
        array([-0.25, -0.08])

    Source: as of `root`; Y. Bengio, "Gradient-based optimization of hyperparameters", Neural Computation 12
    (2000).
    """
    return _decorator(f"minimum of {name_of(f)}", grad(f), linear, tolerance, steps, symmetric=True)


# --- The decorated solver ----------------------------------------------------------------------------


def _decorator(
    name: str,
    condition: Callable[..., Any],
    linear: Any,
    tolerance: float | None,
    steps: int,
    *,
    fixed: bool = False,
    symmetric: bool = False,
) -> _Decorator:
    if not callable(linear) and (not isinstance(linear, str) or linear not in SOLVERS):
        raise ConfigError(
            f"{name}: expected linear to be 'cg', 'gmres' or a function of v ↦ A v and b, found {linear!r}"
            f"{suggest(str(linear), list(SOLVERS))}"
        )
    tolerance = None if tolerance is None else checks.positive("tolerance", tolerance)
    steps = checks.count("steps", steps, "pass the most products with A")
    system = functools.partial(_System, name, linear, tolerance, steps, symmetric)

    def decorate(solver: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(solver)
        def call(init: Any, *theta: Any, **options: Any) -> Any:
            for key, value in options.items():
                if traces_of(leaves(value)):
                    raise RecordError(
                        f"{name}: expected options that are constants, found a traced array as {key}=; pass "
                        "it by position, as an argument of the condition, or take stop_gradient of it"
                    )
            problem = _Problem(name, condition, solver, init, theta, fixed)
            varied, constants = problem.arrays()
            if not varied:
                return solver(init, *theta, **options)
            flat = _differentiable(system(problem.residual), problem.solution)(
                _packed(varied), *constants, **options
            )
            x = rebuild(problem.x, _unpacked(flat, leaves(problem.x)))
            return lifted_beside(x, [init, theta])

        return call

    return decorate


class _Problem:
    """One call of a solver, on vectors: x and θ are packed into one vector each.

    Attributes:
        x: what the solver returned, once it has run: the vectors of x are unpacked like it.
    """

    def __init__(
        self, name: str, condition: Any, solver: Any, init: Any, theta: tuple[Any, ...], fixed: bool
    ):
        self.name, self.condition, self.solver = name, condition, solver
        self.init, self.theta, self.fixed = init, theta, fixed
        self.like = [x for x in leaves(theta) if is_floating(x)]
        self.x: Any = None

    def arrays(self) -> tuple[list[Any], list[Any]]:
        """Return the arrays to differentiate by, and the constants: others of θ, then those of the start."""
        others = [*(x for x in leaves(self.theta) if not is_floating(x)), *leaves(self.init)]
        constants = [lowered(without_derivative(x)) for x in others if is_array(plain_value(x))]
        self._check_real([*self.like, *constants])
        return [lowered(x) for x in self.like], constants

    def solution(self, flat: Any, *constants: Any, **options: Any) -> Any:
        """Return what the solver returns, as one vector."""
        theta, rest = self._theta(flat, constants)
        start = iter(rest)
        init = rebuild(self.init, [next(start) if is_array(plain_value(x)) else x for x in leaves(self.init)])
        x = lowered(self.solver(init, *theta, **options))
        parts = [array_beside(y, [flat]) if isinstance(y, (int, float)) else y for y in leaves(x)]
        if not parts or not all(map(is_floating, parts)):
            raise RecordError(
                f"{self.name}: expected floating arrays as the solver's result, found {_kinds(parts)}; "
                "return the solution alone"
            )
        self._check_real(parts)
        explain_mixture(f"solution of {self.name}", plain_namespace(flat), parts)
        self._check_closed(parts, [flat, *constants])
        self.x = rebuild(x, parts)
        return _packed(parts, [flat])

    def residual(self, x: Any, flat: Any, *constants: Any) -> Any:
        """Return F(x, θ) as a vector like x; x and θ are vectors."""
        x, flat, *others = lifted_beside([x, flat, *constants], [x, flat, *constants])
        theta, _ = self._theta(flat, others)
        inside = leaves(self.x)
        made = leaves(self.condition(rebuild(self.x, _unpacked(x, inside)), *theta))
        if [_shape(y) for y in made] != [_shape(y) for y in inside]:
            raise RecordError(
                f"{self.name}: expected a result like the solution, {_kinds(inside)}, found {_kinds(made)}"
            )
        self._check_closed(made, [x, flat, *others])
        values = _packed(made, [x])
        return x - values if self.fixed else values

    def _theta(self, flat: Any, constants: Any) -> tuple[list[Any], list[Any]]:
        """Return the arguments θ made of their vector and of constants, and the constants that remain."""
        varied, rest = iter(_unpacked(flat, self.like)), list(constants)
        made = [
            next(varied) if is_floating(x) else rest.pop(0) if is_array(plain_value(x)) else x
            for x in leaves(self.theta)
        ]
        return rebuild(list(self.theta), made), rest

    def _check_closed(self, made: list[Any], given: list[Any]) -> None:
        """Refuse results that are traced where the arguments are not."""
        if not traces_of(made) <= traces_of(given):
            raise RecordError(
                f"{self.name}: expected a solver and a condition that use their arguments, found a traced "
                "array from outside of them, whose derivative would be lost; pass it as an argument of both"
            )

    def _check_real(self, arrays: list[Any]) -> None:
        for x in arrays:
            if is_complex(x):
                raise RecordError(
                    f"{self.name}: expected real arrays, found dtype {x.dtype}; write the problem in the "
                    "real and imaginary parts"
                )


def _shape(x: Any) -> tuple[int, ...] | None:
    return tuple(x.shape) if is_floating(x) else None


def _kinds(parts: list[Any]) -> str:
    """Say what the leaves of a container are."""
    said = [f"shape {_shape(x)}" if is_floating(x) else type(x).__name__ for x in parts]
    return ", ".join(said) or "nothing"


def _packed(parts: list[Any], beside: Any = ()) -> Any:
    """Return arrays as one vector, of the dtype that holds them and those ``beside``."""
    xp = array_namespace(*parts)
    dtype = plain_namespace(*parts).result_type(*(x.dtype for x in [*parts, *beside]))
    flat = [xp.reshape(x if x.dtype == dtype else xp.astype(x, dtype), (-1,)) for x in parts]
    return flat[0] if len(flat) == 1 else xp.concat(flat)


def _unpacked(flat: Any, like: list[Any]) -> list[Any]:
    """Return the arrays in a vector, with the shapes and dtypes of those in ``like``."""
    xp, made, begin = array_namespace(flat), [], 0
    for x in like:
        end = begin + math.prod(x.shape)
        part = xp.reshape(flat[begin:end], tuple(x.shape))
        made.append(part if part.dtype == x.dtype else xp.astype(part, x.dtype))
        begin = end
    return made


# --- Its derivatives ---------------------------------------------------------------------------------

_Residual = Callable[..., Any]  # (x, θ, *constants) ↦ F, in vectors


class _System:
    """Linear systems with A = ∂F/∂x, or Aᵀ: their solutions are differentiable as well."""

    def __init__(
        self,
        name: str,
        linear: Any,
        tolerance: float | None,
        steps: int,
        symmetric: bool,
        residual: _Residual,
    ):
        self.name, self.linear, self.tolerance, self.steps = name, linear, tolerance, steps
        self.symmetric, self.residual = symmetric, residual

    def solve(self, x: Any, theta: Any, b: Any, constants: tuple[Any, ...], transposed: bool) -> Any:
        """Return u with A u = b, or Aᵀ u = b; A is that at x and θ."""
        xp, n, end = array_namespace(x, theta, b), x.shape[0], x.shape[0] + theta.shape[0]

        def product(given: Any, constants: tuple[Any, ...]) -> Callable[[Any], Any]:
            return self._product(given[:n], given[n:end], constants, transposed or self.symmetric)

        def equation(u: Any, given: Any, *constants: Any) -> Any:
            return product(given, constants)(u) - given[end:]

        def solution(given: Any, *constants: Any) -> Any:
            apply = product(given, constants)
            return solve(self.name, self.linear, apply, given[end:], self.tolerance, self.steps)

        inner = _System(self.name, self.linear, self.tolerance, self.steps, self.symmetric, equation)
        return _differentiable(inner, solution)(xp.concat([x, theta, b]), *constants)

    def _product(self, x: Any, theta: Any, constants: Any, transposed: bool) -> Callable[[Any], Any]:
        def at(x: Any) -> Any:
            return self.residual(x, theta, *constants)

        if transposed:
            pullback = vjp(at, x)[1]
            return lambda v: pullback(v)[0]
        return lambda v: jvp(at, (x,), (v,))[1]


def _differentiable(system: _System, solution: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``solution(θ, *constants)``, the root x of the system's residual, with its derivatives."""

    def pull(xp: Any, g: Any, x: Any, theta: Any, *constants: Any, **options: Any) -> Any:
        theta = xp.astype(theta, x.dtype)
        u = system.solve(x, theta, g, constants, transposed=True)
        pullback = vjp(lambda t: system.residual(x, t, *constants), theta)[1]
        return -pullback(u)[0]

    def push(xp: Any, tangents: list[Any], x: Any, theta: Any, *constants: Any, **options: Any) -> Any:
        theta, tangent = xp.astype(theta, x.dtype), xp.astype(tangents[0], x.dtype)
        b = jvp(lambda t: system.residual(x, t, *constants), (theta,), (tangent,))[1]
        return -system.solve(x, theta, b, constants, transposed=False)

    return custom_rule(pull, push=push)(solution)
