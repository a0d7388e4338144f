"""Methods of second order: known minima, SciPy's numbers of evaluations, saddle points, bad objectives."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from tests.optim.problems import PROBLEMS, least_squares, logistic, quadratic, rosenbrock
from tests.support import told
from xpnet import compile, optim
from xpnet.autodiff import hessian, jacobian, value_and_grad, vmap
from xpnet.backends import Backend, array_namespace
from xpnet.errors import ConfigError, RecordError
from xpnet.optim import minimize
from xpnet.optim.second_order.curvature import extreme_eigenvalues, nature_of
from xpnet.optim.second_order.line_search import LINE_SEARCHES, Found, backtracking, wolfe
from xpnet.optim.second_order.objective import Objective
from xpnet.parameters import Layout, Parameters

METHODS = {
    "newton": [{}, {"line_search": "backtracking"}],
    "damped-newton": [{}, {"damping": 1.0}],
    "bfgs": [{}, {"line_search": "backtracking"}],
    "l-bfgs": [{}, {"history": 20}],
    "cg": [{"formula": name} for name in ("polak-ribiere", "fletcher-reeves", "hestenes-stiefel")],
    "hessian-free": [{}, {"probes": 0}],
    "gd": [{}, {"line_search": "backtracking"}],
}
EVERY = [(name, options) for name, rows in METHODS.items() for options in rows]
every_method = pytest.mark.parametrize(("method", "options"), EVERY, ids=str)
SLOW = ("gd",)  # gradient descent takes thousands of steps where others take twenty


def test_every_method_is_in_the_table() -> None:
    assert METHODS.keys() == optim.METHODS.keys()
    assert all(getattr(optim, made.__name__) is made for made in optim.METHODS.values())


@every_method
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.full) if n == "quadratic 1e6" else n for n in PROBLEMS]
)
def test_known_minima(name: str, method: str, options: dict[str, Any]) -> None:
    problem = PROBLEMS[name]
    if method in SLOW and name != "beale":
        pytest.skip("gradient descent takes too many steps")
    start = np.asarray(problem.start)
    found = minimize(problem.f, start, method=method, tolerance=1e-9, max_iterations=60_000, **options)
    assert found.success, found.message
    assert found.nature in ("minimum", problem.nature)
    assert found.fun == problem.f(found.x)
    np.testing.assert_array_equal(found.grad, value_and_grad(problem.f)(found.x)[1])
    assert np.abs(found.grad).max() <= 1e-9
    np.testing.assert_array_equal(start, problem.start)  # untouched
    if name == "rosenbrock 10" and found.fun > 1.0:  # its second minimum
        assert found.fun == pytest.approx(3.986579112347)
        return
    assert abs(found.fun) < 1e-11
    tolerance = 5e-3 if problem.nature == "flat" else 1e-8
    assert min(np.abs(found.x - minimum).max() for minimum in problem.minima) < tolerance


SCIPY = {"bfgs": "BFGS", "l-bfgs": "L-BFGS-B", "cg": "CG"}


def _evaluations(f: Any, start: np.ndarray, method: str) -> float:
    """Return how many evaluations a method needs, in units of those of SciPy's, to the same slope."""
    scipy = pytest.importorskip("scipy.optimize")
    derivative = value_and_grad(f)
    tight = {"ftol": 0.0, "maxfun": 10**6} if method == "l-bfgs" else {}
    theirs = scipy.minimize(
        lambda x: tuple(map(np.asarray, derivative(x))), start, jac=True, method=SCIPY[method],
        options={"gtol": 1e-6, "maxiter": 30_000, **tight},
    )  # fmt: skip
    reached = max(1e-6, np.abs(theirs.jac).max())
    mine = minimize(f, start, method=method, tolerance=reached, max_iterations=30_000, test=False)
    assert mine.success, mine.message
    if abs(mine.fun - theirs.fun) > 1e-6:  # the other of two minima
        assert min(mine.fun, theirs.fun) < 1e-6
        assert max(mine.fun, theirs.fun) == pytest.approx(3.98, abs=0.01)
    return mine.nfev / theirs.nfev


