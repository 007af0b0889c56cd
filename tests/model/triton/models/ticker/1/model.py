"""A chat model that ticks, for tests."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


def _chunk(delta, finish=None):
    text = json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    return pb_utils.InferenceResponse([pb_utils.Tensor("CHUNK", np.array([text.encode()], np.object_))])


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args):
        pass

    def execute(self, requests):
        for request in requests:
            body = json.loads(pb_utils.get_input_tensor_by_name(request, "REQUEST").as_numpy()[0])
            threading.Thread(target=self._say, args=(request.get_response_sender(), body)).start()

    def _say(self, sender, body):
        for word in range(body.get("words", 3)):
            if sender.is_cancelled():
                if "note" in body:
                    Path(body["note"]).write_text(str(time.monotonic()))
                break
            sender.send(_chunk({"content": f"{word} "}))
            time.sleep(body.get("every", 0.0))
        else:
            sender.send(_chunk({}, "stop"))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
