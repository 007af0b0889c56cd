"""One vector of length 1 for each text, from the vectors of its tokens, for an ensemble.

`HIDDEN` is (n, t, d), or (n, d) if the graph pools itself; `attention_mask` is (n, t), 0 where a row is padded.
"""

import json
import os
import subprocess
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def _end_with_server() -> None:
    """Have a shell end this process when the server has gone. A thread that waits for it for ever may hold the GIL."""
    watch = 'while kill -0 "$0"; do kill -0 "$1" || exit 0; sleep 1; done; kill -9 "$1"'
    quiet = subprocess.DEVNULL
    who = str(os.getppid()), str(os.getpid())
    subprocess.Popen(["/bin/sh", "-c", watch, *who], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the parameters; an exception refuses the model, and Triton reports its text."""
        _end_with_server()
        self._pooling = json.loads(args["model_config"])["parameters"]["pooling"]["string_value"]
        if self._pooling not in ("mean", "cls", "last"):
            raise ValueError(f"the parameter pooling is mean, cls or last, not {self._pooling}")

    def execute(self, requests: list[Any]) -> list[Any]:
        """The vectors of each request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        hidden = pb_utils.get_input_tensor_by_name(request, "HIDDEN").as_numpy().astype(np.float32)
        mask = pb_utils.get_input_tensor_by_name(request, "attention_mask").as_numpy()
        found = _pooled(hidden, mask, self._pooling) if hidden.ndim == 3 else hidden
        norms = np.linalg.norm(found, axis=1, keepdims=True).astype(np.float32)
        vectors = found / np.maximum(norms, np.finfo(np.float32).tiny)
        return pb_utils.InferenceResponse([pb_utils.Tensor("VECTOR", vectors), pb_utils.Tensor("NORM", norms)])


def _pooled(hidden: Floats, mask: NDArray[Any], pooling: str) -> Floats:
    """(n, t, d) and (n, t) to (n, d)."""
    weights = mask.astype(np.float32)[:, :, None]
    if pooling == "mean":
        return (hidden * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)
    # A tokenizer may pad on either side.
    places = mask.argmax(axis=1) if pooling == "cls" else mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    return hidden[np.arange(len(hidden)), places]
