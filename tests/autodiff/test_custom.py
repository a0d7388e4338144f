"""Functions with derivatives of the user's own, at every level and in both modes."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from tests.support import draw, host, relative_error, widest
from xpnet import autodiff
from xpnet.autodiff import Tracer, check_grads, custom_rule, grad, hessian, jacobian, jvp, vjp, vmap
from xpnet.autodiff.rules import RULES
from xpnet.backends import Backend, array_namespace, backend_of
from xpnet.errors import RecordError

X, Y = draw(1, (3,), 0.2, 1.5), draw(2, (3,), 0.2, 1.5)
Split = namedtuple("Split", ["whole", "order", "rest"])


def _sum(x: Any) -> Any:
    return array_namespace(x).sum(x)


def _is_plain(*arrays: Any) -> None:
    assert not any(type(x) is Tracer for x in arrays)


# Bessel functions by SciPy, which knows host arrays only: J0' = -J1, J1' = J0 - J1 / x.


@custom_rule(lambda xp, g, out, x: -g * bessel_1(x))
def bessel_0(x: Any) -> Any:
    return _by_scipy(scipy.special.j0, x)


@custom_rule(lambda xp, g, out, x: g * (bessel_0(x) - out / x))
def bessel_1(x: Any) -> Any:
    return _by_scipy(scipy.special.j1, x)


def _by_scipy(function: Any, x: Any) -> Any:
    _is_plain(x)
    backend = backend_of(x)
    return backend.asarray(np.asarray(function(backend.to_host(x))), dtype=x.dtype)


# The product x² y in each way of saying its derivatives.


def _product(x: Any, y: Any) -> Any:
    _is_plain(x, y)
    return x * x * y


def _push(xp: Any, tangents: list[Any], out: Any, x: Any, y: Any) -> Any:
    parts = [slope * t for slope, t in zip((2 * x * y, x * x), tangents, strict=True) if t is not None]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


PULLS = (lambda xp, g, out, x, y: 2 * g * x * y, lambda xp, g, out, x, y: g * x * x)
WAYS = {
    "pulls": custom_rule(*PULLS)(_product),
    "push": custom_rule(push=_push)(_product),
    "both": custom_rule(*PULLS, push=_push)(_product),
}


@pytest.mark.parametrize("way", WAYS)
def test_both_directions_follow_from_either_to_any_order(way: str, backend: Backend) -> None:
    f, dtype = WAYS[way], widest(backend)
    x, y = backend.asarray(X, dtype=dtype), backend.asarray(Y, dtype=dtype)
    assert type(f(x, y)) is type(x)
    value, pullback = vjp(f, x, y)
    pulled = pullback(x)
    limit = 1e-12 if dtype == "float64" else 1e-6
    for got, want in zip(pulled, (2 * X * X * Y, X**3), strict=True):
        assert relative_error(got, want) < limit
    assert relative_error(jvp(f, (x, y), (y, x))[1], 2 * X * Y * Y + X**3) < limit
    assert relative_error(jvp(lambda x: f(x, y), (x,), (y,))[1], 2 * X * Y * Y) < limit
    (xx, xy), (_, yy) = hessian(lambda x, y: _sum(f(x, y)), argnums=(0, 1))(x, y)
    assert relative_error(xx, np.diag(2 * Y)) < limit
    assert relative_error(xy, np.diag(2 * X)) < limit
    assert not np.any(host(yy))
    assert type(value) is type(x)


@pytest.mark.parametrize("way", WAYS)
def test_checked_by_differences_to_the_third_order(way: str) -> None:
    check_grads(WAYS[way], (X, Y), order=3)


def test_plain_code_of_scipy_at_every_level(backend: Backend) -> None:
    dtype = widest(backend)
    x = backend.asarray(X, dtype=dtype)
    limit = 1e-12 if dtype == "float64" else 1e-5
    once = grad(lambda x: _sum(bessel_0(x)))
    assert relative_error(once(x), -scipy.special.j1(X)) < limit
    assert relative_error(grad(lambda x: _sum(once(x)))(x), scipy.special.jvp(0, X, 2)) < limit
    third = grad(lambda x: _sum(grad(lambda x: _sum(once(x)))(x)))(x)
    assert relative_error(third, scipy.special.jvp(0, X, 3)) < 100 * limit
    pushed = jvp(lambda x: jvp(bessel_0, (x,), (x,))[1], (x,), (x,))[1]
    want = X * (scipy.special.jvp(0, X, 2) * X + scipy.special.jvp(0, X, 1))
    assert relative_error(pushed, want) < 10 * limit


def test_lifted_arrays_arrive_plain_and_results_are_lifted() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append(bessel_0(array_namespace(x).ones_like(x)))
        return _sum(x * seen[0])

    np.testing.assert_allclose(grad(f)(X), np.full(3, scipy.special.j0(1.0)))
    assert type(seen[0]) is Tracer


def test_an_iterative_solver_that_returns_a_python_number(backend: Backend) -> None:
    """A root of y + y³ = x by bisection, differentiated by the implicit function theorem."""

    @custom_rule(lambda xp, g, out, x: g / (1 + 3 * out**2))
    def root(x: Any) -> Any:
        return scipy.optimize.brentq(lambda y: y + y**3 - float(x), -10, 10, xtol=1e-14)

    dtype = widest(backend)
    x = backend.asarray(np.asarray(2.0), dtype=dtype)
    assert root(x).dtype == x.dtype
    assert float(grad(root)(x)) == pytest.approx(0.25, rel=1e-6)
    assert float(grad(grad(root))(x)) == pytest.approx(-6 / 64, rel=1e-5)
    assert float(jvp(root, (x,), (x,))[1]) == pytest.approx(0.5, rel=1e-6)


def test_options_and_arguments_by_name() -> None:
    def pull(xp: Any, g: Any, out: Any, x: Any, y: Any, *, power: int = 1) -> Any:
        return g * power * x ** (power - 1) * y

    @custom_rule(pull, None)
    def f(x: Any, y: Any, *, power: int = 1) -> Any:
        """Return x to a power times y."""
        return x**power * y

    assert f.__name__ == "f"
    assert f.__doc__ == "Return x to a power times y."
    np.testing.assert_allclose(grad(lambda x: _sum(f(x, y=Y, power=3)))(X), 3 * X**2 * Y)
    np.testing.assert_allclose(grad(lambda x: _sum(f(y=Y, x=x)))(X), Y)
    with pytest.raises(RecordError, match=r"f: expected no traced array as argument 2.*stop_gradient"):
        grad(lambda y: _sum(f(X, y)))(Y)


def test_cotangents_over_broadcast_axes_are_summed_and_take_the_arguments_dtype() -> None:
    @custom_rule(lambda xp, g, out, x, y: g * y, lambda xp, g, out, x, y: g * x)
    def times(x: Any, y: Any) -> Any:
        return x * y

    narrow, wide = np.ones((2, 1), dtype=np.float32), draw(1, (3,))
    gx, gy = grad(lambda x, y: _sum(times(x, y)), argnums=(0, 1))(narrow, wide)
    assert gx.dtype == np.float32
    np.testing.assert_allclose(gx, np.full((2, 1), wide.sum()), rtol=1e-6)
    np.testing.assert_allclose(gy, np.full(3, 2.0))


MANY = {
    "pulls": {"pulls": (lambda xp, g, out, x: _pull_split(xp, g, x),)},
    "push": {"push": lambda xp, t, out, x: Split(t[0] * 2 * x, None, -t[0])},
}


def _pull_split(xp: Any, g: Any, x: Any) -> Any:
    assert g[1] is None  # the order has no cotangent
    parts = [] if g[0] is None else [g[0] * 2 * x]
    parts += [] if g[2] is None else [-g[2]]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


@pytest.mark.parametrize("way", MANY)
def test_several_results_some_of_them_whole_numbers_or_unused(way: str, backend: Backend) -> None:
    dtype = widest(backend)
    x = backend.asarray(X, dtype=dtype)
    said = dict(MANY[way])

    @custom_rule(*said.pop("pulls", ()), **said, many=True)
    def split(x: Any) -> Any:
        _is_plain(x)
        order = np.argsort(host(x)).astype(np.int32)
        return Split(x * x, backend.asarray(order), 1 - x)

    def f(x: Any) -> Any:
        xp = array_namespace(x)
        whole, order, rest = parts = split(x)
        assert type(parts) is Split
        return xp.take(whole, order)[0] + xp.sum(xp.exp(rest))

    limit = 1e-12 if dtype == "float64" else 1e-5
    least = np.arange(3) == np.argmin(X)
    assert relative_error(grad(f)(x), 2 * X * least - np.exp(1 - X)) < limit
    assert relative_error(jvp(f, (x,), (x,))[1], np.sum((2 * X * least - np.exp(1 - X)) * X)) < limit
    assert relative_error(grad(lambda x: _sum(split(x).whole))(x), 2 * X) < limit
    assert relative_error(hessian(f)(x), np.diag(2.0 * least + np.exp(1 - X))) < 10 * limit
    assert relative_error(jacobian(lambda x: split(x).rest, mode="forward")(x), -np.eye(3)) < limit
    if dtype == "float64":
        check_grads(f, (x,))


def test_methods_and_functions_of_any_number_of_arguments() -> None:
    class Scaled:
        factor = 3.0

        @custom_rule(None, lambda xp, g, out, self, x: g * self.factor)
        def apply(self, x: Any) -> Any:
            return self.factor * x

    np.testing.assert_array_equal(grad(lambda x: _sum(Scaled().apply(x)))(X), np.full(3, 3.0))

    @custom_rule(push=lambda xp, tangents, out, *arrays: sum(t for t in tangents if t is not None))
    def total(*arrays: Any) -> Any:
        return sum(arrays)

    np.testing.assert_array_equal(grad(lambda x: _sum(total(x, Y, x * x)))(X), 1 + 2 * X)


def test_compiled_functions_can_be_wrapped_and_nothing_enters_the_table() -> None:
    before = dict(RULES)
    erf = custom_rule(lambda xp, g, out, x: g * 2 / np.sqrt(np.pi) * xp.exp(-x * x))(scipy.special.erf)
    check_grads(erf, (X,))
    assert before == RULES


# --- Containers and closures -------------------------------------------------------------------------


@custom_rule(
    lambda xp, g, out, tree, y: {"a": g * tree["b"][0] * y, "b": (g * tree["a"] * y, None), "n": None},
    lambda xp, g, out, tree, y: g * tree["a"] * tree["b"][0],
)
def _of_tree(tree: Any, y: Any) -> Any:
    return tree["a"] * tree["b"][0] * y + tree["b"][1]


def _push_of_tree(xp: Any, tangents: Any, out: Any, tree: Any, y: Any) -> Any:
    (da, (db, _)), dy = (tangents[0][name] for name in "ab"), tangents[1]
    parts = [(da, tree["b"][0] * y), (db, tree["a"] * y), (dy, tree["a"] * tree["b"][0])]
    return sum(t * by for t, by in parts if t is not None)


_OF_TREE = {
    "pulls": _of_tree,
    "push": custom_rule(push=_push_of_tree)(_of_tree.__wrapped__),
}


@pytest.mark.parametrize("by", _OF_TREE)
def test_arguments_may_be_containers(by: str) -> None:
    """Also with constants in them, that are no arrays, too; twice differentiated, and mapped."""
    rule, plain = _OF_TREE[by], _of_tree.__wrapped__
    x = draw(1, (3,))

    def through(f: Any) -> Any:
        def run(x: Any) -> Any:
            tree = {"a": x, "b": (2 * x * x, 1.0), "n": np.asarray(3)}
            return f(tree, x) + f({"a": X, "b": (x, 2.0), "n": 4}, X)

        return run

    mine, theirs = through(rule), through(plain)
    np.testing.assert_allclose(mine(x), theirs(x))
    for order in (
        lambda f: jacobian(f),
        lambda f: jacobian(f, mode="forward"),
        lambda f: hessian(lambda x: _sum(f(x))),
        lambda f: vmap(grad(lambda x: _sum(f(x)))),
    ):
        point = np.stack([x, 2 * x]) if order(mine).__name__.startswith("vmap") else x
        np.testing.assert_allclose(order(mine)(point), order(theirs)(point))


@pytest.mark.parametrize("is_array_code", [True, False])
def test_closures_over_traced_arrays(is_array_code: bool) -> None:
    """The function is differentiated as code by them; in the rule they are constants."""

    def mine(y: Any) -> Any:
        @custom_rule(lambda xp, g, out, x: 3 * g * y)  # three times what it is, to tell it apart
        def product(x: Any) -> Any:
            return x * y if is_array_code else np.multiply(x, y)

        return product(array_namespace(y).exp(y))

    def wanted(y: Any) -> Any:
        xp = array_namespace(y)
        x = xp.exp(y)
        fixed = autodiff.stop_gradient(x)
        return fixed * y + 3 * autodiff.stop_gradient(y) * (x - fixed)

    x = draw(1, (3,))
    np.testing.assert_allclose(mine(x), wanted(x))
    for mode in ("reverse", "forward"):
        np.testing.assert_allclose(jacobian(mine, mode=mode)(x), jacobian(wanted, mode=mode)(x))
    np.testing.assert_allclose(jvp(mine, (x,), (X,))[1], jvp(wanted, (x,), (X,))[1])
    np.testing.assert_allclose(autodiff.linearize(mine, x)[1](X), jvp(wanted, (x,), (X,))[1])


def _rule(**parts: Any) -> Any:
    pulls = parts.pop("pulls", (lambda xp, g, out, *args: g,))
    body = parts.pop("body", lambda x: x * 1.0)
    body.__name__ = "mine"
    return custom_rule(*pulls, **parts)(body)


REFUSALS: dict[str, tuple[Any, str]] = {
    "neither": (lambda: _rule(pulls=()), "custom_rule of mine: expected a pull .* or a push, found neither"),
    "only None": (lambda: _rule(pulls=(None,)), "found neither"),
    "too many pulls": (lambda: _rule(pulls=(None, len)), "expected at most 1 pulls.* found 2"),
    "without brackets": (lambda: custom_rule(lambda x: x)(X), "a function to decorate, found ndarray"),
    "a tuple": (lambda: _rule(body=lambda x: (x, x))(X), r"mine: expected one array .*many=True"),
    "no tuple": (lambda: _rule(many=True)(X), r"mine: expected a tuple of arrays.*many=False"),
    "text": (lambda: _rule(body=lambda x: "a")(X), "mine: expected an array as result, found str"),
    "pull of a list": (
        lambda: grad(lambda x: _sum(_rule(body=lambda x: x[0])([x])))(X),
        "pull 1 of mine: expected a list of 1, found ndarray",
    ),
    "mapped closure": (
        lambda: vmap(lambda y: _rule(body=lambda x: x * y)(2 * y))(X),
        "mine: expected a function of its arguments, found that it uses a traced array from elsewhere",
    ),
    "shape of a pull": (
        lambda: grad(lambda x: _sum(_rule(pulls=(lambda xp, g, out, x: xp.sum(g),))(x)))(X),
        r"pull 1 of mine: expected an array of shape \(3,\), found shape \(\)",
    ),
    "kind of a pull": (
        lambda: grad(lambda x: _sum(_rule(pulls=(lambda xp, g, out, x: "a",))(x)))(X),
        r"pull 1 of mine: expected an array of shape \(3,\), found str",
    ),
    "shape of a push": (
        lambda: jvp(_rule(push=lambda xp, t, out, x: xp.sum(t[0])), (X,), (X,)),
        r"push of mine: expected an array of shape \(3,\), found shape \(\)",
    ),
    "tangents of a push": (
        lambda: jvp(_rule(body=lambda x: (x, x), push=lambda xp, t, out, x: t, many=True), (X,), (X,)),
        "push of mine: expected a tuple of 2 tangents",
    ),
    "traced option": (
        lambda: grad(lambda x: _sum(_rule(body=lambda x, *, by: x * by)(X, by=x)))(X),
        "mine: expected no traced array as by=",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_mistakes_are_named(name: str) -> None:
    run, message = REFUSALS[name]
    with pytest.raises(RecordError, match=message):
        run()


def test_a_result_of_another_library_is_refused() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    f = _rule(body=lambda x: x.numpy())
    with pytest.raises(
        RecordError, match="result of mine: expected arrays of one library, found torch and numpy"
    ):
        grad(lambda x: _sum(f(x)))(torch.ones(3))
