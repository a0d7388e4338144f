"""Rules of the factorizations of matrices; all take stacks of matrices.

Notation: Aᵀ is the transpose, Aᴴ the conjugate transpose, Φ(A) the lower triangle with half of the
diagonal. Pulls compute with the conjugate of the cotangent, which is the cotangent of the literature.

Where there is no derivative:

- ``cholesky``, ``eigh`` and ``eigvalsh`` read one triangle of a matrix that is taken for Hermitian. Their
  derivatives are those of f((A + Aᴴ) / 2), so that cotangents are Hermitian, too (as in JAX);
- eigenvectors and singular vectors of equal values have none and are given NaN; functions that use the
  values alone, or other vectors, have theirs. Each vector's sign (complex: its phase) is free, and only
  functions that do not depend on it have a derivative. Vectors have length 1, those of ``eig`` too;
- ``eig`` and ``eigvals`` have none where the eigenvectors are linearly dependent;
- ``cholesky`` and ``qr`` have none where R is singular;
- the columns that complete a basis (``mode="complete"``, ``full_matrices=True``) are any orthogonal ones:
  refused.

Sources: S. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra functions with
application in optimum experimental design" (2010); M. Giles, "An extended collection of matrix derivative
results for forward and reverse mode algorithmic differentiation" (2008); J. Townsend, "Differentiating
the singular value decomposition" (2016); C. Boeddeker et al., "On the computation of
complex-valued gradients with application to statistically optimum beamforming" (2017).
"""

from __future__ import annotations

import math
from typing import Any

from xpnet.autodiff.rules.batching import last_axes
from xpnet.autodiff.rules.linalg import adjoint, conjugate, identity
from xpnet.autodiff.rules.rule import cast, composed, rule
from xpnet.errors import RecordError

__all__: list[str] = []


def _hermitian(xp: Any, x: Any) -> Any:
    """Return (X + Xᴴ) / 2."""
    return (x + adjoint(xp, x)) * 0.5


def _lower(xp: Any, x: Any) -> Any:
    """Return Φ(X): the lower triangle with half of the diagonal."""
    return xp.multiply(x, xp.tril(xp.ones_like(x)) - 0.5 * identity(xp, x))


# --- Triangular factors ------------------------------------------------------------------------------


def _pull_cholesky(xp: Any, g: Any, out: Any, x: Any, *, upper: bool = False) -> Any:
    """dA = L⁻ᴴ H L⁻¹ with the Hermitian part H of Φ(Lᴴ dL), for A = L Lᴴ."""
    factor, c = (adjoint(xp, out), xp.matrix_transpose(g)) if upper else (out, conjugate(xp, g))
    turned = adjoint(xp, factor)
    inner = _hermitian(xp, _lower(xp, xp.matmul(turned, c)))
    half = xp.linalg.solve(turned, inner)
    return conjugate(xp, xp.linalg.solve(turned, adjoint(xp, half)))


rule("linalg.cholesky", _pull_cholesky, batch=last_axes(2))


def _pull_square_qr(xp: Any, q: Any, r: Any, to_q: Any, to_r: Any) -> Any:
    """dA = (dQ + Q C) R⁻ᴴ, where C = Φ(M) + Φ(M)ᴴ with M = R dRᴴ - dQᴴ Q: for a square R."""
    inner = xp.subtract(xp.matmul(r, adjoint(xp, to_r)), xp.matmul(adjoint(xp, to_q), q))
    pulled = xp.add(to_q, xp.matmul(q, 2 * _hermitian(xp, _lower(xp, inner))))
    return adjoint(xp, xp.linalg.solve(r, adjoint(xp, pulled)))


def _pull_qr(xp: Any, g: list[Any], out: Any, x: Any, *, mode: str = "reduced") -> Any:
    """Pull back through QR; of a wide A = [X, Y], Q is that of X, and R = [R_X, Qᴴ Y]."""
    (q, r), (m, n) = out, x.shape[-2:]
    if mode == "complete" and m > n:
        raise RecordError(
            f"linalg.qr: expected mode='reduced' for a matrix of {m} rows and {n} columns, found "
            f"'complete': the last {m - n} columns of Q are any orthogonal ones and have no derivative; use "
            "mode='reduced'"
        )
    to_q, to_r = (xp.zeros_like(y) if c is None else conjugate(xp, c) for c, y in zip(g, (q, r), strict=True))
    if m >= n:
        return conjugate(xp, _pull_square_qr(xp, q, r, to_q, to_r))
    beside = to_r[..., m:]
    to_q = xp.add(to_q, xp.matmul(x[..., m:], adjoint(xp, beside)))
    square = _pull_square_qr(xp, q, r[..., :m], to_q, to_r[..., :m])
    return conjugate(xp, xp.concat([square, xp.matmul(q, beside)], axis=-1))


rule("linalg.qr", _pull_qr, many=True, batch=last_axes(2))


# --- Eigenvalues and singular values -----------------------------------------------------------------


