"""Figures: curves, confusion matrices, predictions, layers, computation graphs."""

from __future__ import annotations

__all__: list[str] = []
