"""Kernels that move entries: copies, and gathers of rows by number."""

from __future__ import annotations

import dataclasses
from typing import Any

from xpnet.program.lowerings.cupy.buffers import DeviceBuffers
from xpnet.program.lowerings.cupy.elements import TYPES
from xpnet.program.lowerings.cupy.kernels import Arguments, Kernel, Walk, blocks_for, indented
from xpnet.program.passes.aliasing import View, c_order
from xpnet.program.program import Operation, Ref, Value

__all__ = ["copies_of", "copy_kernel", "gather_kernel", "is_joining"]

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
