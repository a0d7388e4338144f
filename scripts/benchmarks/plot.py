"""Steps of all works in one picture: times the matrix products on a logarithmic axis."""

from __future__ import annotations

import os
from typing import Any

from scripts.benchmarks.results import Result, ResultError, Run
from scripts.benchmarks.targets import FLOORS
from scripts.benchmarks.works import WORKS

__all__ = ["STYLES", "draw"]

# Colours that people with any kind of colour vision tell apart (Okabe and Ito), and shapes beside them.
STYLES = {
    "xpnet": ("#D55E00", "D"),
    "xpnet numpy": ("#E69F00", "d"),
    "xpnet uncompiled": ("#E69F00", "o"),
    "JAX scanned": ("#0072B2", "^"),
    "JAX per step": ("#0072B2", "v"),
    "PyTorch CUDA graph": ("#009E73", "X"),
    "PyTorch reduce-overhead": ("#009E73", "h"),
    "PyTorch compiled": ("#009E73", "P"),
    "PyTorch fused": ("#009E73", "p"),
    "PyTorch eager": ("#009E73", "s"),
    "scikit-learn": ("#56B4E9", "o"),
    "thinc": ("#CC79A7", "<"),
    "autograd": ("#000000", "x"),
}


def draw(run: Run, path: str | os.PathLike[str]) -> None:
    """Write the picture of a run's steps; the ending of ``path`` decides on the format.

    Raises:
        ResultError: matplotlib is not installed, or the run has no steps beside matrix products.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ResultError("--plot: matplotlib is not installed; pip install matplotlib") from error
    optimizer = (run.optimizers("steps") or [""])[0]
    found = {work: row for work, row in run.of("steps", optimizer).items() if _floor(row)}
    if not found:
        raise ResultError(
            f"--plot: expected steps of at least one work with its {FLOORS[0]}, found none; measure "
            "them with --steps"
        )
    with matplotlib.rc_context({"svg.hashsalt": "xpnet", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(8, 1.3 + 0.55 * len(found)), layout="constrained")
        axes = figure.add_subplot()
        names = [name for name in STYLES if any(name in row for row in found.values())]
        for number, name in enumerate(names):  # each in a lane of its own, so that none hides another
            _draw_contestant(axes, name, list(found.values()), 0.5 * (number + 0.5) / len(names) - 0.25)
        axes.axvline(1, color="0.4", linewidth=1)
        axes.set_xscale("log")
        axes.set_yticks(range(len(found)), [_label(work) for work in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.set_xlabel(
            f"time of a training step, in units of its matrix products alone ({optimizer}, {_place(run)})"
        )
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(axis="x", which="both", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
        figure.legend(
            loc="outside upper center", ncols=5, frameon=False, handletextpad=0.2, columnspacing=1.2
        )
        figure.savefig(path, metadata={"Date": None} if str(path).endswith(".svg") else None, dpi=150)


def _draw_contestant(axes: Any, name: str, rows: list[dict[str, Result]], lane: float) -> None:
    colour, shape = STYLES[name]
    ours = name == "xpnet"
    x, y = [], []
    for number, row in enumerate(rows):
        if name in row:
            floor = _floor(row)
            low, high = row[name].quartiles
            axes.plot([low / floor, high / floor], [number + lane] * 2, color=colour, linewidth=2, alpha=0.5)
            x.append(row[name].median / floor)
            y.append(number + lane)
    axes.plot(
        x, y, shape, color=colour, label=name, markersize=9 if ours else 7, markeredgewidth=1.5,
        markerfacecolor=colour if ours or shape in "xP" else "white", zorder=4 if ours else 3,
    )  # fmt: skip


def _floor(row: dict[str, Result]) -> float:
    return next((row[name].median for name in FLOORS if name in row), 0.0)


def _label(work: str) -> str:
    if work not in WORKS:
        return work
    known = WORKS[work]
    widths = known.title or "-".join(map(str, known.sizes))
    return f"{work}: {widths}, batch {known.batch}"


def _place(run: Run) -> str:
    return "CPU" if run.machine["device"] == "cpu" else run.machine["device"].partition(",")[0]
