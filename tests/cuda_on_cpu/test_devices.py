"""Two devices: what belongs to one of them is not the other's."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

if "CUDA_ON_CPU_BUILD" not in os.environ:
    pytest.skip("shows what CuPy on the host does: run by scripts/gpu --host", allow_module_level=True)

import cupy

from tests.train.support import class_data
from xpnet import Trainer, backend, nn, optim
from xpnet.backends import probe
from xpnet.prune import count_weights, prune, prune_units, sparse_predictor

pytestmark = [
    pytest.mark.backends("cupy"),
    pytest.mark.skipif(
        len(probe("cupy").devices) < 2, reason="one device only; run.py --devices 2 gives a second"
    ),
]
runtime = cupy.cuda.runtime


@pytest.fixture(autouse=True)
def _first_device() -> Iterator[None]:
    with cupy.cuda.Device(0):
        yield


def ones(device: int, size: int = 8) -> Any:
    with cupy.cuda.Device(device):
        return cupy.ones(size, "float32")


def memory(device: int) -> tuple[int, int]:
    """Bytes of a device that are taken, by arrays and in all."""
    gc.collect()
    with cupy.cuda.Device(device):
        free, total = runtime.memGetInfo()
        return cupy.get_default_memory_pool().used_bytes(), total - free


def refused(call: Callable[[], Any], status: str) -> None:
    with pytest.raises(Exception, match=status):
        call()


# ---- xpnet on the second device, while the first one is the current one


def trained(device: str) -> Trainer:
    model = nn.MLP([12, 8], 3, batch_norm=True, dropout=0.2)
    trainer = Trainer(model, "softmax_cross_entropy", optim.Adam(1e-2), backend=device, metrics=["accuracy"])
    trainer.fit(*class_data(), epochs=3, batch_size=8, validation=0.2)
    return trainer


@pytest.fixture(scope="module")
def trainers() -> list[Trainer]:
    return [trained("cuda:0"), trained("cuda:1")]


def test_training_takes_memory_of_its_own_device_only() -> None:
    backend("cuda:1")  # finding out what works has taken some of the first device
    first, second = memory(0), memory(1)
    trainer = trained("cuda:1")
    assert memory(0) == first
    assert memory(1) > second
    assert trainer.variables.params.flat.device.id == 1
    assert cupy.cuda.Device().id == 0


def test_both_devices_give_the_same_bits(trainers: list[Trainer]) -> None:
    X, _ = class_data()
    one, other = ([t.variables.params.flat, t.outputs(X)] for t in trainers)
    for x, y in zip(one, other, strict=True):
        assert (x.device.id, y.device.id) == (0, 1)
        np.testing.assert_array_equal(cupy.asnumpy(x), cupy.asnumpy(y))


def test_arrays_of_the_other_device_are_taken(trainers: list[Trainer]) -> None:
    X, y = class_data()
    there, labels = cupy.asarray(X), cupy.asarray(y)
    for trainer in trainers:
        for predict in (trainer.predict, sparse_predictor(trainer).predict):
            found = predict(there)
            assert found.device.id == 0
            np.testing.assert_array_equal(cupy.asnumpy(found), predict(X))
        assert trainer.evaluate(there, labels) == trainer.evaluate(X, y)
    trainers[1].fit(there, labels, epochs=4, batch_size=8)


def test_a_checkpoint_moves_to_the_other_device(trainers: list[Trainer], tmp_path: Any) -> None:
    X, y = class_data()
    trainers[0].save(tmp_path)
    moved = Trainer.load(tmp_path, backend="cuda:1")
    assert moved.outputs(X).device.id == 1
    moved.fit(X, y, epochs=5, batch_size=8)


def test_pruning_on_the_second_device(trainers: list[Trainer]) -> None:
    X, y = class_data()
    first = memory(0)
    smaller = prune_units(trainers[1], 0.5)
    pruned = prune(
        smaller, X, y, sparsity=0.5, rounds=2, epochs_per_round=2, batch_size=8, decay=True, tolerance=None
    )
    nonzero, weights = count_weights(pruned.trainer.variables)
    assert nonzero <= weights * 0.51
    predictor = sparse_predictor(smaller)
    np.testing.assert_array_equal(predictor.predict(X), smaller.predict(X))
    assert memory(0) == first


# ---- what a device refuses


ADDING = 'extern "C" __global__ void add_one(TYPE* x, long long more) { x[threadIdx.x] += 1; }'


def add_one(address: int, more: int = 0) -> None:
    kernel = cupy.RawKernel(ADDING.replace("TYPE", "float"), "add_one")
    kernel((1,), (4,), (np.int64(address), np.int64(more)))


def test_a_kernel_cannot_reach_the_other_device(capfd: pytest.CaptureFixture[str]) -> None:
    here, there = ones(0), ones(1)
    add_one(here.data.ptr)
    refused(lambda: add_one(there.data.ptr), "cudaErrorIllegalAddress")
    refused(lambda: add_one(here.data.ptr, there.data.ptr), "cudaErrorIllegalAddress")
    refused(lambda: there + here, "different from the current device")  # CuPy's own words
    assert capfd.readouterr().err.splitlines()[:2] == [
        f"cuda_on_cpu: add_one: argument {k}: memory of device 1, which device 0 cannot reach" for k in (1, 2)
    ]
    with cupy.cuda.Device(1):
        add_one(there.data.ptr)
        refused(lambda: add_one(here.data.ptr), "cudaErrorIllegalAddress")
    assert there.get().tolist() == [2] * 4 + [1] * 4


def test_products_cannot_reach_the_other_device() -> None:
    from xpnet.program.lowerings.cupy.cuda import _library

    blas, handle, one = _library(), ctypes.c_void_p(), ctypes.byref(ctypes.c_float(1))
    assert blas.cublasCreate_v2(ctypes.byref(handle)) == 0
    here, there = ones(0, 4), ones(1, 4)

    def multiply(a: Any) -> int:
        a, b = ctypes.c_void_p(a.data.ptr), ctypes.c_void_p(here.data.ptr)
        return blas.cublasSgemm_v2(handle, 0, 0, 2, 2, 2, one, a, 2, b, 2, one, b, 2)

    assert multiply(there) != 0
    assert multiply(here) == 0
    assert blas.cublasDestroy_v2(handle) == 0


@pytest.mark.parametrize("function", [lambda x: x.sort(), cupy.fft.fft, cupy.linalg.inv, cupy.sum, cupy.max])
def test_libraries_cannot_reach_the_other_device(function: Callable[..., Any]) -> None:
    """CuPy itself looks at devices where it starts kernels, not where it calls a library."""
    with cupy.cuda.Device(1):
        there = cupy.eye(4, dtype="complex64" if function is cupy.fft.fft else "float32")
        function(there)
    with pytest.raises(
        Exception, match=r"cannot reach|IllegalAddress|FAILED|different from the current device"
    ):
        function(there).get()


def test_a_graph_runs_on_the_device_of_its_capture() -> None:
    with cupy.cuda.Device(1):
        x = cupy.zeros((2, 2), "float32")
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            x += 1  # what is done the first time is not captured
            stream.begin_capture()
            x += 1
            graph = stream.end_capture()
    graph.launch(stream)
    assert cupy.cuda.Device().id == 0
    assert x.get().tolist() == [[2, 2], [2, 2]]


def test_streams_events_and_kernels_belong_to_a_device() -> None:
    with cupy.cuda.Device(1):
        stream, event = cupy.cuda.Stream(), cupy.cuda.Event()
        there = cupy.ones(4, "float32")
        kernel = cupy.RawKernel(ADDING.replace("TYPE", "double"), "add_one").kernel
    refused(lambda: kernel((1,), (1,), (np.int64(0), np.int64(0))), "cudaErrorInvalidResourceHandle")
    refused(lambda: add_one_in(stream), "cudaErrorInvalidResourceHandle")
    refused(lambda: event.record(cupy.cuda.Stream()), "cudaErrorInvalidResourceHandle")
    event.record(stream)
    runtime.memsetAsync(there.data.ptr, 0, 16, stream.ptr)  # that is allowed
    with cupy.cuda.Device(1):
        assert there.get().tolist() == [0] * 4
        assert cupy.cuda.get_elapsed_time(event, event) == 0


def add_one_in(stream: Any) -> None:
    x = ones(0)
    kernel = cupy.RawKernel(ADDING.replace("TYPE", "float"), "add_one")
    kernel((1,), (1,), (np.int64(x.data.ptr), np.int64(0)), stream=stream)


def test_copies_between_devices() -> None:
    here, there = ones(0), ones(1)
    here *= 2
    stream = cupy.cuda.get_current_stream().ptr
    a, b, size = there.data.ptr, here.data.ptr, here.nbytes
    refused(lambda: runtime.memcpy(a, b, size, runtime.memcpyDeviceToDevice), "cudaErrorInvalidValue")
    refused(lambda: runtime.memcpyPeerAsync(a, 0, b, 0, size, stream), "cudaErrorInvalidValue")
    assert there.get().tolist() == [1] * 8
    runtime.memcpyPeerAsync(a, 1, b, 0, size, stream)
    assert there.get().tolist() == [2] * 8
    assert not runtime.deviceCanAccessPeer(0, 1)


def test_devices_have_names_and_memory_of_their_own() -> None:
    names = [cupy.cuda.Device(number).pci_bus_id for number in (0, 1)]
    assert names[0] != names[1]
    assert [cupy.cuda.Device.from_pci_bus_id(name).id for name in names] == [0, 1]
    first, second = memory(0)[1], memory(1)[1]
    with cupy.cuda.Device(1):
        address = runtime.malloc(1 << 20)
    assert (memory(0)[1], memory(1)[1]) == (first, second + (1 << 20))
    assert runtime.pointerGetAttributes(address).device == 1
    runtime.free(address)
    assert memory(1)[1] == second
