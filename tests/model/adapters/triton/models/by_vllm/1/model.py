"""Repeats the prompt, word by word, as Triton's vLLM backend sends an answer, for tests."""

import json
import threading
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
            prompt = _value(request, "text_input")[0].decode()
            sampling = json.loads(_value(request, "sampling_parameters")[0])
            stream = bool(_value(request, "stream")[0])
            sender = request.get_response_sender()
            threading.Thread(target=self._say, args=(sender, prompt, sampling, stream)).start()

    def _say(self, sender, prompt, sampling, stream):
        if "fail" in prompt:
            na = pb_utils.Tensor("text_output", np.array([b"N/A"], np.object_))
            error = pb_utils.TritonError("Error generating stream: it was asked to fail")
            sender.send(pb_utils.InferenceResponse([na], error=error), FINAL)
            return
        words = prompt.split()
        said = words[: sampling["max_tokens"]]
        reason = "length" if len(said) < len(words) else "stop"
        read = len(words)
        if not stream:
            sender.send(self._answer(" ".join(said), reason, read, len(said)), FINAL)
            return
        for place, word in enumerate(said, 1):
            last = place == len(said)
            answer = self._answer(word if last else f"{word} ", reason if last else "None", read, 1)
            sender.send(answer, FINAL if last else 0)

    @staticmethod
    def _answer(text, reason, read, written):
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("text_output", np.array([text.encode()], np.object_)),
                pb_utils.Tensor("finish_reason", np.array([reason.encode()], np.object_)),
                # The backend sends this one without a dimension.
                pb_utils.Tensor("num_input_tokens", np.asarray(read, np.uint32)),
                pb_utils.Tensor("num_output_tokens", np.array([written], np.uint32)),
            ]
        )
