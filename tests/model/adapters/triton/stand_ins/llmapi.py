"""Repeats the prompt, word by word, as the program of the LLM API of TensorRT-LLM sends an answer, for tests."""

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

    @staticmethod
    def auto_complete_config(configuration):
        """Streams and does not batch, as `model.yaml` says."""
        configuration.set_model_transaction_policy({"decoupled": True})
        configuration.set_max_batch_size(0)
        return configuration

    def initialize(self, args):
        self.folder = args["model_repository"]
        self.names = [each["name"] for each in json.loads(args["model_config"])["input"]]

    def execute(self, requests):
        for request in requests:
            _noted(self.folder, request, self.names)
            words = _value(request, "text_input")[0].decode().split()
            said = words[: int(_value(request, "sampling_param_max_tokens")[0])]
            reason = "length" if len(said) < len(words) else "stop"
            sender = request.get_response_sender()
            first = 1 if _value(request, "streaming")[0] else len(said)
            for place in range(first, len(said) + 1):
                last = place == len(said)
                columns = [("text_output", " ".join(said[:place])), ("finish_reason", reason if last else "None")]
                tensors = [pb_utils.Tensor(name, np.array([text.encode()], np.object_)) for name, text in columns]
                sender.send(pb_utils.InferenceResponse(tensors), FINAL if last else 0)
