"""Special functions of any array library, by SciPy's names and with its arguments, of real numbers.

Those of NumPy's arrays are SciPy's, those of CuPy ``cupyx.scipy.special``'s, those of PyTorch
``torch.special``'s, those of JAX ``jax.scipy.special``'s. What a library lacks SciPy computes from arrays in
host memory, which need no copy for that; of others a formula of other special functions does, if there is a
stable one (``special_formulas.py``). Nothing is copied from a device: the rest is an error.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from xpnet.backends.namespaces import placement
from xpnet.backends.special_formulas import FORMULAS
from xpnet.errors import BackendError, RecordError

__all__ = ["FUNCTIONS", "Special", "floating", "name_in_scipy"]

_SIGNATURES = """
gamma(x) = Γ(x)
gammaln(x) = log |Γ(x)|
loggamma(x) = log Γ(x), NaN for x < 0
gammasgn(x) = sign of Γ(x)
rgamma(x) = 1 / Γ(x)
digamma(x) = Γ'(x) / Γ(x)
psi(x) = digamma(x)
polygamma(n, x) = n-th derivative of digamma
multigammaln(a, d) = log of the gamma function of d dimensions
poch(z, m) = Γ(z + m) / Γ(z)
beta(a, b) = Γ(a) Γ(b) / Γ(a + b)
betaln(a, b) = log |beta(a, b)|
binom(n, k) = n over k
gammainc(a, x) = P(a, x), regularized lower incomplete gamma function
gammaincc(a, x) = 1 - P(a, x)
gammaincinv(a, y) = x with P(a, x) = y
gammainccinv(a, y) = x with 1 - P(a, x) = y
betainc(a, b, x) = I(a, b, x), regularized incomplete beta function
betaincc(a, b, x) = 1 - I(a, b, x)
betaincinv(a, b, y) = x with I(a, b, x) = y
betainccinv(a, b, y) = x with 1 - I(a, b, x) = y
zeta(x, q) = sum of (k + q)^-x over k >= 0
zetac(x) = zeta(x, 1) - 1
erf(x) = 2/√π times the integral of exp(-t²) from 0 to x
erfc(x) = 1 - erf(x)
erfcx(x) = exp(x²) erfc(x)
erfi(x) = -i erf(i x)
erfinv(y) = x with erf(x) = y
erfcinv(y) = x with erfc(x) = y
dawsn(x) = exp(-x²) times the integral of exp(t²) from 0 to x
owens_t(h, a) = 1/2π times the integral of exp(-h² (1 + t²)/2) / (1 + t²) from 0 to a
ndtr(x) = Φ(x), normal distribution function
ndtri(p) = x with Φ(x) = p
log_ndtr(x) = log Φ(x)
ndtri_exp(y) = x with log Φ(x) = y
chdtr(v, x) = distribution function of χ²
chdtrc(v, x) = 1 - chdtr(v, x)
chdtri(v, p) = x with chdtrc(v, x) = p
gdtr(a, b, x) = P(b, a x), of the gamma distribution
gdtrc(a, b, x) = 1 - gdtr(a, b, x)
stdtr(df, t) = distribution function of Student's t
stdtrit(df, p) = t with stdtr(df, t) = p
fdtr(dfn, dfd, x) = distribution function of F
fdtrc(dfn, dfd, x) = 1 - fdtr(dfn, dfd, x)
fdtri(dfn, dfd, p) = x with fdtr(dfn, dfd, x) = p
bdtr(k, n, p) = distribution function of the binomial
bdtrc(k, n, p) = 1 - bdtr(k, n, p)
bdtri(k, n, y) = p with bdtr(k, n, p) = y
nbdtr(k, n, p) = distribution function of the negative binomial
nbdtrc(k, n, p) = 1 - nbdtr(k, n, p)
nbdtri(k, n, y) = p with nbdtr(k, n, p) = y
pdtr(k, m) = distribution function of Poisson's
pdtrc(k, m) = 1 - pdtr(k, m)
pdtri(k, y) = m with pdtr(k, m) = y
expit(x) = 1 / (1 + exp(-x))
logit(p) = log(p / (1 - p))
log_expit(x) = log expit(x)
xlogy(x, y) = x log(y), 0 for x = 0
xlog1py(x, y) = x log(1 + y), 0 for x = 0
entr(x) = -x log(x), 0 for x = 0
rel_entr(x, y) = x log(x / y), 0 for x = 0
kl_div(x, y) = x log(x / y) - x + y
huber(delta, r) = r²/2 for |r| <= delta, else delta (|r| - delta/2)
pseudo_huber(delta, r) = delta² (√(1 + (r / delta)²) - 1)
boxcox(x, lmbda) = (x^lmbda - 1) / lmbda, log(x) for lmbda = 0
boxcox1p(x, lmbda) = boxcox(1 + x, lmbda)
inv_boxcox(y, lmbda) = x with boxcox(x, lmbda) = y
inv_boxcox1p(y, lmbda) = x with boxcox1p(x, lmbda) = y
cbrt(x) = cube root
exp2(x) = 2^x
exp10(x) = 10^x
exprel(x) = (exp(x) - 1) / x
cosm1(x) = cos(x) - 1
sinc(x) = sin(πx) / πx
wrightomega(x) = ω with ω + log ω = x
sindg(x) = sine of degrees
cosdg(x) = cosine of degrees
tandg(x) = tangent of degrees
cotdg(x) = cotangent of degrees
radian(d, m, s) = degrees, minutes and seconds as an angle in radians
exp1(x) = E₁(x), exponential integral
expn(n, x) = E_n(x)
expi(x) = Ei(x) = -E₁(-x)
spence(z) = integral of log(t) / (1 - t) from 1 to z
j0(x) = J₀(x), Bessel function of the first kind
j1(x) = J₁(x)
jv(v, x) = J of order v
y0(x) = Y₀(x), Bessel function of the second kind
y1(x) = Y₁(x)
yn(n, x) = Y of whole order
yv(v, x) = Y of order v
i0(x) = I₀(x), modified Bessel function of the first kind
i1(x) = I₁(x)
iv(v, x) = I of order v
i0e(x) = exp(-|x|) I₀(x)
i1e(x) = exp(-|x|) I₁(x)
ive(v, x) = exp(-|x|) I of order v
k0(x) = K₀(x), modified Bessel function of the second kind
k1(x) = K₁(x)
kn(n, x) = K of whole order
kv(v, x) = K of order v
k0e(x) = exp(x) K₀(x)
k1e(x) = exp(x) K₁(x)
kve(v, x) = exp(x) K of order v
ellipk(m) = complete elliptic integral of the first kind
ellipkm1(p) = ellipk(1 - p)
ellipe(m) = complete elliptic integral of the second kind
hyp0f1(v, x) = confluent hypergeometric limit function
hyp1f1(a, b, x) = confluent hypergeometric function
hyp2f1(a, b, c, x) = hypergeometric function of Gauss
lpmv(m, v, x) = associated Legendre function
"""
FUNCTIONS: dict[str, str] = {text[: text.index("(")]: text for text in _SIGNATURES.strip().split("\n")}
"""The functions by name, each as ``"name(arguments) = what it is"``."""

_LIBRARIES = {"array_api_compat.numpy": "numpy", "array_api_compat.cupy": "cupy",
              "array_api_compat.torch": "torch", "jax.numpy": "jax"}  # fmt: skip
_MODULES = {"numpy": "scipy.special", "cupy": "cupyx.scipy.special", "torch": "torch.special",
            "jax": "jax.scipy.special"}  # fmt: skip
_OTHER_NAMES = {
    "torch": {
        "psi": "digamma", "j0": "bessel_j0", "j1": "bessel_j1", "y0": "bessel_y0", "y1": "bessel_y1",
        "k0": "modified_bessel_k0", "k1": "modified_bessel_k1",
        "k0e": "scaled_modified_bessel_k0", "k1e": "scaled_modified_bessel_k1",
        "polygamma": "",  # whose order is no array
    },
    "jax": {"psi": "digamma", "polygamma": ""},
}  # fmt: skip


class Special:
    """The special functions of arrays of one library; they are looked for when they are first asked for."""

    def __init__(self, xp: Any):
        self._xp = xp
        self.__name__ = f"{xp.__name__}.special"

    def __dir__(self) -> list[str]:
        return sorted(FUNCTIONS)

    def __getattr__(self, name: str) -> Any:
        if name not in FUNCTIONS:
            raise AttributeError(f"{self.__name__} has no function {name!r}")
        made = _function(self._xp, self, name)
        made.__name__, made.__doc__ = name, FUNCTIONS[name]
        self.__dict__[name] = made  # the next look-up is a plain attribute
        return made


def name_in_scipy(ufunc: Any) -> str:
    """Return the name here of a ufunc that is one of SciPy's special functions, "" of any other."""
    name = getattr(ufunc, "__name__", "")
    found = getattr(sys.modules.get("scipy.special"), name, None) if name in FUNCTIONS else None
    return name if getattr(found, "__wrapped__", found) is ufunc and ufunc is not None else ""


