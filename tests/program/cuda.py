"""CuPy under test: programs with its functions, arrays that go there and back, a device that counts."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpnet.autodiff.rules import RULES
from xpnet.backends import probe
from xpnet.backends.lacking import extended
from xpnet.program.lowerings.cupy.cuda import CupyDevice
from xpnet.program.program import Operation, Program

__all__ = [
    "CountingDevice",
    "allocated_bytes",
    "for_cupy",
    "from_device",
    "most_allocated",
    "to_device",
]


def to_device(x: Any) -> Any:
    """Return a copy of one of NumPy's arrays on the current CUDA device."""
    import cupy

    return cupy.array(x)


def from_device(x: Any) -> np.ndarray:
    """Return one of CuPy's or NumPy's arrays as one of NumPy's."""
    return x.get() if hasattr(x, "get") else np.asarray(x)


def for_cupy(program: Program) -> Program:
    """Return a program that was recorded on NumPy as it is when recorded on CuPy.

    Recording anew would run, and so compile, each of its functions once; `test_programs_recorded_on_cupy`
    shows that the same lines come out.
    """
    import array_api_compat.cupy

    operations = tuple(
        dataclasses.replace(op, operands=_constants_there(op.operands), function=_function(op))
        for op in program.operations
    )
    outputs = _constants_there(program.outputs)
    return dataclasses.replace(program, operations=operations, outputs=outputs, xp=array_api_compat.cupy)


def _function(operation: Operation) -> Callable[..., Any]:
    """Return CuPy's function of the name; what it has none for, such as operators, takes any arrays."""
    import array_api_compat.cupy

    found: Any = extended(array_api_compat.cupy)
    for part in operation.name.split("."):
        found = getattr(found, part, None)
    if found is None:
        return operation.function
    rule = RULES.get(operation.name)
    if rule is not None and rule.variadic:
        return lambda *arrays, **options: found(list(arrays), **options)
    return found


def _constants_there(tree: Any) -> Any:
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(_constants_there, tree))
    return to_device(tree) if isinstance(tree, np.ndarray) else tree


def allocated_bytes() -> int:
    """Return how much memory of the device CuPy's arrays have; 0 where it cannot work."""
    if not probe("cupy").usable:
        return 0
    import cupy

    return cupy.get_default_memory_pool().used_bytes()


def most_allocated(run: Callable[[], Any], library: str) -> int:
    """Return how many bytes the arrays that ``run`` makes have at most, at a time."""
    if library == "cupy":
        import cupy

        pool = cupy.cuda.MemoryPool()  # which keeps what is freed
        with cupy.cuda.using_allocator(pool.malloc):
            run()
        return pool.total_bytes()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class CountingDevice(CupyDevice):
    """The device, and how much it was given to do.

    Attributes:
        launches: kernels and products so far, those that a graph has launched included.
        graphs: launches of graphs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.graphs = 0

    def launch(self, kernel: Any, grid: int, block: int, arguments: Sequence[int]) -> None:
        self.launches += 1
        super().launch(kernel, grid, block, arguments)

    def gemm(self, *arguments: Any) -> None:
        self.launches += 1
        super().gemm(*arguments)

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        before = self.launches
        replay = super().capture(run)
        captured, self.launches = self.launches - before, before

        def launched() -> None:
            self.launches += captured
            self.graphs += 1
            replay()

        return launched
