"""Kernels of all that is registered, for the compiler of CUDA too; the calls of cuBLAS."""

from __future__ import annotations

import ctypes
import inspect
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.program.cases import KINDS, joined
from tests.program.host_device import COMPILER, HostDevice
from tests.program.steps import gathering_step, work
from tests.support import host
from xpnet import losses, nn, optim
from xpnet.autodiff import value_and_grad
from xpnet.backends import Backend, array_namespace
from xpnet.errors import BackendError
from xpnet.program import looping, record
from xpnet.program.lowerings import cupy
from xpnet.program.lowerings.cupy import cuda, kernels
from xpnet.program.lowerings.cupy.device import Device
from xpnet.program.passes.simplify import simplify

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


# --- kernels --------------------------------------------------------------------------------------------


def _compiled(kind: str, dtype: str, device: HostDevice) -> cupy.CudaProgram:
    f, args, _ = joined(KINDS[kind](dtype))
    return cupy.lower(simplify(record(f)(*args)), {}, device)


@pytest.mark.parametrize("kind", ["layers", "losses", "optimizers"])
def test_steps_of_training_are_kernels_and_products_alone(kind: str, device: HostDevice) -> None:
    assert not _compiled(kind, "float32", device).calls


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_nvcc_compiles_all_kernels_without_warnings(tmp_path: Path, device: HostDevice) -> None:
    found = [kernel for kind in KINDS for kernel in _compiled(kind, "float32", device).kernels]
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
    monkeypatch.setenv("CUPY_TF32", "1")  # which does not count
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
    blas = cuda.Blas(memory, "tf32")
    blas.gemm(77, *given_, (by_columns.address(ours), 5))
    assert abs(ours[0] - theirs[0] - 3) < 1e-4  # the stub adds its mode
    with pytest.raises(BackendError, match=f"cublas{'S' if dtype == 'float32' else 'D'}gemm_v2"):
        blas.gemm(77, *given_, (by_columns.address(ours), 3))
