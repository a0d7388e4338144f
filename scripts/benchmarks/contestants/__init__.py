"""Who is timed: each contestant trains a work, beginning from the same weights, in the way of its users.

A contestant is a function ``(work, optimizer, device, **options) -> Training`` in a file of this folder,
which is imported only when the contestant takes part. All do the same work: an epoch goes over all rows
once, in an order drawn anew, and each step gathers its batch from arrays that are on the device already.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from scripts.benchmarks.works import OPTIMIZERS, Optimizer, Work

__all__ = ["CONTESTANTS", "Contestant", "Training", "contestants_on"]


@dataclasses.dataclass
class Training:
    """A model under training.

    Attributes:
        run: trains so many epochs, and returns when they are done.
        weights: returns weights (inputs, outputs) and bias of each layer, as NumPy arrays.
        note: what was chosen among several ways, such as ``"fused=True"``.
    """

    run: Callable[[int], object]
    weights: Callable[[], list[tuple[Any, Any]]]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A library, and one way to use it.

    Attributes:
        package: what must be installed.
        path: ``file.function``, which makes its training.
        options: further arguments of that function.
        handling: ``file.function`` of a training that includes what users write to handle their data, from
            NumPy arrays; empty if ``path`` is that already.
        devices: where it can run.
        optimizers: names of those that it has.
        caches: compiled code is kept between processes.
    """

    name: str
    package: str
    path: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    handling: str = ""
    devices: tuple[str, ...] = ("cpu",)
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)
    caches: bool = False

    def missing(self, optimizer: str) -> str | None:
        """Return why it cannot take part, or None."""
        if find_spec(self.package) is None:
            return f"{self.package} is not installed"
        if optimizer not in self.optimizers:
            return f"has no {optimizer}"
        return None

    def training(self, work: Work, optimizer: Optimizer, device: str, *, handling: bool = False) -> Training:
        """Return a training from the beginning, with or without the handling of data."""
        path = self.handling if handling and self.handling else self.path
        file, _, function = path.rpartition(".")
        module = importlib.import_module(f"scripts.benchmarks.contestants.{file}")
        return getattr(module, function)(work, optimizer, device, **self.options)


_BOTH = ("cpu", "cuda")
CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("matrix products", "numpy", "products.on_cpu"),
        Contestant("matrix products (cuBLAS)", "cupy", "products.on_cuda", devices=("cuda",)),
        Contestant("xpnet", "xpnet", "xpnet.train", {"lower": "auto"}, devices=_BOTH, caches=True),
        Contestant(
            "xpnet no rollback", "xpnet", "xpnet.train", {"lower": "auto", "rollback": False}, devices=_BOTH,
            caches=True,
        ),
        Contestant("xpnet uncompiled", "xpnet", "xpnet.train", {"lower": "off"}, devices=_BOTH),
        Contestant("xpnet generic", "xpnet", "xpnet.train", {"lower": "generic"}, devices=_BOTH),
        Contestant("xpnet numpy", "xpnet", "xpnet.train", {"lower": "numpy"}),
        Contestant("xpnet numba", "numba", "xpnet.train", {"lower": "numba"}, caches=True),
        Contestant("xpnet cupy", "cupy", "xpnet.train", {"lower": "cupy"}, devices=("cuda",), caches=True),
        Contestant(
            "scikit-learn", "sklearn", "sklearn.fit", handling="sklearn.partial_fit",
            optimizers=("sgd", "momentum", "nesterov", "adam"),
        ),
        Contestant(
            "PyTorch eager", "torch", "torch.eager", {"ways": ()}, handling="torch.loaded", devices=_BOTH
        ),
        Contestant("PyTorch fused", "torch", "torch.eager", handling="torch.loaded", devices=_BOTH),
        Contestant(
            "PyTorch compiled", "torch", "torch.compiled", handling="torch.loaded_compiled", devices=_BOTH,
            caches=True,
        ),
        Contestant(
            "PyTorch reduce-overhead", "torch", "torch.compiled", {"mode": "reduce-overhead"},
            handling="torch.loaded_compiled", devices=("cuda",), caches=True,
        ),
        Contestant("PyTorch CUDA graph", "torch", "torch.graphed", devices=("cuda",)),
        Contestant("JAX per step", "jax", "jax.per_step", handling="jax.from_host", devices=_BOTH),
        Contestant("JAX scanned", "jax", "jax.scanned", devices=_BOTH),
        Contestant("thinc", "thinc", "thinc.train", optimizers=("sgd", "adam", "adamw")),
        Contestant("autograd", "autograd", "autograd.train"),
    )
}  # fmt: skip


def contestants_on(device: str) -> list[str]:
    """Return the names of those that run on ``"cpu"`` or ``"cuda"``."""
    return [name for name, contestant in CONTESTANTS.items() if device in contestant.devices]
