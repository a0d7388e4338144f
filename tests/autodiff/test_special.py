"""Special functions: values and derivatives on every library, in all transforms and lowerings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.autodiff.cases_special import CASES, CONSTANTS
from tests.autodiff.rule_cases import Case
from tests.autodiff.test_rules import _both_modes, _function, _numpy_results
from tests.support import draw, host, relative_error, tolerance, widest
from xpnet import compile as compiled
from xpnet.autodiff import check_grads, grad, jvp, namespace, special, vjp, vmap
from xpnet.autodiff.graphs.expressions import Expression
from xpnet.autodiff.rules import RULES
from xpnet.autodiff.rules.special import ALIASES
from xpnet.backends import Backend, array_namespace
from xpnet.backends.lacking import extended
from xpnet.backends.special import FUNCTIONS, Special
from xpnet.backends.special_formulas import FORMULAS
from xpnet.errors import BackendError, RecordError

scipy_special = pytest.importorskip("scipy.special", reason="SciPy is not installed")
XP = array_namespace(np.ones(1))
every_case = pytest.mark.parametrize("case", CASES, ids=str)
FIRST = list({case.rule: case for case in reversed(CASES)}.values())
slower = pytest.mark.full


def test_every_function_is_in_the_tables() -> None:
    covered = {case.rule for case in CASES} | set(CONSTANTS) | {"special.zetac"}
    assert covered == {ALIASES.get(name, f"special.{name}") for name in FUNCTIONS}
    assert covered == {name for name in RULES if name.startswith("special.")} | set(ALIASES.values())
    assert all(hasattr(scipy_special, name) for name in FUNCTIONS)


def test_every_function_that_scipy_looks_for_is_here() -> None:
    dispatched = pytest.importorskip("scipy.special._support_alternative_backends").__all__
    assert set(dispatched) <= set(FUNCTIONS)


# --- Derivatives ---------------------------------------------------------------------------------------


@every_case
def test_first_and_second_derivatives_match_finite_differences(case: Case) -> None:
    check_grads(_function(case), case.args, order=2)


@slower
@pytest.mark.parametrize("case", FIRST, ids=str)
def test_third_derivatives_match_finite_differences(case: Case) -> None:
    check_grads(_function(case), case.args, order=3)


def _check_on(case: Case, backend: Backend) -> None:
    """Compare value, pullback and pushforward on a backend with those on NumPy, in its widest dtype."""
    dtype = widest(backend)
    want, want_pulled, want_pushed = _numpy_results(case, dtype)
    u = backend.asarray(draw(60, np.shape(want)), dtype=dtype)
    args = [backend.asarray(x, dtype=dtype) for x in case.args]
    tangents = tuple(backend.asarray(draw(70 + i, x.shape), dtype=dtype) for i, x in enumerate(args))
    y, pulled, pushed = _both_modes(case, args, (), u, tangents)
    limit = 100 * tolerance(dtype)
    assert relative_error(y, want) < limit
    assert relative_error(pushed, want_pushed) < limit
    for got, expected, x in zip(pulled, want_pulled, args, strict=True):
        assert (got.dtype, tuple(got.shape)) == (x.dtype, tuple(x.shape))
        assert relative_error(got, expected) < limit


@pytest.mark.parametrize(
    "backend",
    [pytest.param("array_api_strict", marks=slower), "array_api_strict:no_float64", "torch:cpu"],
    indirect=True,
)
@every_case
def test_values_and_derivatives_on_other_libraries(case: Case, backend: Backend) -> None:
    _check_on(case, backend)


@slower
@pytest.mark.parametrize("backend", ["jax:cpu", "cupy:0"], indirect=True)
@pytest.mark.parametrize("case", FIRST, ids=str)
def test_values_and_derivatives_on_libraries_that_compile(case: Case, backend: Backend) -> None:
    try:
        _check_on(case, backend)
    except BackendError as error:
        missing = backend.name == "cupy" and case.rule.removeprefix("special.") in NOT_OF_CUPY
        if not missing:
            raise
        pytest.skip(str(error).partition(",")[0])


NOT_OF_CUPY = (
    "betainccinv", "dawsn", "ellipe", "ellipk", "ellipkm1", "erfi", "hyp0f1", "hyp1f1", "hyp2f1", "iv", "ive",
    "jv", "kn", "kv", "kve", "ndtri_exp", "owens_t", "spence", "wrightomega", "yv",
)  # fmt: skip


@pytest.mark.parametrize("case", [case for case in FIRST if len(case.args) < 3], ids=str)
def test_vmap_of_gradients_is_the_gradient_of_each(case: Case) -> None:
    def total(*args: Any) -> Any:
        out = _function(case)(*args)
        return array_namespace(out).sum(out)

    points = [np.stack([x, x * 1.03125]) for x in case.args]
    mapped = vmap(grad(total, argnums=tuple(range(len(points)))))(*points)
    for i in range(2):
        one = grad(total, argnums=tuple(range(len(points))))(*(x[i] for x in points))
        for got, want in zip(mapped, one, strict=True):
            np.testing.assert_allclose(got[i], want, rtol=1e-13)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cupy:0", marks=slower)], indirect=True)
@pytest.mark.parametrize("lower", ["numpy", "numba", "cupy"])
def test_compiled_functions_with_elementwise_groups_around(lower: str, backend: Backend) -> None:
    """The special functions are calls between generated loops; what else their slopes have is in these."""
    if (lower == "cupy") != (backend.name == "cupy"):
        pytest.skip(f"{lower}: not for arrays of {backend.name}")
    if lower == "numba":
        pytest.importorskip("numba", reason="numba is not installed")

    def f(x: Any) -> Any:
        xp = array_namespace(x)
        sp = xp.special
        y = sp.gammaln(1 + x * x) * sp.expit(x) + sp.j0(2 * x) / (2 + sp.erf(x)) - sp.log_ndtr(x - 1)
        return xp.sum(y * sp.betainc(2, 3.5, 0.5 / (1 + x * x)))

    x = backend.asarray(draw(3, (5, 4)))
    fast = compiled(grad(f), lower=lower, backend=backend)
    np.testing.assert_allclose(host(fast(x)), host(grad(f)(x)), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(host(fast(x + 0.25)), host(grad(f)(x + 0.25)), rtol=1e-12, atol=1e-14)
    assert not fast.reason


# --- Outside truth -------------------------------------------------------------------------------------

# Derivatives where formulas lose their digits: function, point, what to call it in mpmath.
HARD: dict[str, tuple[Callable[..., Any], list[float], Callable[..., Any]]] = {
    "log_ndtr": (special.log_ndtr, [-1e4, -40.0, -3.0, 0.0, 5.0, 38.0],
                 lambda mp, x: mp.log(mp.erfc(-x / mp.sqrt(2)) / 2)),
    "log_expit": (special.log_expit, [-800.0, -1.0, 30.0, 700.0], lambda mp, x: -mp.log1p(mp.exp(-x))),
    "erfcx": (special.erfcx, [-3.0, 2.0, 7.9, 8.1, 1e6], lambda mp, x: mp.exp(x * x) * mp.erfc(x)),
    "dawsn": (special.dawsn, [0.0, 3.0, 7.9, -8.1, 1e6],
              lambda mp, x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x)),
    "gammaln": (special.gammaln, [-0.5, 1e-9, 1.0, 1e5], lambda mp, x: mp.log(abs(mp.gamma(x)))),
    "gammainc": (lambda x: special.gammainc(50.0, x), [1.0, 50.0, 200.0],
                 lambda mp, x: mp.gammainc(50, 0, x, regularized=True)),
    "betainc": (lambda x: special.betainc(0.5, 300.0, x), [1e-9, 1e-3, 0.5],
                lambda mp, x: mp.betainc(0.5, 300, 0, x, regularized=True)),
    "stdtr": (lambda x: special.stdtr(4.0, x), [-1e3, -2.0, -1e-3],
              lambda mp, t: mp.betainc(2, 0.5, 0, 4 / (4 + t * t), regularized=True) / 2),
    "exprel": (special.exprel, [-700.0, -0.9, 1e-12, 0.9, 1.1], lambda mp, x: mp.expm1(x) / x),
    "boxcox": (lambda y: special.boxcox(3.0, y), [-2.0, 1e-9, 0.8, 1.0],
               lambda mp, y: (mp.mpf(3) ** y - 1) / y),
    "i1": (special.i1, [1e-9, 0.99, 1.01, 30.0], lambda mp, x: mp.besseli(1, x)),
    "j1": (special.j1, [1e-9, 0.99, 1.01, 30.0], lambda mp, x: mp.besselj(1, x)),
    "ellipk": (special.ellipk, [-5.0, 1e-9, 0.099, 0.101, 0.99], lambda mp, m: mp.ellipk(m)),
    "ellipkm1": (special.ellipkm1, [1e-9, 0.5, 0.95, 2.0], lambda mp, p: mp.ellipk(1 - p)),
    "sinc": (special.sinc, [1e-9, 0.49, 0.51, 7.3], lambda mp, x: mp.sin(mp.pi * x) / (mp.pi * x)),
    "spence": (special.spence, [1e-3, 0.81, 1.0 + 1e-9, 1.21], lambda mp, z: mp.polylog(2, 1 - z)),
}  # fmt: skip


@slower
@pytest.mark.parametrize("name", HARD)
def test_first_and_second_derivatives_match_those_of_many_digits(name: str) -> None:
    mp = pytest.importorskip("mpmath", reason="mpmath is not installed")
    f, points, reference = HARD[name]
    with mp.workdps(60):
        for point in points:
            if name == "stdtr" and point > 0:
                point = -point  # the reference is the lower tail; the density is even
            for order, derivative in enumerate((grad(f), grad(grad(f))), 1):
                at = mp.mpf(point) if point else mp.mpf("1e-30")
                want = float(mp.diff(lambda x: reference(mp, x), at, order))
                got = float(derivative(np.asarray(point)))
                assert got == pytest.approx(want, rel=2e-11, abs=1e-15), (point, order)


TORCH = ("gammaln", "entr", "erfc", "erfinv", "i0", "i0e", "i1", "i1e", "log_ndtr", "logit", "ndtr",
         "ndtri", "xlog1py", "xlogy", "expit", "erf", "sinc")  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_gradients_match_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    case = next(c for c in CASES if c.rule == ALIASES.get(name, f"special.{name}"))
    args = [torch.tensor(x, requires_grad=True) for x in case.args]
    out = getattr(torch.special, name)(*args)
    u = draw(60, tuple(out.shape))
    want = torch.autograd.grad(out, args, torch.tensor(u))
    got = vjp(_function(case), *case.args)[1](u)
    for one, other in zip(got, want, strict=True):
        assert relative_error(one, other.numpy()) < 1e-12


# --- Edges, dtypes, arguments --------------------------------------------------------------------------

inf = np.inf
EDGES: dict[str, tuple[tuple[Any, ...], int, Any]] = {  # arguments, by which of them, slope
    "entr": ((0.0,), 0, inf), "logit": ((0.0,), 0, inf), "xlogy": ((0.0, 0.0), 1, 0.0),
    "xlog1py": ((0.0, -1.0), 1, 0.0), "rel_entr": ((0.0, 0.0), 1, 0.0), "kl_div": ((0.0, 2.0), 1, 1.0),
    "log_ndtr": ((-1e9,), 0, 1e9), "log_expit": ((-inf,), 0, 1.0), "ndtr": ((inf,), 0, 0.0),
    "erfc": ((-inf,), 0, 0.0),
    "gammainc": ((1.0, 0.0), 1, 1.0), "betainc": ((1.0, 3.0, 0.0), 2, 3.0), "stdtr": ((3.0, inf), 1, 0.0),
    "chdtrc": ((2.0, 0.0), 1, -0.5), "bdtr": ((5, 5, 0.3), 2, 0.0), "pdtr": ((0, 0.0), 1, -1.0),
    "huber": ((1.0, 1.0), 1, 1.0), "i0e": ((0.0,), 0, 0.0), "i1": ((0.0,), 0, 0.5),
    "exprel": ((0.0,), 0, 0.5),
    "boxcox": ((1.0, 0.0), 1, 0.0), "ellipk": ((0.0,), 0, np.pi / 8), "k0": ((inf,), 0, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_slopes_at_edges(name: str) -> None:
    args, position, want = EDGES[name]
    given = [np.asarray(x, dtype=np.float64) for x in args]

    def f(x: Any) -> Any:
        return getattr(special, name)(*given[:position], x, *given[position + 1 :])

    assert float(grad(f)(given[position])) == pytest.approx(want, rel=1e-12)
    assert float(jvp(f, (given[position],), (np.asarray(1.0),))[1]) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("args", "made"),
    [
        ((np.float32([1, 2]), np.float32(3)), "float32"),
        ((np.asarray([1, 2]), np.asarray([3, 4])), "float64"),
        ((np.float32([1, 2]), np.asarray([3, 4])), "float64"),
        ((np.float32([1, 2]), np.float64([3, 4])), "float64"),
        ((2, np.asarray(3.0)), "float64"),
        ((np.asarray([True]), 1.5), "float64"),
    ],
    ids=str,
)
def test_dtypes_are_those_of_scipy(args: Any, made: str) -> None:
    got, want = special.betaln(*args), scipy_special.betaln(*args)
    assert got.dtype == want.dtype == np.dtype(made)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    lifted = namespace(XP, lift=True).special.betaln(*args)
    assert lifted.dtype == np.dtype(made)


def test_numbers_of_python_have_the_dtype_of_the_arrays() -> None:
    """As in the standard; of SciPy's ufuncs some make float64 of float32 and a number."""
    assert special.xlogy(np.float32([1, 2]), 3.0).dtype == np.float32
    assert special.xlogy(2, np.float32([1, 2])).dtype == np.float32


