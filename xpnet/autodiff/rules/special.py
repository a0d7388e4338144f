"""Slopes of the special functions, which SciPy calls ``xp.special.name``: one row each.

Slopes are special functions again, so derivatives exist to any order. None is for arguments whose derivative
is no function of this table: parameters of the incomplete gamma and beta functions, and of the distributions
that they are, orders of Bessel functions, parameters of hypergeometric ones. A traced array there is refused.

Conventions at points without a derivative:

- the functions x log(x), x log(y) and the like have slope -∞ by x at x = 0, and 0 by y at x = y = 0;
- ``huber`` has the slopes of its inner piece at its joints;
- the scaled Bessel functions ``i0e``, ``i1e``, ``ive`` have at 0, where exp(-|x|) has a kink, the mean slope.

Quotients with a removable zero of the denominator are computed by their Taylor series around it.

Source: NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov, chapters 5 to 19.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from xpnet.autodiff.rules.elementwise import smooth_sigmoid
from xpnet.autodiff.rules.rule import composed, constant, elementwise
from xpnet.backends.special_formulas import FORMULAS

__all__ = ["ALIASES"]

ALIASES = {"erf": "erf", "expit": "sigmoid"}
"""Special functions that have a rule under another name."""

_SQRT_PI, _DEGREE = math.sqrt(math.pi), math.pi / 180
_DENSITY = 1 / math.sqrt(2 * math.pi)  # of the normal distribution at 0

Slope = Callable[..., Any]


def _special(name: str, *slopes: Slope | float | None) -> None:
    elementwise(f"special.{name}", *(_of_any_arrays(x) if callable(x) else x for x in slopes))


def _of_any_arrays(slope: Slope) -> Slope:
    """Return a slope such that all arrays in it are traced if one is: then all operators take them."""

    @functools.wraps(slope)
    def run(xp: Any, out: Any, *args: Any) -> Any:
        traced = next((x for x in (out, *args) if hasattr(type(x), "__traced__")), None)
        if traced is None:
            return slope(xp, out, *args)
        space = traced.__array_namespace__()
        made = slope(space, *map(space.wrap, (out, *args)))
        return made if made.trace.level else made.value

    return run


def _near(xp: Any, x: Any, size: float, series: Sequence[float], formula: Callable[[Any], Any]) -> Any:
    """Return a power series in x for \\|x\\| < size, the formula elsewhere."""
    small = xp.abs(x) < size
    inside = xp.where(small, x, 0.0)
    total = xp.zeros_like(x)
    for coefficient in reversed(series):
        total = total * inside + coefficient
    return xp.where(small, total, formula(xp.where(small, size, x)))


def _falling(xp: Any, x: Any, signs: int) -> Any:
    """Σ signsⁿ (2n + 1)!! / (2 x²)ⁿ for large x: the slopes of ``erfcx`` and ``dawsn``, but for a factor."""
    inverse, total = 0.5 / (x * x), xp.zeros_like(x)
    for n in reversed(range(25)):
        total = total * inverse + float(signs**n * math.prod(range(1, 2 * n + 2, 2)))
    return total


# --- Gamma and beta functions ------------------------------------------------------------------------

_special("gamma", lambda xp, out, x: out * xp.special.digamma(x))
_special("gammaln", lambda xp, out, x: xp.special.digamma(x))
_special("loggamma", lambda xp, out, x: xp.special.digamma(x))
_special("rgamma", lambda xp, out, x: -out * xp.special.digamma(x))
_special("digamma", lambda xp, out, x: xp.special.polygamma(1, x))
_special("psi", lambda xp, out, x: xp.special.polygamma(1, x))
_special("polygamma", None, lambda xp, out, n, x: xp.special.polygamma(n + 1, x))
_special("zeta", None, lambda xp, out, x, q: -x * xp.special.zeta(x + 1, q))
_special("zetac", None)
_special(
    "poch",
    lambda xp, out, z, m: out * (xp.special.digamma(z + m) - xp.special.digamma(z)),
    lambda xp, out, z, m: out * xp.special.digamma(z + m),
)
_special(
    "beta",
    lambda xp, out, a, b: out * (xp.special.digamma(a) - xp.special.digamma(a + b)),
    lambda xp, out, a, b: out * (xp.special.digamma(b) - xp.special.digamma(a + b)),
)
_special(
    "betaln",
    lambda xp, out, a, b: xp.special.digamma(a) - xp.special.digamma(a + b),
    lambda xp, out, a, b: xp.special.digamma(b) - xp.special.digamma(a + b),
)
_special(
    "binom",
    lambda xp, out, n, k: out * (xp.special.digamma(n + 1) - xp.special.digamma(n - k + 1)),
    lambda xp, out, n, k: out * (xp.special.digamma(n - k + 1) - xp.special.digamma(k + 1)),
)
constant("special.gammasgn")


@composed("special.multigammaln")
def _multigammaln(xp: Any, a: Any, d: Any) -> Any:
    return FORMULAS["multigammaln"](xp, xp.special, a, d)


# --- Incomplete ones, and distributions: the slope is the density ------------------------------------


def _gamma_density(xp: Any, a: Any, x: Any) -> Any:
    """x^(a-1) exp(-x) / Γ(a)."""
    return xp.exp(xp.special.xlogy(a - 1, x) - x - xp.special.gammaln(a))


def _beta_density(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """x^(a-1) (1-x)^(b-1) / B(a, b)."""
    powers = xp.special.xlogy(a - 1, x) + xp.special.xlog1py(b - 1, -x)
    return xp.exp(powers - xp.special.betaln(a, b))


def _t_density(xp: Any, df: Any, t: Any) -> Any:
    """(1 + t²/ν)^(-(ν+1)/2) / (√ν B(ν/2, ½))."""
    half = xp.full_like(df, 0.5)
    power = -0.5 * (df + 1) * xp.log1p(t * t / df)
    return xp.exp(power - xp.special.betaln(0.5 * df, half)) / xp.sqrt(df)


def _f_density(xp: Any, m: Any, n: Any, x: Any) -> Any:
    """(m/n)^(m/2) x^(m/2-1) (1 + m x/n)^(-(m+n)/2) / B(m/2, n/2)."""
    powers = 0.5 * m * xp.log(m / n) + xp.special.xlogy(0.5 * m - 1, x)
    powers = powers - 0.5 * (m + n) * xp.log1p(m * x / n)
    return xp.exp(powers - xp.special.betaln(0.5 * m, 0.5 * n))


def _binomial_density(xp: Any, k: Any, n: Any, p: Any) -> Any:
    return _beta_density(xp, n - xp.floor(k), xp.floor(k) + 1, 1 - p)


def _negative_binomial_density(xp: Any, k: Any, n: Any, p: Any) -> Any:
    return _beta_density(xp, n, xp.floor(k) + 1, p)


def _distribution(
    density: Slope, parameters: int, below: str, above: str, *inverses: tuple[str, int]
) -> None:
    """Enter distribution functions of the last argument x: P, 1 - P, and inverses of either.

    Args:
        density: ``density(xp, *parameters, x)``, the slope of P.
        parameters: how many parameters precede x.
        below, above: the names of P and of 1 - P, "" for none.
        inverses: names of inverse functions, each with 1 for that of P, -1 for that of 1 - P.
    """
    none = (None,) * parameters
    if below:
        _special(below, *none, lambda xp, out, *args: density(xp, *args))
    if above:
        _special(above, *none, lambda xp, out, *args: -density(xp, *args))
    for name, sign in inverses:
        _special(name, *none, lambda xp, out, *args, s=sign: s / density(xp, *args[:-1], out))


_distribution(_gamma_density, 1, "gammainc", "gammaincc", ("gammaincinv", 1), ("gammainccinv", -1))
_distribution(_beta_density, 2, "betainc", "betaincc", ("betaincinv", 1), ("betainccinv", -1))
_distribution(
    lambda xp, v, x: 0.5 * _gamma_density(xp, 0.5 * v, 0.5 * x), 1, "chdtr", "chdtrc", ("chdtri", -1)
)
_distribution(_t_density, 1, "stdtr", "", ("stdtrit", 1))
_distribution(_f_density, 2, "fdtr", "fdtrc", ("fdtri", 1))
_distribution(_binomial_density, 2, "bdtrc", "bdtr", ("bdtri", -1))
_distribution(_negative_binomial_density, 2, "nbdtr", "nbdtrc", ("nbdtri", 1))
_distribution(lambda xp, k, m: _gamma_density(xp, xp.floor(k) + 1, m), 1, "pdtrc", "pdtr", ("pdtri", -1))
_special(
    "gdtr",
    lambda xp, out, a, b, x: x * _gamma_density(xp, b, a * x),
    None,
    lambda xp, out, a, b, x: a * _gamma_density(xp, b, a * x),
)
_special(
    "gdtrc",
    lambda xp, out, a, b, x: -x * _gamma_density(xp, b, a * x),
    None,
    lambda xp, out, a, b, x: -a * _gamma_density(xp, b, a * x),
)

# --- The error function and the normal distribution --------------------------------------------------


def _bell_curve(xp: Any, x: Any) -> Any:
    return _DENSITY * xp.exp(-0.5 * x * x)


def _hazard(xp: Any, x: Any) -> Any:
    """φ(x) / Φ(x); far on the left by exp(x²) erfc(x), of which nothing underflows."""
    right = x > 0
    left = math.sqrt(2 / math.pi) / xp.special.erfcx(-math.sqrt(0.5) * xp.where(right, 0.0, x))
    x = xp.where(right, x, 0.0)
    return xp.where(right, _bell_curve(xp, x) / xp.special.ndtr(x), left)


def _erfcx_slope(xp: Any, out: Any, x: Any) -> Any:
    """2 x out - 2/√π, whose terms cancel for large x."""
    far = x > 8
    large = xp.where(far, x, 8.0)
    tail = -_falling(xp, large, -1) / (_SQRT_PI * large * large)
    return xp.where(far, tail, 2 * x * out - 2 / _SQRT_PI)


def _dawson_slope(xp: Any, out: Any, x: Any) -> Any:
    """1 - 2 x out, whose terms cancel for large x."""
    far = xp.abs(x) > 8
    large = xp.where(far, x, 8.0)
    return xp.where(far, -0.5 * _falling(xp, large, 1) / (large * large), 1 - 2 * x * out)


_special("erfc", lambda xp, out, x: (-2 / _SQRT_PI) * xp.exp(-x * x))
_special("erfcx", _erfcx_slope)
_special("erfi", lambda xp, out, x: (2 / _SQRT_PI) * xp.exp(x * x))
_special("erfinv", lambda xp, out, y: (0.5 * _SQRT_PI) * xp.exp(out * out))
_special("erfcinv", lambda xp, out, y: (-0.5 * _SQRT_PI) * xp.exp(out * out))
_special("dawsn", _dawson_slope)
_special("ndtr", lambda xp, out, x: _bell_curve(xp, x))
_special("ndtri", lambda xp, out, p: (1 / _DENSITY) * xp.exp(0.5 * out * out))
_special("log_ndtr", lambda xp, out, x: _hazard(xp, x))
_special("ndtri_exp", lambda xp, out, y: 1 / _hazard(xp, out))
_special(
    "owens_t",
    lambda xp, out, h, a: -0.5 * _bell_curve(xp, h) * xp.special.erf(math.sqrt(0.5) * a * h),
    lambda xp, out, h, a: xp.exp(-0.5 * h * h * (1 + a * a)) / (2 * math.pi * (1 + a * a)),
)

# --- Logarithms and entropies ------------------------------------------------------------------------


def _share(xp: Any, x: Any, y: Any) -> Any:
    """x / y, and 0 for x = y = 0."""
    zero = xp.logical_and(x == 0, y == 0)
    return x / xp.where(zero, 1.0, y)


_special("logit", lambda xp, out, p: 1 / (p * (1 - p)))
_special("log_expit", lambda xp, out, x: smooth_sigmoid(xp, -x))
_special("xlogy", lambda xp, out, x, y: xp.log(y), lambda xp, out, x, y: _share(xp, x, y))
_special("xlog1py", lambda xp, out, x, y: xp.log1p(y), lambda xp, out, x, y: _share(xp, x, 1 + y))
_special("entr", lambda xp, out, x: -1 - xp.log(x))
_special("rel_entr", lambda xp, out, x, y: xp.log(x) - xp.log(y) + 1, lambda xp, out, x, y: -_share(xp, x, y))
_special("kl_div", lambda xp, out, x, y: xp.log(x) - xp.log(y), lambda xp, out, x, y: 1 - _share(xp, x, y))

# --- Losses and elementary functions -----------------------------------------------------------------

_special(
    "huber",
    lambda xp, out, delta, r: xp.where(xp.abs(r) > delta, xp.abs(r) - delta, 0.0),
    lambda xp, out, delta, r: xp.where(xp.abs(r) > delta, delta * xp.sign(r), r),
)


def _pseudo_huber_scale(xp: Any, out: Any, delta: Any, r: Any) -> Any:
    """δ (s - 1)² / s for s = √(1 + (r/δ)²)."""
    excess = out / (delta * delta)
    return delta * excess * excess / (1 + excess)


_special(
    "pseudo_huber",
    _pseudo_huber_scale,
    lambda xp, out, delta, r: r / (1 + out / (delta * delta)),
)


def _exprel_slope(xp: Any, x: Any) -> Any:
    """The slope of (exp(x) - 1) / x."""
    series = [(k + 1) / math.factorial(k + 2) for k in range(18)]
    return _near(xp, x, 1.0, series, lambda x: (xp.exp(x) * (x - 1) + 1) / (x * x))


def _log1p_ratio(xp: Any, x: Any) -> Any:
    """log(1 + x) / x."""
    return _near(xp, x, 0.2, [(-1) ** k / (k + 1) for k in range(24)], lambda x: xp.log1p(x) / x)


def _log1p_ratio_slope(xp: Any, x: Any) -> Any:
    series = [(-1) ** (k + 1) * (k + 1) / (k + 2) for k in range(24)]
    return _near(xp, x, 0.2, series, lambda x: (1 / (1 + x) - xp.log1p(x) / x) / x)


def _boxcox_power(xp: Any, log_x: Any, lmbda: Any) -> Any:
    return log_x * log_x * _exprel_slope(xp, lmbda * log_x)


_special(
    "boxcox",
    lambda xp, out, x, lmbda: xp.exp(xp.special.xlogy(lmbda - 1, x)),
    lambda xp, out, x, lmbda: _boxcox_power(xp, xp.log(x), lmbda),
)
_special(
    "boxcox1p",
    lambda xp, out, x, lmbda: xp.exp(xp.special.xlog1py(lmbda - 1, x)),
    lambda xp, out, x, lmbda: _boxcox_power(xp, xp.log1p(x), lmbda),
)
_special(
    "inv_boxcox",
    lambda xp, out, y, lmbda: out / (1 + lmbda * y),
    lambda xp, out, y, lmbda: out * y * y * _log1p_ratio_slope(xp, lmbda * y),
)
_special(
    "inv_boxcox1p",
    lambda xp, out, y, lmbda: (1 + out) / (1 + lmbda * y),
    lambda xp, out, y, lmbda: (1 + out) * y * y * _log1p_ratio_slope(xp, lmbda * y),
)


def _sinc_slope(xp: Any, out: Any, x: Any) -> Any:
    """(cos(πx) - out) / x."""
    powers = [(-1) ** k * 2 * k * math.pi ** (2 * k) / math.factorial(2 * k + 1) for k in range(1, 14)]
    series = [c for power in powers for c in (0.0, power)]
    return _near(xp, x, 0.5, series, lambda x: (xp.cos(math.pi * x) - xp.special.sinc(x)) / x)


_special("sinc", _sinc_slope)
_special("exprel", lambda xp, out, x: _exprel_slope(xp, x))
_special("cbrt", lambda xp, out, x: 1 / (3 * out * out))
_special("exp2", lambda xp, out, x: math.log(2) * out)
_special("exp10", lambda xp, out, x: math.log(10) * out)
_special("cosm1", lambda xp, out, x: -xp.sin(x))
_special("wrightomega", lambda xp, out, x: out / (1 + out))
_special("sindg", lambda xp, out, x: _DEGREE * xp.special.cosdg(x))
_special("cosdg", lambda xp, out, x: -_DEGREE * xp.special.sindg(x))
_special("tandg", lambda xp, out, x: _DEGREE * (1 + out * out))
_special("cotdg", lambda xp, out, x: -_DEGREE * (1 + out * out))
_special("radian", _DEGREE, _DEGREE / 60, _DEGREE / 3600)
_special("spence", lambda xp, out, z: -_log1p_ratio(xp, z - 1))

# --- Exponential integrals ---------------------------------------------------------------------------


def _expn_slope(xp: Any, out: Any, n: Any, x: Any) -> Any:
    """-E of order n - 1; of order 0 it is -(exp(-x) + E₀) / x."""
    lower = n < 1
    below = xp.special.expn(xp.where(lower, 0.0, n - 1), x)
    return -xp.where(lower, (xp.exp(-x) - (n - 1) * out) / x, below)


_special("exp1", lambda xp, out, x: -xp.exp(-x) / x)
_special("expi", lambda xp, out, x: xp.exp(x) / x)
_special("expn", None, _expn_slope)

# --- Bessel functions --------------------------------------------------------------------------------


def _per_x(xp: Any, x: Any, signs: int, value: Any) -> Any:
    """J₁(x) / x (signs -1) or I₁(x) / x (1), given J₁ or I₁."""
    small = xp.abs(x) < 1
    square = xp.where(small, 0.25 * x * x, 0.0)
    total = xp.zeros_like(x)
    for k in reversed(range(12)):
        total = total * square + signs**k / (2 * math.factorial(k) * math.factorial(k + 1))
    return xp.where(small, total, value / xp.where(small, 1.0, x))


def _i1e_slope(xp: Any, out: Any, x: Any) -> Any:
    scale = xp.exp(-xp.abs(x))
    small = xp.abs(x) < 1
    near = scale * _per_x(xp, x, 1, xp.zeros_like(x))
    per_x = xp.where(small, near, out / xp.where(small, 1.0, x))
    return xp.special.i0e(x) - per_x - xp.sign(x) * out


def _of_orders(
    name: str, lower: float, upper: float, itself: Callable[[Any, Any, Any], Any] | None = None
) -> None:
    """Enter a Bessel function of any order v, whose slope is a sum of those of orders v - 1 and v + 1."""

    def slope(xp: Any, out: Any, v: Any, x: Any) -> Any:
        function = getattr(xp.special, name)
        total = lower * function(xp.abs(v - 1) if name == "kn" else v - 1, x) + upper * function(v + 1, x)
        return total if itself is None else total + itself(xp, out, x)

    _special(name, None, slope)


_special("j0", lambda xp, out, x: -xp.special.j1(x))
_special("j1", lambda xp, out, x: xp.special.j0(x) - _per_x(xp, x, -1, out))
_special("y0", lambda xp, out, x: -xp.special.y1(x))
_special("y1", lambda xp, out, x: xp.special.y0(x) - out / x)
_special("yn", None, lambda xp, out, n, x: xp.special.yn(n - 1, x) - n * out / x)
_special("i0", lambda xp, out, x: xp.special.i1(x))
_special("i1", lambda xp, out, x: xp.special.i0(x) - _per_x(xp, x, 1, out))
_special("i0e", lambda xp, out, x: xp.special.i1e(x) - xp.sign(x) * out)
_special("i1e", _i1e_slope)
_special("k0", lambda xp, out, x: -xp.special.k1(x))
_special("k1", lambda xp, out, x: -xp.special.k0(x) - out / x)
_special("k0e", lambda xp, out, x: out - xp.special.k1e(x))
_special("k1e", lambda xp, out, x: out - xp.special.k0e(x) - out / x)
_of_orders("jv", 0.5, -0.5)
_of_orders("yv", 0.5, -0.5)
_of_orders("iv", 0.5, 0.5)
_of_orders("ive", 0.5, 0.5, lambda xp, out, x: -xp.sign(x) * out)
_of_orders("kv", -0.5, -0.5)
_of_orders("kn", -0.5, -0.5)
_of_orders("kve", -0.5, -0.5, lambda xp, out, x: out)

# --- Elliptic integrals, hypergeometric functions, Legendre functions --------------------------------

# The squares of 1, 1/2, 3/8, 5/16, ...: ellipk(m) is π/2 times the sum of them times powers of m.
_HALVES = [(math.comb(2 * n, n) / 4**n) ** 2 for n in range(20)]
_K_SERIES = [0.5 * math.pi * n * _HALVES[n] for n in range(1, 20)]
_E_SERIES = [-0.5 * math.pi * n * _HALVES[n] / (2 * n - 1) for n in range(1, 20)]


def _ellipk_slope(xp: Any, m: Any) -> Any:
    """(E - (1 - m) K) / (2 m (1 - m))."""

    def formula(m: Any) -> Any:
        return (xp.special.ellipe(m) - (1 - m) * xp.special.ellipk(m)) / (2 * m * (1 - m))

    return _near(xp, m, 0.1, _K_SERIES, formula)


def _ellipkm1_slope(xp: Any, p: Any) -> Any:
    """The same at m = 1 - p, accurate near p = 0."""

    def formula(m: Any) -> Any:
        rest = xp.where(xp.abs(1 - p) < 0.1, 0.5, p)  # not 1 - m, of which rounding leaves little
        return (xp.special.ellipe(1 - rest) - rest * xp.special.ellipkm1(rest)) / (2 * (1 - rest) * rest)

    return -_near(xp, 1 - p, 0.1, _K_SERIES, formula)


def _ellipe_slope(xp: Any, m: Any) -> Any:
    """(E - K) / (2 m)."""
    return _near(xp, m, 0.1, _E_SERIES, lambda m: (xp.special.ellipe(m) - xp.special.ellipk(m)) / (2 * m))


def _legendre_slope(xp: Any, out: Any, m: Any, v: Any, x: Any) -> Any:
    lower = xp.special.lpmv(m, v - 1, x)
    return (v * x * out - (v + m) * lower) / (x * x - 1)


_special("ellipk", lambda xp, out, m: _ellipk_slope(xp, m))
_special("ellipkm1", lambda xp, out, p: _ellipkm1_slope(xp, p))
_special("ellipe", lambda xp, out, m: _ellipe_slope(xp, m))
_special("hyp0f1", None, lambda xp, out, v, x: xp.special.hyp0f1(v + 1, x) / v)
_special("hyp1f1", None, None, lambda xp, out, a, b, x: a / b * xp.special.hyp1f1(a + 1, b + 1, x))
_special(
    "hyp2f1",
    None,
    None,
    None,
    lambda xp, out, a, b, c, x: a * b / c * xp.special.hyp2f1(a + 1, b + 1, c + 1, x),
)
_special("lpmv", None, None, _legendre_slope)
