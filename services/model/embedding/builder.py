"""Writes the ONNX graph of MiniLM from its weights. It is a separate program, so that its memory is released.

python -m services.model.embedding.builder WEIGHTS.safetensors TOKENIZER.json OUTPUT.onnx int8|fp32
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors.numpy import load_file

from services.model.embedding.graph import Tensors, encoder
from services.model.embedding.linear import FloatLinear, RowLinear
from services.model.embedding.quantization import Array
from services.model.embedding.session import open_session
from services.model.embedding.tokenizer import WordPieces

CALIBRATION = Path(__file__).with_name("calibration.txt")
LEAST_COSINE = 0.99


def build(weights: Path, tokenizer: Path, output: Path, precision: str) -> str:
    """Write the graph to `output`; returns which weights it has.

    With `int8` it is the first of these whose vectors have a cosine of at least 0.99 with those of float32 on this
    processor: signed weights, unsigned weights, float32.
    """
    tensors: Tensors = load_file(weights)
    linear = FloatLinear()
    exact = encoder(tensors, linear)
    if precision == "fp32":
        onnx.save(exact, output)
        return "float32"
    texts = CALIBRATION.read_text("utf-8").splitlines()
    texts.append(" ".join(texts))
    pieces = WordPieces(tokenizer)
    # The inputs of these layers come from layer normalisation, whose output has outliers in the same few channels.
    inputs = {layer: x for layer, x in linear.inputs.items() if layer.endswith((".self", ".intermediate.dense"))}
    expected, activations = _observe(exact, inputs, pieces, texts)
    for unsigned in (False, True):
        quantized = encoder(tensors, RowLinear(activations, unsigned=unsigned))
        got, _ = _observe(quantized, {}, pieces, texts)
        if float((got * expected).sum(axis=1).min()) >= LEAST_COSINE:
            onnx.save(quantized, output)
            return "unsigned int8" if unsigned else "signed int8"
    onnx.save(exact, output)
    return "float32"


def _observe(
    model: onnx.ModelProto, layers: dict[str, str], pieces: WordPieces, texts: Sequence[str]
) -> tuple[Array, dict[str, Array]]:
    """The vectors of `texts`, and the largest magnitude of each channel in the inputs of `layers`."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    del observed.graph.output[1:]
    observed.graph.output.extend(helper.make_tensor_value_info(x, TensorProto.FLOAT, None) for x in layers.values())
    session = open_session(observed.SerializeToString())
    vectors: list[Array] = []
    largest: dict[str, Array] = {layer: np.zeros(1, np.float32) for layer in layers}
    for row in pieces.split(texts):
        vector, *tensors = session.run(None, {"ids": np.array([row], np.int32)})
        vectors.append(vector[0])
        for layer, tensor in zip(layers, tensors, strict=True):
            largest[layer] = np.maximum(largest[layer], np.abs(tensor).max(axis=0))
    return np.stack(vectors), largest


if __name__ == "__main__":
    source, pieces_file, target, how = sys.argv[1:]
    sys.stdout.write(build(Path(source), Path(pieces_file), Path(target), how))