def test_cotangents_have_the_dtypes_of_their_arguments() -> None:
    x, y = np.float32([0.5, 1.5]), np.float64([0.5, 1.5])
    out, pullback = vjp(special.betaln, x, y)
    assert out.dtype == np.float64
    assert [g.dtype for g in pullback(np.ones(2))] == [np.float32, np.float64]


def test_arguments_without_derivative_are_refused() -> None:
    a, x = np.asarray(2.0), np.asarray(0.7)
    assert float(grad(special.gammainc, argnums=1)(a, x)) == pytest.approx(0.7 * np.exp(-0.7))
    with pytest.raises(RecordError, match=r"special.gammainc: expected no traced array as argument 1"):
        grad(special.gammainc)(a, x)
    with pytest.raises(RecordError, match=r"special.zetac: expected no traced array as argument 1"):
        jvp(special.zetac, (a,), (x,))
    with pytest.raises(RecordError, match="expected real arrays"):
        special.gammaln(np.asarray(1j))
    with pytest.raises(AttributeError, match="airy"):
        special.airy  # noqa: B018
    assert not hasattr(namespace(XP).special, "airy")


def test_functions_without_derivative_are_constant() -> None:
    x = draw(3, (4,), 0.1, 1.9)
    np.testing.assert_array_equal(special.gammasgn(x - 1.05), scipy_special.gammasgn(x - 1.05))
    np.testing.assert_array_equal(vjp(lambda x: special.gammasgn(x) * x, x)[1](np.ones(4))[0], np.ones(4))


