"""What is behind `CupyDevice`: CuPy's memory, kernels and graphs, and cuBLAS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.program.cases import KINDS, joined
from tests.program.cuda import CountingDevice, for_cupy, from_device, to_device
from tests.support import host
from xpnet import losses
from xpnet.autodiff import value_and_grad
from xpnet.backends import Backend, array_namespace
from xpnet.program import looping, record
from xpnet.program.lowerings import cupy
from xpnet.program.passes.simplify import simplify

on_cupy = pytest.mark.backends("cupy")


@pytest.mark.full
@on_cupy
@pytest.mark.parametrize("kind", KINDS)
def test_the_compiler_has_nothing_to_say_about_kernels(kind: str, device: CountingDevice) -> None:
    """For Hopper, whatever is at hand; on the host, if NVIDIA's compiler is installed."""
    from cupy.cuda import nvrtc

    f, args, _ = joined(KINDS[kind]("float32"))
    source = cupy.lower(simplify(for_cupy(record(f)(*args))), {}, device).source
    program = nvrtc.createProgram(source, "kernels.cu", (), ())
    nvrtc.compileProgram(program, ("-arch=sm_90", "--fmad=false"))
    assert not nvrtc.getProgramLog(program)
    nvrtc.destroyProgram(program)


@on_cupy
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_products_in_parts_of_larger_matrices(
    dtype: str, turned: tuple[bool, bool], device: CountingDevice
) -> None:
    """By columns, with lines further apart than they are long; what lies between them stays."""
    m, n, k = 4, 5, 6
    draw = np.random.default_rng(0)
    a, b = (draw.normal(size=(9, lead)).astype(dtype) for lead in (7, 8))
    c = np.full((n, 11), -1.0, dtype=dtype)
    left, right = (a[:m, :k].T if turned[0] else a[:k, :m]), (b[:k, :n].T if turned[1] else b[:n, :k])
    expected = c.copy()
    expected[:, :m] = right @ left
    there = [to_device(x) for x in (a, b, c)]
    device.gemm(dtype, turned, (m, n, k), *((device.address(x), x.shape[1]) for x in there))
    tolerance = 1e-5 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(from_device(there[2]), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", ["cupy:0"], indirect=True)
def test_loops_on_a_device(backend: Backend) -> None:
    """A network trained as a graph, beside the plain functions on NumPy."""

    def step(carry: Any, constants: Any, row: Any) -> Any:
        X, y = constants
        xp = array_namespace(X)
        x, labels = xp.take(X, row[0], axis=0), xp.take(y, row[0], axis=0)

        def loss(weights: Any) -> Any:
            hidden, bias, out = weights
            tanh = array_namespace(hidden).tanh
            return losses.softmax_cross_entropy(tanh(x @ hidden + bias) @ out, labels)

        value, gradient = value_and_grad(loss)(carry)
        return [w - row[1] * g for w, g in zip(carry, gradient, strict=True)], [value]

    drawn = np.random.default_rng(0)
    carry = [drawn.normal(size=shape) for shape in [(20, 40), (40,), (40, 5)]]
    constants = [drawn.normal(size=(300, 20)), drawn.integers(5, size=300)]
    rows = [drawn.integers(300, size=(30, 64)), np.full(30, 0.1)]
    given = [[backend.asarray(x) for x in group] for group in (carry, constants, rows)]
    compiled = looping.Loop(step, "cupy")
    expected, (wanted,) = looping.Loop(step, "off")(carry, constants, rows)
    for _ in range(2):
        found, (values,) = compiled(*given)
        for a, b in zip([*found, values], [*expected, wanted], strict=True):
            np.testing.assert_allclose(host(a), host(b), rtol=1e-10, atol=1e-12)
    (runner,) = compiled._runners.values()
    assert (compiled.reason, runner.calls, runner.captures) == ("", [], 1)
