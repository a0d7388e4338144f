"""The device that CuPy computes on: everything of the lowering that needs a GPU is in this file.

Matrix products go to cuBLAS on a handle of their own, for CuPy's own calls of it refuse to be captured.
Each device has one of these handles, with its workspace, for all programs and threads, and keeps it:
destroying one waits for the device, which breaks a capture if the garbage collector does it during one.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from xpnet.errors import BackendError, ConfigError

__all__ = ["Blas", "CupyDevice"]

_WORKSPACE = 32 << 20  # bytes; what NVIDIA advises for Hopper, and more than enough for older GPUs
_MATH_MODES = {"float32": 0, "tf32": 3}  # CUBLAS_DEFAULT_MATH, CUBLAS_TF32_TENSOR_OP_MATH
_NO_MEMORY = 3  # CUBLAS_STATUS_ALLOC_FAILED
_REAL = {"float32": ctypes.c_float, "float64": ctypes.c_double}
_GEMM = {
    "float32": ("cublasSgemm_v2", "cublasSgemmStridedBatched"),
    "float64": ("cublasDgemm_v2", "cublasDgemmStridedBatched"),
}


class CupyDevice:
    """The current CUDA device, and its current stream at each call.

    Memory, kernels and matrix products, all that the lowering asks for: work is done in the order in which it
    is given. Arrays are CuPy's; addresses are whole numbers.

    Args:
        precision: of products of float32 matrices: ``"float32"``, or ``"tf32"``, in which factors are rounded
            to 10 bits after the point and multiplied by tensor cores.

    Raises:
        ConfigError: an unknown precision.
    """

    def __init__(self, precision: str = "float32") -> None:
        import cupy

        if precision not in _MATH_MODES:
            raise ConfigError(f"precision: expected one of {', '.join(_MATH_MODES)}, found {precision!r}")
        self._cupy, self._mode = cupy, _MATH_MODES[precision]
        _library()  # where there is none, that is to be noticed before anything is computed

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array of any content, aligned for every dtype."""
        return self._cupy.empty(shape, dtype=dtype)

    def zeros(self, size: int) -> Any:
        """Return ``size`` bytes, all zero."""
        return self._cupy.zeros(size, dtype="uint8")

    def address(self, x: Any) -> int:
        """Return the address of the first entry of an array."""
        return x.data.ptr

    def contiguous(self, x: Any) -> Any:
        """Return ``x`` if it is an array of this device in C order, else a copy that is."""
        return self._cupy.asarray(x, order="C")

    def view(self, x: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> Any:
        """Return an array in the memory of ``x``, which it keeps alive; offset and strides in bytes."""
        return self._cupy.ndarray(shape, dtype, memptr=x.data + offset, strides=strides)

    def to_host(self, x: Any) -> np.ndarray:
        """Return a copy for NumPy; waits for the device."""
        return self._cupy.asnumpy(x)

    def load(self, source: str, names: Sequence[str]) -> list[Any]:
        """Compile CUDA C++ and return the kernels of these names."""
        # Sums and products are rounded apart, as in calls of one function after another.
        module = self._cupy.RawModule(code=source, options=("--fmad=false",))
        return [module.get_function(name) for name in names]

    def launch(self, kernel: Any, grid: int, block: int, arguments: Sequence[int]) -> None:
        """Start a kernel, all of whose arguments are 64-bit whole numbers."""
        kernel((grid,), (block,), tuple(map(np.int64, arguments)))

    def gemm(
        self, dtype: str, turned: tuple[bool, bool], sizes: tuple[int, int, int],
        a: tuple[int, int], b: tuple[int, int], c: tuple[int, int],
        count: int = 1, apart: tuple[int, int, int] = (0, 0, 0),
    ) -> None:  # fmt: skip
        """Compute C = A B as the BLAS does, by columns.

        Args:
            dtype: ``"float32"`` or ``"float64"``.
            turned: whether A and B are stored transposed.
            sizes: m, n, k: C is m times n, and k is summed over.
            a: address and leading dimension of A, and likewise b and c.
            count: how many such products there are, of stacks of matrices.
            apart: entries from a matrix to the next one, in the stacks of A, of B and of C.
        """
        stream = self._cupy.cuda.get_current_stream()
        blas_of(self._cupy).gemm(stream, self._mode, dtype, turned, sizes, a, b, c, count, apart)

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """Return the kernels and products of ``run`` as one graph, without running them."""
        blas = blas_of(self._cupy)  # now: neither handle nor workspace can be made while a stream captures
        graph = blas.captured(run)

        def launch() -> None:
            # The workspace is the device's, so graphs take turns with each other and with other products.
            stream = self._cupy.cuda.get_current_stream()
            with blas.lock:
                blas.follow(stream)
                graph.launch(stream)

        return launch

    def mark(self) -> Callable[[], None]:
        """Return a function that waits until the device has done all that it was given so far."""
        event = self._cupy.cuda.Event(block=True, disable_timing=True)  # who waits leaves the core to others
        event.record()
        return event.synchronize


class Blas:
    """The handle of cuBLAS for a device, with its workspace: for all programs, and never destroyed.

    Products write to the workspace, so two of them must not run at the same time. What is given to one stream
    runs in order, graphs that were captured with the same workspace too. Where products, or such graphs, come
    in another stream than the last ones, that stream waits for the other (`follow`); threads take turns by
    the lock.

    Attributes:
        apart: the stream that captures; nothing else is ever given to it. (The default one cannot.)
        lock: held while something is given to the device that uses the workspace.
    """

    def __init__(self, cupy: Any, workspace: Any):
        self._cupy, self._workspace = cupy, workspace
        self._library = _library()
        self._handle = ctypes.c_void_p()
        self._call("cublasCreate_v2", ctypes.byref(self._handle))
        self._stream: int | None = None  # of the handle
        self._mode = _MATH_MODES["float32"]
        self._last: Any = None  # the stream in which the workspace was used last
        self.apart = cupy.cuda.Stream(non_blocking=True)
        self.lock = threading.RLock()

    def gemm(
        self, stream: Any, mode: int, dtype: str, turned: tuple[bool, bool], sizes: tuple[int, int, int],
        a: tuple[int, int], b: tuple[int, int], c: tuple[int, int], count: int, apart: tuple[int, int, int],
    ) -> None:  # fmt: skip
        """Compute a product in a stream, in a math mode of cuBLAS; else as `CupyDevice.gemm` says."""
        real = _REAL[dtype]
        one, zero = ctypes.byref(real(1)), ctypes.byref(real(0))
        stacked = count > 1
        given: list[list[Any]] = [[ctypes.c_void_p(x), lead] for x, lead in (a, b, c)]
        for matrix, step in zip(given, apart, strict=True):
            matrix += [ctypes.c_longlong(step)] * stacked
        left, right, made = given
        with self.lock:
            if stream.ptr != self.apart.ptr:  # what is captured is not done now
                self.follow(stream)
            self._set(stream.ptr, mode)
            self._call(
                _GEMM[dtype][stacked], self._handle, *map(int, turned), *sizes,
                one, *left, *right, zero, *made, *[count] * stacked,
            )  # fmt: skip

    def follow(self, stream: Any) -> None:
        """Let a stream wait for the last one that used the workspace, and use the workspace from now on."""
        if self._last is not None and self._last.ptr != stream.ptr:
            event = self._cupy.cuda.Event(disable_timing=True)
            event.record(self._last)
            stream.wait_event(event)
        self._last = stream

    def captured(self, run: Callable[[], None]) -> Any:
        """Return the graph of the work that ``run`` gives to the device."""
        with self.lock, _nothing_else(self._cupy), self.apart:
            self.apart.begin_capture()
            try:
                run()
            except BaseException:
                with contextlib.suppress(Exception):  # that the capture is lost; why says the other error
                    self.apart.end_capture()
                raise
            return self.apart.end_capture()

    def _set(self, stream: int, mode: int) -> None:
        if stream != self._stream:
            self._call("cublasSetStream_v2", self._handle, ctypes.c_void_p(stream))
            # A new stream takes the workspace away.
            memory, size = ctypes.c_void_p(self._workspace.data.ptr), ctypes.c_size_t(_WORKSPACE)
            self._call("cublasSetWorkspace_v2", self._handle, memory, size)
            self._stream = stream
        if mode != self._mode:
            self._call("cublasSetMathMode", self._handle, mode)
            self._mode = mode

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status == _NO_MEMORY:
            raise MemoryError(f"cuBLAS: {name} found no memory on the device")
        if status:
            raise BackendError(
                f"cuBLAS: expected {name} to succeed, found status {status}; free memory on the device, or "
                "train with compile='off'"
            )


_handles: dict[int, Blas] = {}
_making = threading.Lock()
_capturing = threading.Lock()


def blas_of(cupy: Any) -> Blas:
    """Return the handle for the current device; the first call makes it."""
    device = cupy.cuda.runtime.getDevice()
    known = _handles.get(device)
    if known is None:
        with _making:
            known = _handles.get(device)
            if known is None:
                known = _handles[device] = Blas(cupy, cupy.empty(_WORKSPACE, dtype="uint8"))
    return known


@contextlib.contextmanager
def _nothing_else(cupy: Any) -> Iterator[None]:
    """Context manager: prevent calls that break a capture, or that a graph must not depend on.

    Memory is refused: what a graph uses has to live as long as it does, so it is all allocated before, by the
    program that the graph is of; with memory of a pool, others would get it after the capture. The garbage
    collector is off: what it finds may be modules, streams or handles of others, and their ends wait for the
    device. One capture at a time, for the collector is everybody's.
    """
    with _capturing, cupy.cuda.using_allocator(_refuse_memory):
        collecting = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collecting:
                gc.enable()


def _refuse_memory(size: int) -> Any:
    raise BackendError(
        f"CUDA graph: expected steps that allocate nothing, found one that asks for {size} bytes while it is "
        "captured; give it memory beforehand"
    )


@functools.cache
def _library() -> ctypes.CDLL:
    """Return cuBLAS, found where CuPy finds it."""
    from cuda.pathfinder import load_nvidia_dynamic_lib

    return ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)
