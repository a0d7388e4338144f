"""Runs: trainings in folders of their own, their records, resumption, restarts, pruning and reports."""

from __future__ import annotations

__all__: list[str] = []
