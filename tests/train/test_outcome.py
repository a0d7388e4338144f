"""Verdicts on a training that is over, at their thresholds and in trainings."""

from __future__ import annotations

import math

import pytest

from xpnet.train.diagnostics.outcome import OUTCOME_RULES, Outcome, Score, judge_outcome


def falling(epochs, constants, name="validation_loss"):
    """Return a history whose loss falls exponentially, over so many time constants."""
    return [
        {"epoch": epoch, "loss": 1.0, name: math.exp(-constants * epoch / epochs)}
        for epoch in range(1, epochs + 1)
    ]


def kinds(**outcome):
    return [verdict.kind for verdict in judge_outcome(Outcome(**{"history": (), **outcome}))]


@pytest.mark.parametrize(
    ("history", "waited", "found"),
    [
        (falling(50, 2), False, True),
        (falling(50, 2, "loss"), False, True),
        (falling(50, 5), False, False),
        (falling(50, 2), True, False),  # patience has seen that it does not fall
        (falling(2, 1), False, True),
        (falling(1, 1), False, False),
        (falling(50, 9) + falling(5, 1), False, False),  # it rises
        ([{"loss": 1.0}] * 50, False, False),
        ([{"loss": math.nan}] * 50, False, False),
        ([{"loss": 1.0, "validation_loss": x} for x in (0.9, math.nan, 0.5)], False, True),
    ],
)
def test_under_trained(history, waited, found):
    assert kinds(history=history, waited=waited) == (["under-trained"] if found else [])


@pytest.mark.parametrize(
    ("train", "test", "found"),
    [
        (Score(0.64, 0.6, 100), Score(0.7, 0.6, 30), []),  # exactly a tenth of the way
        (Score(0.63, 0.6, 100), Score(0.61, 0.6, 30), ["hardly learned"]),
        (Score(0.95, 0.6, 100), Score(0.62, 0.6, 30), ["no better"]),
        (Score(0.95, 0.6, 100), Score(0.62, 0.6, 19), []),  # too few rows
        (Score(1.0, 1.0, 100), Score(1.0, 1.0, 30), []),  # one class alone
        (Score(0.9, 0.6, 100), Score(math.nan, 0.0, 30), []),
    ],
)
def test_beside_a_constant(train, test, found):
    assert kinds(scores={"train": train, "test": test}) == found


def test_every_rule_is_tested():
    assert {rule.__name__ for rule in OUTCOME_RULES} == {"under_trained", "hardly_learned", "no_better"}