@pytest.mark.full
@pytest.mark.parametrize("method", SCIPY)
def test_no_more_evaluations_than_scipy(method: str) -> None:
    """On average: conjugate gradients on a singular problem are at the mercy of the last bits of products."""
    ratios = [_evaluations(p.f, np.asarray(p.start), method) for p in PROBLEMS.values()]
    assert max(ratios) < 2
    assert np.exp(np.mean(np.log(ratios))) < 1.05


@pytest.mark.full
@pytest.mark.parametrize("method", SCIPY)
@pytest.mark.parametrize("name", ["rosenbrock", "logistic"])
def test_no_more_evaluations_than_scipy_on_large_problems(name: str, method: str) -> None:
    if name == "logistic":
        datasets = pytest.importorskip("sklearn.datasets")
        X, y = datasets.load_breast_cancer(return_X_y=True)
        X = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(X))])
        f, start = logistic(X, 2.0 * y - 1.0), np.zeros(X.shape[1])
    else:
        f, start = rosenbrock, np.tile([-1.2, 1.0], 50)
    assert _evaluations(f, start, method) <= 1.3


@pytest.mark.parametrize("method", METHODS)
def test_on_every_backend(method: str, backend: Backend) -> None:
    try:
        dtype, tolerance = backend.dtype("float64"), 1e-8
    except Exception:
        dtype, tolerance = backend.dtype("float32"), 1e-3
    problem = quadratic(10.0, 6)
    start = backend.asarray(np.asarray(problem.start), dtype=dtype)
    found = minimize(problem.f, start, method=method, tolerance=tolerance)
    assert found.success, found.message
    assert found.nature == "minimum"
    assert found.eigenvalues is not None
    assert found.eigenvalues == pytest.approx((1.0, 10.0), rel=1e-3)
    assert found.x.dtype == dtype
    assert array_namespace(found.x) is array_namespace(start)
    np.testing.assert_allclose(backend.to_host(found.x), problem.minima[0], atol=10 * tolerance)


def test_newton_takes_one_step_to_the_minimum_of_a_quadratic() -> None:
    problem = quadratic(1e4)
    found = minimize(problem.f, np.asarray(problem.start), method="newton", tolerance=1e-8)
    assert (found.success, found.nit, found.nfev) == (True, 1, 2)


@pytest.mark.parametrize("formula", ["fletcher-reeves", "polak-ribiere", "hestenes-stiefel"])
def test_conjugate_gradients_are_conjugate(formula: str) -> None:
    """Where searches find the lowest point of each line, as many steps suffice as there are dimensions."""
    problem = quadratic(30.0, 8)
    points = [np.asarray(problem.start)]
    found = minimize(
        problem.f, points[0], method="cg", formula=formula, c1=1e-10, c2=1e-9, tolerance=1e-8,
        callback=lambda so_far: points.append(so_far.x),
    )  # fmt: skip
    assert found.success
    assert found.nit <= 8
    matrix = Objective(problem.f, points[0]).hessian(points[0])
    steps = np.diff(points, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    conjugate = steps @ matrix @ steps.T
    assert np.abs(conjugate - np.diag(np.diag(conjugate))).max() < 1e-4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("f", "start", "minima"),
    [
        (lambda x: x[0] ** 2 - x[1] ** 2 + 0.25 * x[1] ** 4, [1.0, 0.0], [(0.0, 2.0**0.5)]),
        (lambda x: 0.25 * (x[0] ** 4 + x[1] ** 4) - x @ x, [0.0, 0.0], [(2.0**0.5, 2.0**0.5)]),
        (lambda x: (x[0] * x[1] - 1.0) ** 2, [0.0, 0.0], None),
    ],
    ids=["saddle", "maximum", "product"],
)  # fmt: skip
def test_saddle_points_and_maxima_are_left(method: str, f: Any, start: list[float], minima: Any) -> None:
    found = minimize(f, np.asarray(start), method=method, tolerance=1e-7)
    assert found.success, found.message
    assert found.nature in ("minimum", "flat")
    if minima is None:
        assert found.x[0] * found.x[1] == pytest.approx(1.0)
    else:
        np.testing.assert_allclose(np.abs(found.x), minima[0], atol=1e-5)
    stays = minimize(f, np.asarray(start), method="gd", test=False)
    assert stays.nature == ""
    assert stays.eigenvalues is None


