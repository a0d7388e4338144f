"""Sparse Jacobians and Hessians: sparsity, colourings, numbers of passes, dense ones, and refusals."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.autodiff.random_functions import Function
from tests.autodiff.rule_cases import Case
from tests.autodiff.test_rules import CASES
from tests.support import draw, host, relative_error, tolerance, widest
from xpnet import autodiff
from xpnet.autodiff import (
    Colouring,
    SparseMatrix,
    colouring,
    custom_rule,
    grad,
    hessian,
    hessian_sparsity,
    jacobian,
    jacobian_sparsity,
    sparse_hessian,
    sparse_jacobian,
    vmap,
)
from xpnet.autodiff.rules import RULES
from xpnet.autodiff.sparse import derivatives, index_sets
from xpnet.autodiff.tracer import is_complex, is_floating
from xpnet.backends import Backend, array_namespace
from xpnet.containers import leaves, rebuild
from xpnet.errors import RecordError

# --- Functions and the passes that they take ---------------------------------------------------------


def _sum(x: Any) -> Any:
    return array_namespace(x).sum(x)


def _band(width: int) -> Callable[[Any], Any]:
    """Return a function whose Jacobian has ``2 * width + 1`` bands."""

    def banded(x: Any) -> Any:
        xp = array_namespace(x)
        n, padded = x.shape[0], xp.concat([xp.zeros(width), x, xp.zeros(width)])
        return sum(xp.sin(padded[k : k + n] * (k + 1)) * x for k in range(2 * width + 1))

    return banded


def _arrow(x: Any) -> Any:
    """A full row, a full column, and the diagonal."""
    xp = array_namespace(x)
    return xp.concat([xp.reshape(_sum(x * x), (1,)), x[1:] ** 2 * x[0]])


def _laplacian(u: Any) -> Any:
    """Five points of a grid."""
    xp = array_namespace(u)
    wide = xp.zeros((u.shape[0] + 2, u.shape[1] + 2))
    wide[1:-1, 1:-1] = u
    return wide[2:, 1:-1] + wide[:-2, 1:-1] + wide[1:-1, 2:] + wide[1:-1, :-2] - 4 * u + u**3


def _brusselator(state: Any) -> Any:
    """Two chemicals that diffuse along a line; Hairer and Wanner, "Solving ODEs II", section IV.1."""
    u, v = state["u"], state["v"]
    xp = array_namespace(u, v)

    def diffused(x: Any, end: float) -> Any:
        ends = xp.asarray([end])
        wide = xp.concat([ends, x, ends])
        return wide[2:] - 2 * x + wide[:-2]

    reaction = u * u * v
    return {"u": 1 + reaction - 4 * u + diffused(u, 1.0), "v": 3 * u - reaction + diffused(v, 3.0)}


def _rosenbrock(x: Any) -> Any:
    return _sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


# The function, its argument, and how many passes forward, in reverse, and of either or both it takes.
JACOBIANS: dict[str, tuple[Callable[..., Any], Any, tuple[int, int, int]]] = {
    "diagonal": (lambda x: x * x, draw(1, (50,)), (1, 1, 1)),
    "tridiagonal": (_band(1), draw(1, (50,)), (3, 3, 3)),
    "pentadiagonal": (_band(2), draw(1, (50,)), (5, 5, 5)),
    "arrow": (_arrow, draw(1, (30,)), (30, 30, 3)),
    "full row": (lambda x: _arrow(x)[:1], draw(1, (30,)), (30, 1, 1)),
    "full column": (lambda x: x[0] * x[1:], draw(1, (30,)), (2, 29, 2)),
    "grid": (_laplacian, draw(1, (9, 8)), (5, 5, 5)),
    "brusselator": (_brusselator, {"u": draw(1, (20,)), "v": draw(2, (20,))}, (4, 4, 4)),
    "rows apart": (lambda x: array_namespace(x).mean(x, axis=1), draw(1, (8, 6)), (6, 1, 1)),
    "nothing": (lambda x: np.ones(4), draw(1, (3,)), (0, 0, 0)),
}
HESSIANS: dict[str, tuple[Callable[..., Any], Any, int]] = {
    "rosenbrock": (_rosenbrock, draw(1, (50,)), 3),
    "arrow": (lambda x: _sum(x[1:] ** 2 * x[0]) + x[0] ** 3, draw(1, (30,)), 2),
    "grid": (lambda u: _sum(_laplacian(u) * u), draw(1, (9, 8)), 5),
    "linear": (lambda x: _sum(3 * x), draw(1, (5,)), 0),
    "full": (lambda x: _sum(x) ** 3, draw(1, (6,)), 6),
    "two": (lambda t: _sum(t["a"] * t["b"] ** 2), {"a": draw(1, (9,)), "b": draw(2, (9,))}, 2),
}


def _like(x: Any, flat: Any) -> Any:
    """Return a vector as a container like ``x``."""
    xp, parts, begin = array_namespace(flat), [], 0
    for part in leaves(x):
        parts.append(xp.reshape(flat[begin : begin + part.size], part.shape))
        begin += part.size
    return rebuild(x, parts)


def _flat(f: Callable[..., Any], x: Any) -> tuple[Callable[..., Any], np.ndarray]:
    """Return a function of containers, and its argument, as one of vectors."""

    def run(flat: Any) -> Any:
        xp = array_namespace(flat)
        return xp.concat([xp.reshape(xp.asarray(y), (-1,)) for y in leaves(f(_like(x, flat)))])

    return run, np.concatenate([part.reshape(-1) for part in leaves(x)])


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of directions of each batch of passes, as they are made."""
    made: list[int] = []
    run = derivatives.in_batches
    monkeypatch.setattr(
        derivatives, "in_batches", lambda xp, size, *rest: made.append(size) or run(xp, size, *rest)
    )
    return made


@pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobians_are_those_of_dense_code_in_few_passes(name: str, mode: str, passes: list[int]) -> None:
    f, x, wanted = JACOBIANS[name]
    calls: list[int] = []
    found = sparse_jacobian(lambda x: calls.append(1) or f(x), mode=mode)(x)
    assert len(calls) == 1
    assert sum(passes) == wanted[["forward", "reverse", "auto"].index(mode)]
    flat, point = _flat(f, x)
    np.testing.assert_allclose(found.todense(), jacobian(flat)(point), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", HESSIANS)
def test_hessians_are_those_of_dense_code_in_few_passes(name: str, passes: list[int]) -> None:
    f, x, wanted = HESSIANS[name]
    found = sparse_hessian(f)(x)
    assert sum(passes) == wanted
    point = np.concatenate([part.reshape(-1) for part in leaves(x)])
    want = hessian(lambda v: f(_like(x, v)))(point)
    np.testing.assert_allclose(found.todense(), want, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found.todense() != 0, hessian_sparsity(f)(x).todense() & (want != 0))


def test_many_products_are_made_in_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    f, x, _ = JACOBIANS["arrow"]
    whole = [sparse_jacobian(f, mode=mode)(x).values for mode in ("forward", "reverse")]
    monkeypatch.setattr("xpnet.autodiff.directions._ENTRIES", 100)
    monkeypatch.setattr(derivatives, "FIRST_COLUMNS", 4)
    for mode, want in zip(("forward", "reverse"), whole, strict=True):
        np.testing.assert_array_equal(sparse_jacobian(f, mode=mode)(x).values, want)


def test_values_of_every_backend(backend: Backend) -> None:
    dtype = widest(backend)
    x = backend.asarray(draw(1, (12,)), dtype=dtype)

    def f(x: Any) -> Any:
        xp = array_namespace(x)
        return xp.concat([xp.sin(x[:-1]) * x[1:], xp.reshape(xp.sum(x * x), (1,))])

    found = sparse_jacobian(f)(x)
    assert array_namespace(found.values) is backend.xp
    assert found.values.dtype == x.dtype
    assert relative_error(found.todense(), host(jacobian(f)(x))) < tolerance(dtype)
    given = sparse_jacobian(f, sparsity=(found.rows, found.columns), mode="reverse")(x)
    assert relative_error(given.values, host(found.values)) < tolerance(dtype)
    bent = sparse_hessian(lambda x: _sum(f(x)[:-1] ** 2))(x)
    want = host(hessian(lambda x: _sum(f(x)[:-1] ** 2))(x))
    assert len(bent.rows) == 3 * 12 - 2
    assert relative_error(bent.todense(), want) < 10 * tolerance(dtype)


# --- Sparsity ----------------------------------------------------------------------------------------

_FIRST = list({case.rule: case for case in reversed(CASES)}.values())
_ASSUMED = {"linalg.solve"}


def _of_vector(case: Case) -> tuple[Callable[[Any], Any], np.ndarray]:
    """Return the function of a case as one of vectors, with real and imaginary parts of its results."""

    def run(flat: Any) -> Any:
        xp, args = array_namespace(flat), _like(list(case.args), flat)
        made = []
        for y in leaves(case.function(xp, *args, *map(xp.asarray, case.constants))):
            if is_floating(y):
                made += [xp.real(y), xp.imag(y)] if is_complex(y) else [y]
        return xp.concat([xp.reshape(y, (-1,)) for y in made])

    return run, np.concatenate([x.reshape(-1) for x in case.args])


@pytest.mark.parametrize("everything", [False, pytest.param(True, marks=pytest.mark.full)])
def test_sparsity_of_every_rule_covers_its_jacobian_and_that_of_its_gradient(everything: bool) -> None:
    for case in CASES if everything else _FIRST:
        f, x = _of_vector(case)

        def energy(x: Any, f: Any = f) -> Any:
            xp, y = array_namespace(x), f(x)
            return xp.sum(xp.sin(y * xp.asarray(np.cos(1 + np.arange(y.shape[0])))))

        for g in (f, grad(energy)):
            find = jacobian_sparsity(g)
            covered, dense = find(x).todense(), jacobian(g)(x)
            assert set(find.assumed) <= _ASSUMED, str(case)  # type: ignore[attr-defined]
            assert not np.any(dense[~covered]), f"{case}: entries {np.argwhere((dense != 0) & ~covered)}"


def test_every_rule_is_of_a_known_kind() -> None:
    for name, rule in RULES.items():
        if not rule.constant and not rule.composed:
            known = index_sets._push_of(rule) is not None
            assert known is (name not in _ASSUMED), name
    assert set(index_sets._PUSHES) <= set(RULES)


# With o for what may be other than zero, row by row.
SPARSITIES: dict[str, tuple[Callable[..., Any], tuple[int, ...], str]] = {
    "elementwise": (lambda x: array_namespace(x).exp(x) * 2, (3,), "o.. .o. ..o"),
    "both sides": (lambda x: array_namespace(x).where(x > 0, x, x[0] * 1.0), (3,), "o.. oo. o.o"),
    "broadcast": (lambda x: x[:, None] * x[None, :], (2,), "o. oo oo .o"),
    "moved": (lambda x: array_namespace(x).roll(x, 1)[::-1], (3,), ".o. o.. ..o"),
    "index": (lambda x: x[np.asarray([2, 0, 2])], (3,), "..o o.. ..o"),
    "mask": (lambda x: x[np.asarray([True, False, True])], (3,), "o.. ..o"),
    "joined": (lambda x: array_namespace(x).stack([x, array_namespace(x).zeros(2)]), (2,), "o. .o .. .."),
    "lower": (lambda x: array_namespace(x).tril(x), (2, 2), "o... .... ..o. ...o"),
    "sum": (lambda x: array_namespace(x).sum(x, axis=0), (2, 2), "o.o. .o.o"),
    "softmax": (lambda x: autodiff.functions.softmax(x), (2, 2), "oo.. oo.. ..oo ..oo"),
    "matrix": (lambda x: x @ np.zeros((2, 2)), (2, 2), "oo.. oo.. ..oo ..oo"),
    "by a matrix": (lambda x: np.ones((2, 2)) @ x, (2, 2), "o.o. .o.o o.o. .o.o"),
    "vector": (lambda x: x @ np.ones(2), (2, 2), "oo.. ..oo"),
    "inner": (lambda x: x @ x, (2,), "oo"),
    "tensors": (lambda x: array_namespace(x).tensordot(x, x, axes=1), (2, 2),
                "ooo. oo.o o.oo .ooo"),
    "stack": (lambda x: array_namespace(x).linalg.inv(x), (2, 1, 1), "o. .o"),
    "assigned": (lambda x: _assigned(x), (3,), "..o .o. ..o"),
    "stopped": (lambda x: x * autodiff.stop_gradient(x[0]), (2,), "o. .o"),
    "mapped": (lambda x: vmap(lambda row: _sum(row) * row)(x), (2, 2), "oo.. oo.. ..oo ..oo"),
    "differentiated": (grad(lambda x: _sum(x[1:] * x[:-1])), (3,), ".o. o.o .o."),
    "cancelled": (lambda x: x - x[::-1] * 0, (2,), "oo oo"),
}  # fmt: skip


def _assigned(x: Any) -> Any:
    out = array_namespace(x).zeros(3)
    out[1:] = x[1:]
    out[0] = out[2]
    return out


@pytest.mark.parametrize("name", SPARSITIES)
def test_what_may_be_other_than_zero(name: str) -> None:
    f, shape, want = SPARSITIES[name]
    found = jacobian_sparsity(f)(draw(1, shape)).todense()
    assert " ".join("".join("o" if entry else "." for entry in row) for row in found) == want


def test_random_functions() -> None:
    """Against the dense Jacobians of them and of their gradients."""
    compared = 0
    for seed in range(12):
        random = Function(seed)
        inputs = random.inputs()
        with np.errstate(all="ignore"):
            if not inputs or random(*inputs) is None:
                continue
            f, x = _flat(lambda args, random=random: [random(*args)], inputs)
            for g in (f, grad(lambda x, f=f: _sum(f(x)))):
                want = jacobian(g)(x)
                size = np.max(np.abs(want), initial=1.0, where=np.isfinite(want))
                found = sparse_jacobian(g)(x).todense()
                np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-9 * size, err_msg=str(seed))
                compared += 1
    assert compared > 15


