"""What the experiments show, as the tables and pictures of `docs/homework.md` and `docs/stochastic.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scripts.experiments.convergence import Descent, bound
from scripts.experiments.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, Curve, Panel
from scripts.experiments.pruning import Round
from xpnet import Trainer

__all__ = [
    "as_markdown",
    "convergence_panels",
    "initialization_panels",
    "initialization_table",
    "network_name",
    "network_panels",
    "network_table",
    "pruning_panels",
    "pruning_table",
    "regularization_panels",
    "work_panels",
    "work_table",
]

Table = Sequence[Sequence[str]]  # the first line is the header
_NAMES = {"squared_error": "squared error", "hinge": "hinge"}


def as_markdown(table: Table) -> str:
    """Return a table as Markdown's text."""
    lines = [table[0], ["---"] * len(table[0]), *table[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


# --- exercise 1 ----------------------------------------------------------------------------------------


def initialization_table(trained: Mapping[str, Trainer], line: float) -> Table:
    """Return loss and accuracy for each initialization; ``line`` is the accuracy of the best line."""
    rows = [
        [name, f"{one.history['loss'][-1]:.3f}", _percent(one.history["accuracy"][-1])]
        for name, one in trained.items()
    ]
    return [["weights at the start", "final loss", "accuracy"], *rows, ["(best line)", "", _percent(line)]]


def initialization_panels(trained: Mapping[str, Trainer], line: float) -> list[Panel]:
    """Return the curves of all initializations over iterations."""
    looks = [(GREY, "-"), (SKY, "-"), (PURPLE, "--"), (ORANGE, "-"), (BLUE, "-")]
    losses, accuracies = [], []
    for (name, one), (colour, style) in zip(trained.items(), looks, strict=True):
        steps = one.history["epoch"]
        losses.append(Curve(name, steps, one.history["loss"], colour, style))
        accuracies.append(Curve(name, steps, one.history["accuracy"], colour, style))
    ends = [steps[0], steps[-1]]
    accuracies.append(Curve("best line", ends, [line, line], "black", ":"))
    return [
        Panel("exclusive or: loss", "iteration", "cross entropy", losses),
        Panel("exclusive or: accuracy", "iteration", "accuracy", accuracies, percent=True, limits=(0.4, 1.0)),
    ]


# --- exercises 2 and 3 ---------------------------------------------------------------------------------


def network_name(loss: str, l2: float) -> str:
    """Return what a trained network is called in tables and pictures."""
    return f"{_NAMES[loss]}, L2 λ = {l2:g}" if l2 else _NAMES[loss]


def network_table(trained: Mapping[tuple[str, float], Trainer]) -> Table:
    """Return the final numbers of the 2-3-5-3-1 network for each loss, with and without the penalty."""
    rows = []
    for (loss, l2), one in trained.items():
        last = one.history.rows[-1]
        data_loss = last["loss"] - l2 * last["squared_weights"]
        rows.append(
            [network_name(loss, l2), f"{data_loss:.3f}", f"{last['validation_loss']:.3f}",
             _percent(last["agreement"]), _percent(last["validation_agreement"]),
             f"{last['squared_weights']:.1f}"]
        )  # fmt: skip
    header = ["loss", "training loss", "test loss", "training accuracy", "test accuracy", "Σ w²"]
    return [header, *rows]


def network_panels(trained: Mapping[tuple[str, float], Trainer]) -> list[Panel]:
    """Return what is minimized and the test accuracy over iterations, for both losses."""
    losses, accuracies = [], []
    for (loss, l2), one in trained.items():
        colour, style = (BLUE if loss == "squared_error" else ORANGE), ("--" if l2 else "-")
        steps = one.history["epoch"]
        losses.append(Curve(network_name(loss, l2), steps, one.history["loss"], colour, style))
        tested = one.history["validation_agreement"]
        accuracies.append(Curve(network_name(loss, l2), steps, tested, colour, style))
    return [
        Panel("2-3-5-3-1: training loss, penalty included", "iteration", "loss", losses),
        Panel("2-3-5-3-1: test accuracy", "iteration", "accuracy", accuracies, "", True, (0.88, 0.94)),
    ]


def regularization_panels(trained: Mapping[tuple[str, float], Trainer]) -> list[Panel]:
    """Return the size of the weights and the training accuracy over iterations."""
    sizes, accuracies = [], []
    for (loss, l2), one in trained.items():
        colour, style = (BLUE if loss == "squared_error" else ORANGE), ("--" if l2 else "-")
        steps, name = one.history["epoch"], network_name(loss, l2)
        sizes.append(Curve(name, steps, one.history["squared_weights"], colour, style))
        accuracies.append(Curve(name, steps, one.history["agreement"], colour, style))
    return [
        Panel("weights", "iteration", "Σ w²", sizes),
        Panel("training accuracy", "iteration", "accuracy", accuracies, "", True, (0.88, 1.0)),
    ]


def pruning_table(rounds: Sequence[Round]) -> Table:
    """Return what each round of pruning did."""
    rows = [[str(r.weights), *map(_percent, (r.pruned, r.retrained, r.test))] for r in rounds]
    return [["weights left", "training accuracy, pruned", "retrained", "test accuracy, retrained"], *rows]


def pruning_panels(rounds: Mapping[str, Sequence[Round]]) -> list[Panel]:
    """Return accuracies over the number of weights left, for each loss."""
    panels = []
    for loss, done in rounds.items():
        weights = [r.weights for r in done]
        curves = [
            Curve("training, pruned", weights, [r.pruned for r in done], GREY, "v:"),
            Curve("training, retrained", weights, [r.retrained for r in done], BLUE, "o-"),
            Curve("test, retrained", weights, [r.test for r in done], ORANGE, "s--"),
        ]
        title, ends = f"pruning in rounds: {_NAMES[loss]}", (weights[0] + 1, weights[-1] - 1)
        panels.append(Panel(title, "weights left", "accuracy", curves, percent=True, ends=ends))
    return panels


# --- stochastic descent --------------------------------------------------------------------------------


def work_table(losses: Mapping[str, Sequence[float]], steps: Mapping[str, int]) -> Table:
    """Return the loss after 1, 3 and all epochs; ``steps`` has the number of steps in an epoch."""
    shown = [1, 3, len(next(iter(losses.values())))]
    rows = [
        [name, str(steps[name]), *(f"{values[epoch - 1]:.3f}" for epoch in shown)]
        for name, values in losses.items()
    ]
    return [["batches", "steps of an epoch", *(f"loss after {n}" for n in shown)], *rows]


def work_panels(losses: Mapping[str, Sequence[float]], copied: Mapping[str, Sequence[float]]) -> list[Panel]:
    """Return losses over epochs on the digits, and on a tenth of them that is there ten times."""
    colours = [GREY, BLUE, ORANGE]
    panels = []
    for title, found in (("digits", losses), ("a tenth of the digits, ten times each", copied)):
        curves = [
            Curve(name, range(1, len(values) + 1), values, colour, "o-")
            for (name, values), colour in zip(found.items(), colours, strict=True)
        ]
        panels.append(Panel(title, "epochs: gradients of rows / rows", "cross entropy", curves, "y"))
    return panels


def convergence_panels(descents: Sequence[Descent], steps: int, seeds: int, rate: float) -> list[Panel]:
    """Return E|w_n - w*|² under the note's schedule, its bound, and the same at a constant rate."""
    panels = []
    n = np.arange(1, steps + 1)
    for descent in descents:
        expected, gradients = descent.expected(descent.schedule(), steps)
        upper = bound(descent.strength, gradients)[:-1]
        constant, _ = descent.expected(rate / descent.strength, steps)
        mean = descent.sample(descent.schedule(), steps, seeds).mean(axis=1)
        curves = [
            Curve("bound", n[1:], upper, "black", "--"),
            Curve(f"mean of {seeds} descents", n, mean, SKY),
            Curve("expectation", n, expected, BLUE, ":"),
            Curve(f"constant rate {rate:g}/ℓ", n, constant, ORANGE),
            Curve("its floor", [1, steps], [descent.floor(rate / descent.strength)] * 2, GREEN, ":"),
        ]
        kind = ", ".join(f"{c:g}" for c in descent.curvatures)
        panels.append(Panel(f"curvatures {kind}; σ = {descent.noise:g}", "n", "d_n", curves, "xy"))
    return panels
