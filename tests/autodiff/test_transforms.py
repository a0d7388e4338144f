"""The transforms: nesting, containers, auxiliary results, and what they make of integer arrays."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, relative_error, tolerance, widest
from xpnet.autodiff import Tracer, grad, jvp, namespace, stop_gradient, value_and_grad, vjp
from xpnet.backends import Backend, array_namespace
from xpnet.parameters import Layout, Parameters


def _sum(x: Any) -> Any:
    return array_namespace(x).sum(x)


# --- Levels nest -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_grad_of_grad(order: int, backend: Backend) -> None:
    """The n-th derivative of sin(x), entry by entry, as a gradient of sums."""
    f: Any = lambda x: _sum(array_namespace(x).sin(x))  # noqa: E731
    for level in range(order):
        f = grad(f) if level == order - 1 else _summed(grad(f))
    x = draw(1, (3,))
    want = [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin][order](x)
    dtype = widest(backend)
    assert relative_error(f(backend.asarray(x, dtype=dtype)), want) < tolerance(dtype)


def _summed(f: Any) -> Any:
    return lambda x: _sum(f(x))


@pytest.mark.parametrize("outer", ["forward", "reverse"])
@pytest.mark.parametrize("inner", ["forward", "reverse"])
def test_perturbations_of_two_levels_are_not_confused(outer: str, inner: str, backend: Backend) -> None:
    """d/dx [x · d/dy (x + y)] = 1, not 2: the inner derivative sees only its own perturbation.

    Source: Siskind and Pearlmutter, "Perturbation confusion and referential transparency", 2005.
    """
    d = {"forward": lambda f: lambda x: jvp(f, (x,), (x * 0 + 1,))[1], "reverse": grad}
    one = backend.asarray(np.asarray(1.0), dtype=widest(backend))
    assert float(d[outer](lambda x: x * d[inner](lambda y: x + y)(one))(one)) == 1.0
    assert float(d[outer](lambda x: x * d[inner](lambda y: x * y)(one))(one)) == 2.0
    assert float(d[outer](lambda x: d[inner](lambda y: x * x * y)(one))(one * 3)) == 6.0


@pytest.mark.parametrize("plain_first", [True, False])
def test_cotangents_of_an_outer_level_meet_plain_ones(plain_first: bool, backend: Backend) -> None:
    """x takes one cotangent through an array of the enclosing transform, and one through plain arrays."""
    dtype = widest(backend)
    x, c = backend.asarray(draw(1, (3,)), dtype=dtype), backend.asarray(draw(2, (3,)), dtype=dtype)

    def inner(x: Any, c: Any) -> Any:
        xp = array_namespace(x, c)
        parts = [xp.multiply(x, 2.0), xp.multiply(x, c)]
        return xp.sum(xp.add(*(parts if plain_first else parts[::-1])))

    mixed = grad(lambda c: _sum(grad(inner)(x, c)))
    np.testing.assert_allclose(host(mixed(c)), np.ones(3))


def test_hessian_vector_products_agree_in_every_nesting(backend: Backend) -> None:
    dtype = widest(backend)

    def f(x: Any) -> Any:
        xp = array_namespace(x)
        return xp.sum(xp.exp(xp.sin(x) * x[0])) + xp.sum(x @ x) ** 2

    point, direction = draw(1, (4,)), draw(2, (4,))
    x, v = backend.asarray(point, dtype=dtype), backend.asarray(direction, dtype=dtype)
    forward_over_reverse = jvp(grad(f), (x,), (v,))[1]
    reverse_over_reverse = grad(lambda x: array_namespace(x).sum(array_namespace(x).multiply(grad(f)(x), v)))(
        x
    )
    reverse_over_forward = grad(lambda x: jvp(f, (x,), (v,))[1])(x)
    forward_over_forward = np.asarray(
        [float(jvp(lambda x: jvp(f, (x,), (v,))[1], (x,), (_unit(backend, i, dtype),))[1]) for i in range(4)]
    )
    h = 1e-5
    by_difference = (grad(f)(point + h * direction) - grad(f)(point - h * direction)) / (2 * h)
    assert relative_error(forward_over_reverse, by_difference) < (1e-6 if dtype == "float64" else 1e-3)
    for other in (reverse_over_reverse, reverse_over_forward, forward_over_forward):
        assert relative_error(other, forward_over_reverse) < 10 * tolerance(dtype)


def _unit(backend: Backend, i: int, dtype: str) -> Any:
    return backend.asarray(np.eye(4)[i], dtype=dtype)


def test_grad_inside_a_closure_over_an_outer_traced_array() -> None:
    """The gradient of one step of gradient descent with respect to its rate."""
    target = np.asarray([1.0, -2.0])

    def loss_after_step(rate: Any) -> Any:
        loss = lambda w: _sum((w - target) ** 2)  # noqa: E731
        w = np.zeros(2)
        return loss(w - rate * grad(loss)(w))

    # w = 2 r t, loss = |t|² (2r - 1)², derivative 4 |t|² (2r - 1)
    np.testing.assert_allclose(grad(loss_after_step)(np.asarray(0.1)), 4 * 5 * (2 * 0.1 - 1))


def test_stop_gradient_stops_every_level() -> None:
    f = lambda x: _sum(x * stop_gradient(x * x))  # noqa: E731
    x = draw(1, (3,))
    np.testing.assert_allclose(grad(f)(x), x * x)
    np.testing.assert_allclose(jvp(grad(f), (x,), (np.ones(3),))[1], 0)
    assert isinstance(stop_gradient(x), np.ndarray)


# --- Arguments and results ---------------------------------------------------------------------------

Point = namedtuple("Point", ["left", "right"])


def test_containers_of_every_kind_keep_their_shape() -> None:
    x = np.asarray([1.0, 2.0])
    args = {"a": x, "b": [x, (x, None)], "c": Point(x, {"d": x})}

    def f(tree: Any) -> Any:
        (first, (second, nothing)), point = tree["b"], tree["c"]
        assert nothing is None
        return _sum(tree["a"] * 1 + first * 2 + second * 3 + point.left * 4 + point.right["d"] * 5)

    gradient = grad(f)(args)
    assert isinstance(gradient["c"], Point)
    assert list(gradient) == ["a", "b", "c"]
    assert gradient["b"][1][1] is None
    found = [
        gradient["a"],
        gradient["b"][0],
        gradient["b"][1][0],
        gradient["c"].left,
        gradient["c"].right["d"],
    ]
    np.testing.assert_array_equal([g[0] for g in found], [1, 2, 3, 4, 5])


def test_parameters_are_one_leaf_with_views(backend: Backend) -> None:
    layout = Layout((("0.weight", (2, 3)), ("0.bias", (3,)), ("unused", (2, 2))))
    dtype = widest(backend)
    params = Parameters(backend.asarray(np.arange(13.0), dtype=dtype), layout)

    def f(p: Parameters) -> Any:
        xp = array_namespace(p.flat)
        return xp.sum(p["0.weight"] * 2) + xp.sum(p["0.bias"] ** 2)

    gradient = grad(f)(params)
    assert isinstance(gradient, Parameters)
    assert gradient.layout == layout
    np.testing.assert_allclose(host(gradient["0.weight"]), np.full((2, 3), 2.0))
    np.testing.assert_allclose(host(gradient["0.bias"]), [12.0, 14.0, 16.0])
    np.testing.assert_array_equal(host(gradient["unused"]), np.zeros((2, 2)))


def test_integer_leaves_and_other_things_pass_through_with_gradient_none() -> None:
    labels, x = np.asarray([0, 1]), np.asarray([1.0, 2.0])
    gradient = grad(lambda tree: _sum(tree["x"] * tree["labels"] * tree["factor"]))(
        {"x": x, "labels": labels, "factor": 3, "mask": np.asarray([True, False]), "name": "a"}
    )
    np.testing.assert_array_equal(gradient.pop("x"), [0.0, 3.0])
    assert gradient == {"labels": None, "factor": None, "mask": None, "name": None}


def test_arguments_beside_may_be_anything(backend: Backend) -> None:
    x = backend.asarray(draw(1, (3,)), dtype=widest(backend))
    gradient = grad(lambda x, power, options: _sum(x**power) * options["scale"])(
        x, 2, {"scale": 0.5, "name": "a"}
    )
    np.testing.assert_allclose(host(gradient), host(x), rtol=1e-6)
    by_name = grad(lambda x, *, power: _sum(x**power))(x, power=2)
    np.testing.assert_allclose(host(by_name), 2 * host(x), rtol=1e-6)


def test_several_argument_numbers_and_unused_ones() -> None:
    x, y = draw(1, (3,)), draw(2, (2,))
    f = lambda x, y, z: _sum(x * x) + 0 * _sum(z)  # noqa: E731
    gx, gy = grad(f, argnums=(0, 1))(x, y, x)
    np.testing.assert_allclose(gx, 2 * x)
    np.testing.assert_array_equal(gy, np.zeros(2))
    np.testing.assert_array_equal(grad(f, argnums=-1)(x, y, x), np.zeros(3))


def test_python_numbers_are_differentiated_as_0_d_arrays(backend: Backend) -> None:
    x = backend.asarray(draw(1, (3,)), dtype=widest(backend))
    slope = grad(lambda scale, x: scale * scale * _sum(x))(1.5, x)
    assert array_namespace(slope) is backend.xp
    assert slope.dtype == x.dtype
    np.testing.assert_allclose(float(slope), 3 * float(host(x).sum()), rtol=1e-6)
    assert float(grad(lambda t: t**3)(2.0)) == 12.0
    counts = backend.asarray(np.asarray([1, 2], dtype=np.int32))
    assert array_namespace(grad(lambda t, counts: t * t)(1.5, counts)) is backend.xp


def test_results_that_do_not_depend_on_the_argument() -> None:
    x = draw(1, (3,))
    for constant in (2.0, np.asarray(2.0)):
        value, gradient = value_and_grad(lambda x, c=constant: c)(x)
        assert value == 2.0
        np.testing.assert_array_equal(gradient, np.zeros(3))
        assert jvp(lambda x, c=constant: c, (x,), (x,)) == (2.0, 0.0)
    np.testing.assert_array_equal(vjp(lambda x: np.ones(2), x)[1](np.ones(2))[0], np.zeros(3))


def test_the_argument_itself_and_one_result_twice() -> None:
    assert float(grad(lambda x: x)(np.asarray(2.0))) == 1.0
    x = draw(1, (3,))
    (a, b), pullback = vjp(lambda x: (x * 2,) * 2, x)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(pullback((np.ones(3), np.ones(3)))[0], np.full(3, 4.0))


def test_auxiliary_results_are_handed_out_untraced() -> None:
    x = draw(1, (3,))

    def f(x: Any) -> Any:
        return _sum(x * x), {"doubled": 2 * x, "plain": np.ones(2), "number": 3, "name": "a", "nothing": None}

    (value, aux), gradient = value_and_grad(f, has_aux=True)(x)
    assert not isinstance(value, Tracer)
    assert not isinstance(aux["doubled"], Tracer)
    np.testing.assert_array_equal(aux["doubled"], 2 * x)
    assert (aux["number"], aux["name"], aux["nothing"]) == (3, "a", None)
    np.testing.assert_array_equal(gradient, 2 * x)


def test_a_pullback_may_be_called_twice_and_after_more_work() -> None:
    x = draw(1, (3,))
    y, pullback = vjp(lambda x: {"a": x * x, "b": [_sum(x)]}, x)
    cotangent = {"a": np.ones(3), "b": [np.asarray(2.0)]}
    first = pullback(cotangent)[0]
    grad(lambda x: _sum(x**3))(x)
    second = pullback(cotangent)[0]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, 2 * x + 2)
    np.testing.assert_array_equal(pullback({"a": np.zeros(3), "b": [np.asarray(1.0)]})[0], np.ones(3))
    assert not isinstance(y["a"], Tracer)


def test_vjp_and_jvp_of_several_arguments() -> None:
    x, y = draw(1, (3,)), draw(2, ())
    value, pullback = vjp(lambda x, y: x * y, x, y)
    np.testing.assert_array_equal(value, x * y)
    gx, gy = pullback(np.ones(3))
    np.testing.assert_allclose(gx, np.full(3, y))
    np.testing.assert_allclose(gy, x.sum())
    value, tangent = jvp(
        lambda tree, y: {"z": tree["x"] * y}, ({"x": x}, y), ({"x": np.ones(3)}, np.asarray(2.0))
    )
    np.testing.assert_allclose(tangent["z"], y + 2 * x)


def test_what_is_not_floating_among_results_has_no_derivative() -> None:
    x = draw(1, (3,))

    def f(x: Any) -> Any:
        return {"order": array_namespace(x).argsort(x), "y": x * x, "nothing": None}

    value, tangent = jvp(f, (x,), (x,))
    np.testing.assert_array_equal(value["order"], np.argsort(x))
    assert tangent["order"] is None
    assert tangent["nothing"] is None
    np.testing.assert_array_equal(tangent["y"], 2 * x * x)
    _, pullback = vjp(f, x)
    np.testing.assert_array_equal(pullback({"order": None, "y": np.ones(3), "nothing": None})[0], 2 * x)


def test_tangents_of_whole_numbers_are_none_and_python_numbers_stand_for_0_d_arrays(backend: Backend) -> None:
    x = backend.asarray(draw(1, (3,)), dtype=widest(backend))
    tree = {"n": backend.asarray([1, 2, 3]), "x": x, "scale": 2}
    y, dy = jvp(lambda t, a: t["x"] * a * t["scale"], (tree, 2.0), ({"n": None, "x": x, "scale": None}, 1.0))
    np.testing.assert_allclose(host(y), 4 * host(x), rtol=1e-6)
    np.testing.assert_allclose(host(dy), 6 * host(x), rtol=1e-6)
    assert dy.dtype == x.dtype
    (slope,) = vjp(lambda a: a * a, x[0])[1](1.0)
    np.testing.assert_allclose(float(slope), 2 * float(x[0]), rtol=1e-6)


def test_unused_arguments_have_zero_gradients_of_their_kind(backend: Backend) -> None:
    narrow = backend.asarray(np.ones((2, 1)), dtype="float32")
    tree = {"a": narrow, "b": [backend.asarray(np.ones(3), dtype=widest(backend))]}
    for gradient in (
        grad(lambda t, x: _sum(x * x))(tree, narrow),
        vjp(lambda t, x: x, tree, narrow)[1](narrow)[0],
    ):
        assert (tuple(gradient["a"].shape), gradient["a"].dtype) == ((2, 1), narrow.dtype)
        assert (tuple(gradient["b"][0].shape), gradient["b"][0].dtype) == ((3,), tree["b"][0].dtype)
        assert not np.any(host(gradient["a"]))
        assert type(gradient["a"]) is type(narrow)


def test_results_are_lifted_where_the_arguments_are(backend: Backend) -> None:
    """Inside a transform the results of another one meet plain arrays in operators of every library."""
    x = backend.asarray(draw(1, (3,)), dtype=widest(backend))
    kinds: list[type] = []

    def outer(x: Any) -> Any:
        ones = array_namespace(x).ones_like(x)
        value, gradient = value_and_grad(lambda y: _sum(y * y))(ones)
        (pulled,) = vjp(lambda y: y * 2, ones)[1](ones)
        parts = [value, gradient, grad(lambda y, z: _sum(y), argnums=1)(ones, ones), pulled]
        parts += jvp(lambda y: y * 3, (ones,), (ones,))
        kinds.extend(map(type, parts))
        return _sum(sum(parts, x))

    assert relative_error(grad(outer)(x), np.ones(3)) < 1e-6
    assert set(kinds) == {Tracer}
    lifted = namespace(backend.xp, lift=True).asarray(x)
    assert type(grad(lambda y: _sum(y * y))(lifted)) is Tracer
    assert type(grad(lambda y: _sum(y * y))(x)) is type(x)


def test_arguments_are_never_written_to(backend: Backend) -> None:
    x = backend.asarray(draw(1, (4, 3)), dtype=widest(backend))
    before = host(x).copy()
    grad(lambda x: _sum(x[1:, :] * x[:-1, :] + x[0, :]))(x)
    np.testing.assert_array_equal(host(x), before)


# --- The traced array as an array of the standard ----------------------------------------------------


def test_attributes_of_traced_arrays(backend: Backend) -> None:
    import array_api_compat

    x = backend.asarray(draw(1, (2, 3)), dtype=widest(backend))
    seen: dict[str, Any] = {}

    def f(t: Any) -> Any:
        seen.update(
            shape=tuple(t.shape),
            dtype=t.dtype,
            ndim=t.ndim,
            size=t.size,
            length=len(t),
            device=t.device,
            turned=tuple(t.T.shape),
            swapped=tuple(t.mT.shape),
            same=array_api_compat.array_namespace(t),
            text=repr(t)[:6],
            rows=[tuple(row.shape) for row in (t[0, ...], t[1, ...])],
            moved=t.to_device(t.device).device,
        )
        return _sum(t)

    grad(f)(x)
    assert seen.pop("same") is namespace(backend.xp, lift=True)
    assert seen == {
        "shape": (2, 3),
        "dtype": x.dtype,
        "ndim": 2,
        "size": 6,
        "length": 2,
        "device": array_api_compat.device(x),
        "turned": (3, 2),
        "swapped": (3, 2),
        "text": "Tracer",
        "rows": [(3,), (3,)],
        "moved": array_api_compat.device(x),
    }


def test_control_flow_on_values_is_allowed() -> None:
    f = lambda x: x * 2 if x > 0 else x * 3  # noqa: E731
    assert float(grad(f)(np.asarray(1.0))) == 2.0
    assert float(grad(f)(np.asarray(-1.0))) == 3.0
    assert float(grad(lambda x: sum(part for part in x))(np.asarray([1.0, 2.0]))[0]) == 1.0


def test_the_namespace_passes_on_what_is_no_function(backend: Backend) -> None:
    space, xp = namespace(backend.xp), backend.xp
    assert space.float32 is xp.float32
    assert space.pi == xp.pi
    assert space.isdtype(xp.float32, "real floating")
    assert space.finfo(xp.float32).eps == xp.finfo(xp.float32).eps
    assert namespace(xp) is space
    with pytest.raises(AttributeError):
        _ = space.no_such_function


def test_linalg_names_share_the_rules_of_the_main_namespace() -> None:
    x = draw(1, (2, 2))
    gradient = grad(lambda x: _sum(array_namespace(x).linalg.matmul(x, x)))(x)
    np.testing.assert_allclose(gradient, grad(lambda x: _sum(x @ x))(x))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_numpy_scalars_are_arrays_too(kind: Any) -> None:
    assert grad(lambda x: x * x)(kind(3.0)) == kind(6.0)
    assert grad(lambda x: kind(2.0) * x * kind(2.0))(np.asarray(1.0, dtype=kind)) == 4.0


def test_adding_a_traced_array_to_a_plain_one_in_place_binds_the_sum() -> None:
    def f(x: Any) -> Any:
        total = np.zeros(3)
        for _ in range(3):
            total += x
        return _sum(total * total)

    np.testing.assert_array_equal(grad(f)(np.ones(3)), np.full(3, 18.0))
