"""Protocol of a device, for `memory` and `precision`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

__all__ = ["Device"]


class Device(Protocol):
    """The part of a `Backend` that `memory` and `precision` need; its fields say more."""

    @property
    def name(self) -> str:
        """The library."""

    @property
    def spec(self) -> str:
        """Library and device, such as ``"cupy:0"``."""

    @property
    def xp(self) -> Any:
        """The library's namespace."""

    @property
    def device(self) -> Any:
        """The library's own device object."""

    @property
    def ordinal(self) -> int | None:
        """The number of a CUDA device; None for any other."""

    def activate(self) -> AbstractContextManager[Any]:
        """Make this device the current one."""
