"""Constant arrays that layers compute with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet.autodiff.tracer import device_of, plain_namespace

__all__ = ["constant_like"]


def constant_like(x: Any, values: Sequence[Any]) -> Any:
    """Return numbers, nested as an array of them is, in the dtype and on the device of ``x``."""
    xp = plain_namespace(x)
    return xp.asarray(values, dtype=x.dtype, device=device_of(x))
