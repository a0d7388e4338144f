"""``vmap``: axes, containers, nesting with every transform, programs, custom rules, refusals."""

from __future__ import annotations

import functools
import itertools
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.autodiff.random_batches import check_against_jax, check_against_loop
from tests.support import draw, host, relative_error, tolerance, widest
from xpnet import nn, rng
from xpnet.autodiff import (
    custom_rule,
    functions,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    value_and_grad,
    vjp,
    vmap,
)
from xpnet.backends import Backend, array_namespace
from xpnet.errors import RecordError

Pair = namedtuple("Pair", ["left", "right"])


def _sum(x: Any) -> Any:
    return array_namespace(x).sum(x)


def _f(x: Any) -> Any:
    xp = array_namespace(x)
    return xp.sum(xp.exp(xp.sin(x)) * x[0]) * xp.mean(x * x[1])


def test_what_could_be_taken_for_another_axis_or_example() -> None:
    rows = np.asarray([[0, 1], [1, 0]])
    x = np.arange(12.0).reshape(2, 2, 3)
    found = vmap(lambda x, i: x[i, [0, 1]], (None, 0))(x[0], rows)
    np.testing.assert_array_equal(found, [x[0][i, [0, 1]] for i in rows])
    full = vmap(lambda x: array_namespace(x).full_like(x, fill_value=2.0))(x)
    np.testing.assert_array_equal(full, np.full_like(x, 2.0))


# --- Axes and containers -----------------------------------------------------------------------------


@pytest.mark.parametrize(("in_axis", "out_axis"), [*itertools.product((0, 1, 2, -1, -3), (0, 1, -1))])
def test_axes_of_arguments_and_results(in_axis: int, out_axis: int, backend: Backend) -> None:
    x = backend.asarray(draw(1, (2, 3, 4)), dtype=widest(backend))
    found = vmap(lambda x: array_namespace(x).matrix_transpose(x) * 2, in_axis, out_axis)(x)
    want = np.stack([e.T * 2 for e in np.moveaxis(host(x), in_axis, 0)], axis=out_axis)
    assert relative_error(found, want) < tolerance(widest(backend))
    assert array_namespace(found) is backend.xp


def test_containers_with_axes_of_their_own_and_what_is_the_same_for_all() -> None:
    tree = {"a": draw(1, (4, 2)), "b": Pair(draw(2, (2,)), [draw(3, (3, 4))])}

    def f(tree: Any, scale: Any, power: int, *, shift: Any) -> Any:
        a, b = tree["a"], tree["b"]
        return Pair({"sum": a + b.left * scale, "one": 1.0}, (b.right[0] ** power + shift, None, shift))

    axes = ({"a": 0, "b": Pair(None, 1)}, None, None)
    shift = draw(4, (3,))
    found = vmap(f, axes, Pair(0, (-1, None, None)))(tree, 2.0, 3, shift=shift)
    np.testing.assert_allclose(found.left["sum"], tree["a"] + tree["b"].left * 2)
    np.testing.assert_array_equal(found.left["one"], np.ones(4))
    np.testing.assert_allclose(found.right[0], tree["b"].right[0] ** 3 + shift[:, None])
    assert found.right[1] is None
    np.testing.assert_array_equal(found.right[2], shift)
    np.testing.assert_array_equal(vmap(f, axes)(tree, 2.0, 3, shift=shift).right[2], np.stack([shift] * 4))


def test_no_examples_and_results_that_can_be_written_to() -> None:
    assert vmap(grad(_f))(np.zeros((0, 3))).shape == (0, 3)
    found = vmap(lambda x: array_namespace(x).ones(2))(np.zeros(3))
    found[0] = 5
    np.testing.assert_array_equal(found, [[5, 5], [1, 1], [1, 1]])


def test_tracers_look_like_one_example() -> None:
    def f(x: Any) -> Any:
        seen.append((x.shape, x.ndim, x.size, len(x), x.T.shape, str(x.dtype), [part.shape for part in x]))
        return x

    seen: list[Any] = []
    vmap(vmap(f))(draw(1, (5, 4, 3, 2)))
    assert seen == [((3, 2), 2, 6, 3, (2, 3), "float64", [(2,)] * 3)]


# --- Nesting -----------------------------------------------------------------------------------------

