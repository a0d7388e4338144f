"""Loops on CUDA: one graph launch a step, made once, and what keeps them from it."""

from __future__ import annotations

import ctypes
import gc
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.support import host
from xpnet import Trainer, nn
from xpnet.backends import array_namespace
from xpnet.backends import backend as open_backend
from xpnet.errors import BackendError, ConfigError
from xpnet.program import looping
from xpnet.program.looping import Loop
from xpnet.program.lowerings.cupy import cuda

pytestmark = pytest.mark.backends("cupy")


@pytest.fixture
def cupy() -> Iterator[Any]:
    module = pytest.importorskip("cupy")
    with open_backend("cupy:0").activate():
        yield module


def _descend(carry: Any, constants: Any, row: Any) -> Any:
    """One step of least squares by gradient descent, on the rows of a batch."""
    (weights,), (X, y), (rows, rate) = carry, constants, row
    xp = array_namespace(X)
    x, t = xp.take(X, rows, axis=0), xp.take(y, rows, axis=0)
    error = x @ weights - t
    return [weights - rate * (xp.matrix_transpose(x) @ error)], [xp.sum(error * error)]


def _descend_on_all(carry: Any, constants: Any, row: Any) -> Any:
    """The same on all rows."""
    (weights,), (X, y), (rate,) = carry, constants, row
    xp = array_namespace(X)
    error = X @ weights - y
    return [weights - rate * (xp.matrix_transpose(X) @ error)], [xp.sum(error * error)]


STEPS = {"batches": _descend, "all rows": _descend_on_all}


def _arguments(kind: str, seed: int, count: int, asarray: Callable[[Any], Any]) -> Any:
    draw = np.random.default_rng(seed)
    X, y, weights = (draw.normal(size=shape) for shape in ((40, 6), (40, 3), (6, 3)))
    rows = [draw.integers(40, size=(count, 8))] if kind == "batches" else []
    groups = [weights], [X, y], [*rows, np.full(count, 0.01)]
    return [[asarray(x) for x in group] for group in groups]


def _compare(loop: Loop, kind: str, seed: int, count: int, cupy: Any) -> None:
    """Run a loop, and compare it with the functions on the host."""
    carry, (values,) = loop(*_arguments(kind, seed, count, cupy.asarray))
    expected, (wanted,) = Loop(STEPS[kind], "off")(*_arguments(kind, seed, count, np.asarray))
    for a, b in zip([*carry, values], [*expected, wanted], strict=True):
        np.testing.assert_allclose(cupy.asnumpy(a), b, rtol=1e-10)


