"""Packages of extras, which parts of xpnet need."""

from __future__ import annotations

import importlib.util

from xpnet.errors import ConfigError

__all__ = ["MissingExtraError", "require"]

_PROJECTS = {"sklearn": "scikit-learn"}  # whose names are others than those of their packages


class MissingExtraError(ConfigError):
    """A package that is needed is not installed."""

    exit_code = 1


def require(*packages: str, extra: str = "standard") -> None:
    """Raise a `MissingExtraError` that says what to install, if one of ``packages`` is missing."""
    missing = [
        _PROJECTS.get(package, package) for package in packages if importlib.util.find_spec(package) is None
    ]
    if missing:
        names = ", ".join(missing)
        raise MissingExtraError(
            f"this part of xpnet needs {names}: pip install {' '.join(missing)} (of the extra '{extra}')"
        )