def test_what_cannot_be_left_is_said() -> None:
    """Where f ends, the way down along negative curvature is closed."""

    def f(x: Any) -> Any:
        return -(x[0] ** 2) + 0.0 * array_namespace(x).sqrt(1e-16 - x[0] ** 2)

    with np.errstate(invalid="ignore", divide="ignore"):
        found = minimize(f, np.asarray([0.0]), method="bfgs")
    assert not found.success
    assert "no way down" in found.message
    assert found.nature == "maximum"


def test_gauss_newton_needs_no_convexity() -> None:
    """Least squares of a curved model, from where the Hessian is indefinite."""
    t = np.linspace(0.0, 3.0, 25)
    data = 2.0 * np.exp(-1.3 * t)

    def model(p: Any) -> Any:
        xp = array_namespace(p["rate"])
        return p["scale"] * xp.exp(-p["rate"] * xp.asarray(t)) - xp.asarray(data)

    start = {"scale": np.asarray(0.5), "rate": np.asarray(-0.5)}
    found = minimize(least_squares, start, model=model, method="hessian-free", tolerance=1e-9)
    assert found.success
    assert float(found.x["scale"]) == pytest.approx(2.0, abs=1e-6)
    assert float(found.x["rate"]) == pytest.approx(1.3, abs=1e-6)
    assert found.grad.keys() == start.keys()


@every_method
@pytest.mark.parametrize("lower", ["off", "auto"])
def test_containers_compiled_and_not(method: str, options: dict[str, Any], lower: str) -> None:
    layout = Layout((("w", (2, 2)), ("b", (2,))))

    def f(tree: Any) -> Any:
        p, shift = tree
        xp = array_namespace(p["b"])
        return (
            xp.sum((p["w"] @ p["b"] - 1.0) ** 2)
            + xp.sum(p["w"] ** 2)
            + xp.sum(p["b"] ** 2)
            + (shift - xp.sum(p["b"])) ** 2
        )

    start = (Parameters(np.linspace(0.1, 0.8, 6), layout), np.asarray(0.0))
    found = minimize(f, start, method=method, compile=lower, tolerance=1e-6, max_iterations=20_000, **options)
    assert found.success, found.message
    assert type(found.x[0]) is type(found.grad[0]) is Parameters
    assert found.x[1].shape == ()
    assert found.fun < float(f(start))


def test_float32() -> None:
    for method in METHODS:
        start = np.asarray([0.5, 0.5], dtype=np.float32)
        found = minimize(rosenbrock, start, method=method, tolerance=1e-2, max_iterations=20_000)
        assert found.x.dtype == np.float32
        assert found.success, (method, found.message)


