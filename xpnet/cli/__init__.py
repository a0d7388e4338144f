"""The ``xpnet`` command: train, predict, evaluate, resume, graph, env.

Nothing heavy is imported until a command needs it, and nothing that loads NumPy before the BLAS kernel
has been chosen.
"""

from __future__ import annotations

from xpnet.cli.entry import main

__all__ = ["main"]
