"""The tokens of texts, or of pairs of texts, for a graph that another model of an ensemble runs.

The inputs are `TEXT`, or `QUERY` and `DOCUMENT`: strings (n, 1). The outputs are `input_ids`, `attention_mask` and
`token_type_ids` (n, t), `TOKENS` (n, 1), the tokens without padding, and `WINDOWS` (n, 1), which is 1. The type of the
ids is that of the configuration.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray
from tokenizers import Tokenizer

COLUMNS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
PAIR = ("QUERY", "DOCUMENT")


def _end_with_server() -> None:
    """Have a shell end this process when the server has gone. A thread that waits for it for ever may hold the GIL."""
    watch = 'while kill -0 "$0"; do kill -0 "$1" || exit 0; sleep 1; done; kill -9 "$1"'
    quiet = subprocess.DEVNULL
    who = str(os.getppid()), str(os.getpid())
    subprocess.Popen(["/bin/sh", "-c", watch, *who], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the tokenizer; an exception refuses the model, and Triton reports its text."""
        _end_with_server()
        configuration = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in configuration["parameters"].items()}
        folder = Path(args["model_repository"], args["model_version"])
        self._most = int(parameters["max_tokens"])
        self._cuts = {"refuse": False, "cut": True}[parameters["longer"]]
        self._tokenizer = Tokenizer.from_file(str(folder / parameters["tokenizer"]))
        self._tokenizer.enable_padding(pad_to_multiple_of=int(parameters["pad_to"]))
        if self._cuts:
            self._tokenizer.enable_truncation(self._most)
        else:
            self._tokenizer.no_truncation()
        self._names = [each["name"] for each in configuration["input"]]
        self._types = {
            each["name"]: pb_utils.triton_string_to_numpy(each["data_type"]) for each in configuration["output"]
        }

    def execute(self, requests: list[Any]) -> list[Any]:
        """The tokens of each request. A text that cannot be read fails its own request only."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        rows = [pb_utils.get_input_tensor_by_name(request, name).as_numpy()[:, 0].tolist() for name in self._names]
        try:
            texts = [[text.decode() for text in row] for row in rows]
        except UnicodeDecodeError as error:
            return _refused(f"{' or '.join(self._names)} is not UTF-8: {error}")
        given = list(zip(*texts, strict=True)) if len(texts) > 1 else texts[0]
        encodings = self._tokenizer.encode_batch(given)
        tokens = np.array([[sum(each.attention_mask)] for each in encodings], np.int32)
        if not self._cuts and tokens.max(initial=0) > self._most:
            return _refused(f"a text has {tokens.max()} tokens, and the model reads {self._most}")
        found: dict[str, NDArray[Any]] = {
            name: np.array([getattr(each, column) for each in encodings], self._types[name])
            for name, column in COLUMNS.items()
            if name in self._types
        }
        found["TOKENS"] = tokens
        if "WINDOWS" in self._types:
            found["WINDOWS"] = np.ones_like(tokens)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in found.items()])


def _refused(why: str) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(why, pb_utils.TritonError.INVALID_ARG))
