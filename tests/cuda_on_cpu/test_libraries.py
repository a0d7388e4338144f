"""cuSPARSE and CUB on the host: results beside NumPy's, and what must be refused is refused."""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np
import pytest

if "CUDA_ON_CPU_BUILD" not in os.environ:
    pytest.skip("shows what CuPy on the host does: run by scripts/gpu --host", allow_module_level=True)

import cupy
import cupyx.scipy.sparse as sparse
from cupy._core import _accelerator
from cupy_backends.cuda.libs import cusparse
from cupyx.cusparse import DnMatDescriptor, SpMatDescriptor

pytestmark = pytest.mark.backends("cupy")

FLOATS = ("float32", "float64", "complex64", "complex128")
# How far apart sums of some dozen numbers may be.
TOLERANCE = {"float16": 2e-2, "float32": 1e-5, "complex64": 1e-5}


def draw(*shape: int, dtype: str) -> np.ndarray:
    generator = np.random.default_rng(0)
    x = generator.normal(size=shape) * 2
    return (x + 1j * generator.normal(size=shape) if dtype[0] == "c" else x).astype(dtype)


# ---- cuSPARSE


def thinned(dtype: str) -> np.ndarray:
    x = draw(6, 9, dtype=dtype)
    x[np.random.default_rng(1).uniform(size=x.shape) > 0.3] = 0
    return x


@pytest.mark.parametrize("dtype", FLOATS)
def test_sparse_products(dtype: str) -> None:
    a, b = thinned(dtype), draw(9, 4, dtype=dtype)
    found = sparse.csr_matrix(cupy.asarray(a))
    assert found.nnz == np.count_nonzero(a)
    assert found.indptr.get().tolist() == [0, *np.cumsum(np.count_nonzero(a, axis=1))]
    np.testing.assert_array_equal(found.data.get(), a[a != 0])
    np.testing.assert_array_equal(found.indices.get(), np.nonzero(a)[1])
    pairs = {
        "matrix": (found @ cupy.asarray(b), a @ b),
        "columns in rows": (found @ cupy.asarray(b.T.copy()).T, a @ b),
        "vector": (found @ cupy.asarray(b[:, 0]), a @ b[:, 0]),
        "transposed": (found.T @ cupy.asarray(b[:6]), a.T @ b[:6]),
        "empty": (sparse.csr_matrix(cupy.zeros((3, 9), dtype)) @ cupy.asarray(b), np.zeros((3, 4), dtype)),
    }
    for x, y in pairs.values():
        np.testing.assert_allclose(x.get(), y, rtol=0, atol=1e-5 if dtype in TOLERANCE else 1e-13)


def product(alpha: float, a: Any, b: Any, beta: float, c: Any) -> None:
    """C = alpha A B + beta C by the functions of the library themselves."""
    handle = cupy.cuda.device.get_cusparse_handle()
    parts = SpMatDescriptor.create(a), DnMatDescriptor.create(b), DnMatDescriptor.create(c)
    x, y, z = (part.desc for part in parts)
    by, kept = np.asarray(alpha, a.dtype), np.asarray(beta, a.dtype)
    kind, way = 1, cusparse.CUSPARSE_MM_ALG_DEFAULT  # CUDA_R_64F
    work = cupy.empty(64, "int8")
    cusparse.spMM(handle, 0, 0, by.ctypes.data, x, y, kept.ctypes.data, z, kind, way, work.data.ptr)


def test_a_fresh_result_is_not_read_and_arguments_are_looked_at() -> None:
    a, b = thinned("float64"), draw(9, 4, dtype="float64")
    matrix, x = sparse.csr_matrix(cupy.asarray(a)), cupy.asfortranarray(cupy.asarray(b))
    c = cupy.empty((6, 4), order="F")  # full of NaN
    product(2.0, matrix, x, 0.0, c)
    np.testing.assert_allclose(c.get(), 2 * a @ b, atol=1e-13)
    product(1.0, matrix, x, 0.5, c)
    np.testing.assert_allclose(c.get(), 2 * a @ b, atol=1e-13)
    for wrong in (x[:8], x.astype("float32")):
        with pytest.raises(cusparse.CuSparseError, match="INVALID_VALUE"):
            product(1.0, matrix, cupy.asfortranarray(wrong), 0.0, c)
    matrix.indices[0] = 9
    with pytest.raises(cusparse.CuSparseError, match="EXECUTION_FAILED"):
        product(1.0, matrix, x, 0.0, c)


# ---- CUB

REDUCTIONS = ("sum", "prod", "max", "min", "mean", "all", "any")
ALONG = ("argmax", "argmin", "cumsum", "cumprod")
# Each takes some forty kernels, which are compiled one by one.
OFTEN = ("float32", "bool")
RARELY = ("float16", "float64", "complex64", "complex128", "int8", "uint8", "int32", "uint32", "int64")
NUMBERS = (*OFTEN, *(pytest.param(dtype, marks=pytest.mark.full) for dtype in RARELY))


@pytest.mark.parametrize("dtype", NUMBERS)
def test_reductions_take_the_way_that_they_take_by_default_on_a_device(dtype: str) -> None:
    assert _accelerator.get_routine_accelerators() == [_accelerator.ACCELERATOR_CUB]
    assert _accelerator.get_reduction_accelerators() == [_accelerator.ACCELERATOR_CUB]
    given = draw(3, 2, 5, dtype=dtype)
    cases = [
        *itertools.product(REDUCTIONS, (None, 0, 2, (0, 1), (1, 2))),
        *itertools.product(ALONG, (None, 2)),
    ]
    for (name, axis), order in itertools.product(cases, "CF"):
        x = np.asarray(given, order=order)
        found, expected = getattr(cupy, name)(cupy.asarray(x), axis=axis), getattr(np, name)(x, axis=axis)
        bound = TOLERANCE.get(dtype, 1e-12)
        np.testing.assert_allclose(found.get(), expected, rtol=bound, atol=bound, err_msg=f"{name} {axis}")


def test_large_sums_and_special_values() -> None:
    x = draw(20_000, dtype="float32")
    assert abs(float(cupy.asarray(x).sum()) - x.sum(dtype="float64")) < 1e-2
    assert float(cupy.asarray(x).var()) == pytest.approx(x.var(dtype="float64"), rel=1e-5)
    ties = cupy.asarray([1.0, np.nan, 3, np.nan, 3])
    assert [int(cupy.argmax(ties)), int(cupy.argmin(ties)), int(cupy.argmax(ties[2::2]))] == [1, 1, 0]
    assert np.isnan([float(ties.max()), float(ties.min())]).all()
    nothing = cupy.zeros((3, 0))
    assert [float(nothing.sum()), float(nothing.prod())] == [0, 1]
    assert nothing.sum(axis=1).get().tolist() == [0] * 3


def test_what_cub_has_and_the_host_has_not_fails_loudly() -> None:
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="NotSupported"):
        cupy.histogram(cupy.arange(10.0), bins=3)[0].get()
