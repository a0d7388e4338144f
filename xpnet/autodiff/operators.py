"""The operators of traced arrays: those of Python, each recorded under the rule of its function."""

from __future__ import annotations

import operator
from typing import Any

from xpnet.autodiff.rules import RULES
from xpnet.autodiff.tracer import (
    OF_NUMPY,
    Tracer,
    dispatch,
    lowered,
    plain_namespace,
    plain_value,
)
from xpnet.autodiff.views import is_scalar
from xpnet.backends.lacking import copy
from xpnet.errors import RecordError

__all__: list[str] = []


def _operator(rule: str, symbol: str) -> tuple[Any, Any, Any]:
    """Return the methods for ``x op y``, for the reflected ``y op x`` and for ``x op= y``."""
    call = dispatch(RULES[rule], getattr(operator, f"__{symbol}__"))
    in_place: Any = getattr(operator, f"__i{symbol}__", None)  # comparisons have none
    OF_NUMPY["power" if rule == "pow" else rule] = call

    def assign_result(self: Tracer, other: Any) -> Tracer:
        other = lowered(other)
        if is_scalar(self):
            return call(self, other)  # NumPy's scalars never change: the name is bound to the result
        if not self.trace.level and type(other) is not Tracer:
            return self._write(self.trace.space.wrap(in_place(copy(self.value), other)), f"in-place {rule}")
        made = call(self, other)
        loses = made.dtype != self.dtype and _rank(made) > _rank(self)
        if made.shape != self.shape or loses:
            raise RecordError(
                f"in-place {rule}: expected a result of shape {tuple(self.shape)} and dtype {self.dtype} "
                f"like the array, found {tuple(made.shape)} and {made.dtype}; write x = x op y"
            )
        made = made if made.dtype == self.dtype else self.trace.space.astype(made, self.dtype)
        return self._write(made, f"in-place {rule}")

    def reflected(self: Tracer, other: Any) -> Any:
        if type(other) is complex and isinstance(plain_value(self), float):
            other = plain_namespace(self).asarray(other)  # else NumPy's scalar would become a Python number
        return call(other, self)

    return call, reflected, assign_result


_RANKS = ("bool", "unsigned integer", "signed integer", "real floating", "complex floating")


def _rank(x: Tracer) -> int:
    """Return the rank of a dtype's kind; in-place operators cast to lower ranks only within a kind."""
    xp = plain_namespace(x)
    return next(rank for rank, kind in enumerate(_RANKS) if xp.isdtype(x.dtype, kind))


for _symbol, _rule in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "pow", "matmul": "matmul",
    "mod": "remainder", "floordiv": "floor_divide", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}.items():  # fmt: skip
    _forward, _reflected, _in_place = _operator(_rule, _symbol)
    setattr(Tracer, f"__{_symbol}__", _forward)
    setattr(Tracer, f"__r{_symbol}__", _reflected)
    setattr(Tracer, f"__i{_symbol}__", _in_place)
for _symbol, _rule in {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
    "eq": "equal", "ne": "not_equal",
}.items():  # fmt: skip
    setattr(Tracer, f"__{_symbol}__", _operator(_rule, _symbol)[0])
for _symbol, _rule in {
    "neg": "negative", "pos": "positive", "abs": "abs", "invert": "bitwise_invert",
}.items():  # fmt: skip
    setattr(Tracer, f"__{_symbol}__", dispatch(RULES[_rule], getattr(operator, _symbol)))
