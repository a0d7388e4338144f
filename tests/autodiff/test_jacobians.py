"""Jacobians, Hessians and their products: known matrices, JAX, each other, and the promised price."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, relative_error, tolerance, widest
from xpnet.autodiff import Tracer, custom_rule, ggn_vp, grad, hessian, hvp, jacobian, jvp, vjp, vmap
from xpnet.autodiff.rules import Rule
from xpnet.autodiff.transforms import Recording
from xpnet.backends import Backend, array_namespace
from xpnet.errors import RecordError
from xpnet.parameters import Layout, Parameters

MODES = ["reverse", "forward"]
Point = namedtuple("Point", ["left", "right"])


def _sum(x: Any) -> Any:
    return array_namespace(x).sum(x)


def _mixed(x: Any) -> Any:
    """A function of a matrix whose result is a matrix, no entry of which depends on all others."""
    xp = array_namespace(x)
    return xp.sin(x @ xp.matrix_transpose(x)) * x[0, 0] + xp.exp(x[:, :2])


# --- jacobian ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_shape_is_that_of_the_result_and_then_of_the_argument(mode: str, backend: Backend) -> None:
    dtype = widest(backend)
    point = draw(1, (2, 3))
    x = backend.asarray(point, dtype=dtype)
    found = jacobian(_mixed, mode=mode)(x)
    assert tuple(found.shape) == (2, 2, 2, 3)
    assert found.dtype == x.dtype
    assert array_namespace(found) is backend.xp
    h = 1e-6
    for i in range(2):
        for j in range(3):
            step = np.zeros((2, 3))
            step[i, j] = h
            column = (_mixed(point + step) - _mixed(point - step)) / (2 * h)
            limit = 1e-7 if dtype == "float64" else 1e-4
            np.testing.assert_allclose(host(found)[:, :, i, j], column, atol=limit)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (0,), (2, 0)])
def test_0_d_and_empty_arrays(shape: tuple[int, ...], mode: str, backend: Backend) -> None:
    x = backend.asarray(draw(1, shape), dtype=widest(backend))
    assert tuple(jacobian(lambda x: x * x, mode=mode)(x).shape) == shape * 2
    assert tuple(jacobian(_sum, mode=mode)(x).shape) == shape
    assert tuple(hessian(lambda x: _sum(x * x))(x).shape) == shape * 2


@pytest.mark.parametrize("mode", MODES)
def test_containers_nest_the_results_outside_and_the_arguments_inside(mode: str) -> None:
    x, y = draw(1, (2,)), draw(2, ())

    def f(tree: Any) -> Any:
        return {"p": tree["a"] * tree["b"].left, "q": [_sum(tree["a"]), (tree["b"].right[0] * 2, None)]}

    found = jacobian(f, mode=mode)({"a": x, "b": Point(y, [y]), "n": np.asarray([1, 2])})
    assert list(found) == ["p", "q"]
    np.testing.assert_allclose(found["p"]["a"], np.eye(2) * y)
    np.testing.assert_allclose(found["p"]["b"].left, x)
    np.testing.assert_array_equal(found["p"]["b"].right[0], np.zeros(2))
    assert found["p"]["n"] is None
    np.testing.assert_array_equal(found["q"][0]["a"], np.ones(2))
    np.testing.assert_array_equal(found["q"][1][0]["b"].right[0], 2.0)
    assert found["q"][1][1] is None
    assert isinstance(found["q"][1], tuple)


@pytest.mark.parametrize("mode", MODES)
def test_several_arguments_give_a_tuple(mode: str) -> None:
    x, y = draw(1, (2,)), draw(2, (3,))
    f = lambda x, scale, y: array_namespace(x, y).linalg.outer(x, y) * scale  # noqa: E731
    jx, jy = jacobian(f, argnums=(0, -1), mode=mode)(x, 2.0, y)
    np.testing.assert_allclose(jx, 2 * np.einsum("ij,k->ikj", np.eye(2), y))
    np.testing.assert_allclose(jy, 2 * np.einsum("i,jk->ijk", x, np.eye(3)))
    assert jacobian(f, argnums=1, mode=mode)(x, 2.0, y).shape == (2, 3)


@pytest.mark.parametrize("mode", MODES)
def test_whole_numbers_among_results_and_results_that_are_constant(mode: str) -> None:
    x = draw(1, (3,))
    found = jacobian(
        lambda x: {"order": array_namespace(x).argsort(x), "two": 2.0, "y": 2 * x, "same": np.ones(2)},
        mode=mode,
    )(x)
    assert found["order"] is None
    np.testing.assert_array_equal(found["two"], np.zeros(3))
    np.testing.assert_array_equal(found["y"], 2 * np.eye(3))
    np.testing.assert_array_equal(found["same"], np.zeros((2, 3)))


@pytest.mark.parametrize("mode", MODES)
def test_parameters_count_as_their_flat_vector(mode: str) -> None:
    params = Parameters(draw(1, (5,)), Layout((("weight", (2, 2)), ("bias", (1,)))))
    f = lambda p: p["weight"] @ np.ones(2) + p["bias"]  # noqa: E731
    np.testing.assert_array_equal(jacobian(f, mode=mode)(params), [[1, 1, 0, 0, 1], [0, 0, 1, 1, 1]])
    square = hessian(lambda p: _sum(p["weight"] ** 2) + _sum(p["bias"]))(params)
    np.testing.assert_array_equal(square, np.diag([2.0, 2, 2, 2, 0]))


def test_modes_agree_with_jax() -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    tree = {"a": draw(1, (2, 3)), "b": [draw(2, (3,))]}

    def f(t: Any) -> Any:
        xp = array_namespace(t["a"], t["b"][0])
        return [xp.tanh(t["a"] @ t["b"][0]), {"c": xp.exp(t["a"]) * xp.sum(t["b"][0] ** 2)}]

    def g(t: Any) -> Any:
        y, z = f(t)
        return array_namespace(y).sum(y) * array_namespace(y).sum(z["c"])

    there = jax.tree.map(jax.numpy.asarray, tree)
    for mode, theirs in (("reverse", jax.jacrev), ("forward", jax.jacfwd)):
        for got, want in zip(
            jax.tree.leaves(jacobian(f, mode=mode)(tree)), jax.tree.leaves(theirs(f)(there)), strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    found, wanted = hessian(g)(tree), jax.hessian(g)(there)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for got, want in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


class _Cost:
    """Counts the pulls of all rules while it is entered."""

    def __enter__(self) -> _Cost:
        self.pulls, self._original = 0, Rule.pull

        def counted(rule: Rule, position: int) -> Any:
            self.pulls += 1
            return self._original(rule, position)

        Rule.pull = counted  # type: ignore[method-assign]
        return self

    def __exit__(self, *error: Any) -> None:
        Rule.pull = self._original  # type: ignore[method-assign]


@pytest.mark.parametrize(("layers", "width"), [(2, 2), (8, 2), (8, 4), (16, 4)])
def test_k_results_cost_k_walks_over_the_edges_not_over_the_paths(layers: int, width: int) -> None:
    """In a layered graph every node of a layer feeds every node of the next: width ** layers paths."""

    def layered(x: Any) -> Any:
        nodes = [x[i] for i in range(width)]
        for _ in range(layers):
            total = nodes[0]
            for node in nodes[1:]:
                total = total + node
            nodes = [array_namespace(x).sin(total) for _ in range(width)]
        return array_namespace(x).stack(nodes)

    with _Cost() as cost:
        found = jacobian(layered)(draw(1, (width,)))
    edges = width + layers * (2 * (width - 1) + width) + width
    assert found.shape == (width, width)
    assert cost.pulls <= width * edges


@pytest.mark.parametrize("mode", MODES)
def test_the_function_runs_once_for_all_rows_or_columns(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where many of them at once would take too much memory."""
    calls: list[int] = []
    passes: list[int] = []

    def f(x: Any) -> Any:
        calls.append(1)
        wide = array_namespace(x).stack([x] * 10)
        return _sum(wide * wide[0, :]) * x

    x = draw(1, (4,))
    at_once = jacobian(f, mode=mode)(x)
    assert len(calls) == 1
    monkeypatch.setattr("xpnet.autodiff.directions._ENTRIES", 80)
    monkeypatch.setattr("xpnet.autodiff.jacobians.FIRST_COLUMNS", 1)
    one_pass = {"reverse": "pull", "forward": "push"}[mode]
    run = getattr(Recording, one_pass)
    monkeypatch.setattr(Recording, one_pass, lambda self, given: passes.append(1) or run(self, given))
    np.testing.assert_allclose(jacobian(f, mode=mode)(x), at_once)
    assert len(calls) == 2
    assert len(passes) == {"reverse": 2, "forward": 3}[mode]  # of 2 and 2 rows; of 1, 2 and 1 columns


