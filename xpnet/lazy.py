"""Names of a package that are loaded with their first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["attributes"]


def attributes(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package whose names load their modules when they are used.

    Args:
        package: its ``__name__``.
        homes: the module that each name is in; ``"module:other"`` if it has another name there. One that is
            called as the module itself is that module.

    Source: PEP 562.

    >>> getattr_, dir_ = attributes("xpnet.lazy", {"root": "math:sqrt"})
    >>> getattr_("root")(9.0), "root" in dir_()
    (3.0, True)
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, _, known = homes[name].partition(":")
        value = importlib.import_module(home)
        if home != f"{package}.{name}":
            value = getattr(value, known or name)
        setattr(sys.modules[package], name, value)  # from here on it is found there
        return value

    return load, lambda: sorted({*vars(sys.modules[package]), *homes})
