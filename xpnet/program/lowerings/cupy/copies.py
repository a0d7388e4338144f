"""Kernels that move entries: copies, gathers by number, tables of vectors; and sums over middle axes."""

from __future__ import annotations

import dataclasses
from typing import Any

from xpnet.program.lowerings.cupy.buffers import DeviceBuffers
from xpnet.program.lowerings.cupy.elements import TYPES
from xpnet.program.lowerings.cupy.kernels import Arguments, Kernel, Walk, blocks_for, indented
from xpnet.program.lowerings.views import part_of
from xpnet.program.passes.aliasing import View, c_order
from xpnet.program.program import Operation, Ref, Value

__all__ = [
    "copies_of", "copy_kernel", "gather_kernel", "is_joining", "place_kernels", "sum_kernel", "table_kernel",
]  # fmt: skip

_THREADS = 256


def copy_kernel(target: View, source: View) -> Kernel:
    """Return the kernel that copies entries between arrays of one shape and dtype that do not overlap."""
    arguments = Arguments()
    walk = Walk(target.shape, [target.strides, source.strides])
    written = walk.entry(arguments.name(target), target.strides)
    read = walk.entry(arguments.name(source), source.strides)
    return _by_entry(arguments, walk, [f"{written} = {read};"])


def _by_entry(arguments: Arguments, walk: Walk, body: list[str]) -> Kernel:
    blocks = blocks_for(walk.entries, _THREADS)
    lines = [
        f"for (index i = blockIdx.x * {_THREADS} + threadIdx.x; i < {walk.entries}; "
        f"i += {blocks * _THREADS}) {{",
        *indented([*walk.indices("i", 0, len(walk.runs)), *body]),
        "}",
    ]
    return arguments.kernel(lines, blocks, _THREADS, walk.entries)


def gather_kernel(operation: Operation, buffers: DeviceBuffers) -> Kernel:
    """Return the kernel of a ``take``: numbers below zero count from the end, and all wrap around."""
    x, rows = (buffers(v) for v in operation.operands)
    out = buffers(Ref(operation.results[0]))
    axis = (operation.options.get("axis") or 0) % len(x.shape)
    arguments = Arguments()
    fixed = tuple(0 if k == axis else s for k, s in enumerate(x.strides))
    along = tuple(rows.strides[0] if k == axis else 0 for k in range(len(x.shape)))
    walk = Walk(out.shape, [out.strides, fixed, along])
    size = x.shape[axis]
    body = [
        f"long long row = {walk.entry(arguments.name(rows), along)};",
        f"if (row < 0 || row >= {size}) row = (row % {size} + {size}) % {size};",
        f"{walk.entry(arguments.name(out), out.strides)} = "
        f"{walk.entry(arguments.name(x), fixed, f'row * {x.strides[axis]}')};",
    ]
    return _by_entry(arguments, walk, body)


def table_kernel(operation: Operation, buffers: DeviceBuffers) -> Kernel:
    """Return the kernel of a table of vectors, or of its transpose."""
    x, codes = (buffers(v) for v in operation.operands[:2])
    out, arguments = buffers(Ref(operation.results[0])), Arguments()
    if operation.name == "embedding":
        rows, here = x.shape[0], (*codes.strides, 0)
        row = (0,) * len(codes.shape) + x.strides[1:]
        walk = Walk(out.shape, [out.strides, here, row])
        entry = walk.entry(arguments.name(x), row, f"(long long)code * {x.strides[0]}")
        body = [
            f"const {TYPES[codes.dtype]} code = {walk.entry(arguments.name(codes), here)};",
            f"{walk.entry(arguments.name(out), out.strides)} = code >= 0 && code < {rows} ? {entry} : 0;",
        ]
        return _by_entry(arguments, walk, body)
    # A thread for each entry of the table goes through all codes, so that the sum has an order.
    walk = Walk(out.shape, [out.strides, (1, 0), (0, x.strides[-1])])
    terms = [f"c{k} * {s}" for k, s in enumerate(codes.strides)]
    vectors = [f"c{k} * {s}" for k, s in enumerate(x.strides[:-1])]
    code = f"{arguments.name(codes)}[{' + '.join(terms) or '0'}]"
    vector = walk.entry(arguments.name(x), (0, x.strides[-1]), " + ".join(vectors))
    body = [
        f"const long long row = {' + '.join(walk.terms((1, 0))) or '0'};",
        f"{TYPES[out.dtype]} sum = 0;",
        *_loops(codes.shape, [f"if ({code} >= row && {code} < row + 1) sum += {vector};"]),
        f"{walk.entry(arguments.name(out), out.strides)} = sum;",
    ]
    return _by_entry(arguments, walk, body)


