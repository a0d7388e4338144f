"""Rough speeds of devices, to decide how much work one call gives them."""

from __future__ import annotations

from dataclasses import dataclass

from xpnet.backends._backend import Backend

__all__ = ["HOST", "Pace", "pace"]


@dataclass(frozen=True)
class Pace:
    """Times of computations on a device, in seconds.

    Attributes:
        calls: for the calls of a training step, however small it is.
        byte: for each byte that is read or written.
        operation: for each floating-point operation of a matrix product.
        value: for each value of a layer's outputs, which is computed, dropped perhaps, and has a gradient.
        queued: how many calls of many steps the device may still have to do when the host waits for it.
    """

    calls: float
    byte: float
    operation: float
    value: float
    queued: int = 1


HOST = Pace(60e-6, 5.4e-11, 3.3e-12, 5e-9)  # NumPy on two cores
# A GPU of the small kind, as in laptops: on others calls are shorter than they might be, which costs little.
# For float64 such ones have one unit where they have 32 for float32.
_GPU = {
    "float32": Pace(200e-6, 7e-12, 5e-13, 5e-10, 2),
    "float64": Pace(200e-6, 7e-12, 1.6e-11, 1e-9, 2),
}


def pace(backend: Backend, dtype: str) -> Pace:
    """Return roughly how fast a backend computes in float32 or float64.

    These are constants and not measurements, as what follows from them, such as how many steps are taken
    together, must be the same in each run.

    >>> from xpnet.backends import backend
    >>> pace(backend("numpy"), "float32").queued
    1
    """
    return HOST if backend.ordinal is None else _GPU[dtype]
