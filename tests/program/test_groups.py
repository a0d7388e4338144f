"""Grouping: the same results from fewer operations, whatever the program."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.program.random_programs import Builder, random_program
from xpnet.program.lowerings import generic
from xpnet.program.passes.groups import Group, Loop, essential, group_operations
from xpnet.program.program import Operation, Program, Ref

_ELEMENTWISE = {
    "add", "subtract", "multiply", "divide", "negative", "abs", "square", "floor", "logical_not", "isnan",
    "maximum", "minimum", "less", "greater", "greater_equal", "equal", "exp", "log", "sqrt", "where", "keep",
    "astype", "sum", "max", "min",
}  # fmt: skip


def _grouped(program: Program) -> Program:
    return group_operations(program, lambda operation: operation.name in _ELEMENTWISE)


def _groups(program: Program) -> list[Group]:
    return [operation for operation in program.operations if isinstance(operation, Group)]


def _names(group: Group) -> list[str]:
    return [operation.name for operation in group.members]


def _same(program: Program, inputs: list[np.ndarray]) -> None:
    grouped = _grouped(program)
    with np.errstate(all="ignore"):
        for a, b in zip(generic.lower(program)(inputs), generic.lower(grouped)(inputs), strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize(
    ("a", "b", "joined"),
    [
        (Loop((3, 4)), Loop((3, 4)), Loop((3, 4))),
        (Loop((3, 4)), Loop((3, 4), 1), Loop((3, 4), 1)),
        (Loop((3, 4, 5), 1), Loop((3, 4, 5), 2), None),
        (Loop((3,)), Loop((3, 4)), Loop((3, 4), 1)),
        (Loop((3,)), Loop((3, 4, 5), 2), None),
        (Loop((4,)), Loop((3, 4)), None),
        (Loop(()), Loop((3, 4)), Loop((3, 4))),
    ],
)
def test_loops_that_fit_together(a: Loop, b: Loop, joined: Loop | None) -> None:
    assert a.joined(b) == joined
    assert b.joined(a) == joined


def test_dimensions_of_one_entry_do_not_count() -> None:
    assert essential((64, 1)) == essential((64,)) == (64,)
    assert essential((1, 1)) == ()


def test_softmax_is_one_group() -> None:
    x = Builder(np.arange(12.0).reshape(4, 3))
    less = x.apply("subtract", Ref(0), x.apply("max", Ref(0), axis=-1, keepdims=True))
    power = x.apply("exp", less)
    out = x.apply("divide", power, x.apply("sum", power, axis=-1, keepdims=True))
    program = x.program(out)
    (group,) = _groups(_grouped(program))
    assert _names(group) == ["max", "subtract", "exp", "sum", "divide"]
    assert group.loop == Loop((4, 3), 1)
    _same(program, x.arrays[:1])


def test_sums_over_everything_wait_for_the_loop() -> None:
    """A norm, and what is divided by it: two loops, and the root after the first of them."""
    x = Builder(np.arange(6.0))
    norm = x.apply("sqrt", x.apply("sum", x.apply("multiply", Ref(0), Ref(0))))
    program = x.program(x.apply("divide", Ref(0), norm))
    assert [_names(group) for group in _groups(_grouped(program))] == [
        ["multiply", "sum", "sqrt"],
        ["divide"],
    ]
    _same(program, x.arrays[:1])


def test_sums_over_rows_end_in_their_group() -> None:
    """ReLU's backward pass: mask, product, and the bias's gradient."""
    x = Builder(np.arange(12.0).reshape(4, 3), np.ones((4, 3)))
    g = x.apply("keep", Ref(1), x.apply("greater", Ref(0), 5.0))
    bias = x.apply("sum", g, axis=0)
    program = x.program(g, bias, x.apply("multiply", bias, 2.0))
    assert [_names(group) for group in _groups(_grouped(program))] == [
        ["greater", "keep", "sum"],
        ["multiply"],
    ]
    _same(program, x.arrays[:2])


def test_nothing_is_joined_around_an_operation_in_between() -> None:
    x = Builder(np.eye(3))
    before = x.apply("add", Ref(0), 1.0)
    product = x.apply("matmul", before, before)
    after = x.apply("add", product, before)
    program = x.program(after)
    assert [operation.name for operation in _grouped(program).operations] == ["group", "matmul", "group"]
    _same(program, x.arrays[:1])


def test_vectors_along_the_other_axis_are_apart() -> None:
    """In a square, (n,) is a row: computed beside the columns, it is needed whole before."""
    x = Builder(np.arange(9.0).reshape(3, 3), np.arange(3.0))
    doubled = x.apply("multiply", Ref(1), 2.0)
    program = x.program(x.apply("add", Ref(0), doubled))
    assert len(_groups(_grouped(program))) == 2
    upright = Builder(np.arange(9.0).reshape(3, 3), np.arange(3.0).reshape(3, 1))
    doubled = upright.apply("multiply", Ref(1), 2.0)
    program = upright.program(upright.apply("add", Ref(0), doubled))
    assert len(_groups(_grouped(program))) == 1
    _same(program, upright.arrays[:2])


def test_the_mask_is_kept_rather_than_what_it_was_made_from() -> None:
    x = Builder(np.arange(4.0).reshape(2, 2))
    inner = x.apply("add", Ref(0), -1.0)
    out = x.apply("maximum", inner, 0.0)
    mask = x.apply("greater", inner, 0.0)
    g = x.apply("matmul", out, out)
    program = x.program(x.apply("keep", g, mask))
    first, _ = _groups(_grouped(program))
    assert set(first.results) == {out.number, mask.number}


def test_reshapes_between_members() -> None:
    x = Builder(np.arange(12.0).reshape(4, 3))
    total = x.apply("sum", Ref(0), axis=1)
    column = x.apply("reshape", total, (4, 1))
    program = x.program(x.apply("subtract", Ref(0), column), column)
    (group,) = _groups(_grouped(program))
    assert _names(group) == ["sum", "reshape", "subtract"]
    _same(program, x.arrays[:1])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_random_programs(seed: int) -> None:
    program, inputs = random_program(seed)
    _same(program, inputs)
    grouped = _grouped(program)
    known: set[int] = set(grouped.inputs)
    for operation in grouped.operations:
        assert known.issuperset(operation.reads())
        known.update(operation.results)
        assert (
            isinstance(operation, Group) or operation.name not in _ELEMENTWISE or _alone(operation, program)
        )


def _alone(operation: Operation, program: Program) -> bool:
    """True for what no group does: no entries at all, reductions over dimensions in the middle."""
    shapes = [program.values[n].shape for n in (*operation.reads(), *operation.results)]
    return any(0 in s for s in shapes) or (operation.name in ("sum", "max", "min") and len(shapes[0]) > 2)
