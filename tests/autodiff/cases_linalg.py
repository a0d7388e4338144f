"""Cases of the matrix functions: products, norms, inverses, determinants and factorizations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.autodiff.rule_cases import Case
from tests.support import draw

__all__ = ["CASES", "CONSTANTS"]

CASES: list[Case] = []


def _case(rule: str, label: str, function: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Enter a case; an argument is an array, or a shape to draw one of."""
    drawn = tuple(draw(7 + i, x) if isinstance(x, tuple) else x for i, x in enumerate(args))
    CASES.append(Case(rule, label, function, drawn, **options))


def _apart(*shape: int, seed: int = 3) -> np.ndarray:
    """Return matrices whose singular values and eigenvalues are about 1, 2, 3 ..."""
    made = draw(seed, shape, -0.3, 0.3) + np.eye(*shape[-2:]) * (1 + np.arange(shape[-1]))
    made.flags.writeable = False
    return made


def _named(name: str, **options: Any) -> Callable[..., Any]:
    return lambda xp, *args: getattr(xp.linalg, name)(*args, **options)


def _complex(xp: Any, x: Any, y: Any) -> Any:
    """Return x + i y."""
    dtype = xp.complex128 if x.dtype == xp.float64 else xp.complex64
    return xp.astype(x, dtype) + 1j * xp.astype(y, dtype)


def _parts(xp: Any, z: Any) -> Any:
    """Return the real part of z and, if it is complex, its imaginary part."""
    return xp.stack([xp.real(z), xp.imag(z)]) if xp.isdtype(z.dtype, "complex floating") else z


