"""The backend: an array library, a device, and copies to and from it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet.backends import memory, precision, probe
from xpnet.backends.exchange import cuda_number, imported
from xpnet.backends.namespaces import array_namespace
from xpnet.errors import BackendError, ConfigError, suggest

__all__ = ["Backend", "backend", "backend_of", "host"]

_log = logging.getLogger("xpnet")
_ALIASES = {"cpu": "numpy", "cuda": "cupy"}


@dataclass(frozen=True)
class Backend:
    """An array library and a device of it.

    Attributes:
        name: ``"numpy"``, ``"cupy"``, ``"torch"``, ``"jax"`` or ``"array_api_strict"``; or ``"ndonnx"``,
            which records what is computed as ONNX.
        spec: the full specification, such as ``"torch:cpu"`` or ``"cupy:0"``.
        xp: the library's namespace, conforming through array-api-compat.
        device: the library's own device object (None: the library has only one).
        reason: why this backend was chosen.
        precision: of matrix products in float32: ``"float32"``, or ``"tf32"`` where `with_precision` says so.

    Two backends are equal if they name the same device of the same library.
    """

    name: str
    spec: str
    xp: Any = field(repr=False, compare=False)
    device: Any = field(repr=False, compare=False)
    reason: str = field(default="asked for", compare=False)
    precision: str = field(default="float32", compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the names: libraries and devices are those of the process that loads them, or else NumPy."""
        return _opened, (self.spec, self.precision)

    @property
    def ordinal(self) -> int | None:
        """The number of the CUDA device; None for any other device."""
        if self.name == "cupy":
            return int(self.device.id)
        if self.name == "torch" and self.device.type == "cuda":
            return int(self.device.index or 0)
        if self.name == "jax" and self.device.platform in ("cuda", "gpu"):
            return int(self.device.local_hardware_id)
        return None

    def with_precision(self, name: str) -> Backend:
        """Return this backend with other precision of matrix products in float32.

        Args:
            name: ``"float32"``, or ``"tf32"``: factors are rounded to 10 bits of their fraction; that
                is faster on CUDA devices of compute capability 8.0 or higher, and there only. Environment
                variables such as ``CUPY_TF32`` do not count.

        Raises:
            ConfigError: an unknown name, or a device without TF32.

        >>> backend("numpy").with_precision("tf32")
        Traceback (most recent call last):
        ...
        xpnet.errors.ConfigError: precision: expected 'float32' on backend numpy, found 'tf32', which only \
CUDA devices have; leave it out, or choose another device
        """
        precision.check(name, self)
        return self if name == self.precision else dataclasses.replace(self, precision=name)

    def dtype(self, name: Any) -> Any:
        """Return the library's dtype called ``name`` (a dtype of the library is returned as it is).

        Asking JAX for float64 switches its 64-bit mode on for the process, which it needs for that.

        Raises:
            BackendError: the library or its device has no such dtype.
        """
        if not isinstance(name, str):
            return name
        if self.name == "jax" and name in ("float64", "complex128"):
            self._enable_jax_x64()
        if name not in self._dtype_names():
            raise BackendError(
                f"backend {self.spec}: expected one of the dtypes {', '.join(self._dtype_names())}, "
                f"found {name!r}; choose another dtype or device{suggest(name, self._dtype_names())}"
            )
        return getattr(self.xp, name)

    @memory.tells("an array", lambda *given, **named: ["use smaller arrays, or some of the rows at a time"])
    def asarray(self, x: Any, dtype: Any = None) -> Any:
        """Return ``x`` (host data, or an array of any backend) as an array on this device.

        An array of any library that is on this device already is not copied but shares its memory;
        so do arrays of other libraries on the host, as far as the libraries can. Integers narrow to the
        device's index type where it has no 64-bit ones and the values fit.

        Raises:
            BackendError: ``x`` is no array, or does not fit into the device's memory.
        """
        is_ours = self.name == "numpy" and type(x) is np.ndarray and x.dtype.isnative
        if is_ours and dtype in (None, x.dtype.name):
            return x
        if _is_foreign(x, self.xp):
            adopted = self.adopt(x)
            x = host(x) if adopted is None else adopted
        if type(x).__module__.partition(".")[0] in ("numpy", "builtins") and self.name != "numpy":
            x = np.asarray(x)
            if dtype is None:
                dtype = self._fitting_dtype(x)
        dtype = None if dtype is None else self.dtype(dtype)
        if self.name == "jax":
            import jax

            return jax.device_put(self.xp.asarray(x, dtype=dtype), self.device)
        with self.activate():
            if self.name == "torch" and isinstance(x, np.ndarray) and not x.flags.writeable:
                x = x.copy()  # PyTorch shares host memory and warns about read-only arrays
            return self.xp.asarray(x, dtype=dtype, device=self.device)

    def adopt(self, x: Any) -> Any | None:
        """Return ``x`` as an array of this library in the same memory; None if it is not on this device.

        >>> cpu = backend("numpy")
        >>> x = cpu.asarray([1.0])
        >>> cpu.adopt(x) is x, cpu.adopt([1.0]) is None
        (True, True)
        """
        if _is_host_data(x):
            return x if self.name == "numpy" and isinstance(x, np.ndarray) else None
        if _library_of(x) is self.xp:
            if backend_of(x) != self:
                return None
            return x.detach() if getattr(x, "requires_grad", False) else x  # of PyTorch
        if self.ordinal is None or cuda_number(x) != self.ordinal:
            return None
        with self.activate():
            return imported(self.name, x)

    def to_host(self, x: Any) -> np.ndarray:
        """Return ``x`` as a NumPy array (waits until the device has computed it)."""
        if self.name == "cupy":
            return self.xp.asnumpy(x)
        if self.name == "torch":
            return x.detach().cpu().numpy()
        if self.name == "array_api_strict":
            return np.asarray(x.to_device(self.xp.Device("CPU_DEVICE")))
        if self.name == "ndonnx":
            return np.asarray(x.unwrap_numpy())
        return np.asarray(x)

    def synchronize(self) -> None:
        """Wait until the device has finished all work given to it."""
        if self.name == "cupy":
            with self.activate():
                self.xp.cuda.get_current_stream().synchronize()
        elif self.name == "torch" and str(self.device).startswith("cuda"):
            import torch

            torch.cuda.synchronize(self.device)
        elif self.name == "jax":
            import jax

            # JAX has no barrier over all arrays: an empty computation runs behind what was queued.
            jax.device_put(0, self.device).block_until_ready()

    def limit_memory(self, size: int | None) -> None:
        """Limit the device's memory that this process takes for all of its arrays together.

        Args:
            size: in bytes; None for no limit but the device's own.

        Raises:
            ConfigError: no size, or a device whose memory cannot be limited: others than those of CUDA with
                CuPy or PyTorch.
        """
        memory.limit(self, size)

    def peak_memory(self) -> int | None:
        """Return the peak memory of this process on the device in bytes; None if it is not counted.

        That is the size of the library's pool, including memory that it keeps for later arrays.
        It is known for CUDA devices; CuPy's pool is looked at when this is called, and at the end of a fit.
        """
        return memory.peak(self)

    def free_memory(self) -> None:
        """Return memory that the library keeps for later arrays to the device, for other programs."""
        memory.free(self)

    @contextlib.contextmanager
    def activate(self) -> Iterator[Backend]:
        """Make this device the current one, with this precision; NaN and infinity follow IEEE 754, unwarned.

        CuPy takes the device of new arrays from this context, and NumPy's warnings are off inside:
        xpnet looks at the results instead.
        """
        with contextlib.ExitStack() as stack:
            library = self.name if self.ordinal is not None else None
            if library is not None or precision.current() != self.precision:
                stack.enter_context(precision.using(self.precision, library))
            if self.name == "cupy":
                stack.enter_context(self.xp.cuda.Device(self.device.id))
            if self.name in ("numpy", "array_api_strict"):
                stack.enter_context(np.errstate(all="ignore"))
            yield self

    def index_dtype(self) -> Any:
        """Return the dtype in which this device counts and indexes."""
        info = self.xp.__array_namespace_info__()
        return info.default_dtypes(device=self.device)["indexing"]

    def _dtype_names(self) -> list[str]:
        return list(self.xp.__array_namespace_info__().dtypes(device=self.device, kind=None))

    def _fitting_dtype(self, host: np.ndarray) -> Any:
        if host.dtype.kind not in "iu" or host.dtype.name in self._dtype_names():
            return host.dtype.name
        index = self.index_dtype()
        low, high = self.xp.iinfo(index).min, self.xp.iinfo(index).max
        if host.size and (int(host.min()) < low or int(host.max()) > high):
            raise BackendError(
                f"backend {self.spec}: expected integers from {low} to {high}, found "
                f"{host.min()} to {host.max()}; this device has no {host.dtype.name}"
            )
        return index

    def _enable_jax_x64(self) -> None:
        import jax

        if not jax.config.read("jax_enable_x64"):
            _log.info("float64 asked for: JAX's 64-bit mode is switched on for this process")
            jax.config.update("jax_enable_x64", True)


