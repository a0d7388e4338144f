"""Networks as programs for any number of rows: recorded twice, and what differs is the number of rows.

The program goes from features to what is predicted: the network, the link of its loss, the class or, of a
table, the value on the scale of the target.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.autodiff.functions import unpack
from xpnet.backends import array_namespace
from xpnet.backends.lacking import erf
from xpnet.data import Encoder
from xpnet.errors import ConfigError, RecordError, XpnetError
from xpnet.export.models import Exported
from xpnet.nn.layer import apply_layer
from xpnet.program.lowerings.operations import ELEMENTWISE
from xpnet.program.passes.simplify import drop_dead, simplify
from xpnet.program.program import Operation, Program, Ref, refs
from xpnet.program.recording import record_call
from xpnet.train.members import combined
from xpnet.train.targets import gives_probabilities, kind_of, link_of, probabilities, without_column

__all__ = ["ROWS", "Network", "cannot", "network_of", "with_parts_of_erf"]

_SIZES = (7, 5)  # numbers of rows of the two recordings
_REMEDY = "write it in functions that are exported (docs/export.md), or serve the model by xpnet itself"


class _Rows:
    """The number of rows of a batch, in shapes."""

    def __repr__(self) -> str:
        return "rows"


ROWS = _Rows()
"""Stands in shapes for the number of rows."""


@dataclass(frozen=True)
class Network:
    """A program for any number of rows.

    Attributes:
        program: from features (rows, width) to the outputs; shapes among the operands have `ROWS` in them.
        outputs: their names: "label" and "probabilities", or "scores" where the loss has none; or "value".
        arrays: parameters and state by name, such as "0.weight"; those of the operands are the very objects.
    """

    program: Program
    outputs: tuple[str, ...]
    arrays: dict[str, np.ndarray]


def cannot(operation: Operation, why: str) -> ConfigError:
    """Return the error for an operation that cannot be exported."""
    layer = operation.scope.removesuffix("_forward")
    where = f" of the layer {layer}" if layer else ""
    return ConfigError(f"export: the operation {operation.name}{where} {why}; {_REMEDY}")


def network_of(model: Exported) -> Network:
    """Return the program of a model's predictions.

    Raises:
        ConfigError: something in it cannot be recorded, or depends on the number of rows.
    """
    layout, state = model.variables.params.layout, model.variables.state
    parts = unpack(model.variables.params.flat, layout)
    tree, arrays = layout.tree(parts), dict(zip(layout.names, parts, strict=True)) | _named(state)
    outputs: list[str] = []

    def predict(x: Any) -> list[Any]:
        xp = array_namespace(x)
        x = xp.astype(x, getattr(xp, model.dtype)) if model.encoder is not None else x
        layer = model.trainer.model
        raw, _ = apply_layer(layer, tree, state, x, training=False, key=None)
        raw = combined(layer, model.trainer.loss, raw)
        found = _predictions(model, raw)
        outputs[:] = found
        return list(found.values())

    recorded = []
    dtype = model.dtype if model.encoder is None else "float64"
    for rows in _SIZES:
        # nothing but zeros and ones, so that users' own code meets numbers that it can compute with
        x = np.zeros((rows, model.width), dtype)
        x[:, ::2] = 1
        try:
            recorded.append(simplify(record_call(predict, (x,), {}, freeze=False).program))
        except RecordError as error:
            raise ConfigError(f"export: the model cannot be recorded ({error.text})") from error
        except XpnetError:
            raise
        except Exception as error:
            raise ConfigError(
                f"export: the model does not run on NumPy arrays of {rows} rows ({type(error).__name__}: "
                f"{error}); {_REMEDY}"
            ) from error
    return Network(_for_any_rows(*recorded), tuple(outputs), arrays)


def _named(state: Any, prefix: str = "") -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, value in state.items():
        own = f"{prefix}{name}"
        found |= _named(value, f"{own}.") if isinstance(value, dict) else {own: value}
    return found


def _predictions(model: Exported, raw: Any) -> dict[str, Any]:
    """Return the outputs by name, of raw outputs (rows, outputs)."""
    loss, xp = model.trainer.loss, array_namespace(raw)
    kind = kind_of(loss)
    if not model.classes:
        values = link_of(loss)(raw)
        return {"value": without_column(values if model.encoder is None else _decoded(model, values))}
    shares = gives_probabilities(loss)
    # labels of an estimator of arrays are the more probable ones, others go by the sign of the output
    by_link = kind == "binary" and model.encoder is None and bool(model.labels)
    if kind == "classes":
        label = xp.argmax(raw, axis=-1)
    elif by_link and shares and raw.shape[1] == 1:
        label = xp.argmax(probabilities(loss, raw), axis=-1)  # one node, where a comparison is three
    else:
        above = xp.greater(link_of(loss)(raw), 0.5) if by_link else xp.greater(raw, 0)
        label = xp.astype(without_column(above), xp.int64)
        if kind == "signs" and not model.labels:
            label = xp.subtract(xp.multiply(label, 2), 1)
    if shares:
        return {"label": label, "probabilities": probabilities(loss, raw)}
    return {"label": label, "scores": raw}  # of a hinge, or a loss of the user's own without a link


def _decoded(model: Exported, values: Any) -> Any:
    """Return standardized values (rows, targets) on the scale of the target columns, float64."""
    assert model.encoder is not None
    xp = array_namespace(values)
    values = xp.astype(values, xp.float64)
    if kind_of(model.trainer.loss) == "counts":  # trained on the counts themselves
        return _clamped(values, model.encoder)
    targets: Any = model.encoder.targets
    std, mean = (np.asarray([getattr(target, name) for target in targets]) for name in ("std", "mean"))
    return _clamped(xp.add(xp.multiply(values, std), mean), model.encoder)


def _clamped(values: Any, encoder: Encoder) -> Any:
    """Return values (rows, targets) within those of the training, if the encoder says so."""
    targets: Any = encoder.targets
    if not any(target.clamp for target in targets):
        return values
    everything = (-math.inf, math.inf)
    low, high = np.asarray([target.span if target.clamp else everything for target in targets]).T
    xp = array_namespace(values)
    return xp.minimum(xp.maximum(values, low), high)


# --- one program of two -------------------------------------------------------------------------------


def _for_any_rows(one: Program, other: Program) -> Program:
    """Return the first program with `ROWS` where the second one has another number of rows."""
    if [x.name for x in one.operations] != [x.name for x in other.operations]:
        raise ConfigError(
            "export: the model computes other operations for another number of rows; let it decide by the "
            "features alone"
        )
    operations = []
    for a, b in zip(one.operations, other.operations, strict=True):
        operands = tuple(_merged(a, x, y) for x, y in zip(a.operands, b.operands, strict=True))
        options = {name: _merged(a, x, b.options.get(name)) for name, x in a.options.items()}
        operations.append(dataclasses.replace(a, operands=operands, options=options))
    if not all(type(x) is Ref for x in one.outputs):
        raise ConfigError("export: what the model predicts does not depend on its inputs: nothing to export")
    return dataclasses.replace(one, operations=tuple(operations))


def _merged(operation: Operation, x: Any, y: Any) -> Any:
    if type(x) in (list, tuple) and type(y) is type(x) and len(x) == len(y):
        return type(x)(_merged(operation, a, b) for a, b in zip(x, y, strict=True))
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        return _merged_arrays(operation, x, y)
    if x is y or (type(x) is type(y) and (x == y or x != x)):
        return x
    if (x, y) == _SIZES and operation.name in ("reshape", "broadcast_to"):
        return ROWS
    raise cannot(operation, f"depends on the number of rows ({x} for {_SIZES[0]}, {y} for {_SIZES[1]})")


def _merged_arrays(operation: Operation, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a constant; one that has the same row for each row of a batch as that row."""
    axes = [axis for axis in range(x.ndim) if x.ndim == y.ndim and x.shape[axis] != y.shape[axis]]
    for axis in axes:
        if (x.shape[axis], y.shape[axis]) != _SIZES or operation.name not in ELEMENTWISE:
            raise cannot(operation, "has a constant that depends on the number of rows")
        first = np.take(x, [0], axis=axis)
        x, y = (first if np.array_equal(np.broadcast_to(first, x.shape), x) else x), np.take(y, [0], axis)
    if x is not y and not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
        raise cannot(operation, "has a constant that depends on the number of rows")
    return x