def test_custom_rules_are_taken_as_full_and_named() -> None:
    @custom_rule(lambda xp, g, out, x: g * 2)
    def doubled(x: Any) -> Any:
        return np.multiply(x, 2)

    find = jacobian_sparsity(lambda x: doubled(x) * x)
    assert find(np.ones(3)).todense().all()
    assert find.assumed == ("doubled",)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(sparse_jacobian(doubled)(np.ones(3)).todense(), 2 * np.eye(3))
    given = sparse_jacobian(doubled, sparsity=np.eye(3))(np.ones(3))
    np.testing.assert_array_equal(given.values, [2, 2, 2])


def test_sparsity_is_found_once_and_again_for_other_shapes_and_indices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    made = derivatives.IndexSets
    monkeypatch.setattr(derivatives, "IndexSets", lambda recording: calls.append(1) or made(recording))
    index = np.asarray([2, 0, 1])

    def taken(x: Any) -> Any:
        return x[index] ** 2

    jac = sparse_jacobian(taken)
    for i, wanted in (([2, 0, 1], 1), ([2, 0, 1], 1), ([0, 0, 1], 2), ([2, 0, 1], 2)):
        index[:] = i
        x = draw(wanted, (3,))
        np.testing.assert_array_equal(jac(x).todense(), jacobian(taken)(x))
        assert len(calls) == wanted
    padded = sparse_jacobian(lambda x, n: [np.ones(n), x * x, np.ones(3 - n)])
    for n in (0, 2, 0):  # constants in other places
        want = np.zeros((6, 3))
        want[n : n + 3] = 2 * np.eye(3)
        np.testing.assert_array_equal(padded(np.ones(3), n).todense(), want)
    assert len(calls) == 4
    by_branch = sparse_jacobian(lambda x: x[::-1] * x if x[0] > 0 else x * x)  # Python's control flow
    for x in (np.ones(3), -np.ones(3), np.ones(3)):
        want = 2 * np.eye(3) * x if x[0] < 0 else np.diag(x) + np.diag(x)[::-1]
        np.testing.assert_array_equal(by_branch(x).todense(), want)
    assert len(calls) == 6


