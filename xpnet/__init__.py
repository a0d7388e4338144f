"""xpnet: neural networks in plain Array API code, recorded, differentiated and run on any backend.

Everything loads when it is first used: ``import xpnet`` by itself loads no array library.

>>> import xpnet
>>> xpnet.backend("numpy").name
'numpy'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in __all__:
        value = importlib.import_module(f"xpnet.{name}")
    else:
        raise AttributeError(f"module 'xpnet' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
