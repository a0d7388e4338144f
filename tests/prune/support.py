"""Networks that the tests of pruning share."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.train.support import class_data, make
from xpnet import Trainer, nn

__all__ = ["fitted", "give_parameters"]


def fitted(epochs: int = 3, **options: Any) -> Trainer:
    """Return a small trainer after a few epochs on `class_data`."""
    trainer = make(**{"model": nn.MLP([12, 8], 3), "metrics": ["accuracy"]} | options)
    trainer.fit(*class_data(), epochs=epochs, batch_size=10)
    return trainer


def give_parameters(trainer: Trainer, **values: Any) -> None:
    """Set arrays of a trainer's parameters: ``w0_weight`` stands for "0.weight"."""
    params, state = trainer.variables
    flat = np.array(trainer.backend.to_host(params.flat))
    for name, value in values.items():
        part, shape = params.layout.slices[params.layout.names.index(name[1:].replace("_", "."))]
        flat[part] = np.broadcast_to(value, shape).ravel()
    home = trainer.backend.asarray(flat, dtype=trainer.dtype)
    trainer.variables = nn.Variables(type(params)(home, params.layout), state)