def _shares(xp: Any, x: Any, gaps: Any) -> Any:
    """Return ``x / gaps``; where a gap is 0, 0 for x = 0 and else NaN, for there is no derivative."""
    closed = gaps == 0
    quotients = xp.divide(x, xp.where(closed, 1.0, gaps))
    return xp.where(xp.logical_and(closed, x != 0), math.nan, quotients)


def _beside_diagonal(xp: Any, x: Any) -> Any:
    return xp.multiply(x, 1 - identity(xp, x))


def _eigenvalue_gaps(xp: Any, values: Any) -> Any:
    """Return the matrix of w_j - w_i."""
    return xp.expand_dims(values, axis=-2) - xp.expand_dims(values, axis=-1)


def _pull_eigh(xp: Any, g: list[Any], out: Any, x: Any) -> Any:
    """The Hermitian part of V (diag(dw) + F ∘ (Vᴴ dV)) Vᴴ; beside the diagonal, F_ij is 1 / (w_j - w_i)."""
    (values, vectors), (to_values, to_vectors) = out, g
    pulled = xp.zeros_like(vectors)
    if to_values is not None:
        pulled = xp.multiply(vectors, xp.expand_dims(to_values, axis=-2))
    if to_vectors is not None:
        turns = xp.matmul(adjoint(xp, vectors), conjugate(xp, to_vectors))
        turns = _shares(xp, _beside_diagonal(xp, turns), _eigenvalue_gaps(xp, values))
        pulled = xp.add(pulled, xp.matmul(vectors, turns))
    return conjugate(xp, _hermitian(xp, xp.matmul(pulled, adjoint(xp, vectors))))


def _push_eigh(xp: Any, tangents: list[Any], out: Any, x: Any) -> tuple[Any, Any]:
    """dw = diag(M) and dV = V (F ∘ M) with M = Vᴴ dA V."""
    values, vectors = out
    inner = xp.matmul(adjoint(xp, vectors), xp.matmul(_hermitian(xp, tangents[0]), vectors))
    turns = _shares(xp, _beside_diagonal(xp, inner), _eigenvalue_gaps(xp, values))
    return cast(xp, xp.linalg.diagonal(inner), values.dtype), xp.matmul(vectors, turns)


# Pushes of their own, here and below: what ``_shares`` does depends on zeros, and cannot be transposed.
rule("linalg.eigh", _pull_eigh, push=_push_eigh, many=True, batch=last_axes(2))


@composed("linalg.eigvalsh", batch=last_axes(2))
def _eigvalsh(xp: Any, x: Any) -> Any:
    return xp.linalg.eigh(x)[0]


def _along_vectors(xp: Any, vectors: Any, changes: Any) -> Any:
    """Return v Re(vᴴ c) for each vector v and its change c: what makes v longer, which has length 1."""
    lengths = xp.real(xp.sum(xp.multiply(conjugate(xp, vectors), changes), axis=-2, keepdims=True))
    return xp.multiply(vectors, xp.astype(lengths, vectors.dtype))


def _pull_eig(xp: Any, g: list[Any], out: Any, x: Any) -> Any:
    """V⁻ᴴ (diag(dw) + F ∘ (Vᴴ dV)) Vᴴ with F_ij = 1 / conj(w_j - w_i)."""
    (values, vectors), (to_values, to_vectors) = out, g
    turned, pulled = adjoint(xp, vectors), xp.zeros_like(vectors)
    if to_values is not None:
        pulled = xp.multiply(identity(xp, vectors), xp.expand_dims(conjugate(xp, to_values), axis=-2))
    if to_vectors is not None:
        c = conjugate(xp, to_vectors)
        turns = xp.matmul(turned, xp.subtract(c, _along_vectors(xp, vectors, c)))
        gaps = conjugate(xp, _eigenvalue_gaps(xp, values))
        pulled = xp.add(pulled, _shares(xp, _beside_diagonal(xp, turns), gaps))
    pulled = xp.linalg.solve(turned, xp.matmul(pulled, turned))
    return cast(xp, conjugate(xp, pulled), x.dtype)


def _push_eig(xp: Any, tangents: list[Any], out: Any, x: Any) -> tuple[Any, Any]:
    """dw = diag(M) and dV = V (F ∘ M) with M = V⁻¹ dA V and F_ij = 1 / (w_j - w_i)."""
    values, vectors = out
    change = xp.astype(tangents[0], vectors.dtype)
    inner = xp.linalg.solve(vectors, xp.matmul(change, vectors))
    turns = _shares(xp, _beside_diagonal(xp, inner), _eigenvalue_gaps(xp, values))
    changes = xp.matmul(vectors, turns)
    return xp.linalg.diagonal(inner), xp.subtract(changes, _along_vectors(xp, vectors, changes))


rule("linalg.eig", _pull_eig, push=_push_eig, many=True, batch=last_axes(2))


@composed("linalg.eigvals", batch=last_axes(2))
def _eigvals(xp: Any, x: Any) -> Any:
    return xp.linalg.eig(x)[0]


