"""Intrinsics of generated loops: pointers, instructions of LLVM, and functions of the BLAS."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from llvmlite.binding import llvm_version_info
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "arrive", "bits_of", "call_at", "float_of", "flush_subnormals", "gemm", "hidden", "in_memory", "largest",
    "moved", "number_at", "of_array", "pause", "restore_control", "select", "smallest", "sum2",
]  # fmt: skip


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


def _extreme(name: str, sign: str) -> Any:
    """Return the larger or smaller of two numbers, NaN if one of them is.

    From LLVM 18 on that is an instruction that loops become vector code with; before, x86 does not have it.
    """

    def made(context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if llvm_version_info < (18,):
                chosen = builder.fcmp_ordered(sign, *args)
                broken = builder.fcmp_unordered("uno", args[0], args[0])
                return builder.select(builder.or_(chosen, broken), *args)
            kind = args[0].type
            full = f"llvm.{name}.{'f32' if a == types.float32 else 'f64'}"
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 2), full)
            return builder.call(function, args)

        return a(a, a), generate

    return intrinsic(made)


largest = _extreme("maximum", ">")
smallest = _extreme("minimum", "<")


@intrinsic
def bits_of(context: Any, x: Any) -> Any:
    """Return the bits of a floating-point number as a whole number."""
    whole = types.int32 if x == types.float32 else types.int64
    return whole(x), lambda context, builder, signature, args: builder.bitcast(
        args[0], context.get_value_type(whole)
    )


@intrinsic
def float_of(context: Any, n: Any) -> Any:
    """Return the floating-point number of these bits."""
    real = types.float32 if n == types.int32 else types.float64
    return real(n), lambda context, builder, signature, args: builder.bitcast(
        args[0], context.get_value_type(real)
    )


@intrinsic
def hidden(context: Any, n: Any) -> Any:
    """Return the whole number ``n`` such that LLVM does not know it: loops up to it are not unrolled."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.IntType(64)
        return builder.asm(ir.FunctionType(kind, [kind]), "", "=r,0", [args[0]], False)

    return types.int64(types.int64), generate


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


# --- between threads ------------------------------------------------------------------------------------


def _word(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.IntType(64).as_pointer())


@intrinsic
def arrive(context: Any, address: Any) -> Any:
    """Add 1 to the number at an address; what this thread wrote before is then seen by the others."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", _word(builder, args[0]), ir.IntType(64)(1), "seq_cst")

    return types.int64(types.int64), generate


@intrinsic
def number_at(context: Any, address: Any) -> Any:
    """Return the number at an address, as another thread left it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_word(builder, args[0]), "seq_cst", 8)

    return types.int64(types.int64), generate


@intrinsic
def call_at(context: Any, address: Any) -> Any:
    """Call the C function without arguments at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def pause(context: Any) -> Any:
    """Tell the processor that this thread waits in a loop."""
    machine, whole = platform.machine().lower(), ir.IntType(32)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        known: dict[str, tuple[str, list[Any]]] = {
            "x86_64": ("llvm.x86.sse2.pause", []),
            "amd64": ("llvm.x86.sse2.pause", []),
            "aarch64": ("llvm.aarch64.hint", [whole(1)]),
            "arm64": ("llvm.aarch64.hint", [whole(1)]),
        }
        if machine in known:
            name, given = known[machine]
            kind = ir.FunctionType(ir.VoidType(), [x.type for x in given])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)
        return context.get_dummy_value()

    return types.void(), generate


_X86 = platform.machine().lower() in ("x86_64", "amd64")
_FLUSH = 0x8040  # of MXCSR: results that are subnormal numbers are 0, and so are such operands


def _control(context: Any, builder: Any, name: str, place: Any) -> None:
    pointer = builder.bitcast(place, cgutils.voidptr_t)
    kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{name}"), [pointer])


@intrinsic
def flush_subnormals(context: Any) -> Any:
    """Let this thread take subnormal numbers for 0 from here on; return its control word of before.

    Processors of x86 compute with them a hundred times slower. Others do not, and are left as they are.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(32), 0))
        if not _X86:
            return builder.load(place)
        _control(context, builder, "stmxcsr", place)
        before = builder.load(place)
        builder.store(builder.or_(before, ir.Constant(before.type, _FLUSH)), place)
        _control(context, builder, "ldmxcsr", place)
        return before

    return types.int32(), generate


@intrinsic
def restore_control(context: Any, before: Any) -> Any:
    """Give this thread its control word back."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _X86:
            _control(context, builder, "ldmxcsr", cgutils.alloca_once_value(builder, args[0]))
        return context.get_dummy_value()

    return types.void(before), generate
