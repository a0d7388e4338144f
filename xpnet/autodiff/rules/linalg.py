"""Rules of the matrix functions: matrix-form backpropagation is what ``matmul`` says."""

from __future__ import annotations

from typing import Any

from xpnet.autodiff.rules.rule import fit, linear, rule

__all__: list[str] = []


def _as_matrices(xp: Any, g: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Return the three arrays of ``out = x @ y`` with vectors written as one-column or one-row matrices."""
    if len(x.shape) == 1 and len(y.shape) == 1:
        g = xp.reshape(g, (1, 1))
    elif len(x.shape) == 1:
        g = xp.expand_dims(g, axis=-2)
    elif len(y.shape) == 1:
        g = xp.expand_dims(g, axis=-1)
    x = xp.expand_dims(x, axis=0) if len(x.shape) == 1 else x
    y = xp.expand_dims(y, axis=1) if len(y.shape) == 1 else y
    return g, x, y


def _pull_left(xp: Any, g: Any, out: Any, x: Any, y: Any) -> Any:
    """dX = dY Wᵀ for Y = X W."""
    g, _, matrix = _as_matrices(xp, g, x, y)
    pulled = xp.matmul(g, xp.matrix_transpose(matrix))
    return fit(xp, xp.reshape(pulled, pulled.shape[:-2] + x.shape) if len(x.shape) == 1 else pulled, x)


def _pull_right(xp: Any, g: Any, out: Any, x: Any, y: Any) -> Any:
    """dW = Xᵀ dY for Y = X W."""
    g, matrix, _ = _as_matrices(xp, g, x, y)
    pulled = xp.matmul(xp.matrix_transpose(matrix), g)
    return fit(xp, xp.reshape(pulled, pulled.shape[:-2] + y.shape) if len(y.shape) == 1 else pulled, y)


def _push_product(xp: Any, tangents: list[Any], out: Any, x: Any, y: Any) -> Any:
    """dY = dX W + X dW."""
    dx, dy = tangents
    if dy is None:
        return xp.matmul(dx, y)
    return xp.matmul(x, dy) if dx is None else xp.add(xp.matmul(dx, y), xp.matmul(x, dy))


rule("matmul", _pull_left, _pull_right, push=_push_product)
linear("matrix_transpose", lambda xp, g, out, x: xp.matrix_transpose(g))


def _pull_vecdot(xp: Any, g: Any, other: Any, x: Any, axis: int) -> Any:
    return fit(xp, xp.multiply(xp.expand_dims(g, axis=axis), other), x)


rule(
    "vecdot",
    lambda xp, g, out, x, y, *, axis=-1: _pull_vecdot(xp, g, y, x, axis),
    lambda xp, g, out, x, y, *, axis=-1: _pull_vecdot(xp, g, x, y, axis),
)
