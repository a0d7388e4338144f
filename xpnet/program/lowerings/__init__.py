"""Lowerings: ways to run a program, each a module or package; modules that they share are beside them."""

from __future__ import annotations

__all__: list[str] = []