# --- What goes wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"method": "lbfg"}, "unknown method 'lbfg'; did you mean 'l-bfgs'?"),
        ({"method": "bfgs", "history": 3}, "BFGS has no option 'history'"),
        ({"method": optim.BFGS(), "c1": 0.1}, r"options \['c1'\] go with a name"),
        ({"method": 3}, "expected a name, a table or a Method object"),
        ({"method": "l-bfgs", "history": 0}, "history: expected a whole number of at least 1, found 0"),
        ({"method": "bfgs", "line_search": "exact"}, "line_search: expected one of wolfe, backtracking"),
        ({"method": "bfgs", "c1": 0.9, "c2": 0.1}, "expected c1 below c2"),
        ({"method": "cg", "formula": "dai-yuan"}, "formula: expected one of fletcher-reeves"),
        ({"method": "damped-newton", "damping": -1.0}, "damping: expected a finite number above 0"),
        ({"tolerance": 0.0}, "tolerance: expected a finite number above 0"),
        ({"max_iterations": 0}, "max_iterations: expected a whole number of at least 1"),
        ({"callback": 3}, "callback: expected a function"),
        ({"test": "yes"}, "test: expected True or False"),
        ({"f": None}, "f: expected a function of x, found None"),
        ({"model": 3}, "model: expected a function of x, found 3"),
        ({"compile": "fortran"}, "compile: expected one of"),
        ({"x0": np.asarray([1, 2])}, "x0: expected arrays of one real floating dtype, found int64"),
        ({"x0": np.asarray([1j])}, "x0: expected arrays of one real floating dtype, found complex128"),
        ({"x0": [np.zeros(2), np.zeros(2, dtype=np.float32)]}, "found float32, float64"),
        ({"x0": 1.5}, "x0: expected arrays, found 1.5"),
        ({"x0": []}, "x0: expected an array or a container of some"),
        ({"x0": np.asarray([np.nan, 1.0])}, "x0: expected a point where the objective is finite"),
        ({"f": lambda x: array_namespace(x).sqrt(x[0])}, "found a gradient that is not finite"),
    ],
    ids=lambda x: None if isinstance(x, str) else told(x)[:40],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_input(given: dict[str, Any], expected: str) -> None:
    given = {"f": rosenbrock, "x0": np.zeros(2), **given}
    with pytest.raises(ConfigError, match=expected):
        minimize(given.pop("f"), given.pop("x0"), **given)


def test_an_objective_of_another_shape() -> None:
    with pytest.raises(RecordError, match=r"0-d"):
        minimize(lambda x: x * 2.0, np.zeros(2))


