"""A deep sigmoid autoencoder of the digits, trained by methods of both orders for the same time each.

``python -m scripts.benchmarks.autoencoder --seconds 60 --json curves.json --plot curves.svg``, or ``--from``.
The methods go in turn, each for its share of a turn, so that a slow moment of the machine meets them all.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import Trainer, nn, optim
from xpnet.data import digits_arrays
from xpnet.files import write_atomically
from xpnet.train import Callback

WIDTHS = (32, 16, 8, 16, 32)
METHODS = ("hessian-free", "l-bfgs", "cg", "gd", "adam")
ADAM_RATES = (1e-3, 3e-3, 1e-2)
TURNS = 4
STYLES = (("#D55E00", "-"), ("#0072B2", "-"), ("#CC79A7", "-"), ("#000000", "-"),
          ("#009E73", ":"), ("#009E73", "--"), ("#009E73", "-."))  # fmt: skip


class Clock(Callback):
    """Ends a fit after a time, and notes the seconds spent in training and the loss of each epoch."""

    def __init__(self) -> None:
        self.spent, self.until = 0.0, 0.0
        self.curve: list[tuple[float, float]] = []
        self._begun = 0.0

    def on_fit_begin(self, trainer: Trainer, epochs: int) -> None:
        self._begun = time.perf_counter()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> bool:
        seconds = self.spent + time.perf_counter() - self._begun
        self.curve.append((seconds, row["loss"]))
        return seconds >= self.until

    def on_fit_end(self, trainer: Trainer, history: Any) -> None:
        self.spent += time.perf_counter() - self._begun


def digits() -> np.ndarray:
    """Return the images with their pixels from 0 to 1, (1797, 64)."""
    return digits_arrays()[0] / 16.0


def trainer_of(method: str, rate: float | None, seed: int) -> tuple[Trainer, Clock]:
    """Return a trainer by the method, and the callback that times it."""
    clock = Clock()
    optimizer = optim.Adam(rate) if rate else optim.get(method)
    model = nn.MLP(WIDTHS, 64, activation="sigmoid")
    return Trainer(model, "binary_cross_entropy", optimizer, seed=seed, backend="numpy",
                   callbacks=[clock], progress=False), clock  # fmt: skip


def measure(seconds: float, seed: int) -> dict[str, Any]:
    """Return the curve of each method: seconds of training and the loss on all rows then."""
    X = digits()
    entries = [(m, None) for m in METHODS if m != "adam"] + [("adam", rate) for rate in ADAM_RATES]
    runs = {f"{m} {rate:g}" if rate else m: trainer_of(m, rate, seed) for m, rate in entries}
    ended: set[str] = set()
    for turn in range(1, TURNS + 1):
        for name, (trainer, clock) in runs.items():
            clock.until = seconds * turn / TURNS
            if clock.spent < clock.until and name not in ended:
                trainer.fit(X, X, epochs=10**6, batch_size=64 if name.startswith("adam") else None)
                if trainer.stalled:
                    ended.add(name)
    curves = {}
    for name, (trainer, clock) in runs.items():
        final = trainer.evaluate(X, X)["loss"]
        curves[name] = {"curve": [*clock.curve, (clock.spent, final)], "final": final, "steps": trainer.step}
    return {"seconds": seconds, "seed": seed, "curves": curves}


def table(found: dict[str, Any]) -> str:
    """Return the losses at the end, the lowest first, as a table in Markdown."""
    lines = ["| optimizer | loss | steps |", "|---|---|---|"]
    for name, run in sorted(found["curves"].items(), key=lambda item: item[1]["final"]):
        lines.append(f"| {name} | {run['final']:.2f} | {run['steps']:,} |")
    return "\n".join(lines) + "\n"


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw the losses over the seconds of training."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "xpnet", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for (name, run), (colour, style) in zip(found["curves"].items(), STYLES, strict=True):
            seconds, losses = _thinned(np.asarray(run["curve"]))
            axes.plot(seconds, losses, style, color=colour, label=f"{name}: {run['final']:.2f}")
        axes.set(xlabel="seconds of training", ylabel="training loss (cross entropy a row)", xscale="log",
                 xlim=(found["seconds"] / 500, found["seconds"]), ylim=(15, 28))  # fmt: skip
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(color="0.9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        write_atomically(
            path, lambda file: figure.savefig(file, format="svg", metadata={"Date": None}, dpi=150)
        )


def _thinned(curve: np.ndarray, points: int = 150) -> np.ndarray:
    """Return about so many points of a curve, evenly spread over the logarithm of time."""
    at = np.geomspace(curve[0, 0], curve[-1, 0], points)
    return curve[np.unique(np.searchsorted(curve[:, 0], at).clip(0, len(curve) - 1))].T


def main() -> None:
    """Measure or read the curves, and show them as asked for."""
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmarks.autoencoder", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each optimizer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the curves")
    parser.add_argument("--from", dest="source", type=Path, help="curves to show, in place of measuring")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    options = parser.parse_args()
    if options.source:
        found = json.loads(options.source.read_text())
    else:
        found = measure(options.seconds, options.seed)
    if options.json:
        write_atomically(options.json, json.dumps(found))
    if options.plot:
        draw(found, options.plot)
    print(table(found), end="")


if __name__ == "__main__":
    main()
