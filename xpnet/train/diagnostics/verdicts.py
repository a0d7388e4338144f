"""Verdicts: from measured numbers to a fault of a training, where it is, and what to do about it.

Each rule is a pure function of what was measured and of the history of the training. Several of them speak
of a network only while it has not *learned*: until its loss is below half of that of a constant prediction.
One that fits its rows well is allowed dead or saturated units, and its gradients come from the few rows that
it still gets wrong.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from xpnet.train.diagnostics.layer_measures import LayerMeasures, Measures

__all__ = [
    "RULES",
    "Verdict",
    "dead_units",
    "exploding_gradients",
    "identical_units",
    "judge",
    "plateau",
    "saturated_units",
    "updates_too_large",
    "updates_too_small",
    "vanishing_gradients",
]

VANISHING = 4.0**-5
EXPLODING = math.e**3
DEAD = SATURATED = 0.75
IDENTICAL = 1e-5
SMALL_UPDATE = 1e-5
_FOLLOW = {
    "identical units": ("vanishing gradients", "dead units"),
    "dead units": ("vanishing gradients",),
}
PLATEAU_EPOCHS, PLATEAU_STEPS, PLATEAU_FALL = 10, 100, 0.01


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A fault that was found.

    Attributes:
        kind: such as ``"vanishing gradients"``.
        layer: where, such as ``"0 (Dense)"``; ``"loss"`` for what concerns no single layer.
        message: what was seen, and what to do.
    """

    kind: str
    layer: str
    message: str


def judge(measured: Measures, history: Sequence[dict[str, Any]] = ()) -> list[Verdict]:
    """Return the verdicts of the rules, at most one of each kind, without those that follow from another.

    Units that are identical or dead let little gradient through, and identical ones may all be dead.

    Args:
        measured: what was measured last.
        history: rows of the training's history up to then.
    """
    verdicts = [verdict for rule in RULES if (verdict := rule(measured, history)) is not None]
    explained = {kind for verdict in verdicts for kind in _FOLLOW.get(verdict.kind, ())}
    return [verdict for verdict in verdicts if verdict.kind not in explained]


def vanishing_gradients(measured: Measures, history: Sequence[dict[str, Any]] = ()) -> Verdict | None:
    """‖∂L/∂h‖ at a layer is below 4⁻⁵ ≈ 1e-3 of that at the outputs, in a network that has not learned.

    A sigmoid's slope is at most 1/4, so 4⁻⁵ is what five of them let through; with five, Glorot and Bengio
    never saw a network leave its first plateau. A layer of zeros lets nothing through, but only until its
    first step, so what is below one does not count.

    Source: lecture note 004, "Vanishing and exploding gradients"; Glorot and Bengio, "Understanding the
    difficulty of training deep feedforward neural networks", AISTATS 2010, section 3.1.
    """
    layers, last = _with_parameters(measured), measured.layers[-1]
    zeros = [number for number, layer in enumerate(layers) if layer.weight_norm == 0]
    reached = layers[max(zeros, default=0) :]
    low = [layer for layer in reached if layer.signal < VANISHING * last.signal]
    if not low or not _unlearned(measured):
        return None
    worst = min(low, key=lambda layer: layer.signal)
    return Verdict(
        "vanishing gradients",
        worst.layer,
        f"back propagation brings {worst.signal / last.signal:.1e} of the outputs' gradient to this layer, "
        f"and less than {VANISHING:.0e} to {_layers(low, layers)}; use ReLU or tanh in place of sigmoids, "
        "weights drawn by he_normal or glorot_uniform, BatchNorm, or fewer layers",
    )