def _is_host_data(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.generic, list, tuple, int, float, bool, complex))


def _is_foreign(x: Any, xp: Any) -> bool:
    """True for an array of another library than ``xp`` (and than NumPy, which all of them accept)."""
    return not _is_host_data(x) and _library_of(x) is not xp


def _library_of(x: Any) -> Any | None:
    """Return the namespace of an array; None for a library that is not known here."""
    try:
        return array_namespace(x)
    except BackendError:
        return None


def _opened(spec: str, precision: str) -> Backend:
    """Return the backend of a pickle; NumPy, with a warning, where that one cannot work here."""
    try:
        made = backend(spec)
    except BackendError as error:
        made = backend("numpy")
        _log.warning(
            "pickle: expected backend %s, on which it was made, found none: NumPy takes its place, with the "
            "same results up to rounding (%s)", spec, error,
        )  # fmt: skip
    try:
        return made.with_precision(precision)
    except ConfigError:  # this device has no other than float32
        return made


def backend(spec: str | Backend | None = "auto") -> Backend:
    """Return the backend for ``spec``.

    Args:
        spec: ``"auto"`` (the environment's ``XPNET_BACKEND`` if set, else CUDA if usable, else NumPy),
            ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"numpy"``, ``"cupy:0"``, ``"torch"``, ``"torch:cpu"``,
            ``"jax:cpu"``, ``"array_api_strict"`` or ``"array_api_strict:device1"``. A Backend is returned
            unchanged.

    Raises:
        BackendError: the library is not installed or the device cannot work; never falls back.

    Example:
        >>> backend("array_api_strict:device1").spec
        'array_api_strict:device1'
    """
    if isinstance(spec, Backend):
        return spec
    text = (spec or "auto").strip()
    wish = os.environ.get("XPNET_BACKEND", "").strip()
    if text != "auto" or not wish:
        return _make(text)
    try:
        made = _make(wish)
        return made if wish == "auto" else dataclasses.replace(made, reason="XPNET_BACKEND asks for it")
    except BackendError as error:
        raise BackendError(f"XPNET_BACKEND: {error}; or unset XPNET_BACKEND") from None


