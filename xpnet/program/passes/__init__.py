"""Passes: pure functions from programs to programs, and from programs to plans."""

__all__: list[str] = []
