"""Special functions in terms of others: for libraries that lack them.

Each is as accurate as the functions in it allow, near their zeros less so.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

__all__ = ["FORMULAS"]

Formula = Callable[..., Any]


def _sign_of_gamma(xp: Any, sp: Any, x: Any) -> Any:
    """1 for x > 0, between the poles on the left -1 and 1 in turn; NaN at poles, but for the two zeros."""
    whole = xp.floor(x)
    left = xp.where(whole == x, math.nan, 1 - 2 * xp.remainder(whole, 2.0))
    return xp.where(x > 0, 1.0, xp.where(x == 0, xp.copysign(xp.ones_like(x), x), left))


def _quotient_of_gammas(xp: Any, sp: Any, z: Any, m: Any) -> Any:
    sign = sp.gammasgn(z + m) * sp.gammasgn(z)
    return sign * xp.exp(sp.gammaln(z + m) - sp.gammaln(z))


def _beta(xp: Any, sp: Any, a: Any, b: Any) -> Any:
    return sp.gammasgn(a) * sp.gammasgn(b) * sp.gammasgn(a + b) * xp.exp(sp.betaln(a, b))


def _reciprocal_gamma(xp: Any, sp: Any, x: Any) -> Any:
    pole = xp.logical_and(x <= 0, xp.floor(x) == x)
    inside = xp.where(pole, 1.0, x)
    return xp.where(pole, 0.0, sp.gammasgn(inside) * xp.exp(-sp.gammaln(inside)))


def _polygamma(xp: Any, sp: Any, n: Any, x: Any) -> Any:
    """(-1)^(n+1) n! ζ(n + 1, x)."""
    zero = n == 0
    order = xp.where(zero, 1.0, n)
    sign = 2 * xp.remainder(order, 2.0) - 1
    high = sign * xp.exp(sp.gammaln(order + 1)) * sp.zeta(order + 1, x)
    return xp.where(zero, sp.digamma(x), high)


def _multigammaln(xp: Any, sp: Any, a: Any, d: Any) -> Any:
    d = operator.index(d)
    parts = [sp.gammaln(a - 0.5 * j) for j in range(d)]
    return sum(parts[1:], parts[0] + d * (d - 1) / 4 * math.log(math.pi))


def _student(xp: Any, sp: Any, df: Any, t: Any) -> Any:
    """Half of I(df/2, 1/2, df/(df + t²)) in the tail, and the rest beyond it."""
    tail = 0.5 * sp.betainc(0.5 * df, xp.full_like(df, 0.5), df / (df + t * t))
    return xp.where(t < 0, tail, 1 - tail)


def _student_quantile(xp: Any, sp: Any, df: Any, p: Any) -> Any:
    """From the inverse of I(1/2, df/2, ·) around the median, and of I(df/2, 1/2, ·) in the tails."""
    half, least = xp.full_like(df, 0.5), xp.minimum(p, 1 - p)
    near = sp.betaincinv(half, 0.5 * df, 1 - 2 * least)
    far = sp.betaincinv(0.5 * df, half, 2 * least)
    square = xp.where(least > 0.25, near / (1 - near), (1 - far) / far)
    return xp.sign(p - 0.5) * xp.sqrt(df * square)


def _log1p_ratio(xp: Any, x: Any) -> Any:
    """log(1 + x) / x, and 1 at 0."""
    zero = x == 0
    return xp.where(zero, 1.0, xp.log1p(x) / xp.where(zero, 1.0, x))


def _exprel(xp: Any, sp: Any, x: Any) -> Any:
    zero = x == 0
    ratio = xp.expm1(x) / xp.where(zero, 1.0, x)
    return xp.where(zero, 1.0, xp.where(x == math.inf, x, ratio))


def _huber(xp: Any, sp: Any, delta: Any, r: Any) -> Any:
    size = xp.abs(r)
    loss = xp.where(size <= delta, 0.5 * r * r, delta * (size - 0.5 * delta))
    return xp.where(delta < 0, math.inf, loss)


def _pseudo_huber(xp: Any, sp: Any, delta: Any, r: Any) -> Any:
    """δ² (√(1 + q²) - 1) = r² / (√(1 + q²) + 1) for q = r / δ, where nothing cancels."""
    zero = delta == 0
    q = r / xp.where(zero, 1.0, delta)
    loss = r * r / (1 + xp.hypot(q, xp.ones_like(q)))
    return xp.where(zero, 0.0, xp.where(delta < 0, math.inf, loss))


def _relative_entropy(xp: Any, sp: Any, x: Any, y: Any) -> Any:
    both = xp.logical_and(x > 0, y > 0)
    quotient = xp.where(both, x, 1.0) / xp.where(both, y, 1.0)
    inside = x * xp.log(quotient)
    outside = xp.where(
        xp.logical_and(x == 0, y >= 0),
        0.0,
        xp.where(xp.isnan(x + y), math.nan, xp.full_like(x + y, math.inf)),
    )
    return xp.where(both, inside, outside)


def _divergence(xp: Any, sp: Any, x: Any, y: Any) -> Any:
    return sp.rel_entr(x, y) + xp.where(xp.logical_and(x >= 0, y >= 0), y - x, 0.0)


def _binomial(upper: bool) -> Formula:
    """Return the distribution function of the binomial as a formula, or its complement."""

    def formula(xp: Any, sp: Any, k: Any, n: Any, p: Any) -> Any:
        k = xp.floor(k)
        inside = xp.logical_and(k >= 0, k < n)
        least, rest = xp.where(inside, k, 0.0) + 1, xp.where(inside, n - k, 1.0)
        found = sp.betainc(least, rest, p) if upper else sp.betainc(rest, least, 1 - p)
        below = xp.where(k < 0, 1.0 if upper else math.nan, xp.full_like(k, math.nan))
        return xp.where(inside, found, xp.where(k == n, 0.0 if upper else 1.0, below))

    return formula


FORMULAS: dict[str, Formula] = {
    # Gamma and beta functions
    "gammasgn": _sign_of_gamma,
    "gamma": lambda xp, sp, x: sp.gammasgn(x) * xp.exp(sp.gammaln(x)),
    "rgamma": _reciprocal_gamma,
    "loggamma": lambda xp, sp, x: xp.where(x < 0, math.nan, sp.gammaln(x)),
    "psi": lambda xp, sp, x: sp.digamma(x),
    "polygamma": _polygamma,
    "multigammaln": _multigammaln,
    "poch": _quotient_of_gammas,
    "betaln": lambda xp, sp, a, b: sp.gammaln(a) + sp.gammaln(b) - sp.gammaln(a + b),
    "beta": _beta,
    "betaincc": lambda xp, sp, a, b, x: sp.betainc(b, a, 1 - x),
    # Distributions
    "chdtr": lambda xp, sp, v, x: sp.gammainc(0.5 * v, 0.5 * x),
    "chdtrc": lambda xp, sp, v, x: sp.gammaincc(0.5 * v, 0.5 * x),
    "chdtri": lambda xp, sp, v, p: 2 * sp.gammainccinv(0.5 * v, p),
    "gdtr": lambda xp, sp, a, b, x: sp.gammainc(b, a * x),
    "gdtrc": lambda xp, sp, a, b, x: sp.gammaincc(b, a * x),
    "pdtr": lambda xp, sp, k, m: sp.gammaincc(xp.floor(k) + 1, m),
    "pdtrc": lambda xp, sp, k, m: sp.gammainc(xp.floor(k) + 1, m),
    "stdtr": _student,
    "stdtrit": _student_quantile,
    "fdtr": lambda xp, sp, dfn, dfd, x: sp.betainc(0.5 * dfn, 0.5 * dfd, dfn * x / (dfn * x + dfd)),
    "fdtrc": lambda xp, sp, dfn, dfd, x: sp.betainc(0.5 * dfd, 0.5 * dfn, dfd / (dfn * x + dfd)),
    "bdtr": _binomial(upper=False),
    "bdtrc": _binomial(upper=True),
    "nbdtr": lambda xp, sp, k, n, p: sp.betainc(n, xp.floor(k) + 1, p),
    "nbdtrc": lambda xp, sp, k, n, p: sp.betainc(xp.floor(k) + 1, n, 1 - p),
    # Elementary functions
    "expit": lambda xp, sp, x: xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x))),
    "log_expit": lambda xp, sp, x: xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x))),
    "rel_entr": _relative_entropy,
    "kl_div": _divergence,
    "huber": _huber,
    "pseudo_huber": _pseudo_huber,
    "exprel": _exprel,
    "boxcox": lambda xp, sp, x, lmbda: xp.log(x) * sp.exprel(lmbda * xp.log(x)),
    "boxcox1p": lambda xp, sp, x, lmbda: xp.log1p(x) * sp.exprel(lmbda * xp.log1p(x)),
    "inv_boxcox": lambda xp, sp, y, lmbda: xp.exp(y * _log1p_ratio(xp, lmbda * y)),
    "inv_boxcox1p": lambda xp, sp, y, lmbda: xp.expm1(y * _log1p_ratio(xp, lmbda * y)),
    "cbrt": lambda xp, sp, x: xp.sign(x) * xp.abs(x) ** (1 / 3),
    "exp2": lambda xp, sp, x: 2.0**x,
    "exp10": lambda xp, sp, x: 10.0**x,
    "cosm1": lambda xp, sp, x: -2 * xp.sin(0.5 * x) ** 2,
    "sinc": lambda xp, sp, x: xp.where(x == 0, 1.0, xp.sin(math.pi * x) / xp.where(x == 0, 1.0, math.pi * x)),
    "radian": lambda xp, sp, d, m, s: (d + m / 60 + s / 3600) * (math.pi / 180),
}
