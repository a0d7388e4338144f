"""Recording: a function runs once on real arrays, and its operations become a program."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.autodiff.namespaces import namespace
from xpnet.autodiff.rules import Rule
from xpnet.autodiff.scopes import current_scope
from xpnet.autodiff.trace import Trace
from xpnet.autodiff.tracer import Tracer, like, lowered, plain_namespace
from xpnet.backends import dtype_name, is_array
from xpnet.backends.lacking import copy, is_writeable
from xpnet.containers import leaves, map_leaves, rebuild
from xpnet.errors import RecordError
from xpnet.program.program import Operation, Program, Ref, Value

__all__ = ["RecordTrace", "Recorded", "record", "record_call"]

_PACKAGE = str(Path(__file__).parents[1])
# Their results depend on shapes and dtypes alone, which a program has fixed.
_BY_SHAPE = frozenset(
    {"ones_like", "zeros_like", "empty_like", "full_like", "result_type", "can_cast", "finfo"}
)
_SHAPED_BY_VALUES = frozenset({"nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"})


class RecordTrace(Trace):
    """Records each operation on its arrays, in the order of their execution.

    Compound functions are written as what they are made of, so that lowerings know the functions of the
    standard and the few that it lacks. Transforms inside have higher levels: what they do arrives here.
    """

    __slots__ = ("_inside", "operations", "scopes", "values", "xp")

    records = all_dtypes = True

    def __init__(self, xp: Any):
        super().__init__(namespace(xp, lift=True), namespace(xp))
        self.xp = xp
        self.operations: list[Operation] = []
        self.values: dict[int, Value] = {}
        self.scopes: dict[int, str] = {}  # of values, by number
        self._inside: list[Rule] = []

    def input(self, value: Any) -> Tracer:
        """Return a traced array for an argument."""
        return self._made(lowered(value))

    def record(self, rule: Rule, function: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Any:
        self.check_open(rule)
        _check_shape(rule.name, args)
        if rule.name == "stop_gradient":
            return args[0]
        if rule.name == "full_like" and type(args[1]) is Tracer:
            return rule.body(self.rule_space, *args, **options)  # type: ignore[misc]
        if rule.name in _BY_SHAPE:
            values = [x.value if type(x) is Tracer else x for x in args]
            return self.space.wrap(function(*values, **options))
        if rule.body is not None and not rule.composed and rule not in self._inside:
            self._inside.append(rule)
            try:
                return rule.body(self.rule_space, *args, **options)
            finally:
                self._inside.pop()
        values = [self._value(x) for x in args]
        operands = tuple(self._operand(x) for x in args)
        out = function(*values, **options)
        many = isinstance(out, (list, tuple))
        if not many and not is_array(out):
            return out
        traced = [self._made(item) for item in (out if many else (out,))]
        results = tuple(x.slot for x in traced)
        applied = getattr(function, "applied", function)
        scope = self._scope()
        if scope:
            self.scopes.update(dict.fromkeys(results, scope))
        made = Operation(rule.name, operands, options, results, applied, many, scope=scope)
        self.operations.append(made)
        return like(out, traced) if many else traced[0]

    def _scope(self) -> str:
        """Return the scope of an operation: a layer, a loss, an update, or else a compound function."""
        return current_scope() or (f"{self._inside[0].name}_forward" if self._inside else "")

    def check_number(self) -> None:
        raise RecordError(
            f"a recorded array cannot decide Python's control flow or become a number{_place()}: the program "
            "would keep the decision of its first run; use xp.where, or leave that part uncompiled"
        )

    def check_own(self, x: Any) -> None:
        """Refuse an array of a transform around the recording, which the program would keep as a constant."""
        if type(x) is Tracer and x.trace is not self and x.trace.level:
            raise RecordError(
                f"a program cannot keep a traced array from outside{_place()}, whose derivative is lost; "
                "pass it as an argument, or leave that part uncompiled"
            )

    def _made(self, value: Any) -> Tracer:
        number = len(self.values)
        self.values[number] = Value.of(value)
        return Tracer(value, self, number)

    def _value(self, x: Any) -> Any:
        if type(x) is Tracer:
            return x.value
        return type(x)(map(self._value, x)) if type(x) in (list, tuple) else x

    def _operand(self, x: Any) -> Any:
        if type(x) is Tracer:
            self.check_own(x)
            return Ref(x.slot) if x.trace is self else x.value
        return type(x)(map(self._operand, x)) if type(x) in (list, tuple) else x


def _check_shape(name: str, args: tuple[Any, ...]) -> None:
    """Refuse functions whose result has a shape that depends on values."""
    counted = name in _SHAPED_BY_VALUES or (name == "repeat" and type(args[1]) is Tracer)
    if counted or (name == "getitem" and any(_is_mask(x) for x in leaves(args[1]))):
        what = "an index by a recorded mask" if name == "getitem" else name
        raise RecordError(
            f"{what} has a result whose shape depends on values{_place()}, and a program has fixed "
            "shapes; use xp.where or sums of products with the mask, or leave that part uncompiled"
        )


def _is_mask(x: Any) -> bool:
    return type(x) is Tracer and dtype_name(x) == "bool"


def _place() -> str:
    """Return " (file.py:12)" for the innermost line that is not xpnet's own."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return "" if frame is None else f" ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"


