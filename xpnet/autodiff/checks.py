"""Derivatives compared with finite differences along random directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import rng
from xpnet.autodiff.transforms import jvp, vjp
from xpnet.backends import backend_of
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
    J v ≈ (f(x + εv) - f(x - εv)) / 2ε and reverse mode by ⟨Jᵀu, v⟩ = ⟨u, J v⟩. For ``order`` 2 the same
    is done with x ↦ Jᵀu and x ↦ J v, and so on.

    Args:
        f: function of floating arrays (or containers of them) whose results are floating.
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
    _check(f, tuple(args), order, modes, rtol, atol, rng.key(seed))


def _check(f: Any, args: tuple[Any, ...], order: int, modes: Any, rtol: Any, atol: Any, key: rng.Key) -> None:
    narrow = any("float32" in str(x.dtype) for x in leaves(args))
    step = 5e-3 if narrow else 1e-6
    tolerances = {"rtol": rtol or (2e-2 if narrow else 1e-5), "atol": atol or (2e-2 if narrow else 1e-6)}
    direction = _random_like(args, key.fold("direction"))
    ahead = f(*map_leaves(lambda x, v: x + v * step, args, direction))
    behind = f(*map_leaves(lambda x, v: x - v * step, args, direction))
    difference = map_leaves(lambda a, b: (a - b) / (2 * step), ahead, behind)
    weights = _random_like(ahead, key.fold("weights"))
    if "forward" in modes:
        pushed = jvp(f, args, direction)[1]
        for number, (got, want) in enumerate(zip(leaves(pushed), leaves(difference), strict=True)):
            _compare(f"forward mode, result {number}", _host(got), _host(want), **tolerances)
    if "reverse" in modes:
        pulled = vjp(f, *args)[1](weights)
        got = sum(np.sum(_host(g) * _host(v)) for g, v in zip(leaves(pulled), leaves(direction), strict=True))
        parts = [_host(u) * _host(d) for u, d in zip(leaves(weights), leaves(difference), strict=True)]
        size = max(1.0, sum(float(np.sum(np.abs(part))) for part in parts))
        want = sum(np.sum(part) for part in parts)
        _compare("reverse mode", np.asarray(got / size), np.asarray(want / size), **tolerances)
    if order > 1:
        if "reverse" in modes:
            _check(lambda *x: vjp(f, *x)[1](weights), args, order - 1, modes, rtol, atol, key.fold(order))
        if "forward" in modes:
            _check(lambda *x: jvp(f, x, direction)[1], args, order - 1, modes, rtol, atol, key.fold(order, 1))


def _random_like(tree: Any, key: rng.Key) -> Any:
    def draw(number: int, x: Any) -> Any:
        drawn = rng.normal(key.fold(number), tuple(x.shape))
        return backend_of(x).asarray(drawn.astype(str(x.dtype).rpartition(".")[2]))

    return rebuild(tree, [draw(number, x) for number, x in enumerate(leaves(tree))])


def _host(x: Any) -> np.ndarray:
    return np.asarray(backend_of(x).to_host(x), dtype=np.float64)


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