def exploding_gradients(measured: Measures, history: Sequence[dict[str, Any]] = ()) -> Verdict | None:
    """‖∂L/∂h‖ at the inputs or a layer is above e³ ≈ 20 times that at the outputs, and nothing is learned.

    In the mean-field theory of random networks the squared gradient changes by a factor e over each depth ξ,
    and networks up to about 6 ξ deep can be trained: over which the norm changes by e³.

    Source: lecture note 004; Schoenholz et al., "Deep information propagation", ICLR 2017, sections 4 and 5.
    """
    layers, last = _with_parameters(measured), measured.layers[-1]
    if not layers or not _unlearned(measured):
        return None
    worst = max(layers, key=lambda layer: layer.signal)
    signal, where = max((worst.signal, "this layer"), (measured.input_signal, "the inputs"))
    if not signal > EXPLODING * last.signal > 0:
        return None
    return Verdict(
        "exploding gradients",
        layers[0].layer if where == "the inputs" else worst.layer,
        f"back propagation brings {signal / last.signal:.3g} times the outputs' gradient to {where}; use "
        "smaller weights (he_normal, glorot_uniform), BatchNorm, standardized inputs, or clip the gradient's "
        "norm",
    )


def plateau(measured: Measures, history: Sequence[dict[str, Any]] = ()) -> Verdict | None:
    """The loss stands still at the level of a constant prediction.

    Still: over the last 10 epochs, or as many more as have 100 steps, its lowest value is not 1 % below that
    of before. (Ten epochs are the patience that PyTorch and Keras wait for before they lower a rate.) At the
    level: the sample's loss is not 1 % below the loss of the mean of the outputs. A loss that stands still
    further down has converged, as far as losses can tell.

    Source: lecture note 004, on local minima, plateaus and cliffs.
    """
    losses = [row["loss"] for row in history]
    epochs = next(
        (n for n in range(PLATEAU_EPOCHS, len(history)) if _steps(history, n) >= PLATEAU_STEPS), None
    )
    if epochs is None or measured.loss < measured.constant_loss - 0.01 * abs(measured.constant_loss):
        return None
    before, now = min(losses[:-epochs]), min(losses[-epochs:])
    if now < before - PLATEAU_FALL * abs(before):
        return None
    return Verdict(
        "plateau",
        "loss",
        f"the loss has stood at {losses[-1]:.4g} for {epochs} epochs, and is no lower than that of a "
        "constant prediction; try another learning rate (the range test shows which) or initialization, "
        "standardized inputs, or momentum; or the inputs say nothing about the targets",
    )


def dead_units(measured: Measures, history: Sequence[dict[str, Any]] = ()) -> Verdict | None:
    """Three quarters of a layer's ReLU-like units are 0 on every row, in a network that has not learned.

    Such a unit has the slope 0 on every row, so it never changes. Two fifths of them are called a sign of too
    high a rate; narrow networks on few inputs can have half of them and be well.

    Source: Stanford CS231n, "Neural networks part 1", on ReLU.
    """
    share, layer = _largest((layer.dead, layer) for layer in measured.layers)
    if share < DEAD or not _unlearned(measured):
        return None
    return Verdict(
        "dead units",
        layer,
        f"{100 * share:.0f} % of the units are 0 on every row and get no gradient; lower the learning "
        "rate, use leakyrelu or elu, he_normal weights and biases of 0, or standardized inputs",
    )


def saturated_units(measured: Measures, history: Sequence[dict[str, Any]] = ()) -> Verdict | None:
    """Three quarters of a hidden layer's sigmoids or tanhs are saturated, in a network that has not learned.

    Beyond 99 % of the way to an end the slope is below a fiftieth of its largest value, and little gradient
    comes through. The output layer may be saturated: targets at the ends ask for it.

    Source: Glorot and Bengio 2010, section 3.
    """
    share, layer = _largest((layer.saturated, layer) for layer in measured.layers[:-1])
    if share < SATURATED or not _unlearned(measured):
        return None
    return Verdict(
        "saturated units",
        layer,
        f"{100 * share:.0f} % of the values are at the flat ends and let no gradient through; use "
        "smaller weights (glorot_uniform), standardized inputs, a lower learning rate, or BatchNorm",
    )


