"""Lowerings: ways to run a program, each in one file."""

from __future__ import annotations

__all__: list[str] = []
