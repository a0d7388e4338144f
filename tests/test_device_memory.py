"""Memory of devices: limits, the most that was taken, and what is said where it does not suffice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.train.support import flat, make
from xpnet import nn
from xpnet.backends import Backend, is_out_of_memory, memory
from xpnet.errors import BackendError, ConfigError, OutOfMemoryError

MIB = 2**20


class CUDARuntimeError(RuntimeError):
    """Named, and with a status, as CuPy's."""

    def __init__(self, status: int):
        self.status = status
        super().__init__("cudaErrorMemoryAllocation: out of memory")


def raised_from(cause: BaseException) -> BaseException:
    error = BackendError("a kernel cannot be loaded")
    error.__cause__ = cause
    return error


def numpys() -> BaseException:
    with pytest.raises(MemoryError) as caught:
        np.empty(2**60, dtype="uint8")
    return caught.value


def torchs() -> BaseException:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    return caught.value


def jaxs() -> BaseException:
    numpy_of_jax = pytest.importorskip("jax.numpy", reason="jax is not installed")
    with pytest.raises(RuntimeError) as caught:
        numpy_of_jax.zeros(2**45, dtype="uint8").block_until_ready()
    return caught.value


def pytorchs(text: str) -> BaseException:
    """Return an error of a class as ``torch.OutOfMemoryError`` is one."""
    return type("OutOfMemoryError", (RuntimeError,), {})(text)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("make_error", "asked"),
    [
        (numpys, 2**60),
        (torchs, 2**60),
        (jaxs, 2**45),
        (MemoryError, None),
        (lambda: MemoryError("Out of memory allocating 4,194,304 bytes (allocated so far: 0)"), 4 * MIB),
        (lambda: pytorchs("CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has 8 GiB"), 1536 * MIB),
        (lambda: CUDARuntimeError(2), None),
        (lambda: raised_from(CUDARuntimeError(2)), None),
    ],
    ids=["numpy", "torch", "jax", "python", "cupy", "torch-cuda", "cuda", "from-cuda"],
)  # fmt: skip
def test_each_library_says_it_in_its_own_words(make_error: Any, asked: int | None) -> None:
    error = make_error()
    assert is_out_of_memory(error)
    told = memory.explain(error, xpnet.backend("numpy"), "fit", ["do this", "do that"])
    assert (told.asked, told.exit_code) == (asked, 1)
    assert isinstance(told, BackendError)
    assert str(told).endswith("; do this, or do that")


@pytest.mark.parametrize(
    "error",
    [ValueError("shapes"), BackendError("no device"), CUDARuntimeError(700).__class__(700), OSError(28)],
)
def test_other_errors_are_others(error: Exception) -> None:
    if isinstance(error, CUDARuntimeError):
        error.args = ("cudaErrorIllegalAddress",)
    assert not is_out_of_memory(error)


class Owner:
    """Something with a backend, a method that may fail, and memory to let go of."""

    backend = xpnet.backend("numpy")
    holds: Any = "programs"

    @memory.tells("work", lambda self, x: [f"pass less than {x}"], lambda self: setattr(self, "holds", None))
    def work(self, x: Any) -> Any:
        array = np.ones(1000)  # which the traceback would keep
        self.seen = array.__array_interface__["data"]
        if isinstance(x, Exception):
            raise x
        return x


def test_what_fails_is_told_and_let_go() -> None:
    owner = Owner()
    assert owner.work(3) == 3
    with pytest.raises(ValueError, match="no"):
        owner.work(ValueError("no"))
    assert owner.holds == "programs"
    with pytest.raises(
        OutOfMemoryError, match=r"numpy: expected more free memory for work, found .* less than"
    ) as caught:
        owner.work(MemoryError())
    assert owner.holds is None
    trace = caught.value.__cause__.__traceback__
    while trace is not None:
        assert "array" not in trace.tb_frame.f_locals
        trace = trace.tb_next


def test_the_outer_call_says_what_helps() -> None:
    class Outer(Owner):
        @memory.tells("fit", lambda self: ["use smaller batches"])
        def fit(self) -> None:
            self.work(MemoryError("Unable to allocate 3.00 MiB"))

    with pytest.raises(
        OutOfMemoryError, match=r"expected 3.00 MiB of free memory for fit, .*; use smaller"
    ) as caught:
        Outer().fit()
    assert caught.value.asked == 3 * MIB


@pytest.mark.parametrize(
    ("home", "size", "message"),
    [
        (
            xpnet.backend("numpy"),
            MIB,
            "expected a CUDA device of CuPy or PyTorch .* found backend numpy; leave",
        ),
        (
            Backend("jax", "jax:cuda:0", None, SimpleNamespace(platform="cuda", local_hardware_id=0)),
            MIB,
            "set XLA_PYTHON_CLIENT_MEM_FRACTION",
        ),
        (xpnet.backend("numpy"), "4GiB", r"expected a number of bytes.*found '4GiB'; pass 4 \* 2\*\*30"),
        (xpnet.backend("numpy"), 0, "found 0"),
        (xpnet.backend("numpy"), True, "found True"),
    ],
)
def test_limits_that_cannot_be_set(home: Backend, size: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"device memory: .*{message}"):
        home.limit_memory(size)


