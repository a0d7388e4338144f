"""Lowerings: their protocol, and the table of all of them."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NoReturn, Protocol

from xpnet.backends import probe
from xpnet.errors import ConfigError, RecordError, suggest
from xpnet.program.program import Program, Value

__all__ = [
    "LOWERINGS", "LoweredLoop", "LoweredProgram", "Lowering", "check_arrays", "choose", "names", "refuse",
]  # fmt: skip


class LoweredProgram(Protocol):
    """A program that can be run, again and again; not by several threads at once."""

    def __call__(self, inputs: Sequence[Any], /) -> list[Any]:
        """Return the outputs, for arrays like those that were recorded."""


class LoweredLoop(Protocol):
    """A program that is run for many steps by one call; not by several threads at once.

    It may have ``calls``: names of functions that keep its steps from being one graph on CUDA.
    """

    def __call__(
        self, carry: Sequence[Any], constants: Sequence[Any], sequences: Sequence[Any], donate: bool, /
    ) -> tuple[list[Any], list[Any]]:
        """Return the state after all steps, and the results of the steps, stacked.

        The state is in arrays of its own, or with ``donate`` perhaps in those of ``carry``, overwritten.
        """


def _no_loop(program: Program, carry: int, constants: int) -> None:
    return None


@dataclass(frozen=True)
class Lowering:
    """A way to run programs: a row of the table.

    Attributes:
        name: for ``xpnet.compile(lower=...)`` and the setting ``compile``.
        library: whose arrays it takes; empty: any.
        lower: ``(program, donated)`` to what runs it. The program is simplified; ``donated`` says for some
            outputs (by position) which input's memory (by position) they take over.
        lower_loop: ``(program, carry, constants)`` to a loop over steps, or to None, for a loop in Python
            around what ``lower`` returns. The program, of one step, is simplified. Its first ``carry`` inputs
            are the state and its first ``carry`` outputs the state after the step; the next ``constants``
            inputs are the same in all steps, and the others are one row each of arrays with the steps along
            their first axis.
        package: that has to be installed beside the library, if any.
        automatic: it is what ``"auto"`` means for arrays of its library: ready at once.
        overwrites: donated arrays may be overwritten, and results by the next call.
    """

    name: str
    library: str
    lower: Callable[[Program, dict[int, int]], LoweredProgram]
    lower_loop: Callable[[Program, int, int], LoweredLoop | None] = _no_loop
    package: str = ""
    automatic: bool = False
    overwrites: bool = True

    def reason(self) -> str:
        """Return why it cannot work on this machine; empty if it can."""
        if self.package and find_spec(self.package) is None:
            return f"{self.package!r} is not installed; pip install {self.package}"
        return probe(self.library).reason if self.library else ""


def _of_package(name: str, library: str = "", **known: Any) -> Lowering:
    """Return the row of a module or package beside this file, which is loaded when it is first used."""

    def called(function: str, *args: Any) -> Any:
        return getattr(importlib.import_module(f"xpnet.program.lowerings.{name}"), function)(*args)

    lower, lower_loop = (functools.partial(called, function) for function in ("lower", "lower_loop"))
    return Lowering(name, library, lower, lower_loop, **known)


LOWERINGS: dict[str, Lowering] = {
    row.name: row
    for row in (
        _of_package("generic", overwrites=False),
        _of_package("numpy", "numpy", automatic=True),
        _of_package("numba", "numpy", package="numba"),
        _of_package("cupy", "cupy", automatic=True),
    )
}
"""By name. A new lowering is one more row."""


def names() -> tuple[str, ...]:
    """Return the values of ``lower=``."""
    return ("auto", "off", *LOWERINGS)


def choose(lower: str, xp: Any) -> str:
    """Return the name of the lowering for arrays of ``xp``.

    ``"auto"`` is the fastest one that is ready at once. Numba's takes about a second to compile, so it is
    for those who ask for it, and for long training, which the trainer knows of.

    Raises:
        ConfigError: an unknown name, a lowering for other arrays, or one that cannot work here.
    """
    if lower not in names():
        raise ConfigError(
            f"compile: expected one of {', '.join(names())}, found {lower!r}{suggest(lower, names())}"
        )
    library = xp.__name__.removeprefix("array_api_compat.").partition(".")[0]
    if lower == "auto":
        able = (row.name for row in LOWERINGS.values() if row.automatic and row.library == library)
        return next(able, "generic")
    row = LOWERINGS.get(lower)
    if row is not None and row.library not in ("", library):
        raise ConfigError(
            f"compile: expected arrays of {row.library} for {lower!r}, found {xp.__name__}; choose 'auto'"
        )
    reason = row.reason() if row is not None else ""
    if reason:
        raise ConfigError(f"compile: {reason}, or choose 'auto'")
    return lower


def check_arrays(
    arrays: Iterable[Any], values: Sequence[Value], rows: Sequence[tuple[int, ...]] = ()
) -> None:
    """Refuse other arrays than the program's: generated code would not notice.

    Args:
        arrays: that are given.
        values: what they should be.
        rows: for each of them what its shape has before that of the value; empty: nothing.
    """
    found = [(tuple(x.shape), x.dtype) for x in arrays]
    first = rows or [()] * len(values)
    expected = [((*row, *v.shape), v.dtype_object) for row, v in zip(first, values, strict=True)]
    if found != expected:
        refuse(found, expected)


def refuse(found: Any, expected: Any) -> NoReturn:
    """Raise the error for arrays that do not fit the program."""
    raise RecordError(
        f"compiled program: expected arrays of shapes and dtypes {expected}, found {found}; record the "
        "function anew for other arrays"
    )
