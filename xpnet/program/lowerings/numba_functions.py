"""What generated loops call: pointers, and functions of one number that LLVM can turn into vector code.

The C library's ``exp``, ``log`` and ``tanh`` take one number at a time. Those here are short straight lines
of arithmetic without branches, so that a loop over them is computed 4 to 16 numbers at a time, faster than
NumPy's. Errors are below 2 units in the last place (``tanh`` and ``expm1``: 3); infinities, NaN and
signed zeros are what the C library gives. The formulas are those of fdlibm (Sun Microsystems, 1993: e_exp.c,
e_log.c) and of Cephes (Moshier: tanh.c, tanhf.c), Kahan's for ``log1p`` and ``expm1``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "exp",
    "expm1",
    "gemm",
    "in_memory",
    "largest",
    "log",
    "log1p",
    "moved",
    "of_array",
    "select",
    "smallest",
    "sum2",
    "tanh",
]

_INLINE = {"error_model": "numpy", "nogil": True, "inline": "never"}


@intrinsic
def of_array(context: Any, array: Any) -> Any:
    """Return a pointer to the first entry of an array."""
    pointer = types.CPointer(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.make_array(array)(context, builder, args[0]).data

    return pointer(array), generate


@intrinsic
def in_memory(context: Any, address: Any, kind: Any) -> Any:
    """Return a pointer to numbers of the dtype ``kind`` at an address."""
    pointer = types.CPointer(kind.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(pointer))

    return pointer(address, kind), generate


@intrinsic
def moved(context: Any, pointer: Any, by: Any) -> Any:
    """Return a pointer some entries further."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, by), generate


@intrinsic
def sum2(context: Any, a: Any, b: Any) -> Any:
    """Return ``a + b``, to be added up in any order: the terms of a sum in several lanes side by side."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args, flags=("reassoc",))

    return a(a, a), generate


def _llvm(name: str) -> Any:
    def made(context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = args[0].type
            full = f"{name}.{'f32' if a == types.float32 else 'f64'}"
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 2), full)
            return builder.call(function, args)

        return a(a, a), generate

    return intrinsic(made)


largest = _llvm("llvm.maximum")  # NaN if one of the two is
smallest = _llvm("llvm.minimum")


@intrinsic
def _bits(context: Any, x: Any) -> Any:
    """Return the bits of a floating-point number as a whole number."""
    whole = types.int32 if x == types.float32 else types.int64
    return whole(x), lambda context, builder, signature, args: builder.bitcast(
        args[0], context.get_value_type(whole)
    )


@intrinsic
def _float(context: Any, n: Any) -> Any:
    """Return the floating-point number of these bits."""
    real = types.float32 if n == types.int32 else types.float64
    return real(n), lambda context, builder, signature, args: builder.bitcast(
        args[0], context.get_value_type(real)
    )


@intrinsic
def gemm(
    context: Any, function: Any, left: Any, right: Any, m: Any, n: Any, k: Any, alpha: Any,
    a: Any, lda: Any, b: Any, ldb: Any, c: Any, ldc: Any,
) -> Any:  # fmt: skip
    """Call ``cblas_?gemm`` at an address: C = alpha · A B, row by row, 64-bit sizes."""
    given = (function, left, right, m, n, k, alpha, a, lda, b, ldb, c, ldc)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        flag, size = ir.IntType(32), ir.IntType(64)
        real = args[6].type
        pointer = real.as_pointer()
        kinds = [flag, flag, flag, size, size, size, real, pointer, size, pointer, size, real, pointer, size]
        called = builder.inttoptr(args[0], ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        left, right = (builder.trunc(x, flag) for x in args[1:3])
        builder.call(called, [flag(101), left, right, *args[3:11], real(0.0), *args[11:]])
        return context.get_dummy_value()

    return types.void(*given), generate


@intrinsic
def select(context: Any, condition: Any, a: Any, b: Any) -> Any:
    """Return ``a if condition else b``, both computed: branches keep loops from becoming vector code."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return a(types.boolean, a, a), generate


# --- exponential ----------------------------------------------------------------------------------------

_F = np.float32
_I = np.int32


@njit(**_INLINE)
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
    first = _float(_I((half + _I(127)) << _I(23)))
    second = _float(_I((_I(n - half) + _I(127)) << _I(23)))
    return select(x != x, x, y * first * second)


