"""Means, variances and narrow products as sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.program.random_programs import Builder
from xpnet.program import record
from xpnet.program.lowerings import generic
from xpnet.program.passes.expand import expand
from xpnet.program.program import Ref


def test_moments_and_products_of_vectors() -> None:
    draw = np.random.default_rng(0)
    builder = Builder(draw.normal(size=(4, 3)), draw.normal(size=5), np.asarray(2.0))
    outputs = [
        builder.apply(name, Ref(0), axis=axis, keepdims=kept)
        for name in ("mean", "var", "std")
        for axis in (None, 0, -1, (0, 1))
        for kept in (False, True)
    ]
    outputs += [builder.apply("var", Ref(0), axis=0, correction=1.0), builder.apply("mean", Ref(2))]
    outputs.append(builder.apply("matmul", Ref(1), Ref(1)))
    program = builder.program(*outputs)
    longer = expand(program)
    assert not {op.name for op in longer.operations} & {"mean", "var", "std", "matmul"}
    inputs = builder.arrays[:3]
    for a, b in zip(generic.lower(program)(inputs), generic.lower(longer)(inputs), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-14)
        assert np.shape(a) == np.shape(b)


def test_the_rest_stays() -> None:
    builder = Builder(np.ones((2, 2)), np.ones(3, dtype=np.int64))
    program = builder.program(
        builder.apply("matmul", Ref(0), Ref(0)), builder.apply("matmul", Ref(1), Ref(1))
    )
    assert expand(program).operations == program.operations


@pytest.mark.parametrize(
    "shapes", [((5, 4), (4, 1)), ((1, 4), (4, 5)), ((5, 1), (1, 4)), ((1, 4), (4, 1)), ((4,), (4,))]
)
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_narrow_products(shapes: Any, turned: Any) -> None:
    if len(shapes[0]) == 1 and any(turned):
        pytest.skip("vectors are not transposed")
    draw = np.random.default_rng(0)
    a, b = (draw.normal(size=s[::-1] if t else s) for s, t in zip(shapes, turned, strict=True))

    def product(a: Any, b: Any) -> Any:
        return (a.mT if turned[0] else a) @ (b.mT if turned[1] else b)

    program = expand(record(product)(a, b))
    assert "matmul" not in {operation.name for operation in program.operations}
    (found,) = generic.lower(program)([a, b])
    np.testing.assert_allclose(found, product(a, b), rtol=1e-14)


def test_wide_and_large_products_stay() -> None:
    for a, b in (((3, 2), (2, 3)), ((2, 3, 1), (2, 1, 3)), ((2100, 2100), (2100, 1)), ((1, 5000), (5000, 2))):
        program = record(lambda a, b: a @ b)(np.ones(a), np.ones(b))
        assert [operation.name for operation in expand(program).operations] == ["matmul"]
