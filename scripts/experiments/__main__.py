"""``scripts/homework``: run the exercises of the notes, print their tables and draw their pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from scripts.experiments import gaussians, initialization, report, stochastic
from scripts.experiments.convergence import Descent
from scripts.experiments.drawing import draw
from scripts.experiments.pruning import prune_in_rounds

__all__ = ["main"]

_IMAGES = Path(__file__).parents[2] / "docs" / "images"
_DESCENTS = (Descent((1.0,), noise=1.0, start=1.0), Descent((0.5, 1.0, 2.0), noise=0.5, start=1.0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all experiments, which takes about a minute, and return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/homework", description=__doc__)
    parser.add_argument("--images", type=Path, default=_IMAGES, help="folder for the pictures")
    images = parser.parse_args(arguments).images
    images.mkdir(parents=True, exist_ok=True)
    for exercise in (_initialization, _networks, _pruning, _work):
        for table in exercise(images):
            print(report.as_markdown(table), end="\n\n")
    draw(images / "stochastic-bound.svg", report.convergence_panels(_DESCENTS, 3000, 500, rate=0.1))
    return 0


def _initialization(images: Path) -> list[report.Table]:
    line = initialization.best_line(*initialization.exclusive_or())
    trained = {name: initialization.train(name) for name in initialization.INITIALIZERS}
    draw(images / "homework-initialization.svg", report.initialization_panels(trained, line))
    return [report.initialization_table(trained, line)]


def _networks(images: Path) -> list[report.Table]:
    trained = {
        (loss, l2): gaussians.train(loss, l2) for loss in gaussians.LOSSES for l2 in (0.0, gaussians.L2)
    }
    draw(images / "homework-losses.svg", report.network_panels(trained))
    draw(images / "homework-l2.svg", report.regularization_panels(trained))
    return [report.network_table(trained)]


def _pruning(images: Path) -> list[report.Table]:
    rounds = {loss: prune_in_rounds(loss)[0] for loss in gaussians.LOSSES}
    draw(images / "homework-pruning.svg", report.pruning_panels(rounds))
    return [report.pruning_table(done) for done in rounds.values()]


def _work(images: Path) -> list[report.Table]:
    rows = 1797
    steps = {name: -(-rows // (size or rows)) for name, (size, _) in stochastic.BATCHES.items()}
    whole, copied = (
        {
            name: stochastic.train(size, rate, rows=some, copies=copies)
            for name, (size, rate) in stochastic.BATCHES.items()
        }
        for some, copies in ((None, 1), (180, 10))
    )
    draw(images / "stochastic-work.svg", report.work_panels(whole, copied))
    return [report.work_table(whole, steps)]


if __name__ == "__main__":
    raise SystemExit(main())