@pytest.mark.parametrize("mode", MODES)
def test_rules_that_are_no_array_code_run_row_by_row(mode: str) -> None:
    calls: list[type] = []

    @custom_rule(
        lambda xp, g, out, x: calls.append(type(g)) or np.multiply(g, np.cos(x)),
        push=lambda xp, t, out, x: calls.append(type(t[0])) or np.multiply(t[0], np.cos(x)),
    )
    def wave(x: Any) -> Any:
        return np.sin(x)

    x = draw(1, (3,))
    np.testing.assert_allclose(jacobian(wave, mode=mode)(x), np.diag(np.cos(x)))
    assert calls == [Tracer] + [np.ndarray] * 3
    np.testing.assert_allclose(vmap(grad(wave))(x), np.cos(x))


# --- Complex arrays ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_complex_jacobians(mode: str) -> None:
    x, z = draw(1, (2,)), draw(2, (2,)) + 1j * draw(3, (2,))
    holomorphic = jacobian(lambda z: z * z * z[0], mode=mode)(z)
    np.testing.assert_allclose(holomorphic, np.diag(2 * z * z[0]) + np.outer(z * z, [1, 0]))
    to_complex = jacobian(lambda x: x * (x[0] + x[1] * 2j), mode=mode)(x)
    np.testing.assert_allclose(to_complex, np.eye(2) * (x[0] + 2j * x[1]) + np.outer(x, [1, 2j]))
    to_real = jacobian(lambda z: array_namespace(z).real(z * z), mode=mode)(z)
    np.testing.assert_allclose(to_real, np.diag(2 * z))  # d Re z² = Re(2 z dz)
    size = lambda z: _sum(array_namespace(z).real(z * array_namespace(z).conj(z)))  # noqa: E731
    np.testing.assert_allclose(jacobian(size, mode=mode)(z), grad(size)(z))
    np.testing.assert_allclose(grad(size)(z), 2 * z.conj())


