"""Expressions such as ``(y - (w @ x + b))**2``: read by Python's parser, computed here, never run as code.

What an expression may hold is listed below: numbers, names, arithmetic, indices, and functions of the Array
API standard and of :mod:`xpnet.autodiff.functions` by name.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from xpnet.autodiff import functions, special
from xpnet.autodiff.rules import RULES
from xpnet.autodiff.rules.rule import lookup
from xpnet.backends import array_namespace, lacking
from xpnet.errors import ConfigError, suggest

__all__ = ["Expression", "read_value"]

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.MatMult: operator.matmul,
    ast.Pow: operator.pow,
    ast.Mod: operator.mod,
    ast.FloorDiv: operator.floordiv,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_LITERALS = (int, float, bool, type(None), type(...))
_CONSTANTS = ("pi", "e")
# All with rules but those that serve other rules or have a notation of their own.
_FUNCTIONS = (RULES.keys() - {*lacking.__all__, "getitem", "to_device", "unpack"}) | {"erf"}


class Expression:
    """An expression and the names in it.

    >>> import numpy as np
    >>> loss = Expression("(y - tanh(w @ x))**2")
    >>> loss.names
    ('y', 'w', 'x')
    >>> values = {"w": np.asarray([1.0, 2.0]), "x": np.asarray([2.0, -1.0]), "y": np.asarray(3.0)}
    >>> float(loss(values))
    9.0

    Raises:
        ConfigError: not an expression, or one with parts that are not allowed; the part is shown.
    """

    def __init__(self, text: str):
        self.text = text.strip()
        try:
            self._tree = ast.parse(self.text, mode="eval").body
            found: dict[str, None] = {}
            self._check(self._tree, found)
        except (SyntaxError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            at = f", at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
            raise ConfigError(
                f"expected an expression such as '(y - w @ x)**2', found '{text}' ({error.args[0]}{at})"
            ) from None
        except (RecursionError, MemoryError):
            raise ConfigError(
                "the expression is nested too deeply: write it with fewer parentheses"
            ) from None
        self.names = tuple(found)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Return the expression's value for the arrays ``values`` by name.

        Raises:
            ConfigError: a part that cannot be computed, such as one of misfit shapes.
        """
        return self._value(self._tree, values)

    def check_names(self, values: Mapping[str, Any]) -> None:
        """Raise a `ConfigError` if a name of the expression has no value."""
        for name in self.names:
            if name not in values and name not in _CONSTANTS:
                other = "" if values else f"; nor is there a folder or a file '{self.text}'"
                raise ConfigError(
                    f"'{self.text}' has no value for its name '{name}': add {name}=NUMBER[,NUMBER...]{other}"
                )

    # --- what is allowed -----------------------------------------------------------------------------

    def _check(self, node: ast.expr, names: dict[str, None]) -> None:
        """Note the names in ``node``, and refuse syntax that has no meaning here."""
        parts: list[Any] = []
        if isinstance(node, ast.Name):
            names[node.id] = None
        elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            parts = [node.left, node.right]
        elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
            parts = [node.operand]
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARED:
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name not in _FUNCTIONS:
                raise ConfigError(f"unknown function '{name}'{_nearest(name)}")
            parts = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(keyword.arg is None for keyword in node.keywords):
                raise ConfigError(f"'{self._text(node)}': expected name=value, found **")
        elif isinstance(node, (ast.Tuple, ast.List)):
            parts = node.elts
        elif isinstance(node, ast.Subscript):
            parts = [node.value, node.slice]
        elif isinstance(node, ast.Slice):
            parts = [part for part in (node.lower, node.upper, node.step) if part is not None]
        elif not isinstance(node, ast.Constant) or type(node.value) not in _LITERALS:
            raise ConfigError(
                f"'{self._text(node)}' is not allowed: an expression holds numbers, names, + - * / // % @ "
                "**, comparisons, indices, and functions of the array standard such as tanh(x)"
            )
        for part in parts:
            self._check(part, names)

    def _text(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.text, node) or ast.unparse(node)

    # --- what it means -------------------------------------------------------------------------------

    def _value(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        try:
            return self._computed(node, values)
        except ConfigError:
            raise
        except Exception as error:  # each library has errors of its own for shapes that do not fit
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(f"'{self._text(node)}' cannot be computed: {reason}") from error

    def _computed(self, node: Any, values: Mapping[str, Any]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return values[node.id] if node.id in values else getattr(_space(values), node.id)
        if isinstance(node, ast.BinOp):
            left, right = self._value(node.left, values), self._value(node.right, values)
            if isinstance(left, int) and isinstance(right, int):
                left, right = float(left), float(right)  # whole numbers of Python grow without bound
            return _BINARY[type(node.op)](left, right)
        if isinstance(node, ast.UnaryOp):
            return _UNARY[type(node.op)](self._value(node.operand, values))
        if isinstance(node, ast.Compare):
            left, right = self._value(node.left, values), self._value(node.comparators[0], values)
            return _COMPARED[type(node.ops[0])](left, right)
        if isinstance(node, (ast.Tuple, ast.List)):
            items = [self._value(item, values) for item in node.elts]
            return tuple(items) if isinstance(node, ast.Tuple) else items
        if isinstance(node, ast.Subscript):
            return self._value(node.value, values)[self._value(node.slice, values)]
        if isinstance(node, ast.Slice):
            ends = (node.lower, node.upper, node.step)
            return slice(*(None if end is None else self._value(end, values) for end in ends))
        name = ast.unparse(node.func)
        args = [self._value(arg, values) for arg in node.args]
        options = {keyword.arg: self._value(keyword.value, values) for keyword in node.keywords}
        return _function(name, _space(values))(*args, **options)


def _space(values: Mapping[str, Any]) -> Any:
    """Return the namespace of the values; traced ones come first, whose functions take all others too."""
    return array_namespace(*values.values())


def _function(name: str, space: Any) -> Callable[..., Any]:
    if name.startswith("special."):
        return getattr(special, name.removeprefix("special."))
    return getattr(functions, name) if name in functions.__all__ else lookup(space, name)


def _nearest(name: str) -> str:
    """Return a hint at a function of a similar name; all names would be too many."""
    hint = suggest(name, _FUNCTIONS)
    return (
        hint if "did you mean" in hint else "; expected one of the array standard, such as exp, sum or where"
    )


def read_value(text: str, where: str) -> Any:
    """Return the number, vector or matrix that ``text`` writes, as nested lists.

    >>> read_value("2", "x"), read_value("1,2", "x"), read_value("1,2;3,4", "x"), read_value("5,", "x")
    (2.0, [1.0, 2.0], [[1.0, 2.0], [3.0, 4.0]], [5.0])

    Raises:
        ConfigError: other characters than numbers, commas and semicolons, or rows of different lengths.
    """
    try:
        if ";" in text:
            rows = [_row(row) for row in text.strip().rstrip(";").split(";")]
            if len({len(row) for row in rows}) > 1:
                raise ConfigError(f"{where}: expected rows of one length, found '{text}'")
            return rows
        return _row(text) if "," in text else float(text)
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{where}: expected a number (2), a vector (1,2) or a matrix (1,2;3,4), found '{text}'"
        ) from None


def _row(text: str) -> list[float]:
    return [float(part) for part in text.strip().rstrip(",").split(",")]
