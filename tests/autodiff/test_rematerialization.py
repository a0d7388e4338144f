"""Checkpoints: the same derivatives in all transforms, in less memory; what they refuse."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, relative_error, tolerance, widest
from xpnet.autodiff import (
    checkpoint,
    custom_rule,
    ggn_vp,
    grad,
    graph,
    hessian,
    hvp,
    jacobian,
    jvp,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)
from xpnet.backends import Backend, array_namespace
from xpnet.containers import leaves
from xpnet.errors import RecordError
from xpnet.parameters import Layout, Parameters
from xpnet.program import compile

X, W = draw(1, (4,)), draw(2, (4,))


def _sum(x: Any) -> Any:
    return array_namespace(x).sum(x)


def _layer(x: Any, w: Any) -> Any:
    return array_namespace(x).sin(x * w) + x


def _network(layer: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, w: _sum(layer(layer(layer(x, w), w), array_namespace(w).flip(w)) * x)


TRANSFORMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "value": lambda f, x, w: f(x, w),
    "grad": lambda f, x, w: value_and_grad(f, (0, 1))(x, w),
    "jvp": lambda f, x, w: jvp(f, (x, w), (w, x)),
    "hessian": lambda f, x, w: hessian(f, (0, 1))(x, w),
    "hvp": lambda f, x, w: hvp(lambda x: f(x, w), x, w),
    "reverse over forward": lambda f, x, w: grad(lambda x: jvp(lambda w: f(x, w), (w,), (x,))[1])(x),
    "forward over forward": lambda f, x, w: jvp(lambda x: jvp(lambda w: f(x, w), (w,), (x,)), (x,), (w,)),
    "third order": lambda f, x, w: grad(lambda x: _sum(hvp(lambda w: f(x, w), w, x)))(x),
    "columns of the gradient": lambda f, x, w: jacobian(grad(f, (0, 1)), 1, mode="forward")(x, w),
    "Gauss-Newton": lambda f, x, w: ggn_vp(lambda x: f(x, w), lambda y: y * y, x, w),
    "gradients of examples": lambda f, x, w: vmap(grad(f), (0, None))(_rows(x, w), w),
    "gradient over examples": lambda f, x, w: grad(
        lambda rows, w: _sum(vmap(f, (0, None))(rows, w) ** 2), (0, 1)
    )(_rows(x, w), w),
    "hvp over examples": lambda f, x, w: hvp(lambda w: _sum(vmap(f, (0, None))(_rows(x, x), w) ** 2), w, x),
    "examples of examples": lambda f, x, w: grad(
        lambda w: _sum(vmap(vmap(f, (0, None)), (None, 0))(_rows(x, x), array_namespace(w).stack([w, 2 * w])))
    )(w),
    "compiled gradient": lambda f, x, w: compile(grad(f, (0, 1)))(x, w),
    "compiled gradient over examples": lambda f, x, w: compile(
        grad(lambda w: _sum(vmap(f, (0, None))(_rows(x, w), w)))
    )(w),
}


def _rows(x: Any, w: Any) -> Any:
    return array_namespace(x, w).stack([x, w * 2, x + 1])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_derivatives_are_those_of_the_function(name: str, backend: Backend) -> None:
    x, w = (backend.asarray(a, dtype=widest(backend)) for a in (X, W))
    got, want = (TRANSFORMS[name](_network(layer), x, w) for layer in (checkpoint(_layer), _layer))
    whole = TRANSFORMS[name](checkpoint(_network(checkpoint(_layer))), x, w)  # nested in each other
    for y, z, expected in zip(leaves(got), leaves(whole), leaves(want), strict=True):
        assert relative_error(y, expected) < 10 * tolerance(widest(backend))
        assert relative_error(z, expected) < 10 * tolerance(widest(backend))


# --- What it is for ----------------------------------------------------------------------------------

_SIZE = 20_000


def _chain(layer: Callable[..., Any], segments: int, length: int) -> Callable[[Any], Any]:
    def segment(x: Any) -> Any:
        for _ in range(length):
            x = array_namespace(x).sin(x)
        return x

    def chain(x: Any) -> Any:
        part = layer(segment)
        for _ in range(segments):
            x = part(x)
        return _sum(x)

    return chain


def _peak(run: Callable[[], Any]) -> float:
    """Return how many arrays of the chain live at once."""
    run()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / (8 * _SIZE)
    finally:
        tracemalloc.stop()


def test_a_chain_keeps_as_many_arrays_as_the_root_of_its_length() -> None:
    x = np.linspace(0.1, 1.0, _SIZE)
    plain, short, long = _chain(lambda f: f, 20, 20), _chain(checkpoint, 10, 10), _chain(checkpoint, 20, 20)
    np.testing.assert_array_equal(grad(long)(x), grad(plain)(x))
    assert _peak(lambda: grad(plain)(x)) > 400
    assert _peak(lambda: grad(short)(x)) < 2 * 10 + 8
    assert _peak(lambda: grad(long)(x)) < 2 * 20 + 8


@pytest.mark.parametrize("order", ["hvp", "grad of grad", "grad over vmap", "grad of jvp"])
def test_other_transforms_save_memory_too(order: str) -> None:
    runs: dict[str, Callable[[Any, Any], Any]] = {
        "hvp": lambda f, x: hvp(f, x, x),
        "grad of grad": lambda f, x: grad(lambda x: _sum(grad(f)(x)))(x),
        "grad over vmap": lambda f, x: grad(lambda x: _sum(vmap(f)(x)))(x.reshape(2, -1)),
        "grad of jvp": lambda f, x: grad(lambda x: jvp(f, (x,), (x,))[1])(x),
    }
    x = np.linspace(0.1, 1.0, _SIZE)
    plain, saving = (_chain(layer, 10, 10) for layer in (lambda f: f, checkpoint))
    assert relative_error(runs[order](saving, x), runs[order](plain, x)) < 1e-12
    assert _peak(lambda: runs[order](saving, x)) < _peak(lambda: runs[order](plain, x)) / 2.5


def test_the_function_runs_once_more_for_all_its_arguments() -> None:
    calls: list[Any] = []

    def f(x: Any, w: Any) -> Any:
        calls.append(x)
        return x * w, _sum(x)

    both = checkpoint(f)
    _, pullback = vjp(lambda x, w: both(x, w)[0], X, W)
    assert len(calls) == 1
    for count in (2, 3):
        np.testing.assert_array_equal(pullback(np.ones(4)), (W, X))
        assert len(calls) == count
    jvp(both, (X, W), (X, W))  # no tape, no second run
    assert len(calls) == 4
    both(X, W)
    assert len(calls) == 5


# --- Arguments and results ---------------------------------------------------------------------------


def test_containers_keywords_and_what_is_not_floating() -> None:
    params = Parameters(X, Layout((("w", (2,)), ("b", (2,)))))
    labels = np.asarray([1, 0])

    def f(p: Any, batch: Any, scale: Any = 1.0, kind: str = "") -> Any:
        assert isinstance(p, Parameters)
        assert kind == "a"
        xp = array_namespace(p.flat)
        return {
            "y": p["w"] * xp.take(batch["x"], batch["labels"]) * scale,
            "order": xp.argsort(p["b"]),
            "n": 2.0,
        }

    def loss(g: Any) -> Callable[..., Any]:
        def of(p: Any, x: Any, scale: Any) -> Any:
            made = g(p, {"x": x, "labels": labels}, scale=scale, kind="a")
            assert array_namespace(made["order"]).isdtype(made["order"].dtype, "integral")
            return _sum(made["y"] * made["n"] + made["order"])

        return of

    args = (params, W[:2], np.asarray(3.0))
    got, want = grad(loss(checkpoint(f)), (0, 1, 2))(*args), grad(loss(f), (0, 1, 2))(*args)
    assert isinstance(got[0], Parameters)
    for y, expected in zip(leaves(got), leaves(want), strict=True):
        np.testing.assert_array_equal(host(y), host(expected))
    assert checkpoint(f).__name__ == "f"


def test_unused_arguments_and_results() -> None:
    f = checkpoint(lambda x, w: (x * x, w, 3.0))
    np.testing.assert_array_equal(grad(lambda x, w: _sum(f(x, w)[0]), (0, 1))(X, W)[1], np.zeros(4))
    np.testing.assert_array_equal(grad(lambda x: _sum(f(x, W)[1]) + _sum(x))(X), np.ones(4))
    np.testing.assert_array_equal(grad(lambda x: _sum(f(x, x)[0] + f(x, x)[1]))(X), 2 * X + 1)


def test_graphs_show_what_is_inside() -> None:
    assert str(graph(_network(checkpoint(_layer)), X, W)) == str(graph(_network(_layer), X, W))


def test_functions_with_custom_rules_inside() -> None:
    double = custom_rule(lambda xp, g, out, x: 3 * g)(lambda x: 2 * x)
    np.testing.assert_array_equal(grad(lambda x: _sum(checkpoint(double)(x)))(X), np.full(4, 3.0))
    np.testing.assert_allclose(hvp(lambda x: _sum(checkpoint(double)(x) ** 2), X, W), 18 * W)


def test_arguments_are_not_written_to() -> None:
    def zeroed(x: Any) -> Any:
        x[0] = 0.0
        return x * x

    x = X.copy()
    np.testing.assert_array_equal(grad(lambda x: _sum(checkpoint(zeroed)(x)))(x), [0, *(2 * X[1:])])
    np.testing.assert_array_equal(x, X)


REFUSALS: dict[str, Callable[[], Any]] = {
    "reverse": lambda: grad(lambda w: _sum(checkpoint(lambda x: x * w)(w)))(W),
    "reverse, plain arguments": lambda: grad(lambda w: _sum(checkpoint(lambda x: x * w)(X)))(W),
    "forward": lambda: grad(lambda x: jvp(lambda w: _sum(checkpoint(lambda x: x * w)(x)), (W,), (W,))[1])(X),
    "examples": lambda: grad(lambda x: _sum(vmap(lambda w: checkpoint(lambda x: x * w)(x))(W)))(X),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_traced_arrays_from_outside_are_refused(name: str) -> None:
    with pytest.raises(RecordError, match=r"checkpoint of <lambda>: .*found one from outside.*argument"):
        REFUSALS[name]()


def test_constants_from_outside_and_stopped_gradients_are_taken() -> None:
    np.testing.assert_array_equal(grad(lambda x: _sum(checkpoint(lambda x: x * W)(x)))(X), W)

    def stopped(w: Any) -> Any:
        constant = stop_gradient(w)
        return _sum(checkpoint(lambda x: x * constant)(w))

    np.testing.assert_array_equal(grad(stopped)(W), W)
    with pytest.raises(RecordError, match=r"checkpoint of <lambda>: expected arrays .*as result, found str"):
        grad(lambda x: checkpoint(lambda x: "a")(x))(X)
