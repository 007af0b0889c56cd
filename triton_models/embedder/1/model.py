"""Vectors of texts by an ONNX encoder, on ONNX Runtime, in Triton's Python backend.

The graph has a row of token ids for each text, named `ids` or `input_ids`, and if it wants them `attention_mask` and
`token_type_ids`. It gives either `vectors` (n, d) of length 1 and `norms` (n,), or the vectors of all tokens (n, t, d),
which are pooled here, or one vector for each text (n, d). Texts of the same length run together, so nothing is padded.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray
from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions, get_available_providers
from tokenizers import Tokenizer

Floats = NDArray[np.float32]
IDS = ("ids", "input_ids")
TYPES = {"tensor(int32)": np.int32, "tensor(int64)": np.int64}


class Encoder:
    """A graph with its tokenizer."""

    def __init__(self, folder: Path, parameters: dict[str, str]) -> None:
        self._max_tokens = int(parameters["max_tokens"])
        self._run_tokens = int(parameters["run_tokens"])
        self._pooling = parameters["pooling"]
        if self._pooling not in ("mean", "cls", "last"):
            raise ValueError(f"the parameter pooling is mean, cls or last, not {self._pooling}")
        tokenizer = str(folder / parameters["tokenizer"])
        self._cut, self._whole = Tokenizer.from_file(tokenizer), Tokenizer.from_file(tokenizer)
        for each in (self._cut, self._whole):
            each.no_padding()
        self._cut.enable_truncation(self._max_tokens)
        self._whole.no_truncation()
        self._marks = self._cut.num_special_tokens_to_add(is_pair=False)
        self._session = _opened(folder / parameters["graph"])
        self._inputs = {each.name: TYPES[each.type] for each in self._session.get_inputs()}
        unknown = self._inputs.keys() - {*IDS, "attention_mask", "token_type_ids"}
        if unknown:
            raise ValueError(f"the graph wants inputs that a tokenizer does not give: {', '.join(sorted(unknown))}")
        self._output = parameters["output"] or self._session.get_outputs()[0].name
        self._finished = "vectors" in {each.name for each in self._session.get_outputs()}

    def embed(self, texts: list[str]) -> tuple[Floats, Floats, NDArray[np.int32], NDArray[np.int32]]:
        """For each text: its vector of length 1, the length before that, its tokens, and its windows."""
        vectors, norms, tokens = self._encode(texts)
        windows = np.ones(len(texts), np.int32)
        for index in np.flatnonzero(tokens == self._max_tokens).tolist():
            pieces = self._windows(texts[index])
            if len(pieces) > 1:
                vectors[index], norms[index], tokens[index] = _average(*self._encode(pieces), self._marks)
                windows[index] = len(pieces)
        return vectors, norms, tokens, windows

    def _encode(self, texts: list[str]) -> tuple[Floats, Floats, NDArray[np.int32]]:
        rows = [encoding.ids for encoding in self._cut.encode_batch_fast(texts)]
        vectors: Floats | None = None
        norms, tokens = np.empty(len(rows), np.float32), np.array([len(row) for row in rows], np.int32)
        for run in self._runs(tokens):
            some, norms[run] = self._run(np.array([rows[index] for index in run]))
            if vectors is None:
                vectors = np.empty((len(rows), some.shape[1]), np.float32)
            vectors[run] = some
        assert vectors is not None
        return vectors, norms, tokens

    def _runs(self, tokens: NDArray[np.int32]) -> Iterator[list[int]]:
        """Indices of texts of the same length, at most `run_tokens` tokens."""
        for length in np.unique(tokens).tolist():
            same = np.flatnonzero(tokens == length).tolist()
            most = max(1, self._run_tokens // length)
            for begin in range(0, len(same), most):
                yield same[begin : begin + most]

    def _run(self, ids: NDArray[Any]) -> tuple[Floats, Floats]:
        fed = {
            name: (
                ids if name in IDS else np.ones_like(ids) if name == "attention_mask" else np.zeros_like(ids)
            ).astype(dtype, copy=False)
            for name, dtype in self._inputs.items()
        }
        if self._finished:
            vectors, norms = self._session.run(["vectors", "norms"], fed)
            return vectors, norms
        found = self._session.run([self._output], fed)[0]
        if found.ndim == 3:
            found = found.mean(axis=1) if self._pooling == "mean" else found[:, 0 if self._pooling == "cls" else -1]
        norms = np.linalg.norm(found, axis=1)
        return found / np.maximum(norms, np.finfo(np.float32).tiny)[:, None], norms

    def _windows(self, text: str) -> list[str]:
        """The text in pieces, cut between words, that fit the model."""
        encoding = self._whole.encode(text, add_special_tokens=False)
        words, offsets = encoding.word_ids, encoding.offsets
        found, begin, room = [], 0, self._max_tokens - self._marks
        while begin < len(words):
            end = min(begin + room, len(words))
            while end < len(words) and end > begin + 1 and words[end] == words[end - 1]:
                end -= 1
            found.append(text[offsets[begin][0] : offsets[end - 1][1]])
            begin = end
        return found


def _opened(graph: Path) -> InferenceSession:
    options = SessionOptions()
    # The instances of the model give the throughput; threads inside a run wait for each other.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # The arena never releases its memory.
    options.enable_cpu_mem_arena = False
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    usable = [each for each in ("CUDAExecutionProvider", "CPUExecutionProvider") if each in get_available_providers()]
    return InferenceSession(str(graph), options, providers=usable)


def _average(vectors: Floats, norms: Floats, tokens: NDArray[np.int32], marks: int) -> tuple[Floats, float, int]:
    """The mean over all tokens of a text, from the vectors of its windows."""
    weights = (tokens - marks).astype(np.float32)
    pooled = (weights * norms) @ vectors / weights.sum()
    norm = float(np.linalg.norm(pooled))
    return pooled / norm if norm else pooled, norm, int(tokens.sum())


def _end_with_server() -> None:
    """Have a shell end this process when the server has gone. A thread that waits for it for ever may hold the GIL."""
    watch = 'while kill -0 "$0"; do kill -0 "$1" || exit 0; sleep 1; done; kill -9 "$1"'
    quiet = subprocess.DEVNULL
    who = str(os.getppid()), str(os.getpid())
    subprocess.Popen(["/bin/sh", "-c", watch, *who], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model; an exception refuses it, and Triton reports its text."""
        _end_with_server()
        configuration = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in configuration["parameters"].items()}
        self._encoder = Encoder(Path(args["model_repository"], args["model_version"]), parameters)

    def execute(self, requests: list[Any]) -> list[Any]:
        """The answers to the requests of a batch. A text that is not UTF-8 fails its own request only."""
        texts: list[str] = []
        shares: list[slice | str] = []
        for request in requests:
            rows = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
            try:
                some = [row.decode() for row in rows[:, 0].tolist()]
            except UnicodeDecodeError as error:
                shares.append(f"TEXT is not UTF-8: {error}")
                continue
            if request.is_cancelled():
                shares.append("the caller has gone")
                continue
            shares.append(slice(len(texts), len(texts) + len(some)))
            texts += some
        found = self._encoder.embed(texts) if texts else ()
        return [_response(share, found) for share in shares]


def _response(share: slice | str, found: tuple[NDArray[Any], ...]) -> Any:
    if isinstance(share, str):
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(share, pb_utils.TritonError.INVALID_ARG))
    vectors, *counts = (each[share] for each in found)
    columns = [pb_utils.Tensor("VECTOR", vectors)]
    columns += [
        pb_utils.Tensor(name, each[:, None]) for name, each in zip(("NORM", "TOKENS", "WINDOWS"), counts, strict=True)
    ]
    return pb_utils.InferenceResponse(columns)
