"""Means of the weights over a training, which predict in place of the newest ones.

Exponential moving averages (EMA), after each step, and stochastic weight averaging (SWA), after each epoch.
Both are running means, a ← a + (θ - a) / c: the weights θ count as one of c. Running statistics of the model,
such as those of BatchNorm, are averaged alike.
"""

from __future__ import annotations

from typing import Any

from xpnet.backends.lacking import copy
from xpnet.containers import leaves, map_leaves, rebuild
from xpnet.nn import Variables
from xpnet.train.settings import Settings
from xpnet.train.setup import Setup
from xpnet.train.state import Average, TrainState

__all__ = ["average_epoch", "begun_average", "effective_count", "with_term"]


def with_term(mean: Variables, new: Variables, count: Any) -> Variables:
    """Return the running mean with one more term: mean + (new - mean) / count.

    Args:
        mean: of the terms before; what it is does not matter for the first.
        new: the term.
        count: of how many the term is one, a number or 0-d array.
    """
    pairs = zip(leaves(mean), leaves(new), strict=True)
    made: Variables = rebuild(new, [old + (x - old) / count for old, x in pairs])
    return made


def effective_count(decay: float, number: int) -> float:
    """Return of how many a term of an exponential moving average is one: 1 + d + ... + d^(n-1).

    So term k of n has the weight d^(n-k) (1 - d) / (1 - d^n): the usual correction of the bias to the start,
    as for Adam's moments. For many terms the mean is a ← d a + (1 - d) θ, as in
    ``torch.optim.swa_utils.get_ema_avg_fn``, which has no correction.

    Args:
        decay: d.
        number: n, the number of the term from 1 on.

    >>> effective_count(0.5, 1), effective_count(0.5, 2), effective_count(0.5, 99)
    (1.0, 1.5, 2.0)
    """
    return (1.0 - decay**number) / (1.0 - decay)


def begun_average(setup: Setup, state: TrainState) -> Average | None:
    """Return the mean with which a training goes on: that so far, or a new one if another kind is wanted."""
    kind, known = kind_of(setup.settings), state.average
    if known is not None and known.kind == kind:
        return known
    if kind is None:
        return None
    assert state.variables is not None
    return Average(map_leaves(copy, state.variables), 0, kind)  # steps may overwrite the others


def kind_of(settings: Settings) -> str | None:
    """Return the kind of mean that settings ask for: ``"ema"``, ``"swa"`` or None."""
    if settings.ema_decay is not None:
        return "ema"
    return None if settings.swa_start is None else "swa"


def average_epoch(setup: Setup, state: TrainState) -> None:
    """Take an epoch that has just been trained into the mean of epochs, and predict with the mean, if any.

    Args:
        setup: of the training.
        state: after the epoch's steps; its number is not counted yet.
    """
    start, known = setup.settings.swa_start, state.average
    if known is None:
        return
    if start is not None and state.epoch + 1 >= start:
        assert state.variables is not None
        terms = known.terms + 1
        mean = with_term(known.variables, state.variables, float(terms))
        state.average = known._replace(variables=mean, terms=terms)
    state.predict_with_average()
