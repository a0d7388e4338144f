"""What tests of several folders share: draws, tolerances, comparisons."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from xpnet.backends import Backend, backend_of
from xpnet.errors import BackendError

__all__ = ["draw", "host", "relative_error", "told", "tolerance", "widest"]


def told(value: Any) -> str:
    """Return a value as text that is the same in every process: the name of a test's case."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def draw(seed: int, shape: tuple[int, ...], low: float = -1.5, high: float = 1.5) -> np.ndarray:
    """Return a float64 array, uniform in [low, high) and read-only: nothing under test may write to it."""
    drawn = np.random.default_rng(seed).uniform(low, high, shape)
    drawn = np.asarray(drawn)
    drawn.flags.writeable = False
    return drawn


def widest(backend: Backend) -> str:
    """Return ``"float64"`` where the device has it, else ``"float32"``."""
    try:
        backend.dtype("float64")
    except BackendError:
        return "float32"
    return "float64"


def tolerance(dtype: str) -> float:
    """Return how far results of two backends in ``dtype`` may lie apart, relative to their norm."""
    return 1e-12 if dtype == "float64" else 1e-5


def host(x: Any) -> np.ndarray:
    """Return any backend's array as a float64 NumPy array."""
    return np.asarray(backend_of(x).to_host(x), dtype=np.float64)


def relative_error(got: Any, want: Any) -> float:
    """Return |got - want| / |want| in the Euclidean norm (absolute where ``want`` is zero)."""
    got, want = host(got), host(want)
    assert got.shape == want.shape, f"expected shape {want.shape}, found {got.shape}"
    size = np.linalg.norm(want)
    return float(np.linalg.norm(got - want) / (size if size > 0 else 1.0))
