"""MiniLM as an ONNX graph: token ids in, unit vectors out, pooling and normalisation inside.

Layers run on (tokens, 384) without a batch axis; only attention sees the rows. Sums and layer normalisation stay
apart on purpose: the runtime's fused SkipLayerNormalization is a scalar loop, seven times slower than the two.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from services.model.embedding.architecture import HEADS, HIDDEN, LAYER_NORM_EPSILON, LAYERS, MAX_TOKENS
from services.model.embedding.linear import Linear
from services.model.embedding.nodes import CONTRIB, Nodes
from services.model.embedding.quantization import Array

Tensors = Mapping[str, Array]


def encoder(tensors: Tensors, linear: Linear) -> onnx.ModelProto:
    """The model of a checkpoint.

    Inputs: `ids` int32 (batch, longest), zero where a row has ended; `lengths` int32 (batch,).
    Outputs: `vectors` float32 (batch, 384) of length 1; `norms` float32 (batch,), their length before.
    """
    return _Encoder(tensors, linear).model()


class _Encoder:
    def __init__(self, tensors: Tensors, linear: Linear) -> None:
        self._tensors = tensors
        self._linear = linear
        self._nodes = Nodes()

    def model(self) -> onnx.ModelProto:
        nodes = self._nodes
        self._flat = nodes.constant(np.array([-1, HIDDEN], np.int64))
        batch_and_width = nodes.add("Shape", "ids", start=0, end=2)
        self._rows = nodes.add("Concat", batch_and_width, nodes.axis(-1), axis=0)
        self._width = nodes.add("Shape", "ids", start=1, end=2)
        x = self._embed()
        for index in range(LAYERS):
            x = self._layer(x, f"encoder.layer.{index}")
        self._pool(nodes.add("Reshape", x, self._rows))
        return nodes.model(
            [
                helper.make_tensor_value_info("ids", TensorProto.INT32, ["batch", "width"]),
                helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"]),
            ],
            [
                helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", HIDDEN]),
                helper.make_tensor_value_info("norms", TensorProto.FLOAT, ["batch"]),
            ],
        )

    def _embed(self) -> str:
        nodes = self._nodes
        words = self._linear.table(nodes, "ids", self._tensors["embeddings.word_embeddings.weight"])
        # Every token is of the first type, so that its vector belongs to the position.
        positions = self._tensors["embeddings.position_embeddings.weight"][:MAX_TOKENS]
        positions = positions + self._tensors["embeddings.token_type_embeddings.weight"][0]
        used = nodes.add("Slice", nodes.constant(positions), nodes.axis(0), self._width, nodes.axis(0))
        x = nodes.add("Reshape", nodes.add("Add", words, used), self._flat)
        return self._normalize(x, "embeddings.LayerNorm")

    def _layer(self, x: str, layer: str) -> str:
        nodes = self._nodes
        attended = self._dense(self._attend(x, f"{layer}.attention.self"), f"{layer}.attention.output.dense")
        x = self._normalize(nodes.add("Add", attended, x), f"{layer}.attention.output.LayerNorm")
        widened = nodes.add("Gelu", self._dense(x, f"{layer}.intermediate.dense"))
        narrowed = self._dense(widened, f"{layer}.output.dense")
        return self._normalize(nodes.add("Add", narrowed, x), f"{layer}.output.LayerNorm")

    def _attend(self, x: str, layer: str) -> str:
        nodes = self._nodes
        parts = [f"{layer}.{part}" for part in ("query", "key", "value")]
        bias = np.concatenate([self._tensors[f"{part}.bias"] for part in parts])
        products = self._linear(nodes, x, layer, *(self._tensors[f"{part}.weight"].T for part in parts))
        query, key, value = (nodes.add("Reshape", product, self._rows) for product in products)
        attended = nodes.add(
            "MultiHeadAttention", query, key, value, nodes.constant(bias), "lengths", domain=CONTRIB, num_heads=HEADS
        )
        return nodes.add("Reshape", attended, self._flat)

    def _dense(self, x: str, layer: str) -> str:
        (product,) = self._linear(self._nodes, x, layer, self._tensors[f"{layer}.weight"].T)
        return self._nodes.add("Add", product, self._nodes.constant(self._tensors[f"{layer}.bias"]))

    def _normalize(self, x: str, layer: str) -> str:
        gain = self._nodes.constant(self._tensors[f"{layer}.weight"])
        bias = self._nodes.constant(self._tensors[f"{layer}.bias"])
        return self._nodes.add("LayerNormalization", x, gain, bias, axis=-1, epsilon=LAYER_NORM_EPSILON)

    def _pool(self, x: str) -> None:
        nodes = self._nodes
        zero, one = nodes.constant(np.array(0, np.int32)), nodes.constant(np.array(1, np.int32))
        columns = nodes.add("Range", zero, nodes.cast(nodes.add("Squeeze", self._width), np.int32), one)
        lengths = nodes.add("Unsqueeze", "lengths", nodes.axis(1))
        present = nodes.cast(nodes.add("Less", columns, lengths), np.float32)
        total = nodes.add("MatMul", nodes.add("Unsqueeze", present, nodes.axis(1)), x)
        mean = nodes.add("Div", nodes.add("Squeeze", total, nodes.axis(1)), nodes.cast(lengths, np.float32))
        norms = nodes.add("ReduceL2", mean, nodes.axis(1), keepdims=1)
        nodes.rename(nodes.add("Div", mean, norms), "vectors")
        nodes.rename(nodes.add("Squeeze", norms, nodes.axis(1)), "norms")
