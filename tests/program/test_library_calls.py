"""Steps of training without a call of the array library, which would rule a CUDA graph out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.loss_cases import CASES as LOSSES
from tests.nn.layer_cases import BATCH, FEATURES, with_head
from tests.nn.layer_cases import CASES as LAYERS
from tests.optim.optimizer_cases import TABLE as OPTIMIZERS
from tests.support import draw, told
from xpnet import Trainer, nn
from xpnet.backends import Backend
from xpnet.program import looping
from xpnet.program.lowerings import cupy
from xpnet.program.lowerings.cupy.buffers import DeviceBuffers
from xpnet.program.lowerings.cupy.lowering import default_device, steps_of
from xpnet.program.lowerings.cupy.plan import plan_for_cuda

_SETTINGS: dict[str, Any] = {
    "clip_value": 0.1, "clip_norm": 0.1, "max_norm": 0.5, "label_smoothing": 0.1, "gradient_noise": 0.3,
    "l1": 0.01, "l2": 0.01,
}  # fmt: skip
_X = draw(3, (2 * BATCH, FEATURES))
_LABELS = np.arange(2 * BATCH) % 3

# What is asked of a device before anything is computed.
_HOST: Any = SimpleNamespace(contiguous=np.ascontiguousarray, to_host=np.asarray)

# Trainers by what is special about them, with arrays to fit.
_CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{
        str(case): ({"model": with_head(case.layer, 3)}, {})
        for case in LAYERS
    },
    **{
        str(case): (
            {"model": nn.Dense(case.predictions.size // BATCH), "loss": case.name},
            {"y": np.concat([case.targets, case.targets]), "sample_weight": np.arange(1.0, 2 * BATCH + 1)},
        )
        for case in LOSSES
        if case.targets.shape[:1] == (BATCH,)
    },
    **{told(row[0]): ({"optimizer": row[0]}, {}) for row in OPTIMIZERS},
    **{name: ({name: value}, {}) for name, value in _SETTINGS.items()},
    "all settings": (_SETTINGS, {"sample_weight": np.arange(1.0, 2 * BATCH + 1)}),
    "masks": ({"mask": True}, {}),
    "full batch": ({}, {"batch_size": None}),
}  # fmt: skip


def _calls(patch: pytest.MonkeyPatch, backend: Backend, name: str) -> list[list[str]]:
    """Return the calls that the lowering for CuPy leaves in each loop of a short fit."""
    found = []

    def lower_loop(program: Any, carried: int, constants: int) -> Any:
        plan = plan_for_cuda(program, {i: i for i in range(carried)})
        device = default_device() if backend.name == "cupy" else _HOST
        steps = steps_of(plan, DeviceBuffers(plan, device))
        found.append([step.operation.name for step in steps if hasattr(step, "operation")])
        return looping._python_loop(program, "generic", carried)

    patch.setattr(looping, "choose", lambda lower, xp: "cupy")
    patch.setattr(cupy, "lower_loop", lower_loop)
    settings, arrays = _CASES[name]
    settings = {"model": nn.MLP([5], 3), "loss": "softmax_cross_entropy", "optimizer": "adam", **settings}
    masked = settings.pop("mask", False)
    trainer = Trainer(**settings, backend=backend, dtype="float32", progress=False)
    arrays = {"X": _X, "y": _LABELS, "batch_size": BATCH, **arrays}
    if masked:
        trainer.fit(**arrays, epochs=1)
        flat = trainer.variables.params.flat
        trainer.mask = backend.xp.astype(flat > 0, flat.dtype)
    trainer.fit(**arrays, epochs=2)
    return found


@pytest.mark.parametrize("name", _CASES)
@pytest.mark.parametrize("backend", ["numpy", "cupy:0"], indirect=True)
def test_steps_have_no_calls(name: str, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _calls(monkeypatch, backend, name)
    assert found
    assert not any(found)
