"""The computation graph: its nodes, both versions of back propagation, forward, errors, text."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, widest
from xpnet.autodiff import custom_rule, functions, grad, graph, jvp, stop_gradient, value_and_grad
from xpnet.backends import Backend, array_namespace
from xpnet.containers import leaves, map_leaves
from xpnet.errors import RecordError
from xpnet.parameters import Layout, Parameters

Pair = namedtuple("Pair", "weight bias")


def _network(p: Any, x: Any) -> Any:
    xp = array_namespace(x)
    h = xp.tanh(xp.matmul(x, p["hidden"].weight) + p["hidden"].bias)
    return xp.sum(functions.logsumexp(xp.matmul(h, p["out"][0])))


def _branches(x: Any) -> Any:
    xp = array_namespace(x)
    y = xp.where(x > 0, x * x, xp.exp(x))
    return xp.sum(y[0, :2] * stop_gradient(y[1, 1:])) + xp.mean(xp.concat([y, y], axis=0))


def _assigned(x: Any) -> Any:
    xp = array_namespace(x)
    y = 2 * x
    y[0, :] = x[1, :]
    y += 1.0
    return xp.sum(y * y)


def _flat(p: Any, x: Any) -> Any:
    xp = array_namespace(x)
    weight, bias = functions.unpack(p.flat, p.layout)
    return xp.sum(functions.affine(x, weight, bias) ** 2)


def _one_of_several(p: Any) -> Any:
    _, bias = functions.unpack(p.flat, p.layout)
    return array_namespace(bias).sum(bias * bias)


def _repeated(x: Any, y: Any) -> Any:
    xp = array_namespace(x)
    z = x * x
    return xp.sum(z * z * xp.where(y > 0, y, x))


FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]] = {
    "network": (
        _network,
        lambda: ({"hidden": Pair(draw(1, (4, 3)), draw(2, (3,))), "out": [draw(3, (3, 2))]}, draw(4, (5, 4))),
    ),
    "branches": (_branches, lambda: (draw(5, (2, 3)),)),
    "assigned": (_assigned, lambda: (draw(6, (2, 3)),)),
    "flat": (
        _flat,
        lambda: (Parameters(draw(7, (9,)), Layout((("weight", (2, 3)), ("bias", (3,))))), draw(8, (4, 2))),
    ),
    "one of several": (
        _one_of_several,
        lambda: (Parameters(draw(7, (9,)), Layout((("weight", (2, 3)), ("bias", (3,))))),),
    ),
    "repeated": (_repeated, lambda: (draw(9, (3,)), draw(10, (3,)))),
    "unused": (lambda x, y: x @ x, lambda: (draw(11, (3,)), draw(12, (2,)))),
    "identity": (lambda x: x, lambda: (draw(13, ()),)),
}


def _arguments(name: str, backend: Backend) -> tuple[Any, ...]:
    dtype = widest(backend)
    return map_leaves(lambda x: backend.asarray(x, dtype=dtype), FUNCTIONS[name][1]())


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_versions_give_the_same_numbers_as_grad(name: str, version: int, backend: Backend) -> None:
    f, args = FUNCTIONS[name][0], _arguments(name, backend)
    got = graph(f, *args).backward(version)
    want = grad(f, tuple(range(len(args))))(*args)
    want = want[0] if len(args) == 1 else want
    assert type(got) is type(want)
    for a, b in zip(leaves(got), leaves(want), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(host(a), host(b))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_evaluates_node_by_node(name: str, backend: Backend) -> None:
    f, args = FUNCTIONS[name][0], _arguments(name, backend)
    new = map_leaves(lambda x: -1.5 * x, args)
    made = graph(f, *map_leaves(lambda x: 0.5 * x, args))
    for given in (args, new):
        value, want = value_and_grad(f, tuple(range(len(args))))(*given)
        np.testing.assert_array_equal(host(made.forward(*given)), host(value))
        assert all(node.cotangent is None for node in made.nodes)
        for a, b in zip(leaves(made.backward(2)), leaves(want), strict=True):
            np.testing.assert_array_equal(host(a), host(b))
    np.testing.assert_array_equal(host(made.forward()), host(value))


def test_nodes_of_an_expression() -> None:
    made = graph(lambda x, w: x * w + 2.0 * x, np.asarray(3.0), np.asarray([1.0, 5.0]))
    assert [(node.kind, node.name) for node in made.nodes] == [
        ("input", "x"),
        ("input", "w"),
        ("operation", "multiply"),
        ("constant", "constant"),
        ("operation", "multiply"),
        ("operation", "add"),
    ]
    assert [node.parents for node in made.nodes] == [(), (), (0, 1), (), (3, 0), (2, 4)]
    assert [node.children for node in made.nodes] == [(2, 4), (2,), (5,), (4,), (5,), ()]
    assert [node.shape for node in made.nodes] == [(), (2,), (2,), (), (), (2,)]
    assert made.nodes[3].dtype is float
    assert made.nodes[2].dtype == np.float64
    assert [node.depends for node in made.nodes] == [True, True, True, False, True, True]
    assert made.outputs == [5]
    made.backward(cotangent=np.asarray([1.0, 10.0]))
    assert [host(n.cotangent).tolist() for n in made.nodes if n.cotangent is not None] == [
        73.0, [3.0, 30.0], [1.0, 10.0], 11.0, [1.0, 10.0],
    ]  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parents_come_before_their_children(name: str) -> None:
    made = graph(FUNCTIONS[name][0], *FUNCTIONS[name][1]())
    for number, node in enumerate(made.nodes):
        assert node.number == number
        assert all(i < number for i in node.parents)
        assert node.children == tuple(n.number for n in made.nodes if number in n.parents)


def test_inputs_are_named_after_parameters_and_places() -> None:
    (p, x) = FUNCTIONS["network"][1]()
    names = [node.name for node in graph(_network, p, x).nodes if node.kind == "input"]
    assert names == ["p['hidden'].weight", "p['hidden'].bias", "p['out'][0]", "x"]
    many = graph(lambda *w: w[0] * w[1], np.asarray(1.0), np.asarray(2.0))
    assert [node.name for node in many.nodes[:2]] == ["w[0]", "w[1]"]
    built_in = graph(max, np.asarray(1.0), np.asarray(2.0))
    assert [node.name for node in built_in.nodes[:2]] == ["x1", "x2"]


def test_closure_arrays_are_constants_and_appear_once() -> None:
    w = np.asarray([1.0, 2.0])
    made = graph(lambda x: array_namespace(x).sum(x * w + w), w)
    assert [node.kind for node in made.nodes] == ["input", "constant", "operation", "operation", "operation"]
    assert made.nodes[1].children == (2, 3)
    np.testing.assert_array_equal(made.backward(), w)  # the same array as input and as constant: two nodes


def test_functions_without_derivative_are_nodes_too() -> None:
    made = graph(lambda x: array_namespace(x).where(x > 0, x, 0.1 * x), np.asarray(-2.0))
    names = [node.name for node in made.nodes]
    assert names == ["x", "constant", "greater", "constant", "multiply", "where"]
    assert made.nodes[2].parents == (0, 1)
    assert not made.nodes[2].depends
    assert made.nodes[5].parents == (2, 0, 4)
    assert made.backward() == pytest.approx(0.1)
    assert made.forward(np.asarray(3.0)) == 3.0
    assert made.backward() == 1.0


def test_settings_are_told() -> None:
    def f(x: Any) -> Any:
        xp = array_namespace(x)
        return xp.sum(xp.reshape(x[..., 1:], (2, 4)), axis=0)

    settings = [node.settings for node in graph(f, draw(0, (2, 2, 3))).nodes]
    assert settings == ["", "[..., 1:]", "(2, 4)", "axis=0"]


def test_integer_leaves_are_constants() -> None:
    def f(z: Any, batch: Any) -> Any:
        xp = array_namespace(z)
        return xp.sum(xp.take(z, batch["label"], axis=0)) * batch["scale"]

    batch = {"label": np.asarray([2, 0]), "scale": 3}
    made = graph(f, np.asarray([1.0, 2.0, 4.0]), batch)
    gradient, none = made.backward()
    assert gradient.tolist() == [3.0, 0.0, 3.0]
    assert none == {"label": None, "scale": None}
    assert made.forward(np.asarray([1.0, 1.0, 1.0]), batch) == 6.0
    with pytest.raises(RecordError, match=r"expected batch\['label'\] to be as it was recorded"):
        made.forward(np.asarray([1.0, 1.0, 1.0]), batch | {"label": np.asarray([1, 0])})
    with pytest.raises(RecordError, match="expected a Python value to be as it was recorded"):
        made.forward(np.asarray([1.0, 1.0, 1.0]), batch | {"scale": 4})


def test_python_floats_become_arrays(backend: Backend) -> None:
    x = backend.asarray(np.asarray([1.0, 2.0]), dtype="float32")
    made = graph(lambda x, a: array_namespace(x).sum(a * x), x, 3.0)
    assert made.nodes[1].dtype == x.dtype
    assert host(made.backward()[1]) == 3.0
    assert host(made.forward(x, 1.5)) == 4.5
    assert graph(lambda a: a * a, 3.0).backward() == 6.0


def test_results_of_several_leaves() -> None:
    made = graph(lambda x: {"twice": 2 * x, "parts": [x[0], 1.0]}, np.asarray([1.0, 3.0]))
    assert made.forward() == {"twice": pytest.approx([2.0, 6.0]), "parts": [1.0, 1.0]}
    gradient = made.backward(cotangent={"twice": np.asarray([1.0, 0.0]), "parts": [np.asarray(5.0), 0.0]})
    assert gradient.tolist() == [7.0, 0.0]


def test_a_result_may_have_children() -> None:
    def f(x: Any) -> Any:
        y = x * x
        return y, y * x

    made = graph(f, 2.0)
    for version in (1, 2):
        assert made.backward(version, cotangent=(1.0, 10.0)) == 4.0 + 120.0


def test_derivatives_of_transforms_have_graphs() -> None:
    made = graph(grad(lambda x: x**3), np.asarray(2.0))
    assert made.forward() == 12.0
    assert made.backward(1) == made.backward(2) == 12.0
    tangent = graph(lambda x: jvp(lambda z: z**3, (x,), (np.asarray(1.0),))[1], np.asarray(2.0))
    assert tangent.backward() == 12.0


def test_a_deep_chain() -> None:
    def f(x: Any) -> Any:
        for _ in range(10_000):
            x = x * 1.0001
        return x

    made = graph(f, 1.0)
    assert made.backward(1) == made.backward(2) == pytest.approx(1.0001**10_000)


# --- Errors --------------------------------------------------------------------------------------------


def test_a_result_that_is_not_scalar_needs_a_cotangent() -> None:
    made = graph(lambda x: 2 * x, draw(0, (3,)))
    with pytest.raises(RecordError, match=r"one floating 0-d array as result, found shape \(3,\)"):
        made.backward()
    with pytest.raises(RecordError, match=r"a cotangent of shape \[\(3,\)\]"):
        made.backward(cotangent=np.ones(2))
    with pytest.raises(RecordError, match="expected version=1"):
        made.backward(3)
    with pytest.raises(RecordError, match="dtype bool"):
        graph(lambda x: x > 0, 1.0).backward()


def test_what_cannot_be_recorded() -> None:
    with pytest.raises(RecordError, match=r"a floating array among the arguments.*found none"):
        graph(lambda x: x, np.asarray([1, 2]))
    with pytest.raises(RecordError, match="expected plain arrays, found a traced one"):
        grad(lambda x: graph(lambda y: y * y, x).forward())(2.0)
    with pytest.raises(RecordError, match="enclosing transform"):
        grad(lambda x: graph(lambda y: y * x, 3.0).forward())(2.0)


def test_forward_refuses_what_does_not_fit() -> None:
    made = graph(lambda x, y: x * y, draw(0, (3,)), draw(1, (3,)))
    with pytest.raises(RecordError, match="expected 2 arguments with 2 leaves"):
        made.forward(draw(0, (3,)))
    with pytest.raises(RecordError, match=r"expected y of shape \(3,\).*found \(2,\)"):
        made.forward(draw(0, (3,)), draw(0, (2,)))
    with pytest.raises(RecordError, match=r"expected y of .* dtype float64 as it was"):
        made.forward(draw(0, (3,)), draw(0, (3,)).astype("float32"))


def test_forward_notices_another_course() -> None:
    def by_if(x: Any) -> Any:
        return x * x if x > 0 else -x

    made = graph(by_if, 2.0)
    assert made.forward(3.0) == 9.0
    with pytest.raises(RecordError, match=r"node 2 \(greater\) to keep its value"):
        made.forward(-1.0)

    def by_masks(x: Any) -> Any:
        return array_namespace(x).where(~(x > 0), x, 2 * x)

    made = graph(by_masks, np.asarray([1.0, -1.0]))
    assert made.forward(np.asarray([2.0, -2.0])).tolist() == [4.0, -2.0]
    with pytest.raises(RecordError, match="record anew"):
        made.forward(np.asarray([-1.0, -1.0]))


def test_functions_with_rules_of_their_own() -> None:
    @custom_rule(lambda xp, g, out, x: 2 * g * x)
    def square(x: Any) -> Any:
        return np.asarray(x) ** 2

    made = graph(lambda x: square(x) + x, np.asarray(3.0))
    assert [node.name for node in made.nodes] == ["x", "square", "add"]
    assert made.backward() == 7.0
    assert made.forward(np.asarray(2.0)) == 6.0
    assert made.backward() == 5.0


def test_operations_with_several_results(backend: Backend) -> None:
    def f(x: Any) -> Any:
        xp = array_namespace(x)
        first, _, third = xp.unstack(x, axis=0)
        return xp.sum(first * third * third)

    x = backend.asarray(draw(0, (3, 2)), dtype=widest(backend))
    made = graph(f, x)
    for version in (1, 2):
        np.testing.assert_array_equal(host(made.backward(version)), host(grad(f)(x)))