def test_ufuncs_of_scipy_are_recorded() -> None:
    """Also of functions for which SciPy looks for no library, and of all without SCIPY_ARRAY_API."""
    x = draw(3, (4,), 0.5, 1.9)
    pulled = vjp(lambda x: scipy_special.jv(1.5, x) + scipy_special.dawsn(x), x)[1](np.ones(4))[0]
    np.testing.assert_allclose(pulled, scipy_special.jvp(1.5, x) + 1 - 2 * x * scipy_special.dawsn(x))
    ufunc = getattr(scipy_special.gammaln, "__wrapped__", scipy_special.gammaln)
    np.testing.assert_allclose(vjp(ufunc, x)[1](np.ones(4))[0], scipy_special.digamma(x))
    other = np.frompyfunc(lambda x: x, 1, 1)  # of nobody's
    with pytest.raises(RecordError, match="a NumPy function was applied"):
        vjp(other, x)


@pytest.mark.skipif(os.environ.get("SCIPY_ARRAY_API") != "1", reason="SCIPY_ARRAY_API is not 1")
def test_scipy_finds_them() -> None:
    x = draw(3, (4,), 0.5, 1.9)
    for name in ("gammaln", "ndtri", "psi", "expit"):
        f = getattr(scipy_special, name)
        y = x / 2
        np.testing.assert_allclose(
            vjp(f, y)[1](np.ones(4))[0], vjp(getattr(special, name), y)[1](np.ones(4))[0]
        )


