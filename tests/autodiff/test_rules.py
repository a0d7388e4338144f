"""Every derivative rule: against finite differences, other libraries, itself, and on every backend."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from tests.autodiff import cases_linalg, cases_numeric, cases_shapes, rule_cases
from tests.autodiff.rule_cases import BINARY, UNARY, Case
from tests.support import draw, host, relative_error, tolerance, widest
from xpnet.autodiff import Tracer, check_grads, grad, jvp, linearize, reverse, vjp
from xpnet.autodiff.namespaces import Namespace
from xpnet.autodiff.rules import RULES
from xpnet.backends import Backend, array_namespace
from xpnet.backends.lacking import extended
from xpnet.containers import leaves, map_leaves

_TABLES = (rule_cases, cases_numeric, cases_shapes, cases_linalg)
CASES: list[Case] = [case for table in _TABLES for case in table.CASES]
CONSTANTS = {name: f for table in _TABLES for name, f in table.CONSTANTS.items()}
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_rule = pytest.mark.parametrize("case", {case.rule: case for case in reversed(CASES)}.values(), ids=str)


def _function(case: Case, *constants: Any) -> Any:
    """Return the case as a function of its differentiable arguments."""

    def run(*args: Any) -> Any:
        return case.function(_space(*args), *args, *constants)

    return run


def _space(*args: Any) -> Any:
    """Return the namespace of ``args``, with the functions that the standard lacks."""
    space = array_namespace(*args)
    return space if isinstance(space, Namespace) else extended(space)


def test_every_rule_is_in_a_table() -> None:
    """Those of special functions are in the table of test_special.py."""
    rules = {name: rule for name, rule in RULES.items() if not name.startswith("special.")}
    assert {case.rule for case in CASES} | set(CONSTANTS) == set(rules)
    assert set(CONSTANTS) == {name for name, rule in rules.items() if rule.constant}


@every_case
def test_first_and_second_derivatives_match_finite_differences(case: Case) -> None:
    check_grads(_function(case, *case.constants), case.args, order=2, modes=("forward", "reverse"))


@every_case
def test_forward_mode_is_the_transpose_of_reverse_mode(case: Case) -> None:
    """⟨u, J v⟩ = ⟨Jᵀu, v⟩ exactly, also where one argument alone is differentiated."""
    f = _function(case, *case.constants)
    for chosen in {tuple(range(len(case.args))), (0,), (len(case.args) - 1,)}:
        part = _restricted(f, case.args, chosen)
        args = [case.args[i] for i in chosen]
        v = [draw(40 + i, x.shape) for i, x in enumerate(args)]
        y, pushed = jvp(part, tuple(args), tuple(v))
        u = draw(50, np.shape(y))
        pulled = vjp(part, *args)[1](u)
        assert float(np.sum(u * pushed)) == pytest.approx(
            sum(float(np.sum(p * w)) for p, w in zip(pulled, v, strict=True)), rel=1e-12, abs=1e-12
        )


@pytest.mark.parametrize("case", [c for c in CASES if RULES[c.rule].reads], ids=str)
def test_slopes_read_no_more_than_they_say(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what they do not read tapes keep the outline, here also of small arrays."""
    f, shape = _function(case, *case.constants), np.shape(_function(case, *case.constants)(*case.args))
    chosen = {tuple(range(len(case.args))), *((i,) for i in range(len(case.args)))}

    def walks() -> list[Any]:
        found = []
        for part in chosen:
            g, args = _restricted(f, case.args, part), [case.args[i] for i in part]
            found += [*vjp(g, *args)[1](draw(60, shape)), linearize(g, *args)[1](*args)]
        return found

    want = walks()
    monkeypatch.setattr(reverse, "_LARGE", -1)
    for one, other in zip(walks(), want, strict=True):
        np.testing.assert_array_equal(one, other)


def _restricted(f: Any, args: tuple[Any, ...], chosen: tuple[int, ...]) -> Any:
    def run(*some: Any) -> Any:
        whole = list(args)
        for i, x in zip(chosen, some, strict=True):
            whole[i] = x
        return f(*whole)

    return run