def backend_of(x: Any) -> Backend:
    """Return the backend of the array ``x``.

    >>> import numpy as np
    >>> backend_of(np.ones(2)).spec
    'numpy'
    """
    xp = array_namespace(x)
    name = xp.__name__.removeprefix("array_api_compat.").partition(".")[0]
    if name == "numpy":
        return _make("numpy")
    if name == "cupy":
        return _make(f"cupy:{x.device.id}")
    if name == "torch":
        return _make(f"torch:{x.device}")
    if name == "jax":
        device = next(iter(x.devices()))
        return _make(f"jax:{device.platform}:{device.id}")
    if name == "array_api_strict":
        return _make(f"{name}:{_strict_name(x.device)}")
    return _make(name)


def host(x: Any) -> np.ndarray:
    """Return an array of any library, on any device, as a NumPy array.

    Of a library that is not known here, by DLPack, or else as NumPy itself reads it.

    Raises:
        BackendError: it is no array.

    >>> host(memoryview(b"ab")).tolist()
    [97, 98]
    """
    if isinstance(x, np.ndarray):
        return x
    with contextlib.suppress(BackendError):
        found = backend_of(x).to_host(x)
        if found.dtype != object:  # which is what NumPy makes of what only says that it is NumPy's
            return found
    if hasattr(x, "__dlpack__"):
        number = cuda_number(x)
        if number is not None:
            home = _make(f"cupy:{number}")
            return home.to_host(imported("cupy", x))
        with contextlib.suppress(BufferError, RuntimeError, TypeError, ValueError):
            return np.from_dlpack(x)
    found = np.asarray(x)
    if found.dtype == object and found.shape == ():
        raise BackendError(
            f"expected an array, found {type(x).__name__}, which has neither DLPack nor NumPy's protocol; "
            "convert it to a NumPy array"
        )
    return found


@functools.cache
def _make(text: str) -> Backend:
    if text == "auto":
        return _choose()
    name, _, device = text.partition(":")
    name = _ALIASES.get(name, name)
    if name not in (*probe.known(), *probe.RECORDING):
        known = ["auto", "cpu", "cuda", *probe.known()]
        raise BackendError(f"backend: expected a known name, found {text!r}{suggest(name, known)}")
    state = probe.probe(name)
    if not state.usable:
        raise BackendError(f"backend {text!r} cannot work here: {state.reason}; xpnet env shows what works")
    xp, handle, device = probe.open_device(name, device)
    spec = f"{name}:{device}" if device else name
    return Backend(name, spec, xp, handle) if spec == text else _make(spec)  # one object for each device


def _choose() -> Backend:
    state = probe.probe("cupy")
    if state.usable:
        made, reason = _make("cupy:0"), "a CUDA device is usable"
    else:
        made, reason = _make("numpy"), f"no CUDA device: {state.reason}"
    _log.info("backend %s chosen: %s", made.spec, reason)
    return Backend(made.name, made.spec, made.xp, made.device, reason)


def _strict_name(device: Any) -> str:
    return str(device).split("'")[1]
