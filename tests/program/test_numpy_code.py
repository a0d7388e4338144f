"""What the lowering for NumPy generates: blocks of rows, loops over steps, faster calls."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.program.lowerings import assert_as_uncompiled
from tests.program.random_programs import Builder, random_donations, random_program
from tests.program.steps import training_step
from xpnet import optim
from xpnet.program import record
from xpnet.program.looping import Loop
from xpnet.program.lowerings import numpy as lowering
from xpnet.program.lowerings.numpy import blocks
from xpnet.program.passes.groups import Group, group_operations, may_overwrite
from xpnet.program.passes.simplify import simplify
from xpnet.program.program import Program, Ref

_LARGE = [(40, 3), (40,), (40, 1), (3,), (), (1, 3), (80,), (10, 4, 3), (1, 80), (80, 1, 1), (40, 40)]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut arrays of 64 entries already."""
    monkeypatch.setattr(blocks, "BLOCK", 128)


def _same_bits(got: Any, want: Any) -> None:
    got, want = np.asarray(got), np.asarray(want)
    np.testing.assert_array_equal(got, want, strict=True)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


def _group(program: Program) -> Group:
    grouped = group_operations(program, lambda op: op.name not in ("matmul", "take"))
    (group,) = (operation for operation in grouped.operations if isinstance(operation, Group))
    return group


# --- Blocks of rows --------------------------------------------------------------------------------------


