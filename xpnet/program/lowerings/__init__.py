"""Lowerings: ways to run a program, each a module or package; what they share lies beside them."""

from __future__ import annotations

__all__: list[str] = []
