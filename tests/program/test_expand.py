"""Means and variances as sums."""

from __future__ import annotations

import numpy as np

from tests.program.random_programs import Builder
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
