"""Backends: their names, devices and dtypes, moving arrays, and what happens where one cannot work."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.support import widest
from xpnet.backends import Backend, array_namespace, backend_of, known, probe
from xpnet.backends import backend as open_backend
from xpnet.errors import BackendError

# --- Opening -----------------------------------------------------------------------------------------


def test_the_public_function() -> None:
    assert xpnet.backend is open_backend
    assert known() == ("numpy", "cupy", "torch", "jax", "array_api_strict")


def test_a_backend_is_found_again_by_its_specification(backend: Backend) -> None:
    again = open_backend(backend.spec)
    assert again == backend
    assert hash(again) == hash(backend)
    assert open_backend(again) is again
    assert backend.spec.partition(":")[0] == backend.name
    assert repr(backend.spec) in repr(backend)


@pytest.mark.parametrize("spec", ["numpy", "cpu", "numpy:cpu"])
def test_names_of_the_host(spec: str) -> None:
    made = open_backend(spec)
    assert (made.name, made.spec, made.device) == ("numpy", "numpy", None)


def test_ndonnx_records_and_computes() -> None:
    """It is known by its name alone: no test runs on it."""
    pytest.importorskip("ndonnx", reason="ndonnx is not installed")
    made = open_backend("ndonnx")
    assert (made.name, made.spec) == ("ndonnx", "ndonnx")
    x = made.asarray([[1.0, -2.0]], dtype="float32")
    assert backend_of(x) == made
    np.testing.assert_array_equal(made.to_host(x), np.asarray([[1, -2]], "float32"), strict=True)
    np.testing.assert_array_equal(open_backend("numpy").asarray(x), [[1, -2]])
    with pytest.raises(BackendError, match="found 'cuda'; use 'ndonnx'"):
        open_backend("ndonnx:cuda")


def test_automatic_choice_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XPNET_BACKEND", raising=False)
    for spec in ("auto", None):
        chosen = open_backend(spec)
        assert chosen.name == ("cupy" if probe("cupy").usable else "numpy")
        assert probe("cupy").reason in chosen.reason


def test_the_environment_decides_for_auto_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    monkeypatch.setenv("XPNET_BACKEND", "array_api_strict:device1")
    assert open_backend().spec == "array_api_strict:device1"
    assert open_backend("numpy").spec == "numpy"
    monkeypatch.setenv("XPNET_BACKEND", "  ")
    assert open_backend().name in ("numpy", "cupy")
    monkeypatch.setenv("XPNET_BACKEND", "nonsense")
    with pytest.raises(BackendError, match="'nonsense'"):
        open_backend()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nunpy", "did you mean 'numpy'"),
        (
            "tensorflow",
            "expected a known name, found 'tensorflow'; "
            "known: array_api_strict, auto, cpu, cuda, cupy, jax, numpy, torch",
        ),
        ("numpy:cuda", "numpy: expected the device 'cpu', found 'cuda'"),
        ("cpu:1", "found '1'"),
    ],
)
def test_unknown_backends(spec: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        open_backend(spec)


def test_unknown_devices() -> None:
    for name in ("torch", "jax", "array_api_strict"):
        if probe(name).usable:
            with pytest.raises(
                BackendError, match=f"{name}: expected one of the devices .*, found 'nowhere'"
            ):
                open_backend(f"{name}:nowhere")


def test_an_explicit_device_never_falls_back() -> None:
    if probe("cupy").usable:
        with pytest.raises(BackendError, match="cupy: expected one of the devices"):
            open_backend("cuda:99")
    else:
        for spec in ("cuda", "cuda:0", "cupy", "cupy:1"):
            with pytest.raises(BackendError, match=f"'{spec}' cannot work here: "):
                open_backend(spec)


# --- Probing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", known())
def test_probes_answer_with_devices_or_a_reason(name: str) -> None:
    state = probe(name)
    assert state.name == name
    if state.usable:
        assert state.devices
        assert state.version
        assert not state.reason
    else:
        assert state.reason
        assert not state.devices


class _CudaError(RuntimeError):
    pass


def _fake_cupy(driver: Any, count: Any = 1, ones: Any = None) -> Any:
    def answer(value: Any) -> Any:
        def call() -> Any:
            if isinstance(value, Exception):
                raise value
            return value

        return call

    runtime = types.SimpleNamespace(
        driverGetVersion=answer(driver), runtimeGetVersion=answer(13000), getDeviceCount=answer(count),
        CUDARuntimeError=_CudaError,
    )  # fmt: skip

    class Device:
        def __init__(self, number: int):
            self.number = number

        def __enter__(self) -> None: ...
        def __exit__(self, *args: object) -> None: ...

    return types.SimpleNamespace(
        __version__="14.2", cuda=types.SimpleNamespace(runtime=runtime, Device=Device), ones=ones or np.ones
    )


def _no_memory(*args: Any, **options: Any) -> Any:
    raise MemoryError("Out of memory allocating 512 bytes")


def _no_compiler(*args: Any, **options: Any) -> Any:
    raise ImportError("libnvrtc.so.13 is missing")


@pytest.mark.parametrize(
    ("cupy", "want"),
    [
        (_fake_cupy(_CudaError("status 35")), "no NVIDIA driver (status 35)"),
        (_fake_cupy(0), "no NVIDIA driver"),
        (
            _fake_cupy(12020),
            "driver is too old: it serves CUDA 12, CuPy was built for 13; .*cupy-cuda12x[ctk]",
        ),
        (
            _fake_cupy(13000, _CudaError("status 100")),
            "no visible GPU (status 100); see CUDA_VISIBLE_DEVICES",
        ),
        (_fake_cupy(13000, 0), "no visible GPU; see CUDA_VISIBLE_DEVICES"),
        (
            _fake_cupy(13000, 1, _no_compiler),
            "cannot compile or multiply (libnvrtc.so.13 is missing); .*[ctk]",
        ),
        (
            _fake_cupy(13000, 1, _no_memory),
            "memory of the first GPU is full (Out of memory allocating 512 bytes); .*nvidia-smi",
        ),
        (_fake_cupy(13000, 2), ""),
    ],
    ids=[
        "driver-fails",
        "no-driver",
        "old-driver",
        "device-fails",
        "no-device",
        "no-compiler",
        "no-memory",
        "usable",
    ],
)
def test_why_cuda_cannot_work(cupy: Any, want: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from xpnet.backends.probe import _cupy_devices

    monkeypatch.setitem(sys.modules, "cupy", cupy)
    found = _cupy_devices("cupy")
    if not want:
        assert found == ["0", "1"]
    else:
        for part in want.split(".*"):
            assert part in found


def test_a_library_that_is_broken_or_missing_is_a_reason_not_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib
    import importlib.util

    fresh = probe.__wrapped__  # the answers of the whole process stay as they are

    def broken(name: str) -> Any:
        raise OSError("wrong ELF class")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib, "import_module", broken)
    assert fresh("torch").reason == "OSError: wrong ELF class"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert fresh("cupy").reason.startswith("cupy is not installed: pip install 'cupy-cuda13x[ctk]'")
    assert not fresh("jax").usable


# --- Arrays ------------------------------------------------------------------------------------------


def test_arrays_travel_there_and_back(backend: Backend) -> None:
    host = np.arange(6.0, dtype="float32").reshape(2, 3)
    there = backend.asarray(host)
    assert array_namespace(there) is backend.xp
    assert backend_of(there).spec == backend.spec
    assert there.dtype == backend.dtype("float32")
    back = backend.to_host(there)
    assert type(back) is np.ndarray
    np.testing.assert_array_equal(back, host)
    backend.synchronize()


def test_arrays_of_other_backends_are_moved(backend: Backend) -> None:
    for name in ("numpy", "torch", "array_api_strict:device2"):
        if probe(name.partition(":")[0]).usable:
            other = open_backend(name).asarray([[1.0, 2.0]], dtype="float32")
            moved = backend.asarray(other)
            assert backend_of(moved).spec == backend.spec
            np.testing.assert_array_equal(backend.to_host(moved), [[1.0, 2.0]])


@pytest.mark.parametrize("given", [3.0, [1, 2], [[True, False]], np.float32(2), range(3)], ids=repr)
def test_host_data_of_any_kind(given: Any, backend: Backend) -> None:
    if isinstance(given, range):
        given = list(given)
    made = backend.asarray(given, dtype="float32")
    np.testing.assert_array_equal(backend.to_host(made), np.asarray(given, dtype="float32"))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "float32", "float64", "int64"])
def test_dtypes_by_name(dtype: str, backend: Backend) -> None:
    names = backend.xp.__array_namespace_info__().dtypes(device=backend.device)
    if dtype not in names:
        with pytest.raises(
            BackendError, match=f"backend {backend.spec}: expected one of the dtypes .*found '{dtype}'"
        ):
            backend.asarray([1], dtype=dtype)
        return
    made = backend.asarray([0, 1], dtype=dtype)
    assert made.dtype == backend.dtype(dtype)
    assert backend.to_host(made).dtype == np.dtype(dtype)
    assert backend.dtype(made.dtype) == made.dtype


def test_unknown_dtypes(backend: Backend) -> None:
    with pytest.raises(BackendError, match="did you mean 'float32'"):
        backend.dtype("float31")


def test_wide_integers_narrow_where_the_device_has_none(backend: Backend) -> None:
    labels = np.asarray([0, 7, -3])
    made = backend.asarray(labels)
    np.testing.assert_array_equal(backend.to_host(made), labels)
    if "int64" not in backend.xp.__array_namespace_info__().dtypes(device=backend.device):
        with pytest.raises(BackendError, match="expected integers from -2147483648 to 2147483647"):
            backend.asarray(np.asarray([2**40]))
    assert np.issubdtype(np.dtype(str(backend.index_dtype()).rpartition(".")[2]), np.integer)


def test_read_only_arrays_are_accepted_silently(backend: Backend) -> None:
    host = np.zeros(3)
    host.flags.writeable = False
    assert float(backend.asarray(host, dtype=widest(backend))[0]) == 0.0


def test_jax_gets_its_64_bit_mode_when_asked_for_float64() -> None:
    """In a process of its own, since the mode is one of the process."""
    pytest.importorskip("jax", reason="jax is not installed")
    import os
    import subprocess
    import sys

    code = "import xpnet; b = xpnet.backend('jax:cpu'); print(b.asarray([1.0], dtype='float64').dtype)"
    environ = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ
    )
    assert done.stdout.strip() == "float64"


# --- Namespaces --------------------------------------------------------------------------------------


def test_namespace_of_arrays_beside_numbers(backend: Backend) -> None:
    x = backend.asarray([1.0], dtype="float32")
    assert array_namespace(x) is array_namespace(2.0, x, None, True) is backend.xp


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((), "at least one array of the Array API standard, found nothing"),
        ((1.0, None), "found float, NoneType"),
        (("text",), "found str; convert it with xpnet.backend"),
        (([1.0],), "found list"),
    ],
)
def test_things_that_are_no_arrays(arrays: tuple[Any, ...], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        array_namespace(*arrays)


def test_arrays_of_two_libraries_are_not_mixed(backend: Backend) -> None:
    if backend.name == "numpy":
        pytest.skip("numpy: the other library would be the same")
    with pytest.raises(BackendError, match=r"expected arrays of one library, found .* and .*; move them"):
        array_namespace(np.ones(2), backend.asarray([1.0], dtype="float32"))


def test_nan_and_infinity_raise_no_warnings_inside(backend: Backend) -> None:
    with backend.activate():
        x = backend.asarray([0.0], dtype="float32")
        assert np.isnan(backend.to_host(x / x))[0]
        assert np.isinf(backend.to_host(1 / x))[0]


def test_bytes_in_another_order_are_put_right() -> None:
    swapped = np.arange(3, dtype=">f8")
    found = xpnet.backend("numpy").asarray(swapped, dtype="float64")
    assert (found.dtype.isnative, found.tolist()) == (True, [0.0, 1.0, 2.0])