# --- Colourings --------------------------------------------------------------------------------------


def _recovered(colours: Colouring, matrix: np.ndarray) -> np.ndarray:
    """Return a matrix from its products with the sums of columns, and rows, that have one colour."""

    def groups(numbers: np.ndarray, count: int) -> np.ndarray:
        return (numbers[None] == np.arange(count)[:, None]) * 1.0

    pushed = groups(colours.column_colours, colours.forward_passes) @ matrix.T
    pulled = groups(colours.row_colours, colours.reverse_passes) @ matrix
    made = np.zeros_like(matrix)
    made[colours.rows, colours.columns] = np.concatenate([pushed.ravel(), pulled.ravel()])[colours.sources]
    return made


@pytest.mark.parametrize("mode", ["forward", "reverse", "auto", "symmetric"])
def test_matrices_come_back_from_their_products(mode: str) -> None:
    draws = np.random.default_rng(0)
    for n in (0, 1, 2, 5, 9, 14, 40):
        for density in (0.0, 0.1, 0.3, 0.8, 1.0):
            m = n if mode == "symmetric" else n + 3
            pattern = draws.random((m, n)) < density
            if n > 4:
                pattern[:, 0] |= draws.random(m) < 0.9  # full columns and rows
                pattern[2] |= draws.random(n) < 0.9
            matrix = draws.normal(size=(m, n))
            pattern = pattern | pattern.T if mode == "symmetric" else pattern
            matrix = (matrix + matrix.T if mode == "symmetric" else matrix) * pattern
            colours = colouring(np.triu(pattern) if mode == "symmetric" else pattern, mode)
            np.testing.assert_allclose(_recovered(colours, matrix), matrix, atol=1e-12)
            used = colours.forward_passes, colours.reverse_passes
            assert used[{"forward": 1, "reverse": 0, "symmetric": 1}.get(mode, 0)] == 0 or mode == "auto"
            assert sum(used) <= max(1, n, m if mode == "reverse" else 0)