@njit(**_INLINE)
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
    n = _bits(shifted) - 4843621399236968448  # the bits of 6755399441055744.0
    half = n >> 1
    return select(x != x, x, y * _float(half + 1023 << 52) * _float(n - half + 1023 << 52))


# --- logarithm ------------------------------------------------------------------------------------------


@njit(**_INLINE)
def _log32(x):  # type: ignore[no-untyped-def]
    """log(2^k (1 + f)) = k ln 2 + log(1 + f) with sqrt(1/2) <= 1 + f < sqrt(2)."""
    tiny = x < _F(1.17549435e-38)
    z = select(tiny, x * _F(33554432.0), x)
    i = _I(_bits(z) + _I(0x3F800000 - 0x3F3504F3))
    k = _F(_I(_I(i >> _I(23)) - _I(127))) - select(tiny, _F(25.0), _F(0.0))
    f = _float(_I(_I(i & _I(0x007FFFFF)) + _I(0x3F3504F3))) - _F(1.0)
    s = f / (_F(2.0) + f)
    t = s * s
    w = t * t
    odd = w * (_F(0.40000972152) + w * _F(0.24279078841))
    even = t * (_F(0.66666662693) + w * _F(0.28498786688))
    half = _F(0.5) * f * f
    y = s * (half + (even + odd)) + k * _F(9.0580006145e-06) - half + f + k * _F(6.9313812256e-01)
    y = select(x > _F(0.0), y, select(x == _F(0.0), _F(-np.inf), _F(np.nan)))
    return select(x < _F(np.inf), y, select(x > _F(0.0), x, _F(np.nan)))


@njit(**_INLINE)
def _log64(x):  # type: ignore[no-untyped-def]
    tiny = x < 2.2250738585072014e-308
    z = select(tiny, x * 18014398509481984.0, x)
    i = _bits(z) + (0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    # The exponent as a floating-point number, by way of the bits of 2^52 + exponent.
    k = _float(i >> 52 | 0x4330000000000000) - 4503599627371519.0 - select(tiny, 54.0, 0.0)
    f = _float((i & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD) - 1.0
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


@njit(**_INLINE)
def _log1p32(x):  # type: ignore[no-untyped-def]
    w = _F(1.0) + x
    y = _log32(w) + (x - (w - _F(1.0))) / w
    y = select(w == _F(1.0), x, y)
    return select((w > _F(0.0)) & (w < _F(np.inf)), y, _log32(w))


@njit(**_INLINE)
def _log1p64(x):  # type: ignore[no-untyped-def]
    w = 1.0 + x
    y = _log64(w) + (x - (w - 1.0)) / w
    y = select(w == 1.0, x, y)
    return select((w > 0.0) & (w < np.inf), y, _log64(w))


@njit(**_INLINE)
def _expm132(x):  # type: ignore[no-untyped-def]
    w = _exp32(x)
    less = w - _F(1.0)
    y = less * (x / _log32(w))
    y = select((x < _F(-17.0)) | (x > _F(17.0)), less, y)
    return select((w == _F(1.0)) | (x != x), x, y)


@njit(**_INLINE)
def _expm164(x):  # type: ignore[no-untyped-def]
    w = _exp64(x)
    less = w - 1.0
    y = less * (x / _log64(w))
    y = select((x < -38.0) | (x > 38.0), less, y)
    return select((w == 1.0) | (x != x), x, y)


@njit(**_INLINE)
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


@njit(**_INLINE)
def _tanh64(x):  # type: ignore[no-untyped-def]
    z = abs(x)
    t = x * x
    p = -9.64399179425052238628e-1
    p = (p * t + -9.92877231001918586564e1) * t + -1.61468768441708447952e3
    q = ((t + 1.12811678491632931402e2) * t + 2.23548839060100448583e3) * t + 4.84406305325125486048e3
    small = select(x == 0.0, x, x + x * t * p / q)
    large = 1.0 - 2.0 / (_exp64(z + z) + 1.0)
    return select(z < 0.625, small, select(x < 0.0, -large, large))


exp = {"float32": _exp32, "float64": _exp64}
log = {"float32": _log32, "float64": _log64}
log1p = {"float32": _log1p32, "float64": _log1p64}
expm1 = {"float32": _expm132, "float64": _expm164}
tanh = {"float32": _tanh32, "float64": _tanh64}
