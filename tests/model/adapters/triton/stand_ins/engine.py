"""Repeats the tokens of the prompt, in the place of an engine of TensorRT-LLM, for tests.

It takes what the backend takes. A first token `!` has it fail, `~` has it go on until it is told to stop.
"""

import json
import threading
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args):
        self.folder = Path(args["model_repository"])
        self.names = [each["name"] for each in json.loads(args["model_config"])["input"]]
        self.stopped = set()
        vocabulary = json.loads((self.folder / "vocabulary.json").read_text())
        self.fails, self.endless = vocabulary["!"], vocabulary["~"]

    def execute(self, requests):
        for request in requests:
            tensors = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self.names}
            given = {name: tensor.as_numpy() for name, tensor in tensors.items() if tensor is not None}
            sender, name = request.get_response_sender(), request.request_id()
            if "stop" in given:
                self.stopped.add(name)
                (self.folder / "stopped.json").write_text(json.dumps(sorted(self.stopped)))
                sender.send(flags=FINAL)
                continue
            (self.folder / "seen.json").write_text(
                json.dumps({key: value.astype(float).ravel().tolist() for key, value in given.items()})
            )
            threading.Thread(target=self._say, args=(sender, name, given)).start()

    def _say(self, sender, name, given):
        ids = given["input_ids"].ravel().tolist()
        most, end = int(given["request_output_len"].item()), int(given["end_id"].item())
        if ids[0] == self.fails:
            error = pb_utils.TritonError("the engine was asked to fail")
            sender.send(pb_utils.InferenceResponse(error=error), FINAL)
            return
        if ids[0] == self.endless:
            while name not in self.stopped:
                sender.send(self._answer([ids[1]]))
                time.sleep(0.002)
        else:
            for each in [*ids, end][:most]:
                if name in self.stopped:
                    break
                sender.send(self._answer([each]))
        sender.send(flags=FINAL)

    @staticmethod
    def _answer(ids):
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("output_ids", np.array([[ids]], np.int32)),
                pb_utils.Tensor("sequence_length", np.array([[len(ids)]], np.int32)),
            ]
        )
