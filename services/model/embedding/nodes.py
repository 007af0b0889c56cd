"""Builds a list of ONNX nodes, in which each node comes after its inputs."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import helper, numpy_helper

CONTRIB = "com.microsoft"


class Nodes:
    """The nodes and constants of a graph. Tensors have the names that `add` and `constant` return."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node, and return the name of its output."""
        name = f"{operator}.{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], domain=domain, **attributes))
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """Add a constant, and return its name."""
        name = f"constant.{len(self._constants)}"
        self._constants.append(self.tensor(array, name))
        return name

    def axis(self, axis: int) -> str:
        """A constant with the number of one axis."""
        return self.constant(np.array([axis], np.int64))

    def cast(self, x: str, dtype: DTypeLike) -> str:
        """Convert `x` to another type."""
        return self.add("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def rename(self, x: str, name: str) -> None:
        """Give `x` the name of an output of the graph."""
        self._nodes.append(helper.make_node("Identity", [x], [name]))

    @staticmethod
    def tensor(array: NDArray[Any], name: str = "") -> onnx.TensorProto:
        """`array` as an ONNX tensor."""
        return numpy_helper.from_array(np.ascontiguousarray(array), name)

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(self._nodes, "minilm", inputs, outputs, self._constants)
        operators = [helper.make_opsetid("", 20), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=operators, ir_version=9)
