"""Rules of the ``fft`` extension. A discrete Fourier transform is a symmetric matrix, so its pull is itself.

A transform of length n first cuts its argument to n entries or pads it with zeros; the pull does so last.
"""

from __future__ import annotations

from typing import Any

from xpnet.autodiff.rules.batching import Call, along_axis
from xpnet.autodiff.rules.rule import along, cast, composed, constant, linear, lookup

__all__: list[str] = []

_OTHER_WAY = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _resized(xp: Any, x: Any, length: int, axis: int) -> Any:
    """Return ``x`` cut to ``length`` along one axis, or padded with zeros behind."""
    size = x.shape[axis]
    if length > size:
        shape = list(x.shape)
        shape[axis] = length
        return xp.place(x, along(x, axis, slice(0, size)), tuple(shape))
    return x if length == size else x[along(x, axis, slice(0, length))]


def _symmetric(name: str) -> None:
    """Enter a complex transform along one axis."""

    def pull(
        xp: Any, g: Any, out: Any, x: Any, *, n: Any = None, axis: int = -1, norm: str = "backward"
    ) -> Any:
        g = lookup(xp, name)(g, axis=axis, norm=norm)
        return cast(xp, _resized(xp, g, x.shape[axis], axis), x.dtype)

    linear(name, pull, batch=along_axis(-1))


_symmetric("fft.fft")
_symmetric("fft.ifft")


def _pull_rfft(
    xp: Any, g: Any, out: Any, x: Any, *, n: Any = None, axis: int = -1, norm: str = "backward"
) -> Any:
    """The first half of ``fft``: zeros are the cotangent of the half that is left out."""
    n = x.shape[axis] if n is None else n
    return _resized(xp, xp.real(xp.fft.fft(g, n=n, axis=axis, norm=norm)), x.shape[axis], axis)


def _pull_irfft(
    xp: Any, g: Any, out: Any, x: Any, *, n: Any = None, axis: int = -1, norm: str = "backward"
) -> Any:
    """All entries but the first and, for even n, the last stand for themselves and their conjugate twins."""
    g = xp.conj(xp.fft.rfft(g, axis=axis, norm=_OTHER_WAY[norm]))
    end = max(1, (out.shape[axis] + 1) // 2)
    parts = slice(0, 1), slice(1, end), slice(end, None)
    first, twins, middle = (g[along(g, axis, part)] for part in parts)
    g = xp.concat([first, twins * 2, middle], axis=axis)
    return cast(xp, _resized(xp, g, x.shape[axis], axis), x.dtype)


linear("fft.rfft", _pull_rfft, batch=along_axis(-1))
linear("fft.irfft", _pull_irfft, batch=along_axis(-1))


# --- Several axes, one after the other ----------------------------------------------------------------


def _steps(x: Any, s: Any, axes: Any) -> list[tuple[int | None, int]]:
    """Return the length (None: as it is) and the axis of each one-dimensional transform."""
    if axes is None:
        axes = range(len(x.shape)) if s is None else range(-len(s), 0)
    return list(zip([None] * len(axes) if s is None else s, axes, strict=True))


@composed("fft.fftn")
def _fftn(xp: Any, x: Any, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    for n, axis in _steps(x, s, axes):
        x = xp.fft.fft(x, n=n, axis=axis, norm=norm)
    return x


@composed("fft.ifftn")
def _ifftn(xp: Any, x: Any, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    for n, axis in _steps(x, s, axes):
        x = xp.fft.ifft(x, n=n, axis=axis, norm=norm)
    return x


@composed("fft.rfftn")
def _rfftn(xp: Any, x: Any, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    *others, (last, axis) = _steps(x, s, axes)
    x = xp.fft.rfft(x, n=last, axis=axis, norm=norm)
    for n, other in others:
        x = xp.fft.fft(x, n=n, axis=other, norm=norm)
    return x


@composed("fft.irfftn")
def _irfftn(xp: Any, x: Any, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    *others, (last, axis) = _steps(x, s, axes)
    for n, other in others:
        x = xp.fft.ifft(x, n=n, axis=other, norm=norm)
    return xp.fft.irfft(x, n=last, axis=axis, norm=norm)


# --- Hermitian signals, shifts, frequencies -----------------------------------------------------------


@composed("fft.hfft")
def _hfft(xp: Any, x: Any, *, n: Any = None, axis: int = -1, norm: str = "backward") -> Any:
    return xp.fft.irfft(xp.conj(x), n=n, axis=axis, norm=_OTHER_WAY[norm])


@composed("fft.ihfft")
def _ihfft(xp: Any, x: Any, *, n: Any = None, axis: int = -1, norm: str = "backward") -> Any:
    return xp.conj(xp.fft.rfft(x, n=n, axis=axis, norm=_OTHER_WAY[norm]))


def _batch_shifted(call: Call, x: Any, *, axes: Any = None) -> Any:
    ndim = len(x.shape) - 1
    return call.function(x, axes=tuple(range(1, ndim + 1)) if axes is None else call.axis(axes, ndim))


linear(
    "fft.fftshift",
    lambda xp, g, out, x, *, axes=None: xp.fft.ifftshift(g, axes=axes),
    batch=_batch_shifted,
)
linear(
    "fft.ifftshift",
    lambda xp, g, out, x, *, axes=None: xp.fft.fftshift(g, axes=axes),
    batch=_batch_shifted,
)

constant("fft.fftfreq", "fft.rfftfreq")