def test_nobody_counts_on_the_host() -> None:
    home = xpnet.backend("numpy")
    assert home.peak_memory() is None
    home.free_memory()
    free, total = memory.device_memory(home)
    assert free is None or 0 < free <= total


def test_training_that_runs_out_is_not_taken_for_one_that_cannot_be_compiled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As it is where recording a step needs more memory than there is."""
    from xpnet.program import compiling, looping

    def full(*args: Any, **options: Any) -> Any:
        raise MemoryError("Unable to allocate 9.00 GiB")

    trainer = make(compile="numpy")
    with monkeypatch.context() as patch:
        patch.setattr(looping, "record_call", full)
        patch.setattr(compiling, "record_call", full)
        with pytest.raises(
            OutOfMemoryError,
            match=r"fit, .*; use smaller batches \(batch_size, now all rows\), or pass rollb",
        ):
            trainer.fit(np.ones((9, 2)), np.arange(9) % 3, epochs=1)
        with pytest.raises(OutOfMemoryError, match="for a compiled function"):
            xpnet.compile(lambda x: x + 1)(np.ones(3))
    assert not caplog.records
    assert len(trainer.fit(np.ones((9, 2)), np.arange(9) % 3, epochs=1, batch_size=3)) == 1


# --- On a CUDA device --------------------------------------------------------------------------------

ROWS = np.ones((2000, 200), dtype="float32")
LABELS = np.arange(2000) % 3


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("rollback", [True, False])
@pytest.mark.parametrize("compile", ["auto", "off"])
def test_a_fit_that_does_not_fit(compile: str, rollback: bool, cuda: Backend) -> None:
    pool = cuda.xp.get_default_memory_pool()
    trainer = make(
        model=nn.MLP([300], 3),
        backend=cuda,
        dtype="float32",
        rollback=rollback,
        compile=compile,
        metrics=["accuracy"],
    )
    trainer.fit(ROWS[:50], LABELS[:50], epochs=1, batch_size=50)
    before, step = flat(trainer), trainer.step
    held = pool.used_bytes()
    cuda.limit_memory(held + 3 * MIB)
    with pytest.raises(OutOfMemoryError) as caught:
        trainer.fit(ROWS, LABELS, epochs=2, batch_size=None)
    error = caught.value
    assert 0 < error.free < error.asked < error.total
    words = ["cupy:0: expected", "MiB of free memory for fit, found", "smaller batches", "raise the limit"]
    assert all(word in str(error) for word in words)
    assert ("rollback=False" in str(error)) == rollback
    assert (trainer.epoch, trainer.step, len(trainer.history)) == (1, step, 1)
    assert np.array_equal(flat(trainer), before)
    assert pool.used_bytes() <= held  # though the error is still there, with its traceback
    assert pool.total_bytes() <= pool.used_bytes() + MIB
    trainer.fit(ROWS[:50], LABELS[:50], epochs=2, batch_size=10)
    assert trainer.epoch == 2
    assert np.isfinite(flat(trainer)).all()


@pytest.mark.backends("cupy")
def test_predictions_that_do_not_fit(cuda: Backend) -> None:
    trainer = make(model=nn.MLP([30], 3), backend=cuda, dtype="float32")
    trainer.fit(ROWS[:50], LABELS[:50], epochs=1)
    cuda.limit_memory(cuda.xp.get_default_memory_pool().used_bytes() + MIB)
    calls = {
        "predict": lambda: trainer.predict(ROWS),
        "predict_proba": lambda: trainer.predict_proba(ROWS),
        "evaluate": lambda: trainer.evaluate(ROWS, LABELS),
        "an array": lambda: cuda.asarray(ROWS),
    }
    for name, call in calls.items():
        with pytest.raises(
            OutOfMemoryError, match=f"of free memory for {name}, found .*some of the rows at a time"
        ):
            call()
    assert trainer.predict(ROWS[:40]).shape == (40,)


@pytest.mark.backends("cupy")
def test_the_most_that_was_taken(cuda: Backend) -> None:
    before = cuda.peak_memory()
    with cuda.activate():
        big = cuda.xp.zeros(before + 5 * MIB, dtype="uint8")
    del big
    assert cuda.peak_memory() >= before + 5 * MIB
    cuda.free_memory()
    assert cuda.xp.get_default_memory_pool().total_bytes() < before + 5 * MIB <= cuda.peak_memory()
