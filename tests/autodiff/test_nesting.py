"""Transforms of transforms, in every order, to three levels: containers, closures, complex arrays."""

from __future__ import annotations

import itertools
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, relative_error, widest
from xpnet.autodiff import Tracer, ggn_vp, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from xpnet.backends import Backend, array_namespace
from xpnet.containers import leaves
from xpnet.parameters import Layout, Parameters

Pair = namedtuple("Pair", ["left", "right"])
POINT, ALONG = draw(1, (3,)), draw(2, (3,))


def _sum(x: Any) -> Any:
    return array_namespace(x).sum(x)


def _f(x: Any) -> Any:
    """A function with third derivatives that mix all entries."""
    xp = array_namespace(x)
    return xp.sum(xp.exp(xp.sin(x)) * x[0]) * xp.mean(x * x[1]) / (1.5 + xp.cos(x[2]))


def _slope(way: str, f: Any, v: Any) -> Any:
    """Return the function x ↦ Σ v ∂f/∂x, made in one of the ways."""

    def inner(x: Any, derivative: Any) -> Any:
        return array_namespace(x).sum(array_namespace(x).multiply(x * 0 + derivative, v))

    return {
        "forward": lambda x: jvp(f, (x,), (v,))[1],
        "reverse": lambda x: inner(x, grad(f)(x)),
        "pullback": lambda x: inner(x, vjp(f, x)[1](array_namespace(x).ones_like(f(x)))[0]),
        "jacobian": lambda x: inner(x, jacobian(f)(x)),
        "columns": lambda x: inner(x, jacobian(f, mode="forward")(x)),
    }[way]


def _third(h: float = 1e-3) -> float:
    """The third directional derivative by differences of sixth order."""
    values = [float(_f(POINT + k * h * ALONG)) for k in (-4, -3, -2, -1, 1, 2, 3, 4)]
    weights = [-7, 72, -338, 488, -488, 338, -72, 7]
    return sum(w * y for w, y in zip(weights, values, strict=True)) / (240 * h**3)


@pytest.mark.parametrize("ways", list(itertools.product(["forward", "reverse"], repeat=3)), ids="-".join)
def test_three_levels_in_every_order(ways: tuple[str, ...], backend: Backend) -> None:
    dtype = widest(backend)
    x, v = (backend.asarray(a, dtype=dtype) for a in (POINT, ALONG))
    f: Any = _f
    for way in ways:
        f = _slope(way, f, v)
    assert float(f(x)) == pytest.approx(_third(), rel=1e-5 if dtype == "float64" else 1e-3)


@pytest.mark.parametrize(
    "ways",
    list(itertools.product(["forward", "reverse", "pullback", "jacobian", "columns"], repeat=2)),
    ids="-".join,
)
def test_every_transform_of_every_transform(ways: tuple[str, ...]) -> None:
    f: Any = _f
    for way in ways:
        f = _slope(way, f, ALONG)
    want = ALONG @ hessian(_f)(POINT) @ ALONG
    assert float(f(POINT)) == pytest.approx(want, rel=1e-12)
    assert type(f(POINT)) is not Tracer


# --- Closures over arrays of outer transforms --------------------------------------------------------

D = {"forward": lambda f: lambda x: jvp(f, (x,), (x * 0 + 1,))[1], "reverse": grad}


@pytest.mark.parametrize("ways", list(itertools.product(D, repeat=3)), ids="-".join)
def test_perturbations_of_three_levels_are_not_confused(ways: tuple[str, ...]) -> None:
    """d/dx x² d/dy (y x + d/dz (z² y x)) at y = z = 2: the inner derivative is x (1 + 4), the whole 15 x²."""
    outer, middle, inner = (D[way] for way in ways)

    def of_x(x: Any) -> Any:
        def of_y(y: Any) -> Any:
            return y * x + inner(lambda z: z * z * y * x)(np.asarray(2.0))

        return x * x * middle(of_y)(np.asarray(2.0))

    assert float(outer(of_x)(np.asarray(3.0))) == 15 * 9.0


def test_the_same_array_at_two_levels() -> None:
    x = np.asarray(3.0)
    assert float(grad(lambda x: grad(lambda y: x * y * y)(x))(x)) == 4 * 3.0  # d/dx 2 x²
    assert float(grad(lambda x: x * grad(lambda y: x)(x))(x)) == 0.0
    assert float(grad(lambda x: grad(grad(lambda y: x**2 * y**3))(x))(x)) == 18 * 9.0  # d/dx 6 x³


