"""Small models made for tests: an encoder, a cross-encoder, and tokenizers, with what they should give."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

Floats = NDArray[np.float32]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(60))]
SIZE = 8
_RANDOM = np.random.default_rng(7)
EMBEDDINGS: Floats = _RANDOM.standard_normal((len(WORDS), SIZE)).astype(np.float32)
TYPES: Floats = _RANDOM.standard_normal((2, SIZE)).astype(np.float32)
WEIGHTS: Floats = _RANDOM.standard_normal((len(WORDS), 1)).astype(np.float32)
_COLUMNS = ("input_ids", "attention_mask", "token_type_ids")


def write_word_tokenizer(file: Path) -> Tokenizer:
    """A tokenizer of words that marks a text as `[CLS] A [SEP]`, and a pair as `[CLS] A [SEP] B [SEP]`."""
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(file))
    return tokenizer


def write_encoder(file: Path) -> None:
    """An encoder: the vector of a token is that of its word and that of its type."""
    nodes = [
        helper.make_node("Gather", ["embeddings", "input_ids"], ["words"]),
        helper.make_node("Gather", ["types", "token_type_ids"], ["typed"]),
        helper.make_node("Add", ["words", "typed"], ["last_hidden_state"]),
    ]
    _write(file, nodes, {"embeddings": EMBEDDINGS, "types": TYPES}, "last_hidden_state", ["n", "t", SIZE])


def write_cross_encoder(file: Path) -> None:
    """A cross-encoder: the score is the sum of the weights of the document's words."""
    numbers: dict[str, NDArray[Any]] = {"weights": WEIGHTS, "second": np.array([1]), "third": np.array([2])}
    nodes = [
        helper.make_node("Gather", ["weights", "input_ids"], ["weighed"]),
        helper.make_node("Mul", ["attention_mask", "token_type_ids"], ["of_document"]),
        helper.make_node("Cast", ["of_document"], ["shares"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["shares", "third"], ["column"]),
        helper.make_node("Mul", ["weighed", "column"], ["products"]),
        helper.make_node("ReduceSum", ["products", "second"], ["logits"], keepdims=0),
    ]
    _write(file, nodes, numbers, "logits", ["n", 1])


def vector(ids: Sequence[int], pooling: str) -> Floats:
    """What the encoder and a pooling should give for the tokens of a text, of length 1."""
    hidden = EMBEDDINGS[list(ids)] + TYPES[0]
    found = {"mean": hidden.mean(axis=0), "cls": hidden[0], "last": hidden[-1]}[pooling]
    return np.asarray(found / np.linalg.norm(found), np.float32)


def score(document: str) -> float:
    """What the cross-encoder should give for a document of words, which ends with a mark."""
    words = [WORDS.index(word) if word in WORDS else 1 for word in document.split()]
    return float(WEIGHTS[[*words, WORDS.index("[SEP]")]].sum())


def _write(file: Path, nodes: list[Any], numbers: dict[str, NDArray[Any]], output: str, shape: list[Any]) -> None:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"]) for name in _COLUMNS],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
