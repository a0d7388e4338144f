"""Models as ONNX files, from the recorded program; the encoder of a table is inside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from xpnet.export.graph import Graph
from xpnet.export.models import exported
from xpnet.export.network import network_of
from xpnet.export.operations import add_program
from xpnet.export.places import write_file
from xpnet.extras import require

__all__ = ["onnx", "onnx_model"]


def onnx(model: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a model as an ONNX file.

    Raises:
        ConfigError: an operation has no counterpart (the message names it and its layer), the file exists
            already, or it cannot be written; onnx is not installed.
    """
    return write_file(path, onnx_model(model).SerializeToString(), overwrite=overwrite)


def onnx_model(model: Any) -> Any:
    """Return a model as a checked ``onnx.ModelProto``."""
    require("onnx", extra="onnx")
    found = exported(model)
    network = network_of(found)
    graph = Graph()
    graph.reserve("X", *network.outputs)
    given = graph.input("X", found.dtype, ["rows", found.width])
    made = add_program(graph, network.program, [given])
    for name, value, ref in zip(network.outputs, made, network.program.outputs, strict=True):
        shown = network.program.values[ref.number]
        graph.output(name, value, shown.dtype, ["rows", *shown.shape[1:]])
    return graph.model()
