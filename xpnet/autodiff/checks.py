"""Derivatives compared with finite differences along random directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import rng
from xpnet.autodiff.arguments import differentiable
from xpnet.autodiff.tracer import is_complex, is_floating
from xpnet.autodiff.transforms import jvp, vjp
from xpnet.backends import backend_of, dtype_name
from xpnet.containers import leaves, map_leaves, rebuild
from xpnet.errors import RecordError

__all__ = ["check_grads"]


def check_grads(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    *,
    order: int = 2,
    modes: tuple[str, ...] = ("forward", "reverse"),
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
) -> None:
    """Check the derivatives of ``f`` at ``args`` against central differences; raises at a mismatch.

    With random directions v (of the arguments) and u (of the result), forward mode is compared by
    J v ≈ (f(x + εv) - f(x - εv)) / 2ε and reverse mode by Re Σ (Jᵀu) v = Re Σ u (J v). For ``order`` 2 the
    same is done with x ↦ Jᵀu and x ↦ J v, and so on.

    Args:
        f: function of real or complex arrays, or containers of them; other leaves than floating are left out.
        args: the point, away from kinks by more than the step 1e-6 (float64) or 5e-3 (float32).
        order: how many derivatives to check.
        modes: ``"forward"``, ``"reverse"`` or both.
        rtol, atol: tolerances; by default 1e-5 in float64 and 2e-2 in float32.
        seed: of the random directions.

    Raises:
        RecordError: a derivative differs; the message gives the worst entry.

    Example:
        >>> check_grads(lambda x: x * x * x, (np.asarray([0.5, -1.2]),))
    """
    for mode in modes:
        if mode not in ("forward", "reverse"):
            raise RecordError(f"check_grads: expected the modes 'forward' and 'reverse', found {mode!r}")
    args = tuple(differentiable("check_grads", args, tuple(range(len(args)))))
    _check(f, args, order, modes, rtol, atol, rng.key(seed))


def _check(f: Any, args: tuple[Any, ...], order: int, modes: Any, rtol: Any, atol: Any, key: rng.Key) -> None:
    narrow = any(str(x.dtype).endswith(("float32", "complex64")) for x in leaves(args) if is_floating(x))
    step = 5e-3 if narrow else 1e-6
    tolerances = {"rtol": rtol or (2e-2 if narrow else 1e-5), "atol": atol or (2e-2 if narrow else 1e-6)}
    direction = _random_like(args, key.fold("direction"))
    ahead, behind = f(*_moved(args, direction, step)), f(*_moved(args, direction, -step))
    weights = _random_like(ahead, key.fold("weights"))
    differences = [
        (_host(a) - _host(b)) / (2 * step)
        for a, b in zip(leaves(ahead), leaves(behind), strict=True)
        if is_floating(a)
    ]
    if "forward" in modes:
        pushed = leaves(jvp(f, args, direction)[1])
        for number, (got, want) in enumerate(zip(pushed, differences, strict=True)):
            _compare(f"forward mode, result {number}", _host(got), want, **tolerances)
    if "reverse" in modes:
        pulled = leaves(vjp(f, *args)[1](weights))
        got = sum(_product(g, v) for g, v in zip(pulled, leaves(direction), strict=True))
        parts = [np.real(_host(u) * d) for u, d in zip(leaves(weights), differences, strict=True)]
        size = max(1.0, sum(float(np.sum(np.abs(part))) for part in parts))
        want = sum(np.sum(part) for part in parts)
        _compare("reverse mode", np.asarray(got / size), np.asarray(want / size), **tolerances)
    if order > 1:
        if "reverse" in modes:
            _check(lambda *x: vjp(f, *x)[1](weights), args, order - 1, modes, rtol, atol, key.fold(order))
        if "forward" in modes:
            _check(lambda *x: jvp(f, x, direction)[1], args, order - 1, modes, rtol, atol, key.fold(order, 1))


def _random_like(tree: Any, key: rng.Key) -> Any:
    """Return ``tree`` with random numbers for its floating leaves, None for others."""

    def draw(number: int, x: Any) -> Any:
        if not is_floating(x):
            return None
        drawn = rng.normal(key.fold(number), tuple(x.shape))
        if is_complex(x):
            drawn = drawn + 1j * rng.normal(key.fold(number, "imaginary"), tuple(x.shape))
        return backend_of(x).asarray(drawn.astype(dtype_name(x)))

    return rebuild(tree, [draw(number, x) for number, x in enumerate(leaves(tree))])


def _moved(args: tuple[Any, ...], direction: Any, step: float) -> Any:
    along = iter(leaves(direction))
    return map_leaves(lambda x: x + next(along) * step if is_floating(x) else x, args)


def _host(x: Any) -> np.ndarray:
    host = backend_of(x).to_host(x)
    return np.asarray(host, dtype=np.complex128 if np.iscomplexobj(host) else np.float64)


def _product(g: Any, v: Any) -> float:
    """Re Σ g v: how much the result changes for cotangent ``g`` and direction ``v``."""
    return float(np.sum(np.real(_host(g) * _host(v))))


def _compare(what: str, got: np.ndarray, want: np.ndarray, rtol: float, atol: float) -> None:
    excess = np.abs(got - want) - (atol + rtol * np.abs(want))
    if got.shape == want.shape and not np.any(~(excess <= 0)):
        return
    if got.shape != want.shape:
        raise RecordError(f"check_grads, {what}: expected the shape {want.shape}, found {got.shape}")
    worst = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, excess)), got.shape)
    raise RecordError(
        f"check_grads, {what}: at {tuple(int(i) for i in worst)} expected {want[worst]:.6g} by central "
        f"differences, found {got[worst]:.6g}"
    )
