"""Error classes: what catches them, how the command ends, and nearest names."""

from __future__ import annotations

import pytest

from xpnet import errors

# class, exit code, and the built-in class under which it can be caught as well
CLASSES = {
    "XpnetError": (1, Exception),
    "ConfigError": (2, ValueError),
    "BackendError": (3, RuntimeError),
    "DivergedError": (4, ArithmeticError),
    "OutOfMemoryError": (1, errors.BackendError),
    "DataError": (5, ValueError),
    "CheckpointError": (1, RuntimeError),
    "RecordError": (1, TypeError),
}


def test_every_class_is_in_the_table() -> None:
    others = {"Call", "Use", "Word", "Words", "call", "use"}  # see tests/cli/test_wording.py
    helpers = {"because", "memory_in_words", "reason", "remedy", "suggest"}
    assert set(CLASSES) | others | helpers == set(errors.__all__)


@pytest.mark.parametrize("name", CLASSES)
def test_classes(name: str) -> None:
    code, builtin = CLASSES[name]
    kind = getattr(errors, name)
    assert issubclass(kind, errors.XpnetError)
    assert issubclass(kind, builtin)
    assert kind.exit_code == code
    assert str(kind("what happened")) == "what happened"
    assert kind.__doc__


def test_divergence_says_where() -> None:
    error = errors.DivergedError("gone", epoch=2, step=31, layer="1")
    assert (error.epoch, error.step, error.layer) == (2, 31, "1")
    assert errors.DivergedError("gone").layer == "loss"


@pytest.mark.parametrize(
    ("name", "known", "want"),
    [
        ("adm", ["sgd", "adam"], "; did you mean 'adam'?"),
        ("zzz", ["sgd", "adam"], "; known: adam, sgd"),
        ("zzz", [], ""),
        (3, [1, 2, 30], "; did you mean '30'?"),
        (None, {"relu": 1, "tanh": 2}, "; known: relu, tanh"),
    ],
)
def test_nearest_names(name: object, known: list[object], want: str) -> None:
    assert errors.suggest(name, known) == want
