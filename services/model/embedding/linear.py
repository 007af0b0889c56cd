"""The matrix products of the graph, in float32 or in int8 with one scale for each token."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.model.embedding.nodes import CONTRIB, Nodes
from services.model.embedding.quantization import Array, quantize, smoothing

# The smallest value of GELU, rounded away from zero.
GELU_FLOOR = 0.17


class Linear(Protocol):
    """`x @ weight` for x of shape (tokens, inputs)."""

    def __call__(self, nodes: Nodes, x: str, layer: str, *weights: Array) -> list[str]:
        """Add a product of `x` with each of `weights`; `layer` is the name of the layer in the checkpoint."""

    def table(self, nodes: Nodes, ids: str, weight: Array) -> str:
        """Add a look-up of rows of `weight`."""


class FloatLinear:
    """Products in float32. It records the input tensor of each layer."""

    def __init__(self) -> None:
        self.inputs: dict[str, str] = {}

    def __call__(self, nodes: Nodes, x: str, layer: str, *weights: Array) -> list[str]:
        self.inputs[layer] = x
        return [nodes.add("MatMul", x, nodes.constant(weight)) for weight in weights]

    def table(self, nodes: Nodes, ids: str, weight: Array) -> str:
        return nodes.add("Gather", nodes.constant(weight), ids)


class RowLinear:
    """Products in int8, with one scale for each token.

    ONNX Runtime's own dynamic quantisation has one scale for the whole batch. Then one token with an outlier reduces
    the precision of all others (a minimum cosine of 0.96 instead of 0.99), and a vector depends on the other texts.

    Processors without VNNI instructions multiply unsigned inputs by signed weights inexactly: sums of two products
    that do not fit 16 bits are cut (a minimum cosine of 0.983). With `unsigned` weights they use other instructions,
    which are exact and no slower there. Signed ones stay the first choice: with VNNI they are exact.
    """

    def __init__(self, activations: Mapping[str, Array], *, unsigned: bool = False) -> None:
        self._activations = activations
        self._unsigned = unsigned

    def __call__(self, nodes: Nodes, x: str, layer: str, *weights: Array) -> list[str]:
        if layer in self._activations:
            factors = smoothing(self._activations[layer], np.concatenate(weights, axis=1))
            x = nodes.add("Mul", x, nodes.constant(1 / factors))
            weights = tuple(weight * factors[:, None] for weight in weights)
        if _follows_gelu(layer):
            # GELU's output is mostly positive, so most of the range is above zero.
            zero, above = 32, 255 - 32
            largest = nodes.add("Max", self._row_maximum(nodes, x), nodes.constant(_f(GELU_FLOOR * above / zero)))
        else:
            zero, above = 128, 127
            largest = nodes.add("Max", self._row_maximum(nodes, nodes.add("Abs", x)), nodes.constant(_f(1e-9)))
        scale = nodes.add("Mul", largest, nodes.constant(_f(1 / above)))
        zeros = nodes.add("ConstantOfShape", nodes.add("Shape", x, start=0, end=1), value=nodes.tensor(_u(zero, 1)))
        rows = nodes.add("QuantizeLinear", x, nodes.add("Squeeze", scale, nodes.axis(1)), zeros, axis=0)
        return [nodes.add("Mul", self._product(nodes, rows, zero, weight), scale) for weight in weights]

    def table(self, nodes: Nodes, ids: str, weight: Array) -> str:
        rows = quantize(weight, axis=1)
        values = nodes.cast(nodes.add("Gather", nodes.constant(rows.values), ids), np.float32)
        return nodes.add("Mul", values, nodes.add("Gather", nodes.constant(rows.scales[:, None]), ids))

    def _product(self, nodes: Nodes, rows: str, zero: int, weight: Array) -> str:
        matrix = quantize(weight, axis=0)
        values: NDArray[np.int8] | NDArray[np.uint8] = matrix.values
        zeros: NDArray[np.int8] | NDArray[np.uint8] = np.zeros(weight.shape[1], np.int8)
        if self._unsigned:
            values, zeros = (matrix.values.astype(np.int16) + 128).astype(np.uint8), _u(128, weight.shape[1])
        return nodes.add(
            "MatMulIntegerToFloat",
            rows,
            nodes.constant(values),
            nodes.constant(_f(1)),
            nodes.constant(matrix.scales),
            nodes.constant(np.array(zero, np.uint8)),
            nodes.constant(zeros),
            domain=CONTRIB,
        )

    @staticmethod
    def _row_maximum(nodes: Nodes, x: str) -> str:
        return nodes.add("ReduceMax", x, nodes.axis(1), keepdims=1)


def _follows_gelu(layer: str) -> bool:
    return layer.endswith(".output.dense") and ".attention." not in layer


def _f(value: float) -> Array:
    return np.array(value, np.float32)


def _u(value: int, size: int) -> NDArray[np.uint8]:
    return np.full(size, value, np.uint8)
