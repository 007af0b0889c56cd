"""A list of ONNX nodes being written, each after those it reads."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import helper, numpy_helper

CONTRIB = "com.microsoft"


class Nodes:
    """Nodes and constants of a graph; tensors are known by the names that `add` and `constant` give."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Appends a node and returns the name of its output."""
        name = f"{operator}.{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], domain=domain, **attributes))
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """Adds a constant and returns its name."""
        name = f"constant.{len(self._constants)}"
        self._constants.append(self.tensor(array, name))
        return name

    def axis(self, axis: int) -> str:
        """The constant that names one axis."""
        return self.constant(np.array([axis], np.int64))

    def cast(self, x: str, dtype: DTypeLike) -> str:
        """`x` as another type."""
        return self.add("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def rename(self, x: str, name: str) -> None:
        """Gives `x` a name to be known by outside."""
        self._nodes.append(helper.make_node("Identity", [x], [name]))

    @staticmethod
    def tensor(array: NDArray[Any], name: str = "") -> onnx.TensorProto:
        """`array` as ONNX keeps it."""
        return numpy_helper.from_array(np.ascontiguousarray(array), name)

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(self._nodes, "minilm", inputs, outputs, self._constants)
        operators = [helper.make_opsetid("", 20), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=operators, ir_version=9)
