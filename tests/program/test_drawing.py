"""Programs as pictures: a box for each operation, arrows for what it reads, frames around groups."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tests.program.random_programs import Builder
from xpnet.autodiff import functions
from xpnet.backends import array_namespace
from xpnet.program import Program, record
from xpnet.program.passes.groups import group_operations
from xpnet.program.program import Ref


def _rows(x: Any) -> Any:
    xp = array_namespace(x)
    return [xp.unstack(xp.reshape(x, (2, -1)) * np.asarray([1.0, 2.0]))[1], x + 1.0]


def _grouped() -> Program:
    x = Builder(np.ones((4, 4)))
    less = x.apply("subtract", Ref(0), x.apply("max", Ref(0), axis=-1, keepdims=True))
    program = x.program(x.apply("matmul", x.apply("exp", less), Ref(0)))
    return group_operations(program, lambda operation: operation.name != "matmul")


def _arrows(text: str) -> set[tuple[str, str]]:
    return set(re.findall(r"(\w+) -+> (\w+)", text))


def test_boxes_and_arrows() -> None:
    program = record(_rows)(np.ones(4))
    for text in (program.to_dot(), program.to_mermaid()):
        for label in (
            "input 0",
            "float64[4]",
            "reshape (2, -1)",
            "multiply",
            "constant",
            "add 1.0",
            "unstack",
        ):
            assert label in text
        assert "float64[2], float64[2]" in text  # both results of one operation
        (constant,) = re.findall(r"^ *(c\d+) ?\[", text, re.MULTILINE)
        assert _arrows(text) == {("n0", "n1"), ("n1", "n2"), (constant, "n2"), ("n2", "n3"), ("n0", "n5")}
    assert program.to_dot().count("#DFF2E1") == 2  # results
    assert program.to_mermaid().count(":::result") == 2
    assert '"unstack<br/>' in program.to_mermaid()


def test_groups_are_framed() -> None:
    program = _grouped()
    assert _arrows(program.to_dot()) == {
        ("n0", "n1"), ("n0", "n2"), ("n1", "n2"), ("n2", "n3"), ("n3", "n4"), ("n0", "n4"),
    }  # fmt: skip
    (frame,) = re.findall(r"subgraph cluster_group0 \{(.*?)\n  \}", program.to_dot(), re.DOTALL)
    assert re.findall(r"(n\d) \[", frame) == ["n1", "n2", "n3"]
    (frame,) = re.findall(r"subgraph group0(.*?)\n  end", program.to_mermaid(), re.DOTALL)
    assert re.findall(r"(n\d)\[", frame) == ["n1", "n2", "n3"]


def test_groups_are_printed_and_counted_by_what_is_in_them() -> None:
    program = _grouped()
    assert str(program).splitlines() == [
        "%0 float64[4,4] = input 0",
        "%3 float64[4,4] = group(%0)",
        "    %1 float64[4,1] = max(%0, axis=-1, keepdims=True)",
        "    %2 float64[4,4] = subtract(%0, %1)",
        "    %3 float64[4,4] = exp(%2)",
        "%4 float64[4,4] = matmul(%3, %0)",
        "return %4",
    ]
    assert program.flops == 3 * 16 + 2 * 4 * 4 * 4


def test_dtypes_are_printed_by_their_names() -> None:
    program = record(lambda x: functions.array_namespace(x).astype(x, np.float32))(np.ones(2))
    assert str(program).splitlines()[1] == "%1 float32[2] = astype(%0, float32)"