_WAYS: dict[str, Callable[..., Any]] = {
    "value": lambda f: f,
    "gradient": lambda f: lambda x: _sum(grad(f)(x) * x),
    "both": lambda f: lambda x: _sum(value_and_grad(f)(x)[1] * x),
    "tangent": lambda f: lambda x: jvp(f, (x,), (x * 0 + 1,))[1],
    "pullback": lambda f: lambda x: _sum(vjp(f, x)[1](array_namespace(x).ones_like(f(x)))[0] ** 2),
    "jacobian": lambda f: lambda x: _sum(jacobian(f)(x) ** 2),
    "columns": lambda f: lambda x: _sum(jacobian(f, mode="forward")(x) ** 2),
    "hessian": lambda f: lambda x: _sum(hessian(f)(x)),
    "hvp": lambda f: lambda x: _sum(hvp(f, x, x)),
    "mapped": lambda f: lambda x: _sum(vmap(lambda s: f(x * s))(array_namespace(x).stack([x[0], x[1]]))),
}


@pytest.mark.parametrize(("outer", "inner"), [*itertools.product(_WAYS, repeat=2)])
def test_nests_with_every_transform_inside_and_outside(outer: str, inner: str) -> None:
    """outer(vmap(inner)) and vmap(outer(inner)) are those of a loop."""
    x = draw(1, (2, 3))
    f = _WAYS[inner](_f)
    want = [_WAYS[outer](f)(example) for example in x]
    np.testing.assert_allclose(vmap(_WAYS[outer](f))(x), want, rtol=1e-10)

    def together(x: Any) -> Any:
        return _sum(vmap(f)(x))

    def looped(x: Any) -> Any:
        return f(x[0, :]) + f(x[1, :])

    if outer not in ("hessian", "mapped"):
        np.testing.assert_allclose(_WAYS[outer](together)(x), _WAYS[outer](looped)(x), rtol=1e-10)
    flat = x.reshape(-1)
    if outer == "hessian":
        folded = [lambda y, g=g: g(array_namespace(y).reshape(y, (2, 3))) for g in (together, looped)]
        np.testing.assert_allclose(hessian(folded[0])(flat), hessian(folded[1])(flat), rtol=1e-10)


def test_perturbations_and_examples_are_not_confused() -> None:
    """Of a closure over examples of an outer map, in a derivative of an inner one."""
    x, y = draw(1, (3,)), draw(2, (4,))

    def outer(x: Any) -> Any:
        return grad(lambda x: _sum(vmap(lambda y: grad(lambda z: z * z * x * y)(x))(y)))(x)

    np.testing.assert_allclose(vmap(outer)(x), 4 * x * y.sum())


def test_an_index_and_a_table_of_which_one_or_both_are_mapped(backend: Backend) -> None:
    """In slices, beside other indices, with negative numbers, by ``take`` and in assignments."""
    table = backend.asarray(draw(1, (2, 4, 5)), dtype=widest(backend))
    rows = np.asarray([[0, -1, 0], [2, 1, 2]])
    here = host(table)
    ways: list[Callable[[Any, Any], Any]] = [lambda t, i: array_namespace(t).take(t, i, axis=1)]
    if backend.name != "array_api_strict":
        ways += [
            lambda t, i: t[i, :],
            lambda t, i: t[:, i],
            lambda t, i: t[:, i, None],
            lambda t, i: t[i[0], :],
        ]
        ways += [
            lambda t, i: t[i, 1:],
            lambda t, i: t[i, i],
            lambda t, i: t[1, i],
            lambda t, i: t[i[:, None], i],
        ]
        ways += [_filled]
    for f in ways:
        for axes in ((0, 0), (0, None), (None, 0)):
            chosen = [x if axis == 0 else x[0] for x, axis in zip((here, rows), axes, strict=True)]
            at = [chosen[k][n] if axes[k] == 0 else chosen[k] for n in range(2) for k in range(2)]
            want = np.stack([f(at[2 * n], at[2 * n + 1]) for n in range(2)])
            given = (table if axes[0] == 0 else table[0, ...], backend.asarray(chosen[1]))
            assert relative_error(vmap(f, axes)(*given), want) < tolerance(widest(backend))


def _filled(table: Any, rows: Any) -> Any:
    xp = array_namespace(table, rows)
    out = xp.zeros_like(table)
    out[rows, 1:3] = table[rows, 0:2] * 2
    out[rows[0], ...] += 1
    out[out > 1] = 7
    return out