def _graph_launches() -> int:
    """Return how many launches of graphs there were, where the stand-in for CUDA counts them."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "cuda_on_cpu_counts"):
        pytest.skip("a GPU does not count launches")
    counts = (ctypes.c_longlong * 3)()
    library.cuda_on_cpu_counts(counts)
    return counts[2]


@pytest.mark.parametrize("kind", sorted(STEPS))
def test_a_step_a_call_is_one_graph_launch(kind: str, cupy: Any) -> None:
    """All steps but the first one, also where each call has only one: full batches, ragged last batches."""
    loop = Loop(STEPS[kind], "cupy")
    carry, constants, sequences = _arguments(kind, 0, 4, cupy.asarray)
    before = _graph_launches()
    for i in range(4):
        _, _ = loop(carry, constants, [x[i : i + 1] for x in sequences])
    assert _graph_launches() - before == 3
    (runner,) = loop._runners.values()
    assert runner.captures == 1
    _compare(loop, kind, 0, 4, cupy)


def test_other_constants_need_no_other_graph(cupy: Any) -> None:
    """Gathers read their addresses from the table."""
    loop, kept = Loop(_descend, "cupy"), []
    for seed in range(3):
        kept.append(_arguments("batches", seed, 5, cupy.asarray))  # so that the next ones lie elsewhere
        before = _graph_launches()
        _compare(loop, "batches", seed, 5, cupy)
        assert _graph_launches() - before == (4 if seed == 0 else 5)
    (runner,) = loop._runners.values()
    assert runner.captures == 1


def test_other_factors_of_products_need_another_graph(cupy: Any) -> None:
    """The BLAS has their addresses in the graph; also if they lie where others were before."""
    loop = Loop(_descend_on_all, "cupy")
    for seed in range(3):
        given = _arguments("all rows", seed, 3, cupy.asarray)
        for _ in range(2):
            carry, _ = loop(*given)
            expected, _ = Loop(_descend_on_all, "off")(*_arguments("all rows", seed, 3, np.asarray))
            np.testing.assert_allclose(host(carry[0]), expected[0], rtol=1e-10)
        del given
    (runner,) = loop._runners.values()
    assert runner.captures == 3


# --- what keeps steps from being a graph ------------------------------------------------------------------


def _failing(monkeypatch: pytest.MonkeyPatch, times: int, call: Callable[[], Any]) -> None:
    """Have something else happen at the first kernel of each of the next captures."""
    captured, left = cuda.Blas.captured, [times]

    def capture(self: Any, run: Callable[[], None]) -> Any:
        def work() -> None:
            if left[0]:
                left[0] -= 1
                call()
            run()

        return captured(self, work)

    monkeypatch.setattr(cuda.Blas, "captured", capture)


def _raise() -> None:
    raise RuntimeError("a call that fails")


@pytest.mark.parametrize("what", ["an error", "waiting", "memory", "an interruption"])
def test_a_capture_that_fails_says_why_and_is_tried_again(
    what: str, cupy: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    call, said = {
        "an error": (_raise, "a call that fails"),
        "waiting": (lambda: cupy.cuda.Device().synchronize(), "cudaErrorStreamCaptureUnsupported"),
        "memory": (lambda: cupy.empty(5), "asks for 40 bytes"),
        "an interruption": (lambda: signal.raise_signal(signal.SIGINT), ""),
    }[what]
    loop = Loop(_descend, "cupy")
    _failing(monkeypatch, 1, call)
    if what == "an interruption":
        # Workers of pytest-xdist do not listen to it.
        listening = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                loop(*_arguments("batches", 0, 5, cupy.asarray))
        finally:
            signal.signal(signal.SIGINT, listening)
    else:
        _compare(loop, "batches", 0, 5, cupy)
    messages = [record.getMessage() for record in caplog.records if "graph" in record.getMessage()]
    assert len(messages) == (what != "an interruption")
    assert all("kernel by kernel" in text and said in text for text in messages)
    (runner,) = loop._runners.values()
    for captures in (1, 1):
        _compare(loop, "batches", 1, 5, cupy)
        assert runner.captures == captures
    assert gc.isenabled()


def test_a_device_that_cannot_capture_is_asked_three_times(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop, asked = Loop(_descend, "cupy"), []
    _failing(monkeypatch, 9, lambda: (asked.append(1), _raise()))
    for seed in range(5):
        _compare(loop, "batches", seed, 3, cupy)
    assert len(asked) == 3
    assert sum("graph" in record.getMessage() for record in caplog.records) == 1


def test_nothing_is_collected_while_a_stream_captures(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits in a cycle for the collector may wait for the device when it goes."""

    class Waits:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            cupy.cuda.Device().synchronize()

    def call() -> None:
        Waits()
        kept.extend([] for _ in range(5000))  # enough for the collector to be called several times

    kept: list[Any] = []
    _failing(monkeypatch, 1, call)
    loop = Loop(_descend, "cupy")
    _compare(loop, "batches", 0, 5, cupy)
    (runner,) = loop._runners.values()
    assert runner.captures == 1
    gc.collect()