def floating(xp: Any, name: str, args: Sequence[Any]) -> Sequence[Any]:
    """Return arguments as real floating arrays of one dtype, promoted as the library promotes them.

    Whole numbers beside no floating ones become the library's default; NumPy and CuPy count them beside
    others, too: int64 and float32 give float64. Python's numbers take what the arrays have.

    Raises:
        RecordError: complex arrays.
    """
    first = getattr(args[0], "dtype", None)
    if (xp.__name__, first) in _known and all(getattr(x, "dtype", None) == first for x in args[1:]):
        return args
    if name == "multigammaln":
        return [*floating(xp, "", args[:1]), *args[1:]]
    arrays = [x for x in args if type(x) not in (bool, int, float)]
    real = [x.dtype for x in arrays if xp.isdtype(x.dtype, "real floating")]
    for x in arrays:
        if xp.isdtype(x.dtype, "complex floating"):
            raise RecordError(
                f"special.{name}: expected real arrays, found dtype {x.dtype}; take xp.real(x) or xp.abs(x)"
            )
    device = placement(arrays[0]) if arrays else {}
    if not real:
        dtype = xp.asarray(0.0, **device).dtype
    elif len(arrays) > len(real) and ("compat.numpy" in xp.__name__ or "compat.cupy" in xp.__name__):
        dtype = xp.result_type(*(x.dtype for x in arrays))
    else:
        dtype = xp.result_type(*real)
    _known.add((xp.__name__, dtype))

    def promoted(x: Any) -> Any:
        if type(x) in (bool, int, float):
            return xp.asarray(x, dtype=dtype, **device)
        return x if x.dtype == dtype else xp.astype(x, dtype)

    return list(map(promoted, args))