@pytest.mark.parametrize("mode", MODES)
def test_functions_without_complex_derivative_are_refused(mode: str) -> None:
    z = draw(2, (2,)) + 1j * draw(3, (2,))

    def conjugated(z: Any) -> Any:
        return z * array_namespace(z).conj(z)

    with pytest.raises(RecordError, match=r"jacobian of conjugated: .*differentiable over the complex"):
        jacobian(conjugated, mode=mode)(z)
    with pytest.raises(RecordError, match="differentiable over the complex"):
        hessian(lambda z: _sum(array_namespace(z).real(z * array_namespace(z).conj(z))))(z)


# --- hessian, hvp, ggn_vp ----------------------------------------------------------------------------


def _wavy(x: Any) -> Any:
    xp = array_namespace(x)
    return xp.sum(xp.exp(xp.sin(x) * x[0])) + xp.sum(x * x) ** 2


def test_hessian_is_symmetric_and_its_product_is_hvp(backend: Backend) -> None:
    dtype = widest(backend)
    x, v = (backend.asarray(draw(seed, (4,)), dtype=dtype) for seed in (1, 2))
    h = hessian(_wavy)(x)
    assert relative_error(h, host(h).T) < 10 * tolerance(dtype)
    assert relative_error(hvp(_wavy, x, v), host(h) @ host(v)) < 10 * tolerance(dtype)
    step = 1e-5
    point, along = draw(1, (4,)), draw(2, (4,))
    by_difference = (grad(_wavy)(point + step * along) - grad(_wavy)(point - step * along)) / (2 * step)
    assert relative_error(hvp(_wavy, x, v), by_difference) < (1e-7 if dtype == "float64" else 1e-3)


def test_hessian_of_a_matrix_and_of_two_arguments() -> None:
    a, x = draw(1, (2, 2)), draw(2, (2,))
    f = lambda a, x: x @ a @ x  # noqa: E731
    assert hessian(f)(a, x).shape == (2, 2, 2, 2)
    np.testing.assert_array_equal(hessian(f)(a, x), 0)
    (aa, ax), (xa, xx) = hessian(f, argnums=(0, 1))(a, x)
    np.testing.assert_array_equal(aa, 0)
    np.testing.assert_allclose(xx, a + a.T)
    np.testing.assert_allclose(
        ax, np.einsum("ik,j->ijk", np.eye(2), x) + np.einsum("i,jk->ijk", x, np.eye(2))
    )
    np.testing.assert_allclose(np.moveaxis(ax, 2, 0), xa)


def test_hessian_of_logistic_regression_is_that_of_the_lecture_notes(backend: Backend) -> None:
    """Σ xxᵀ σ(1 - σ)."""
    X, w, dtype = draw(1, (5, 3)), draw(2, (3,)), widest(backend)
    labels = np.asarray([0.0, 1, 1, 0, 1])
    rows, targets = backend.asarray(X, dtype=dtype), backend.asarray(labels, dtype=dtype)

    def loss(w: Any) -> Any:
        xp = array_namespace(w)
        z = xp.matmul(rows, w)
        return xp.sum(xp.log1p(xp.exp(z)) - xp.multiply(z, targets))

    s = 1 / (1 + np.exp(-X @ w))
    want = X.T @ (X * (s * (1 - s))[:, None])
    got = hessian(loss)(backend.asarray(w, dtype=dtype))
    assert relative_error(got, want) < 10 * tolerance(dtype)


