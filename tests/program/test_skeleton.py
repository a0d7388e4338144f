"""A new lowering is one row, and so is a new elementwise function: here one of each is added and used."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.program.cases import KINDS, joined
from tests.program.comparisons import by_steps
from tests.program.lowerings import (
    TABLE,
    Lowering,
    assert_as_uncompiled,
    assert_same,
    every_lowering,
    lowered,
)
from tests.program.random_programs import Builder, random_donations, random_program, random_step
from xpnet.backends import array_namespace
from xpnet.containers import map_leaves
from xpnet.errors import ConfigError
from xpnet.program import Program, record
from xpnet.program.looping import Loop, lowered_loop
from xpnet.program.lowerings import base, operations
from xpnet.program.program import Ref

# --- A lowering -------------------------------------------------------------------------------------------


class Counting:
    """A lowering that calls the functions of a program one after another, and counts them."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.loops = 0

    def lower(self, program: Program, donated: dict[int, int]) -> Callable[[Any], list[Any]]:
        def run(inputs: Any) -> list[Any]:
            values = dict(zip(program.inputs, inputs, strict=True))

            def read(tree: Any) -> Any:
                return map_leaves(lambda x: values[x.number] if type(x) is Ref else x, tree)

            for operation in program.operations:
                self.calls[operation.name] += 1
                out = operation.function(*read(operation.operands), **operation.options)
                parts = out if operation.many else (out,)
                values.update(zip(operation.results, parts, strict=True))
            return list(read(program.outputs))

        return run

    def lower_loop(self, program: Program, carry: int, constants: int) -> Any:
        step = self.lower(program, {})

        def loop(state: Any, fixed: Any, sequences: Any, donate: bool) -> tuple[list[Any], list[Any]]:
            self.loops += 1
            now, seen = [np.array(x) for x in state], []
            for row in zip(*sequences, strict=True):
                out = [np.array(x) for x in step([*now, *fixed, *map(np.asarray, row)])]
                now = out[:carry]
                seen.append(out[carry:])
            return now, [np.stack(column) for column in zip(*seen, strict=True)]

        return loop


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    made = Counting()
    row = base.Lowering("counting", "numpy", made.lower, made.lower_loop, overwrites=False)
    monkeypatch.setitem(base.LOWERINGS, row.name, row)
    monkeypatch.setitem(TABLE, row.name, Lowering(same_bits=True))
    yield made
    assert made.calls


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_compared_like_the_others(kind: str, counting: Counting) -> None:
    f, args, names = joined(KINDS[kind]("float32"))
    assert_as_uncompiled(record(f)(*args), args, "counting", names=names)


def test_on_random_programs(counting: Counting) -> None:
    for seed in range(20):
        program, inputs = random_program(seed, whole=False)
        assert_as_uncompiled(program, inputs, "counting", random_donations(program, seed))


def test_in_a_loop_over_random_steps(counting: Counting) -> None:
    for seed in range(20):
        program, inputs, carried = random_step(seed)
        state, constants, rows = inputs[:carried], inputs[carried:-2], inputs[-2:]
        sequences = [np.stack([np.roll(x, i) for i in range(3)]) for x in rows]
        with np.errstate(all="ignore"):
            now, results = by_steps(program, carried, state, constants, sequences)
            loop = lowered_loop(program, "counting", carried, len(constants))
            end, found = loop(state, constants, sequences, False)
        for one, other in zip([*end, *found], [*now, *results], strict=True):
            assert_same(one, other)
    assert counting.loops == 20


def test_it_is_chosen_by_its_name(counting: Counting) -> None:
    compiled = xpnet.compile(lambda x: array_namespace(x).exp(x) * 2.0, lower="counting")
    np.testing.assert_array_equal(compiled(np.zeros(3)), 2.0)
    compiled(np.ones(3))
    assert counting.calls == {"exp": 2, "multiply": 2}
    halve = Loop(lambda carry, constants, row: ([carry[0] * 0.5 + row[0]], [carry[0]]), "counting")
    (end,), (seen,) = halve([np.asarray([8.0])], [], [np.asarray([0.0, 1.0])])
    assert (end.tolist(), seen.tolist()) == ([3.0], [[8.0], [4.0]])
    assert not compiled.reason
    assert not halve.reason
    assert "counting" in base.names()


def test_why_it_cannot_work_is_said(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    counting.calls["none"] = 1
    row = base.Lowering("counting", "numpy", counting.lower, package="no_such_package")
    monkeypatch.setitem(base.LOWERINGS, "counting", row)
    with pytest.raises(ConfigError, match=r"'no_such_package' is not .* pip install no_such_package"):
        xpnet.compile(lambda x: x * 2, lower="counting")(np.ones(3))


# --- An elementwise function ------------------------------------------------------------------------------


@every_lowering
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_function_that_is_one_row(dtype: str, lower: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = operations.Elementwise(np.rint, {"f": "np.rint({0})"}, {"f": "rint{f}({0})"})
    monkeypatch.setitem(operations.ELEMENTWISE, "rint", row)
    x = np.asarray([[-1.5, -0.5, 0.4, 2.5], [np.nan, np.inf, -np.inf, -0.0]], dtype=dtype)
    builder = Builder(x)
    rounded = builder.apply("rint", builder.apply("multiply", Ref(0), 3.0))
    program = builder.program(rounded, builder.apply("copysign", Ref(0), rounded))
    assert_as_uncompiled(program, [x], lower, ulps=0)
    run = lowered(program, lower)
    written = {"numpy": "rint(", "numba": "np.rint(", "cupy": "rintf(" if dtype == "float32" else "rint("}
    if lower in written:
        assert written[lower] in getattr(run, "compiled_source", getattr(run, "source", ""))
        assert not getattr(run, "calls", ())


# --- The shape of the package -----------------------------------------------------------------------------


def test_no_lowering_imports_another() -> None:
    """What two of them need stands beside them, and knows none of them."""
    folder = Path(base.__file__).parent
    files = list(folder.rglob("*.py"))
    assert len(files) > len(base.LOWERINGS)
    for path in files:
        own = path.relative_to(folder).with_suffix("").parts[0]
        imported = re.findall(r"^\s*(?:from|import) xpnet\.program\.lowerings\.(\w+)", path.read_text(), re.M)
        assert not {name for name in imported if name in base.LOWERINGS} - {own}, path