def test_a_jacobian_inside_a_gradient_and_a_pullback_inside_a_push() -> None:
    a, x = draw(3, (3, 3)), POINT
    f = lambda x: array_namespace(x).tanh(array_namespace(x).matmul(a, x)) * x[0]  # noqa: E731
    h = 1e-6

    def size(x: Any, mode: str) -> Any:
        return _sum(jacobian(f, mode=mode)(x) ** 2)

    for mode in ("reverse", "forward"):
        along = (size(x + h * ALONG, mode) - size(x - h * ALONG, mode)) / (2 * h)
        assert grad(lambda x, m=mode: size(x, m))(x) @ ALONG == pytest.approx(along, rel=1e-6)
        assert jvp(lambda x, m=mode: size(x, m), (x,), (ALONG,))[1] == pytest.approx(along, rel=1e-6)
    j = jacobian(f)(x)
    _, pullback = vjp(f, x)
    np.testing.assert_allclose(jvp(lambda c: pullback(c)[0], (x,), (ALONG,))[1], j.T @ ALONG)
    np.testing.assert_allclose(grad(lambda c: _sum(pullback(c)[0]))(x), j.sum(axis=1))
    np.testing.assert_allclose(jacobian(lambda c: pullback(c)[0])(x), j.T)


def test_a_pullback_recorded_under_an_outer_transform_is_called_inside_a_third() -> None:
    def outer(x: Any) -> Any:
        y, pullback = vjp(lambda y: y**3 * x, x)  # at y = x the pullback is c ↦ 3 x³ c
        return _sum(grad(lambda c: _sum(pullback(c * c)[0]))(array_namespace(x).ones_like(x)) + y)

    np.testing.assert_allclose(grad(outer)(POINT), 18 * POINT**2 + 4 * POINT**3)


def test_products_with_the_hessian_inside_other_transforms() -> None:
    x, v = POINT, ALONG
    third = grad(lambda x: array_namespace(x).sum(hvp(_f, x, v) * v))(x) @ v
    assert third == pytest.approx(_third(), rel=1e-5)
    np.testing.assert_allclose(jacobian(lambda v: hvp(_f, x, v))(v), hessian(_f)(x))
    product = lambda w, v: ggn_vp(lambda w: array_namespace(w).sin(w), lambda y: _sum(y**4), w, v)  # noqa: E731
    want = 12 * np.sin(x) ** 2 * np.cos(x) ** 2
    np.testing.assert_allclose(jacobian(lambda v: product(x, v))(v), np.diag(want))
    slope = 24 * np.sin(x) * np.cos(x) ** 3 - 24 * np.sin(x) ** 3 * np.cos(x)
    np.testing.assert_allclose(grad(lambda w: _sum(product(w, v)))(x), slope * v)


def test_third_derivatives_as_an_array() -> None:
    cube = jacobian(hessian(_f))(POINT)
    assert cube.shape == (3, 3, 3)
    assert np.einsum("ijk,i,j,k", cube, ALONG, ALONG, ALONG) == pytest.approx(_third(), rel=1e-5)
    np.testing.assert_allclose(cube, np.moveaxis(cube, 0, 2), atol=1e-12)
    np.testing.assert_allclose(hessian(lambda x: grad(_f)(x)[1])(POINT), cube[1], atol=1e-12)


# --- Containers --------------------------------------------------------------------------------------


def test_nested_transforms_of_nested_containers(backend: Backend) -> None:
    dtype = widest(backend)
    layout = Layout((("w", (2, 2)), ("b", (2,))))
    x, y, z, flat = (
        backend.asarray(draw(seed, s), dtype=dtype) for seed, s in ((1, (2,)), (2, ()), (3, (2,)), (4, (6,)))
    )
    tree = {"p": Parameters(flat, layout), "q": [x, (y, None)], "r": Pair(z, {"n": 3, "s": "text"})}

    def f(tree: Any) -> Any:
        p, (x, (y, nothing)), (z, rest) = tree["p"], tree["q"], tree["r"]
        assert nothing is None
        assert rest["s"] == "text"
        xp = array_namespace(x)
        return xp.sum(xp.tanh(xp.matmul(p["w"], x) + p["b"]) * z ** rest["n"]) * y

    v = {"p": tree["p"], "q": [z, (y, None)], "r": Pair(x, {"n": None, "s": None})}
    forward_over_reverse = hvp(f, tree, v)
    assert isinstance(forward_over_reverse["p"], Parameters)
    assert isinstance(forward_over_reverse["r"], Pair)
    assert forward_over_reverse["r"].right == {"n": None, "s": None}

    def slope(tree: Any) -> Any:
        value, gradient = value_and_grad(f)(tree)
        pairs = zip(leaves(gradient), [tree["p"].flat * 0 + flat, z, y, x], strict=True)
        return sum((array_namespace(g).sum(array_namespace(g).multiply(g, a)) for g, a in pairs), value * 0)

    for other in (grad(slope)(tree), grad(lambda t: jvp(f, (t,), (v,))[1])(tree)):
        for got, want in zip(leaves(other), leaves(forward_over_reverse), strict=True):
            assert relative_error(got, want) < (1e-10 if dtype == "float64" else 1e-3)


def test_inner_transforms_over_containers_of_outer_arrays() -> None:
    def outer(x: Any) -> Any:
        gradient = grad(lambda t: _sum(t["a"] ** 2 * t["b"][0]))({"a": x, "b": [x * x]})
        return _sum(gradient["a"]) + _sum(gradient["b"][0])  # Σ 2x³ + x²

    np.testing.assert_allclose(grad(outer)(POINT), 6 * POINT**2 + 2 * POINT)
    np.testing.assert_allclose(jvp(outer, (POINT,), (ALONG,))[1], (6 * POINT**2 + 2 * POINT) @ ALONG)


