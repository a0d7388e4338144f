"""What xpnet's steps are to show, and whether a run shows it: ``scripts/bench --check``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from scripts.benchmarks.results import Run

__all__ = ["FLOORS", "Verdict", "verdicts"]

_FLOOR, _CUBLAS = FLOORS = "matrix products", "matrix products (cuBLAS)"
# The most that a step may take, in units of the step's matrix products.
_TO_PRODUCTS = {
    "xpnet": {"S": 1.8, "M": 1.2, "L": 1.08},
    "xpnet numpy": {"S": 3.5, "M": 1.9, "L": 1.25},
}
# How many times faster than a peer xpnet is to be, at the least.
_TIMES_FASTER = {
    "scikit-learn": {"T": 15, "S": 6, "M": 3.3, "L": 1.9},
    "PyTorch eager": {"T": 20, "S": 6, "M": 3.2, "L": 2},
    "JAX per step": {"T": 5, "S": 2.5, "M": 1.6, "L": 1.2},
    "JAX scanned": {"T": 1, "S": 1.3, "M": 1, "L": 1},
}
_AHEAD_WITH_NUMPY = ("scikit-learn", "PyTorch eager", "thinc")
_LEAN = ("M", "L")  # works whose memory is bounded
_ON_CUDA = {"PyTorch eager": {"M": 2}, "PyTorch reduce-overhead": {"M": 1}, "JAX per step": {"M": 1}}
_TO_CUBLAS = {"L": 1.15}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One target beside what was found.

    Attributes:
        text: what is compared.
        wanted: the bound, such as ``"≤ 1.2"``.
        found: the number, None where it was not measured.
        met: whether the bound holds; None where it was not measured.
    """

    text: str
    wanted: str
    found: float | None
    met: bool | None


def verdicts(run: Run) -> list[Verdict]:
    """Return a verdict on each target that belongs to the run's device; the targets are for Adam."""
    return list(_on_cpu(run) if run.machine["device"] == "cpu" else _on_cuda(run))


def _on_cpu(run: Run) -> Iterator[Verdict]:
    steps = _medians(run, "steps")
    for who, limits in _TO_PRODUCTS.items():
        for work, limit in limits.items():
            yield _verdict(steps, work, who, _FLOOR, "≤", limit)
    for peer, limits in _TIMES_FASTER.items():
        for work, limit in limits.items():
            yield _verdict(steps, work, peer, "xpnet", "≥", limit)
    for work in dict.fromkeys(work for work, _ in steps):
        for peer in _AHEAD_WITH_NUMPY:
            yield _verdict(steps, work, peer, "xpnet numpy", "≥", 1)
    memory = _medians(run, "memory")
    for work, row in run.of("memory", "adam").items():
        memory[work, "formula"] = next(iter(row.values())).details["formula"]
    for work in _LEAN:  # of a step, so without the copy of the state that an epoch can return to
        for other in ("formula", "PyTorch eager"):
            yield _verdict(memory, work, "xpnet no rollback", other, "≤", 1, "memory, ")


def _on_cuda(run: Run) -> Iterator[Verdict]:
    steps = _medians(run, "steps")
    for work, limit in _TO_CUBLAS.items():
        yield _verdict(steps, work, "xpnet", _CUBLAS, "≤", limit)
    for peer, limits in _ON_CUDA.items():
        for work, limit in limits.items():
            yield _verdict(steps, work, peer, "xpnet", "≥", limit)


def _medians(run: Run, measure: str) -> dict[tuple[str, str], float]:
    found = run.of(measure, "adam")
    return {(work, name): result.median for work, row in found.items() for name, result in row.items()}


def _verdict(
    medians: dict[tuple[str, str], float],
    work: str,
    above: str,
    below: str,
    sign: str,
    limit: float,
    what: str = "",
) -> Verdict:
    text = f"{what}{work}: {above} / {below}"
    if (work, above) not in medians or (work, below) not in medians:
        return Verdict(text, f"{sign} {limit:g}", None, None)
    ratio = medians[work, above] / medians[work, below]
    return Verdict(text, f"{sign} {limit:g}", ratio, ratio <= limit if sign == "≤" else ratio >= limit)
