"""Threads of the BLAS for functions that run as they are written: uncompiled, or recorded and no more.

Compiled code sees to them itself (`program/lowerings/numpy/products.py`, `numba/threads.py`); here, products
are computed as there. What is decided follows from sizes alone, as OpenBLAS's bits depend on its threads.
"""

from __future__ import annotations

import contextlib

import numpy as np

from xpnet.backends.corrections import multiplied_by
from xpnet.program.lowerings import blas_libraries
from xpnet.program.lowerings.numpy import products
from xpnet.train.setup import Setup

__all__ = ["blas_threads", "is_large"]


def is_large(setup: Setup, rows: int, parameters: int) -> bool:
    """True for work on NumPy arrays that has products worth several threads, as far as sizes tell."""
    work = rows * parameters * np.dtype(setup.dtype).itemsize / 4
    return setup.backend.name == "numpy" and not products.small(work)


def blas_threads(setup: Setup, rows: int, parameters: int) -> contextlib.AbstractContextManager[None]:
    """Return the context for functions of a network on so many rows."""
    if setup.backend.name != "numpy":
        return contextlib.nullcontext()
    large = is_large(setup, rows, parameters)
    return multiplied_by(products.multiply) if large else blas_libraries.one_thread()
