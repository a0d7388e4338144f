"""Random functions of the standard, with assignments to views, against NumPy and finite differences.

A function is a random program, run operation by operation in the namespace of its arguments; between them
are random assignments, which on NumPy write into memory and so into all views of it. By hand, with a count
and the first seed::

    python -m tests.autodiff.random_functions 100000 0
"""

from __future__ import annotations

import operator
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import array_api_compat.numpy as plain
import numpy as np

from tests.program.random_programs import SHAPES, Writer
from xpnet.autodiff import jvp, vjp
from xpnet.autodiff.tracer import Tracer
from xpnet.backends.lacking import extended
from xpnet.program.program import Operation, Ref

__all__ = ["Function", "check"]

_DTYPES = ["float64"] * 8 + ["int64", "int8", "uint8", "bool", "bool"]
_IN_PLACE = [operator.iadd, operator.isub, operator.imul]


@dataclass(frozen=True)
class _Write:
    """One assignment: to a value, or to a view of it, by ``=`` or by an operator in place."""

    target: int
    view: Callable[[Any, Any], Any] | None
    index: Any
    by: Any  # None: x[index] = source
    source: Any  # a Ref or a number


class _Writer(Writer):
    """Writes programs with complex arrays, mixed kinds and running products beside the rest."""

    kinds = (*Writer.kinds, "view", "view", "complex", "mixed", "smooth", "running")

    def _pick(self) -> Ref:
        x = super()._pick()
        while self._kind(x) == "c":
            x = super()._pick()
        return x

    def _find(self, fits: Any) -> Ref | None:
        return super()._find(lambda a: a.dtype.kind != "c" and fits(a))

    def _step_complex(self, x: Ref) -> None:
        """A complex array and real ones made of it, some of which are views."""
        if self._kind(x) != "f":
            return
        z = self.builder.apply("astype", x, np.dtype("complex128"))
        z = self.builder.apply("multiply", z, complex(*self.draw.normal(size=2)))
        if self._of(x).ndim and self._of(x).shape[-1] and self.draw.random() < 0.3:
            z = self.builder.apply("fft.fft", z)
        names = self.draw.choice(["real", "imag", "abs", "conj", "square", "exp"], size=2)
        for name in names:
            made = self.builder.apply(str(name), z)
            z = made if self._kind(made) == "c" else z
        self.builder.apply(str(self.draw.choice(["real", "imag"])), z)

    def _step_mixed(self, x: Ref) -> None:
        """A floating array beside whole numbers or truth values."""
        if self._kind(x) != "f":
            return
        shape = self._of(x).shape
        other = self._find(lambda a: a.dtype.kind in "iub" and _fits(a.shape, shape))
        if other is not None:
            name = str(
                self.draw.choice(["maximum", "minimum", "multiply", "add", "where", "hypot", "copysign"])
            )
            if name == "where":
                self.builder.apply(name, self.builder.apply("greater", x, 0.3), x, other)
            else:
                self.builder.apply(name, *((x, other) if self.draw.random() < 0.5 else (other, x)))

    def _step_smooth(self, x: Ref) -> None:
        if self._kind(x) == "f":
            names = ["tanh", "sin", "atan", "asinh", "expm1", "cosh", "logaddexp", "erf"]
            name = str(self.draw.choice(names))
            self.builder.apply(name, x, *((0.3,) if name == "logaddexp" else ()))

    def _step_running(self, x: Ref) -> None:
        array = self._of(x)
        if self._kind(x) == "f" and 0 < array.size < 40 and array.ndim:
            axis = int(self.draw.integers(-array.ndim, array.ndim))
            start = bool(self.draw.integers(2))
            self.builder.apply("cumulative_prod", x, axis=axis, include_initial=start)


def _fits(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, other) == other
    except ValueError:
        return False


