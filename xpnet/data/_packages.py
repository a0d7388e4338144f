"""Optional packages, imported when they are first needed."""

from __future__ import annotations

from typing import Any

from xpnet.errors import ConfigError

__all__ = ["import_polars"]


def import_polars() -> Any:
    """Return the polars module, or raise a `ConfigError` that says how to install it."""
    try:
        import polars
    except ImportError:
        raise ConfigError("reading and encoding tables needs polars: pip install polars") from None
    return polars
