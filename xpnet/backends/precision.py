"""Precision of float32 matrix products: float32, or TF32, which is faster.

TF32 keeps the range of float32 and rounds the factors to 10 bits of their fraction, where float32 has
23; sums are in float32. NVIDIA's GPUs have it from compute capability 8.0 (Ampere) on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from xpnet.backends.device import Device
from xpnet.errors import ConfigError, suggest

__all__ = ["PRECISIONS", "check", "current", "using"]

PRECISIONS = ("float32", "tf32")

_CURRENT: ContextVar[str] = ContextVar("precision", default="float32")


def check(name: Any, home: Device) -> None:
    """Refuse an unknown precision, or one that the device lacks.

    Raises:
        ConfigError: an unknown name, or a device without TF32.
    """
    if name not in PRECISIONS:
        wanted = " or ".join(map(repr, PRECISIONS))
        raise ConfigError(f"precision: expected {wanted}, found {name!r}{suggest(name, PRECISIONS)}")
    if name != "tf32":
        return
    if home.ordinal is None:
        who = "only CUDA devices have"
    elif _generation(home) < 8:
        who = f"CUDA devices have from compute capability 8 on, this one having {_generation(home)}"
    else:
        return
    raise ConfigError(
        f"precision: expected 'float32' on backend {home.spec}, found 'tf32', which {who}; "
        "leave it out, or choose another device"
    )


def _generation(home: Device) -> int:
    """Return the first number of a CUDA device's compute capability."""
    if home.name == "torch":
        import torch

        return torch.cuda.get_device_capability(home.device)[0]
    text = str(home.device.compute_capability)  # "90" of CuPy, "9.0" of JAX
    return int(text.partition(".")[0]) if "." in text else int(text) // 10


def current() -> str:
    """Return the precision of the innermost `using` around the caller, ``"float32"`` outside.

    Environment variables such as ``CUPY_TF32`` do not count.

    >>> current()
    'float32'
    """
    return _CURRENT.get()


@contextlib.contextmanager
def using(precision: str, library: str | None = None) -> Iterator[None]:
    """Context manager: matrix products have ``precision``, whatever the environment says.

    CuPy and PyTorch keep their setting for the whole process: threads that compute in different precisions at
    the same time disturb each other, but for the compiled programs of CuPy.

    Args:
        precision: ``"float32"`` or ``"tf32"``.
        library: ``"cupy"``, ``"torch"`` or ``"jax"``, if the products of that library are computed on CUDA.
    """
    token = _CURRENT.set(precision)
    try:
        with _LIBRARIES.get(library or "", _unchanged)(precision):
            yield
    finally:
        _CURRENT.reset(token)


@contextlib.contextmanager
def _cupy(precision: str) -> Iterator[None]:
    from cupy import _core as core

    wanted = {"float32": _CUPY_DEFAULT, "tf32": _CUPY_TF32}[precision]
    before = core.get_compute_type("float32")
    if before == wanted:
        yield
        return
    core.set_compute_type("float32", wanted)
    try:
        yield
    finally:
        core.set_compute_type("float32", before)


# cupy._core._routines_linalg.COMPUTE_TYPE_DEFAULT and COMPUTE_TYPE_TF32
_CUPY_DEFAULT, _CUPY_TF32 = 1, 7


@contextlib.contextmanager
def _torch(precision: str) -> Iterator[None]:
    import torch

    products: Any = torch.backends.cuda.matmul
    name, values = "allow_tf32", (False, True)
    if hasattr(products, "fp32_precision"):  # from 2.9 on; the older name must not be used beside it
        name, values = "fp32_precision", ("ieee", "tf32")  # type: ignore[assignment]
    before = getattr(products, name)
    setattr(products, name, values[PRECISIONS.index(precision)])
    try:
        yield
    finally:
        setattr(products, name, before)


def _jax(precision: str) -> Any:
    import jax

    return jax.default_matmul_precision({"float32": "float32", "tf32": "tensorfloat32"}[precision])


def _unchanged(precision: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


_LIBRARIES: dict[str, Any] = {"cupy": _cupy, "torch": _torch, "jax": _jax}
