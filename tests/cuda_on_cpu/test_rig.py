"""CuPy on the host keeps its promises: results beside NumPy's, and what must be refused is refused."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

if "CUDA_ON_CPU_BUILD" not in os.environ:
    pytest.skip("shows what CuPy on the host does: run by scripts/gpu --host", allow_module_level=True)

import cupy
import cupyx.scipy.linalg
from cupy import cublas

pytestmark = pytest.mark.backends("cupy")

FLOATS = ("float32", "float64", "complex64", "complex128")
SORTED = (*FLOATS, "int8", "uint8", "int16", "int32", "int64", "uint64", "bool")
runtime = cupy.cuda.runtime


def draw(*shape: int, dtype: str) -> np.ndarray:
    """Random numbers; the same ones each time."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=shape) * 3
    return (x + 1j * generator.normal(size=shape)).astype(dtype) if dtype[0] == "c" else x.astype(dtype)


def near(found: Any, expected: np.ndarray) -> None:
    """Assert that they differ by roundings only."""
    tolerance = 1e3 * np.finfo(expected.dtype).eps * max(1, abs(expected).max(initial=0))
    np.testing.assert_allclose(cupy.asnumpy(found), expected, rtol=0, atol=tolerance, strict=True)


def refused(call: Callable[[], Any], status: str) -> None:
    """Assert that the call fails with this status of CUDA's."""
    with pytest.raises(Exception, match=status):
        call()


def kernel(body: str, parameters: str = "float* x", bounds: str = "") -> Any:
    return cupy.RawKernel(f'extern "C" __global__ void {bounds} k({parameters}) {{ {body} }}', "k")


