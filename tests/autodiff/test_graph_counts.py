"""What derivatives on a graph cost: products for each edge, against those of the sum over all paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, widest
from xpnet.autodiff import Graph, functions, graph
from xpnet.autodiff.graphs import Counts
from xpnet.backends import Backend, array_namespace


def _paths(made: Graph) -> list[int]:
    """Return the lengths of all paths from a result to an input, one by one."""
    found: list[int] = []

    def walk(number: int, length: int) -> None:
        node = made.nodes[number]
        if node.kind == "input":
            found.append(length)
        for i in node.parents:
            if node.depends and made.nodes[i].depends:
                walk(i, length + 1)

    for number in made.outputs:
        if number is not None:
            walk(number, 0)
    return found


def layered(layers: int, width: int, outputs: int) -> Callable[[Any], Any]:
    """Return x -> Y of ``layers`` fully connected layers of ``width`` tanh units, each number a node."""
    weights = iter(np.random.default_rng(0).normal(size=layers * width * width + width * outputs).tolist())

    def unit(below: list[Any]) -> Any:
        total = next(values) * below[0]
        for x in below[1:]:
            total = total + next(values) * x
        return array_namespace(total).tanh(total)

    values = weights

    def f(x: list[Any]) -> list[Any]:
        for _ in range(layers):
            x = [unit(x) for _ in range(width)]
        return [unit(x) for _ in range(outputs)]

    return f


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("layers", "width", "outputs"), [(1, 2, 1), (2, 3, 2), (4, 2, 3), (3, 3, 1)])
def test_a_jacobian_takes_one_product_for_each_edge_and_output(
    layers: int, width: int, outputs: int, version: int
) -> None:
    made = graph(layered(layers, width, outputs), [np.asarray(v) for v in draw(1, (width,))])
    paths = _paths(made)
    assert len(paths) == made.counts.paths == outputs * width * width**layers
    assert sum(paths) == made.counts.path_products
    jacobian = []
    products = 0
    for j in range(outputs):
        jacobian.append(made.backward(version, cotangent=[np.asarray(float(i == j)) for i in range(outputs)]))
        assert made.counts.products <= made.counts.edges
        products += made.counts.products
    assert products <= outputs * (made.counts.nodes + made.counts.edges)
    want = np.stack([_by_paths(made, j) for j in range(outputs)])
    np.testing.assert_allclose(np.asarray(jacobian, dtype=float), want, rtol=1e-12)


def _by_paths(made: Graph, output: int) -> np.ndarray:
    """Return one row of the Jacobian as the sum over all paths of the products along each."""
    total = {node.number: 0.0 for node in made.nodes if node.kind == "input"}

    def walk(number: int, product: Any) -> None:
        node = made.nodes[number]
        if number in total:
            total[number] += float(product)
            return
        for i in dict.fromkeys(node.parents):
            for position in made._positions(number, i) if made.nodes[i].depends else ():
                node.cotangent = product
                walk(i, made._product(node, position))

    walk(made.outputs[output], np.asarray(1.0))  # type: ignore[arg-type]
    return np.asarray(list(total.values()))


@pytest.mark.parametrize("length", [1, 10, 100])
def test_a_chain_costs_one_product_for_each_link(length: int) -> None:
    def f(x: Any) -> Any:
        for _ in range(length):
            x = array_namespace(x).tanh(x)
        return x

    made = graph(f, 0.5)
    assert made.counts.products == 0  # nothing was pulled back yet
    for version in (1, 2):
        made.backward(version)
        assert made.counts == Counts(length + 1, length, length, 1, length)


def test_doubling_at_each_step_has_two_to_the_n_paths() -> None:
    def f(x: Any) -> Any:
        for _ in range(200):
            x = x * x
        return x

    made = graph(f, 1.0)
    made.backward()
    assert made.counts == Counts(201, 400, 400, 2**200, 200 * 2**200)


def test_what_does_not_reach_the_result_costs_nothing() -> None:
    def f(x: Any) -> Any:
        _ = array_namespace(x).exp(x) * x
        return 2.0 * x

    made = graph(f, 1.0)
    for version in (1, 2):
        made.backward(version)
        assert made.counts.products == 1
    assert made.counts.edges == 4


def test_multiplications_of_a_network(backend: Backend) -> None:
    """Three matrix products of m·k·n for each layer's one, but for dX of the first."""
    m, d, h, k = 4, 5, 3, 2
    x, weight, bias, out = (
        backend.asarray(draw(i, shape), dtype=widest(backend))
        for i, shape in enumerate([(m, d), (d, h), (h,), (h, k)])
    )

    def f(weight: Any, bias: Any, out: Any) -> Any:
        xp = array_namespace(weight)
        y = xp.matmul(xp.tanh(functions.affine(x, weight, bias)), out)
        return xp.sum(y * y)

    made = graph(f, weight, bias, out)
    made.backward()
    before = [host(node.value) for node in made.nodes]
    forward, backward = made.multiplications()
    assert forward == m * d * h + m * h * k + m * k
    matrices = m * d * h + 2 * m * h * k
    elementwise = backward - matrices
    assert 0 <= elementwise <= 6 * m * (h + k)  # tanh: its slope and the product; y * y: two; sum: one
    assert made.counts.products == 8  # affine and the second product have two each, y * y too; tanh and sum
    for node, value in zip(made.nodes, before, strict=True):
        np.testing.assert_array_equal(host(node.value), value)  # counting leaves no trace


def test_nothing_is_counted_of_constants_and_settings() -> None:
    made = graph(
        lambda x: array_namespace(x).sum(array_namespace(x).reshape(x, (3, 2)), axis=0), draw(0, (6,))
    )
    assert made.multiplications()[0] == 0


def test_multiplications_around_functions_without_derivative() -> None:
    def f(x: Any) -> Any:
        xp = array_namespace(x)
        y = xp.where(x > 0, x * x, x) * xp.sign(x)
        return xp.sum(y) if xp.all(y > -1) else xp.prod(y)

    made = graph(f, np.asarray([0.5, -0.5, 2.0]))
    assert made.multiplications()[0] == 6
