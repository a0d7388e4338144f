"""Rules of inverses, determinants and factorizations of matrices; all take stacks of matrices.

Notation: Aᵀ is the transpose, Aᴴ the conjugate transpose, Φ takes the lower triangle with half of the diagonal.
Where conjugates occur, pulls use the cotangent of the literature, which is the conjugate of ours (see ``rule.py``).

Where there is no derivative:

- ``cholesky``, ``eigh`` and ``eigvalsh`` read one triangle of a matrix that is taken to be Hermitian; their
  derivatives are those of f((A + Aᴴ) / 2), so that cotangents are Hermitian as well (as in JAX);
- eigenvectors and singular vectors of equal values have none, and are given NaN; functions that use the values
  alone, or other vectors, have theirs. The sign (complex: phase) of a vector is free, too: only what does not depend
  on it has a derivative;
- ``inv``, ``solve``, ``slogdet``, ``qr`` and ``cholesky`` have none at singular matrices, where most libraries raise;
- ``pinv`` has one among matrices of the same rank; singular values that ``rtol`` cuts off are taken for zeros.

Sources: M. Giles, "An extended collection of matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008); J. Townsend, "Differentiating the singular value decomposition" (2016); S. Walter and
L. Lehmann, "Algorithmic differentiation of linear algebra functions" (2010); G. Golub and V. Pereyra, "The
differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate" (1973).
"""

from __future__ import annotations

import math
from typing import Any

from xpnet.autodiff.rules.linalg import adjoint, conjugate, identity
from xpnet.autodiff.rules.rule import cast, composed, constant, fit, rule
from xpnet.errors import RecordError

__all__: list[str] = []


def _hermitian(xp: Any, x: Any) -> Any:
    """Return (X + Xᴴ) / 2."""
    return (x + adjoint(xp, x)) * 0.5


def _lower(xp: Any, x: Any) -> Any:
    """Return Φ(X): the lower triangle with half of the diagonal."""
    return xp.multiply(x, xp.tril(xp.ones_like(x)) - 0.5 * identity(xp, x))


# --- Inverses ----------------------------------------------------------------------------------------


def _sandwich(xp: Any, inverse: Any, x: Any) -> Any:
    return -xp.matmul(inverse, xp.matmul(x, inverse))


rule(
    "linalg.inv",
    lambda xp, g, out, x: _sandwich(xp, xp.matrix_transpose(out), g),
    push=lambda xp, tangents, out, x: _sandwich(xp, out, tangents[0]),  # d(A⁻¹) = -A⁻¹ dA A⁻¹
)


def _as_columns(xp: Any, x: Any, right: Any) -> Any:
    """Return ``x``, shaped as the solutions for ``right`` are, as matrices: vectors become columns."""
    return xp.expand_dims(x, axis=-1) if len(right.shape) == 1 else x


def _pull_right_side(xp: Any, g: Any, out: Any, matrix: Any, right: Any) -> Any:
    """dB = A⁻ᵀ dX for X = A⁻¹ B."""
    pulled = xp.linalg.solve(xp.matrix_transpose(matrix), _as_columns(xp, g, right))
    return fit(xp, xp.reshape(pulled, g.shape) if len(right.shape) == 1 else pulled, right)


def _pull_solved_matrix(xp: Any, g: Any, out: Any, matrix: Any, right: Any) -> Any:
    """dA = -A⁻ᵀ dX Xᵀ for X = A⁻¹ B."""
    pulled = xp.linalg.solve(xp.matrix_transpose(matrix), _as_columns(xp, g, right))
    return fit(xp, -xp.matmul(pulled, xp.matrix_transpose(_as_columns(xp, out, right))), matrix)


rule("linalg.solve", _pull_solved_matrix, _pull_right_side)


def _pull_pinv(xp: Any, g: Any, out: Any, x: Any, *, rtol: Any = None) -> Any:
    """Golub and Pereyra: dP = -P dA P + P Pᴴ dAᴴ (1 - A P) + (1 - P A) dAᴴ Pᴴ P for P = A⁺."""
    c = conjugate(xp, g)
    p, p_adjoint, c_adjoint = out, adjoint(xp, out), adjoint(xp, c)
    direct = xp.matmul(xp.matmul(p_adjoint, c), p_adjoint)
    left = xp.matmul(xp.matmul(c_adjoint, p), p_adjoint)
    left = xp.subtract(left, xp.matmul(x, xp.matmul(p, left)))
    right = xp.matmul(p_adjoint, xp.matmul(p, c_adjoint))
    right = xp.subtract(right, xp.matmul(xp.matmul(right, p), x))
    return conjugate(xp, xp.subtract(xp.add(left, right), direct))


