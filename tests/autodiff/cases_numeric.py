"""Cases of elementwise functions, reductions, complex arrays and Fourier transforms.

Complex arguments are made of two real ones and results taken apart again, so that finite differences go in
real and imaginary directions and every other check works as for real functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.autodiff.rule_cases import Case
from tests.support import draw

__all__ = ["CASES", "CONSTANTS"]

CASES: list[Case] = []


def _case(
    rule: str,
    label: str,
    function: Callable[..., Any],
    *shapes: tuple[int, ...],
    ranges: tuple[tuple[float, float], ...] = (),
    **options: Any,
) -> None:
    """Enter a case with arguments of ``shapes`` drawn from ``ranges`` (the last one again for the others)."""
    limits = list(ranges or [(-1.5, 1.5)])
    limits += limits[-1:] * (len(shapes) - len(limits))
    args = tuple(draw(17 + i, shape, *limits[i]) for i, shape in enumerate(shapes))
    CASES.append(Case(rule, label, function, args, **options))


def _at(rule: str, label: str, function: Callable[..., Any], *points: Any, **options: Any) -> None:
    """Enter a case at given points."""
    args = tuple(np.asarray(point, dtype=np.float64) for point in points)
    for x in args:
        x.flags.writeable = False
    CASES.append(Case(rule, label, function, args, **options))


def _reals(xp: Any, z: Any) -> Any:
    """Return a complex array as a real one with its two parts along a new first axis."""
    return xp.stack([xp.real(z), xp.imag(z)]) if xp.isdtype(z.dtype, "complex floating") else z


def _of_complex(function: Callable[..., Any], pairs: int = 1) -> Callable[..., Any]:
    """Return ``function(xp, z, ..., x, ...)`` as one of real arguments: ``pairs`` of them, then real ones."""

    def run(xp: Any, *parts: Any) -> Any:
        made = [parts[2 * i] + 1j * parts[2 * i + 1] for i in range(pairs)]
        return _reals(xp, function(xp, *made, *parts[2 * pairs :]))

    return run


def _widened(name: str) -> Callable[..., Any]:
    """Return a reduction of real columns in a complex dtype."""

    def run(xp: Any, x: Any) -> Any:
        return _reals(xp, getattr(xp, name)(x, axis=0, dtype=xp.result_type(x, 1j)) * 1j)

    return run


def _named(name: str, **options: Any) -> Callable[..., Any]:
    *extension, name = name.split(".")
    return lambda xp, *args: getattr(getattr(xp, extension[0]) if extension else xp, name)(*args, **options)


_case(
    "complex_of",
    "both",
    lambda xp, x, y: _reals(xp, xp.complex_of(x * x, y) ** 2),
    (3,),
    (3,),
    peers=("torch",),
)
_case(
    "complex_of",
    "imaginary",
    lambda xp, y: _reals(xp, xp.complex_of(xp.ones_like(y), y * y)),
    (2, 3),
    peers=(),
)

# --- Complex elementwise functions --------------------------------------------------------------------

_NO_CAST = ("jax",)  # PyTorch's own derivatives fail where these functions cast real arrays to complex ones
_HOLOMORPHIC = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "expm1", "log", "log10", "log1p",
    "log2", "negative", "positive", "reciprocal", "sin", "sinh", "sqrt", "square", "tan", "tanh",
)  # fmt: skip
for _name in (*_HOLOMORPHIC, "abs", "conj", "imag", "real", "sign"):
    _peers = ("torch",) if _name == "sign" else ("torch", "jax")  # JAX takes a complex sign for a constant
    for _label, _side in {"complex": (0.3, 0.9), "complex-left": (-0.9, -0.3)}.items():
        _case(_name, _label, _of_complex(_named(_name)), (3,), (3,), ranges=(_side, (0.2, 0.8)), peers=_peers)
for _name in ("add", "subtract", "multiply", "divide", "pow"):
    _away = ((0.4, 1.5), (-1.0, 1.0))
    _case(
        _name, "complex", _of_complex(_named(_name), 2), (2, 1), (2, 1), (3,), (3,), ranges=(*_away, *_away)
    )
    _case(
        _name, "complex-real", _of_complex(_named(_name)), (2, 3), (2, 3), (3,), ranges=(*_away, (0.5, 1.5))
    )
    _case(
        _name,
        "real-complex",
        _of_complex(lambda xp, z, x, n=_name: getattr(xp, n)(x, z)),
        (3,), (3,), (2, 3),
        ranges=(*_away, (0.5, 1.5)),
    )  # fmt: skip
_case("multiply", "complex-number", lambda xp, x: _reals(xp, x * (1 - 2j) + (3j - x) / 2j), (3,))
_case("divide", "of-complex-number", lambda xp, x: _reals(xp, 1j / x), (3,), ranges=((0.5, 1.5),))
_case("pow", "negative-to-complex", _of_complex(lambda xp, z, x: xp.pow(x, z)), (3,), (3,), (3,),
      ranges=((-1.0, 1.0), (-1.0, 1.0), (-2.0, -0.5)))  # fmt: skip
for _label, _function in {
    "squared": lambda xp, z: z**2, "cubed": lambda xp, z: z**3, "root": lambda xp, z: z**0.5,
    "to-the-0": lambda xp, z: z**0 + z, "to-a-complex-number": lambda xp, z: z ** (1.5 - 0.5j),
    "number-to-the": lambda xp, z: 2.0**z, "negative-number-to-the": lambda xp, z: (-2.0) ** z,
    "complex-number-to-the": lambda xp, z: (1 + 1j) ** z, "one-half": lambda xp, z: 0.5**z,
}.items():  # fmt: skip
    _case("pow", f"complex-{_label}", _of_complex(_function), (3,), (3,), ranges=((0.4, 1.5),))
_CHOICE = np.asarray([True, False, True])
_case("where", "complex", _of_complex(lambda xp, z, w, c: xp.where(c, z, w), 2), (3,), (3,), (3,), (3,),
      constants=(_CHOICE,))  # fmt: skip
_case("where", "complex-real", _of_complex(lambda xp, z, x, c: xp.where(c, z, x)), (2, 3), (2, 3), (3,),
      constants=(_CHOICE,), peers=_NO_CAST)  # fmt: skip
_case("where", "complex-number", lambda xp, x, c: _reals(xp, xp.where(c, 1j * x, 1 + 2j)), (3,),
      constants=(_CHOICE,))  # fmt: skip
_case("astype", "to-complex", lambda xp, x: _reals(xp, xp.astype(x, xp.result_type(x, 1j)) * 1j + x), (3,))
for _name in ("conj", "real"):
    _case(_name, "of-real", lambda xp, x, n=_name: getattr(xp, n)(x * x), (2, 3))
_case("conj", "product", _of_complex(lambda xp, z: xp.conj(z) * z + xp.abs(z) * z), (3,), (3,),
      ranges=((0.3, 0.9),))  # fmt: skip

# --- Real elementwise functions, on all sides of their axes -------------------------------------------

_WHOLE = np.asarray([0, 1, 2, 3, -1, -2])
_case("pow", "negative-to-whole", lambda xp, x, k: xp.pow(x, xp.astype(k, x.dtype)), (2, 6),
      ranges=((-2.0, -0.5),), constants=(_WHOLE,))  # fmt: skip
_at("pow", "zero-to-whole", lambda xp, x, k: xp.pow(x, xp.astype(k, x.dtype)), [0.0, 0.0, 0.0, 0.0],
    constants=(np.asarray([0, 1, 2, 3]),))  # fmt: skip
_at("pow", "exponents-0-and-1", lambda xp, x, y: xp.pow(x, y), [0.5, 2.0, 0.5, 2.0], [0.0, 0.0, 1.0, 2.0],
    peers=("torch",))  # fmt: skip
_case("pow", "mixed-scalars", lambda xp, x: 0.5**x + 3**x + x**-2 + x**1.5, (3,), ranges=((0.5, 1.5),))
for _label, _top, _right in (("second", 1, -1), ("third", -1, -1), ("fourth", -1, 1)):
    _case("atan2", f"{_label}-quadrant", lambda xp, y, x, s=_top, t=_right: xp.atan2(s * y, t * x),
          (3,), (3,), ranges=((0.5, 1.5),))  # fmt: skip
_at("atan2", "axes", _named("atan2"), [0.0, 0.0, 1.5, -0.5], [0.5, 2.0, 0.0, 0.0])
_at("hypot", "axes", _named("hypot"), [0.0, 0.0, 1.5, -0.5], [0.5, -2.0, 0.0, 0.0])
for _label, _x, _y in (("negative-divisor", (3.1, 3.9), (-1.4, -1.1)), ("both", (-3.9, -3.1), (-1.4, -1.1))):
    _case("remainder", _label, _named("remainder"), (2, 3), (3,), ranges=(_x, _y))
# PyTorch differentiates no number % tensor.
_case("remainder", "numbers", lambda xp, x: x % 1.0 + 5.0 % x - x % -2.0, (3,), ranges=((1.1, 1.2),),
      peers=("jax",))  # fmt: skip
_case("copysign", "of-negative", lambda xp, x, y: xp.copysign(-x, y) + xp.copysign(x, -y), (3,), (3,),
      ranges=((0.5, 1.5),))  # fmt: skip
_at("logaddexp", "far-apart", _named("logaddexp"), [30.0, -2.0, 5.0], [1.0, 15.0, 5.0])
_case("logaddexp", "number", lambda xp, x: xp.logaddexp(x, 0.0) + xp.logaddexp(1.0, x), (3,))
_case("maximum", "numbers", lambda xp, x: xp.maximum(x, 0.1) + xp.minimum(-0.2, x), (6,))
_case("clip", "broadcast", lambda xp, x, y, z: xp.clip(x, y, z), (3,), (2, 1), (),
      ranges=((-2.0, 2.0), (-1.0, -0.5), (0.5, 1.0)), peers=("jax",))  # fmt: skip
for _name, _near in {"asin": (0.9, 0.99), "acos": (-0.99, -0.9), "atanh": (0.9, 0.99), "acosh": (20.0, 40.0),
                     "asinh": (-40.0, -20.0)}.items():  # fmt: skip
    _case(_name, "far", _named(_name), (3,), ranges=(_near,))

# --- Products, running sums, averages ------------------------------------------------------------------

for _name in ("sum", "mean", "prod"):
    for _label, _options in {"all": {}, "axes": {"axis": (0, -1)}, "axis-kept": {"axis": 1, "keepdims": True},
                             "no-axes": {"axis": ()}}.items():  # fmt: skip
        _peers = ("jax",) if "axes" in _label else ("torch", "jax")
        if _name == "prod":
            _case(_name, _label, _named(_name, **_options), (3, 2, 2), ranges=((0.5, 1.5),), peers=_peers)
        _function = _of_complex(_named(_name, **_options))
        _case(_name, f"complex-{_label}", _function, (3, 2, 2), (3, 2, 2), peers=_peers)
    if _name != "mean":
        _case(_name, "to-complex", _widened(_name), (2, 3), peers=_NO_CAST)
for _name in ("sum", "mean", "var", "std", "max", "min", "prod"):
    _peers = () if _name == "std" else ("jax",)  # of a single value: NaN in JAX and PyTorch
    _case(_name, "0-d", lambda xp, x, n=_name: getattr(xp, n)(x) + x * x, (), peers=_peers)
_GRID = draw(23, (3, 4), 0.5, 1.5).copy()
_GRID[0, 1] = _GRID[1, 2] = _GRID[2, 2] = 0.0  # one zero in a row; two in a column
for _label, _options in {"rows": {"axis": 1}, "columns": {"axis": 0, "keepdims": True}, "all": {}}.items():
    _at("prod", f"zeros-{_label}", _named("prod", **_options), _GRID)
_at("prod", "complex-zeros", _of_complex(_named("prod", axis=0)), [0.0, 1.0, 2.0], [0.0, -1.0, 0.5])
_at("prod", "two-zeros", _named("prod"), [0.0, 1.5, 0.0])
_case("prod", "one", _named("prod", axis=0), (1, 3))

for _name in ("cumulative_sum", "cumulative_prod"):
    _low = (-1.5, 1.5) if _name == "cumulative_sum" else (0.5, 1.5)
    for _label, _shape, _options in (
        ("vector", (5,), {}), ("one", (1,), {}), ("first-axis", (4, 2), {"axis": 0}),
        ("last-axis", (2, 3), {"axis": -1}), ("initial", (2, 4), {"axis": 1, "include_initial": True}),
    ):  # fmt: skip
        _case(_name, _label, _named(_name, **_options), _shape, ranges=(_low,))
        _case(_name, f"complex-{_label}", _of_complex(_named(_name, **_options)), _shape, _shape)
    _at(_name, "zeros", _named(_name, axis=1), _GRID)
    _case(_name, "to-complex", _widened(_name), (3, 2), peers=_NO_CAST)
_case("var", "correction-kept", _named("var", axis=(0, 1), correction=1.5, keepdims=True), (3, 2, 2),
      peers=("jax",))  # fmt: skip

# --- Fourier transforms --------------------------------------------------------------------------------

_LENGTHS: dict[str, dict[str, Any]] = {
    "as-long": {}, "padded": {"n": 7}, "cut": {"n": 3}, "even-cut": {"n": 2}, "one": {"n": 1},
    "first-axis": {"axis": 0, "norm": "ortho"}, "forward": {"norm": "forward", "n": 6},
}  # fmt: skip
for _name in ("fft.fft", "fft.ifft", "fft.irfft", "fft.hfft"):
    for _label, _options in _LENGTHS.items():
        _case(_name, _label, _of_complex(_named(_name, **_options)), (3, 4), (3, 4))
    _case(_name, "odd", _of_complex(_named(_name)), (5,), (5,))
for _name in ("fft.rfft", "fft.ihfft"):
    for _label, _options in _LENGTHS.items():
        _case(_name, _label, _of_complex(_named(_name, **_options), 0), (3, 4))
    _case(_name, "odd", _of_complex(_named(_name), 0), (5,))

_SHAPES: dict[str, dict[str, Any]] = {
    "all-axes": {}, "two-axes": {"axes": (0, 2), "norm": "ortho"},
    "one-axis": {"axes": (1,), "norm": "forward"}, "resized": {"s": (4, 2), "axes": (-1, 0)},
}  # fmt: skip
for _label, _options in _SHAPES.items():
    for _name in ("fft.fftn", "fft.ifftn", "fft.irfftn"):
        _case(_name, _label, _of_complex(_named(_name, **_options)), (3, 2, 3), (3, 2, 3))
    _case("fft.rfftn", _label, _of_complex(_named("fft.rfftn", **_options), 0), (3, 2, 3))
for _name in ("fft.fftshift", "fft.ifftshift"):
    _case(_name, "all-axes", _named(_name), (3, 4))
    _case(_name, "axis", _of_complex(_named(_name, axes=(1,))), (2, 5), (2, 5))

# --- Without derivative ---------------------------------------------------------------------------------

CONSTANTS: dict[str, Callable[..., Any]] = {
    f"fft.{_name}": lambda xp, x, n=_name: getattr(xp.fft, n)(5, d=0.5, dtype=x.dtype, device=x.device)
    for _name in ("fftfreq", "rfftfreq")
}
