"""Graphs of ONNX under construction: nodes, constants, inputs and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.errors import ConfigError

__all__ = ["OPSET", "OPSET_ML", "Graph"]

OPSET = 20
"""The operator set of exported files: of ONNX 1.15, from onnxruntime 1.17 on."""
OPSET_ML = 3
_IR = 9  # the file format that goes with it
_MOST = 2**31 - 2**20  # bytes of a file of protobuf


class Graph:
    """Nodes in the order in which they run; values go by name.

    Attributes:
        nodes: so far.
        rows: a value that has a row for each row of the batch.

    Example:
        >>> graph = Graph()
        >>> x = graph.input("x", "float32", ["rows", 2])
        >>> graph.output("y", graph.add("Relu", x), "float32", ["rows", 2])
        >>> len(graph.model().graph.node)
        1
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.rows = ""
        self._constants: dict[tuple[Any, ...], str] = {}
        self._initializers: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._bytes = 0
        self._names: set[str] = set()

    def add(self, op: str, *given: str, count: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Add a node and return the name of its value, or the names of several."""
        from onnx import helper

        made = [self._new(op.lower()) for _ in range(count)]
        node = helper.make_node(op, list(given), made, name=made[0], domain=domain, **attributes)
        self.nodes.append(node)
        return made[0] if count == 1 else made

    def constant(self, value: Any, dtype: Any = None, name: str = "constant") -> str:
        """Return the name of a constant; the same one for equal constants."""
        from onnx import helper, numpy_helper

        array = np.asarray(value)
        if dtype is not None or array.dtype.kind not in "OUT":
            array = np.asarray(value, dtype=dtype)
        text = array.dtype.kind in "OU"
        content = tuple(array.ravel().tolist()) if text else array.tobytes()
        key = (str(array.dtype.kind if text else array.dtype), array.shape, content)
        if key not in self._constants:
            made = self._new(name)
            if text:
                encoded = [x.encode() for x in array.ravel().tolist()]
                tensor = helper.make_tensor(made, 8, array.shape, encoded)  # 8: of strings
            else:
                tensor = numpy_helper.from_array(array, made)
            self._bytes += array.nbytes
            self._initializers.append(tensor)
            self._constants[key] = made
        return self._constants[key]

    def input(self, name: str, dtype: str, shape: list[Any]) -> str:
        """Declare an input; ``dtype`` is that of NumPy, or "str"."""
        self._inputs.append(_declared(name, dtype, shape))
        self._names.add(name)
        return name

    def output(self, name: str, value: str, dtype: str, shape: list[Any]) -> None:
        """Declare that a value is an output."""
        for node in self.nodes:  # it is called so where it is made, which spares a node
            if value in node.output and value not in {x.name for x in self._outputs}:
                self._rename(value, name)
                break
        else:
            self.nodes.append(self._identity(value, name))
        self._outputs.append(_declared(name, dtype, shape))

    def _identity(self, value: str, name: str) -> Any:
        from onnx import helper

        return helper.make_node("Identity", [value], [name], name=name)

    def _rename(self, old: str, new: str) -> None:
        for node in self.nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == old:
                        names[i] = new

    def _new(self, stem: str) -> str:
        number = len(self._names)
        while f"{stem}_{number}" in self._names:
            number += 1
        self._names.add(f"{stem}_{number}")
        return f"{stem}_{number}"

    def reserve(self, *names: str) -> None:
        """Keep names for outputs."""
        self._names.update(names)

    def model(self, **properties: str) -> Any:
        """Return the checked model, with properties in its metadata.

        Raises:
            ConfigError: it is larger than a file may be.
        """
        import onnx
        from onnx import helper

        from xpnet.version import __version__

        if self._bytes > _MOST:
            raise ConfigError(
                f"export: expected at most 2 GiB of weights in an ONNX file, found {self._bytes:,} bytes; "
                "prune the network, or export it otherwise"
            )
        graph = helper.make_graph(self.nodes, "xpnet", self._inputs, self._outputs, self._initializers)
        sets = [helper.make_opsetid("", OPSET)]
        if any(node.domain for node in self.nodes):
            sets.append(helper.make_opsetid("ai.onnx.ml", OPSET_ML))
        made = helper.make_model(
            graph, opset_imports=sets, ir_version=_IR, producer_name="xpnet", producer_version=__version__
        )
        helper.set_model_props(made, properties)
        onnx.checker.check_model(made)
        return made


def _declared(name: str, dtype: str, shape: list[Any]) -> Any:
    from onnx import helper

    kind = 8 if dtype == "str" else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, shape)
