"""Models of tables: settings, the table read, split and encoded, the trainer, scores and predictions."""

from __future__ import annotations

__all__: list[str] = []
