"""Cases of the special functions: for each, where its differentiable arguments are drawn, and the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.autodiff.rule_cases import Case
from tests.support import draw
from xpnet.autodiff.rules.special import ALIASES

__all__ = ["CASES", "CONSTANTS"]

Range = tuple[float, float]
Argument = Range | float  # a number is a constant

_TABLE: dict[str, tuple[Argument, ...]] = {
    "gamma": ((0.5, 3.0),), "gammaln": ((0.5, 3.0),), "loggamma": ((0.5, 3.0),), "rgamma": ((-1.9, -1.1),),
    "digamma": ((0.5, 3.0),), "psi": ((-0.9, -0.2),), "polygamma": (2, (0.5, 3.0)),
    "poch": ((0.5, 2.0), (0.5, 2.0)),
    "beta": ((0.5, 2.0), (0.5, 2.0)), "betaln": ((0.5, 2.0), (0.5, 2.0)), "binom": ((4.2, 6.0), (1.2, 3.0)),
    "zeta": (2.5, (0.5, 3.0)),
    "gammainc": (1.7, (0.5, 3.0)), "gammaincc": (1.7, (0.5, 3.0)), "gammaincinv": (1.7, (0.2, 0.8)),
    "gammainccinv": (1.7, (0.2, 0.8)), "betainc": (1.7, 2.3, (0.2, 0.8)),
    "betaincc": (1.7, 2.3, (0.2, 0.8)),
    "betaincinv": (1.7, 2.3, (0.2, 0.8)), "betainccinv": (1.7, 2.3, (0.2, 0.8)),
    "erfc": ((-1.5, 1.5),), "erfcx": ((-1.0, 2.0),), "erfi": ((-1.5, 1.5),), "erfinv": ((-0.8, 0.8),),
    "erfcinv": ((0.2, 1.8),), "dawsn": ((-1.5, 1.5),), "owens_t": ((-1.5, 1.5), (-1.5, 1.5)),
    "ndtr": ((-1.5, 1.5),), "ndtri": ((0.1, 0.9),), "log_ndtr": ((-3.0, 2.0),),
    "ndtri_exp": ((-3.0, -0.2),),
    "chdtr": (3.0, (0.5, 3.0)), "chdtrc": (3.0, (0.5, 3.0)), "chdtri": (3.0, (0.2, 0.8)),
    "gdtr": ((0.5, 2.0), 1.7, (0.5, 2.0)), "gdtrc": ((0.5, 2.0), 1.7, (0.5, 2.0)),
    "stdtr": (3.5, (-2.0, 2.0)), "stdtrit": (3.5, (0.1, 0.9)),
    "fdtr": (3.0, 5.0, (0.5, 2.0)), "fdtrc": (3.0, 5.0, (0.5, 2.0)), "fdtri": (3.0, 5.0, (0.2, 0.8)),
    "bdtr": (2, 5, (0.2, 0.8)), "bdtrc": (2, 5, (0.2, 0.8)), "bdtri": (2, 5, (0.2, 0.8)),
    "nbdtr": (2, 5, (0.2, 0.8)), "nbdtrc": (2, 5, (0.2, 0.8)), "nbdtri": (2, 5, (0.2, 0.8)),
    "pdtr": (2, (0.5, 3.0)), "pdtrc": (2, (0.5, 3.0)), "pdtri": (2, (0.2, 0.8)),
    "logit": ((0.1, 0.9),), "log_expit": ((-1.5, 1.5),), "xlogy": ((0.5, 2.0), (0.5, 2.0)),
    "xlog1py": ((0.5, 2.0), (-0.5, 2.0)), "entr": ((0.2, 2.0),), "rel_entr": ((0.5, 2.0), (0.5, 2.0)),
    "kl_div": ((0.5, 2.0), (0.5, 2.0)), "huber": ((0.6, 0.8), (1.0, 2.0)),
    "pseudo_huber": ((0.5, 2.0), (-2.0, 2.0)),
    "boxcox": ((0.5, 2.0), (-1.5, 1.5)), "boxcox1p": ((-0.5, 2.0), (-1.5, 1.5)),
    "inv_boxcox": ((-0.6, 0.6), (-1.2, 1.2)), "inv_boxcox1p": ((-0.6, 0.6), (-1.2, 1.2)),
    "cbrt": ((0.5, 2.0),), "exp2": ((-1.5, 1.5),), "exp10": ((-1.0, 1.0),), "exprel": ((-2.0, 2.0),),
    "cosm1": ((-1.5, 1.5),), "sinc": ((-1.5, 1.5),), "wrightomega": ((-1.5, 1.5),),
    "sindg": ((-90.0, 90.0),), "cosdg": ((-90.0, 90.0),), "tandg": ((-70.0, 70.0),),
    "cotdg": ((20.0, 160.0),),
    "radian": ((0.0, 9.0), (0.0, 9.0), (0.0, 9.0)), "spence": ((0.5, 2.0),),
    "exp1": ((0.5, 2.0),), "expi": ((0.5, 2.0),), "expn": (2, (0.5, 2.0)),
    "j0": ((-2.0, 2.0),), "j1": ((-2.0, 2.0),), "jv": (1.5, (0.5, 3.0)), "y0": ((0.5, 3.0),),
    "y1": ((0.5, 3.0),),
    "yn": (2, (0.5, 3.0)), "yv": (1.5, (0.5, 3.0)), "i0": ((-2.0, 2.0),), "i1": ((-2.0, 2.0),),
    "iv": (1.5, (0.5, 3.0)),
    "i0e": ((0.2, 2.0),), "i1e": ((-2.0, -0.2),), "ive": (1.5, (0.5, 3.0)), "k0": ((0.5, 3.0),),
    "k1": ((0.5, 3.0),),
    "kn": (2, (0.5, 3.0)), "kv": (1.5, (0.5, 3.0)), "k0e": ((0.5, 3.0),), "k1e": ((0.5, 3.0),),
    "kve": (1.5, (0.5, 3.0)),
    "ellipk": ((-0.5, 0.6),), "ellipkm1": ((0.3, 1.4),), "ellipe": ((-0.5, 0.6),),
    "hyp0f1": (1.5, (-1.5, 1.5)), "hyp1f1": (1.2, 2.5, (-1.5, 1.5)), "hyp2f1": (0.7, 1.2, 2.5, (-0.8, 0.6)),
    "lpmv": (1, 2, (-0.8, 0.8)), "erf": ((-1.5, 1.5),), "expit": ((-1.5, 1.5),),
}  # fmt: skip


def _case(name: str, arguments: tuple[Argument, ...], label: str, *shapes: tuple[int, ...]) -> Case:
    drawn = iter(
        [
            draw(7 + i, s, *a)
            for i, (s, a) in enumerate(zip(shapes, filter(_is_range, arguments), strict=True))
        ]
    )
    args = tuple(drawn)

    def function(xp: Any, *given: Any) -> Any:
        left = iter(given)
        return getattr(xp.special, name)(*(next(left) if _is_range(a) else a for a in arguments))

    return Case(ALIASES.get(name, f"special.{name}"), label, function, args)


def _is_range(argument: Argument) -> bool:
    return isinstance(argument, tuple)


CASES: list[Case] = []
for _name, _arguments in _TABLE.items():
    _count = sum(map(_is_range, _arguments))
    CASES.append(_case(_name, _arguments, "", *((3, 2), (2,), ())[:_count]))
_case_of = {case.rule: case for case in CASES}
CASES += [
    Case("special.xlogy", "at-0", lambda xp, y: xp.special.xlogy(0.0, y), (draw(1, (3,), 0.5, 2.0),)),
    Case("special.huber", "inside", lambda xp, d, r: xp.special.huber(d, r),
         (draw(1, (3,), 1.6, 2.0), draw(2, (3,), -1.0, 1.0))),
    Case("special.boxcox", "exponent-0", lambda xp, x: xp.special.boxcox(x, 1e-300),
         (draw(1, (3,), 0.5, 2.0),)),
    *(Case(f"special.{name}", "around-0", lambda xp, x, n=name: getattr(xp.special, n)(x),
           (np.asarray([-1e-3, 0.0, 1e-9, 0.4]),))
      for name in ("j0", "j1", "i0", "i1", "sinc", "exprel", "ellipk", "ellipe", "dawsn")),
    Case("special.spence", "around-1", lambda xp, x: xp.special.spence(x), (np.asarray([0.999, 1.0, 1.1]),)),
    Case("special.boxcox", "by-exponent-0", lambda xp, y: xp.special.boxcox(2.5, y),
         (np.asarray([0.0, -0.2, 1e-9]),)),
    Case("special.inv_boxcox", "by-exponent-0", lambda xp, y: xp.special.inv_boxcox(0.5, y),
         (np.asarray([0.0, -0.2, 1e-9]),)),
    Case("special.expn", "order-0", lambda xp, x: xp.special.expn(0, x), (draw(1, (3,), 0.5, 2.0),)),
    Case("special.multigammaln", "", lambda xp, x: xp.special.multigammaln(x, 3), (draw(1, (3,), 2.0, 4.0),)),
    Case("special.erfcx", "far-out", lambda xp, x: xp.special.erfcx(x), (np.asarray([22.0, 40.0]),)),
    Case("special.dawsn", "far-out", lambda xp, x: xp.special.dawsn(x), (np.asarray([-25.0, 30.0]),)),
]  # fmt: skip

CONSTANTS: dict[str, Any] = {"special.gammasgn": lambda xp, x: xp.special.gammasgn(x - 1.05)}
"""Without derivative; and ``zetac``, whose derivative is no function of the table, is refused."""
