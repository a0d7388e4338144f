"""Exports as others serve them: ONNX files by onnxruntime, folders by the code in them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from xpnet.data.notations import Notation
from xpnet.export.encoder_nodes import input_type
from xpnet.export.numpy_folder import marks_of
from xpnet.export.readers import read_number

__all__ = ["feed", "loaded", "outputs", "session"]


def session(path: Path) -> Any:
    """Return a session of one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def outputs(path: Path, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return all outputs of an ONNX file by name."""
    made = session(path)
    return dict(zip([x.name for x in made.get_outputs()], made.run(None, inputs), strict=True))


def feed(model: Any, rows: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return raw columns as the inputs of a table's ONNX file ask for them."""
    found: dict[str, np.ndarray] = {}
    for column in model.encoder.columns:
        cells, dtype = rows[column.name], input_type(column, model.encoder.missing)
        if dtype == "str":
            texts = ["" if x is None else str(x) for x in cells]  # of dates, in the ISO form
            found[column.name] = np.asarray(texts, dtype=object)[:, None]
        elif dtype == "bool":
            found[column.name] = np.asarray(cells, dtype=bool)[:, None]
        else:
            notation = getattr(column, "notation", Notation())
            marks = marks_of(notation) or (".", "", "", False, False)
            found[column.name] = np.asarray([read_number(x, *marks) for x in cells])[:, None]
    return found


def loaded(folder: Path) -> ModuleType:
    """Return the code of an exported folder as a module."""
    spec = importlib.util.spec_from_file_location("predict", folder / "predict.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