def test_colourings_need_no_more_groups_than_those_of_scipy() -> None:
    scipy = pytest.importorskip("scipy.optimize._numdiff", reason="SciPy is not installed")
    for f, x, (forward, *_) in JACOBIANS.values():
        pattern = jacobian_sparsity(f)(x)
        if len(pattern.rows):
            theirs = scipy.group_columns(pattern.to_scipy())
            assert forward <= theirs.max() + 1


# --- What is given, and what is returned -------------------------------------------------------------


def test_sparsity_may_be_given_in_any_form() -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    f, x, _ = JACOBIANS["tridiagonal"]
    pattern, want = jacobian_sparsity(f)(x), sparse_jacobian(f)(x)
    repeated = np.repeat(pattern.rows, 2), np.repeat(pattern.columns, 2)
    for given in (
        pattern, want, pattern.todense(), pattern.todense().tolist(), repeated, want.to_scipy(),
        sparse.coo_matrix(want.to_scipy()), colouring(pattern),
        colouring(repeated, "reverse", shape=want.shape),
    ):  # fmt: skip
        found = sparse_jacobian(f, sparsity=given)(x)
        np.testing.assert_allclose(found.todense(), want.todense(), rtol=1e-12)
        assert isinstance(found.to_scipy(), sparse.csr_array)
        np.testing.assert_array_equal(found.to_scipy().toarray(), found.todense())
    more = sparse_jacobian(f, sparsity=pattern.todense() | (np.arange(50) == 7))(x)
    np.testing.assert_allclose(more.todense(), want.todense())
    upper = sparse_hessian(_rosenbrock, sparsity=np.triu(np.tri(50, k=1)))(x)
    np.testing.assert_allclose(upper.todense(), hessian(_rosenbrock)(x), atol=1e-12)