def test_hvp_of_containers_with_whole_numbers_in_them() -> None:
    tree = {"x": draw(1, (3,)), "n": np.asarray([0, 2]), "y": [draw(2, ())]}
    v = {"x": draw(3, (3,)), "n": None, "y": [1.0]}
    found = hvp(lambda t: _sum(t["x"] ** 3 * t["y"][0]) + t["x"][t["n"][1]], tree, v)
    np.testing.assert_allclose(found["x"], 6 * tree["x"] * tree["y"][0] * v["x"] + 3 * tree["x"] ** 2)
    np.testing.assert_allclose(found["y"][0], np.sum(3 * tree["x"] ** 2 * v["x"]))
    assert found["n"] is None


def test_hvp_and_ggn_vp_of_parameters() -> None:
    layout = Layout((("weight", (3, 2)), ("bias", (2,))))
    params, v = Parameters(draw(1, (8,)), layout), Parameters(draw(2, (8,)), layout)
    X = draw(3, (5, 3))
    model = lambda p: X @ p["weight"] + p["bias"]  # noqa: E731
    loss = lambda y: _sum(array_namespace(y).exp(y))  # noqa: E731
    curved, bent = ggn_vp(model, loss, params, v), hvp(lambda p: loss(model(p)), params, v)
    assert isinstance(curved, Parameters)
    assert isinstance(bent, Parameters)
    np.testing.assert_allclose(curved.flat, bent.flat)  # the model is linear: no other term
    assert curved.layout == layout


def test_ggn_vp_is_j_transposed_h_j_v(backend: Backend) -> None:
    dtype = widest(backend)
    X = backend.asarray(draw(3, (4, 3)), dtype=dtype)
    params = {
        "w": backend.asarray(draw(1, (3, 2)), dtype=dtype),
        "b": [backend.asarray(draw(2, (2,)), dtype=dtype)],
    }
    v = {
        "w": backend.asarray(draw(4, (3, 2)), dtype=dtype),
        "b": [backend.asarray(draw(5, (2,)), dtype=dtype)],
    }

    def model(p: Any) -> Any:
        xp = array_namespace(p["w"])
        y = xp.tanh(xp.matmul(X, p["w"]) + p["b"][0])
        return y, xp.sum(y)

    def loss(y: Any) -> Any:
        return _sum(array_namespace(y[0]).exp(y[0]) * y[1])

    found = ggn_vp(model, loss, params, v)
    y, dy = jvp(model, (params,), (v,))
    (want,) = vjp(model, params)[1](hvp(loss, y, dy))
    assert relative_error(found["w"], want["w"]) < 10 * tolerance(dtype)
    assert relative_error(found["b"][0], want["b"][0]) < 10 * tolerance(dtype)


def test_ggn_vp_evaluates_model_and_loss_once_and_is_positive_semidefinite() -> None:
    calls: list[str] = []

    def model(w: Any) -> Any:
        calls.append("model")
        return array_namespace(w).sin(w) * w[0]

    def loss(y: Any) -> Any:
        calls.append("loss")
        return _sum(array_namespace(y).exp(y))

    w, v = draw(1, (4,)), draw(2, (4,))
    product = ggn_vp(model, loss, w, v)
    assert sorted(calls) == ["loss", "model"]
    matrix = np.stack([ggn_vp(model, loss, w, e) for e in np.eye(4)])
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-14)
    np.testing.assert_allclose(matrix @ v, product)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12


# --- Results are arrays of the caller's kind ---------------------------------------------------------


def test_results_are_plain_for_plain_arguments_and_traced_inside_transforms() -> None:
    x, kinds = draw(1, (3,)), []

    def outer(x: Any) -> Any:
        ones = array_namespace(x).ones_like(x)
        made = [jacobian(lambda y: y * y, mode=mode)(a) for a in (x, ones) for mode in MODES]
        made += [hessian(lambda y: _sum(y**3))(ones), hvp(lambda y: _sum(y * y), ones, ones)]
        made += [ggn_vp(lambda w: w * 2, lambda y: _sum(y * y), ones, ones), grad(_sum)(ones)]
        kinds.extend(map(type, made))
        return _sum(sum(_sum(part) for part in made))

    gradient = grad(outer)(x)
    assert set(kinds) == {Tracer}
    np.testing.assert_allclose(gradient, np.full(3, 4.0))
    for plain in (jacobian(lambda y: y * y)(x), hessian(_wavy)(x), hvp(_wavy, x, x), gradient):
        assert type(plain) is np.ndarray