def sum_kernel(operation: Operation, buffers: DeviceBuffers, axis: int) -> Kernel:
    """Return the kernel of a sum over an axis with others before and behind it."""
    x, out, arguments = buffers(operation.operands[0]), buffers(Ref(operation.results[0])), Arguments()
    if len(out.shape) < len(x.shape):
        out = out.with_axis(axis)
    there = tuple(0 if k == axis else s for k, s in enumerate(x.strides))
    walk = Walk(out.shape, [out.strides, there])
    term = walk.entry(arguments.name(x), there, f"c0 * {x.strides[axis]}")
    body = [
        f"{TYPES[out.dtype]} sum = 0;",
        *_loops((x.shape[axis],), [f"sum += {term};"]),
        f"{walk.entry(arguments.name(out), out.strides)} = sum;",
    ]
    return _by_entry(arguments, walk, body)


def place_kernels(
    operation: Operation, buffers: DeviceBuffers, places: tuple[tuple[int, int, int], ...]
) -> list[Kernel]:
    """Return the kernels that put an array among zeros."""
    whole, given, arguments = buffers(Ref(operation.results[0])), buffers(operation.operands[0]), Arguments()
    walk = Walk(whole.shape, [whole.strides])
    zeros = _by_entry(arguments, walk, [f"{walk.entry(arguments.name(whole), whole.strides)} = 0;"])
    return [zeros, copy_kernel(part_of(whole, places, given), given)]


def _loops(shape: tuple[int, ...], lines: list[str]) -> list[str]:
    """Return loops over the axes of a shape, by c0, c1 and so on."""
    for k in reversed(range(len(shape))):
        lines = [f"for (index c{k} = 0; c{k} < {shape[k]}; ++c{k}) {{", *indented(lines), "}"]
    return lines


def is_joining(operation: Operation, values: dict[int, Value]) -> bool:
    """True for a ``concat``, ``stack`` or copying ``reshape`` that consists of copies."""
    name, options = operation.name, operation.options
    made = values[operation.results[0]]
    if made.dtype not in TYPES or options.keys() - {"axis"}:
        return False
    if name == "reshape":
        return type(operation.operands[0]) is Ref
    axis = options.get("axis", 0)
    return (
        name in ("concat", "stack") and type(axis) is int
        and all(_dtype(x, values) == made.dtype for x in _parts(operation))
    )  # fmt: skip


def _parts(operation: Operation) -> list[Any]:
    first = operation.operands[0] if operation.operands else None
    return list(first) if isinstance(first, (list, tuple)) else list(operation.operands)


def _dtype(x: Any, values: dict[int, Value]) -> str:
    return values[x.number].dtype if type(x) is Ref else getattr(getattr(x, "dtype", None), "name", "")


def copies_of(operation: Operation, buffers: DeviceBuffers) -> list[Kernel]:
    """Return the copies that an operation consists of, without those whose parts are in place already."""
    whole = buffers(Ref(operation.results[0]))
    if operation.name == "reshape":
        source = buffers(operation.operands[0])
        target = View(whole.root, whole.offset, whole.dtype, source.shape, c_order(source.shape))
        pairs = [(target, source)]
    else:
        axis, start, pairs = operation.options.get("axis", 0) % len(whole.shape), 0, []
        for x in _parts(operation):
            source = buffers(x)
            if operation.name == "stack":
                shape, strides = list(source.shape), list(source.strides)
                shape.insert(axis, 1)
                strides.insert(axis, 0)
                source = dataclasses.replace(source, shape=tuple(shape), strides=tuple(strides))
            size = source.shape[axis]
            pairs.append((whole.part(axis, start, size), source))
            start += size
    return [copy_kernel(a, b) for a, b in pairs if not a.is_at(b) and 0 not in b.shape]