def test_rows_and_columns_are_those_of_all_floating_entries_in_turn() -> None:
    def f(x: Any, n: Any, tree: Any, *, power: int) -> Any:
        y = {"a": tree["w"] ** power * x[0], "n": n, "b": (x, 2.0)}
        return y, {"seen": x + 1, "n": 3}

    x, tree = draw(1, (2,)), {"w": draw(2, (2, 2)), "k": np.asarray(3), "v": [draw(3, ())]}
    for argnums, begin, end in (((0, 2), 0, 7), (0, 0, 2), (2, 2, 7), ((-1, 0), None, None)):
        found, aux = sparse_jacobian(f, argnums, has_aux=True)(x, np.asarray([1, 2]), tree, power=3)
        flat, point = _flat(lambda p: f(p[0], None, p[1], power=3)[0], [x, {"w": tree["w"], "v": tree["v"]}])
        want = jacobian(flat)(point)
        want = np.concatenate([want[:, 2:], want[:, :2]], axis=1) if begin is None else want[:, begin:end]
        np.testing.assert_allclose(found.todense(), want)
        np.testing.assert_array_equal(aux["seen"], x + 1)
        assert aux["n"] == 3
    bent, _ = sparse_hessian(lambda x, t: (_sum(t["w"]) * _sum(x**2), 1), (0, 1), has_aux=True)(x, tree)
    assert bent.shape == (7, 7)
    assert len(bent.rows) == 2 + 2 * 2 * 4


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 0)])
def test_0_d_and_empty_arrays(shape: tuple[int, ...]) -> None:
    x = draw(1, shape)
    for f in (lambda x: x * x, lambda x: _sum(x) * np.ones(2), lambda x: np.ones(0)):
        want = jacobian(f)(x)
        for mode in ("auto", "forward", "reverse"):
            found = sparse_jacobian(f, mode=mode)(x)
            np.testing.assert_array_equal(found.todense(), want.reshape(found.shape))
        given = sparse_jacobian(f, sparsity=np.ones(found.shape))(x)
        np.testing.assert_array_equal(given.todense(), found.todense())
    assert sparse_hessian(lambda x: _sum(x * x))(x).shape == (x.size, x.size)


def test_compiled_mapped_and_differentiated() -> None:
    f, x, _ = JACOBIANS["tridiagonal"]
    x = x[:8]
    compiled = xpnet.compile(sparse_jacobian(f))
    bent = xpnet.compile(sparse_hessian(_rosenbrock))
    for point in (x, x * 2):
        np.testing.assert_allclose(compiled(point).todense(), jacobian(f)(point), atol=1e-12)
        np.testing.assert_allclose(bent(point).todense(), hessian(_rosenbrock)(point), atol=1e-12)
    assert compiled.reason == bent.reason == ""
    many = vmap(sparse_jacobian(f))(np.stack([x, x * 2]))
    np.testing.assert_allclose(many.todense(), np.stack([jacobian(f)(x), jacobian(f)(x * 2)]), atol=1e-12)

    def size(by: Any, x: Any) -> Any:
        J = by(f)(x)
        return _sum((J.todense() if isinstance(J, SparseMatrix) else J) ** 2)

    slopes = [grad(functools.partial(size, by))(x) for by in (sparse_jacobian, jacobian)]
    np.testing.assert_allclose(*slopes, rtol=1e-12)

    def taken(x: Any) -> Any:  # an index that is known for each example only
        xp = array_namespace(x)
        return xp.take(x * x, xp.argsort(x))

    points = np.stack([x, x[::-1]])
    np.testing.assert_allclose(vmap(sparse_jacobian(taken))(points).todense(), vmap(jacobian(taken))(points))
    by_values = xpnet.compile(sparse_jacobian(taken))
    np.testing.assert_allclose(
        [by_values(point).todense() for point in points], vmap(jacobian(taken))(points)
    )


