"""xpnet: neural networks in plain Array API code, recorded, differentiated and run on any backend.

Everything loads when it is first used: ``import xpnet`` by itself loads no array library.

>>> import xpnet
>>> xpnet.backend("numpy").name
'numpy'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnet import lazy
from xpnet.version import __version__

if TYPE_CHECKING:
    from xpnet import (
        autodiff,
        data,
        errors,
        export,
        losses,
        nn,
        optim,
        plot,
        program,
        prune,
        rng,
        runs,
        tabular,
        train,
    )
    from xpnet.backends import Backend, backend
    from xpnet.parameters import Parameters
    from xpnet.program import compile, record
    from xpnet.train import Trainer

__all__ = [
    "Backend",
    "Parameters",
    "Trainer",
    "__version__",
    "autodiff",
    "backend",
    "compile",
    "data",
    "errors",
    "export",
    "losses",
    "nn",
    "optim",
    "plot",
    "program",
    "prune",
    "record",
    "rng",
    "runs",
    "tabular",
    "train",
]

_HOMES = {
    "Backend": "xpnet.backends",
    "Parameters": "xpnet.parameters",
    "Trainer": "xpnet.train",
    "backend": "xpnet.backends",
    "compile": "xpnet.program",
    "record": "xpnet.program",
}

__getattr__, __dir__ = lazy.attributes(__name__, {name: f"xpnet.{name}" for name in __all__} | _HOMES)
