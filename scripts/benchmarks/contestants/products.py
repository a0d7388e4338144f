"""The floor: only the matrix products of a step, into buffers that exist already.

No trainer that takes its products from the same BLAS can be faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scripts.benchmarks.contestants import Training
from scripts.benchmarks.works import Optimizer, Work

__all__ = ["on_cpu", "on_cuda"]


def on_cpu(work: Work, optimizer: Optimizer, device: str) -> Training:
    """Products by NumPy."""
    return _training(work, np, np.matmul, lambda: None)


def on_cuda(work: Work, optimizer: Optimizer, device: str) -> Training:
    """Products by CuPy, which is cuBLAS; all calls of the epochs are queued before anybody waits.

    CuPy's ``dot`` has cuBLAS transpose its operands, and write to ``out``, without a copy. For small works
    the calls take longer on the host than the products on the device.
    """
    import cupy

    return _training(work, cupy, cupy.dot, cupy.cuda.get_current_stream().synchronize)


def _training(work: Work, xp: Any, product: Callable[..., Any], wait: Callable[[], None]) -> Training:
    draw = np.random.default_rng(1)
    products = []
    for number, (n, k) in enumerate(work.layers):
        shapes = (work.batch, n), (n, k), (work.batch, k)
        x, w, y = (xp.asarray(draw.normal(size=shape).astype(np.float32)) for shape in shapes)
        products += [(x, w, xp.empty_like(y)), (x.T, y, xp.empty_like(w))]
        if number:  # nobody needs the gradient of the inputs
            products.append((y, w.T, xp.empty_like(x)))

    def run(epochs: int) -> None:
        for _ in range(epochs * work.steps):
            for a, b, out in products:
                product(a, b, out=out)
        wait()

    return Training(run, list)