def _check_factors(x: Any, full_matrices: bool) -> None:
    m, n = x.shape[-2:]
    if full_matrices and m != n:
        raise RecordError(
            f"linalg.svd: expected full_matrices=False for a matrix of {m} rows and {n} columns, found True "
            f"(the default): the last {abs(m - n)} vectors of the longer side are any orthogonal ones and "
            "have no derivative; use full_matrices=False"
        )


def _singular_gaps(xp: Any, s: Any) -> Any:
    """Return the matrix of s_j² - s_i², and 2 s_i² on the diagonal, by which phases are divided."""
    row, column = xp.expand_dims(s, axis=-2), xp.expand_dims(s, axis=-1)
    gaps = (row - column) * (row + column)
    return gaps + identity(xp, gaps) * (2 * row * row)


def _pull_svd(xp: Any, g: list[Any], out: Any, x: Any, *, full_matrices: bool = True) -> Any:
    """dA = U [(F ∘ (X - Xᴴ)) S + S (F ∘ (Y - Yᴴ)) + diag(ds)] Vᴴ with X = Uᴴ dU, Y = Vᴴ dV and F = 1 / gaps.

    Where A is not square, the parts of dU or dV outside of the columns' span, divided by S, come in beside.
    The phase that u_i and v_i share is left to u_i.
    """
    _check_factors(x, full_matrices)
    (u, s, vh), (m, n), size = out, x.shape[-2:], out[1].shape[-1]
    row, column, gaps = xp.expand_dims(s, axis=-2), xp.expand_dims(s, axis=-1), _singular_gaps(xp, s)
    to_u, to_s, to_vh = g
    pulled = xp.zeros_like(x)
    if to_s is not None:
        pulled = xp.matmul(xp.multiply(u, xp.expand_dims(to_s, axis=-2)), vh)
    if to_u is not None:
        c = conjugate(xp, to_u)
        turns = xp.matmul(adjoint(xp, u), c)
        parts = xp.matmul(u, xp.multiply(_shares(xp, turns - adjoint(xp, turns), gaps), row))
        if m > size:
            parts = xp.add(parts, _shares(xp, xp.subtract(c, xp.matmul(u, turns)), row))
        pulled = xp.add(pulled, xp.matmul(parts, vh))
    if to_vh is not None:
        c = xp.matrix_transpose(to_vh)
        turns = xp.matmul(vh, c)
        skew = _beside_diagonal(xp, turns - adjoint(xp, turns))
        parts = xp.matmul(xp.multiply(_shares(xp, skew, gaps), column), vh)
        if n > size:
            parts = xp.add(
                parts, adjoint(xp, _shares(xp, xp.subtract(c, xp.matmul(adjoint(xp, vh), turns)), row))
            )
        pulled = xp.add(pulled, xp.matmul(u, parts))
    return conjugate(xp, pulled)


def _push_svd(
    xp: Any, tangents: list[Any], out: Any, x: Any, *, full_matrices: bool = True
) -> tuple[Any, Any, Any]:
    """ds = Re diag(M), dU = U (F ∘ (M S + S Mᴴ)) and dV = V (F ∘ (S M + Mᴴ S)) with M = Uᴴ dA V.

    Where A is not square, the parts of dA outside of the span, divided by S, come in beside.
    """
    _check_factors(x, full_matrices)
    (u, s, vh), (m, n), size, change = out, x.shape[-2:], out[1].shape[-1], tangents[0]
    row, column, gaps = xp.expand_dims(s, axis=-2), xp.expand_dims(s, axis=-1), _singular_gaps(xp, s)
    v = adjoint(xp, vh)
    along = xp.matmul(change, v)
    inner = xp.matmul(adjoint(xp, u), along)
    turned = adjoint(xp, inner)
    left = _beside_diagonal(xp, xp.add(xp.multiply(inner, row), xp.multiply(column, turned)))
    right = _beside_diagonal(xp, xp.add(xp.multiply(column, inner), xp.multiply(turned, row)))
    phases = xp.multiply(identity(xp, inner), xp.multiply(inner - turned, row))
    du = xp.matmul(u, _shares(xp, xp.add(left, phases), gaps))
    dv = xp.matmul(v, _shares(xp, right, gaps))
    if m > size:
        du = xp.add(du, _shares(xp, xp.subtract(along, xp.matmul(u, inner)), row))
    if n > size:
        beyond = xp.subtract(xp.matmul(adjoint(xp, change), u), xp.matmul(v, turned))
        dv = xp.add(dv, _shares(xp, beyond, row))
    return du, cast(xp, xp.linalg.diagonal(inner), s.dtype), adjoint(xp, dv)


rule("linalg.svd", _pull_svd, push=_push_svd, many=True, batch=last_axes(2))


@composed("linalg.svdvals", batch=last_axes(2))
def _svdvals(xp: Any, x: Any) -> Any:
    return xp.linalg.svd(x, full_matrices=False)[1]