@every_case
def test_values_and_cotangents_are_the_same_on_every_backend(case: Case, backend: Backend) -> None:
    dtype = widest(backend)
    for name in (backend.name, backend.spec):
        if name in case.lacking:
            pytest.skip(f"{name}: {case.lacking[name]}")
    want, want_pulled, want_pushed = _numpy_results(case, dtype)
    args = [backend.asarray(x, dtype=dtype) for x in case.args]
    constants = [backend.asarray(x) for x in case.constants]
    u = backend.asarray(draw(60, np.shape(want)), dtype=dtype)
    tangents = tuple(backend.asarray(draw(70 + i, x.shape), dtype=dtype) for i, x in enumerate(case.args))
    both = _compiled_by_jax(_both_modes) if backend.name == "jax" else _both_modes
    y, pulled, pushed = both(case, args, constants, u, tangents)
    assert relative_error(y, want) < tolerance(dtype)
    assert relative_error(pushed, want_pushed) < 10 * tolerance(dtype)
    for got, expected, x in zip(pulled, want_pulled, args, strict=True):
        assert got.dtype == x.dtype
        assert tuple(got.shape) == tuple(x.shape)
        assert relative_error(got, expected) < 10 * tolerance(dtype)


def _both_modes(case: Case, args: Any, constants: Any, u: Any, tangents: Any) -> tuple[Any, Any, Any]:
    f = _function(case, *constants)
    y, pullback = vjp(f, *args)
    return y, pullback(u), jvp(f, tuple(args), tangents)[1]


def _second_order(case: Case, args: Any, constants: Any, u: Any, tangents: Any) -> list[Any]:
    """Return the derivatives of the derivatives, each mode over each: to all arguments and to one alone."""
    f = _function(case, *constants)
    pull, push = lambda *x: vjp(f, *x)[1](u), lambda *x: jvp(f, x, tangents)[1]
    found = [jvp(pull, tuple(args), tangents)[1], vjp(pull, *args)[1](tangents)]
    found += [jvp(push, tuple(args), tangents)[1], vjp(push, *args)[1](u)]
    for i in range(len(args) if len(args) > 1 else 0):
        pull_one, push_one = _restricted(pull, args, (i,)), _restricted(push, args, (i,))
        found += [jvp(pull_one, (args[i],), (tangents[i],))[1], vjp(pull_one, args[i])[1](tangents)]
        found += [jvp(push_one, (args[i],), (tangents[i],))[1], vjp(push_one, args[i])[1](u)]
        along = _restricted(lambda *v: jvp(f, tuple(args), v)[1], tangents, (i,))
        found += [jvp(along, (tangents[i],), (tangents[i],))[1], vjp(along, tangents[i])[1](u)]
    back = lambda u: vjp(f, *args)[1](u)  # noqa: E731
    return [*found, jvp(back, (u,), (u,))[1], vjp(back, u)[1](tangents)]


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("array_api_strict:no_float64", marks=pytest.mark.full),
        pytest.param("torch:cpu", marks=pytest.mark.full),
        "cupy:0",
    ],
    indirect=True,
)
@every_rule
def test_second_derivatives_are_the_same_on_every_library(case: Case, backend: Backend) -> None:
    """Traced and plain arrays meet in the rules, and operators of some libraries refuse strangers."""
    if backend.name in case.lacking:
        pytest.skip(f"{backend.name}: {case.lacking[backend.name]}")
    dtype = widest(backend)
    shape = np.shape(_numpy_results(case, dtype)[0])
    on_host = ([x.astype(dtype).astype("float64") for x in case.args], case.constants, draw(60, shape),
               tuple(draw(70 + i, x.shape) for i, x in enumerate(case.args)))  # fmt: skip
    want = _second_order(case, *on_host)
    there = map_leaves(lambda x: backend.asarray(x, dtype=dtype if x.dtype.kind == "f" else None), on_host)
    got = _second_order(case, *there)
    size = max(float(np.linalg.norm(x)) for x in leaves(want))
    for one, other in zip(leaves(got), leaves(want), strict=True):
        assert np.linalg.norm(host(one) - other) <= 100 * tolerance(dtype) * max(size, 1.0)


def _compiled_by_jax(function: Any) -> Any:
    """Compiling a case as a whole takes a fraction of the time that each of its operations would."""
    import jax

    return jax.jit(function, static_argnums=0)


@functools.cache
def _numpy_results(case: Case, dtype: str) -> tuple[Any, Any, Any]:
    args = [x.astype(dtype).astype("float64") for x in case.args]
    shape = np.shape(_function(case, *case.constants)(*args))
    tangents = tuple(draw(70 + i, x.shape) for i, x in enumerate(args))
    return _both_modes(case, args, case.constants, draw(60, shape), tangents)