def with_parts_of_erf(program: Program, dtypes: tuple[str, ...]) -> Program:
    """Return a program in which ``erf`` of these dtypes is written in other functions."""
    values, operations = dict(program.values), []
    for operation in program.operations:
        x = operation.operands[0] if operation.name == "erf" else None
        if type(x) is not Ref or values[x.number].dtype not in dtypes:
            operations.append(operation)
            continue
        given = np.zeros(values[x.number].shape, values[x.number].dtype)
        inside = record_call(lambda x: erf(array_namespace(x), x), (given,), {}).program
        inside = drop_dead(inside)
        first = max(values) + 1
        (out,), (entry,) = refs(inside.outputs), inside.inputs
        names = {entry: x.number, out: operation.results[0]}
        names |= {n: first + n for n in inside.values if n not in names}
        operations += [
            dataclasses.replace(
                part,
                operands=_renumbered(part.operands, names),
                results=tuple(names[n] for n in part.results),
                scope=operation.scope,
            )
            for part in inside.operations
        ]
        values |= {names[n]: value for n, value in inside.values.items() if n != entry}
    return dataclasses.replace(program, operations=tuple(operations), values=values)


def _renumbered(tree: Any, names: dict[int, int]) -> Any:
    if type(tree) is Ref:
        return Ref(names[tree.number])
    return type(tree)(_renumbered(x, names) for x in tree) if type(tree) in (list, tuple) else tree