_known: set[Any] = set()  # libraries and their real dtypes: asking a library takes microseconds each time


def _function(xp: Any, special: Special, name: str) -> Callable[..., Any]:
    """Return a function of arrays: the library's own, SciPy's on the host, or a formula."""
    library = _LIBRARIES.get(xp.__name__, "")
    formula = FORMULAS.get(name)
    if library == "numpy":
        own: Any = None
    else:
        module = importlib.import_module(_MODULES[library]) if library else None
        own = getattr(module, _OTHER_NAMES.get(library, {}).get(name, name) or "?", None)

    def call(*args: Any) -> Any:
        args = tuple(floating(xp, name, args))
        if name in _BY_FORMULA:
            return formula(xp, special, *args)  # type: ignore[misc]
        if own is not None:
            return own(*args)
        given = [_on_host(library, x) for x in args]
        if all(x is not None for x in given):
            return _from_host(xp, library, args[0], _by_scipy(name, given))
        if formula is not None:
            return formula(xp, special, *args)
        raise BackendError(
            f"special.{name}: expected a library that has it for these arrays, found {xp.__name__}, which "
            "has neither the function nor arrays in host memory, where SciPy computes it; move them there, "
            "or give a function of your own a rule with xpnet.autodiff.custom_rule"
        )

    return call


_BY_FORMULA = ("expit", "multigammaln")  # in all libraries: as programs compute them


def _by_scipy(name: str, given: Sequence[Any]) -> Any:
    """Return what SciPy's function makes of NumPy's arrays."""
    try:
        function = getattr(importlib.import_module("scipy.special"), name)
    except ModuleNotFoundError as error:
        raise BackendError(
            f"special.{name}: expected SciPy, which computes it, found it not installed; pip install scipy "
            "(of the extra 'special')"
        ) from error
    function = getattr(function, "__wrapped__", function)  # the ufunc, not what looks for the array's library
    if name in ("bdtr", "bdtrc", "bdtri"):  # which warn of floating numbers of trials
        k, trials, p = given
        import numpy as np

        given = k, np.nan_to_num(trials, nan=-1).astype(np.int64), p
    return function(*given)


def _on_host(library: str, x: Any) -> Any:
    """Return an array in host memory as NumPy's, without a copy; None for others."""
    if library == "numpy":
        return x
    if library == "torch":
        return x.numpy() if x.device.type == "cpu" else None
    import numpy as np

    if library == "jax":
        import jax

        return (
            None if isinstance(x, jax.core.Tracer) or x.devices().pop().platform != "cpu" else np.asarray(x)
        )
    if library == "cupy":
        return None
    import array_api_strict  # whose devices are all of them in host memory

    return np.asarray(x.to_device(array_api_strict.Device("CPU_DEVICE")))


def _from_host(xp: Any, library: str, beside: Any, made: Any) -> Any:
    """Return what SciPy made as an array of the dtype and on the device of the argument ``beside``."""
    if library == "numpy":
        made = made if made.dtype == beside.dtype else made.astype(beside.dtype)
        return made[()] if made.shape == () else made  # a scalar, as NumPy's own functions return
    if library == "torch":
        made = xp.asarray(made)
        return made if made.dtype == beside.dtype else xp.astype(made, beside.dtype)
    return xp.asarray(made, dtype=beside.dtype, **placement(beside))