def in_process(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, for what ends it."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


# ---- results


def test_elementwise_kernels_reductions_and_indexing() -> None:
    assert (cupy.arange(10) * 2).get().tolist() == list(range(0, 20, 2))
    x = draw(5, 7, dtype="float64")
    near(cupy.asarray(x).sum(axis=1), x.sum(axis=1))
    near(cupy.asarray(x)[[3, 1]].T, x[[3, 1]].T)


@pytest.mark.parametrize("dtype", SORTED)
def test_sorting(dtype: str) -> None:
    x = draw(5, 4, 7, dtype=dtype if dtype in FLOATS else "float64").astype(dtype)
    for axis in range(3):
        assert (cupy.sort(cupy.asarray(x), axis=axis).get() == np.sort(x, axis=axis)).all()
        want = np.argsort(x, axis=axis, kind="stable")
        assert (cupy.argsort(cupy.asarray(x), axis=axis).get() == want).all()


def test_sorting_by_several_keys_and_with_nan() -> None:
    keys = np.random.default_rng(0).integers(3, size=(3, 20))
    assert (cupy.lexsort(cupy.asarray(keys)).get() == np.lexsort(keys)).all()
    last = np.asarray([3, np.nan, 1, -np.inf])
    assert np.array_equal(cupy.sort(cupy.asarray(last)).get(), np.sort(last), equal_nan=True)


@pytest.mark.parametrize("dtype", FLOATS)
def test_linear_algebra(dtype: str) -> None:
    a, b = draw(6, 6, dtype=dtype), draw(6, 3, dtype=dtype)
    hermitian = (a @ a.conj().T + np.eye(6)).astype(dtype)
    x, y, h = map(cupy.asarray, (a, b, hermitian))
    near(x @ y, a @ b)
    near(x.T @ y, a.T @ b)
    near(y.T @ x.T, b.T @ a.T)
    near(cupy.stack([x, h]) @ cupy.stack([y, y]), np.stack([a, hermitian]) @ np.stack([b, b]))
    near(x @ y[:, 0], a @ b[:, 0])
    near(x @ cupy.linalg.solve(x, y), b)
    near(x @ cupy.linalg.inv(x), np.eye(6, dtype=dtype))
    near(cupy.stack([x, h]) @ cupy.linalg.inv(cupy.stack([x, h])), np.stack([np.eye(6, dtype=dtype)] * 2))
    near(cupy.linalg.cholesky(h), np.linalg.cholesky(hermitian))
    near(cupy.linalg.eigvalsh(h), np.linalg.eigvalsh(hermitian))
    u, s, v = cupy.linalg.svd(x[:, :4])
    near((u[:, :4] * s) @ v, a[:, :4])
    q, r = cupy.linalg.qr(x[:, :4])
    near(q @ r, a[:, :4])
    triangle = cupy.triu(x) + 9 * cupy.eye(6, dtype=dtype)
    for transposed, matrix in enumerate((triangle, triangle.T, triangle.conj().T)):
        near(matrix @ cupyx.scipy.linalg.solve_triangular(triangle, y, trans=transposed), b)


@pytest.mark.parametrize("dtype", FLOATS)
def test_functions_of_cublas(dtype: str) -> None:
    """Also into parts of larger matrices, and into memory that nobody has written and none may read."""
    a, b, x = draw(4, 5, dtype=dtype), draw(5, 4, dtype=dtype), draw(5, dtype=dtype)
    for ops in itertools.product("NTH", repeat=2):
        one, other = ({"N": a, "T": a.T, "H": a.conj().T}[op] for op in ops)
        one, other = (m.T if m.shape != shape else m for m, shape in ((one, (4, 5)), (other, (5, 4))))
        for order in ("C", "F"):
            out = cupy.empty((6, 4), dtype, order=order)
            cupy.matmul(cupy.asarray(one, order=order), cupy.asarray(other), out=out[1:5])
            near(out[1:5], one @ other)
            assert np.isnan(out[0].get()).all()
    for op in "NTH":
        turned = {"N": a, "T": a.T, "H": a.conj().T}[op]
        y = draw(turned.shape[1], dtype=dtype)
        out = cupy.empty(len(turned), dtype)
        cublas.gemv(op, 1, cupy.asarray(a, order="F"), cupy.asarray(y), 0, out)
        near(out, turned @ y)
    near(cublas.geam("N", "H", 2, cupy.asarray(a), 1, cupy.asarray(b)), 2 * a + b.conj().T)
    near(cublas.nrm2(cupy.asarray(x)), np.linalg.norm(x))
    near(cupy.dot(cupy.asarray(x), cupy.asarray(x)), x @ x)
    near(cupy.vdot(cupy.asarray(x), cupy.asarray(x)), np.vdot(x, x))


COMPLEX, REAL = draw(3, 8, dtype="complex128"), draw(4, 7, dtype="float64")
TRANSFORMS = {
    "fft": COMPLEX, "ifft": COMPLEX, "fft2": COMPLEX, "hfft": COMPLEX,
    "rfft": REAL, "rfftn": REAL, "ihfft": REAL, "irfft": np.fft.rfft(REAL),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_fourier_transforms(name: str) -> None:
    given = TRANSFORMS[name]
    near(getattr(cupy.fft, name)(cupy.asarray(given)), getattr(np.fft, name)(given))


# ---- kernels


def test_shared_memory_barriers_and_launch_bounds() -> None:
    x = cupy.zeros(64, "float32")
    reversing = kernel(
        "extern __shared__ float s[]; s[threadIdx.x] = threadIdx.x; __syncthreads();"
        " x[threadIdx.x] = s[63 - threadIdx.x];",
        bounds="__launch_bounds__(64)",
    )
    reversing((1,), (64,), (x,), shared_mem=256)
    assert x.get().tolist() == list(range(63, -1, -1))
    refused(lambda: reversing((1,), (65,), (x,), shared_mem=256), "cudaErrorLaunchOutOfResources")


def test_a_missing_barrier_shows() -> None:
    """Neither what other blocks have left in shared memory nor the order of threads hides it."""
    x = cupy.zeros(128, "float32")
    racing = kernel("__shared__ float s[64]; s[threadIdx.x] = 1; x[threadIdx.x] = s[63 - threadIdx.x];")
    for _ in range(3):
        racing((2,), (64,), (x,))
        assert np.isnan(x.get()).any()


def test_threads_that_wait_in_vain_fail() -> None:
    waiting = kernel("if (threadIdx.x == 40) __syncwarp(); __syncthreads();")
    refused(lambda: waiting((1,), (64,), (cupy.zeros(1, "float32"),)), "cudaErrorLaunchFailure")


@pytest.mark.parametrize("parameters", ["float* x", "long long x"])
def test_addresses_of_the_host_are_refused(parameters: str) -> None:
    on_host = np.zeros(10**7, "float32")  # so large that its address always is, too
    taking = kernel("", parameters)
    refused(lambda: taking((1,), (1,), (np.int64(on_host.ctypes.data),)), "cudaErrorIllegalAddress")
    on_device = cupy.zeros(3)
    taking((1,), (1,), (np.int64(on_device.data.ptr),))
    taking((1,), (1,), (np.int64(0),))


@pytest.mark.parametrize("size", [100, 128])
def test_writing_past_the_end_of_an_array_fails_even_within_its_memory(size: int) -> None:
    x = cupy.empty(size, "float32")[3:]
    filling = kernel("x[threadIdx.x] = 0;")
    filling((1,), (size - 3,), (x,))
    if size % 128:  # else it is the page behind the array, and the end of the process
        refused(lambda: filling((1,), (size - 2,), (x,)), "cudaErrorIllegalAddress")
        filling((1,), (size - 3,), (x,))


# ---- capture


def test_a_graph_works_when_it_is_launched() -> None:
    stream = cupy.cuda.Stream(non_blocking=True)
    x = cupy.zeros(5)
    with stream:
        stream.begin_capture()
        x += 1
        graph = stream.end_capture()
        assert x.get().tolist() == [0] * 5
        graph.launch()
        graph.launch()
        assert x.get().tolist() == [2] * 5


def captured(work: Callable[[], Any]) -> Any:
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        work()
        return stream.end_capture()


def test_a_graph_whose_arrays_have_been_freed_fails() -> None:
    x, given = cupy.zeros(1000), [cupy.ones(1000)]
    add = cupy.ElementwiseKernel("float64 y", "float64 x", "x += y")
    add(given[0], x)
    graph = captured(lambda: add(given[0], x))
    graph.launch()
    place = given[0].data.ptr
    given.clear()
    refused(graph.launch, "cudaErrorIllegalAddress")
    other = cupy.zeros(1000)  # takes its place
    assert other.data.ptr == place
    refused(graph.launch, "cudaErrorIllegalAddress")


def test_a_graph_with_an_array_that_lived_only_while_it_was_captured_fails() -> None:
    x = cupy.zeros(1000)
    x += x + 1

    def work() -> None:
        x[...] += x + 1

    refused(captured(work).launch, "cudaErrorIllegalAddress")


def test_a_graph_whose_kernel_has_been_unloaded_fails() -> None:
    x = cupy.zeros(3)
    add = [kernel("x[0] += 1;", "double* x")]
    add[0]((1,), (1,), (x,))
    graph = captured(lambda: add[0]((1,), (1,), (x,)))
    add.clear()
    cupy.clear_memo()  # CuPy keeps what it has compiled
    gc.collect()
    refused(graph.launch, "cudaErrorInvalidResourceHandle")


@pytest.mark.parametrize(
    "forbidden",
    [lambda: cupy.cuda.Device().synchronize(), lambda: runtime.malloc(8)],
    ids=["wait", "allocate"],
)
def test_what_must_not_be_captured_ends_the_capture(forbidden: Callable[[], Any]) -> None:
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture(runtime.streamCaptureModeGlobal)
        refused(forbidden, "cudaErrorStreamCaptureUnsupported")
        refused(stream.end_capture, "cudaErrorStreamCaptureInvalidated")


# ---- memory


def test_fresh_memory_is_no_number() -> None:
    fresh = runtime.malloc(64)
    memory = cupy.cuda.UnownedMemory(fresh, 64, None)
    assert np.isnan(cupy.ndarray(16, "float32", cupy.cuda.MemoryPointer(memory, 0)).get()).all()
    runtime.free(fresh)


def test_memory_that_the_pool_gives_again_is_no_number() -> None:
    x = cupy.zeros(1000)
    place = x.data.ptr
    del x
    again = cupy.empty(1000)
    assert again.data.ptr == place
    assert np.isnan(again.get()).all()


def test_arrays_of_other_threads_are_known() -> None:
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(cupy.zeros(1000)))
    thread.start()
    thread.join()
    graph = captured(lambda: made[0].fill(1))
    graph.launch()
    made.clear()
    refused(graph.launch, "cudaErrorIllegalAddress")


def test_memory_has_an_end() -> None:
    refused(lambda: runtime.malloc(1 << 50), "cudaErrorMemoryAllocation")


def test_a_kernel_that_writes_past_the_end_of_a_block_ends_the_process() -> None:
    result = in_process("""
import cupy
cupy.cuda.set_allocator(None)  # each array in a block of its own
x = cupy.empty(128, "float32")
k = cupy.RawKernel('extern "C" __global__ void k(float* x) { x[128] = 1; }', "k")
k((1,), (1,), (x,))
""")
    assert result.returncode == -signal.SIGSEGV, result


# ---- what is not here


def test_what_is_not_here_fails_even_where_cupy_ignores_the_status_of_a_launch() -> None:
    refused(lambda: runtime.deviceGetDefaultMemPool(0), "cudaErrorNotSupported")
    refused(lambda: cupy.random.default_rng(0).random(3).get(), "cudaErrorNotSupported")


@pytest.mark.skipif("CUDA_ON_CPU_NVRTC" not in os.environ, reason="NVIDIA's compiler is not installed")
def test_what_nvrtc_refuses_is_refused() -> None:
    """Functions of g++'s own, say."""
    with pytest.raises(cupy.cuda.compiler.CompileException, match="NVRTC: "):
        kernel("double y = __builtin_sin(x[0]); x[0] = y;")((1,), (1,), (cupy.zeros(1, "float32"),))