def _of_complex(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a real function of the real and imaginary parts of each argument in turn."""

    def run(xp: Any, *parts: Any) -> Any:
        return _parts(xp, function(xp, *(_complex(xp, *parts[i : i + 2]) for i in range(0, len(parts), 2))))

    return run


def _combined(name: str, combine: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Return ``combine`` of what a function with several results returns."""
    return lambda xp, x: combine(xp, *getattr(xp.linalg, name)(x, **options))


def _adjoint(xp: Any, x: Any) -> Any:
    turned = xp.matrix_transpose(x)
    return xp.conj(turned) if xp.isdtype(x.dtype, "complex floating") else turned


def _of_hermitian(name: str, combine: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Return the function of (X + Xᴴ) / 2, so that finite differences stay among Hermitian matrices."""
    function = _named(name) if combine is None else _combined(name, combine)
    return lambda xp, x: function(xp, (x + _adjoint(xp, x)) * 0.5)


def _of_positive(name: str, **options: Any) -> Callable[..., Any]:
    """Return the function of 1 + X Xᴴ, which is positive definite."""
    function = _named(name, **options)
    return lambda xp, x: function(xp, xp.matmul(x, _adjoint(xp, x)) + xp.tril(xp.triu(xp.ones_like(x))))


def _sizes(xp: Any, x: Any) -> Any:
    """Return |x|², which no sign or phase changes."""
    size = xp.abs(x)
    return size * size


# --- Products ----------------------------------------------------------------------------------------

_case("matmul", "of-linalg", _named("matmul"), (3, 4), (4, 2))
_case("matmul", "complex", _of_complex(lambda xp, x, y: xp.matmul(x, y)), (2, 3), (2, 3), (3, 2), (3, 2))
_case("vecdot", "other-axis", lambda xp, x, y: xp.vecdot(x, y, axis=-2), (3, 4), (2, 3, 1))
_case("vecdot", "complex", _of_complex(lambda xp, x, y: xp.vecdot(x, y)), (2, 3), (2, 3), (3,), (3,))
_case("tensordot", "two-axes", lambda xp, x, y: xp.tensordot(x, y), (2, 3, 4), (3, 4, 2))
_case("tensordot", "one-axis", lambda xp, x, y: xp.tensordot(x, y, axes=1), (2, 3), (3, 4))
_case("tensordot", "no-axis", lambda xp, x, y: xp.tensordot(x, y, axes=0), (2,), (3, 1))
_case("tensordot", "pairs", lambda xp, x, y: xp.tensordot(x, y, axes=((2, 0), (0, -1))), (2, 3, 4), (4, 5, 2))
_case("tensordot", "all-axes", lambda xp, x, y: xp.tensordot(x, y, axes=((0, 1), (1, 0))), (2, 3), (3, 2))
_case(
    "tensordot",
    "complex",
    _of_complex(lambda xp, x, y: xp.tensordot(x, y, axes=1)),
    (2, 3),
    (2, 3),
    (3,),
    (3,),
)
_case("linalg.cross", "vectors", _named("cross"), (3,), (3,))
_case("linalg.cross", "broadcast", _named("cross"), (2, 3), (3,))
_case("linalg.cross", "axis", _named("cross", axis=-2), (3, 2), (3, 2))
_case("linalg.cross", "complex", _of_complex(_named("cross")), (2, 3), (2, 3), (3,), (3,))
_case("linalg.outer", "vectors", _named("outer"), (2,), (3,), torch=lambda t, x, y: t.outer(x, y))
_case("linalg.outer", "complex", _of_complex(_named("outer")), (2,), (2,), (1,), (1,))
for _power in (0, 1, 2, 3, 6, -1, -3):
    _case("linalg.matrix_power", f"to-the-{_power}", lambda xp, x, n=_power: x + xp.linalg.matrix_power(x, n),
          _apart(3, 3))  # fmt: skip
_case("linalg.matrix_power", "stack", lambda xp, x: xp.linalg.matrix_power(x, 3), (2, 1, 2, 2))
_case("linalg.matrix_power", "complex", _of_complex(lambda xp, x: xp.linalg.matrix_power(x, -2)),
      _apart(2, 2), (2, 2))  # fmt: skip
for _offset in (0, 1, -2, 4):
    _case("linalg.diagonal", f"offset-{_offset}", _named("diagonal", offset=_offset), (2, 3, 4))
    _case("linalg.trace", f"offset-{_offset}", _named("trace", offset=_offset), (4, 3), peers=("jax",))
_case("linalg.trace", "stack", _named("trace"), (2, 1, 3, 3), torch=lambda t, x: t.einsum("abii->ab", x))
_case("linalg.trace", "complex", _of_complex(_named("trace")), (2, 2), (2, 2))

# --- Norms -------------------------------------------------------------------------------------------

for _ord in (2, 1, 0, 3, 1.5, 0.5, -1, -2, math.inf, -math.inf):
    _case(
        "linalg.vector_norm",
        f"ord-{_ord}",
        lambda xp, x, o=_ord: x[0, 0] + xp.linalg.vector_norm(x, ord=o),
        (3, 4),
    )
for _power in (2, 3, 0.5, -1):
    _case("root", f"{_power}", lambda xp, x, p=_power: xp.root(x * x, p), (3,), peers=("torch",))
_case("linalg.vector_norm", "axis", _named("vector_norm", axis=0), (3, 4))
_case("linalg.vector_norm", "axes-kept", _named("vector_norm", axis=(0, -1), keepdims=True, ord=3), (3, 2, 4))
_case("linalg.vector_norm", "all-kept", _named("vector_norm", keepdims=True), (3, 1))
_case(
    "linalg.vector_norm", "largest-kept", _named("vector_norm", axis=-1, keepdims=True, ord=math.inf), (3, 4)
)
_case("linalg.vector_norm", "0-d", _named("vector_norm"), ())
for _ord in (2, 3, math.inf):
    _case(
        "linalg.vector_norm",
        f"complex-{_ord}",
        _of_complex(_named("vector_norm", ord=_ord, axis=-1)),
        (2, 3),
        (2, 3),
    )
for _ord in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf):
    _case("linalg.matrix_norm", f"ord-{_ord}", _named("matrix_norm", ord=_ord), _apart(3, 2))
    _case(
        "linalg.matrix_norm",
        f"stack-kept-{_ord}",
        _named("matrix_norm", ord=_ord, keepdims=True),
        _apart(2, 2, 3),
    )
for _ord in ("fro", "nuc", 1, 2):
    _case(
        "linalg.matrix_norm",
        f"complex-{_ord}",
        _of_complex(_named("matrix_norm", ord=_ord)),
        _apart(2, 2),
        (2, 2),
    )

# --- Inverses and determinants -----------------------------------------------------------------------

for _label, _left, _right in (
    ("matrix", (3, 3), (3, 2)), ("vector", (3, 3), (3,)), ("stacks", (2, 3, 3), (2, 3, 1)),
    ("stack-vector", (2, 3, 3), (3,)), ("broadcast", (2, 1, 2, 2), (3, 2, 2)),
    ("matrix-stack", (2, 2), (3, 2, 1)), ("size-one", (1, 1), (1,)),
):  # fmt: skip
    _of_columns = (lambda t, x, y: t.linalg.solve(x, y[:, None])[..., 0]) if len(_right) == 1 else None
    _case("linalg.solve", _label, _named("solve"), _apart(*_left), draw(4, _right), torch=_of_columns)
_case("linalg.solve", "complex", _of_complex(_named("solve")), _apart(2, 2), (2, 2), (2, 1), (2, 1))
for _name in ("inv", "det", "pinv"):
    _case(f"linalg.{_name}", "matrix", _named(_name), _apart(3, 3))
    _case(f"linalg.{_name}", "stack", _named(_name), _apart(2, 1, 2, 2))
    _case(f"linalg.{_name}", "size-one", _named(_name), _apart(1, 1))
    _case(f"linalg.{_name}", "complex", _of_complex(_named(_name)), _apart(2, 2), (2, 2))
_RANK_TWO = np.asarray([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])
_RANK_ONE = np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 0.5])
_case("linalg.det", "singular", _named("det"), _RANK_TWO, peers=("jax",))  # PyTorch gives zero
_case("linalg.det", "some-singular", _named("det"), np.stack([_RANK_ONE, np.eye(3)]))
_case("linalg.det", "zero", _named("det"), np.zeros((2, 2)), peers=("jax",))
_case("linalg.pinv", "tall", _named("pinv"), _apart(4, 2))
_case("linalg.pinv", "wide-stack", _named("pinv", rtol=1e-4), _apart(2, 2, 3))
_case("linalg.pinv", "complex-tall", _of_complex(_named("pinv")), _apart(3, 2), (3, 2))
_case("linalg.pinv", "low-rank", lambda xp, x, y: xp.linalg.pinv(xp.matmul(x, y), rtol=1e-3), _apart(3, 2),
      _apart(2, 4), torch=lambda t, x, y: t.linalg.pinv(x @ y, rtol=1e-3))  # fmt: skip


def _scaled(xp: Any, sign: Any, logarithm: Any) -> Any:
    return sign * xp.astype(logarithm * logarithm, sign.dtype)


_case(
    "linalg.slogdet", "logarithm", _combined("slogdet", lambda xp, sign, logarithm: logarithm), _apart(3, 3)
)
_case("linalg.slogdet", "both", lambda xp, x: _scaled(xp, *xp.linalg.slogdet(-x)), _apart(2, 3, 3))
_case("linalg.slogdet", "complex", _of_complex(_combined("slogdet", _scaled)), _apart(2, 2), (2, 2))
_case("linalg.slogdet", "complex-sign", _of_complex(_combined("slogdet", lambda xp, sign, logarithm: sign)),
      _apart(2, 2), (2, 2))  # fmt: skip

# --- Factorizations ----------------------------------------------------------------------------------


def _small(*shape: int) -> np.ndarray:
    """Return small imaginary parts."""
    return draw(4, shape, -0.3, 0.3)


for _upper in (False, True):
    _name = "upper" if _upper else "lower"
    _function = _of_positive("cholesky", upper=_upper)
    _case("linalg.cholesky", _name, _function, _apart(3, 3))
    _case("linalg.cholesky", f"complex-{_name}", _of_complex(_function), _apart(3, 3), _small(3, 3))
_case("linalg.cholesky", "stack", _of_positive("cholesky"), _apart(2, 1, 2, 2))

for _label, _shape in {"tall": (4, 2), "square": (3, 3), "wide": (2, 4), "stack": (2, 3, 2)}.items():
    for _i, _factor in enumerate("QR"):
        _function = _combined("qr", lambda xp, *factors, i=_i: factors[i])
        _case("linalg.qr", f"{_label}-{_factor}", _function, _apart(*_shape))
        _case(
            "linalg.qr",
            f"complex-{_label}-{_factor}",
            _of_complex(_function),
            _apart(*_shape),
            _small(*_shape),
        )
_case("linalg.qr", "both", _combined("qr", lambda xp, q, r: xp.matmul(r, q)), _apart(3, 3))
_case("linalg.qr", "complete-wide", _combined("qr", lambda xp, q, r: r, mode="complete"), _apart(2, 3))

_of_eigenvectors = _of_hermitian("eigh", lambda xp, w, v: xp.sin(w) * _sizes(xp, v))
_case("linalg.eigh", "values", _of_hermitian("eigh", lambda xp, w, v: w), _apart(3, 3))
_case("linalg.eigh", "vectors", _of_hermitian("eigh", lambda xp, w, v: _sizes(xp, v)), _apart(2, 3, 3))
_case("linalg.eigh", "both", _of_eigenvectors, _apart(3, 3))
_case("linalg.eigh", "complex", _of_complex(_of_eigenvectors), _apart(3, 3), _small(3, 3))
_case("linalg.eigvalsh", "matrix", _of_hermitian("eigvalsh"), _apart(3, 3))
_case("linalg.eigvalsh", "complex", _of_complex(_of_hermitian("eigvalsh")), _apart(2, 2, 2), (2, 2, 2))


def _of_vectors(xp: Any, w: Any, v: Any) -> Any:
    """Return what no phase of the vectors changes: sizes of entries, products of neighbours."""
    beside = xp.multiply(v[..., 1:, :], xp.conj(v[..., :-1, :]))
    return xp.concat([_sizes(xp, v), xp.real(beside), xp.imag(beside)], axis=-2)


def _weighed(xp: Any, w: Any, v: Any) -> Any:
    return xp.multiply(_sizes(xp, v), xp.expand_dims(xp.sin(xp.real(w)) + xp.imag(w) ** 3, axis=-2))


_TURNING = np.asarray([[1.0, 3.0, 0.5], [-2.0, 1.5, 0.2], [0.3, -0.4, 4.0]])  # two values are complex
for _label, _matrix in {"turning": _TURNING, "stack": _apart(2, 3, 3), "size-one": _apart(1, 1)}.items():
    _case("linalg.eig", f"vectors-{_label}", _combined("eig", _of_vectors), _matrix, peers=("torch",))
    _case("linalg.eig", f"both-{_label}", _combined("eig", _weighed), _matrix, peers=("torch",))
    _case("linalg.eigvals", _label, lambda xp, x: _parts(xp, xp.linalg.eigvals(x)), _matrix)
_case("linalg.eig", "complex", _of_complex(_combined("eig", _of_vectors)), _apart(3, 3), _small(3, 3),
      peers=("torch",))  # fmt: skip
_case("linalg.eigvals", "complex", _of_complex(_named("eigvals")), _apart(2, 2, 2), (2, 2, 2))

for _label, _shape in {"square": (3, 3), "tall": (4, 2), "wide-stack": (2, 2, 3)}.items():
    for _i, _factor in enumerate("USV"):
        _function = _combined("svd", lambda xp, *factors, i=_i: _sizes(xp, factors[i]), full_matrices=False)
        _case("linalg.svd", f"{_label}-{_factor}", _function, _apart(*_shape))
        _case(
            "linalg.svd",
            f"complex-{_label}-{_factor}",
            _of_complex(_function),
            _apart(*_shape),
            _small(*_shape),
        )
    _function = _combined("svd", lambda xp, u, s, vh: xp.matmul(u, vh), full_matrices=False)
    _case(
        "linalg.svd", f"complex-{_label}-rotation", _of_complex(_function), _apart(*_shape), _small(*_shape)
    )
_case("linalg.svd", "size-one", _combined("svd", lambda xp, u, s, vh: xp.matmul(u, vh) * s), _apart(1, 1))
_case("linalg.svd", "full-square", _combined("svd", lambda xp, u, s, vh: u * u), _apart(3, 3))
_case("linalg.svdvals", "matrix", _named("svdvals"), _apart(3, 2))
_case("linalg.svdvals", "complex", _of_complex(_named("svdvals")), _apart(2, 2, 3), (2, 2, 3))

# --- Functions without derivative --------------------------------------------------------------------

CONSTANTS: dict[str, Callable[..., Any]] = {
    "linalg.matrix_rank": lambda xp, x: xp.linalg.matrix_rank(x, rtol=1e-4),
}
