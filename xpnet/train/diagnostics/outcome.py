"""Verdicts about a training that is over: what its losses and scores say, whatever its layers look like."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xpnet.train.diagnostics.verdicts import Verdict

__all__ = [
    "OUTCOME_RULES",
    "Outcome",
    "Score",
    "hardly_learned",
    "judge_outcome",
    "no_better",
    "under_trained",
]

STILL_FALLING = 0.02
HARDLY = 0.1
FEWEST_ROWS = 20


@dataclass(frozen=True)
class Score:
    """Score of some rows, whose best value is 1.

    Attributes:
        value: of the network.
        constant: of the best constant prediction.
        rows: how many rows.
    """

    value: float
    constant: float
    rows: int

    @property
    def skill(self) -> float:
        """How far the network is on the way from the constant prediction (0) to the best one (1)."""
        room = 1 - self.constant
        return (self.value - self.constant) / room if room > 0 else math.nan


@dataclass(frozen=True)
class Outcome:
    """Outcome of a training.

    Attributes:
        history: its rows.
        waited: whether it ended since the validation loss had not fallen for long enough.
        metric: name of the scores.
        scores: by the part of the rows; the last one is that which training has seen least of.
    """

    history: Sequence[Mapping[str, Any]]
    waited: bool = False
    metric: str = "accuracy"
    scores: Mapping[str, Score] = field(default_factory=dict)


def judge_outcome(outcome: Outcome) -> list[Verdict]:
    """Return the verdicts of the rules."""
    return [verdict for rule in OUTCOME_RULES if (verdict := rule(outcome)) is not None]


def under_trained(outcome: Outcome) -> Verdict | None:
    """In the last tenth of its epochs the loss made more than 2 % of its way.

    Its way is that from after the first epoch to before the last tenth. A loss that approaches its end
    exponentially, over five time constants, makes 0.5 % of its way in the last tenth; over three of them 2 %.
    The loss is that of the validation rows, if there are any.
    """
    if outcome.waited:
        return None
    history = outcome.history
    name = "validation_loss" if any(row.get("validation_loss") is not None for row in history) else "loss"
    losses = [row[name] for row in history if row.get(name) is not None and math.isfinite(row[name])]
    last = max(1, len(losses) // 10)
    if len(losses) < 2:
        return None
    before, now = min(losses[:-last]), min(losses[-last:])
    if not before - now > STILL_FALLING * (losses[0] - before) or before - now <= 1e-6 * abs(before):
        return None
    epochs = "the last epoch" if last == 1 else f"the last {last} of {len(losses)} epochs"
    return Verdict(
        "under-trained",
        "loss",
        f"the {name.replace('_', ' ')} was still falling at the end, from {before:.4g} to {now:.4g} in "
        f"{epochs}; train it for more epochs",
    )


def hardly_learned(outcome: Outcome) -> Verdict | None:
    """On its own training rows the network is less than a tenth of the way from a constant to perfection."""
    score = outcome.scores.get("train")
    if score is None or not score.skill < HARDLY:
        return None
    return Verdict(
        "hardly learned",
        "",
        f"on its own training rows {_compared(outcome.metric, score)}; train longer, with a larger network "
        "or another learning rate, or the columns say little about the target",
    )


def no_better(outcome: Outcome) -> Verdict | None:
    """On rows that were held out, 20 at least, it is so little better than a constant; not so in training."""
    part, score = list(outcome.scores.items())[-1] if outcome.scores else ("train", None)
    if part == "train" or score is None or score.rows < FEWEST_ROWS or not score.skill < HARDLY:
        return None
    if hardly_learned(outcome) is not None:
        return None
    return Verdict(
        "no better",
        "",
        f"on the {part} rows {_compared(outcome.metric, score)}, though not in training; use more rows, a "
        "smaller network, a penalty or dropout, or the columns say little about the target",
    )


OUTCOME_RULES: tuple[Callable[[Outcome], Verdict | None], ...] = (under_trained, hardly_learned, no_better)


def _compared(metric: str, score: Score) -> str:
    name = {"r2": "R²"}.get(metric, metric)
    pair = [f"{x:.3f}" if metric == "r2" else f"{100 * x:.1f} %" for x in (score.value, score.constant)]
    return f"it is hardly better than a constant prediction ({name} {pair[0]} against {pair[1]})"
