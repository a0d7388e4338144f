"""Rules of inverses and determinants of matrices; all take stacks of matrices.

Notation: Aᵀ is the transpose, Aᴴ the conjugate transpose. Where conjugates occur, pulls compute with the
conjugate of the cotangent, which is the cotangent of the literature.

Where there is no derivative:

- ``inv``, ``solve`` and ``slogdet`` have none at singular matrices, where most libraries raise;
- ``det`` is a polynomial: its first and second derivatives are right at singular matrices, too, but those
  beyond are left out there;
- ``pinv`` has one among matrices of the same rank; singular values that ``rtol`` cuts off are taken for
  zeros.

Sources: M. Giles, "An extended collection of matrix derivative results for forward and reverse mode
algorithmic differentiation" (2008); G. Golub and V. Pereyra, "The differentiation of pseudo-inverses and
nonlinear least squares problems whose variables separate" (1973).
"""

from __future__ import annotations

import math
from typing import Any

from xpnet.autodiff.rules import batched_products
from xpnet.autodiff.rules.batching import last_axes
from xpnet.autodiff.rules.linalg import adjoint, conjugate, identity
from xpnet.autodiff.rules.rule import cast, constant, fit, rule

__all__: list[str] = []


# --- Inverses ----------------------------------------------------------------------------------------


def _sandwich(xp: Any, inverse: Any, x: Any) -> Any:
    return -xp.matmul(inverse, xp.matmul(x, inverse))


rule(
    "linalg.inv",
    lambda xp, g, out, x: _sandwich(xp, xp.matrix_transpose(out), g),
    push=lambda xp, tangents, out, x: _sandwich(xp, out, tangents[0]),  # d(A⁻¹) = -A⁻¹ dA A⁻¹
    batch=last_axes(2),
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


rule("linalg.solve", _pull_solved_matrix, _pull_right_side, batch=batched_products.solve)


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


rule("linalg.pinv", _pull_pinv, batch=last_axes(2))
constant("linalg.matrix_rank", batch=last_axes(2))


# --- Determinants ------------------------------------------------------------------------------------


def _beside_matrices(xp: Any, x: Any) -> Any:
    """Return one number for each matrix of a stack in a shape that broadcasts with them."""
    return xp.reshape(x, (*x.shape, 1, 1))


def _cofactors_near_singular(xp: Any, x: Any, u: Any, s: Any, vh: Any) -> Any:
    """Return the cofactors of A, given its singular value decomposition, by a Taylor series of two terms.

    For A = U M Vᴴ they are det(U) det(Vᴴ) conj(U) cof(M) Vᵀ. At the present A, whose U and V are used, M is
    diagonal; to first order in its changes, cof(M) has the entries Π_{k≠i} m_kk on the diagonal and
    -m_ji Π_{k≠i,j} m_kk beside it.
    """
    same = identity(xp, x)
    others = xp.where(same == 1, 1.0, xp.expand_dims(s, axis=-2))  # row i: the singular values but the i-th
    before = xp.cumulative_prod(others, axis=-1, include_initial=True)[..., :-1]
    behind = xp.cumulative_prod(xp.flip(others, axis=-1), axis=-1, include_initial=True)[..., :-1]
    pairs = xp.multiply(1 - same, xp.multiply(before, xp.flip(behind, axis=-1)))  # Π_{k≠i,j} s_k
    change = xp.subtract(x, xp.stop_gradient(x))  # zero, but it carries the derivative
    change = xp.matmul(adjoint(xp, u), xp.matmul(change, adjoint(xp, vh)))
    diagonal = xp.expand_dims(xp.linalg.diagonal(change), axis=-2)
    products = xp.add(xp.prod(others, axis=-1), xp.sum(xp.multiply(pairs, diagonal), axis=-1))
    inner = xp.multiply(same, xp.expand_dims(products, axis=-1))
    inner = xp.subtract(inner, xp.multiply(pairs, xp.matrix_transpose(change)))
    sides = xp.multiply(xp.linalg.det(u), xp.linalg.det(vh))
    turned = xp.matmul(conjugate(xp, u), xp.matmul(inner, conjugate(xp, vh)))
    return xp.multiply(_beside_matrices(xp, sides), turned)


def _pull_det(xp: Any, g: Any, out: Any, x: Any) -> Any:
    """The derivative of a determinant is the matrix of cofactors: det(A) A⁻ᵀ, unless A is nearly singular.

    Whether it is, its singular values tell, which costs more than all else: ``slogdet`` does without.
    """
    if x.shape[-1] == 0:
        return xp.zeros_like(x)
    plain = xp.stop_gradient(x)
    u, s, vh = xp.linalg.svd(xp.where(xp.isfinite(plain), plain, 0.0), full_matrices=False)
    limit = math.sqrt(float(xp.finfo(s.dtype).eps))
    singular = _beside_matrices(xp, s[..., -1] <= limit * s[..., 0])
    inverse = xp.linalg.inv(xp.where(singular, identity(xp, x), x))
    regular = xp.multiply(_beside_matrices(xp, out), xp.matrix_transpose(inverse))
    s = xp.where(singular[..., 0], s, 1.0)  # others might overflow
    cofactors = xp.where(singular, _cofactors_near_singular(xp, x, u, s, vh), regular)
    return xp.multiply(_beside_matrices(xp, g), cofactors)


rule("linalg.det", _pull_det, batch=last_axes(2))


def _pull_slogdet(xp: Any, g: list[Any], out: Any, x: Any) -> Any:
    """d log|det A| = Re t and d sign = i sign Im t with t = tr(A⁻¹ dA); a real sign is constant."""
    to_sign, to_logarithm = g
    total = None if to_logarithm is None else cast(xp, to_logarithm, x.dtype)
    if to_sign is not None and xp.isdtype(x.dtype, "complex floating"):
        turning = xp.astype(xp.imag(xp.multiply(to_sign, out[0])), x.dtype) * 1j
        total = turning if total is None else xp.add(total, turning)
    if total is None:
        return xp.zeros_like(x)
    return xp.multiply(_beside_matrices(xp, total), xp.matrix_transpose(xp.linalg.inv(x)))


rule("linalg.slogdet", _pull_slogdet, many=True, batch=last_axes(2))
