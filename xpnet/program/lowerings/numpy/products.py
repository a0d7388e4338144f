"""Matrix products in several threads that sleep while they wait.

OpenBLAS's threads wait for each other awake. Where other programs use the same cores they wait for a thread
that is not running, for a turn of the system's clock at each product: four trainings at once took forty times
as long as one. And to take one thread where others are at work is no way out, as OpenBLAS's bits depend on
how many threads it has.

So the BLAS has one thread while a program runs, which is as fast for the products of small steps. A large
product is cut into as many parts as the BLAS has threads otherwise, and these are computed side by side: who
computes a part changes no bit.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np

from xpnet.program.lowerings import blas_libraries
from xpnet.program.lowerings.helpers import Helpers
from xpnet.program.program import Operation, Ref, Value

__all__ = ["Cut", "calls_the_blas", "multiply", "small", "work_of"]

_LARGE = 2**24  # products of two numbers in float32, from which on cutting is worth waking a thread
_WAKES = 2**18  # and those from which on the BLAS would cut a product itself
_TILE = 16  # rows or columns that the BLAS's kernels compute at once, or a multiple of them


def small(work: float) -> bool:
    """True for so many products of two numbers in float32 that several threads are not worth it."""
    return work < _LARGE


def work_of(operation: Operation, values: dict[int, Value]) -> float:
    """Return the products of two numbers in a matrix product, in units of those of float32."""
    made, x = values[operation.results[0]], operation.operands[0]
    inner = (values[x.number] if type(x) is Ref else x).shape[-1:]
    return made.size * math.prod(inner) * made.dtype_object.itemsize / 4


def calls_the_blas(operation: Operation, values: dict[int, Value]) -> bool:
    """True for functions that may have the BLAS use several threads."""
    if operation.name == "matmul":
        return work_of(operation, values) > _WAKES
    return operation.name.startswith("linalg.") or operation.name in ("tensordot", "vecdot")


class Cut:
    """A product of two matrices in parts.

    Args:
        rows: of the result.
        columns: of the result.

    >>> a, b, c = np.ones((40, 3)), np.ones((3, 50)), np.empty((40, 50))
    >>> Cut(40, 50, parts=3)(a, b, c)
    >>> bool(np.all(c == 3))
    True
    """

    def __init__(self, rows: int, columns: int, parts: int | None = None):
        parts = parts or blas_libraries.threads_outside()
        size = max(rows, columns)
        each = -(-size // (parts * _TILE)) * _TILE
        cuts = [slice(start, min(start + each, size)) for start in range(0, size, each)]
        all_ = slice(None)
        self._parts = [(cut, all_) if rows >= columns else (all_, cut) for cut in cuts]

    def __call__(self, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        """Write the product of ``a`` and ``b`` to ``out``."""
        calls = [(a[rows], b[:, columns], out[rows, columns]) for rows, columns in self._parts]
        if len(calls) > 1 and _helpers.at_work.acquire(blocking=False):
            try:
                _side_by_side(calls)
            finally:
                _helpers.at_work.release()
        else:
            for call in calls:
                np.matmul(*call)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the product of two arrays, as ``np.matmul`` does, in the threads that compiled code takes."""
    if a.ndim != 2 or b.ndim != 2:
        return np.matmul(a, b)
    shape = (a.shape[0], b.shape[1])
    with blas_libraries.one_thread():
        if small(math.prod(shape) * a.shape[1] * a.dtype.itemsize / 4):
            return np.matmul(a, b)
        out = np.empty(shape, dtype=np.result_type(a, b))
        Cut(*shape)(a, b, out)
        return out


def _side_by_side(calls: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    helpers = _helpers.first(len(calls) - 1)
    for helper, call in zip(helpers, calls[1:], strict=False):
        helper.begin(np.matmul, call)
    errors: list[BaseException | None] = []
    try:
        for call in (calls[0], *calls[1 + len(helpers) :]):
            np.matmul(*call)
    finally:
        errors += [helper.wait() for helper in helpers]
    for error in filter(None, errors):
        raise error


class _Helper:
    """A thread that computes parts."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        threading.Thread(target=self._serve, name="xpnet", daemon=True).start()

    def begin(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Have the function called."""
        self._calls.put((function, arguments))

    def wait(self) -> BaseException | None:
        """Wait for the end of the call, Ctrl-C or not: it writes to memory that others read next.

        Returns:
            What the function raised.
        """
        try:
            return self._done.get()
        except BaseException:
            self._done.get()
            raise

    def _serve(self) -> None:
        while True:
            function, arguments = self._calls.get()
            raised = None
            try:
                function(*arguments)
            except BaseException as error:
                raised = error
            del function, arguments
            self._done.put(raised)


_helpers = Helpers(_Helper)