rule("linalg.pinv", _pull_pinv)
constant("linalg.matrix_rank")


# --- Determinants ------------------------------------------------------------------------------------


def _over_matrices(xp: Any, x: Any) -> Any:
    """Return one number for each matrix as a matrix of size one."""
    return xp.reshape(x, (*x.shape, 1, 1))


def _cofactors_near_singular(xp: Any, matrix: Any, u: Any, s: Any, vh: Any) -> Any:
    """Return the cofactors of A from its singular values, by a Taylor series of two terms.

    The cofactors of A = U M Vᴴ are det(U) det(Vᴴ) conj(U) cof(M) Vᵀ. With U and V of the present A, M is diagonal,
    and to the first order in its changes cof(M) has Π_{k≠i} m_kk on the diagonal and -m_ji Π_{k≠i,j} m_kk beside it.
    """
    same = identity(xp, matrix)
    others = xp.where(same == 1, 1.0, xp.expand_dims(s, axis=-2))
    products = xp.prod(others, axis=-1)  # Π_{k≠i} s_k
    before = xp.cumulative_prod(others, axis=-1, include_initial=True)[..., :-1]
    behind = xp.cumulative_prod(xp.flip(others, axis=-1), axis=-1, include_initial=True)[..., :-1]
    pairs = xp.multiply(xp.multiply(before, xp.flip(behind, axis=-1)), 1 - same)  # Π_{k≠i,j} s_k
    change = xp.subtract(matrix, xp.stop_gradient(matrix))  # zero, but it carries the derivative
    change = xp.matmul(xp.matmul(adjoint(xp, u), change), adjoint(xp, vh))
    turned = xp.matrix_transpose(change)
    on = xp.add(
        products,
        xp.sum(xp.multiply(pairs, xp.sum(xp.multiply(same, turned), axis=-2, keepdims=True)), axis=-1),
    )
    inner = xp.subtract(xp.multiply(same, xp.expand_dims(on, axis=-1)), xp.multiply(pairs, turned))
    sides = xp.multiply(xp.linalg.det(u), xp.linalg.det(vh))
    inner = xp.matmul(conjugate(xp, u), xp.matmul(inner, conjugate(xp, vh)))
    return xp.multiply(_over_matrices(xp, sides), inner)


def _pull_det(xp: Any, g: Any, out: Any, x: Any) -> Any:
    """The cofactors: det(A) A⁻ᵀ, but for (nearly) singular matrices, where derivatives beyond the second are left out."""
    if x.shape[-1] == 0:
        return xp.zeros_like(x)
    u, s, vh = xp.linalg.svd(xp.stop_gradient(x), full_matrices=False)
    limit = math.sqrt(float(xp.finfo(s.dtype).eps))
    singular = _over_matrices(xp, s[..., -1] <= limit * s[..., 0])
    inverse = xp.linalg.inv(xp.where(singular, identity(xp, x), x))
    regular = xp.multiply(_over_matrices(xp, out), xp.matrix_transpose(inverse))
    cofactors = xp.where(singular, _cofactors_near_singular(xp, x, u, s, vh), regular)
    return xp.multiply(_over_matrices(xp, g), cofactors)


rule("linalg.det", _pull_det)


def _pull_slogdet(xp: Any, g: list[Any], out: Any, x: Any) -> Any:
    """d log|det A| = Re t and d sign = i sign Im t with t = tr(A⁻¹ dA); a real sign is constant."""
    to_sign, to_logarithm = g
    total = None if to_logarithm is None else cast(xp, to_logarithm, x.dtype)
    if to_sign is not None and xp.isdtype(x.dtype, "complex floating"):
        turning = xp.astype(xp.imag(xp.multiply(to_sign, out[0])), x.dtype) * 1j
        total = turning if total is None else xp.add(total, turning)
    if total is None:
        return xp.zeros_like(x)
    return xp.multiply(_over_matrices(xp, total), xp.matrix_transpose(xp.linalg.inv(x)))


rule("linalg.slogdet", _pull_slogdet, many=True)


# --- Triangular factors ------------------------------------------------------------------------------


