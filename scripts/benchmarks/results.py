"""What a run of the benchmarks found, and the file that it is kept in."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

from xpnet import blas
from xpnet.files import write_atomically

__all__ = ["MEASURES", "Result", "ResultError", "Run", "machine"]

_FORMAT = 1
_PACKAGES = (
    "numpy", "numba", "scipy", "scikit-learn", "torch", "jax", "jaxlib", "thinc", "autograd",
    "cupy-cuda12x", "cupy-cuda13x",
)  # fmt: skip
MEASURES = {
    "steps": "a training step, µs",
    "epochs": "an epoch with the handling of data, ms",
    "memory": "memory of a training step above what is there before, MB",
    "first": "the first call in a fresh process, seconds",
}


class ResultError(ValueError):
    """A file of results cannot be read; the message says why."""


@dataclasses.dataclass(frozen=True)
class Result:
    """One contestant's numbers for one work.

    Attributes:
        measure: a key of :data:`MEASURES`.
        work, optimizer, contestant: names.
        values: one number a round, in the measure's unit.
        note: how it was done, where there are several ways.
        details: what else was found, by name.
    """

    measure: str
    work: str
    optimizer: str
    contestant: str
    values: list[float]
    note: str = ""
    details: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third."""
        if len(self.values) < 2:
            return self.median, self.median
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return first, third


@dataclasses.dataclass
class Run:
    """All that one run found.

    Attributes:
        machine: where, when, and with which versions.
        results: in the order of measuring.
        absent: why a contestant took no part, by its name or by ``"name: work"``.
        gradients: what :func:`scripts.benchmarks.gradients.time_gradients` returned.
        imports: milliseconds by what is imported.
    """

    machine: dict[str, Any]
    results: list[Result] = dataclasses.field(default_factory=list)
    absent: dict[str, str] = dataclasses.field(default_factory=dict)
    gradients: dict[str, Any] = dataclasses.field(default_factory=dict)
    imports: dict[str, float] = dataclasses.field(default_factory=dict)

    def of(self, measure: str, optimizer: str | None = None) -> dict[str, dict[str, Result]]:
        """Return results of a measure by work and contestant."""
        found: dict[str, dict[str, Result]] = {}
        for result in self.results:
            if result.measure == measure and optimizer in (None, result.optimizer):
                found.setdefault(result.work, {})[result.contestant] = result
        return found

    def optimizers(self, measure: str) -> list[str]:
        """Return the optimizers that a measure was taken with."""
        return list(dict.fromkeys(r.optimizer for r in self.results if r.measure == measure))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run as JSON; an older file stays as it was until the new one is whole."""
        write_atomically(path, json.dumps({"format": _FORMAT, **dataclasses.asdict(self)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Run:
        """Read what :meth:`save` wrote.

        Raises:
            ResultError: the file cannot be read or holds something else.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ResultError(
                f"{path}: expected results of scripts/bench, could not read them: {error}"
            ) from error
        if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
            raise ResultError(
                f"{path}: expected results of scripts/bench --json in format {_FORMAT}, found something "
                "else; measure again"
            )
        try:
            results = [Result(**fields) for fields in content.pop("results")]
            return cls(results=results, **content)
        except (KeyError, TypeError) as error:
            raise ResultError(
                f"{path}: expected the fields of format {_FORMAT}, found others: {error}"
            ) from error


def machine(threads: int, device: str) -> dict[str, Any]:
    """Return a description of where the run takes place; call it when all libraries are loaded."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "threads": threads,
        "device": _cuda_device() if device == "cuda" else "cpu",
        "kernels": blas.active_kernels() or [f"OPENBLAS_CORETYPE={os.environ.get('OPENBLAS_CORETYPE', '')}"],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    count = os.cpu_count() or 1
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{count} cores of {name}"


def _cuda_device() -> str:
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(0)
    return f"{properties['name'].decode()}, CUDA {cupy.cuda.runtime.runtimeGetVersion()}"