@pytest.mark.full
@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_random_programs_in_blocks(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", 128)
        program, inputs = random_program(seed, shapes=_LARGE, whole=False)
        assert_as_uncompiled(program, inputs, "numpy", random_donations(program, seed))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("optimizer", [optim.SGD(0.1), optim.Adam(), optim.AdaDelta()], ids=str)
def test_training_steps_in_blocks(optimizer: optim.Optimizer) -> None:
    step, args = training_step(optimizer, sizes=(20, 12, 4), activation="relu", dtype="float32", batch=17)
    carried = 1 + len(optimizer.slots)
    run = lowering.lower(simplify(record(step)(*args)), {i: i for i in range(carried)})
    assert "for " in run.source
    mine, theirs = [x.copy() for x in args], list(args)
    for _ in range(5):
        results, expected = run(mine), step(*theirs)
        for one, other in zip(results, expected, strict=True):
            _same_bits(one, other)
        mine[:carried], theirs[:carried] = results[:carried], expected[:carried]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("returned", [False, True])
def test_reshapes_inside_blocks(returned: bool) -> None:
    x = Builder(np.arange(80.0), np.linspace(-1, 1, 240).reshape(80, 3))
    power = x.apply("multiply", Ref(0), 0.5)
    column = x.apply("reshape", power, (80, 1))
    part = x.apply("add", Ref(1), column)
    square = x.apply("square", Ref(0))  # must not lie where the column still is
    part = x.apply("multiply", part, x.apply("reshape", square, (80, 1)))
    out = x.apply("add", part, column)
    program = x.program(out, *([power] if returned else []))
    run = lowering.lower(program)
    assert run.source.count("for ") == 1
    for got, ref in zip(run(x.arrays[:2]), program.outputs, strict=True):
        _same_bits(got, x.arrays[ref.number])


def test_large_values_inside_a_group_take_no_memory() -> None:
    x = Builder(np.ones(1 << 20, dtype=np.float32))
    y = Ref(0)
    for name in ("exp", "sin", "cos", "exp"):
        y = x.apply(name, y)
    run = lowering.lower(x.program(x.apply("sum", y)))
    assert run.memory.bytes <= (4 << 20) + 3 * blocks.BLOCK
    np.testing.assert_array_equal(run(x.arrays[:1])[0], x.arrays[-1])


def test_values_inside_a_group_lie_in_results_that_are_not_made_yet() -> None:
    """Adam's first moment: what is left of the old one lies in its own memory already."""
    x = Builder(np.ones(8), np.ones(8))
    part = x.apply("multiply", Ref(0), 0.9)
    new = x.apply("multiply", Ref(1), 0.1)
    moment = x.apply("add", part, new)
    root = x.apply("sqrt", moment)
    program = x.program(moment, x.apply("divide", Ref(1), root))
    group = _group(program)
    in_place = blocks.homes(group, program.values, lambda a, b: (a, b) == (0, moment.number))
    assert in_place[part.number] == moment.number
    assert in_place[new.number] == program.outputs[1].number
    apart = blocks.homes(group, program.values, lambda a, b: True)
    assert apart[new.number] < 0  # what could be written over is read later


def test_what_is_read_later_is_not_overwritten() -> None:
    x = Builder(np.arange(6.0).reshape(3, 2), np.arange(6.0).reshape(3, 2))
    first = x.apply("add", Ref(0), Ref(1))
    second = x.apply("multiply", Ref(1), first)
    third = x.apply("where", x.apply("less", first, 0.0), second, first)
    program = x.program(first, second, third)
    group = _group(program)
    cases = {
        (0, first): True, (1, first): False, (1, second): True, (0, third): True,
        (first.number, third): False,
    }  # fmt: skip
    for (old, new), expected in cases.items():
        assert may_overwrite(group, old, new.number, program.values) is expected


def test_what_each_block_needs_whole_is_not_overwritten() -> None:
    x = Builder(np.arange(9.0).reshape(3, 3), np.ones((3, 3, 3)))
    spread = x.apply("add", Ref(0), Ref(1))
    new = x.apply("multiply", Ref(0), 2.0)
    program = x.program(spread, new)
    assert not may_overwrite(_group(program), 0, new.number, program.values)


# --- The same calls, faster ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["maximum", "minimum", "multiply", "add", "greater", "pow"])
@pytest.mark.parametrize("number", [0, -0.0, 1, 0.1, float("nan"), float("inf"), 1e300, 1e-50, 2**24 + 1])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers(name: str, number: float) -> None:
    x = np.asarray([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1.5, -2.5, 1e-40] * 9, dtype=np.float32)
    wide = np.resize(x, (70, 300))
    for array, operands in itertools.product((x, wide, wide[:2, :]), ((Ref(0), number), (number, Ref(0)))):
        builder = Builder(array)
        program = builder.program(builder.apply(name, *operands))
        (got,) = lowering.lower(program)([array])
        _same_bits(got, builder.arrays[-1])


def test_numbers_that_are_almost_the_same() -> None:
    x = np.asarray([1.0, 2.0])
    builder = Builder(x, x.astype(np.float32))
    outputs = [builder.apply("multiply", Ref(n), number) for n in (0, 1) for number in (0.0, -0.0, 0.1)]
    run = lowering.lower(builder.program(*outputs))
    for got, ref in zip(run([x, builder.arrays[1]]), outputs, strict=True):
        _same_bits(got, builder.arrays[ref.number])


@pytest.mark.parametrize(
    "layout", ["rows", "columns", "every second row", "every second column", "reversed", "one row"]
)
def test_products_of_matrices_that_lie_in_any_way(layout: str) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 33)).astype(np.float32)
    x = {"rows": x, "columns": np.asfortranarray(x), "every second row": draw.normal(size=(80, 33))[::2],
         "every second column": draw.normal(size=(40, 66))[:, ::2], "reversed": x[::-1],
         "one row": np.broadcast_to(x[0], (40, 33))}[layout]  # fmt: skip

    def f(x: Any) -> list[Any]:
        xp = x.__array_namespace__()
        y = xp.tanh(x)
        odd, even = y[:, 1::2], y[:, 0:-1:2]
        return [x @ x.mT, x.mT @ x, y @ y.mT, y.mT @ x, x[:5, :] @ y[:5, :].mT, even @ odd.mT, x @ y[0, :]]

    for got, want in zip(lowering.lower(simplify(record(f)(x)))([x]), f(x), strict=True):
        if layout == "columns":  # uncompiled, what is made of it lies by columns, too
            np.testing.assert_allclose(got, want, atol=1e-4)
        else:
            _same_bits(got, want)


