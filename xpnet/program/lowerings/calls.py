"""The text of single NumPy calls that write into memory of our choice."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from xpnet.program.lowerings.operations import ufunc_of
from xpnet.program.program import Operation, Program, Ref, Value

__all__ = ["Names", "Texts", "is_written", "writes_in_place", "written"]

_REDUCTIONS = {"sum": np.add.reduce, "max": np.maximum.reduce, "min": np.minimum.reduce}
# What the operator ** is for some numbers and arrays of floats.
_POWERS = {2: np.square, 0.5: np.sqrt, -1: np.reciprocal}
_BITS: dict[str, Any] = {"float32": np.int32, "float64": np.int64, "float16": np.int16}


def writes_in_place(operation: Operation) -> bool:
    """True if the result may be written over an operand of its shape and dtype."""
    return ufunc_of(operation.name) is not None or operation.name in ("keep", "astype")


def is_written(operation: Operation, values: dict[int, Value]) -> bool:
    """True if the result can be written into memory of our choice."""
    made = values[operation.results[0]]
    if operation.name in ("sign", "pow") and made.dtype.startswith("complex"):
        return False  # NumPy's ufuncs round otherwise than its function and its operator
    if operation.many:
        return False
    if operation.name in ("where", "astype", "concat") or ufunc_of(operation.name) is not None:
        return not operation.options.keys() - {"axis", "copy"}
    if operation.name == "keep":
        return made.dtype in _BITS
    if operation.name == "matmul":
        return len(made.shape) >= 2
    if operation.name in _REDUCTIONS:
        x = operation.operands[0]
        known = values[x.number].dtype if type(x) is Ref else ""
        return known == made.dtype and "dtype" not in operation.options and len(operation.operands) == 1
    return False


class Names(dict[str, Any]):
    """Names in generated code, and the objects behind them."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[bytes, str] = {}

    def of(self, x: Any) -> str:
        """Return the name of an object."""
        for name, known in self.items():
            if known is x:
                return name
        return self.called(f"c{len(self)}", x)

    def number(self, x: np.ndarray) -> str:
        """Return the name of a constant 0-d array, the same for equal ones."""
        key = x.tobytes()  # 0.0 and -0.0 are equal
        if key not in self._numbers:
            self._numbers[key] = self.of(x)
        return self._numbers[key]

    def called(self, name: str, x: Any) -> str:
        """Give an object a name and return the name."""
        self[name] = x
        return name


class Texts(ABC):
    """Names of the operands and the result of a call, in the code around it."""

    def __init__(self, program: Program, names: Names):
        self.program, self.names = program, names

    @abstractmethod
    def text(self, x: Any) -> str:
        """Return the text of a value, a literal or a container of them."""

    @abstractmethod
    def bits(self, x: Any, dtype: Any) -> str:
        """Return the text of a value's entries read as whole numbers."""

    @abstractmethod
    def filled(self, number: Any, n: int) -> str:
        """Return the text of an array that is like the value ``n`` in shape and full of ``number``."""


def written(operation: Operation, texts: Texts) -> list[str]:
    """Return the lines that compute an operation's result in its place; it `is_written`, or a gather."""
    n = operation.results[0]
    out, names, name = texts.text(Ref(n)), texts.names, operation.name
    power = operation.operands[1] if operation.function is operator.pow else None
    if type(power) in (int, float) and power in _POWERS and _keeps_floats(operation, texts.program.values):
        function = names.called(_POWERS[power].__name__, _POWERS[power])
        return [f"{function}({texts.text(operation.operands[0])}, {out})"]
    ufunc = ufunc_of(name)
    if ufunc is not None:
        function = names.called(ufunc.__name__, ufunc)
        operands = ", ".join(_operands(operation, texts))
        # By position, which is faster; as third argument of these two it is deprecated.
        return [f"{function}({operands}, {'out=' if name in ('maximum', 'minimum') else ''}{out})"]
    if name == "keep":
        bits = _BITS[texts.program.values[n].dtype]
        x, mask = operation.operands
        times = names.called("multiply", np.multiply)
        return [f"{times}({texts.bits(x, bits)}, {texts.text(mask)}, {texts.bits(Ref(n), bits)})"]
    given = [texts.text(x) for x in operation.operands]
    copyto = names.called("copyto", np.copyto)
    if name == "astype":
        return [f"{copyto}({out}, {given[0]}, 'unsafe')"]
    if name == "take":  # the mode that does not look at the numbers, which takes half the time
        return [f"{given[0]}.take({given[1]}, {operation.options.get('axis')!r}, {out}, 'wrap')"]
    if name == "where":
        return [f"{copyto}({out}, {given[2]})", f"{copyto}({out}, {given[1]}, where={given[0]})"]
    if name in _REDUCTIONS:
        axis, kept = operation.options.get("axis"), bool(operation.options.get("keepdims", False))
        reduce = names.called(f"{name}_along", _REDUCTIONS[name])
        return [f"{reduce}({given[0]}, {axis!r}, None, {out}, {kept})"]
    return [f"{names.called('matmul', np.matmul)}({', '.join(given)}, {out})"]


def _keeps_floats(operation: Operation, values: dict[int, Value]) -> bool:
    """True if the first operand has the dtype of the result, and that is not one of whole numbers."""
    x, made = operation.operands[0], values[operation.results[0]].dtype
    return type(x) is Ref and values[x.number].dtype == made and made.startswith("float")


def _operands(operation: Operation, texts: Texts) -> list[str]:
    """Return the texts of a ufunc's operands.

    NumPy makes an array of a Python number in each call. Here it is made beforehand, of the dtype that
    NumPy would choose. The loops for larger and smaller are vectorized for whole arrays only.
    """
    dtypes = {texts.program.values[x.number].dtype_object if type(x) is Ref else getattr(x, "dtype", None)
              for x in operation.operands}  # fmt: skip
    dtypes.discard(None)
    dtype = dtypes.pop() if len(dtypes) == 1 else None
    found = []
    for x in operation.operands:
        number = _number(x, dtype)
        if number is None:
            found.append(texts.text(x))
        elif operation.name in ("maximum", "minimum"):
            found.append(texts.filled(number, operation.results[0]))
        else:
            found.append(texts.names.number(number))
    return found


def _number(x: Any, dtype: Any) -> np.ndarray | None:
    """Return a Python number as a 0-d array of a floating dtype; None for what is no number."""
    if type(x) not in (int, float) or dtype not in (np.float32, np.float64):
        return None
    with np.errstate(over="ignore"):
        return np.asarray(x, dtype=dtype)
