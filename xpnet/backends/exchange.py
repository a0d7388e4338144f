"""Arrays handed from one library to another on the same CUDA device, in the same memory (DLPack)."""

from __future__ import annotations

from typing import Any

__all__ = ["cuda_number", "imported"]

_CUDA = (2, 13)  # DLPack's kDLCUDA and kDLCUDAManaged


def cuda_number(x: Any) -> int | None:
    """Return the number of the CUDA device that an object's memory is on; None if it is elsewhere.

    Any object with the two methods of DLPack can say so, whatever library it is of.
    """
    if not hasattr(x, "__dlpack__") or not hasattr(x, "__dlpack_device__"):
        return None
    kind, number = x.__dlpack_device__()
    return int(number) if int(kind) in _CUDA else None


def imported(library: str, x: Any) -> Any | None:
    """Return ``x`` as an array of a library, in the same memory; None if it cannot be, as for some dtypes.

    What was queued for ``x`` on the stream of its library is waited for by the current stream, not the host.
    """
    if hasattr(x, "detach"):  # PyTorch hands over no tensors with gradients
        x = x.detach()
    try:
        if library == "cupy":
            import cupy

            return cupy.from_dlpack(x)
        if library == "torch":
            import torch

            return torch.from_dlpack(x)
        import jax

        return jax.dlpack.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, ValueError):
        return None
