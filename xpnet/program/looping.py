"""``Loop``: the same step many times, as one lowered program, with its state in place."""

from __future__ import annotations

import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import array_api_compat

from xpnet.backends import array_namespace, is_out_of_memory, precision
from xpnet.backends.lacking import overwritable
from xpnet.errors import ConfigError
from xpnet.program.compiling import compiling_time
from xpnet.program.lowerings.base import LOWERINGS, LoweredLoop, choose
from xpnet.program.passes.simplify import simplify
from xpnet.program.program import Program
from xpnet.program.recording import record_call

__all__ = ["Loop", "lowered_loop"]

_log = logging.getLogger("xpnet")
_CACHE = 8


class Loop:
    """A step that is repeated: ``step(carry, constants, row) -> (carry, results)``, all lists of arrays.

    ``carry`` is handed from step to step, ``constants`` are the same for all, ``row`` has one entry of each
    of the *sequences*, arrays with the steps along their first axis. (``jax.lax.scan`` is of this form.)

    Args:
        step: array code for the standard.
        lower: as for :func:`xpnet.compile`.

    Attributes:
        recordings: how often the step was recorded: once for each kind of arguments.
        reason: why it runs uncompiled; empty if it does not.
        uncaptured: names of the functions that keep its steps on CUDA from being one graph.

    >>> import numpy as np
    >>> halve = Loop(lambda carry, constants, row: ([carry[0] * 0.5 + row[0]], [carry[0]]), "numpy")
    >>> carry, (seen,) = halve([np.asarray([8.0])], [], [np.asarray([0.0, 1.0])])
    >>> carry, seen.tolist()
    ([array([3.])], [[8.0], [4.0]])
    """

    def __init__(self, step: Callable[..., tuple[list[Any], list[Any]]], lower: str = "auto"):
        self._step, self._lower = step, lower
        self._runners: OrderedDict[Hashable, LoweredLoop] = OrderedDict()
        self.recordings = 0
        self.reason = ""
        self.uncaptured: tuple[str, ...] = ()

    def __call__(
        self,
        carry: Sequence[Any],
        constants: Sequence[Any],
        sequences: Sequence[Any],
        *,
        donate: bool = False,
        apart: bool = False,
    ) -> tuple[list[Any], list[Any]]:
        """Return the state after all steps and the results of each step, stacked.

        The state is in arrays of its own, or with ``donate`` perhaps in those of ``carry``, overwritten.
        ``apart``: no two arrays share memory, as with a ``carry`` that a loop has returned.
        """
        if self._lower == "off" or self.reason:
            return self._uncompiled(carry, constants, sequences)
        groups = (carry, constants, [x[0, ...] for x in sequences])
        device = str(array_api_compat.device(groups[0][0]))  # state and constants of a program lie there
        key = (
            precision.current(),
            device,
            *(tuple((tuple(x.shape), x.dtype) for x in group) for group in groups),
        )
        runner = self._runners.get(key)
        if runner is None:
            try:
                with compiling_time("a step"):
                    runner = self._runners[key] = self._lowered(*groups)
                self.uncaptured = tuple(sorted({*self.uncaptured, *getattr(runner, "calls", ())}))
                _say_uncaptured(self.uncaptured)
            except ConfigError:
                raise
            except Exception as error:  # code that is no array code of the standard can fail in any way
                if is_out_of_memory(error):
                    raise
                self.reason = str(error) or type(error).__name__
                done = self._uncompiled(carry, constants, sequences)  # raises what is not compiling's fault
                _log.warning("steps run uncompiled: %s", self.reason)
                return done
            if len(self._runners) > _CACHE:
                self._runners.popitem(last=False)
        if donate and not apart:
            given = [*carry, *constants, *sequences]
            carry = overwritable(given, range(len(carry)))[: len(carry)]
        return runner(carry, constants, sequences, donate)

    def _uncompiled(self, carry: Any, constants: Any, sequences: Any) -> tuple[list[Any], list[Any]]:
        seen = []
        for i in range(sequences[0].shape[0]):
            carry, results = self._step(list(carry), list(constants), [x[i, ...] for x in sequences])
            seen.append(results)
        return list(carry), _stacked(seen)

    def _lowered(self, carry: Any, constants: Any, row: Any) -> LoweredLoop:
        lower = choose(self._lower, array_namespace(*carry))
        recorded = record_call(self._step, (list(carry), list(constants), list(row)), {})
        self.recordings += 1
        return lowered_loop(recorded.program, lower, len(carry), len(constants))


@functools.cache
def _say_uncaptured(names: tuple[str, ...]) -> None:
    """Warn of the functions that keep steps from being one CUDA graph, once for all loops with them."""
    if names:
        _log.warning(
            "steps run kernel by kernel, not as one CUDA graph, for these functions are calls of CuPy: %s; "
            "elementwise functions, sums, gathers and products of matrices are not, so write them as such "
            "where you can, or take more time for each step",
            ", ".join(names),
        )


def lowered_loop(program: Program, lower: str, carried: int, constants: int) -> LoweredLoop:
    """Return the program of a step, which need not be simplified, as a loop over steps.

    Args:
        program: its inputs are the state, the constants and the rows, its outputs the state and the results.
        lower: name of a lowering.
        carried: number of arrays of the state.
        constants: number of constant arrays.
    """
    program = simplify(program)
    return LOWERINGS[lower].lower_loop(program, carried, constants) or _python_loop(program, lower, carried)


def _python_loop(program: Program, lower: str, carried: int) -> LoweredLoop:
    """Return a loop in Python around a lowered step."""
    row = LOWERINGS[lower]
    run, overwrites = row.lower(program, {i: i for i in range(carried)}), row.overwrites

    def loop(carry: Any, constants: Any, sequences: Any, donate: bool) -> tuple[list[Any], list[Any]]:
        xp, now, seen = array_namespace(*carry), list(carry), []
        if overwrites and not donate:
            now = [xp.asarray(x, copy=True) for x in carry]
        for i in range(sequences[0].shape[0]):
            outputs = run([*now, *constants, *(x[i, ...] for x in sequences)])
            now, results = outputs[:carried], outputs[carried:]
            # What is also part of the state is overwritten by the next step.
            seen.append([xp.asarray(x, copy=True) for x in results] if overwrites else results)
        return now, _stacked(seen)

    return loop


def _stacked(seen: list[list[Any]]) -> list[Any]:
    xp = array_namespace(*seen[0]) if seen[0] else None
    return [xp.stack(list(column)) for column in zip(*seen, strict=True)] if xp else []
