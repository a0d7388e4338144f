"""Array libraries and devices that work on this machine, and why others do not."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from xpnet.backends.memory import is_out_of_memory
from xpnet.errors import BackendError, suggest

__all__ = ["RECORDING", "Availability", "known", "open_device", "probe"]

_MODULES = {
    "numpy": "array_api_compat.numpy",
    "cupy": "array_api_compat.cupy",
    "torch": "array_api_compat.torch",
    "jax": "jax.numpy",
    "array_api_strict": "array_api_strict",
}
RECORDING = ("ndonnx",)
"""Libraries whose functions make a graph of ONNX instead of numbers; they compute with what is known, too."""

_INSTALL = {
    "cupy": "pip install 'cupy-cuda13x[ctk]' (or 'cupy-cuda12x[ctk]', as the driver asks)",
    "torch": "pip install torch",
    "jax": "pip install jax",
    "array_api_strict": "pip install array-api-strict",
    "ndonnx": "pip install ndonnx onnxruntime",
}


@dataclass(frozen=True)
class Availability:
    """Result of a probe: whether a library is usable, why not, its version and its devices."""

    name: str
    usable: bool
    reason: str = ""
    version: str = ""
    devices: tuple[str, ...] = ()


def known() -> tuple[str, ...]:
    """Return the names of the array libraries that xpnet can compute with."""
    return tuple(_MODULES)


@functools.cache
def probe(name: str) -> Availability:
    """Try the library ``name`` once and return what was found; never raises.

    >>> probe("numpy").usable
    True
    """
    if importlib.util.find_spec(name) is None:
        return Availability(name, False, f"{name} is not installed: {_INSTALL.get(name, name)}")
    distribution = {"array_api_strict": "array-api-strict"}.get(name, name)
    try:
        module = importlib.import_module(name)
        version = getattr(module, "__version__", "") or _version(distribution)
        devices = {"cupy": _cupy_devices}.get(name, _list_devices)(name)
    except Exception as error:  # a broken installation can fail in any way: say how, do not fail
        return Availability(name, False, f"{type(error).__name__}: {error}", "")
    if isinstance(devices, str):
        return Availability(name, False, devices, version)
    return Availability(name, True, "", version, tuple(devices))


def _version(distribution: str) -> str:
    import importlib.metadata  # costs ten milliseconds, which few need

    return importlib.metadata.version(distribution)


def open_device(name: str, device: str) -> tuple[Any, Any, str]:
    """Return ``(namespace, device object, device name)`` of the library's device called ``device``.

    An empty name asks for the library's default device.

    Raises:
        BackendError: the library has no such device.
    """
    xp = importlib.import_module(_MODULES.get(name, name))
    if name in ("numpy", *RECORDING):
        if device not in ("", "cpu"):
            raise BackendError(f"backend {name}: expected the device 'cpu', found {device!r}; use '{name}'")
        return xp, None, ""
    names = probe(name).devices
    wanted = device or names[0]
    if name == "jax":
        wanted = wanted.replace("gpu", "cuda")
    for other in (f"{wanted}:0", wanted.removesuffix(":0")):
        if wanted not in names and other in names:
            wanted = other
    if wanted not in names:
        raise BackendError(
            f"backend {name}: expected one of the devices {', '.join(names)}, found {device!r}"
            f"{suggest(wanted, names)}"
        )
    return xp, _device_object(name, xp, wanted), wanted


def _device_object(name: str, xp: Any, device: str) -> Any:
    if name == "cupy":
        return xp.cuda.Device(int(device))
    if name == "torch":
        return xp.device(device)
    if name == "jax":
        import jax

        platform, _, number = device.partition(":")
        return jax.devices(platform)[int(number or 0)]
    return xp.Device(device)


def _list_devices(name: str) -> list[str]:
    if name in ("numpy", *RECORDING):
        return ["cpu"]
    if name == "torch":
        import torch

        return ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name == "jax":
        import jax

        platforms = ["cpu"]
        default = jax.default_backend()
        if default != "cpu":
            platforms.insert(0, "cuda" if default == "gpu" else default)
        names = [f"{p}:{i}" for p in platforms for i in range(len(jax.devices(p)))]
        return [n.removesuffix(":0") if n == "cpu:0" else n for n in names]
    import array_api_strict

    devices = array_api_strict.__array_namespace_info__().devices()
    return [str(device).split("'")[1] for device in devices]


def _cupy_devices(name: str) -> list[str] | str:
    """Return CuPy's devices, or in one sentence why there is none that works."""
    import cupy

    runtime = cupy.cuda.runtime
    try:
        driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    except runtime.CUDARuntimeError as error:
        return f"no NVIDIA driver ({error})"
    if driver == 0:
        return "no NVIDIA driver"
    if driver // 1000 < needed // 1000:
        return (
            f"the NVIDIA driver is too old: it serves CUDA {driver // 1000}, CuPy was built for "
            f"{needed // 1000}; update the driver or install 'cupy-cuda{driver // 1000}x[ctk]'"
        )
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        return f"no visible GPU ({error}); see CUDA_VISIBLE_DEVICES"
    if count == 0:
        return "no visible GPU; see CUDA_VISIBLE_DEVICES"
    try:  # compiling a kernel needs NVRTC, a product needs cuBLAS: plain wheels bring neither
        with cupy.cuda.Device(0):
            float((cupy.ones(4, dtype="float32") + 1).sum())
            float((cupy.ones((2, 2), dtype="float32") @ cupy.ones((2, 2), dtype="float32")).sum())
    except Exception as error:  # ImportError, CompileException, OSError ... as the library likes
        if is_out_of_memory(error):
            return f"the memory of the first GPU is full ({error}); end what uses it: nvidia-smi shows what"
        return f"CuPy cannot compile or multiply ({error}); install 'cupy-cuda13x[ctk]' (or -cuda12x)"
    return [str(i) for i in range(count)]
