"""Repeats the prompt, word by word, as the ensemble of the TensorRT-LLM backend sends an answer, for tests."""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


def _value(request, name):
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _noted(folder, request, names):
    """Write what was asked, for the test."""
    given = {name: _value(request, name) for name in names}
    seen = {
        name: value.astype(str).tolist() for name, value in given.items() if value is not None and value.dtype != object
    }
    seen |= {
        name: [each.decode() for each in value.ravel()]
        for name, value in given.items()
        if value is not None and value.dtype == object
    }
    Path(folder, "seen.json").write_text(json.dumps(seen))


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args):
        self.folder = args["model_repository"]
        self.names = [each["name"] for each in json.loads(args["model_config"])["input"]]

    def execute(self, requests):
        for request in requests:
            _noted(self.folder, request, self.names)
            words = _value(request, "text_input")[0, 0].decode().split()
            said = words[: int(_value(request, "max_tokens")[0, 0])]
            sender = request.get_response_sender()
            if not _value(request, "stream")[0, 0]:
                sender.send(self._answer(" ".join(said), len(words), len(said)), FINAL)
                continue
            for place, word in enumerate(said, 1):
                answer = self._answer(word if place == len(said) else f"{word} ", len(words), 1)
                sender.send(answer, FINAL if place == len(said) else 0)

    @staticmethod
    def _answer(text, read, written):
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("text_output", np.array([[text.encode()]], np.object_)),
                pb_utils.Tensor("num_input_tokens", np.array([[read]], np.int32)),
                pb_utils.Tensor("num_output_tokens", np.array([[written]], np.int32)),
            ]
        )
