"""Arguments of every dtype, shape and layout in memory: compiled programs give what their functions give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet
from xpnet.backends import Backend, array_namespace

_SHAPES = [(3, 4), (5,), (), (0, 3), (3, 0), (1, 1), (2, 3, 4)]
_LAYOUTS: dict[str, Callable[[Any, Any], Any]] = {
    "rows": lambda xp, x: x,
    "columns": lambda xp, x: xp.matrix_transpose(xp.asarray(xp.matrix_transpose(x), copy=True)),
    "backwards": lambda xp, x: xp.asarray(x[::-1, ::-1], copy=True)[::-1, ::-1],
    "every other": lambda xp, x: xp.repeat(xp.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2],
    "broadcast": lambda xp, x: xp.broadcast_to(x[:1, :], x.shape),
}
_DTYPES = [
    *(pytest.param(name) for name in ("float32", "int8")),
    *(pytest.param(name, marks=pytest.mark.full) for name in ("float16", "complex64", "bool", "uint32")),
]


def _made(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    draw = np.random.default_rng(sum(shape))
    if dtype == "bool":
        return draw.random(shape) < 0.5
    if "int" in dtype:
        return draw.integers(0 if dtype[0] == "u" else -5, 6, size=shape).astype(dtype)
    x = draw.normal(size=shape)
    return np.asarray(x + 1j * draw.normal(size=shape) if "complex" in dtype else x).astype(dtype)


def _everything(x: Any) -> list[Any]:
    """Return what can be done to an array of a dtype."""
    xp = array_namespace(x)

    def is_a(*kinds: str) -> bool:
        return xp.isdtype(x.dtype, kinds)

    out = [
        xp.reshape(x, (-1,)), xp.flip(x), xp.expand_dims(x, axis=0), xp.stack([x, x]), x == x,
        xp.broadcast_to(x, (2, *x.shape)), xp.where(x == x, x, x), xp.astype(x, xp.bool), xp.any(x),
    ]  # fmt: skip
    if is_a("numeric"):
        out += [x + x, x * x - x, xp.square(x), xp.sum(x), xp.prod(x + x), xp.real(x), xp.sum(x, axis=())]
    if is_a("real floating", "integral"):
        out += [xp.abs(x), xp.maximum(x, x * x), xp.sign(x), x > x * x, xp.clip(x, 1, 2), xp.round(x)]
        out += [] if 0 in x.shape else [xp.max(x), xp.argmax(x), xp.min(x * x)]
    if is_a("real floating", "complex floating"):
        out += [-x, xp.exp(x), x / (x * x + 2), xp.sqrt(xp.abs(x)), xp.conj(x), xp.tanh(x), 2.5 * x, x**3]
        out += [] if 0 in x.shape else [xp.mean(x)]
    if is_a("integral"):
        out += [x // 3, x % 3, x << 1, x >> 1, x & 3, ~x, xp.astype(x, xp.float32)]
    if is_a("bool"):
        out += [xp.logical_not(x), x & x, x ^ x, xp.sum(xp.astype(x, xp.int64))]
    if x.ndim == 2:
        out += [xp.matrix_transpose(x), x[::-1, :], x[:, ::-1], x[:, :1], xp.roll(x, 1, axis=0), x[1:, ::2]]
        if is_a("numeric"):
            out += [x[::-1, :] + x, xp.sum(x * x, axis=1, keepdims=True) + x, xp.cumulative_sum(x, axis=0)]
            out += [] if str(x.dtype) == "float16" else [x @ xp.matrix_transpose(x)]
    return out


@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize(
    ("backend", "lower"),
    [
        pytest.param("numpy", "numpy", id="numpy"),
        pytest.param("numpy", "numba", id="numba", marks=pytest.mark.full),
        pytest.param("cupy:0", "cupy", id="cupy", marks=pytest.mark.full),
    ],
    indirect=["backend"],
)
def test_of_every_dtype_shape_and_layout(backend: Backend, lower: str, dtype: str) -> None:
    f = xpnet.compile(lambda *arrays: [_everything(x) for x in arrays], lower=lower)
    matrix, *others = [backend.xp.asarray(_made(dtype, shape)) for shape in _SHAPES]  # float16 too
    for layout in _LAYOUTS.values():
        given = [layout(backend.xp, matrix), *others]
        before = [backend.to_host(x).copy() for x in given]
        with np.errstate(all="ignore"):
            want = [_everything(x) for x in before]
            for got in (f(*given), f(*given)):
                for x, found, expected in zip(before, got, want, strict=True):
                    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
                        _assert_near(backend.to_host(a), np.asarray(b), f"{i} of {x.shape}")
        for x, kept in zip(given, before, strict=True):
            np.testing.assert_array_equal(backend.to_host(x), kept)
    assert not f.reason
    assert f.recordings == 1


def _assert_near(got: np.ndarray, want: np.ndarray, which: str) -> None:
    assert (got.dtype, got.shape) == (want.dtype, want.shape), which
    if got.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, want, err_msg=which)
        return
    near = 100 * float(np.finfo(got.dtype).eps)
    size = float(np.max(np.abs(want), initial=1, where=np.isfinite(want)))
    np.testing.assert_allclose(got, want, rtol=near, atol=near * size, err_msg=which)