def test_calls_of_the_library_that_keep_a_step_from_being_a_graph_are_named(
    cupy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def step(carry: Any, constants: Any, row: Any) -> Any:
        xp = array_namespace(carry[0])
        return [xp.sort(carry[0]) + row[0]], [xp.argmax(carry[0])]

    looping._say_uncaptured.cache_clear()
    for _ in range(2):
        loop = Loop(step, "cupy")
        (state,), _ = loop([cupy.asarray([3.0, 1.0])], [], [cupy.ones((4, 2))])
        assert state.tolist() == [5.0, 7.0]
        assert loop.uncaptured == ("argmax", "sort")
    (message,) = [record.getMessage() for record in caplog.records if "graph" in record.getMessage()]
    assert "calls of CuPy: argmax, sort;" in message


# --- the handle of cuBLAS ---------------------------------------------------------------------------------


def test_a_device_has_one_handle_and_one_workspace(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all programs and threads; and it keeps them."""
    monkeypatch.setattr(cuda, "_handles", {})
    made: list[Any] = []
    begin = cuda.Blas.__init__
    monkeypatch.setattr(cuda.Blas, "__init__", lambda self, *args: (made.append(self), begin(self, *args))[1])
    loops = [Loop(_descend, "cupy") for _ in range(3)]
    for seed, loop in enumerate(loops):
        _compare(loop, "batches", seed, 3, cupy)
    others = [threading.Thread(target=_compare, args=(loops[i], "batches", i, 3, cupy)) for i in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert made == [cuda.blas_of(cupy)]
    assert not hasattr(cuda.Blas, "__del__")


def test_a_workspace_in_another_stream_comes_after_the_last_one(
    cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Graphs and products that write the same workspace never run at the same time."""
    loop, waits = Loop(_descend, "cupy"), []
    _compare(loop, "batches", 0, 3, cupy)
    stream = cupy.cuda.Stream(non_blocking=True)
    wait = cupy.cuda.Stream.wait_event
    monkeypatch.setattr(
        cupy.cuda.Stream, "wait_event", lambda self, event: (waits.append(self.ptr), wait(self, event))[1]
    )
    with stream:
        given = _arguments("batches", 1, 3, cupy.asarray)
        for _ in range(2):
            loop(*given)
    stream.synchronize()
    assert waits == [stream.ptr]
    _compare(loop, "batches", 0, 3, cupy)
    assert len(waits) == 2


@pytest.mark.parametrize(("precision", "mode"), [("float32", 0), ("tf32", 3)])
def test_the_precision_of_products_arrives_at_cublas(precision: str, mode: int, cupy: Any) -> None:
    """With each product, for the handle is everybody's."""

    def found() -> int:
        value = ctypes.c_int(-1)
        assert cuda._library().cublasGetMathMode(blas._handle, ctypes.byref(value)) == 0
        return value.value

    blas, a = cuda.blas_of(cupy), cupy.ones((4, 4), "float32")
    at = (a.data.ptr, 4)
    out = cupy.empty_like(a)
    for device, expected in ((cuda.CupyDevice(precision), mode), (cuda.CupyDevice(), 0)):
        device.gemm("float32", (False, False), (4, 4, 4), at, at, (out.data.ptr, 4))
        assert found() == expected
    with pytest.raises(ConfigError, match="precision: expected one of float32, tf32, found 'half'"):
        cuda.CupyDevice("half")


def test_a_product_that_cublas_refuses(cupy: Any) -> None:
    a = cupy.ones((4, 4), "float32")
    at = (a.data.ptr, 4)
    with pytest.raises(BackendError, match="expected cublasSgemm_v2 to succeed, found status 7"):
        cuda.CupyDevice().gemm("float32", (False, False), (4, 4, -1), at, at, at)


# --- other devices, and Ctrl-C ------------------------------------------------------------------------------


def test_a_loop_on_another_device_is_another_program(cupy: Any) -> None:
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one CUDA device")
    loop = Loop(_descend, "cupy")
    for number in (0, 1, 0):
        with cupy.cuda.Device(number):
            _compare(loop, "batches", 0, 3, cupy)
            carry, _ = loop(*_arguments("batches", 0, 3, cupy.asarray))
            assert carry[0].device.id == number
    assert loop.recordings == 2
    assert len({runner._runner._arrays[-1].device.id for runner in loop._runners.values()}) == 2


def test_the_host_is_no_more_than_two_calls_ahead(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is heard when the host does not wait: after two calls, not after all that was asked for."""
    marked: list[int] = []
    waited: list[int] = []

    def mark(self: Any) -> Callable[[], None]:
        number = len(marked)
        marked.append(number)
        return lambda: waited.append(number)

    monkeypatch.setattr(cuda.CupyDevice, "mark", mark)
    loop = Loop(_descend, "cupy")
    given = _arguments("batches", 0, 3, cupy.asarray)
    for call in range(5):
        loop(*given)
        assert (len(marked), waited) == (call + 1, list(range(call - 1)))


# --- trainers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 8])
def test_all_steps_of_a_trainer_but_the_first_are_graph_launches(size: int | None, cupy: Any) -> None:
    """In three fits, each of which copies its rows anew; the ragged last batch has a graph of its own."""
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(20, 4)), draw.integers(3, size=20)
    trainer = Trainer(nn.MLP([5], 3), "softmax_cross_entropy", backend="cuda", progress=False)
    before = _graph_launches()
    for epochs in (3, 6, 9):
        trainer.fit(X + epochs, y, epochs=epochs, batch_size=size)
    loops = [loop for _, loop in trainer._steps._loops.values()]
    captures = [runner.captures for loop in loops for runner in loop._runners.values()]
    assert _graph_launches() - before == trainer.step - len(loops)
    assert captures == ([3] if size is None else [1, 1])  # on all rows, these are factors of products
