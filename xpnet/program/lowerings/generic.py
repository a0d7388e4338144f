"""The lowering for any backend: the recorded functions, one after another; on JAX as one jitted function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xpnet.program.program import Program, Ref, read

__all__ = ["lower", "lower_loop"]


def lower(program: Program, donated: dict[int, int] | None = None) -> Callable[[Sequence[Any]], list[Any]]:
    """Return a function from the program's inputs to its outputs; values are let go after their last use.

    Nothing is overwritten, donated or not.
    """
    last: dict[int, int] = {}
    for i, operation in enumerate(program.operations):
        for n in operation.reads():
            last[n] = i
    kept = {x.number for x in program.outputs if type(x) is Ref}
    dying: list[list[int]] = [[] for _ in program.operations]
    for n, i in last.items():
        if n not in kept:
            dying[i].append(n)
    steps = list(zip(program.operations, dying, strict=True))

    def run(inputs: Sequence[Any]) -> list[Any]:
        values = dict(zip(program.inputs, inputs, strict=True))
        for operation, done in steps:
            out = operation.function(*read(operation.operands, values), **operation.options)
            parts = out if operation.many else (out,)
            values.update(zip(operation.results, parts, strict=True))
            for n in done:
                values.pop(n, None)
        return [values[x.number] if type(x) is Ref else x for x in program.outputs]

    if _is_jax(program):
        import jax

        return jax.jit(run)
    return run


def _is_jax(program: Program) -> bool:
    return program.xp.__name__ == "jax.numpy"


def lower_loop(
    program: Program, carry: int, constants: int
) -> Callable[..., tuple[list[Any], list[Any]]] | None:
    """Return a program of JAX as a loop compiled as a whole (``jax.lax.scan``), None for other programs."""
    if not _is_jax(program):
        return None
    import jax

    run = lower(program)

    def steps(carried: Any, constants: Any, sequences: Any) -> tuple[list[Any], list[Any]]:
        def step(now: Any, row: Any) -> tuple[list[Any], list[Any]]:
            outputs = run([*now, *constants, *row])
            return outputs[:carry], outputs[carry:]

        return jax.lax.scan(step, list(carried), list(sequences))

    compiled = jax.jit(steps)
    return lambda carried, constants, sequences, donate: compiled(carried, constants, sequences)