class Function:
    """A random function ``f(*inputs)`` with a floating 0-d result, and its inputs."""

    def __init__(self, seed: int, length: int = 14):
        self._draw = np.random.default_rng(seed + 1_000_000_007)
        with np.errstate(all="ignore"):
            writer = _Writer(np.random.default_rng(seed), False, SHAPES[:15], _DTYPES)
            while len(writer.arrays) < writer.given + length:
                writer.step()
            self.given = [np.array(x) for x in writer.arrays[: writer.given]]
            for x in self.given:
                if x.dtype.kind == "f":
                    special = ~np.isfinite(x) | (x == 0)  # zeros and ties are kinks of many functions
                    x[special] = 0.7 + np.linspace(0, 0.1, x.size + 1)[1:].reshape(x.shape)[special]
            self.program = writer.builder.program()
            self.writes: dict[int, list[_Write]] = {}
            self._weights: dict[int, np.ndarray] = {}
            self._run(plain, [x.copy() for x in self.given], planning=True)
        self.floating = [i for i, x in enumerate(self.given) if x.dtype.kind == "f"]

    def inputs(self) -> list[np.ndarray]:
        """Return the floating inputs."""
        return [self.given[i] for i in self.floating]

    def __call__(self, *floating: Any) -> Any:
        """Return the weighted sum of all values; inputs are copied before they are written to."""
        traced = next((x for x in floating if type(x) is Tracer), None)
        xp = plain if traced is None else traced.__array_namespace__()
        values: list[Any] = [xp.asarray(x, copy=True) for x in self.given]
        for number, x in zip(self.floating, floating, strict=True):
            values[number] = x * 1.0 if x.shape else xp.asarray(x, copy=True)
        return self._run(xp, values)

    def _run(self, xp: Any, values: list[Any], planning: bool = False) -> Any:
        space = extended(plain) if xp is plain else xp
        for number, operation in enumerate(self.program.operations):
            out = _apply(space, operation, values)
            values += list(out) if operation.many else [out]
            if planning:
                self.writes[number] = self._planned(values)
            for write in self.writes[number]:
                if not _perform(space, write, values) and planning:
                    self.writes[number] = []
        return self._total(space, values, planning)

    def _total(self, xp: Any, values: list[Any], planning: bool) -> Any:
        """Values of ordinary size count; views are read after what they are views of was written."""
        total = None
        for number, x in enumerate(values):
            if planning and x.dtype.kind in "fc" and x.size and np.all(np.abs(x) < 1e4):
                self._weights[number] = self._draw.normal(size=x.shape)
            if number in self._weights:
                part = xp.real(x) + xp.imag(x) if xp.isdtype(x.dtype, "complex floating") else x
                part = xp.sum(xp.multiply(part, xp.asarray(self._weights[number])))
                total = part if total is None else total + part
        return total

    def _planned(self, values: list[Any]) -> list[_Write]:
        """Return assignments to follow an operation: NumPy's memory says what can be written to."""
        draw = self._draw
        able = [
            i
            for i, x in enumerate(values)
            if type(x) is np.ndarray and x.flags.writeable and x.dtype.kind in "fc" and x.size
        ]
        if not able or draw.random() < 0.4:
            return []
        target = int(draw.choice(able[-8:]))
        x = values[target]
        views = [None, None, None]
        if x.ndim:
            views += [_flip, _flat, _row, _turned]
        views += [_grown]
        views += [_real, _imag] if x.dtype.kind == "c" else []
        view = views[int(draw.integers(len(views)))]
        part = x if view is None else view(plain, x)
        if not isinstance(part, np.ndarray) or not part.flags.writeable or not part.size:
            return []
        index = (..., *(_part_of(draw, n) for n in part.shape[-1:]))
        by = None if draw.random() < 0.4 else _IN_PLACE[int(draw.integers(3))]
        shape = part[index].shape
        sources = [
            Ref(i)
            for i, s in enumerate(values)
            if s.dtype.kind == "f" and _fits(s.shape, shape) and np.all(np.abs(s) < 1e3)
            # Between overlapping vectors NumPy assigns entry by entry and reads what it has just written.
            if by is not None or not np.may_share_memory(s, x)
        ]
        number = float(np.round(draw.normal(), 3))
        source: Any = sources[int(draw.integers(len(sources)))] if sources and draw.random() < 0.7 else number
        return [_Write(target, view, index, by, source)]


def _part_of(draw: np.random.Generator, n: int) -> Any:
    options = [slice(None), slice(0, max(1, n - 1)), slice(None, None, 2), slice(None, None, -1), -1]
    return options[int(draw.integers(len(options)))]


def _flip(xp: Any, x: Any) -> Any:
    return xp.flip(x, axis=0)


def _flat(xp: Any, x: Any) -> Any:
    return xp.reshape(x, (-1,))


def _row(xp: Any, x: Any) -> Any:
    return x[-1, ...]


def _turned(xp: Any, x: Any) -> Any:
    return xp.permute_dims(x, tuple(reversed(range(x.ndim))))


def _grown(xp: Any, x: Any) -> Any:
    return xp.expand_dims(x, axis=0)


def _real(xp: Any, x: Any) -> Any:
    return xp.real(x)


def _imag(xp: Any, x: Any) -> Any:
    return xp.imag(x)


