"""The device that CuPy computes on: everything of the lowering that needs a GPU is in this file.

Matrix products go to cuBLAS on a handle of their own, for CuPy's own calls of it refuse to be captured.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpnet.errors import BackendError

__all__ = ["Blas", "CupyDevice"]

_WORKSPACE = 32 << 20  # bytes; what NVIDIA advises for Hopper, and more than enough for older GPUs
_NO_MEMORY = 3  # CUBLAS_STATUS_ALLOC_FAILED
_TF32 = 3  # CUBLAS_TF32_TENSOR_OP_MATH
_REAL = {"float32": ctypes.c_float, "float64": ctypes.c_double}
_GEMM = {"float32": "cublasSgemm_v2", "float64": "cublasDgemm_v2"}


class CupyDevice:
    """The current CUDA device, and its current stream at each call."""

    def __init__(self, precision: str = "float32") -> None:
        import cupy

        self._cupy = cupy
        _library()  # where there is none, that is to be noticed before anything is computed
        self._blas: Blas | None = None
        self._precision = precision
        self._apart: Any = None

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return self._cupy.empty(shape, dtype=dtype)

    def zeros(self, size: int) -> Any:
        return self._cupy.zeros(size, dtype="uint8")

    def address(self, x: Any) -> int:
        return x.data.ptr

    def contiguous(self, x: Any) -> Any:
        return self._cupy.asarray(x, order="C")

    def view(self, x: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> Any:
        return self._cupy.ndarray(shape, dtype, memptr=x.data + offset, strides=strides)

    def to_host(self, x: Any) -> np.ndarray:
        return self._cupy.asnumpy(x)

    def load(self, source: str, names: Sequence[str]) -> list[Any]:
        # Sums and products are rounded apart, as in calls of one function after another.
        module = self._cupy.RawModule(code=source, options=("--fmad=false",))
        return [module.get_function(name) for name in names]

    def launch(self, kernel: Any, grid: int, block: int, arguments: Sequence[int]) -> None:
        kernel((grid,), (block,), tuple(map(np.int64, arguments)))

    def gemm(
        self, dtype: str, turned: tuple[bool, bool], sizes: tuple[int, int, int],
        a: tuple[int, int], b: tuple[int, int], c: tuple[int, int],
    ) -> None:  # fmt: skip
        if self._blas is None:
            self._blas = Blas(self._cupy.empty(_WORKSPACE, dtype="uint8"), self._precision)
        self._blas.gemm(self._cupy.cuda.get_current_stream().ptr, dtype, turned, sizes, a, b, c)

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        if self._apart is None:  # the default stream cannot be captured
            self._apart = self._cupy.cuda.Stream(non_blocking=True)
        with self._apart:
            self._apart.begin_capture()
            try:
                run()
            finally:
                graph = self._apart.end_capture()
        return graph.launch  # on the stream that is current then


class Blas:
    """A handle of cuBLAS with a workspace that lives as long as it does."""

    def __init__(self, workspace: Any, precision: str = "float32"):
        self._workspace = workspace
        self._library = _library()
        self._handle = ctypes.c_void_p()
        self._stream: int | None = None
        self._call("cublasCreate_v2", ctypes.byref(self._handle))
        end = weakref.finalize(self, self._library.cublasDestroy_v2, self._handle)
        end.atexit = False  # the driver may be gone by then
        if precision == "tf32":
            self._call("cublasSetMathMode", self._handle, _TF32)

    def gemm(
        self, stream: int, dtype: str, turned: tuple[bool, bool], sizes: tuple[int, int, int],
        a: tuple[int, int], b: tuple[int, int], c: tuple[int, int],
    ) -> None:  # fmt: skip
        """Compute a product in a stream, as `Device.gemm` says."""
        if stream != self._stream:
            self._call("cublasSetStream_v2", self._handle, ctypes.c_void_p(stream))
            # A new stream takes the workspace away.
            memory, size = ctypes.c_void_p(self._workspace.data.ptr), ctypes.c_size_t(_WORKSPACE)
            self._call("cublasSetWorkspace_v2", self._handle, memory, size)
            self._stream = stream
        real = _REAL[dtype]
        one, zero = ctypes.byref(real(1)), ctypes.byref(real(0))
        (at_a, lead_a), (at_b, lead_b), (at_c, lead_c) = ((ctypes.c_void_p(x), lead) for x, lead in (a, b, c))
        self._call(
            _GEMM[dtype], self._handle, *map(int, turned), *sizes,
            one, at_a, lead_a, at_b, lead_b, zero, at_c, lead_c,
        )  # fmt: skip

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status == _NO_MEMORY:
            raise MemoryError(f"cuBLAS: {name} found no memory on the device")
        if status:
            raise BackendError(
                f"cuBLAS: expected {name} to succeed, found status {status}; free memory on the device, or "
                "train with compile='off'"
            )


@functools.cache
def _library() -> ctypes.CDLL:
    """Return cuBLAS, found where CuPy finds it."""
    from cuda.pathfinder import load_nvidia_dynamic_lib

    return ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)