def test_solvers_of_scipy_take_what_is_returned() -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")

    def residuals(x: Any) -> Any:
        """Broyden's tridiagonal function, of J. Moré et al., ACM Trans. Math. Softw. 7 (1981)."""
        xp = array_namespace(x)
        wide = xp.concat([xp.zeros(1), x, xp.zeros(1)])
        return (3 - 2 * x) * x - wide[:-2] - 2 * wide[2:] + 1

    jac = sparse_jacobian(residuals)
    found = optimize.least_squares(residuals, -np.ones(40), jac=lambda x: jac(x).to_scipy())
    assert np.max(np.abs(residuals(found.x))) < 1e-8


# --- Refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_entry_that_a_given_sparsity_lacks_is_named(dtype: str, mode: str) -> None:
    f, x, _ = JACOBIANS["tridiagonal"]
    given = jacobian_sparsity(f)(x).todense()
    given[7, 8] = False
    with pytest.raises(RecordError, match=r"expected zeros .* found \S+ in row 7, column 8; add that entry"):
        sparse_jacobian(f, sparsity=given, mode=mode)(x.astype(dtype))
    with pytest.raises(RecordError, match=r"sparse_hessian of _rosenbrock: .* found .* in row \d+, column"):
        sparse_hessian(_rosenbrock, sparsity=np.eye(50))(x.astype(dtype))


def test_a_colouring_for_symmetric_matrices_is_for_no_others() -> None:
    f, x, _ = JACOBIANS["tridiagonal"]
    point, pattern = x[:9], np.tri(9, k=1) - np.tri(9, k=-2)
    pattern[0] = pattern[:, 0] = 1
    colours = colouring(pattern, "symmetric")
    with pytest.raises(
        RecordError, match=r"found one that mixes some in row \d; one of the mode 'symmetric'"
    ):
        sparse_jacobian(lambda x: f(x) + x[0] + np.eye(9)[0] * _sum(x**2), sparsity=colours)(point)


_X, _Z = np.ones(3), np.ones(3) * 1j


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: sparse_jacobian(_band(1), mode="rows"), r"sparse_jacobian of banded: expected the mode"),
        (lambda: colouring(np.eye(2), "star"), r"colouring: expected a mode among .* found 'star'"),
        (lambda: colouring(np.ones((2, 3)), "symmetric"), r"expected a square matrix .* found \(2, 3\)"),
        (lambda: colouring(([0], [1])), r"expected the shape= of the matrix beside index arrays, found none"),
        (lambda: colouring(([0], [2]), shape=(2, 2)), r"columns of the sparsity from 0 to 1, found 2"),
        (lambda: colouring(([-1], [0]), shape=(2, 2)), r"rows of the sparsity from 0 to 1, found -1"),
        (lambda: colouring(([0.5], [0]), shape=(2, 2)), r"two arrays of equally many whole numbers"),
        (lambda: colouring(([0, 1], [0]), shape=(2, 2)), r"found shapes \(2,\) and \(1,\)"),
        (lambda: sparse_jacobian(_band(1), sparsity=np.eye(4))(_X), r"shape \(3, 3\), found \(4, 4\)"),
        (lambda: sparse_jacobian(_band(1), sparsity=np.ones(3))(_X), r"found ndarray of shape \(3,\)"),
        (lambda: sparse_jacobian(_band(1), sparsity=colouring(np.eye(4)))(_X), r"of shape \(3, 3\)"),
        (lambda: sparse_jacobian(lambda z: z * z)(_Z), r"expected a real argument, found dtype complex128"),
        (lambda: sparse_jacobian(lambda x: x * 1j)(_X), r"expected a real result, found dtype complex128"),
        (lambda: sparse_hessian(lambda x: x)(_X), r"expected a 0-d array as result"),
        (lambda: sparse_jacobian(lambda x: x, argnums=1)(_X), r"expected argument number 1, found 1"),
    ],
)  # fmt: skip
def test_refusals(run: Callable[[], Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        run()