def _apply(xp: Any, operation: Operation, values: list[Any]) -> Any:
    args = [values[x.number] if type(x) is Ref else x for x in operation.operands]
    if operation.name == "getitem":
        return args[0][args[1]]
    if operation.name in ("concat", "stack"):
        return getattr(xp, operation.name)(args, **operation.options)
    function = operator.attrgetter(operation.name)(xp)
    return function(*args, **operation.options)


def _perform(xp: Any, write: _Write, values: list[Any]) -> bool:
    x = values[write.target]
    part = x if write.view is None else write.view(xp, x)
    source = values[write.source.number] if type(write.source) is Ref else write.source
    if write.by is None:
        part[write.index] = source
    elif write.index == (..., slice(None)):
        write.by(part, source)
    else:
        chosen = part[write.index]  # a view, too, but for a NumPy scalar
        chosen = write.by(chosen, source)
        if not chosen.shape:
            part[write.index] = chosen
    return True


def check(seed: int) -> str:
    """Compare one function's value and derivatives; returns what was compared.

    Raises:
        AssertionError: traced values differ from NumPy's, a derivative from finite differences, or one mode
            from the other by more than rounding.
    """
    f = Function(seed)
    inputs = f.inputs()
    draw = np.random.default_rng(seed)
    along = [np.asarray(draw.normal(size=x.shape)) for x in inputs]
    with np.errstate(all="ignore"):
        want = f(*inputs)
        if want is None or not inputs:
            return "nothing"
        value, pullback = vjp(f, *inputs)
        pushed = jvp(f, tuple(inputs), tuple(along))
        np.testing.assert_allclose(value, want, rtol=1e-9, atol=1e-9, err_msg=f"value of seed {seed}")
        np.testing.assert_allclose(pushed[0], want, rtol=1e-9, atol=1e-9, err_msg=f"value of seed {seed}")
        pulled = pullback(np.ones_like(value))
        for g, x in zip(pulled, inputs, strict=True):
            assert (g.dtype, g.shape) == (x.dtype, x.shape), f"seed {seed}: gradient {g.dtype}{g.shape}"
        backward = [float(np.sum(g * v)) for g, v in zip(pulled, along, strict=True)]
        forward = float(pushed[1])
        size = 1 + sum(float(np.sum(np.abs(g * v))) for g, v in zip(pulled, along, strict=True))
        differences = [
            _difference(f, inputs, along, *ends) for ends in ((0, -1e-6), (1e-6, 0), (2e-6, -2e-6))
        ]
        if not max(differences) - min(differences) < 1e-3 * (1 + abs(differences[-1])):
            return "a kink"
        if not np.isfinite(sum(backward) + forward):
            return "no derivative"  # NaN and infinity say so themselves
    apart = abs(sum(backward) - forward)
    if not apart < 1e-7 * size and _rounding(f, inputs, along) > 0.1 * apart:
        return "rounding"  # of terms that are huge and cancel: it is another one for a multiple of them
    assert apart < 1e-7 * size, f"seed {seed}: {sum(backward)} reverse, {forward} forward"
    assert abs(forward - differences[-1]) < 1e-3 * (1 + abs(forward)) + 1e-7 * size, (
        f"seed {seed}: {forward} by both modes, {differences[-1]} by finite differences"
    )
    return "derivatives"


def _rounding(f: Function, inputs: list[np.ndarray], along: list[np.ndarray]) -> float:
    """Return by how much the derivative changes, in either mode, with a factor before it, taken out again."""
    found = []
    with np.errstate(all="ignore"):
        for factor in (1.0, 1.1, 1.3, 1.7):
            pulled = vjp(f, *inputs)[1](np.asarray(factor))
            backward = sum(float(np.sum(g * v)) for g, v in zip(pulled, along, strict=True))
            forward = float(jvp(f, tuple(inputs), tuple(factor * v for v in along))[1])
            found.append((backward / factor, forward / factor))
    return max(max(mode) - min(mode) for mode in zip(*found, strict=True))


def _difference(
    f: Function, inputs: list[np.ndarray], along: list[np.ndarray], end: float, start: float
) -> float:
    one, other = (f(*(x + s * v for x, v in zip(inputs, along, strict=True))) for s in (end, start))
    return float((one - other) / (end - start))


def _main(count: int = 1000, first: int = 0) -> int:
    found: Counter[str] = Counter()
    begun = time.time()
    for seed in range(first, first + count):
        try:
            found[check(seed)] += 1
        except Exception as error:
            found["failed"] += 1
            print(f"seed {seed}: {type(error).__name__}: {str(error).strip()[:400]}", flush=True)
    print(f"{count} functions in {time.time() - begun:.0f} s: {dict(found)}")
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(_main(*map(int, sys.argv[1:])))