def test_indices_out_of_range_are_refused() -> None:
    x, rows = np.eye(3), np.asarray([0, 2])
    run = lowering.lower(record(lambda x, i: x.__array_namespace__().take(x, i, axis=0) * 2)(x, rows))
    np.testing.assert_array_equal(run([x, np.asarray([-1, 1])])[0], 2 * x[[-1, 1]])
    with pytest.raises(IndexError, match="out of bounds"):
        run([x, np.asarray([0, 3])])


# --- Loops over steps ------------------------------------------------------------------------------------


def _swap(carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
    a, b = carry
    return [b, a], [a + row[0]]


def _keep(carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
    a, b = carry
    return [a, b * constants[0][0, ...] + row[0]], [b, a, row[0], b + 1]


def _sort(carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
    a, b = carry
    xp = a.__array_namespace__()
    return [xp.sort(b + row[0]), a[::-1] * 1], [xp.max(a)]


def _both(carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
    a, b = carry
    new = a + b * row[0]
    total = a.__array_namespace__().sum(new)
    return [new, new], [new, total, total, new[0]]


def _constant(carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
    return [carry[0] + row[0], carry[1]], [carry[0].__array_namespace__().ones_like(row[0])]


@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("step", [_swap, _keep, _sort, _both, _constant], ids=lambda f: f.__name__[1:])
def test_loops(step: Any, donate: bool) -> None:
    carry = [np.asarray([1.0, 5.0, 2.0]), np.asarray([-3.0, 0.5, 8.0])]
    constants, sequences = [np.asarray([[2.0], [3.0]])], [np.arange(12.0).reshape(4, 3)]
    (want, seen), loop = Loop(step, "off")(carry, constants, sequences), Loop(step, "numpy")
    for _ in range(2):
        given_away = [x.copy() for x in carry]
        got, stacked = loop(given_away, constants, sequences, donate=donate)
        for a, b in zip([*got, *stacked], [*want, *seen], strict=True):
            _same_bits(a, b)
        if not donate:
            for a, b in zip(given_away, carry, strict=True):
                np.testing.assert_array_equal(a, b)
    assert not loop.reason


@pytest.mark.parametrize("lengths", [(6, 6), (6, 5)], ids=["of one length", "of two"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_loops_that_gather(lengths: tuple[int, int], axis: int) -> None:
    def step(carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
        xp = carry[0].__array_namespace__()
        shape = (2, 3) if axis == 0 else (3, 2)
        x, y = (xp.take(x, row[0], axis=axis) for x in constants)
        return [carry[0] + xp.sum(x) * xp.sum(y)], [xp.reshape(x, shape), y]

    shapes = [(n, 3) if axis == 0 else (3, n) for n in lengths]
    constants = [np.arange(3.0 * n).reshape(shape) for n, shape in zip(lengths, shapes, strict=True)]
    carry, plain, loop = [np.asarray(0.0)], Loop(step, "off"), Loop(step, "numpy")
    for rows in ([[0, 4], [3, 3], [-1, -5]], [[4, 0], [1, 2], [2, 2]]):
        given = [np.asarray(rows)]
        (want, seen), (got, stacked) = plain(carry, constants, given), loop(carry, constants, given)
        for a, b in zip([*got, *stacked], [*want, *seen], strict=True):
            _same_bits(a, b)
    for bad in (6, -7):
        with pytest.raises(IndexError, match="out of bounds"):
            loop(carry, constants, [np.asarray([[0, 4], [3, bad], [1, 2]])])
    assert not loop.reason


def test_views_of_the_state_are_made_once_and_results_lie_in_their_rows() -> None:
    step, args = training_step(optim.Adam(), dtype="float32")
    program = simplify(record(step)(*args))
    # X and y are constants; the optimizer's scalars change from step to step.
    loop = lowering.lower_loop(program, 3, 2)
    assert loop is not None
    ahead, _, each = loop.source.partition(" in rows:")
    assert "reshape" in ahead
    assert "reshape" not in each
    assert "empty" not in each
    assert "copyto(row" not in each