def identical_units(measured: Measures, history: Sequence[dict[str, Any]] = ()) -> Verdict | None:
    """All units of a hidden layer give the same outputs and are told the same gradients.

    Then their weights in and out are equal (or all 0), get equal updates, and stay equal for ever: the layer
    is worth one unit. Up to 1e-5 of their norm, as sums of equal numbers may be rounded differently.

    Source: lecture note 004, homework 1: all weights zero, all weights one, random weights.
    """
    layers = _with_parameters(measured)[:-1]
    same = [layer for layer in layers if layer.alike is not None and layer.alike <= IDENTICAL]
    if not same:
        return None
    return Verdict(
        "identical units",
        same[0].layer,
        f"all units of {_layers(same, layers)} compute the same and learn the same, as with equal initial "
        "weights; draw the weights at random (he_normal, glorot_uniform)",
    )


def updates_too_large(measured: Measures, history: Sequence[dict[str, Any]] = ()) -> Verdict | None:
    """One step may change the outputs by as much as they are: ∏ (1 + ‖Δθₗ‖/‖θₗ‖) - 1 ≥ 1 over the layers.

    A layer whose weights began at 0 is after k steps in one direction no longer than these (with momentum,
    half of them), so a ratio of up to 2 / k is no sign of anything.

    Source: Bernstein et al., "On the distance between two neural networks and the stability of learning",
    NeurIPS 2020: the bound of deep relative trust.
    """
    ratios = [(layer.update_ratio or 0.0, layer) for layer in measured.layers]
    ratios = [(ratio, layer) for ratio, layer in ratios if ratio * measured.step > 2 or measured.step == 0]
    if not math.prod(1 + ratio for ratio, _ in ratios) >= 2:
        return None
    ratio, layer = _largest(ratios)
    return Verdict(
        "updates too large",
        layer,
        f"a step changes the weights of this layer by {ratio:.3g} of their norm, and the outputs by up to "
        "as much as they are; lower the learning rate (about 1e-3 of the norm is usual), or clip the "
        "gradient's norm",
    )


def updates_too_small(measured: Measures, history: Sequence[dict[str, Any]] = ()) -> Verdict | None:
    """Steps change no layer by more than 1e-5 of its norm, in a network that has not learned.

    The rule of thumb is 1e-3; with a hundredth of it, weights need a hundred thousand steps to change by
    their own size. Not before the first epoch, as warm-ups begin with rates near 0.

    Source: Stanford CS231n, "Neural networks part 3", ratio of weights to updates.
    """
    ratio, layer = _largest((layer.update_ratio, layer) for layer in measured.layers)
    if not 0 < ratio < SMALL_UPDATE or measured.epoch == 0 or not _unlearned(measured):
        return None
    return Verdict(
        "updates too small",
        layer,
        f"a step changes the weights of this layer, where they change most, by {ratio:.1e} of their "
        "norm; raise the learning rate (about 1e-3 of the norm is usual)",
    )


RULES: tuple[Callable[[Measures, Sequence[dict[str, Any]]], Verdict | None], ...] = (
    vanishing_gradients,
    exploding_gradients,
    plateau,
    dead_units,
    saturated_units,
    identical_units,
    updates_too_large,
    updates_too_small,
)


def _unlearned(measured: Measures) -> bool:
    """True until the loss is below half of that of a constant prediction."""
    return measured.loss > measured.constant_loss - 0.5 * abs(measured.constant_loss)


def _with_parameters(measured: Measures) -> list[LayerMeasures]:
    return [layer for layer in measured.layers if layer.parameters]


def _layers(some: Sequence[LayerMeasures], all: Sequence[LayerMeasures]) -> str:
    return f"{len(some)} of {len(all)} layers with weights"


def _largest(shares: Iterable[tuple[Any, LayerMeasures]]) -> tuple[float, str]:
    """Return the largest of the numbers that there are, and the name of its layer; 0 if there are none."""
    return max(((share, layer.layer) for share, layer in shares if share is not None), default=(0.0, ""))


def _steps(history: Sequence[dict[str, Any]], epochs: int) -> int:
    return history[-1]["step"] - history[-1 - epochs]["step"]
