"""Products of straight-line NumPy code: who computes which part, and the threads of the BLAS meanwhile."""

from __future__ import annotations

import array_api_compat.numpy as xp
import numpy as np
import pytest

from tests.program.random_programs import Builder
from xpnet import Trainer, nn
from xpnet.autodiff import namespace
from xpnet.program import record
from xpnet.program.lowerings import blas_libraries, numpy
from xpnet.program.lowerings.numpy import products
from xpnet.program.program import Program, Ref


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 5, 300), (40, 3, 50), (130, 33, 17), (64, 700, 64)])
def test_parts_cover_the_product(m: int, k: int, n: int, parts: int) -> None:
    draw = np.random.default_rng(0)
    for a in (draw.normal(size=(m, k)), draw.normal(size=(k, m)).T):
        b, out, alone = draw.normal(size=(k, n)), np.full((m, n), np.nan), np.empty((m, n))
        cut = products.Cut(m, n, parts)
        cut(a, b, out)
        np.testing.assert_allclose(out, a @ b, rtol=1e-12, atol=1e-12)
        with products._helpers.at_work:  # one thread does all of them
            cut(a, b, alone)
        np.testing.assert_array_equal(alone, out)


def test_an_error_in_a_part_is_raised_and_the_next_product_is_right() -> None:
    a, b, out = np.ones((64, 3)), np.ones((3, 5)), np.empty((64, 5))
    short = np.empty((40, 5))  # the second part has no room in it
    for _ in range(2):
        with pytest.raises(ValueError, match="matmul"):
            products.Cut(64, 5, parts=2)(a, b, short)
        products.Cut(64, 5, parts=2)(a, b, out)
        assert np.all(out == 3)


def _large() -> tuple[Program, list[np.ndarray]]:
    draw = np.random.default_rng(0)
    builder = Builder(draw.normal(size=(100, 110)), draw.normal(size=(110, 120)))
    return builder.program(builder.apply("matmul", Ref(0), Ref(1))), builder.arrays[:2]


def test_large_products_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    program, inputs = _large()
    want = inputs[0] @ inputs[1]
    plain = numpy.lower(program)
    assert "product" not in plain.source
    np.testing.assert_array_equal(plain(inputs)[0], want)
    monkeypatch.setattr(products, "_LARGE", 2**20)
    monkeypatch.setattr(blas_libraries, "threads", lambda: 3)
    run = numpy.lower(program)
    assert "product2(" in run.source
    np.testing.assert_allclose(run(inputs)[0], want, rtol=1e-11, atol=1e-11)


def test_the_blas_has_one_thread_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    library = blas_libraries.load("openblas")
    if library is None:
        pytest.skip("NumPy does not call an OpenBLAS of its own here")
    before, seen = library.get_threads(), []
    matmul = np.matmul

    def look(*args: np.ndarray) -> np.ndarray:
        seen.append((library.get_threads(), blas_libraries.threads_outside()))
        return matmul(*args)

    library.set_threads(2)
    try:
        program, inputs = _large()
        monkeypatch.setattr(products, "_LARGE", 2**20)
        run = numpy.lower(program)
        monkeypatch.setattr(products.np, "matmul", look)
        run(inputs)
        assert seen == [(1, 2), (1, 2)]
        assert library.get_threads() == 2
    finally:
        library.set_threads(before)


@pytest.mark.parametrize("shapes", [((40, 30), (30, 50)), ((3, 40, 30), (30, 50)), ((30,), (30, 5))])
@pytest.mark.parametrize("dtype", ["float32", "complex128", "int64"])
def test_a_product_like_that_of_numpy(shapes, dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_LARGE", 2**8)
    a, b = ((np.arange(np.prod(shape)) % 7).reshape(shape).astype(dtype) for shape in shapes)
    found = products.multiply(a, b)
    assert found.dtype == a.dtype
    np.testing.assert_array_equal(found, np.matmul(a, b))
    with pytest.raises(ValueError, match="matmul"):
        products.multiply(a, b[1:])


@pytest.mark.parametrize("lower", ["off", "generic"])
def test_uncompiled_steps_of_large_networks_have_the_products_of_compiled_ones(
    lower: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_LARGE", 2**12)
    monkeypatch.setattr(blas_libraries, "threads", lambda: 3)
    X = np.random.default_rng(0).normal(size=(32, 48)).astype("float32")

    def trained(how: str) -> np.ndarray:
        model = nn.MLP([48], 1)
        trainer = Trainer(model, "squared_error", backend="numpy", compile=how, progress=False)
        trainer.fit(X, X[:, 0], epochs=2, batch_size=32)
        return trainer.variables.params.flat

    cuts, cut = [], products.Cut.__call__
    want = trained("numpy")
    monkeypatch.setattr(products.Cut, "__call__", lambda self, *given: cuts.append(0) or cut(self, *given))
    np.testing.assert_array_equal(trained(lower), want)
    assert cuts


def test_threads_stay_with_functions_that_are_not_cut() -> None:
    program = record(namespace(xp).linalg.inv)(np.eye(9))
    assert any(products.calls_the_blas(op, program.values) for op in program.operations)