class Recorded:
    """A program with the structure of its function's arguments and result."""

    def __init__(self, program: Program, result: Any):
        self.program, self._result = program, result
        constants = (x for x in program.outputs if is_array(x))
        self._constants = {id(x) for x in constants}

    def result(self, outputs: list[Any]) -> Any:
        """Return the result's container around ``outputs``; constants stay the program's, and are copied."""
        if self._constants:
            outputs = [copy(x) if id(x) in self._constants else x for x in outputs]
        return rebuild(self._result, outputs)


def record_call(
    f: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any], *, freeze: bool = True
) -> Recorded:
    """Run ``f`` once and return its program.

    Args:
        f: what is recorded.
        args, options: its arguments.
        freeze: whether the program gets copies of arrays that ``f`` has from elsewhere, so that later changes
            of them are seen by no lowering. Without, they must not change.
    """
    given = [x for x in leaves([args, options]) if is_array(lowered(x))]
    if not given:
        raise RecordError("record: expected an array among the arguments, found none")
    trace = RecordTrace(plain_namespace(*given))
    traced = [trace.input(x) for x in given]
    inputs, left = tuple(range(len(traced))), iter(traced)
    traced_args, traced_options = map_leaves(
        lambda x: next(left) if is_array(lowered(x)) else x, (args, options)
    )
    result = f(*traced_args, **traced_options)
    trace.open = False
    for number, (x, before) in enumerate(zip(traced, given, strict=True)):
        _check_unchanged(number, x, lowered(before))
    parts = leaves(result)
    for x in parts:
        trace.check_own(x)
    outputs = tuple(Ref(x.slot) if type(x) is Tracer and x.trace is trace else lowered(x) for x in parts)
    operations = trace.operations
    if freeze:
        kept: dict[int, tuple[Any, Any]] = {}
        operations = [dataclasses.replace(x, operands=_frozen(x.operands, kept)) for x in operations]
        outputs = _frozen(outputs, kept)
    program = Program(inputs, tuple(operations), outputs, trace.values, trace.xp)
    for x in parts:
        if type(x) is Tracer and x.trace is trace:
            x.value = None  # the containers are kept, not what was in them
    return Recorded(program, result)


def _check_unchanged(number: int, x: Tracer, before: Any) -> None:
    """Refuse a function that changes array ``number`` of its arguments, which a program would not."""
    if x.slot != number and is_writeable(before) and not isinstance(before, np.generic):
        raise RecordError(
            f"array {number + 1} of the arguments is changed in place, and a program returns new arrays; "
            "write x = x + 1 for x += 1, or begin with a copy"
        )


def _frozen(tree: Any, kept: dict[int, tuple[Any, Any]]) -> Any:
    """Return operands with a copy of each array; ``kept`` has by ``id`` what was copied, and the copy."""
    if type(tree) in (list, tuple):
        return type(tree)(_frozen(x, kept) for x in tree)
    if type(tree) is Ref or isinstance(tree, np.generic) or not is_array(tree):
        return tree
    if id(tree) not in kept:
        kept[id(tree)] = tree, copy(tree)
    return kept[id(tree)][1]


def record(f: Callable[..., Any]) -> Callable[..., Program]:
    """Return a function that runs ``f`` once on real arrays and returns its :class:`Program`.

    Arrays among the arguments (also inside containers) become the program's inputs; Python numbers and
    everything else are fixed. Python's ``if`` may depend on shapes, not on values.

    Raises:
        RecordError: no array among the arguments, or control flow depends on a value; the message names
            the line.

    >>> import numpy as np
    >>> from xpnet.backends import array_namespace
    >>> print(record(lambda x: array_namespace(x).exp(x) * 2.0)(np.ones(3)))
    %0 float64[3] = input 0
    %1 float64[3] = exp(%0)
    %2 float64[3] = multiply(%1, 2.0)
    return %2
    """

    def run(*args: Any, **options: Any) -> Program:
        return record_call(f, args, options).program

    return run