@pytest.mark.parametrize("case", [c for c in CASES if "torch" in c.peers], ids=str)
def test_gradients_match_pytorch(case: Case) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    args = [torch.tensor(x, requires_grad=True) for x in case.args]
    if case.torch is not None:
        want = case.torch(torch, *args)
    else:
        want = case.function(_space(*args), *args, *(torch.tensor(x) for x in case.constants))
    u = draw(60, tuple(want.shape))
    pulled = torch.autograd.grad(want, args, torch.tensor(u), allow_unused=True)
    _compare(case, want, pulled, u)


def _jax_cases() -> list[Case]:
    """Those that PyTorch lacks, for each takes JAX a while to compile."""
    return [case for case in CASES if "jax" in case.peers and "torch" not in case.peers]


@pytest.mark.parametrize("case", _jax_cases(), ids=str)
def test_gradients_match_jax(case: Case) -> None:
    jax = pytest.importorskip("jax", reason="jax is not installed")
    constants = [jax.numpy.asarray(x) for x in case.constants]
    f = _function(case, *constants)
    u = draw(60, np.shape(_function(case, *case.constants)(*case.args)))

    @jax.jit
    def run(args: Any, u: Any) -> Any:
        y, pullback = jax.vjp(f, *args)
        return y, pullback(u)

    want, pulled = run([jax.numpy.asarray(x) for x in case.args], jax.numpy.asarray(u))
    _compare(case, want, pulled, u)


def _compare(case: Case, want: Any, want_pulled: Any, u: np.ndarray) -> None:
    y, pullback = vjp(_function(case, *case.constants), *case.args)
    assert relative_error(y, np.asarray(want.detach() if hasattr(want, "detach") else want)) < 1e-12
    for got, expected in zip(pullback(u), want_pulled, strict=True):
        expected = np.zeros(got.shape) if expected is None else np.asarray(expected)
        assert relative_error(got, expected) < 1e-11


_COUNTING = (
    "argmax", "argmin", "argsort", "count_nonzero", "linalg.matrix_rank", "nonzero", "searchsorted",
)  # fmt: skip


@pytest.mark.parametrize("name", CONSTANTS)
def test_functions_without_derivative_are_not_recorded(name: str, backend: Backend) -> None:
    """Their results are lifted constants, equal to what plain arrays give, in both modes."""
    x = backend.asarray(draw(3, (2, 3), 0.1, 1.9), dtype=widest(backend))
    f = CONSTANTS[name]
    if backend.spec == "array_api_strict:no_x64" and name in _COUNTING:
        pytest.skip(f"{backend.spec}: counts are int64, which the device lacks")
    seen: list[Any] = []

    def traced(y: Any) -> Any:
        xp = y.__array_namespace__()
        seen.append(f(xp, y))
        return xp.sum(y)

    want = f(_space(x), x)
    gradient = grad(traced)(x)
    jvp(traced, (x,), (x,))
    assert all(type(result) is Tracer and result.trace.level == 0 for result in seen)
    for result in seen:
        np.testing.assert_array_equal(host(result.value), host(want))
    np.testing.assert_array_equal(host(gradient), np.ones((2, 3)))


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("name", [*UNARY, *BINARY, "relu", "sigmoid", "softplus", "mish", "erf"])
def test_elementwise_rules_take_any_shape(name: str, shape: tuple[int, ...]) -> None:
    case = next(c for c in CASES if c.rule == name)
    ranges = BINARY.get(name, (UNARY.get(name, (-1.5, 1.5)),) * 1)
    args = [draw(5 + i, shape, *limits) for i, limits in enumerate(ranges)]
    f = _function(case)
    y, pullback = vjp(f, *args)
    assert np.shape(y) == shape
    pulled = pullback(np.ones(shape))
    pushed = jvp(f, tuple(args), tuple(args))[1]
    assert all(np.shape(g) == shape for g in (*pulled, pushed))