def _pull_cholesky(xp: Any, g: Any, out: Any, x: Any, *, upper: bool = False) -> Any:
    """dA = L⁻ᴴ H L⁻¹ with the Hermitian part H of Φ(Lᴴ dL), for A = L Lᴴ."""
    factor, c = (adjoint(xp, out), xp.matrix_transpose(g)) if upper else (out, conjugate(xp, g))
    turned = adjoint(xp, factor)
    inner = _hermitian(xp, _lower(xp, xp.matmul(turned, c)))
    half = xp.linalg.solve(turned, inner)
    return conjugate(xp, xp.linalg.solve(turned, adjoint(xp, half)))


rule("linalg.cholesky", _pull_cholesky)


def _pull_square_qr(xp: Any, q: Any, r: Any, to_q: Any, to_r: Any) -> Any:
    """dA = (dQ + Q C) R⁻ᴴ, where C = Φ(M) + Φ(M)ᴴ with M = R dRᴴ - dQᴴ Q: for a square R."""
    inner = xp.subtract(xp.matmul(r, adjoint(xp, to_r)), xp.matmul(adjoint(xp, to_q), q))
    pulled = xp.add(to_q, xp.matmul(q, 2 * _hermitian(xp, _lower(xp, inner))))
    return adjoint(xp, xp.linalg.solve(r, adjoint(xp, pulled)))


def _pull_qr(xp: Any, g: list[Any], out: Any, x: Any, *, mode: str = "reduced") -> Any:
    """Where A = [X, Y] has more columns than rows, Q is that of X, and R = [R_X, Qᴴ Y]."""
    (q, r), (m, n) = out, x.shape[-2:]
    if mode == "complete" and m > n:
        raise RecordError(
            f"linalg.qr: expected mode='reduced' for a matrix of {m} rows and {n} columns, found 'complete': the last "
            f"{m - n} columns of Q are any orthogonal ones and have no derivative; use mode='reduced'"
        )
    to_q, to_r = (xp.zeros_like(y) if c is None else conjugate(xp, c) for c, y in zip(g, (q, r), strict=True))
    if m >= n:
        return conjugate(xp, _pull_square_qr(xp, q, r, to_q, to_r))
    beside = to_r[..., m:]
    to_q = xp.add(to_q, xp.matmul(x[..., m:], adjoint(xp, beside)))
    square = _pull_square_qr(xp, q, r[..., :m], to_q, to_r[..., :m])
    return conjugate(xp, xp.concat([square, xp.matmul(q, beside)], axis=-1))


rule("linalg.qr", _pull_qr, many=True)


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
    """dA = V (diag(dw) + F ∘ (Vᴴ dV)) Vᴴ, its Hermitian part, with F_ij = 1 / (w_j - w_i) beside the diagonal."""
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


# A push of its own: ``_shares`` looks at its argument, so that its transpose at zero would not be its transpose.
rule("linalg.eigh", _pull_eigh, push=_push_eigh, many=True)


@composed("linalg.eigvalsh")
def _eigvalsh(xp: Any, x: Any) -> Any:
    return xp.linalg.eigh(x)[0]


def _check_factors(x: Any, full_matrices: bool) -> None:
    m, n = x.shape[-2:]
    if full_matrices and m != n:
        raise RecordError(
            f"linalg.svd: expected full_matrices=False for a matrix of {m} rows and {n} columns, found True (the "
            f"default): the last {abs(m - n)} singular vectors of the longer side are any orthogonal ones and have no "
            "derivative; use full_matrices=False"
        )


def _singular_gaps(xp: Any, s: Any) -> Any:
    """Return the matrix of s_j² - s_i², and 2 s_i² on the diagonal, by which phases are divided."""
    row, column = xp.expand_dims(s, axis=-2), xp.expand_dims(s, axis=-1)
    gaps = (row - column) * (row + column)
    return gaps + identity(xp, gaps) * (2 * row * row)


def _pull_svd(xp: Any, g: list[Any], out: Any, x: Any, *, full_matrices: bool = True) -> Any:
    """dA = U [(F ∘ (X - Xᴴ)) S + S (F ∘ (Y - Yᴴ)) + diag(ds)] Vᴴ and, where A is not square, parts outside of U or V.

    Here X = Uᴴ dU and Y = Vᴴ dV, and F is one over the gaps. The phase that u_i and v_i share is left to u_i.
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
    """With M = Uᴴ dA V: ds = Re diag(M), dU = U (F ∘ (M S + S Mᴴ)), dV = V (F ∘ (S M + Mᴴ S)), and parts outside."""
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


rule("linalg.svd", _pull_svd, push=_push_svd, many=True)


@composed("linalg.svdvals")
def _svdvals(xp: Any, x: Any) -> Any:
    return xp.linalg.svd(x, full_matrices=False)[1]