@every_method
def test_where_the_objective_ends(method: str, options: dict[str, Any]) -> None:
    """Too long steps lead to where the logarithm is NaN: they are made shorter."""

    def f(x: Any) -> Any:
        xp = array_namespace(x)
        return xp.sum(x - xp.log(x))

    with np.errstate(invalid="ignore", divide="ignore"):
        found = minimize(f, np.asarray([30.0, 0.02]), method=method, tolerance=1e-7, **options)
    assert found.success, found.message
    np.testing.assert_allclose(found.x, 1.0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_no_minimum_at_all(method: str) -> None:
    """A plane goes down for ever: the lowest point so far is returned, and what happened is said."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = minimize(lambda x: x[0] - 2.0 * x[1], np.zeros(2), method=method, max_iterations=30)
    assert not found.success
    assert found.message
    assert found.fun < -10.0


@pytest.mark.parametrize("method", METHODS)
def test_singular_hessians(method: str) -> None:
    found = minimize(
        lambda x: (x[0] + x[1] - 1.0) ** 2, np.asarray([3.0, -1.5]), method=method, tolerance=1e-7
    )
    assert found.success, found.message
    assert found.nature == "flat"
    assert float(found.x[0] + found.x[1]) == pytest.approx(1.0)


def test_values_that_contradict_the_gradient() -> None:
    """No line search can succeed: the best point is kept."""
    from xpnet.autodiff import stop_gradient

    def f(x: Any) -> Any:
        return stop_gradient(x @ x) - x @ stop_gradient(x)

    for method in METHODS:
        found = minimize(f, np.asarray([1.0, 2.0]), method=method, max_iterations=50)
        assert not found.success or method in ("newton", "damped-newton"), method
        assert math.isfinite(found.fun)


def test_callbacks_and_limits() -> None:
    seen: list[optim.Result] = []
    found = minimize(rosenbrock, np.asarray([-1.2, 1.0]), callback=seen.append)
    assert [result.nit for result in seen] == list(range(1, found.nit + 1))
    assert seen[-1].fun == found.fun
    assert not seen[-1].success
    few = minimize(rosenbrock, np.asarray([-1.2, 1.0]), max_iterations=3)
    assert (few.success, few.nit) == (False, 3)
    assert "3 iterations were not enough" in few.message
    ended = minimize(rosenbrock, np.asarray([-1.2, 1.0]), callback=lambda result: result.fun < 1.0)
    assert "ended by the callback" in ended.message
    assert ended.fun < 1.0


def test_methods_are_written_down_and_read_again() -> None:
    for name, options in EVERY:
        method = optim.Method.from_config({"name": name, **options})
        assert optim.Method.from_config(method.to_config()) == method
        assert dataclasses.is_dataclass(method)


# --- Line searches ---------------------------------------------------------------------------------------

_B = 0.001


def _smooth_kink(b1: float, b2: float) -> Any:
    """The functions 4 to 6 of Moré and Thuente, after Yanai, Ozawa and Kaneko."""

    def gamma(b: float) -> float:
        return math.sqrt(1 + b * b) - b

    def f(x: Any) -> Any:
        xp = array_namespace(x)
        left, right = xp.sqrt((1 - x) ** 2 + b2**2), xp.sqrt(x**2 + b1**2)
        return gamma(b1) * left + gamma(b2) * right

    return f


MORE_THUENTE = {
    "1": (lambda x: -x / (x**2 + 2.0), 1e-3, 0.1),
    "2": (lambda x: (x + 0.004) ** 5 - 2 * (x + 0.004) ** 4, 0.1, 0.1),
    "4": (_smooth_kink(_B, _B), 1e-3, 1e-3),
    "5": (_smooth_kink(1e-2, _B), 1e-3, 1e-3),
    "6": (_smooth_kink(_B, 1e-2), 1e-3, 1e-3),
}


@pytest.mark.parametrize("first", [1e-3, 1e-1, 1e1, 1e3])
@pytest.mark.parametrize("name", MORE_THUENTE)
def test_strong_wolfe_conditions(name: str, first: float) -> None:
    f, c1, c2 = MORE_THUENTE[name]
    objective = Objective(lambda x: f(x[0]), np.zeros(1))
    value, gradient = objective(np.zeros(1))
    at = Found(0.0, np.zeros(1), value, gradient, float(gradient[0]))
    found = wolfe(objective, at, np.ones(1), first, c1, c2)
    assert found is not None
    assert found.value <= value + c1 * found.step * at.slope
    assert abs(found.slope) <= c2 * abs(at.slope) * (1 + 1e-12)
    assert objective.evaluations <= 20  # the paper's tables have up to 12
    back = backtracking(objective, at, np.ones(1), first, c1, c2)
    assert back is not None
    assert back.value <= value + c1 * back.step * at.slope or back.value <= value + 1e-10


@pytest.mark.parametrize("search", LINE_SEARCHES.values())
def test_no_step_is_better_than_a_false_one(search: Any) -> None:
    objective = Objective(lambda x: x[0] ** 2, np.zeros(1))
    at = Found(0.0, np.zeros(1), 0.0, np.asarray([-1.0]), -1.0)  # a slope that is not there
    assert search(objective, at, np.ones(1), 1.0) is None


# --- Curvature -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 40, 300])
def test_extreme_eigenvalues(n: int) -> None:
    draw = np.random.default_rng(n)
    matrix = draw.normal(size=(n, n))
    matrix = matrix + matrix.T
    values = np.linalg.eigvalsh(matrix)
    found = extreme_eigenvalues(lambda v: matrix @ v, np.zeros(n))
    scale = np.abs(values).max()
    assert found.lowest == pytest.approx(values[0], abs=1e-5 * scale)
    assert found.highest == pytest.approx(values[-1], abs=1e-5 * scale)
    assert found.vector @ matrix @ found.vector == pytest.approx(found.lowest, abs=1e-5 * scale)


@pytest.mark.parametrize("diagonal", [[0.0, 0.0], [2.0, 2.0, 2.0], [1.0, -1.0, 1.0, -1.0], [1e-9, 1e9]])
def test_extreme_eigenvalues_that_coincide(diagonal: list[float]) -> None:
    matrix = np.asarray(diagonal)
    found = extreme_eigenvalues(lambda v: matrix * v, np.zeros(len(diagonal)))
    assert found.lowest == pytest.approx(min(diagonal), abs=1e-6 * max(diagonal))
    assert found.highest == pytest.approx(max(diagonal))


@pytest.mark.parametrize(
    ("pair", "nature"),
    [((1.0, 2.0), "minimum"), ((-1.0, 2.0), "saddle"), ((-2.0, -1.0), "maximum"), ((0.0, 1.0), "flat"),
     ((-1e-9, 1.0), "flat"), ((0.0, 0.0), "flat"), ((-1.0, 0.0), "saddle"), ((1e-7, 1.0), "minimum")],
)  # fmt: skip
def test_natures(pair: tuple[float, float], nature: str) -> None:
    assert nature_of(*pair, 2.2e-16) == nature


# --- Derivatives of the minimum ----------------------------------------------------------------------

_X, _Y = np.asarray([[1.0, 0.5], [0.0, 2.0], [1.0, 1.0]]), np.asarray([1.0, 1.0, -2.0])
_PENALTY = np.asarray(0.7)


def _ridge(w: Any, theta: Any) -> Any:
    error = _X @ w - _Y * theta["scale"]
    return error @ error + theta["penalty"] * (w @ w)


def _found(penalty: Any, **settings: Any) -> Any:
    theta = {"penalty": penalty, "scale": 2.0}
    return minimize(_ridge, np.zeros(2), args=(theta,), tolerance=1e-11, **settings)


def _known(penalty: Any) -> Any:
    xp = array_namespace(penalty)
    return xp.linalg.inv(_X.T @ _X + penalty * np.eye(2)) @ (_X.T @ _Y * 2.0)


def test_a_minimum_is_differentiated_by_further_arguments() -> None:
    """In both modes, twice, mapped, compiled, by each part of the result."""
    np.testing.assert_allclose(_found(_PENALTY).x, _known(_PENALTY))
    assert type(_found(_PENALTY).fun) is float
    points = np.asarray([0.5, 0.7])
    for order in (
        lambda f: f,
        lambda f: jacobian(f),
        lambda f: jacobian(f, mode="forward"),
        lambda f: jacobian(jacobian(f)),
        lambda f: compile(jacobian(f)),
    ):
        f, g = order(lambda p: _found(p).x), order(_known)
        np.testing.assert_allclose(f(_PENALTY), g(_PENALTY), rtol=1e-8)
        np.testing.assert_allclose(vmap(f)(points), vmap(g)(points), rtol=1e-8)
    w = _known(_PENALTY)
    slope, bend = jacobian(lambda p: _found(p).fun)(_PENALTY), hessian(lambda p: _found(p).fun)(_PENALTY)
    np.testing.assert_allclose([slope, bend], [w @ w, 2 * w @ jacobian(_known)(_PENALTY)], rtol=1e-8)
    np.testing.assert_allclose(jacobian(lambda p: _found(p).grad)(_PENALTY), np.zeros(2), atol=1e-8)
    model = {"model": lambda w: 2 * w, "method": "newton"}
    np.testing.assert_allclose(
        jacobian(lambda p: _found(p, **model).x)(_PENALTY), jacobian(_known)(_PENALTY) / 2
    )
    ends = []
    vmap(lambda p: ends.append(_found(p)) or ends[-1].x)(points)
    assert ends[0].success
    assert ends[0].nfev == sum(_found(p).nfev for p in points)


def test_a_minimum_has_no_derivative_by_the_start_and_none_is_lost() -> None:
    by_start = jacobian(lambda x: minimize(_ridge, x, args=({"penalty": 1.0, "scale": 1.0},)).x)
    np.testing.assert_array_equal(by_start(np.ones(2)), np.zeros((2, 2)))
    for lower in ("auto", "off"):
        closed = lambda p, lower=lower: minimize(lambda x: (x - p) ** 2, _PENALTY, compile=lower).x  # noqa: E731
        with pytest.raises(RecordError, match=r"uses a traced array from elsewhere.* args= of minimize"):
            jacobian(closed)(_PENALTY)
    with pytest.raises(ConfigError, match=r"args: expected a tuple .* write \(a,\)"):
        minimize(_ridge, np.zeros(2), args=_PENALTY)
