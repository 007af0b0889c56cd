"""MiniLM as an ONNX graph: from token ids to unit vectors, with pooling and normalisation.

All rows of a run have the same length, so there is no padding and attention needs no mask. With a mask, the runtime's
attention takes three times as long. Layers run on (tokens, 384) without a batch axis; only attention uses the rows.

Sums and layer normalisation are separate nodes on purpose: the runtime's fused SkipLayerNormalization is a scalar loop
and takes seven times as long as both.
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

    Input: `ids` int32 (batch, tokens); each row is a whole text.
    Outputs: `vectors` float32 (batch, 384) of length 1; `norms` float32 (batch,), the lengths before normalisation.
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
        x = self._embed()
        for index in range(LAYERS):
            x = self._layer(x, f"encoder.layer.{index}")
        self._pool(nodes.add("Reshape", x, self._rows))
        return nodes.model(
            [helper.make_tensor_value_info("ids", TensorProto.INT32, ["batch", "tokens"])],
            [
                helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", HIDDEN]),
                helper.make_tensor_value_info("norms", TensorProto.FLOAT, ["batch"]),
            ],
        )

    def _embed(self) -> str:
        nodes = self._nodes
        words = self._linear.table(nodes, "ids", self._tensors["embeddings.word_embeddings.weight"])
        # All tokens have the first token type, so its vector is added to the position vectors.
        positions = self._tensors["embeddings.position_embeddings.weight"][:MAX_TOKENS]
        positions = positions + self._tensors["embeddings.token_type_embeddings.weight"][0]
        tokens = nodes.add("Shape", "ids", start=1, end=2)
        used = nodes.add("Slice", nodes.constant(positions), nodes.axis(0), tokens, nodes.axis(0))
        x = nodes.add("Reshape", nodes.add("Add", words, used), self._flat)
        return self._normalize(x, "embeddings.LayerNorm")

    def _layer(self, x: str, layer: str) -> str:
        nodes = self._nodes
        attended = self._attend(x, f"{layer}.attention")
        x = self._normalize(nodes.add("Add", attended, x), f"{layer}.attention.output.LayerNorm")
        widened = nodes.add("Gelu", self._dense(x, f"{layer}.intermediate.dense"))
        narrowed = self._dense(widened, f"{layer}.output.dense")
        return self._normalize(nodes.add("Add", narrowed, x), f"{layer}.output.LayerNorm")

    def _attend(self, x: str, layer: str) -> str:
        nodes, tensors = self._nodes, self._tensors
        weights = (tensors[f"{layer}.self.{part}.weight"].T for part in ("query", "key", "value"))
        query, key, value = self._linear(nodes, x, f"{layer}.self", *weights)
        query = nodes.add("Add", query, nodes.constant(tensors[f"{layer}.self.query.bias"]))
        rows = [nodes.add("Reshape", part, self._rows) for part in (query, key, value)]
        attended = nodes.add("MultiHeadAttention", *rows, domain=CONTRIB, num_heads=HEADS)
        # The key's bias adds the same number to every score of a row, and softmax cancels it. The value's bias passes
        # through unchanged, because the weights of a row sum to one, so it is added to the bias of the next layer.
        output = f"{layer}.output.dense"
        through = tensors[f"{output}.weight"] @ tensors[f"{layer}.self.value.bias"]
        bias = tensors[f"{output}.bias"] + through
        return self._dense(nodes.add("Reshape", attended, self._flat), output, bias)

    def _dense(self, x: str, layer: str, bias: Array | None = None) -> str:
        (product,) = self._linear(self._nodes, x, layer, self._tensors[f"{layer}.weight"].T)
        constant = self._nodes.constant(self._tensors[f"{layer}.bias"] if bias is None else bias)
        return self._nodes.add("Add", product, constant)

    def _normalize(self, x: str, layer: str) -> str:
        gain = self._nodes.constant(self._tensors[f"{layer}.weight"])
        bias = self._nodes.constant(self._tensors[f"{layer}.bias"])
        return self._nodes.add("LayerNormalization", x, gain, bias, axis=-1, epsilon=LAYER_NORM_EPSILON)

    def _pool(self, x: str) -> None:
        nodes = self._nodes
        mean = nodes.add("ReduceMean", x, nodes.axis(1), keepdims=0)
        norms = nodes.add("ReduceL2", mean, nodes.axis(1), keepdims=1)
        nodes.rename(nodes.add("Div", mean, norms), "vectors")
        nodes.rename(nodes.add("Squeeze", norms, nodes.axis(1)), "norms")