def test_assignments_to_arrays_made_inside() -> None:
    def f(x: Any) -> Any:
        xp = array_namespace(x)
        out = xp.zeros((3, 2))
        row = out[1, :]
        for i in range(2):
            out[i, i] = x[i] * x[0]
        row += x[1]
        total = xp.asarray(0.0)
        total += out[1, 1]
        return out * total

    x = draw(1, (5, 2))
    np.testing.assert_allclose(vmap(f)(x), [f(e) for e in x])
    np.testing.assert_allclose(vmap(jacobian(f))(x), [jacobian(f)(e) for e in x])


# --- Networks ----------------------------------------------------------------------------------------


def _network(layers: list[int], inputs: int) -> tuple[Any, Any, Callable[..., Any]]:
    """Return a model, its parameters, and the loss of one row."""
    model = nn.MLP(layers[:-1], layers[-1], activation="tanh")
    variables = model.init(0, (inputs,), dtype="float64")

    def loss(params: Any, x: Any, target: Any) -> Any:
        y = model.apply(nn.Variables(params, variables.state), x[None, :])
        return _sum(functions.cross_entropy(y, target[None, :]))

    return model, variables.params, loss


@pytest.mark.parametrize("lower", ["off", "numpy", "numba"])
def test_gradients_of_rows(lower: str) -> None:
    """Parameters are one flat vector, and so are the gradients of each row."""
    if lower == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
    _, params, loss = _network([8, 3], 4)
    x, target = draw(1, (6, 4)), np.eye(3)[[0, 2, 1, 1, 0, 2]]
    run = xpnet.compile(vmap(grad(loss), in_axes=(None, 0, 0)), lower=lower)
    found = run(params, x, target)
    assert run.reason == ""
    assert found.layout == params.layout
    want = np.stack([grad(loss)(params, a, b).flat for a, b in zip(x, target, strict=True)])
    np.testing.assert_allclose(found.flat, want, rtol=1e-10, atol=1e-12)


def test_random_numbers_are_those_of_the_keys() -> None:
    """The same for all examples by one key, those of each by keys that are mapped."""
    words = np.asarray([rng.key(n).words for n in range(3)], dtype=np.uint32)

    class _Given(rng.Key):
        def __init__(self, words: Any):
            object.__setattr__(self, "given", words)

        @property
        def words(self) -> Any:
            return self.given[0], self.given[1]  # type: ignore[attr-defined]

    def mask(words: Any) -> Any:
        return rng.bernoulli(_Given(words), 0.5, (5, 2), xp=array_namespace(words))

    want = [rng.bernoulli(rng.key(n), 0.5, (5, 2), xp=array_namespace(words)) for n in range(3)]
    np.testing.assert_array_equal(vmap(mask)(words), np.stack(want))
    same = vmap(lambda x: rng.bernoulli(rng.key(1), 0.5, (5, 2), xp=array_namespace(x)))(words)
    np.testing.assert_array_equal(same, np.stack([want[1]] * 3))


# --- Custom rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_array_code", [True, False])
@pytest.mark.parametrize("given", ["pulls", "push"])
def test_custom_rules_run_once_as_array_code_and_else_for_each_example(
    is_array_code: bool, given: str
) -> None:
    calls: list[Any] = []
    rules: dict[str, Any] = {
        "pulls": custom_rule(lambda xp, g, out, x, a: 3 * g * x * x * a, lambda xp, g, out, x, a: g * x**3),
        "push": custom_rule(
            push=lambda xp, t, out, x, a: (
                (0 if t[0] is None else 3 * t[0] * x * x * a) + (0 if t[1] is None else x**3 * t[1])
            )
        ),
    }

    @rules[given]
    def cube(x: Any, a: Any) -> Any:
        calls.append(type(x))
        return x**3 * a if is_array_code else np.power(x, 3) * a

    def plain(x: Any, a: Any) -> Any:
        return x**3 * a

    x, a = draw(1, (4, 3)), draw(2, (3,))
    np.testing.assert_allclose(vmap(cube, (0, None))(x, a), x**3 * a)
    assert len(calls) == (1 if is_array_code else 1 + 4)
    for order in (lambda f: grad(lambda x, a: _sum(f(x, a)), (0, 1)), lambda f: lambda x, a: (f(x, a),)):
        inside = vmap(lambda x, a, order=order: order(cube)(x, a)[0], (0, None))(x, a)
        np.testing.assert_allclose(inside, np.stack([order(plain)(e, a)[0] for e in x]))
        outside = [order(lambda x, a, f=f: _sum(vmap(f, (0, None))(x, a)))(x, a) for f in (cube, plain)]
        for got, want in zip(*outside, strict=True):
            np.testing.assert_allclose(got, want)
    twice = [grad(lambda x, f=f: _sum(vmap(grad(lambda y: _sum(f(y, y))))(x)))(x) for f in (cube, plain)]
    np.testing.assert_allclose(*twice)
    pushed = [jvp(lambda x, f=f: vmap(vmap(f))(x, x), (x,), (x * 2,))[1] for f in (cube, plain)]
    np.testing.assert_allclose(*pushed)


