"""Timing in turn: only ratios taken in one run count, because machines differ and their speed drifts."""

from __future__ import annotations

import time

from scripts.benchmarks.contestants import Training

__all__ = ["in_turn", "settle"]

_PAUSE = 0.15  # seconds; OpenBLAS's threads spin for 0.1, and would take part in the next one's turn


def in_turn(
    trainings: dict[str, Training], rounds: int, shortest: float, warm_up: float
) -> dict[str, list[float]]:
    """Return seconds an epoch for each training, one number a round.

    Args:
        trainings: by the contestant's name.
        rounds: how often each has its turn; who begins a round changes.
        shortest: seconds that a turn takes at the least, which decides how many epochs it has.
        warm_up: seconds of training before the first turn.
    """
    epochs = {name: settle(training, shortest, warm_up) for name, training in trainings.items()}
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    names = list(trainings)
    for number in range(rounds):
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            time.sleep(_PAUSE)
            trainings[name].run(max(1, epochs[name] // 4))  # wakes threads up and fills caches
            seconds[name].append(_time(trainings[name], epochs[name]) / epochs[name])
    return seconds


def settle(training: Training, shortest: float, warm_up: float) -> int:
    """Train for ``warm_up`` seconds, at least three epochs, and return how many epochs take ``shortest``."""
    spent, done = 0.0, 0
    while spent < warm_up or done < 3:
        spent += _time(training, 1)
        done += 1
    epochs = 1
    while (took := _time(training, epochs)) < shortest:
        epochs = max(2 * epochs, int(1.1 * epochs * shortest / took))
    return epochs


def _time(training: Training, epochs: int) -> float:
    begun = time.perf_counter()
    training.run(epochs)
    return time.perf_counter() - begun