# --- Assignment --------------------------------------------------------------------------------------


def test_assignment_inside_inner_and_outer_functions() -> None:
    def powers(x: Any) -> Any:
        out = array_namespace(x).zeros((3, 3))
        for i in range(3):
            out[i, :] = x ** (i + 1)
        out[0, 0] += x[0]
        return out

    want = np.stack([(i + 1) * np.diag(POINT**i) for i in range(3)])
    want[0, 0, 0] += 1
    for mode in ("reverse", "forward"):
        np.testing.assert_allclose(jacobian(powers, mode=mode)(POINT), want)
    np.testing.assert_allclose(hessian(lambda x: _sum(powers(x)))(POINT), np.diag(2 + 6 * POINT))

    def overwritten(x: Any) -> Any:
        x[0] = x[1] * x[2]
        return _sum(x * x)

    x = POINT.copy()
    np.testing.assert_allclose(
        grad(overwritten)(x), [0, *(2 * x[1:] + 2 * x[1] * x[2] * np.asarray([x[2], x[1]]))]
    )
    np.testing.assert_array_equal(x, POINT)


# --- Complex arrays ----------------------------------------------------------------------------------

Z = draw(5, (3,)) + 1j * draw(6, (3,))
W = draw(7, (3,)) + 1j * draw(8, (3,))


def _energy(z: Any) -> Any:
    """A real function of complex arrays that is not holomorphic inside."""
    xp = array_namespace(z)
    return xp.sum(xp.real(xp.exp(z) * xp.conj(z) * z[0])) + xp.sum(xp.abs(z[1:]) * xp.imag(z[:2]))


def test_the_gradient_of_a_complex_array_says_how_the_value_changes() -> None:
    """dL = Re Σ g dz; in the direction W and in i W."""
    gradient, h = grad(_energy)(Z), 1e-6
    for direction in (W, 1j * W):
        change = (_energy(Z + h * direction) - _energy(Z - h * direction)) / (2 * h)
        assert np.sum(gradient * direction).real == pytest.approx(change, rel=1e-7)
        assert jvp(_energy, (Z,), (direction,))[1] == pytest.approx(change, rel=1e-7)


def test_second_derivatives_of_complex_arrays_in_every_nesting() -> None:
    along = lambda z: array_namespace(z).sum(array_namespace(z).real(grad(_energy)(z) * W))  # noqa: E731
    want = hvp(_energy, Z, W)
    np.testing.assert_allclose(grad(along)(Z), want)
    np.testing.assert_allclose(grad(lambda z: jvp(_energy, (z,), (W,))[1])(Z), want)
    h = 1e-6
    change = (grad(_energy)(Z + h * W) - grad(_energy)(Z - h * W)) / (2 * h)
    np.testing.assert_allclose(want, change, rtol=1e-6)
    twice = jvp(lambda z: jvp(_energy, (z,), (W,))[1], (Z,), (1j * W,))[1]
    assert twice == pytest.approx(np.sum(want * 1j * W).real)


def test_complex_derivatives_agree_with_jax() -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    z, w = jax.numpy.asarray(Z), jax.numpy.asarray(W)
    np.testing.assert_allclose(grad(_energy)(Z), jax.grad(_energy)(z), rtol=1e-12)
    mine, theirs = vjp(lambda z: z * array_namespace(z).conj(z[0]), Z), jax.vjp(lambda z: z * z[0].conj(), z)
    np.testing.assert_allclose(mine[1](W)[0], theirs[1](w)[0], rtol=1e-12)
    product = jax.jvp(jax.grad(_energy), (z,), (w,))[1]
    np.testing.assert_allclose(hvp(_energy, Z, W), product, rtol=1e-12)


# --- JAX as the reference ----------------------------------------------------------------------------


def test_nestings_agree_with_jax() -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    x, v = jax.numpy.asarray(POINT), jax.numpy.asarray(ALONG)
    pairs = {
        "gradient": (grad(_f)(POINT), jax.grad(_f)(x)),
        "hessian": (hessian(_f)(POINT), jax.hessian(_f)(x)),
        "reverse over reverse": (jacobian(grad(_f))(POINT), jax.jacrev(jax.grad(_f))(x)),
        "reverse over forward": (
            grad(lambda x: jvp(_f, (x,), (ALONG,))[1])(POINT),
            jax.grad(lambda x: jax.jvp(_f, (x,), (v,))[1])(x),
        ),
        "forward over forward": (
            jvp(lambda x: jvp(_f, (x,), (ALONG,))[1], (POINT,), (ALONG,))[1],
            jax.jvp(lambda x: jax.jvp(_f, (x,), (v,))[1], (x,), (v,))[1],
        ),
        "third": (jacobian(hessian(_f))(POINT), jax.jacfwd(jax.hessian(_f))(x)),
    }
    for name, (got, want) in pairs.items():
        np.testing.assert_allclose(host(got), np.asarray(want), rtol=1e-10, atol=1e-12, err_msg=name)
