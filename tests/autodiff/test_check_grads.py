"""The checker finds derivatives that are wrong, in the mode and at the order at which they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.support import draw, widest
from xpnet.autodiff import check_grads
from xpnet.autodiff.rules.rule import RULES, elementwise, rule
from xpnet.autodiff.tracer import dispatch
from xpnet.backends import Backend, array_namespace
from xpnet.errors import RecordError

X = draw(1, (3,))


@pytest.fixture
def enter() -> Iterator[Any]:
    """Make a function with a rule of the test's own, which is taken out of the table afterwards."""
    before = dict(RULES)
    yield lambda name, f: dispatch(RULES[name], f)
    RULES.clear()
    RULES.update(before)


def _sine(x: Any) -> Any:
    return array_namespace(x).sin(x)


def test_a_right_rule_passes(enter: Any) -> None:
    elementwise("my_sine", lambda xp, out, x: xp.cos(x))
    check_grads(enter("my_sine", _sine), (X,), order=3)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_wrong_slope_fails_in_both_modes(mode: str, enter: Any) -> None:
    elementwise("my_sine", lambda xp, out, x: 1.001 * xp.cos(x))
    with pytest.raises(RecordError, match=f"{mode} mode.* by central differences, found"):
        check_grads(enter("my_sine", _sine), (X,), modes=(mode,), order=1)


def test_a_slope_that_is_right_but_cannot_be_differentiated_fails_at_order_2(enter: Any) -> None:
    elementwise("my_sine", lambda xp, out, x: array_namespace(x).cos(_frozen(x)))
    f = enter("my_sine", _sine)
    check_grads(f, (X,), order=1)
    for mode in ("forward", "reverse"):
        with pytest.raises(RecordError, match="central differences"):
            check_grads(f, (X,), order=2, modes=(mode,))


def _frozen(x: Any) -> Any:
    from xpnet.autodiff import stop_gradient

    return stop_gradient(x)


def test_directions_that_disagree_fail_in_the_wrong_one_alone(enter: Any) -> None:
    rule("my_sine", lambda xp, g, out, x: xp.multiply(g, xp.cos(x)), push=lambda xp, t, out, x: t[0] * 2)
    f = enter("my_sine", _sine)
    check_grads(f, (X,), modes=("reverse",), order=1)
    with pytest.raises(RecordError, match=r"forward mode, result 0: at \(\d,\) expected .*, found"):
        check_grads(f, (X,), modes=("forward",), order=1)


def test_a_cotangent_of_the_wrong_argument_fails(enter: Any) -> None:
    rule("my_product", lambda xp, g, out, x, y: xp.multiply(g, x), lambda xp, g, out, x, y: xp.multiply(g, y))
    f = enter("my_product", lambda x, y: x * y)
    with pytest.raises(RecordError, match="reverse mode"):
        check_grads(f, (X, X + 1), modes=("reverse",), order=1)


def test_nan_is_a_mismatch(enter: Any) -> None:
    elementwise("my_sine", lambda xp, out, x: xp.cos(x) * float("nan"))
    with pytest.raises(RecordError, match="found nan"):
        check_grads(enter("my_sine", _sine), (X,), order=1)


def test_it_takes_containers_and_several_results(backend: Backend) -> None:
    x = backend.asarray(X, dtype=widest(backend))
    check_grads(lambda tree, y: {"a": tree["x"] * y, "b": [_sine(y)]}, ({"x": x}, x), order=2)


def test_complex_arrays_and_whole_numbers_beside(enter: Any) -> None:
    z = X + 1j * draw(2, (3,))

    def f(tree: Any) -> Any:
        xp = array_namespace(tree["z"])
        return (
            xp.real(tree["z"] * xp.conj(tree["z"])) * tree["n"],
            tree["z"] ** 2 * tree["x"],
            xp.argmax(tree["x"]),
        )

    check_grads(f, ({"z": z, "x": X, "n": np.asarray([1, 2, 3])},))
    elementwise("my_square", lambda xp, out, x: 2 * xp.conj(x))
    for mode in ("forward", "reverse"):
        with pytest.raises(RecordError, match=f"{mode} mode"):
            check_grads(enter("my_square", lambda x: x * x), (z,), modes=(mode,), order=1)


def test_float32_has_tolerances_of_its_own(backend: Backend) -> None:
    x = backend.asarray(X, dtype="float32")
    check_grads(_sine, (x,), order=2)
    with pytest.raises(RecordError, match="central differences"):
        check_grads(lambda y: _sine(y) + _frozen(y * 0.2), (x,), order=1)