def test_they_are_functions_of_expressions() -> None:
    assert float(Expression("2 * special.gammaln(x)")({"x": np.asarray(5.0)})) == pytest.approx(
        2 * np.log(24)
    )


# --- Libraries without a function ----------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_formulas_give_what_scipy_gives(name: str) -> None:
    if name == "multigammaln":
        args: tuple[Any, ...] = (draw(1, (9,), 2.0, 4.0), 3)
    else:
        text = FUNCTIONS[name]
        count = text[: text.index(")")].count(",") + 1
        ranges = _RANGES.get(name, ((0.2, 3.0),) * count)
        args = tuple(draw(7 + i, (40,), *limits) for i, limits in enumerate(ranges))
    if name in ("polygamma", "bdtr", "bdtrc", "nbdtr", "nbdtrc", "pdtr", "pdtrc"):
        args = tuple(np.floor(x * 3) if i < len(args) - 1 else x for i, x in enumerate(args))
    got = FORMULAS[name](XP, Special(XP), *args)
    whole = tuple(x.astype(int) if name.startswith("bdtr") and i == 1 else x for i, x in enumerate(args))
    np.testing.assert_allclose(got, getattr(scipy_special, name)(*whole), rtol=1e-12, atol=1e-300)


_P = (0.01, 0.99)
_RANGES: dict[str, Any] = {
    "gammasgn": ((-4.0, 3.0),), "gamma": ((-4.0, 3.0),), "rgamma": ((-4.0, 3.0),),
    "poch": ((-3.0, 3.0), (0.2, 3.0)),
    "beta": ((-3.0, 3.0), (0.2, 3.0)), "betaincc": ((0.2, 3.0), (0.2, 3.0), _P), "chdtri": ((0.2, 3.0), _P),
    "stdtr": ((0.2, 9.0), (-9.0, 9.0)), "stdtrit": ((0.2, 9.0), _P), "bdtr": ((-1.0, 2.0), (0.0, 2.0), _P),
    "bdtrc": ((-1.0, 2.0), (0.0, 2.0), _P), "nbdtr": ((0.0, 2.0), (0.4, 2.0), _P),
    "nbdtrc": ((0.0, 2.0), (0.4, 2.0), _P), "expit": ((-40.0, 40.0),), "log_expit": ((-40.0, 40.0),),
    "rel_entr": ((-0.1, 1.0), (0.0, 1.0)), "kl_div": ((-0.1, 1.0), (0.0, 1.0)),
    "huber": ((-0.2, 1.0), (-2.0, 2.0)),
    "pseudo_huber": ((-0.2, 1.0), (-2.0, 2.0)), "exprel": ((-3.0, 3.0),),
    "boxcox": ((0.1, 3.0), (-2.0, 2.0)),
    "boxcox1p": ((-0.9, 3.0), (-2.0, 2.0)), "inv_boxcox": ((-0.4, 0.4), (-2.0, 2.0)),
    "inv_boxcox1p": ((-0.4, 0.4), (-2.0, 2.0)), "cbrt": ((-3.0, 3.0),), "cosm1": ((-0.1, 0.1),),
    "sinc": ((-3.0, 3.0),),
}  # fmt: skip


def test_what_no_library_has_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch has no elliptic integrals; arrays that are not in host memory are not copied there."""
    monkeypatch.setattr("xpnet.backends.special._on_host", lambda library, x: None)
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = torch.tensor([0.3], dtype=torch.float64)
    with pytest.raises(BackendError, match=r"special.ellipk: expected a library that has it"):
        special.ellipk(x)
    assert float(special.boxcox(x, 2.0)[0]) == pytest.approx((0.3**2 - 1) / 2)


def test_without_scipy_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    x = np.asarray(0.5)
    with pytest.raises(BackendError, match=r"pip install scipy.*'special'"):
        special.j0(x)
    assert float(special.erf(x)) == pytest.approx(0.5204998778130465)
    assert extended(XP).special.expit(x) == pytest.approx(1 / (1 + np.exp(-0.5)))