@pytest.mark.parametrize("name", BINARY)
def test_scalars_and_repeated_arguments(name: str) -> None:
    """f(x, 1.3), f(1.3, y) and f(x, x) have the derivatives that the arrays would give."""
    number = 0.7 if name == "copysign" else 1.3  # on a side of its own from every kink
    (left, right), f = BINARY[name], CASES[[c.rule for c in CASES].index(name)].function
    x, y = draw(5, (3,), *left), draw(6, (3,), *right)
    xp = extended(array_namespace(x))
    one = vjp(lambda x: f(_space(x), x, number), x)[1](np.ones(3))[0]
    np.testing.assert_allclose(
        one, vjp(lambda x, y: f(_space(x), x, y), x, xp.full(3, number))[1](np.ones(3))[0]
    )
    other = vjp(lambda y: f(_space(y), number, y), y)[1](np.ones(3))[0]
    np.testing.assert_allclose(
        other, vjp(lambda x, y: f(_space(x), x, y), xp.full(3, number), y)[1](np.ones(3))[1]
    )
    both = vjp(lambda x: f(_space(x), x, x + 0.25), np.abs(y))[1](np.ones(3))[0]
    apart = vjp(lambda x, y: f(_space(x), x, y), np.abs(y), np.abs(y) + 0.25)[1](np.ones(3))
    np.testing.assert_allclose(both, apart[0] + apart[1], rtol=1e-12)


OPERATORS = {
    "+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y, "/": lambda x, y: x / y,
    "**": lambda x, y: x**y, "%": lambda x, y: x % y, "//": lambda x, y: x // y, "@": lambda x, y: x @ y,
    "<": lambda x, y: x < y, "<=": lambda x, y: x <= y, ">": lambda x, y: x > y, ">=": lambda x, y: x >= y,
    "==": lambda x, y: x == y, "!=": lambda x, y: x != y,
}  # fmt: skip


@pytest.mark.parametrize("symbol", OPERATORS)
def test_operators_with_plain_arrays_and_numbers_on_either_side(symbol: str, backend: Backend) -> None:
    dtype = widest(backend)
    f = OPERATORS[symbol]
    x, y = (backend.asarray(draw(1, (3,), *limits), dtype=dtype) for limits in ((1.55, 1.9), (1.1, 1.4)))
    partners = [y] if symbol == "@" else [y, 2.0, 3]
    for other in partners:
        for swapped in (False, True):
            if swapped and other is y and backend.name == "array_api_strict":
                continue  # its operators refuse operands they do not know; xp.add and the like take them

            def run(z: Any, other: Any = other, swapped: bool = swapped) -> Any:
                return f(other, z) if swapped else f(z, other)

            want = run(x)
            seen: list[Any] = []
            got, tangent = jvp(lambda z, run=run, seen=seen: seen.append(run(z)) or seen[0], (x,), (y,))
            np.testing.assert_array_equal(host(got), host(want))
            if symbol in ("+", "-", "*", "/", "**", "%", "@"):
                assert type(seen[0]) is Tracer
                assert relative_error(tangent, _by_difference(run, x, y)) < (
                    1e-6 if dtype == "float64" else 1e-2
                )
    for g in leaves(vjp(lambda z: -z + abs(z) + (+z), x)[1](y)):
        np.testing.assert_allclose(host(g), host(y))


def _by_difference(f: Any, x: Any, v: Any) -> Any:
    step = 1e-6 if "float64" in str(x.dtype) else 1e-2
    return (f(x + v * step) - f(x - v * step)) / (2 * step)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3, min_side=0))
def test_broadcasting_of_any_shapes(shapes: Any) -> None:
    """⟨u, J v⟩ = ⟨Jᵀu, v⟩ for arguments of any shapes that broadcast, with axes of size 0 and 1."""
    args = [draw(i, shape, 0.5, 1.5) for i, shape in enumerate(shapes.input_shapes)]

    def f(x: Any, y: Any, z: Any) -> Any:
        xp = array_namespace(x, y, z)
        return xp.where(args[0] > 1, xp.maximum(x, y), xp.divide(y, z)) * xp.hypot(x, z)

    y, pullback = vjp(f, *args)
    u, v = draw(8, shapes.result_shape), [draw(9 + i, x.shape) for i, x in enumerate(args)]
    assert np.shape(y) == shapes.result_shape
    pulled = pullback(u)
    assert [g.shape for g in pulled] == [x.shape for x in args]
    forward = float(np.sum(u * jvp(f, tuple(args), tuple(v))[1]))
    assert forward == pytest.approx(
        sum(float(np.sum(g * w)) for g, w in zip(pulled, v, strict=True)), abs=1e-10
    )
