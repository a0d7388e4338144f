"""Linear algebra beyond the table of cases: no entries, complex arrays, no derivative, messages."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, widest
from xpnet.autodiff import grad, jvp, vjp
from xpnet.backends import Backend, array_namespace
from xpnet.containers import leaves
from xpnet.errors import RecordError


def _linalg(name: str, **options: Any) -> Callable[..., Any]:
    return lambda *args: getattr(array_namespace(*args).linalg, name)(*args, **options)


def _adjoint(x: Any) -> Any:
    xp = array_namespace(x)
    turned = xp.matrix_transpose(x)
    return xp.conj(turned) if xp.isdtype(x.dtype, "complex floating") else turned


def _complex(seed: int, *shape: int) -> np.ndarray:
    """Return complex matrices whose singular values are about 1, 2, 3 ..."""
    near = draw(seed, shape, -0.3, 0.3) + 1j * draw(seed + 1, shape, -0.3, 0.3)
    return near + np.eye(*shape[-2:]) * (1 + np.arange(shape[-1]))


def _hermitian(seed: int, size: int) -> np.ndarray:
    made = _complex(seed, size, size)
    return (made + made.conj().T) / 2


# --- Empty stacks ------------------------------------------------------------------------------------

OF_SQUARES: dict[str, Callable[..., Any]] = {
    **{name: _linalg(name) for name in (
        "cholesky", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "matrix_norm", "pinv",
        "qr", "slogdet", "svd", "svdvals", "trace", "vector_norm")},
    "matrix_power": lambda x: array_namespace(x).linalg.matrix_power(x, 3),
    "solve": lambda x: array_namespace(x).linalg.solve(x, x),
    "tensordot": lambda x: array_namespace(x).tensordot(x, x, axes=((-1,), (-1,))),
    "vecdot": lambda x: array_namespace(x).vecdot(x, x),
    "matmul": lambda x: x @ x,
}  # fmt: skip


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 3, 3)], ids=str)
@pytest.mark.parametrize("name", OF_SQUARES)
def test_matrices_and_stacks_without_entries(name: str, shape: tuple[int, ...], backend: Backend) -> None:
    f = OF_SQUARES[name]
    x = backend.asarray(np.zeros(shape), dtype=widest(backend))
    y, pullback = vjp(f, x)
    assert [tuple(part.shape) for part in leaves(y)] == [tuple(part.shape) for part in leaves(f(x))]
    assert tuple(pullback(y)[0].shape) == shape
    pushed = jvp(f, (x,), (x,))[1]
    assert [tuple(part.shape) for part in leaves(pushed)] == [tuple(part.shape) for part in leaves(y)]


# --- Complex arrays ----------------------------------------------------------------------------------


def _projector(v: Any) -> Any:
    """Return v vᴴ of the last column v, which no phase changes."""
    return v[..., -1:] @ _adjoint(v[..., -1:])


def _of_factors(name: str, combine: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return lambda x: combine(*getattr(array_namespace(x).linalg, name)(x, **options))


OF_COMPLEX: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "matmul": (lambda x, y: x @ y, (_complex(1, 2, 3), _complex(2, 3, 2))),
    "vecdot": (lambda x, y: array_namespace(x).vecdot(x, y), (_complex(1, 2, 3), _complex(2, 2, 3))),
    "tensordot": (
        lambda x, y: array_namespace(x).tensordot(x, y, axes=((0,), (1,))),
        (_complex(1, 3, 2), _complex(3, 2, 3)),
    ),
    "inv": (_linalg("inv"), (_complex(1, 3, 3),)),
    "pinv": (_linalg("pinv"), (_complex(1, 3, 2),)),
    "solve": (_linalg("solve"), (_complex(1, 3, 3), _complex(2, 3, 2))),
    "det": (_linalg("det"), (_complex(1, 2, 3, 3),)),
    "slogdet": (_linalg("slogdet"), (_complex(1, 3, 3),)),
    "cholesky": (lambda x: _linalg("cholesky")((x + _adjoint(x)) / 2), (_hermitian(1, 3) + 3 * np.eye(3),)),
    "eigvalsh": (_linalg("eigvalsh"), (_hermitian(1, 3),)),
    "eigh": (_of_factors("eigh", lambda w, v: (w, _projector(v))), (_hermitian(1, 3),)),
    "eigvals": (_linalg("eigvals"), (_complex(1, 3, 3),)),
    "qr": (_linalg("qr"), (_complex(1, 4, 2),)),
    "svdvals": (_linalg("svdvals"), (_complex(1, 3, 2),)),
    "svd": (
        _of_factors("svd", lambda u, s, vh: (s, u @ vh, _projector(_adjoint(vh))), full_matrices=False),
        (_complex(1, 3, 2),),
    ),
    "matrix_norm": (_linalg("matrix_norm"), (_complex(1, 3, 2),)),
    "nuclear-norm": (_linalg("matrix_norm", ord="nuc"), (_complex(1, 3, 2),)),
    "vector_norm": (_linalg("vector_norm", ord=3), (_complex(1, 3, 2),)),
}


def _cotangents(y: Any) -> list[np.ndarray]:
    parts = [np.asarray(part) for part in leaves(y)]
    return [
        draw(i, p.shape) + (1j * draw(i + 9, p.shape) if np.iscomplexobj(p) else 0)
        for i, p in enumerate(parts)
    ]


def _pulled(f: Callable[..., Any], args: tuple[np.ndarray, ...]) -> tuple[list[np.ndarray], tuple[Any, ...]]:
    y, pullback = vjp(lambda *x: leaves(f(*x)), *args)
    given = _cotangents(y)
    return given, pullback(given)


@pytest.mark.parametrize("name", ["matmul", "solve", "eigvals"])
def test_cotangents_of_complex_arrays_are_those_of_jax(name: str) -> None:
    """Its convention is ours; PyTorch, for which nothing has to be compiled, is compared with all."""
    jax = pytest.importorskip("jax", reason="jax is not installed")
    f, args = OF_COMPLEX[name]
    given, pulled = _pulled(f, args)
    pullback = jax.vjp(lambda *x: leaves(f(*x)), *map(jax.numpy.asarray, args))[1]
    for got, want in zip(pulled, pullback([jax.numpy.asarray(g) for g in given]), strict=True):
        np.testing.assert_allclose(got, np.asarray(want), atol=1e-11)


@pytest.mark.parametrize("name", OF_COMPLEX)
def test_cotangents_of_complex_arrays_are_the_conjugates_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    f, args = OF_COMPLEX[name]
    given, pulled = _pulled(f, args)
    inputs = [torch.tensor(x, requires_grad=True) for x in args]
    outputs = [(y, torch.tensor(np.conj(g))) for y, g in zip(leaves(f(*inputs)), given, strict=True)]
    outputs = [(y, g) for y, g in outputs if y.requires_grad]
    wanted = torch.autograd.grad([y for y, _ in outputs], inputs, [g for _, g in outputs])
    for got, want in zip(pulled, wanted, strict=True):
        np.testing.assert_allclose(np.conj(got), want.resolve_conj().numpy(), atol=1e-11)


# --- Factorizations ----------------------------------------------------------------------------------

REASSEMBLED: dict[str, Callable[..., Any]] = {
    "cholesky": lambda x: (lambda factor: factor @ _adjoint(factor))(array_namespace(x).linalg.cholesky(x)),
    "eig": _of_factors("eig", lambda w, v: (v * w[None, :]) @ array_namespace(v).linalg.inv(v)),
    "eigh": _of_factors("eigh", lambda w, v: (v * w[None, :]) @ _adjoint(v)),
    "qr": _of_factors("qr", lambda q, r: q @ r),
    "svd": _of_factors("svd", lambda u, s, vh: (u * s[None, :]) @ vh, full_matrices=False),
}


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)], ids=str)
@pytest.mark.parametrize("name", REASSEMBLED)
def test_factors_reassembled_have_the_identity_as_derivative(name: str, shape: tuple[int, int]) -> None:
    """No choice of signs or phases shows in it."""
    if name in ("cholesky", "eig", "eigh") and shape[0] != shape[1]:
        pytest.skip(f"linalg.{name} takes square matrices")
    x, v = _complex(1, *shape), _complex(5, *shape)
    if shape[0] == shape[1]:
        x, v = _hermitian(1, 3) + 3 * np.eye(3), _hermitian(5, 3)
    f = REASSEMBLED[name]
    np.testing.assert_allclose(jvp(f, (x,), (v,))[1], v, atol=1e-12)
    np.testing.assert_allclose(vjp(f, x)[1](v)[0], v, atol=1e-12)
    second = jvp(lambda y: jvp(f, (y,), (v,))[1], (x,), (v,))[1]
    np.testing.assert_allclose(second, np.zeros(shape), atol=1e-11)


def test_the_matrix_root_by_eigenvectors_solves_the_equation_of_its_derivative() -> None:
    """S dS + dS S = dA for S² = A."""
    x, v = _hermitian(1, 4) + 2 * np.eye(4), _hermitian(5, 4)
    root = _of_factors("eigh", lambda w, v: (v * array_namespace(w).sqrt(w)[None, :]) @ _adjoint(v))
    s, ds = jvp(root, (x,), (v,))
    np.testing.assert_allclose(s @ ds + ds @ s, v, atol=1e-12)


@pytest.mark.parametrize("name", ["cholesky", "eigh", "eigvalsh"])
def test_one_triangle_is_read_and_the_cotangent_is_hermitian(name: str) -> None:
    """Derivatives are those of f((A + Aᴴ) / 2), as in JAX, whatever the other triangle holds."""
    jax = pytest.importorskip("jax", reason="jax is not installed")
    x = _hermitian(1, 3) + 3 * np.eye(3)
    f = OF_COMPLEX["eigh"][0] if name == "eigh" else _linalg(name)
    given, (pulled,) = _pulled(f, (x,))
    np.testing.assert_allclose(pulled, np.conj(pulled.T), atol=1e-14)
    want = jax.vjp(lambda y: leaves(f(y)), jax.numpy.asarray(x))[1]([jax.numpy.asarray(g) for g in given])[0]
    np.testing.assert_allclose(pulled, np.asarray(want), atol=1e-12)
    read = np.tril(x) + np.triu(draw(8, (3, 3)), 1)  # NumPy reads the lower triangle
    np.testing.assert_allclose(leaves(f(read))[0], leaves(f(x))[0], atol=1e-14)
    np.testing.assert_allclose(_pulled(f, (read,))[1][0], pulled, atol=1e-12)


# --- Equal eigenvalues and singular values -----------------------------------------------------------


def _sum_of_squares(values: Any) -> Any:
    xp = array_namespace(values)
    return xp.sum(xp.abs(values) ** 2)


@pytest.mark.parametrize("name", ["eigvals", "eigvalsh", "svdvals", "eig", "eigh", "svd"])
def test_functions_of_equal_values_alone_have_a_derivative(name: str, backend: Backend) -> None:
    """Σ λ² = ‖A‖² has the gradient 2 A."""
    position = {"eig": 0, "eigh": 0, "svd": 1}.get(name)

    def f(x: Any) -> Any:
        found = getattr(array_namespace(x).linalg, name)(x)
        return _sum_of_squares(found if position is None else found[position])

    x = backend.asarray(np.stack([3 * np.eye(3), np.diag([2.0, 2.0, 1.0])]), dtype=widest(backend))
    v = backend.asarray(draw(1, (2, 3, 3)), dtype=widest(backend))
    np.testing.assert_allclose(host(grad(f)(x)), 2 * host(x), rtol=1e-6)
    np.testing.assert_allclose(host(jvp(f, (x,), (v,))[1]), np.sum(2 * host(x) * host(v)), rtol=1e-5)


def test_vectors_of_other_values_have_a_derivative_and_those_of_equal_ones_none() -> None:
    x, v = np.diag([1.0, 1.0, 4.0]), draw(1, (3, 3))
    v = v + v.T
    separate, equal = (
        _of_factors("eigh", lambda w, v, i=i: v[:, i : i + 1] @ v[:, i : i + 1].T) for i in (2, 0)
    )
    pushed = jvp(separate, (x,), (v,))[1]  # perturbation theory: what mixes in is divided by the gap 3
    np.testing.assert_allclose(pushed[:2, 2], v[:2, 2] / 3)
    np.testing.assert_allclose(vjp(separate, x)[1](v)[0][:2, 2], v[:2, 2] / 3)
    assert np.isnan(jvp(equal, (x,), (v,))[1]).any()
    assert np.isnan(vjp(equal, x)[1](v)[0]).any()
    u = _of_factors("svd", lambda u, s, vh: u[:, :1] @ vh[:1, :])
    assert np.isfinite(jvp(u, (np.diag([4.0, 1.0, 1.0]),), (v,))[1]).all()
    assert np.isfinite(vjp(u, np.diag([4.0, 1.0, 1.0]))[1](v)[0]).all()
    assert np.isnan(vjp(u, np.eye(3))[1](v)[0]).any()


# --- Norms and determinants --------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "ord"), [
    *(("vector_norm", o) for o in (0, 1, 2, 3, 1.5, 0.5, -1, -2, math.inf, -math.inf)),
    *(("matrix_norm", o) for o in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)),
])  # fmt: skip
def test_norms_have_slope_zero_at_zero(name: str, ord: Any, backend: Backend) -> None:
    f = _linalg(name, ord=ord)
    x = backend.asarray(np.zeros((2, 2)), dtype=widest(backend))
    v = backend.asarray(draw(1, (2, 2)), dtype=widest(backend))
    assert float(f(x)) == 0
    np.testing.assert_array_equal(host(grad(f)(x)), np.zeros((2, 2)))
    assert float(jvp(f, (x,), (v,))[1]) == 0


def test_the_second_derivative_of_a_norm_at_a_zero_entry() -> None:
    """‖x‖ has the Hessian (1 - x xᵀ / ‖x‖²) / ‖x‖, also where an entry is zero."""
    x = np.asarray([0.0, 3.0, 4.0])
    want = (np.eye(3) - np.outer(x, x) / 25) / 5
    f = grad(_linalg("vector_norm"))
    got = np.stack([jvp(f, (x,), (e,))[1] for e in np.eye(3)])
    np.testing.assert_allclose(got, want, atol=1e-15)
    z = x * (1 + 1j)
    assert np.isfinite(jvp(grad(_linalg("vector_norm")), (z,), (z,))[1]).all()


def test_cofactors_of_matrices_of_any_rank() -> None:
    """At rank n - 1 they have rank one, below they are zero; the third derivative is right where regular."""
    det = _linalg("det")
    x = np.asarray([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])
    np.testing.assert_allclose(grad(det)(x), [[4, 4, -4], [-2, -2, 2], [0, 0, 0]], atol=1e-13)
    np.testing.assert_array_equal(grad(det)(np.zeros((3, 3))), np.zeros((3, 3)))
    np.testing.assert_array_equal(grad(det)(np.zeros((1, 1))), [[1.0]])
    v = draw(1, (3, 3))
    second = jvp(grad(det), (np.diag([1.0, 0.0, 0.0]),), (v,))[1]  # det diag(1, M) = det M
    np.testing.assert_allclose(second[1:, 1:], [[v[2, 2], -v[2, 1]], [-v[1, 2], v[1, 1]]], atol=1e-14)
    third = jvp(lambda a: jvp(grad(det), (a,), (v,))[1], (np.eye(3),), (v,))[1]
    np.testing.assert_allclose(np.sum(third * v), 6 * np.linalg.det(v))  # det is a cubic form
    with np.errstate(invalid="ignore"):
        assert np.isnan(grad(det)(np.full((2, 2), np.nan))).all()


def test_pinv_takes_a_tolerance_for_each_matrix() -> None:
    x = np.stack([np.diag([2.0, 0.0]), np.diag([2.0, 1.0])])
    pulled = vjp(_linalg("pinv", rtol=np.asarray([1e-6, 1e-3])), x)[1](np.ones((2, 2, 2)))[0]
    np.testing.assert_allclose(pulled[0], [[-0.25, 0.25], [0.25, 0.0]])
    np.testing.assert_allclose(pulled[1], [[-0.25, -0.5], [-0.5, -1.0]])


# --- Messages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("f", "shape", "message"), [
    (_linalg("qr", mode="complete"), (4, 2), "4 rows and 2 columns.*use mode='reduced'"),
    (_linalg("svd"), (4, 2), "the last 2 vectors.*use full_matrices=False"),
    (_linalg("svd"), (2, 3), "the last 1 vectors.*use full_matrices=False"),
    (_linalg("matrix_norm", ord=3), (2, 2), "linalg.matrix_norm: expected ord.*found 3.*linalg.vector_norm"),
    (lambda x: array_namespace(x).linalg.pinv(x, rtol=x[0, 0]), (2, 2), "no traced array as rtol="),
])  # fmt: skip
def test_what_has_no_derivative_says_so(f: Any, shape: tuple[int, int], message: str) -> None:
    x = draw(1, shape)
    with pytest.raises(RecordError, match=message):
        jvp(f, (x,), (x,))
    with pytest.raises(RecordError, match=message):
        grad(lambda y: sum(map(array_namespace(y).sum, leaves(f(y)))))(x)