# --- Refusals ----------------------------------------------------------------------------------------

_X, _Y, _SEEN = np.zeros((5, 3)), np.zeros(4), []


def _of(name: str) -> Callable[..., Any]:
    return lambda x, *args, **options: getattr(array_namespace(x), name)(x, *args, **options)


def _escaped() -> Any:
    vmap(lambda x: _SEEN.append(x) or x)(_X)
    return _SEEN[-1] + 1


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: vmap(lambda x, y: x)(_X, {"w": _Y}),
         r"argument 1: expected as many examples as argument 2\['w'\] has, 4 along axis 0, found 5; give"),
        (lambda: vmap(lambda x: x, 2)(_X), r"argument 1: expected .* axis 2.*found shape \(5, 3\)"),
        (lambda: vmap(lambda x, y: x)(_X, 2.0), r"argument 2: expected an array .*found float; give None"),
        (lambda: vmap(lambda x: x, (0, 0))(_X), r"in_axes with an entry for each of the 1 arguments"),
        (lambda: vmap(lambda x: x, ({"a": 0},))(_X), r"argument 1: expected a whole number, None"),
        (lambda: vmap(lambda x: x, None)(_X), r"expected an argument with an axis of examples, found none"),
        (lambda: vmap(lambda x: x, 0, 2)(_X), r"result: expected an axis of the result .*has 2, found 2"),
        (lambda: vmap(lambda x: [x], 0, [None])(_X), r"result\[0\]: expected a result that is the same"),
        (lambda: vmap(lambda x: x if x[0] > 0 else -x)(_X), r"neither decide Python's control flow"),
        (lambda: vmap(lambda x: float(x[0]))(_X), r"nor become a number; use xp.where"),
        (lambda: vmap(lambda x: range(int(x[0])))(_X), r"nor become a number"),
        (lambda: vmap(lambda x: x[x > 0])(_X), r"getitem: .*found a mapped mask; use xp.where"),
        (lambda: vmap(np.sin)(_X), r"a NumPy function was applied"),
        (lambda: vmap(lambda x: _of("sum")(x, axis=-2))(_X), r"sum: expected an axis of examples with 1"),
        (lambda: vmap(lambda x: _of("roll")(x, x[0]))(_X), r"roll: expected the same argument 2 for all"),
        (lambda: vmap(lambda x: _of("take")(x, np.asarray([0])))(_X[None]),
         r"take: expected axis= for examples"),
        (lambda: vmap(_of("cumulative_sum"))(_X[None]), r"cumulative_sum: expected axis= for examples"),
        (lambda: vmap(lambda x: _of("argmax")(x, axis=5))(_Y), r"argmax: expected an axis of examples"),
        (lambda: vmap(functions.softmax)(_Y), r"softmax: expected examples of 1 axes or more, found 0"),
        (lambda: vmap(_of("matrix_transpose"))(_X), r"matrix_transpose: expected examples of 2 axes"),
        (lambda: vmap(lambda x: functions.relu(x, out=x))(_X), r"relu: expected the same out= for all"),
        (lambda: vmap(lambda x: "text")(_X), r"expected arrays .*found str"),
        (_escaped, r"add: expected arrays of a running transform, found .* escaped"),
    ],
)  # fmt: skip
def test_refusals_say_what_was_expected_and_what_to_do(run: Callable[[], Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        run()


# --- Random functions --------------------------------------------------------------------------------


def test_random_functions_are_those_of_a_loop() -> None:
    """Also with assignments to views; many more by hand."""
    found = [check_against_loop(seed) for seed in range(40)]
    assert found.count("compared") > 30


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, 15))])
def test_random_functions_are_those_of_jax(seed: int) -> None:
    """Some; ``python -m tests.autodiff.random_batches 200 0 jax`` runs as many as there is time for."""
    pytest.importorskip("jax", reason="JAX is not installed")
    assert check_against_jax(seed) in ("compared", "another convention")


def test_the_first_argument_of_partial_functions_and_methods() -> None:
    scaled = functools.partial(lambda a, x: a * x, 2.0)
    np.testing.assert_array_equal(vmap(scaled)(_Y), _Y)
