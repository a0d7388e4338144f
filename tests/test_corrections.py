"""Functions of the standard that some library does otherwise: on every backend as on NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_compat.numpy
import numpy as np
import pytest

from tests.support import draw, tolerance, widest
from xpnet.autodiff import namespace
from xpnet.backends import Backend
from xpnet.backends.corrections import clip
from xpnet.backends.lacking import extended

_SPECIAL = np.asarray([-2.0, -0.5, 0.25, np.nan, 3.0, -np.inf, np.inf, 1.0])


def _stack(*shape: int) -> np.ndarray:
    return draw(1, shape, -0.3, 0.3) + 2 * np.eye(shape[-1])


def _frequencies(name: str, n: int) -> Callable[..., Any]:
    return lambda xp, x: getattr(xp.fft, name)(n, d=0.5, dtype=x.dtype, device=x.device)


def _summed(axes: Any) -> Callable[..., Any]:
    return lambda xp, x, y: xp.tensordot(x, y, axes=axes)


# Functions of a namespace and arrays, with these.
_CASES: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
    "clip": (lambda xp, x: xp.clip(x, -0.5, 1.5), [_SPECIAL]),
    "clip-above": (lambda xp, x: xp.clip(x, min=0.0), [_SPECIAL]),
    "clip-by-arrays": (lambda xp, x, y: xp.clip(x[:, None], -y, y), [_SPECIAL, np.asarray([0.5, 2.0])]),
}
for _a, _b in [
    ((3, 3), (3,)), ((3, 3), (2, 3, 4)), ((2, 3, 3), (3, 4)), ((1, 3, 3), (4, 3, 2)),
    ((2, 1, 3, 3), (4, 3, 1)), ((2, 3, 3), (3,)),
]:  # fmt: skip
    _CASES[f"solve-{_a}-{_b}"] = lambda xp, x, y: xp.linalg.solve(x, y), [_stack(*_a), draw(2, _b)]
for _a, _b, _axes in [
    ((), (), ([], [])), ((), (3,), ([], [])), ((2, 3), (3, 4), 1), ((2, 3), (3, 2), ([0, 1], [1, 0])),
    ((2, 3), (4,), 0),
]:  # fmt: skip
    _CASES[f"tensordot-{_a}-{_b}-{_axes}"] = _summed(_axes), [draw(3, _a), draw(4, _b)]
for _name in ("fftfreq", "rfftfreq"):
    for _n in (4, 5):
        _CASES[f"{_name}-{_n}"] = _frequencies(_name, _n), [draw(5, (2,))]


@pytest.mark.parametrize("name", _CASES)
def test_on_every_backend_as_on_numpy(name: str, backend: Backend) -> None:
    function, given = _CASES[name]
    dtype = widest(backend)
    want = function(array_api_compat.numpy, *given)
    arrays = [backend.asarray(x, dtype=dtype) for x in given]
    for space in (extended(backend.xp), namespace(backend.xp)):
        got = function(space, *arrays)
        assert got.dtype == arrays[0].dtype
        near = 10 * tolerance(dtype)
        np.testing.assert_allclose(backend.to_host(got), want, rtol=near, atol=near)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float64"])
@pytest.mark.parametrize("bounds", [(1, 3), (None, 2), (0, 300), (-300, 2), (None, None), (3, 1)])
def test_our_own_clip_is_that_of_numpy(dtype: str, bounds: tuple[Any, Any]) -> None:
    x = np.arange(6).astype(dtype)
    np.testing.assert_array_equal(
        clip(array_api_compat.numpy, x, *bounds), np.clip(x.astype("int64"), *bounds)
    )
    assert clip(array_api_compat.numpy, x, *bounds).dtype == x.dtype


@pytest.mark.backends("cupy")
def test_corrected_functions_keep_names_and_signatures() -> None:
    import array_api_compat.cupy as xp

    ours = extended(xp)
    assert ours.linalg.solve.__name__ == xp.linalg.solve.__name__
    assert "linalg" in dir(ours)
    assert dir(ours.linalg) == dir(xp.linalg)
    assert ours.linalg.det is xp.linalg.det
