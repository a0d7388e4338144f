"""Functions of one number that LLVM can turn into vector code.

The C library's ``exp``, ``log`` and ``tanh`` take one number at a time. Those here are short straight lines
of arithmetic without branches, so that a loop over them computes 4 to 16 numbers at a time, as fast as
NumPy's. Errors are below 1 unit in the last place for ``exp`` and ``log``, 1.5 for ``log1p`` and ``tanh``, 2
for ``sin`` and ``cos``, 3 for ``expm1``; infinities, NaN and signed zeros are what the C library gives. The
formulas are those of fdlibm (Sun Microsystems, 1993: e_exp.c, e_log.c, e_rem_pio2.c, k_sin.c, k_cos.c), of
Cephes (Moshier: tanh.c, tanhf.c, sinf.c) and, for ``log1p`` and ``expm1``, of Kahan.

``sin`` and ``cos`` are right for numbers up to `FAR` in size only; the others are for the C library.

Each is there for float32 and float64, by the dtype's name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from xpnet.program.lowerings.numba import intrinsics

__all__ = ["cos", "exp", "expm1", "log", "log1p", "sin", "tanh"]

FAR = 2.0**20
"""Size of numbers from which on ``sin`` and ``cos`` here are not right."""

_compiled: Any = njit(error_model="numpy", nogil=True)
bits_of: Any = intrinsics.bits_of
float_of: Any = intrinsics.float_of
select: Any = intrinsics.select
_F = np.float32
_I = np.int32

# --- exponential ----------------------------------------------------------------------------------------


@_compiled
def _exp32(x):  # type: ignore[no-untyped-def]
    """e^x = 2^k e^r with |r| <= ln(2)/2; 2^k in two factors, so that the smallest numbers come out too."""
    z = select(x < _F(89.0), x, _F(89.0))
    z = select(z > _F(-104.0), z, _F(-104.0))
    k = (z * _F(1.4426950408889634) + _F(12582912.0)) - _F(12582912.0)
    high, low = z - k * _F(6.9314575195e-1), k * _F(1.4286067653e-6)
    r = high - low
    rr = r * r
    c = r - rr * (_F(1.6666625440e-1) + rr * _F(-2.7667332906e-3))
    y = _F(1.0) + (r * c / (_F(2.0) - c) - low + high)
    n = _I(k)
    half = _I(n >> _I(1))
    first = float_of(_I((half + _I(127)) << _I(23)))
    second = float_of(_I((_I(n - half) + _I(127)) << _I(23)))
    return select(x != x, x, y * first * second)


@_compiled
def _exp64(x):  # type: ignore[no-untyped-def]
    z = select(x < 710.0, x, 710.0)
    z = select(z > -746.0, z, -746.0)
    shifted = z * 1.4426950408889634 + 6755399441055744.0
    k = shifted - 6755399441055744.0
    high, low = z - k * 6.93147180369123816490e-01, k * 1.90821492927058770002e-10
    r = high - low
    t = r * r
    c = 4.13813679705723846039e-08
    c = -1.65339022054652515390e-06 + t * c
    c = 6.61375632143793436117e-05 + t * c
    c = -2.77777777770155933842e-03 + t * c
    c = 1.66666666666666019037e-01 + t * c
    c = r - t * c
    y = 1.0 + (r * c / (2.0 - c) - low + high)
    n = bits_of(shifted) - 4843621399236968448  # the bits of 6755399441055744.0
    half = n >> 1
    return select(x != x, x, y * float_of(half + 1023 << 52) * float_of(n - half + 1023 << 52))


# --- logarithm ------------------------------------------------------------------------------------------


@_compiled
def _log32(x):  # type: ignore[no-untyped-def]
    """log(2^k (1 + f)) = k ln 2 + log(1 + f) with sqrt(1/2) <= 1 + f < sqrt(2)."""
    tiny = x < _F(1.17549435e-38)
    z = select(tiny, x * _F(33554432.0), x)
    i = _I(bits_of(z) + _I(0x3F800000 - 0x3F3504F3))
    k = _F(_I(_I(i >> _I(23)) - _I(127))) - select(tiny, _F(25.0), _F(0.0))
    f = float_of(_I(_I(i & _I(0x007FFFFF)) + _I(0x3F3504F3))) - _F(1.0)
    s = f / (_F(2.0) + f)
    t = s * s
    w = t * t
    odd = w * (_F(0.40000972152) + w * _F(0.24279078841))
    even = t * (_F(0.66666662693) + w * _F(0.28498786688))
    half = _F(0.5) * f * f
    y = s * (half + (even + odd)) + k * _F(9.0580006145e-06) - half + f + k * _F(6.9313812256e-01)
    y = select(x > _F(0.0), y, select(x == _F(0.0), _F(-np.inf), _F(np.nan)))
    return select(x < _F(np.inf), y, select(x > _F(0.0), x, _F(np.nan)))


@_compiled
def _log64(x):  # type: ignore[no-untyped-def]
    tiny = x < 2.2250738585072014e-308
    z = select(tiny, x * 18014398509481984.0, x)
    i = bits_of(z) + (0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    # The exponent as a floating-point number, by way of the bits of 2^52 + exponent.
    k = float_of(i >> 52 | 0x4330000000000000) - 4503599627371519.0 - select(tiny, 54.0, 0.0)
    f = float_of((i & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD) - 1.0
    s = f / (2.0 + f)
    t = s * s
    w = t * t
    odd = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    even = 1.818357216161805012e-01 + w * 1.479819860511658591e-01
    even = t * (6.666666666666735130e-01 + w * (2.857142874366239149e-01 + w * even))
    half = 0.5 * f * f
    y = s * (half + (even + odd)) + k * 1.90821492927058770002e-10 - half + f + k * 6.93147180369123816490e-01
    y = select(x > 0.0, y, select(x == 0.0, -np.inf, np.nan))
    return select(x < np.inf, y, select(x > 0.0, x, np.nan))


# --- functions made of these ----------------------------------------------------------------------------


def _log1p(real: Any, log: Any) -> Any:
    """log(1 + x), and what was lost in rounding 1 + x beside it."""
    none, one, infinite = real(0), real(1), real(np.inf)

    @_compiled
    def log1p(x):  # type: ignore[no-untyped-def]
        w = one + x
        y = log(w) + (x - (w - one)) / w
        y = select(w == one, x, y)
        return select((w > none) & (w < infinite), y, log(w))

    return log1p


@_compiled
def _expm1_32(x):  # type: ignore[no-untyped-def]
    """e^x - 1 = 2 (h (e^r - 1) + (h - 1/2)) with h = 2^k / 2 and |r| <= ln(2)/2."""
    z = select(x < _F(89.0), x, _F(89.0))
    z = select(z > _F(-30.0), z, _F(-30.0))
    k = (z * _F(1.4426950408889634) + _F(12582912.0)) - _F(12582912.0)
    r = z - k * _F(6.9314575195e-1) - k * _F(1.4286067653e-6)
    p = _F(1.9841270e-4) * r + _F(1.3888889e-3)
    p = p * r + _F(8.3333333e-3)
    p = p * r + _F(4.1666667e-2)
    p = p * r + _F(1.6666667e-1)
    p = p * r + _F(0.5)
    p = p * r * r + r
    half = float_of(_I((_I(k) + _I(126)) << _I(23)))
    y = _F(2.0) * (half * p + (half - _F(0.5)))
    return select((x == _F(0.0)) | (x != x), x, y)


@_compiled
def _expm1_64(x):  # type: ignore[no-untyped-def]
    """(e^x - 1) · x / log(e^x): the errors of the two factors make up for each other."""
    w = _exp64(x)
    less = w - 1.0
    y = select(abs(x) > 38.0, less, less * (x / _log64(w)))
    return select((w == 1.0) | (x != x), x, y)


@_compiled
def _tanh32(x):  # type: ignore[no-untyped-def]
    z = abs(x)
    t = x * x
    p = _F(-5.70498872745e-3)
    p = p * t + _F(2.06390887954e-2)
    p = p * t + _F(-5.37397155531e-2)
    p = p * t + _F(1.33314422036e-1)
    p = p * t + _F(-3.33332819422e-1)
    small = select(x == _F(0.0), x, p * t * x + x)
    large = _F(1.0) - _F(2.0) / (_exp32(z + z) + _F(1.0))
    return select(z < _F(0.625), small, select(x < _F(0.0), -large, large))


@_compiled
def _tanh64(x):  # type: ignore[no-untyped-def]
    z = abs(x)
    t = x * x
    p = -9.64399179425052238628e-1
    p = (p * t + -9.92877231001918586564e1) * t + -1.61468768441708447952e3
    q = ((t + 1.12811678491632931402e2) * t + 2.23548839060100448583e3) * t + 4.84406305325125486048e3
    small = select(x == 0.0, x, x + x * t * p / q)
    large = 1.0 - 2.0 / (_exp64(z + z) + 1.0)
    return select(z < 0.625, small, select(x < 0.0, -large, large))


# --- sine and cosine ------------------------------------------------------------------------------------


@_compiled
def _sine32(x, quarter):  # type: ignore[no-untyped-def]
    """The sine a number of right angles further: x = k π/2 + r with |r| <= π/4, in float64."""
    wide = np.float64(x)
    k = (wide * 6.36619772367581382433e-01 + 6755399441055744.0) - 6755399441055744.0
    r = _F((wide - k * 1.57079632673412561417e00) - k * 6.07710050650619224932e-11)
    z = r * r
    s = (_F(-1.9515295891e-4) * z + _F(8.3321608736e-3)) * z + _F(-1.6666654611e-1)
    s = s * z * r + r
    c = (_F(2.443315711809948e-5) * z + _F(-1.388731625493765e-3)) * z + _F(4.166664568298827e-2)
    c = c * z * z - _F(0.5) * z + _F(1.0)
    n = _I(_I(_F(k)) + _I(quarter))
    found = select(_I(n & _I(1)) == _I(1), c, select(x == _F(0.0), x, s))
    return float_of(_I(bits_of(found) ^ _I(_I(n & _I(2)) << _I(30))))  # with the other sign where n & 2


@_compiled
def _turned(x):  # type: ignore[no-untyped-def]
    """x = k π/2 + r + s: the bits of a number that ends with those of k, then r with |r| <= π/4, and s."""
    shifted = x * 6.36619772367581382433e-01 + 6755399441055744.0
    k = shifted - 6755399441055744.0
    near = x - k * 1.57079632673412561417e00
    rest = k * 6.07710050630396597660e-11
    r = near - rest
    rest = k * 2.02226624879595063154e-21 - ((near - r) - rest)
    y = r - rest
    return bits_of(shifted), y, (r - y) - rest


@_compiled
def _sine64(x, quarter):  # type: ignore[no-untyped-def]
    n, y, tail = _turned(x)
    z = y * y
    v = z * y
    p = 1.58969099521155010221e-10
    p = -2.50507602534068634195e-08 + z * p
    p = 2.75573137070700676789e-06 + z * p
    p = -1.98412698298579493134e-04 + z * p
    p = 8.33333333332248946124e-03 + z * p
    s = y - ((z * (0.5 * tail - v * p) - tail) - v * -1.66666666666666324348e-01)
    q = -1.13596475577881948265e-11
    q = 2.08757232129817482790e-09 + z * q
    q = -2.75573143513906633035e-07 + z * q
    q = 2.48015872894767294178e-05 + z * q
    q = -1.38888888888741095749e-03 + z * q
    q = 4.16666666666666019037e-02 + z * q
    half = 0.5 * z
    w = 1.0 - half
    c = w + ((1.0 - w - half) + (z * (z * q) - y * tail))
    n += quarter
    found = select(n & 1 == 1, c, select(x == 0.0, x, s))
    return select(n & 2 == 2, -found, found)


def _quarters_further(sine: Any, quarter: int) -> Any:
    @_compiled
    def function(x):  # type: ignore[no-untyped-def]
        return sine(x, quarter)

    return function


cos = {"float32": _quarters_further(_sine32, 1), "float64": _quarters_further(_sine64, 1)}
sin = {"float32": _quarters_further(_sine32, 0), "float64": _quarters_further(_sine64, 0)}
exp = {"float32": _exp32, "float64": _exp64}
log = {"float32": _log32, "float64": _log64}
log1p = {"float32": _log1p(np.float32, _log32), "float64": _log1p(np.float64, _log64)}
expm1 = {"float32": _expm1_32, "float64": _expm1_64}
tanh = {"float32": _tanh32, "float64": _tanh64}
