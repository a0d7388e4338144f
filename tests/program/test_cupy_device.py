"""Kernels of all that is registered, for the compiler of CUDA too; the calls of cuBLAS."""

from __future__ import annotations

import ctypes
import functools
import inspect
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.nn.layer_cases import BATCH, FEATURES, variables_on
from tests.nn.layer_cases import CASES as LAYERS
from tests.program.comparisons import checked
from tests.program.host_device import COMPILER, HostDevice
from tests.program.steps import gathering_step, work
from tests.support import draw, host
from xpnet import losses, nn, optim, rng
from xpnet.autodiff import value_and_grad, vjp
from xpnet.backends import Backend, array_namespace
from xpnet.backends import backend as open_backend
from xpnet.errors import BackendError
from xpnet.program import looping, record
from xpnet.program.lowerings import cupy
from xpnet.program.lowerings.cupy import cuda, kernels
from xpnet.program.lowerings.cupy.device import Device
from xpnet.program.passes.simplify import simplify
from xpnet.program.program import Program

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


# --- everything that is registered ----------------------------------------------------------------------

_DRAWN = np.random.default_rng(3).normal(size=(BATCH, 3))
_PROBABILITIES = np.exp(_DRAWN) / np.exp(_DRAWN).sum(axis=1, keepdims=True)
_TARGETS = {
    "squared_error": _DRAWN, "absolute_error": _DRAWN, "huber": _DRAWN, "hinge": np.sign(_DRAWN),
    "binary_cross_entropy": _DRAWN > 0, "softmax_cross_entropy": np.arange(BATCH) % 3,
    "multiclass_hinge": np.arange(BATCH) % 3, "kl_divergence": _PROBABILITIES,
    "symmetric_kl": _PROBABILITIES, "poisson": np.floor(np.abs(3 * _DRAWN)),
}  # fmt: skip


def _layer(case: Any) -> tuple[Program, list[Any]]:
    variables = variables_on(open_backend("numpy"), case.layer, "float32")

    def f(flat: Any, x: Any) -> Any:
        def outputs(flat: Any, x: Any) -> Any:
            inside = nn.Variables(type(variables.params)(flat, variables.params.layout), variables.state)
            return case.layer.apply(inside, x, training=True, key=rng.key(5))

        (y, state), pull = vjp(outputs, flat, x)
        return [y, state, pull((y, state))]

    args = [variables.params.flat, draw(14, (BATCH, FEATURES)).astype("float32")]
    return simplify(record(f)(*args)), args


def _loss(name: str) -> tuple[Program, list[Any]]:
    y = _TARGETS[name]
    args = [2 * draw(4, (BATCH, 3)).astype("float32"), y.astype("float32") if y.dtype.kind == "f" else y]
    return simplify(record(value_and_grad(losses.get(name)))(*args)), args


def _optimizer(name: str) -> tuple[Program, list[Any]]:
    program, inputs, _ = gathering_step(optim.get(name), nn.MLP([7], 3), *work("huber", "float32"), 16)
    return program, inputs


_REGISTERED = {
    **{f"layer {case}": functools.partial(_layer, case) for case in LAYERS},
    **{f"loss {name}": functools.partial(_loss, name) for name in losses.LOSSES},
    **{f"optimizer {name}": functools.partial(_optimizer, name) for name in optim.OPTIMIZERS},
}


@pytest.mark.parametrize("name", _REGISTERED)
def test_everything_registered(name: str, device: HostDevice) -> None:
    program, inputs = _REGISTERED[name]()
    assert not checked(program, inputs, device, 256).calls


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_nvcc_compiles_all_kernels_without_warnings(tmp_path: Path, device: HostDevice) -> None:
    found = []
    for make in _REGISTERED.values():
        program, _ = make()
        found += cupy.lower(program, {}, device).kernels
    loss, X, y = work("softmax_cross_entropy", "float32")
    program, _, carried = gathering_step(optim.Adam(), nn.MLP([1500], 3), loss, X, y, 400)
    loop = cupy.lower_loop(program, carried, 2, device)
    path = tmp_path / "kernels.cu"
    for source in (kernels.module_source(found)[0], loop.source):
        path.write_text(source)
        command = ["nvcc", "-arch=sm_90", "--fmad=false", "-Werror", "all-warnings", "-cubin", str(path)]
        command += ["-o", str(path.with_suffix(".cubin"))]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


# --- devices


@pytest.mark.parametrize("backend", ["numpy", "cupy:0"], indirect=True)
def test_loops_on_a_device(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network trained on the CUDA device, as a graph, and on the host, beside the plain functions."""
    if backend.name == "numpy":
        monkeypatch.setattr(cuda, "CupyDevice", HostDevice)
        monkeypatch.setattr(looping, "choose", lambda lower, xp: lower)

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
    given_ = [[backend.asarray(x) for x in group] for group in (carry, constants, rows)]
    compiled, plain = looping.Loop(step, "cupy"), looping.Loop(step, "off")
    for _ in range(2):
        found, (values,) = compiled(*given_)
        expected, (wanted,) = plain(*given_)
        for a, b in zip([*found, values], [*expected, wanted], strict=True):
            np.testing.assert_allclose(host(a), host(b), rtol=1e-10, atol=1e-12)
    (runner,) = compiled._runners.values()
    assert (compiled.reason, runner.calls, runner.captures) == ("", [], 1)


@pytest.mark.parametrize("made", [cuda.CupyDevice, HostDevice])
def test_devices_have_the_methods_of_a_device(made: type) -> None:
    methods = [name for name in vars(Device) if not name.startswith("_")]
    assert len(methods) == 10
    for name in methods:
        wanted, found = (inspect.signature(getattr(kind, name)).parameters for kind in (Device, made))
        assert list(found) == list(wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_calls_of_cublas(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library with the functions of cuBLAS, by its header, gets what it needs."""
    assert COMPILER is not None
    source, library = Path(__file__).with_name("host_cublas.cpp"), str(tmp_path / "libcublas.so")
    subprocess.run([COMPILER, "-shared", "-fPIC", str(source), "-o", library], check=True)
    stub = ctypes.CDLL(library)
    monkeypatch.setattr(cuda, "_library", lambda: stub)
    monkeypatch.setenv("CUPY_TF32", "0")
    memory = SimpleNamespace(data=SimpleNamespace(ptr=4096))
    blas = cuda.Blas(memory)
    by_columns = HostDevice()
    drawn = np.random.default_rng(0)
    for turned in ((False, False), (True, False), (False, True), (True, True)):
        a, b = drawn.normal(size=(2, 60)).astype(dtype)
        ours, theirs = np.zeros((2, 30), dtype=dtype)
        given_ = (dtype, turned, (4, 5, 6), (by_columns.address(a), 7), (by_columns.address(b), 8))
        by_columns.gemm(*given_, (by_columns.address(theirs), 5))
        blas.gemm(77, *given_, (by_columns.address(ours), 5))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
        assert ours.any()
    assert stub.living() == 1
    del blas
    assert stub.living() == 0
    monkeypatch.setenv("CUPY_TF32", "1")
    blas = cuda.Blas(memory)
    blas.gemm(77, *given_, (by_columns.address(ours), 5))
    assert abs(ours[0] - theirs[0] - 3) < 1e-4  # the stub adds its mode
    with pytest.raises(BackendError, match=f"cublas{'S' if dtype == 'float32' else 'D'}gemm_v2"):
        blas.gemm(77, *given_, (by_columns.address(ours), 3))
