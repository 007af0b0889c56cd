"""How well documents fit a question, by an ONNX cross-encoder, on ONNX Runtime, in Triton's Python backend.

The graph has a row of token ids for each pair, named `input_ids`, and if it wants them `attention_mask` and
`token_type_ids`. It gives one number for each pair, (n,) or (n, 1): the score.
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
from tokenizers import Encoding, Tokenizer

TYPES = {"tensor(int32)": np.int32, "tensor(int64)": np.int64}


class CrossEncoder:
    """A graph with its tokenizer."""

    def __init__(self, folder: Path, parameters: dict[str, str]) -> None:
        self._run_tokens = int(parameters["run_tokens"])
        self._tokenizer = Tokenizer.from_file(str(folder / parameters["tokenizer"]))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(int(parameters["max_tokens"]))
        self._session = _opened(folder / parameters["graph"])
        self._inputs = {each.name: TYPES[each.type] for each in self._session.get_inputs()}
        unknown = self._inputs.keys() - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown:
            raise ValueError(f"the graph wants inputs that a tokenizer does not give: {', '.join(sorted(unknown))}")
        output = parameters["output"]
        self._outputs = [output] if output else [self._session.get_outputs()[0].name]

    def scores(self, pairs: list[tuple[str, str]]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """For each pair of question and document: its score, and its tokens."""
        encodings = self._tokenizer.encode_batch(pairs)
        tokens = np.array([len(each.ids) for each in encodings], np.int32)
        scores = np.empty(len(pairs), np.float32)
        for run in self._runs(tokens):
            found = self._session.run(self._outputs, self._fed([encodings[index] for index in run]))[0]
            if found.size != len(run):
                raise ValueError(f"the graph gives {found.size // len(run)} numbers for a pair, not one score")
            scores[run] = found.reshape(len(run))
        return scores, tokens

    def _runs(self, tokens: NDArray[np.int32]) -> Iterator[list[int]]:
        """Indices of pairs of about the same length, at most `run_tokens` tokens with their padding."""
        run: list[int] = []
        for index in np.argsort(tokens, kind="stable").tolist():
            # The pairs come by length, so this one is the longest of the run.
            if run and (len(run) + 1) * tokens[index] > self._run_tokens:
                yield run
                run = []
            run.append(index)
        if run:
            yield run

    def _fed(self, encodings: list[Encoding]) -> dict[str, NDArray[Any]]:
        longest = max(len(each.ids) for each in encodings)
        columns = {
            "input_ids": [each.ids for each in encodings],
            "attention_mask": [each.attention_mask for each in encodings],
            "token_type_ids": [each.type_ids for each in encodings],
        }
        # What is padded is masked, so its id does not matter.
        return {
            name: np.array([row + [0] * (longest - len(row)) for row in columns[name]], dtype)
            for name, dtype in self._inputs.items()
        }


def _opened(graph: Path) -> InferenceSession:
    options = SessionOptions()
    # The instances of the model give the throughput; threads inside a run wait for each other.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # The arena never releases its memory.
    options.enable_cpu_mem_arena = False
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    usable = [each for each in ("CUDAExecutionProvider", "CPUExecutionProvider") if each in get_available_providers()]
    return InferenceSession(str(graph), options, providers=usable)


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
        self._encoder = CrossEncoder(Path(args["model_repository"], args["model_version"]), parameters)

    def execute(self, requests: list[Any]) -> list[Any]:
        """The answers to the requests of a batch. A text that is not UTF-8 fails its own request only."""
        pairs: list[tuple[str, str]] = []
        shares: list[slice | str] = []
        for request in requests:
            query, document = (
                pb_utils.get_input_tensor_by_name(request, name).as_numpy()[:, 0].tolist()
                for name in ("QUERY", "DOCUMENT")
            )
            try:
                some = [(left.decode(), right.decode()) for left, right in zip(query, document, strict=True)]
            except UnicodeDecodeError as error:
                shares.append(f"QUERY or DOCUMENT is not UTF-8: {error}")
                continue
            if request.is_cancelled():
                shares.append("the caller has gone")
                continue
            shares.append(slice(len(pairs), len(pairs) + len(some)))
            pairs += some
        found = self._encoder.scores(pairs) if pairs else ()
        return [_response(share, found) for share in shares]


def _response(share: slice | str, found: tuple[NDArray[Any], ...]) -> Any:
    if isinstance(share, str):
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(share, pb_utils.TritonError.INVALID_ARG))
    columns = zip(("SCORE", "TOKENS"), found, strict=True)
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, each[share][:, None]) for name, each in columns])
