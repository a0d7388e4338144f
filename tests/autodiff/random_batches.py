"""Random functions of many examples: ``vmap`` against a loop, and against JAX's ``vmap``.

The functions are those of ``random_functions.py``; against the loop they assign to views, too. Each argument
is mapped or the same for all examples, by chance. By hand, with a count and the first seed, or with JAX::

    python -m tests.autodiff.random_batches 1000 0
    python -m tests.autodiff.random_batches 200 0 jax
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.autodiff.random_functions import Function
from xpnet.autodiff import grad, jvp, vmap
from xpnet.backends import array_namespace
from xpnet.backends.lacking import extended

__all__ = ["check_against_jax", "check_against_loop"]

_EXAMPLES = 3


class _Batch:
    """A random function with arguments, some of which are mapped."""

    def __init__(self, seed: int):
        self.f, draw = Function(seed), np.random.default_rng(seed)
        inputs = self.f.inputs()
        mapped = draw.random(len(inputs)) < 0.6
        mapped[:1] = mapped[:1] | ~mapped.any()
        self.axes = tuple(
            int(draw.integers(-1, x.ndim + 1)) if m else None for x, m in zip(inputs, mapped, strict=True)
        )
        self.numbers = tuple(range(len(inputs)))
        self.args = [
            x
            if axis is None
            else np.stack([x * (1 + 0.05 * draw.normal(size=x.shape)) for _ in range(_EXAMPLES)], axis)
            for x, axis in zip(inputs, self.axes, strict=True)
        ]
        self.tangents = tuple(np.asarray(draw.normal(size=x.shape)) for x in inputs)

    def example(self, number: int) -> list[Any]:
        return [
            x if axis is None else np.moveaxis(x, axis, 0)[number]
            for x, axis in zip(self.args, self.axes, strict=True)
        ]

    def each(self, f: Callable[..., Any]) -> list[Any]:
        """Return a list with the results of ``f`` for each example, stacked."""
        found = [_as_list(f(*self.example(number))) for number in range(_EXAMPLES)]
        return [np.stack(parts) for parts in zip(*found, strict=True)]

    def summed(self, gradients: list[Any]) -> list[Any]:
        """Return the gradients of the sum over all examples, from those of each."""
        return [
            g.sum(axis=0) if axis is None else np.moveaxis(g, 0, axis)
            for g, axis in zip(gradients, self.axes, strict=True)
        ]


def _as_list(x: Any) -> list[Any]:
    return [np.asarray(y) for y in x] if isinstance(x, (list, tuple)) else [np.asarray(x)]


def _total(f: Callable[..., Any], axes: Any, by: Callable[..., Any] = vmap) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        y = by(f, axes)(*args)
        return array_namespace(y).sum(y)

    return run


def check_against_loop(seed: int) -> str:
    """Compare values, gradients inside and outside, and tangents with those of a loop over the examples.

    Raises:
        AssertionError: they differ.
    """
    batch = _Batch(seed)
    f, axes, numbers, args = batch.f, batch.axes, batch.numbers, batch.args
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not args or f(*batch.example(0)) is None:
            return "nothing"
        _compare(f"seed {seed}: value", vmap(f, axes)(*args), batch.each(f))
        each = batch.each(grad(f, numbers))
        _compare(f"seed {seed}: gradient inside", vmap(grad(f, numbers), axes)(*args), each)
        outside = grad(_total(f, axes), numbers)(*args)
        _compare(f"seed {seed}: gradient outside", outside, batch.summed(each))

        def push(*x: Any) -> Any:
            return jvp(f, x, batch.tangents)[1]

        _compare(f"seed {seed}: tangent", vmap(push, axes)(*args), batch.each(push))
    return "compared"


def check_against_jax(seed: int) -> str:
    """Compare values and gradients inside and outside with those of JAX's ``vmap``.

    Raises:
        AssertionError: they differ, although those of single examples do not.
    """
    import jax

    batch = _Batch(seed)
    f, axes, numbers, args = batch.f, batch.axes, batch.numbers, batch.args
    f.writes = {number: [] for number in f.writes}
    given = [jax.numpy.asarray(x) for x in f.given]

    def theirs(*floating: Any) -> Any:
        values = list(given)
        for number, x in zip(f.floating, floating, strict=True):
            values[number] = x
        return f._run(extended(jax.numpy), values)

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not args or f(*batch.example(0)) is None:
            return "nothing"

        @jax.jit
        def wanted(one: Any, *args: Any) -> Any:
            alone = jax.value_and_grad(theirs, numbers)(*one)
            many = jax.vmap(jax.value_and_grad(theirs, numbers), axes)(*args)
            return alone, many, jax.grad(_total(theirs, axes, jax.vmap), numbers)(*args)

        try:
            alone, (value, inside), outside = wanted(batch.example(0), *args)
        except Exception:
            return "not by JAX"
        try:
            _compare("", [f(*batch.example(0)), *grad(f, numbers)(*batch.example(0))], [alone[0], *alone[1]])
        except AssertionError:
            return "another convention"
        _compare(f"seed {seed}: value", vmap(f, axes)(*args), _as_list(value))
        _compare(f"seed {seed}: gradient inside", vmap(grad(f, numbers), axes)(*args), inside)
        _compare(f"seed {seed}: gradient outside", grad(_total(f, axes), numbers)(*args), outside)
    return "compared"


def _compare(what: str, got: Any, want: Any) -> None:
    for one, other in zip(_as_list(got), _as_list(want), strict=True):
        assert one.shape == other.shape, f"{what}: shape {one.shape}, expected {other.shape}"
        size = np.max(np.abs(np.where(np.isfinite(other), other, 0)), initial=1.0)
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9 * size, err_msg=what)


def _main(count: int = 1000, first: int = 0, by: str = "loop") -> int:
    check, found, begun = (
        (check_against_jax if by == "jax" else check_against_loop),
        Counter[str](),
        time.time(),
    )
    for seed in range(first, first + count):
        try:
            found[check(seed)] += 1
        except Exception as error:
            found["failed"] += 1
            print(f"seed {seed}: {type(error).__name__}: {str(error).strip()[:400]}", flush=True)
    print(f"{count} functions in {time.time() - begun:.0f} s: {dict(found)}")
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(_main(*map(int, sys.argv[1:3]), *sys.argv[3:]))
