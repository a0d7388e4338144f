"""Passes that make a program shorter: the same outputs, bit for bit, from fewer operations."""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any

from xpnet.program.program import Operation, Program, Ref

__all__ = ["constant_key", "drop_dead", "fold_constants", "merge_equal", "separate", "simplify"]


def simplify(program: Program) -> Program:
    """Apply the passes of this file."""
    return drop_dead(merge_equal(fold_constants(separate(program))))


def separate(program: Program) -> Program:
    """Split ``unstack`` and ``broadcast_arrays`` into one operation for each result, which is a view."""
    kept: list[Operation] = []
    for operation in program.operations:
        if operation.name in ("unstack", "broadcast_arrays"):
            kept += [_one(operation, i, program) for i in range(len(operation.results))]
        else:
            kept.append(operation)
    return dataclasses.replace(program, operations=tuple(kept))


def _one(operation: Operation, i: int, program: Program) -> Operation:
    """Return what makes result ``i`` alone."""
    made = operation.results[i : i + 1]
    if operation.name == "broadcast_arrays":
        shape = program.values[made[0]].shape
        operands, function = (operation.operands[i], shape), program.xp.broadcast_to
        return Operation("broadcast_to", operands, {}, made, function, scope=operation.scope)
    x, *axis = operation.operands
    axis = operation.options.get("axis", axis[0] if axis else 0)
    rank = len(program.values[made[0]].shape) + 1
    index = (*(slice(None),) * (axis % rank), i, Ellipsis)
    return Operation("getitem", (x, index), {}, made, operator.getitem, scope=operation.scope)


def drop_dead(program: Program) -> Program:
    """Drop operations whose results nothing needs."""
    needed = {x.number for x in program.outputs if type(x) is Ref}
    kept = []
    for operation in reversed(program.operations):
        if needed.intersection(operation.results):
            kept.append(operation)
            needed.update(operation.reads())
    return dataclasses.replace(program, operations=tuple(reversed(kept)))


def merge_equal(program: Program) -> Program:
    """Compute common subexpressions once."""
    seen: dict[Any, tuple[int, ...]] = {}
    same: dict[int, Any] = {}
    kept = []
    for operation in program.operations:
        operation = _renamed(operation, same)
        power = operation.function is operator.pow  # NumPy rounds some powers otherwise than its function
        options = sorted(operation.options.items())
        key = (operation.name, power, constant_key(operation.operands), constant_key(options))
        known = seen.get(key)
        if known is None:
            seen[key] = operation.results
            kept.append(operation)
        else:
            same.update({n: Ref(k) for n, k in zip(operation.results, known, strict=True)})
    return _with(program, kept, same)


def fold_constants(program: Program) -> Program:
    """Compute operations on constants now, and drop operations that change nothing, such as x · 1."""
    constants: dict[int, Any] = {}
    kept = []
    for operation in program.operations:
        operation = _renamed(operation, constants)
        same = _unchanged(operation, program)
        if same is not None:
            constants[operation.results[0]] = same
        elif any(True for _ in operation.reads()):
            kept.append(operation)
        else:
            out = operation.function(*operation.operands, **operation.options)
            parts = out if operation.many else (out,)
            constants.update(zip(operation.results, parts, strict=True))
    return _with(program, kept, constants)


def _unchanged(operation: Operation, program: Program) -> Ref | None:
    """Return the operand that an operation hands on as it is, bit for bit; None if it does something."""
    x = operation.operands[0]
    if type(x) is not Ref:
        return None
    before, after = program.values[x.number], program.values[operation.results[0]]
    if before != after or (x.number in program.inputs and _is_output(operation.results[0], program)):
        return None  # nor is an argument returned in place of a new array
    if operation.name in ("positive", "astype", "reshape", "broadcast_to", "to_device", "real"):
        return x
    if operation.name == "conj":
        return None if before.dtype.startswith("complex") else x
    if operation.name in ("ceil", "floor", "round", "trunc"):
        return x if before.dtype.startswith(("int", "uint")) else None
    if operation.name in ("multiply", "divide", "pow") and not before.dtype.startswith("complex"):
        other = operation.operands[1]  # complex numbers get other zeros and NaN by a product with 1 + 0j
        return x if type(other) in (int, float) and other == 1 else None
    return None


def _is_output(n: int, program: Program) -> bool:
    return any(type(x) is Ref and x.number == n for x in program.outputs)


def _renamed(operation: Operation, names: dict[int, Any]) -> Operation:
    """Return the operation with operands replaced by what ``names`` says of their numbers."""
    if not any(n in names for n in operation.reads()):
        return operation
    return dataclasses.replace(operation, operands=_replaced(operation.operands, names))


def _replaced(tree: Any, names: dict[int, Any]) -> Any:
    if type(tree) is Ref:
        return names.get(tree.number, tree)
    if type(tree) in (list, tuple):
        return type(tree)(_replaced(item, names) for item in tree)
    return tree


def _with(program: Program, operations: list[Operation], names: dict[int, Any]) -> Program:
    outputs = tuple(_replaced(x, names) for x in program.outputs)
    return dataclasses.replace(program, operations=tuple(operations), outputs=outputs)


def constant_key(x: Any) -> Any:
    """Return something hashable that is equal for equal constants only, bit for bit."""
    if isinstance(x, (list, tuple)):
        return type(x).__name__, tuple(map(constant_key, x))
    if isinstance(x, slice):
        return "slice", constant_key((x.start, x.stop, x.step))
    if hasattr(x, "shape"):
        return "array", id(x)
    if isinstance(x, complex):
        return type(x).__name__, constant_key((x.real, x.imag))
    if isinstance(x, float):  # 0.0 and -0.0 are equal, and NaN is not
        return type(x).__name__, x.hex() if not math.isnan(x) else "nan"
    try:
        hash(x)
    except TypeError:
        return "object", id(x)
    return type(x).__name__, x
