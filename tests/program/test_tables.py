"""What networks for tables need beside groups and products of matrices, in all lowerings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.program.cases import joined
from tests.program.lowerings import assert_as_uncompiled
from xpnet.autodiff import functions
from xpnet.backends import array_namespace
from xpnet.backends.lacking import extended
from xpnet.program.lowerings import blas_libraries
from xpnet.program.lowerings.base import LOWERINGS
from xpnet.program.passes.simplify import simplify
from xpnet.program.program import Program

DRAW = np.random.default_rng(0)
X, WIDE = DRAW.normal(size=(40, 6, 9)), DRAW.normal(size=(70, 130))
FAR = np.concatenate([WIDE.reshape(-1), [np.inf, -np.inf, np.nan, 1e22, -0.0, 2.0**20, 1e6, 4e5]])
CODES = np.asarray([[0.0, 2.0], [np.nan, 6.7], [3.0, -1.0], [2.0, 7.0], [2.0, np.inf]])
COLUMNS = np.asarray([4, 0, -1])


def _space(x: Any) -> Any:
    return extended(array_namespace(x)) if isinstance(x, np.ndarray) else x.__array_namespace__()


def _permuted(x: Any) -> Any:
    return _space(x).permute_dims(x, (1, 0, 2))


CASES: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
    "stack": (lambda x, y: x @ y, [X, DRAW.normal(size=(40, 9, 7))]),
    "stack, turned": (lambda x, y: _permuted(x) @ y, [X, DRAW.normal(size=(6, 9, 7))]),
    "stack, of transposes": (
        lambda x, y: _space(x).matrix_transpose(x) @ y, [X, DRAW.normal(size=(40, 6, 2))]
    ),
    "stack, of large ones": (
        lambda x, y: _permuted(x) @ y, [DRAW.normal(size=(50, 4, 33)), DRAW.normal(size=(4, 33, 20))]
    ),
    "stack, of columns": (lambda x, y: x @ y, [X, DRAW.normal(size=(40, 9, 1))]),
    "stack, of one": (lambda x, y: x @ y, [X[:1], DRAW.normal(size=(1, 9, 5))]),
    "stack, of one with many": (lambda x, y: x @ y, [X[:1], DRAW.normal(size=(4, 9, 50))]),
    "stack, of many with one": (lambda x, y: x @ y, [X, DRAW.normal(size=(1, 9, 50))]),
    "placed": (lambda x: _space(x).place(x, (slice(None), slice(3, 9)), (40, 12, 9)) * 2, [X]),
    "placed at a number": (lambda x: _space(x).place(x, (..., -2), (40, 6, 9, 4)) * 2, [X]),
    "placed by numbers": (lambda x: _space(x).place(x, (slice(None), np.arange(6)), (40, 12, 9)), [X]),
    "placed in a vector": (lambda x: _space(x).place(x, slice(2, 11), (40,)) * 2, [X[0, 0]]),
    "stack, of a vector": (lambda x, y: x[0, 0] @ y, [X, DRAW.normal(size=(4, 9, 7))]),
    "first sum": (lambda x: _space(x).sum(x[1:], axis=0), [X]),
    "middle sum": (lambda x: _space(x).sum(x, axis=1), [X]),
    "middle sum, kept": (lambda x: _space(x).sum(x * x, axis=1, keepdims=True) + x, [X]),
    "middle sum of a part": (lambda x: _space(x).sum(x[:, 1:4, ::2], axis=-2), [X]),
    "joined columns": (lambda x: _space(x).concat([x, x[:, :3] * 2, x[:, ::-1]], axis=1), [WIDE]),
    "joined planes": (lambda x: _space(x).concat([_permuted(x), _permuted(x)[:, :4]], axis=-2), [X]),
    "reshaped": (lambda x: _space(x).reshape(_permuted(x), (-1, 9 * 40)) * 2, [X]),
    "chosen columns": (lambda x: _space(x).take(x, COLUMNS, axis=1) + 1, [WIDE]),
    "chosen planes": (lambda x: _space(x).take(x, COLUMNS, axis=1) + 1, [X]),
    "embedding": (lambda t, c: functions.embedding(t, c) * 2, [X[:7, 0], CODES]),
    "embedding of whole numbers": (lambda t, c: functions.embedding(t, c) * 2, [X[:7, 0], np.arange(-2, 9)]),
    "embedding of one entry": (lambda t, c: functions.embedding(t, c) * 2, [X[:7, 0, :1], CODES]),
    "embedding_transpose": (lambda g, c: _space(g).embedding_transpose(g, c, 7) * 2, [X[:5, :2], CODES]),
    "embedding_transpose of a row": (lambda g, c: _space(g).embedding_transpose(g, c, 1), [X[:5, :2], CODES]),
    "sine": (lambda x: _space(x).sin(x), [FAR]),
    "cosine": (lambda x: _space(x).cos(x * 3), [WIDE]),
    "cosine of a part": (lambda x: _space(x).cos(x[:, 1:]), [WIDE]),
}  # fmt: skip


def _program(dtype: str) -> tuple[Program, list[np.ndarray], list[str]]:
    """Return one program of all cases, and its arguments."""
    cases = {
        name: (function, [x.astype(dtype) if x.dtype.kind == "f" else x for x in args])
        for name, (function, args) in CASES.items()
    }
    run, args, names = joined(cases)
    with np.errstate(invalid="ignore"):
        return xpnet.record(run)(*args), args, names


@pytest.mark.parametrize(
    ("lower", "dtype", "threads"),
    [
        ("numpy", "float32", 1),
        ("numba", "float32", 1),
        pytest.param("numba", "float64", 3, marks=pytest.mark.full),
        pytest.param("cupy", "float32", 1, marks=pytest.mark.backends("cupy")),
        pytest.param("cupy", "float64", 1, marks=pytest.mark.backends("cupy")),
    ],
)
def test_lowerings_do_what_numpy_does(
    lower: str, dtype: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := LOWERINGS[lower].reason():
        pytest.skip(f"{lower}: {reason}")
    if threads > 1:
        from xpnet.program.lowerings.numba import partition

        monkeypatch.setattr(blas_libraries, "threads", lambda: threads)
        for name in ("_PART", "_WAKING", "_MEETING", "_BARRIER"):
            monkeypatch.setattr(partition, name, 0.01)
    program, args, names = _program(dtype)
    assert_as_uncompiled(program, args, lower, ulps=None if lower == "numpy" else 64, names=names)


def test_numba_leaves_three_cases_to_numpy() -> None:
    lowering = pytest.importorskip("xpnet.program.lowerings.numba.lowering", reason="numba is not installed")
    plan = lowering._plan(simplify(_program("float32")[0]), {})
    code = lowering._code_of(plan, once=True)
    code.write_all()
    left = [
        op.name for op in plan.program.operations
        if id(op) not in code.code and op.results[0] not in plan.aliasing.views
    ]  # fmt: skip
    # by numbers in an array, of a vector with a stack, of a part that does not lie side by side
    assert left == ["place", "matmul", "cos"]
