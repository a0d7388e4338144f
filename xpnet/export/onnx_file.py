"""Models as ONNX files, from the recorded program; the encoder of a table is inside."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.export.encoder_nodes import add_encoder
from xpnet.export.graph import OPSET, Graph
from xpnet.export.models import Exported, exported
from xpnet.export.network import network_of
from xpnet.export.operations import add_program
from xpnet.export.places import write_file
from xpnet.extras import require

__all__ = ["OPSET", "onnx", "onnx_model"]


def onnx(model: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a model as an ONNX file, of operator set 20, for any number of rows.

    Of a trainer, or an estimator of arrays, the input ``X`` (rows, features) has the dtype of the training.
    Of a table, there is one input (rows, 1) for each column, named as the column: numbers as float64 with NaN
    for missing ones, text with "" for missing cells, truth values as booleans (as float64 where training
    cells were missing), dates and times as text in the ISO form. The outputs are ``label``, classes in their
    own type (of a trainer their numbers), and ``probabilities`` (rows, classes), or ``scores`` where the loss
    has no probabilities; or ``value`` in the target's own units. What the model would refuse, a missing cell
    under missing="error" say, gives NaN; unknown categories are none.

    Args:
        model: an `xpnet.Trainer`, an `xpnet.tabular.TableModel`, an `xpnet.runs.Run` or a fitted estimator of
            `xpnet.estimators`.
        path: the file to make.
        overwrite: whether a file that is there already is replaced.

    Returns:
        The path.

    Raises:
        ConfigError: an operation has no counterpart in ONNX (the message names it and its layer), the file
            exists already, or it cannot be written; onnx is not installed.
    """
    return write_file(path, onnx_model(model).SerializeToString(), overwrite=overwrite)


def onnx_model(model: Any) -> Any:
    """Return a model as a checked ``onnx.ModelProto``; see `onnx`."""
    require("onnx", extra="onnx")
    found = exported(model)
    network, encoder = network_of(found), found.encoder
    graph, unusable = Graph(), None
    columns = ["X"] if encoder is None else [column.name for column in encoder.columns]
    outputs = {name: _free(name, columns) for name in network.outputs}
    graph.reserve(*columns, *outputs.values())
    if encoder is None:
        given = graph.input("X", found.dtype, ["rows", found.width])
    else:
        given, unusable = add_encoder(graph, encoder)
    values = add_program(graph, network.program, [given])
    for name, value, ref in zip(network.outputs, values, network.program.outputs, strict=True):
        shown = network.program.values[ref.number]
        dtype, shape = shown.dtype, ["rows", *shown.shape[1:]]
        if name == "label" and found.labels:
            value, dtype = _labels(graph, found.labels, value)
        if unusable is not None:
            value = _without(graph, value, dtype, unusable, len(shape))
        graph.output(outputs[name], value, dtype, shape)
    return graph.model(**_properties(found))


def _free(name: str, columns: list[str]) -> str:
    """Return the name of an output; with a line behind it if a column has that name."""
    return name if name not in columns else _free(f"{name}_", columns)


def _labels(graph: Graph, classes: tuple[tuple[Any, ...], ...], codes: str) -> tuple[str, str]:
    """Return classes in their own type for their numbers, (rows,) or (rows, targets), and that type."""
    dtype = _common([x for own in classes for x in own])
    if dtype == "int64" and all(own == tuple(range(len(own))) for own in classes):
        return codes, dtype
    tables = [graph.constant(_as(own, dtype)) for own in classes]
    if len(classes) == 1:
        return str(graph.add("Gather", tables[0], codes)), dtype
    parts = []
    for i, table in enumerate(tables):
        column = graph.add("Gather", codes, graph.constant([i], "int64"), axis=1)
        parts.append(graph.add("Gather", table, column))
    return str(graph.add("Concat", *parts, axis=1)), dtype


def _common(classes: list[Any]) -> str:
    """Return the type of classes; text where they are of several, or too large."""
    kinds = {type(x) for x in classes}
    if kinds == {int} and all(-(2**63) <= x < 2**63 for x in classes):
        return "int64"
    return {bool: "bool", float: "float64"}.get(kinds.pop(), "str") if len(kinds) == 1 else "str"


def _as(classes: tuple[Any, ...], dtype: str) -> np.ndarray:
    if dtype != "str":
        return np.asarray(classes, dtype)
    return np.asarray([str(x).lower() if isinstance(x, bool) else str(x) for x in classes])


def _without(graph: Graph, value: str, dtype: str, unusable: str, rank: int) -> str:
    """Return outputs with NaN, or empty text, in rows that cannot be used; other labels as they are."""
    if dtype not in ("float32", "float64", "str"):
        return value
    nothing = graph.constant("") if dtype == "str" else graph.constant(np.nan, dtype)
    if rank == 1:
        unusable = graph.add("Squeeze", unusable, graph.constant([1], "int64"))
    return str(graph.add("Where", unusable, nothing, value))


def _properties(model: Exported) -> dict[str, str]:
    encoder = model.encoder
    classes = [list(own) for own in model.labels]
    return {
        **({"targets": json.dumps(list(encoder.target_names))} if encoder is not None else {}),
        **({"classes": json.dumps(classes)} if classes else {}),
        **({"missing": encoder.missing} if encoder is not None else {}),
    }
