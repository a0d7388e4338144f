"""Generated code: what is shared."""

from __future__ import annotations

import numpy as np
import pytest

from tests.program.random_programs import Builder
from xpnet.program.lowerings import generic
from xpnet.program.program import Program, Ref

pytest.importorskip("numba", reason="numba (extra jit) is not installed")

from xpnet.program.lowerings import numba
from xpnet.program.lowerings.numba.repetition import without_repetition


def test_blocks_that_differ_in_places_and_names_only() -> None:
    def block(pointer: str, offset: int, n: int) -> list[str]:
        return [
            "for i0 in range(4):",
            f"    a{n}_1 = {pointer}[i0 + {offset}]",
            f"    x{n} = a{n}_1 + c0",
            f"    m_float32[i0] = x{n}",
        ]

    other = ["for i0 in range(5):", "    x1 = p1[i0]", "    p2[i0] = x1"]
    done, functions = without_repetition([block("p1", 8, 3), other, block("m_float32", 16, 7)])
    assert done == [
        ["shared0(moved(p1, 8), m_float32)"],
        other,
        ["shared0(moved(m_float32, 16), m_float32)"],
    ]
    assert functions == {
        "shared0": [
            "def shared0(q0, q1):",
            "    for i0 in range(4):",
            "        y0 = q0[i0]",
            "        y1 = y0 + c0",
            "        q1[i0] = y1",
        ]
    }


def deep(layers: int = 4) -> tuple[Program, list[np.ndarray]]:
    draw = np.random.default_rng(0)
    builder = Builder(draw.normal(size=(9, 9)), *draw.normal(size=(layers, 9, 9)))
    x = Ref(0)
    for i in range(layers):
        x = builder.apply("tanh", builder.apply("add", builder.apply("matmul", x, Ref(i + 1)), 0.5))
    return builder.program(x), builder.arrays[: layers + 1]


def test_layers_of_a_deep_network_share_code() -> None:
    program, inputs = deep()
    run = numba.lower(program)
    # The last layer writes into the result, the others over what they read.
    assert run.compiled_source.count("tanh_float64") == 2
    np.testing.assert_allclose(run(inputs)[0], generic.lower(program)(inputs)[0], rtol=1e-13)
